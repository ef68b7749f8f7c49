//! ResNets as a family: what a file's names and shapes say about the network in it.

use rekindle_weights::{Checkpoint, Expected, Family, HeadNames, LoadOptions, Proposal, Shapes};

use crate::layout::Layout;
use crate::{Architecture, BlockKind, Error, ResNetConfig};

/// ResNets of any width and depth, in torchvision's layout, in that of `transformers`, or as `nn.Sequential` of their
/// parts; for [`Checkpoint::network`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResNets;

impl Family for ResNets {
    type Config = ResNetConfig;

    fn name(&self) -> &str {
        "ResNet"
    }

    fn signature(&self) -> String {
        "`conv1.weight`, `bn1.weight` and `layer1.0.conv1.weight`".into()
    }

    fn anchors(&self) -> Vec<String> {
        Layout::ALL.map(|layout| layout.name_in_file(STEM)).to_vec()
    }

    fn propose(&self, anchor: &str, shapes: &Shapes<'_>) -> Vec<Proposal<ResNetConfig>> {
        let layouts = Layout::ALL.into_iter();
        let mut layouts = layouts.filter(|layout| layout.name_in_file(STEM) == anchor);
        let proposal = layouts.next().and_then(|layout| propose(layout, shapes));
        proposal.into_iter().collect()
    }

    fn with_classes(&self, config: ResNetConfig, classes: usize) -> ResNetConfig {
        config.with_num_classes(classes)
    }
}

/// A ResNet found in a file.
pub type Network = rekindle_weights::Network<ResNetConfig>;

/// Finds the ResNet in a file; see [`Checkpoint::network`].
///
/// # Errors
///
/// Those of [`Checkpoint::network`].
pub fn network(checkpoint: &Checkpoint, options: &LoadOptions) -> Result<Network, Error> {
    Ok(checkpoint.network(&[&ResNets], options)?)
}

fn propose(layout: Layout, shapes: &Shapes<'_>) -> Option<Proposal<ResNetConfig>> {
    let shape = |name: &str| shapes.get(&layout.name_in_file(name));
    let is_stem = shape(STEM).is_some_and(|shape| shape.len() == 4);
    if !is_stem || shape("layer1.0.conv1.weight").is_none() || shape("bn1.weight").is_none() {
        return None;
    }
    let config = ResNetConfig::infer_from(shape);
    let tensors = config.trunk_shapes().into_iter().map(|(name, shape)| {
        let in_file = layout.name_in_file(&name);
        Expected::new(name, shape).in_file(in_file)
    });
    // What a file says of its sizes may be beyond all sizes.
    let features = config
        .stem_width
        .saturating_mul(8 * config.block.expansion());
    let head = HeadNames::new("fc", features);
    let head = match layout {
        // `classifier` stands beside `resnet`, and is a flattening and a linear layer.
        Layout::Transformers => head.only_beside("resnet", "classifier.1"),
        Layout::Torchvision | Layout::Children => head,
    };
    let name = config.name();
    let proposal = Proposal::new(config, name, tensors.collect(), head);
    Some(proposal.beginnings(layout.trunk().iter().copied()))
}

const STEM: &str = "conv1.weight";

impl Architecture {
    /// Finds the architecture whose dimensions a checkpoint's names and shapes have, where they are one's.
    pub fn of(checkpoint: &Checkpoint) -> Option<Self> {
        checkpoint.shape(STEM)?;
        ResNetConfig::infer(checkpoint).architecture()
    }
}

impl ResNetConfig {
    /// Reads the network's dimensions off a checkpoint's shapes.
    ///
    /// What is missing is taken as ResNet-18 has it: loading then says what doesn't fit.
    pub fn infer(checkpoint: &Checkpoint) -> Self {
        let config = Self::infer_from(|name| checkpoint.shape(name));
        let head = checkpoint.shape("fc.weight").and_then(<[usize]>::first);
        config.with_num_classes(head.copied().unwrap_or(0))
    }

    /// As [`infer`](Self::infer) without the head, of the shapes that `shape` has for torchvision's names.
    pub(crate) fn infer_from<'a>(shape: impl Fn(&str) -> Option<&'a [usize]>) -> Self {
        let extent = |name: &str, axis: usize| {
            shape(name)
                .and_then(|shape| shape.get(axis).copied())
                .filter(|extent| *extent > 0)
        };
        let stem_width = extent(STEM, 0).unwrap_or(64);
        let is_bottleneck = shape("layer1.0.conv3.weight").is_some();
        let (block, groups, width_per_group) = if is_bottleneck {
            let width = extent("layer1.0.conv2.weight", 0).unwrap_or(stem_width);
            let per_group = extent("layer1.0.conv2.weight", 1).unwrap_or(width);
            let groups = (width / per_group).max(1);
            let width_per_group = width.saturating_mul(64) / stem_width.saturating_mul(groups);
            (BlockKind::Bottleneck, groups, width_per_group.max(1))
        } else {
            (BlockKind::Basic, 1, 64)
        };
        let layers = std::array::from_fn(|stage| {
            let blocks = (0..)
                .take_while(|block| {
                    let name = format!("layer{}.{block}.conv1.weight", stage + 1);
                    shape(&name).is_some()
                })
                .count();
            blocks.max(1)
        });
        ResNetConfig::new(block, layers)
            .with_num_classes(0)
            .with_in_channels(extent(STEM, 1).unwrap_or(3))
            .with_stem_width(stem_width)
            .with_groups(groups)
            .with_width_per_group(width_per_group)
    }

    /// Tells whether two networks differ at most in their head and their input's channels.
    pub fn is_same_trunk(&self, other: &Self) -> bool {
        let trunk = |config: &Self| Self {
            num_classes: 0,
            in_channels: 3,
            ..config.clone()
        };
        trunk(self) == trunk(other)
    }

    /// Finds the one of torchvision's ten that differs at most in its head and its input's channels.
    pub fn architecture(&self) -> Option<Architecture> {
        let same = |architecture: &Architecture| architecture.config().is_same_trunk(self);
        Architecture::ALL.into_iter().find(same)
    }

    /// Returns torchvision's name, or a description of a network that is none of its ten.
    pub(crate) fn name(&self) -> String {
        let known = self.architecture().map(Architecture::name);
        known.map_or_else(|| self.describe(), str::to_string)
    }

    fn describe(&self) -> String {
        let [a, b, c, d] = self.layers;
        let block = match self.block {
            BlockKind::Basic => "basic",
            BlockKind::Bottleneck => "bottleneck",
        };
        format!("resnet_{block}_{a}_{b}_{c}_{d}_width{}", self.stem_width)
    }
}
