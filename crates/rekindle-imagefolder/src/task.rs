//! What is to be learned of pictures.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// What a picture is to be recognised as.
///
/// ```
/// use rekindle_imagefolder::Task;
///
/// assert_eq!("multi-label".parse::<Task>()?, Task::MultiLabel);
/// # Ok::<(), rekindle_imagefolder::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// One class of several.
    #[default]
    SingleLabel,
    /// One class of several that are in an order, such as grades: the further off an answer, the worse it is.
    Ordinal,
    /// Any number of labels, none included.
    MultiLabel,
    /// One number, or several.
    Regression,
}

impl Task {
    /// Every task.
    pub const ALL: [Self; 4] = [
        Self::SingleLabel,
        Self::Ordinal,
        Self::MultiLabel,
        Self::Regression,
    ];

    /// Returns true if each picture has one class, whether or not the classes are in an order.
    ///
    /// ```
    /// use rekindle_imagefolder::Task;
    ///
    /// assert!(Task::Ordinal.is_single_label());
    /// assert!(!Task::MultiLabel.is_single_label());
    /// ```
    pub fn is_single_label(self) -> bool {
        matches!(self, Self::SingleLabel | Self::Ordinal)
    }

    /// Counts images per class, or with each label; of numbers to learn, how many images have one. `targets` are
    /// `[n, classes]`, row-major.
    pub(crate) fn class_counts(
        self,
        classes: usize,
        labels: impl ExactSizeIterator<Item = Option<usize>>,
        targets: Option<&[f32]>,
    ) -> Vec<usize> {
        let mut counts = vec![0; classes];
        if self == Self::Regression {
            counts.fill(labels.len());
            return counts;
        }
        for row in targets.unwrap_or_default().chunks_exact(classes.max(1)) {
            let marked = counts
                .iter_mut()
                .zip(row)
                .filter(|(_, target)| **target > 0.5);
            marked.for_each(|(count, _)| *count += 1);
        }
        for label in labels.flatten() {
            counts[label] += 1;
        }
        counts
    }

    /// Returns the name, which [`FromStr`] reads: `single-label`, `ordinal`, `multi-label` or `regression`.
    pub fn name(self) -> &'static str {
        match self {
            Self::SingleLabel => "single-label",
            Self::Ordinal => "ordinal",
            Self::MultiLabel => "multi-label",
            Self::Regression => "regression",
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Task {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let named = Self::ALL.into_iter().find(|task| task.name() == text);
        named.ok_or_else(|| Error::InvalidOption {
            option: "task",
            reason: format!("{text} is none of single-label, ordinal, multi-label and regression"),
        })
    }
}
