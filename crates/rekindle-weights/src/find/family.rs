//! Defines what the finder asks of a family of networks.

use std::collections::BTreeSet;
use std::ops::Range;

use super::parting::parting;
use crate::checkpoint::Checkpoint;

/// A family of networks that a file may hold.
///
/// The finder knows no network. It looks for names that end like a family's first tensor, shows the family the shapes
/// under the same prefix, and compares the file with what the family proposes.
///
/// ```
/// use rekindle_weights::{Expected, Family, HeadNames, Proposal, Shapes};
///
/// /// One linear layer and a head.
/// struct Tiny;
///
/// impl Family for Tiny {
///     type Config = [usize; 2];
///
///     fn name(&self) -> &str {
///         "tiny network"
///     }
///
///     fn signature(&self) -> String {
///         "`body.weight` and `body.bias`".into()
///     }
///
///     fn anchors(&self) -> Vec<String> {
///         vec!["body.weight".into()]
///     }
///
///     fn propose(&self, _anchor: &str, shapes: &Shapes<'_>) -> Vec<Proposal<[usize; 2]>> {
///         let Some(&[features, _]) = shapes.get("body.weight") else {
///             return Vec::new();
///         };
///         let tensors = vec![
///             Expected::new("body.weight", [features, 4]),
///             Expected::new("body.bias", [features]),
///         ];
///         let head = HeadNames::new("head", features);
///         vec![Proposal::new([features, 0], "tiny", tensors, head)]
///     }
///
///     fn with_classes(&self, [features, _]: [usize; 2], classes: usize) -> [usize; 2] {
///         [features, classes]
///     }
/// }
/// ```
pub trait Family {
    /// Configuration of a network: sizes, or a description.
    type Config;

    /// Returns the name of a network of the family in a sentence: `ResNet`.
    fn name(&self) -> &str;

    /// Says which tensors are looked for, as the end of the sentence "under no prefix are there".
    fn signature(&self) -> String;

    /// Lists what files may call a network's first tensor: one name for each way of naming. Whatever stands in front of
    /// it is a prefix.
    fn anchors(&self) -> Vec<String>;

    /// Proposes the networks that the shapes under one prefix may be; nothing where they are no network's at all.
    ///
    /// `anchor` is the one of [`anchors`](Self::anchors) that is there. Where several proposals fit, the one that the
    /// file's metadata call `architecture` is taken, or else the first.
    fn propose(&self, anchor: &str, shapes: &Shapes<'_>) -> Vec<Proposal<Self::Config>>;

    /// Returns the network with a classifier for `classes` classes; 0 for none.
    fn with_classes(&self, config: Self::Config, classes: usize) -> Self::Config;
}

/// The shapes of a file's tensors under one prefix.
#[derive(Clone, Copy, Debug)]
pub struct Shapes<'a> {
    checkpoint: &'a Checkpoint,
    prefix: &'a str,
}

impl<'a> Shapes<'a> {
    pub(super) fn under(prefix: &'a str, checkpoint: &'a Checkpoint) -> Self {
        Self { checkpoint, prefix }
    }

    /// Returns the prefix, dot included.
    pub fn prefix(&self) -> &'a str {
        self.prefix
    }

    /// Returns the shape of the tensor with this name behind the prefix.
    pub fn get(&self, name_in_file: &str) -> Option<&'a [usize]> {
        self.checkpoint
            .shape(&format!("{}{name_in_file}", self.prefix))
    }
}

/// A tensor that a network has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Its name in the published state dict.
    pub name: String,
    /// Its name in the file, behind the prefix.
    pub in_file: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Layout of the tensor in the file.
    pub layout: Layout,
}

/// Layout of a tensor in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// The same layout.
    #[default]
    Same,
    /// A matrix with rows and columns exchanged.
    Transposed,
    /// Parts of equal shape, one behind the other along the first extent, that follow the one called
    /// [`in_file`](Expected::in_file): these names, behind the prefix.
    JoinedWith(Vec<String>),
}

impl Expected {
    /// Returns a tensor that the file calls by its published name.
    pub fn new(name: impl Into<String>, shape: impl Into<Vec<usize>>) -> Self {
        let name = name.into();
        Self {
            in_file: name.clone(),
            name,
            shape: shape.into(),
            layout: Layout::Same,
        }
    }

    /// Sets the file's own name.
    pub fn in_file(self, in_file: impl Into<String>) -> Self {
        Self {
            in_file: in_file.into(),
            ..self
        }
    }

    /// Says that the file's matrix has rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self {
            layout: Layout::Transposed,
            ..self
        }
    }

    /// Says that the file holds it in parts of equal shape, one behind the other along the first extent, and what it calls
    /// them, such as queries, keys and values.
    pub fn joined<S: Into<String>>(self, parts: impl IntoIterator<Item = S>) -> Self {
        let mut parts = parts.into_iter().map(Into::into);
        Self {
            in_file: parts.next().unwrap_or(self.in_file),
            layout: Layout::JoinedWith(parts.collect()),
            ..self
        }
    }

    /// Lists the file's names of it, behind the prefix, with the shape that the file has under each.
    pub(super) fn parts(&self) -> (Vec<&str>, Vec<usize>) {
        let mut names = vec![self.in_file.as_str()];
        let mut shape = self.shape.clone();
        match &self.layout {
            Layout::Same => {}
            Layout::Transposed => shape.reverse(),
            Layout::JoinedWith(others) => {
                names.extend(others.iter().map(String::as_str));
                if let Some(rows) = shape.first_mut() {
                    *rows /= names.len();
                }
            }
        }
        (names, shape)
    }
}

/// A network that the shapes under a prefix may be.
#[derive(Clone, Debug)]
pub struct Proposal<C> {
    /// Configuration of the network.
    pub config: C,
    /// Its published name, or a description of a network that has none.
    pub name: String,
    /// All its tensors but the head's and the counters of batches, the one at the anchor first.
    pub tensors: Vec<Expected>,
    /// Prefixes of these tensors in the file: a tensor under one of these that isn't the network's belongs to
    /// another network.
    pub beginnings: Vec<String>,
    /// Its classifier.
    pub head: HeadNames,
    /// True if sizes are the proposal's own, and not read off the file: where they differ, a message says
    /// whose they are.
    pub is_fixed: bool,
}

impl<C> Proposal<C> {
    /// Returns a network of these tensors, with the first parts of their names as beginnings.
    pub fn new(
        config: C,
        name: impl Into<String>,
        tensors: Vec<Expected>,
        head: HeadNames,
    ) -> Self {
        Self {
            config,
            name: name.into(),
            beginnings: beginnings(&tensors, &head),
            tensors,
            head,
            is_fixed: false,
        }
    }

    /// Sets what the names of the network's tensors begin with.
    pub fn beginnings<S: Into<String>>(self, beginnings: impl IntoIterator<Item = S>) -> Self {
        let beginnings = beginnings.into_iter().map(Into::into).collect();
        Self { beginnings, ..self }
    }

    /// Says that the sizes are not read off the file.
    pub fn fixed(self) -> Self {
        Self {
            is_fixed: true,
            ..self
        }
    }
}

/// Returns the first parts of all names, as deep as it takes to tell them from the head's; numbers at the end of a
/// part stand for any number, since `layer5` belongs to a network with a `layer4`.
fn beginnings(tensors: &[Expected], head: &HeadNames) -> Vec<String> {
    let head = head.in_file.first().map_or("", String::as_str);
    let first = tensors.iter().map(|tensor| {
        let name = tensor.in_file.as_str();
        let Range { start, end } = parting(name, head);
        match name[start..end].trim_end_matches(|c: char| c.is_ascii_digit()) {
            "" => format!("{}.", &name[..end]),
            // A part with a number, or the whole of it.
            part if start + part.len() < end => name[..start + part.len()].to_string(),
            _ => format!("{}.", &name[..end]),
        }
    });
    let first: BTreeSet<String> = first.collect();
    let is_within = |name: &String| {
        let mut shorter = first.iter().filter(|other| *other != name);
        shorter.any(|other| name.starts_with(other.as_str()))
    };
    first
        .iter()
        .filter(|name| !is_within(name))
        .cloned()
        .collect()
}

/// The names of a classifier: one linear layer behind the trunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadNames {
    /// Its name in the published state dict, which it gets.
    pub published: String,
    /// Length of the rows that it takes.
    pub features: usize,
    /// Names that files may give it, after the prefix. A layer of the first name is taken, whatever others there are.
    pub in_file: Vec<String>,
    /// The last part of the prefix where the classifier stands beside that part and not inside of it.
    pub beside: Option<String>,
}

/// Names that libraries give the one linear layer behind a network's pooling: torchvision and timm; Cadene's
/// `pretrainedmodels`; and what people write.
const USUAL: [&str; 4] = ["fc", "last_linear", "head", "classifier"];

impl HeadNames {
    /// Returns a classifier that has its published name in the file, or one of those that are usual.
    pub fn new(published: impl Into<String>, features: usize) -> Self {
        let published = published.into();
        let usual = USUAL.into_iter().map(str::to_string);
        let others = usual.filter(|name| *name != published);
        Self {
            in_file: std::iter::once(published.clone()).chain(others).collect(),
            published,
            features,
            beside: None,
        }
    }

    /// Sets what the file calls it where it has the published name's place.
    pub fn in_file(mut self, name: impl Into<String>) -> Self {
        let name = name.into();
        let others = self.in_file.into_iter().skip(1);
        let others = others.filter(|other| *other != name);
        self.in_file = std::iter::once(name.clone()).chain(others).collect();
        self
    }

    /// Sets the one place where the file has it: `name` beside the part of the prefix that is called `part`.
    pub fn only_beside(mut self, part: impl Into<String>, name: impl Into<String>) -> Self {
        self.in_file = vec![name.into()];
        self.beside = Some(part.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(names: &[&str], head: &str) -> Vec<String> {
        let tensors: Vec<Expected> = names.iter().map(|name| Expected::new(*name, [1])).collect();
        beginnings(&tensors, &HeadNames::new(head, 1))
    }

    #[test]
    fn beginnings_tell_a_trunk_from_its_head_and_from_another_trunk() {
        let names = ["conv1.weight", "layer1.0.conv1.weight", "layer4.2.bn1.bias"];
        assert_eq!(found(&names, "fc"), ["conv", "layer"]);
        let names = [
            "features.0.0.weight",
            "features.12.1.bias",
            "classifier.0.weight",
        ];
        assert_eq!(
            found(&names, "classifier.3"),
            ["classifier.0.", "features."]
        );
        assert_eq!(found(&names[..2], "classifier.1"), ["features."]);
        assert_eq!(
            found(&["_conv_stem.weight", "_bn0.bias"], "_fc"),
            ["_bn", "_conv_stem."]
        );
    }

    #[test]
    fn a_head_has_its_published_name_first() {
        let head = HeadNames::new("classifier", 8).in_file("classifier");
        assert_eq!(head.in_file, ["classifier", "fc", "last_linear", "head"]);
        assert_eq!(
            head.in_file("_fc").in_file,
            ["_fc", "fc", "last_linear", "head"]
        );
    }
}
