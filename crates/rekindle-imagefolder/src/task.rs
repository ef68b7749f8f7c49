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
    /// Any number of labels, none included.
    MultiLabel,
    /// One number, or several.
    Regression,
}

impl Task {
    /// Every task.
    pub const ALL: [Self; 3] = [Self::SingleLabel, Self::MultiLabel, Self::Regression];

    /// Returns the name, which [`FromStr`] reads: `single-label`, `multi-label` or `regression`.
    pub fn name(self) -> &'static str {
        match self {
            Self::SingleLabel => "single-label",
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
            reason: format!("{text} is none of single-label, multi-label and regression"),
        })
    }
}
