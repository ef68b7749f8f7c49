//! CLIP's towers of any size in files.

use rekindle_nn::{Activation, Graph};
use rekindle_weights::{Expected, Family, HeadNames, Proposal, Shapes};

use crate::Options;
use crate::clip::{HEAD, ImageTower, Layout, TextTower};

/// More than any network has: what a file says of its sizes may be beyond all of them.
const LARGEST: usize = 1 << 14;

/// CLIP's image towers, under open_clip's names or those of `transformers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClipImages {
    /// The activation to prefer: no tensor tells.
    pub activation: Activation,
}

/// CLIP's text towers, likewise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClipTexts {
    /// The activation to take.
    pub activation: Activation,
}

/// The names of a tower in a file.
struct Names<'a> {
    layout: Layout,
    tower: &'static str,
    shapes: &'a Shapes<'a>,
}

impl<'a> Names<'a> {
    fn expected(&self, name: &str, shape: &[usize]) -> Expected {
        self.layout.expected(self.tower, name, shape)
    }

    /// Returns the shape of a tensor by its published name, rows and columns as the file has them.
    fn shape(&self, name: &str) -> Option<&'a [usize]> {
        self.shapes.get(&self.expected(name, &[]).in_file)
    }

    /// Returns an extent that is above zero and no larger than any network's.
    fn extent(&self, name: &str, axis: usize) -> Option<usize> {
        let extent = *self.shape(name)?.get(axis)?;
        (1..=LARGEST).contains(&extent).then_some(extent)
    }

    /// Returns the columns of a projection.
    fn columns(&self, name: &str) -> Option<usize> {
        match self.layout {
            Layout::OpenClip => self.extent(name, 1),
            Layout::Transformers => self.extent(name, 0),
        }
    }

    fn blocks(&self) -> usize {
        let is_there = |index: &usize| {
            let name = format!("transformer.resblocks.{index}.ln_1.weight");
            self.shape(&name).is_some()
        };
        (0..LARGEST).take_while(is_there).count()
    }

    /// Lists what the names of all but the tables begin with, which `transformers` keeps counters beside.
    fn beginnings(&self, around: &[&str]) -> Vec<String> {
        let names = around
            .iter()
            .chain(&["transformer.resblocks.0.ln_1.weight"]);
        let begin = |name: &&str| {
            let in_file = self.expected(name, &[]).in_file;
            let parts = match self.layout {
                Layout::OpenClip => 1,
                Layout::Transformers => 2,
            };
            let ends = in_file.match_indices('.').nth(parts - 1);
            ends.map_or_else(|| in_file.clone(), |(end, _)| in_file[..=end].to_string())
        };
        names.map(begin).collect()
    }
}

const IMAGE: &str = "conv1.weight";
const TEXT: &str = "token_embedding.weight";

fn anchors(tower: &str, name: &str) -> Vec<String> {
    let anchor = |layout: Layout| layout.expected(tower, name, &[]).in_file;
    Layout::ALL.map(anchor).to_vec()
}

fn layout(tower: &str, name: &str, anchor: &str) -> Option<Layout> {
    let is_it = |layout: &Layout| layout.expected(tower, name, &[]).in_file == anchor;
    Layout::ALL.into_iter().find(is_it)
}

impl Family for ClipImages {
    type Config = Graph;

    fn name(&self) -> &str {
        "CLIP"
    }

    fn signature(&self) -> String {
        "`conv1.weight`, `class_embedding` and `ln_pre.weight`".into()
    }

    fn anchors(&self) -> Vec<String> {
        anchors("vision_model", IMAGE)
    }

    fn propose(&self, anchor: &str, shapes: &Shapes<'_>) -> Vec<Proposal<Graph>> {
        let Some(layout) = layout("vision_model", IMAGE, anchor) else {
            return Vec::new();
        };
        let names = Names {
            layout,
            tower: "vision_model",
            shapes,
        };
        let other = match self.activation {
            Activation::Gelu => Activation::QuickGelu,
            _ => Activation::Gelu,
        };
        let activations = [self.activation, other].into_iter();
        activations
            .filter_map(|activation| image(&names, activation))
            .collect()
    }

    fn with_classes(&self, graph: Graph, classes: usize) -> Graph {
        graph.with_classes(classes)
    }
}

fn image(names: &Names<'_>, activation: Activation) -> Option<Proposal<Graph>> {
    let &[_, in_channels, patch, _] = names.shape(IMAGE)? else {
        return None;
    };
    names.shape("class_embedding")?;
    names.shape("ln_pre.weight")?;
    let tower = ImageTower {
        patch,
        width: names.extent(IMAGE, 0).filter(has_known_heads)?,
        blocks: names.blocks(),
        embedding: names.columns("proj"),
        activation,
    };
    let patches = names.extent("positional_embedding", 0)? - 1;
    let options = Options {
        in_channels,
        position_grid: Some([patches.isqrt(); 2]),
        ..Options::with_classes(0)
    };
    let graph = tower.graph(&options).ok()?;
    let tensors = graph.tensors().iter();
    let mut tensors: Vec<Expected> = tensors
        .map(|tensor| names.expected(&tensor.name, &tensor.shape))
        .collect();
    let stem = tensors.iter().position(|tensor| tensor.name == IMAGE)?;
    tensors[..=stem].rotate_right(1);
    let mut head = HeadNames::new("head", graph.head().features);
    if names.layout == Layout::Transformers {
        // Its classifier stands on the mean of the patches.
        head.in_file.truncate(1);
    }
    let name = tower.name();
    let beginnings = names.beginnings(&["ln_pre.weight", "ln_post.weight"]);
    Some(Proposal::new(graph, name, tensors, head).beginnings(beginnings))
}

/// Tells whether an image tower of this width has heads of 64 channels. No tensor says it; the larger ones (ViT-H, ViT-g,
/// ViT-bigG) have others.
fn has_known_heads(width: &usize) -> bool {
    width.is_multiple_of(HEAD) && *width <= 1024
}

impl Family for ClipTexts {
    type Config = TextTower;

    fn name(&self) -> &str {
        "text tower of a CLIP"
    }

    fn signature(&self) -> String {
        "`token_embedding.weight`, `positional_embedding` and `text_projection`".into()
    }

    fn anchors(&self) -> Vec<String> {
        anchors("text_model", TEXT)
    }

    fn propose(&self, anchor: &str, shapes: &Shapes<'_>) -> Vec<Proposal<TextTower>> {
        let proposal = layout("text_model", TEXT, anchor).and_then(|layout| {
            let names = Names {
                layout,
                tower: "text_model",
                shapes,
            };
            text(&names, self.activation)
        });
        proposal.into_iter().collect()
    }

    fn with_classes(&self, tower: TextTower, _classes: usize) -> TextTower {
        tower
    }
}

fn text(names: &Names<'_>, activation: Activation) -> Option<Proposal<TextTower>> {
    let tower = TextTower {
        // There are vocabularies of more.
        vocabulary: *names.shape(TEXT)?.first()?,
        width: names
            .extent(TEXT, 1)
            .filter(|width| width.is_multiple_of(HEAD))?,
        context: names.extent("positional_embedding", 0)?,
        blocks: names.blocks(),
        embedding: names.columns("text_projection")?,
        activation,
    };
    let graph = tower.graph().ok()?;
    let tables = tower.tables();
    let tables = tables
        .iter()
        .map(|(name, shape)| names.expected(name, shape));
    let others = graph.tensors().iter();
    let others = others.map(|tensor| names.expected(&tensor.name, &tensor.shape));
    let tensors = tables.chain(others).collect();
    let mut head = HeadNames::new("head", tower.embedding);
    head.in_file.clear();
    let proposal = Proposal::new(tower, "the text tower", tensors, head);
    Some(proposal.beginnings(names.beginnings(&["ln_final.weight"])))
}
