//! The models of the registry in files.

use std::sync::LazyLock;

use rekindle_nn::{Graph, TensorKind, Tokens};
use rekindle_weights::{Expected, Family, HeadNames, Proposal, Shapes};

use super::transformers;
use crate::options::Options;
use crate::registry::{Model, models};
use crate::{densenet, efficientnet_lite};

/// All models of the registry, for [`Checkpoint::network`](rekindle_weights::Checkpoint::network).
///
/// A model is recognised by the names and shapes of all its tensors but the head's, for any number of input channels.
/// Where two models have the same, the one that the file's metadata call `architecture` is taken, or else the first of
/// the registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registry;

impl Family for Registry {
    type Config = Graph;

    fn name(&self) -> &str {
        "known model"
    }

    fn signature(&self) -> String {
        let count = models().len();
        format!("all those of one of the {count} models that `rekindle models` lists")
    }

    fn anchors(&self) -> Vec<String> {
        let mut anchors: Vec<String> = DESCRIBED.iter().map(Described::anchor).collect();
        anchors.sort_unstable();
        anchors.dedup();
        anchors
    }

    fn propose(&self, anchor: &str, shapes: &Shapes<'_>) -> Vec<Proposal<Graph>> {
        let in_channels = match shapes.get(anchor) {
            Some(&[_, in_channels, _, _]) if in_channels > 0 => in_channels,
            _ => return Vec::new(),
        };
        let likely = DESCRIBED
            .iter()
            .filter(|described| described.anchor() == anchor && described.is_likely(shapes));
        likely
            .filter_map(|described| described.proposal(in_channels, shapes))
            .collect()
    }

    fn with_classes(&self, graph: Graph, classes: usize) -> Graph {
        graph.with_classes(classes)
    }
}

/// A way of naming, for the models all of whose names it translates.
#[derive(Clone, Copy)]
struct Naming {
    /// Says how such a file holds a tensor of a published name and shape.
    expected: fn(&Graph, &str, &[usize]) -> Option<Expected>,
    /// The classifier stands beside the last part of the prefix, and not inside of it.
    is_head_beside: bool,
    /// Prefixes that mark the trunk's names; empty where the names themselves tell.
    beginnings: &'static [&'static str],
}

impl Naming {
    const fn of(expected: fn(&Graph, &str, &[usize]) -> Option<Expected>) -> Self {
        Self {
            expected,
            is_head_beside: false,
            beginnings: &[],
        }
    }
}

/// All ways of naming, the published one first.
const NAMINGS: [Naming; 4] = [
    Naming::of(|_, name, shape| Some(Expected::new(name, shape))),
    Naming::of(|graph, name, shape| {
        let in_file = efficientnet_lite::name_in_original(graph, name)?;
        Some(Expected::new(name, shape).in_file(in_file))
    }),
    Naming::of(|graph, name, shape| {
        let in_file = densenet::name_in_published(graph, name)?;
        Some(Expected::new(name, shape).in_file(in_file))
    }),
    Naming {
        expected: transformers::expected,
        is_head_beside: true,
        beginnings: &transformers::BEGINNINGS,
    },
];

/// A model's names in one way of naming, for RGB images.
struct Described {
    model: &'static Model,
    /// All but the head's.
    tensors: Vec<Expected>,
    head: HeadNames,
    tokens: Option<Tokens>,
    naming: Naming,
}

/// All models in all ways of naming that they have, computed once.
static DESCRIBED: LazyLock<Vec<Described>> = LazyLock::new(|| {
    let graphs = models().iter().filter_map(|model| {
        let graph = (model.describe)(&Options::with_classes(0)).ok()?;
        Some((model, graph))
    });
    let namings = |(model, graph): (&'static Model, Graph)| {
        let all = NAMINGS.into_iter();
        let described = all.map(move |naming| Described::new(model, &graph, naming));
        described.flatten().collect::<Vec<_>>()
    };
    graphs.flat_map(namings).collect()
});

/// Numbers of a network's names that are looked up first: where half of them are absent, the others are not compared.
const SAMPLES: [usize; 2] = [8, 64];

impl Described {
    /// Returns none where the way of naming is another network's.
    fn new(model: &'static Model, graph: &Graph, naming: Naming) -> Option<Self> {
        let tensors = graph.tensors().iter();
        let expected = tensors.map(|tensor| (naming.expected)(graph, &tensor.name, &tensor.shape));
        let mut tensors = expected.collect::<Option<Vec<_>>>()?;
        // The first convolution is the anchor, whatever is listed before it.
        let kinds = graph.tensors().iter().map(|tensor| tensor.kind);
        let stem = kinds
            .into_iter()
            .position(|kind| kind == TensorKind::Kernel)?;
        tensors[..=stem].rotate_right(1);
        let head = graph.head();
        let weight = (naming.expected)(graph, &format!("{}.weight", head.name), &[])?;
        let in_file = weight.in_file.strip_suffix(".weight")?;
        Some(Self {
            model,
            tensors,
            tokens: graph.tokens(),
            head: HeadNames::new(&head.name, head.features).in_file(in_file),
            naming,
        })
    }

    /// Returns the file's name of the first tensor, the weight of the first convolution.
    fn anchor(&self) -> String {
        let first = self.tensors.first();
        first.map_or_else(String::new, |first| first.in_file.clone())
    }

    /// Looks a few names up before all are compared: a file may have many prefixes.
    fn is_likely(&self, shapes: &Shapes<'_>) -> bool {
        SAMPLES.iter().all(|sample| {
            let sample = self.tensors.iter().step_by(self.tensors.len() / sample + 1);
            let count = sample.len();
            let there = sample.filter(|tensor| shapes.get(&tensor.in_file).is_some());
            2 * there.count() >= count
        })
    }

    /// Returns none for a number of channels that the model can't take.
    fn proposal(&self, in_channels: usize, shapes: &Shapes<'_>) -> Option<Proposal<Graph>> {
        let mut tensors = self.tensors.clone();
        if let Some(stem) = tensors.first_mut() {
            stem.shape[1] = in_channels;
        }
        let options = Options {
            in_channels,
            position_grid: self.grid(&mut tensors, shapes),
            ..Options::with_classes(0)
        };
        let graph = (self.model.describe)(&options).ok()?;
        let name = self.model.short_name();
        let part = shapes.prefix().trim_end_matches('.').rsplit('.').next();
        let head = match part.filter(|part| self.naming.is_head_beside && !part.is_empty()) {
            Some(part) => {
                let in_file = self.head.in_file.first().cloned().unwrap_or_default();
                self.head.clone().only_beside(part, in_file)
            }
            None => self.head.clone(),
        };
        let proposal = Proposal::new(graph, name, tensors, head).fixed();
        Some(match self.naming.beginnings {
            [] => proposal,
            beginnings => proposal.beginnings(beginnings.iter().copied()),
        })
    }

    /// Takes over how many positions the file has, where they are those of a square: a transformer may have been trained on
    /// images of another size.
    fn grid(&self, tensors: &mut [Expected], shapes: &Shapes<'_>) -> Option<[usize; 2]> {
        let tokens = self.tokens?;
        let known = [1, tokens.positions(), tokens.channels];
        let table = tensors.iter_mut().find(|tensor| tensor.shape == known)?;
        let &[1, found, channels] = shapes.get(&table.in_file)? else {
            return None;
        };
        let patches = found.checked_sub(usize::from(tokens.has_class_position))?;
        let side = patches.isqrt();
        if side == 0 || side * side != patches || channels != tokens.channels {
            return None;
        }
        table.shape = vec![1, found, channels];
        Some([side; 2])
    }
}
