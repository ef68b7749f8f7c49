//! How a table is read.

use std::path::PathBuf;

use rekindle_files::names;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::said::list;
use crate::task::Task;

/// What stands between several labels in one cell where nothing else is asked for.
pub(super) const SEPARATOR: &str = ";";

/// Options of [`ImageTable::open_with`](crate::ImageTable::open_with). Columns that are not named are found by their names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TableOptions {
    /// The folder that files are relative to; the table's own by default.
    #[serde(with = "names::optional_path", skip_serializing_if = "Option::is_none")]
    pub root: Option<PathBuf>,
    /// The column of the pictures' files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The column of the labels, or of a number to learn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The columns of several labels, each of 0 and 1, or of several numbers to learn.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// What stands between several labels in one cell; `;` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub separator: Option<String>,
    /// The column of the parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// The column of the weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<String>,
    /// The column of the groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What is to be learned; classes in an order where [`order`](Self::order) gives one, several labels where
    /// [`labels`](Self::labels) or [`separator`](Self::separator) speak of them, a number where the table has no column of labels and one other column, of numbers; else one class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// The classes or labels in the order of a model's logits; others in the table are then an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<String>>,
    /// The classes of [`Task::Ordinal`] from the lowest to the highest, each that the training pictures have; by number where all
    /// are numbers, by name otherwise, where it isn't given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Vec<String>>,
}

impl TableOptions {
    /// What is to be learned, if the options agree about it.
    pub(super) fn checked_task(&self) -> Result<Task, Error> {
        let several = !self.labels.is_empty() || self.separator.is_some();
        let task = self.task.unwrap_or(match (several, &self.order) {
            (true, _) => Task::MultiLabel,
            (false, Some(_)) => Task::Ordinal,
            (false, None) => Task::SingleLabel,
        });
        let refuse = |option, reason: &str| {
            Err(Error::InvalidOption {
                option,
                reason: reason.into(),
            })
        };
        if !self.labels.is_empty() && self.label.is_some() {
            return refuse(
                "labels",
                "one column of labels is named as well; name one or the others",
            );
        }
        if !self.labels.is_empty() && task.is_single_label() {
            return refuse(
                "labels",
                "one column for each label speaks of several labels a picture; ask for multi-label or regression",
            );
        }
        let mut names = self.labels.clone();
        names.sort();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return refuse("labels", &format!("{} is named twice", pair[0]));
        }
        if self.separator.is_some() && (task != Task::MultiLabel || !self.labels.is_empty()) {
            return refuse(
                "label separator",
                "it parts several labels in one cell, and there are none; leave it out, or ask for multi-label",
            );
        }
        if self
            .separator
            .as_deref()
            .is_some_and(|s| s.trim() != s || s.is_empty())
        {
            return refuse("label separator", "it is empty or has spaces around it");
        }
        if let Some(order) = &self.order {
            if task != Task::Ordinal {
                return refuse(
                    "order of the classes",
                    &format!(
                        "the task is {task}, whose classes have none; leave it out, or ask for ordinal"
                    ),
                );
            }
            if let Some(classes) = self.classes.as_ref().filter(|known| *known != order) {
                return refuse(
                    "order of the classes",
                    &format!(
                        "it is {}, and the model's is {}",
                        list(order),
                        list(classes)
                    ),
                );
            }
            let mut names = order.clone();
            names.sort();
            if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
                return refuse(
                    "order of the classes",
                    &format!("{} is named twice", pair[0]),
                );
            }
        }
        Ok(task)
    }
}
