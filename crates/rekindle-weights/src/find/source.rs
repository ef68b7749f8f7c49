//! Describes the position of a network in its file, and what was left out.

use crate::error::printable;

/// Position of a network in its file, and what of the file was left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NetworkSource {
    /// Prefix of the network's names, dot included: `state_dict.module.`; often empty.
    pub prefix: String,
    /// Number of tensors that were taken.
    pub tensors: usize,
    /// Reason why this one was taken where several fit, and how to get another; empty where one fits.
    pub choice: String,
    /// The file's own name of the layer that became the head, where it has another than the published one.
    pub head: Option<String>,
    /// Reason why the network has no head, where it has none.
    pub headless: Option<String>,
    /// True if the network has no head although the file has one: that one cannot be used.
    pub has_unusable_head: bool,
    /// Tensors of the file that are not the network's, in groups.
    pub left_out: Vec<LeftOut>,
    /// Unknown Python classes whose objects were passed over.
    pub foreign: Vec<String>,
}

/// Tensors that were left out of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The name of the tensor, or what the names of several begin with.
    pub name: String,
    /// Number of tensors in the group.
    pub tensors: usize,
}

impl NetworkSource {
    /// Says in one line what was taken and what was left out; `None` where the file is the network and nothing else.
    pub fn note(&self) -> Option<String> {
        let mut parts = Vec::new();
        if !self.prefix.is_empty() {
            let prefix = printable(self.prefix.trim_end_matches('.'));
            parts.push(format!(
                "the network is under `{prefix}` ({} tensors)",
                self.tensors
            ));
        }
        if !self.choice.is_empty() {
            parts.push(self.choice.clone());
        }
        if let Some(head) = &self.head {
            parts.push(format!("`{}` is its head", printable(head)));
        }
        if !self.left_out.is_empty() {
            let shown = self
                .left_out
                .iter()
                .take(SHOWN)
                .map(|group| match group.tensors {
                    1 => printable(&group.name),
                    count => format!("{} ({count} tensors)", printable(&group.name)),
                });
            let more = match self.left_out.len().saturating_sub(SHOWN) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let shown: Vec<String> = shown.collect();
            parts.push(format!("left out: {}{more}", shown.join(", ")));
        }
        if !self.foreign.is_empty() {
            let shown: Vec<String> = self
                .foreign
                .iter()
                .take(3)
                .map(|name| printable(name))
                .collect();
            parts.push(format!("passed over: objects of {}", shown.join(", ")));
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

/// A message of hundreds of names helps nobody.
const SHOWN: usize = 6;
