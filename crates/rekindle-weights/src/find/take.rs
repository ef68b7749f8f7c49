//! A network that was found, taken out of its file.

use std::collections::{BTreeMap, HashSet};

use super::family::{Expected, Layout};
use super::found::Found;
use super::head::{self, Head};
use super::parting::parting;
use super::source::{LeftOut, NetworkSource};
use crate::checkpoint::{Checkpoint, NamedTensor};

/// A network found in a file.
#[derive(Debug, Clone)]
pub struct Network<C> {
    /// The network's tensors under their published names; its head, where one can be used, among them.
    pub checkpoint: Checkpoint,
    /// Configuration of the network, with the number of classes that the file's head has.
    pub config: C,
    /// Its published name, or a description of a network that has none.
    pub name: String,
    /// Position of the network, and what was left out.
    pub source: NetworkSource,
}

/// Takes the network's tensors out of the file, with the head that belongs to them.
pub(super) fn take<C>(file: &Checkpoint, found: Found<'_, C>, choice: String) -> Network<C> {
    let mut taken = Taken::default();
    for expected in &found.proposal.tensors {
        taken.add_expected(file, expected, |name| found.full_name(name));
        // A counter, which files older than PyTorch 0.4.1 lack.
        let counter = |name: &str| {
            let layer = name.strip_suffix("running_var")?;
            Some(format!("{layer}num_batches_tracked"))
        };
        if let (Some(in_file), Some(name)) = (counter(&expected.in_file), counter(&expected.name)) {
            taken.add(file, found.full_name(&in_file), name);
        }
    }
    let published = found.proposal.head.published.as_str();
    let head = match found.projection {
        Some(reason) => Err(Some(reason.to_string())),
        None => head::find(file, &found.prefix, &found.proposal),
    };
    let mut source = NetworkSource {
        prefix: found.prefix.clone(),
        choice,
        foreign: file.foreign.clone(),
        ..NetworkSource::default()
    };
    let mut classes = 0;
    match head {
        Ok(head) => {
            classes = head.weight.shape()[0];
            taken.add_head(file, &head, published);
            let is_renamed = head.layer != format!("{}{published}", found.prefix);
            source.head = is_renamed.then_some(head.layer);
        }
        Err(reason) => {
            source.has_unusable_head = reason.is_some();
            let absent = || format!("it has no classifier (`{published}.weight`)");
            source.headless = Some(reason.unwrap_or_else(absent));
        }
    }
    source.tensors = taken.tensors.len();
    source.left_out = left_out(file, &found.prefix, &taken.names);
    Network {
        config: found.family.with_classes(found.proposal.config, classes),
        name: found.proposal.name,
        checkpoint: Checkpoint {
            tensors: taken.tensors,
            metadata: file.metadata.clone(),
            format: file.format,
            path: file.path.clone(),
            foreign: file.foreign.clone(),
        },
        source,
    }
}

/// Tensors on their way out of a file.
#[derive(Default)]
struct Taken<'a> {
    /// Tensors by published names.
    tensors: BTreeMap<String, NamedTensor>,
    /// Their names in the file.
    names: HashSet<&'a str>,
}

impl<'a> Taken<'a> {
    fn add(&mut self, file: &'a Checkpoint, full_name: String, name: String) {
        if let Some((full, tensor)) = file.tensors.get_key_value(&full_name) {
            self.tensors.insert(name, tensor.clone());
            self.names.insert(full);
        }
    }

    /// Adds a tensor however the file holds it.
    fn add_expected(
        &mut self,
        file: &'a Checkpoint,
        expected: &Expected,
        full_name: impl Fn(&str) -> String,
    ) {
        let (names, _) = expected.parts();
        let parts = names.into_iter().map(full_name);
        let parts: Option<Vec<_>> = parts
            .map(|name| file.tensors.get_key_value(&name))
            .collect();
        let Some(parts) = parts else {
            return;
        };
        self.names
            .extend(parts.iter().map(|(name, _)| name.as_str()));
        let first = parts[0].1;
        let tensor = match &expected.layout {
            Layout::Same => first.clone(),
            Layout::Transposed => first.transposed(),
            Layout::JoinedWith(_) => {
                NamedTensor::joined(parts.into_iter().map(|(_, part)| part.clone()).collect())
            }
        };
        self.tensors.insert(expected.name.clone(), tensor);
    }

    fn add_head(&mut self, file: &'a Checkpoint, head: &Head<'_>, published: &str) {
        let [weight, bias] = ["weight", "bias"].map(|part| format!("{published}.{part}"));
        self.add(file, head.weight.name_in_file().to_string(), weight);
        match head.bias {
            Some(found) => self.add(file, found.name_in_file().to_string(), bias),
            None => {
                let shape = head.weight.shape()[..1].to_vec();
                let zeros = NamedTensor::zeros(bias.clone(), shape, head.weight);
                self.tensors.insert(bias, zeros);
            }
        }
    }
}

/// Lists tensors that were not taken, grouped by the first part of their names that leads away from `prefix`.
fn left_out(file: &Checkpoint, prefix: &str, taken: &HashSet<&str>) -> Vec<LeftOut> {
    let mut groups: BTreeMap<&str, (&str, usize)> = BTreeMap::new();
    for name in file.tensors.keys() {
        if taken.contains(name.as_str()) {
            continue;
        }
        let end = parting(name, prefix).end;
        groups.entry(&name[..end]).or_insert((name, 0)).1 += 1;
    }
    let group = |(group, (only, tensors)): (&str, (&str, usize))| LeftOut {
        name: if tensors == 1 { only } else { group }.to_string(),
        tensors,
    };
    groups.into_iter().map(group).collect()
}
