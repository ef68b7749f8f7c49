//! ResNets of any width and depth in files.

use rekindle_nn::Graph;
use rekindle_weights::{Expected, Family, HeadNames, Proposal, Shapes};

use super::resnet_names::Layout;
use crate::resnet::{BlockKind, ResNetConfig};

/// ResNets of any width and depth, in torchvision's layout, in that of `transformers`, or as `nn.Sequential` of their
/// parts; for [`Checkpoint::network`](rekindle_weights::Checkpoint::network).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResNets;

impl Family for ResNets {
    type Config = Graph;

    fn name(&self) -> &str {
        "ResNet"
    }

    fn signature(&self) -> String {
        "`conv1.weight`, `bn1.weight` and `layer1.0.conv1.weight`".into()
    }

    fn anchors(&self) -> Vec<String> {
        Layout::ALL.map(|layout| layout.name_in_file(STEM)).to_vec()
    }

    fn propose(&self, anchor: &str, shapes: &Shapes<'_>) -> Vec<Proposal<Graph>> {
        let layouts = Layout::ALL.into_iter();
        let mut layouts = layouts.filter(|layout| layout.name_in_file(STEM) == anchor);
        let proposal = layouts.next().and_then(|layout| propose(layout, shapes));
        proposal.into_iter().collect()
    }

    fn with_classes(&self, graph: Graph, classes: usize) -> Graph {
        graph.with_classes(classes)
    }
}

const STEM: &str = "conv1.weight";

/// More than any network has: what a file says of its sizes may be beyond all of them.
const LARGEST: usize = 1 << 14;

fn propose(layout: Layout, shapes: &Shapes<'_>) -> Option<Proposal<Graph>> {
    let shape = |name: &str| shapes.get(&layout.name_in_file(name));
    let is_stem = shape(STEM).is_some_and(|shape| shape.len() == 4);
    if !is_stem || shape("layer1.0.conv1.weight").is_none() || shape("bn1.weight").is_none() {
        return None;
    }
    let config = infer(shape);
    let graph = config.graph().ok()?;
    let tensors = graph.tensors().iter().map(|tensor| {
        let in_file = layout.name_in_file(&tensor.name);
        Expected::new(&tensor.name, tensor.shape.clone()).in_file(in_file)
    });
    let tensors = tensors.collect();
    let head = HeadNames::new("fc", config.num_features());
    let head = match layout {
        // `classifier` stands beside `resnet`, and is a flattening and a linear layer.
        Layout::Transformers => head.only_beside("resnet", "classifier.1"),
        Layout::Torchvision | Layout::Children => head,
    };
    let proposal = Proposal::new(graph, config.name(), tensors, head);
    Some(proposal.beginnings(layout.trunk().iter().copied()))
}

/// Reads the sizes off the shapes that `shape` has for torchvision's names. What is missing is taken as ResNet-18 has it:
/// the comparison then says what doesn't fit.
fn infer<'a>(shape: impl Fn(&str) -> Option<&'a [usize]>) -> ResNetConfig {
    let extent = |name: &str, axis: usize| {
        let extent = shape(name).and_then(|shape| shape.get(axis).copied());
        extent.filter(|extent| *extent > 0).map(|e| e.min(LARGEST))
    };
    let stem_width = extent(STEM, 0).unwrap_or(64);
    let is_bottleneck = shape("layer1.0.conv3.weight").is_some();
    let (block, groups, width_per_group) = if is_bottleneck {
        let width = extent("layer1.0.conv2.weight", 0).unwrap_or(stem_width);
        let per_group = extent("layer1.0.conv2.weight", 1).unwrap_or(width);
        let groups = (width / per_group).max(1);
        let width_per_group = (width * 64 / (stem_width * groups)).max(1);
        (BlockKind::Bottleneck, groups, width_per_group)
    } else {
        (BlockKind::Basic, 1, 64)
    };
    let layers = std::array::from_fn(|stage| {
        let blocks = (0..).take_while(|block| {
            let name = format!("layer{}.{block}.conv1.weight", stage + 1);
            shape(&name).is_some()
        });
        blocks.count().max(1)
    });
    ResNetConfig::new(block, layers)
        .with_num_classes(0)
        .with_in_channels(extent(STEM, 1).unwrap_or(3))
        .with_stem_width(stem_width)
        .with_groups(groups)
        .with_width_per_group(width_per_group)
}
