//! The losses by name.

use std::fmt;
use std::str::FromStr;

use rekindle_imagefolder::Task;
use serde::{Deserialize, Serialize};

use crate::TrainerError;
use crate::recipe::require;

/// What training minimises.
///
/// ```
/// use rekindle_trainer::Loss;
///
/// let loss: Loss = "asymmetric=4,1,0.05".parse()?;
/// assert_eq!(loss, Loss::ASYMMETRIC);
/// # Ok::<(), rekindle_trainer::TrainerError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Loss {
    /// Cross entropy of one class among all.
    CrossEntropy,
    /// Cross entropy with less weight on what is right already: `(1 - p)^gamma` of the probability `p` of the class (Lin et
    /// al. 2017, <https://arxiv.org/abs/1708.02002>).
    Focal {
        /// The exponent; 0, or at least 1. The paper takes 2.
        gamma: f64,
    },
    /// Cross entropy of logits that are raised by `tau` times the logarithm of their class's share of the training images, so that
    /// a rare class has to win by more and does so later without that help (Menon et al. 2021,
    /// <https://arxiv.org/abs/2007.07314>). In a [`Learner`](crate::Learner) of your own, without
    /// [`class_shares`](super::Targets::class_shares) in its batches, it is the plain cross entropy.
    LogitAdjusted {
        /// The factor, at least 0. The paper takes 1, which is right for the mean of the classes' accuracies.
        tau: f64,
    },
    /// Squared earth mover's distance between the probabilities of classes in an order and the truth: the sum over the classes of
    /// the squared difference of the cumulative probabilities, so that an answer costs more the further off it is (Hou et al.
    /// 2016, <https://arxiv.org/abs/1611.05916>).
    SquaredEmd,
    /// Cross entropy of yes and no for each label; with
    /// [`balance_classes`](crate::Recipe::balance_classes), yes counts as much as no of each label in all.
    BinaryCrossEntropy,
    /// The same with less weight on what is easy, above all on labels that a picture lacks (Ridnik et al. 2021,
    /// <https://arxiv.org/abs/2009.14119>).
    Asymmetric {
        /// Exponent on the probability of a label that the picture lacks; 0, or at least 1.
        gamma_negative: f64,
        /// Exponent on one minus the probability of a label that it has; 0, or at least 1.
        gamma_positive: f64,
        /// What probabilities of labels that it lacks are lowered by, in [0, 1).
        margin: f64,
    },
    /// Absolute error.
    L1,
    /// Squared error.
    L2,
    /// Half the squared error up to `delta` and straight from there on (Huber 1964); of standardised numbers.
    Huber {
        /// Where the one goes over into the other; above 0.
        delta: f64,
    },
}

impl Loss {
    /// The asymmetric loss with the numbers of its paper.
    pub const ASYMMETRIC: Self = Self::Asymmetric {
        gamma_negative: 4.0,
        gamma_positive: 1.0,
        margin: 0.05,
    };

    /// Returns the loss that a task is trained by where nothing else is asked for.
    pub fn of_task(task: Task) -> Self {
        match task {
            Task::SingleLabel => Self::CrossEntropy,
            Task::Ordinal => Self::SquaredEmd,
            Task::MultiLabel => Self::BinaryCrossEntropy,
            Task::Regression => Self::L2,
        }
    }

    /// Returns the task that it is for; losses of one class a picture are for classes in an order as well.
    pub fn task(self) -> Task {
        match self {
            Self::CrossEntropy | Self::Focal { .. } | Self::LogitAdjusted { .. } => {
                Task::SingleLabel
            }
            Self::SquaredEmd => Task::Ordinal,
            Self::BinaryCrossEntropy | Self::Asymmetric { .. } => Task::MultiLabel,
            Self::L1 | Self::L2 | Self::Huber { .. } => Task::Regression,
        }
    }

    /// Checks the numbers.
    ///
    /// # Errors
    ///
    /// [`TrainerError::InvalidRecipe`].
    pub fn validate(self) -> Result<(), TrainerError> {
        match self {
            Self::Asymmetric {
                gamma_negative,
                gamma_positive,
                margin,
            } => {
                for gamma in [gamma_negative, gamma_positive] {
                    require(
                        gamma == 0.0 || (gamma.is_finite() && gamma >= 1.0),
                        "loss",
                        format!("an asymmetric one with an exponent of {gamma}"),
                        "exponents of 0, or of at least 1",
                    )?;
                }
                require(
                    (0.0..1.0).contains(&margin),
                    "loss",
                    format!("an asymmetric one with a margin of {margin}"),
                    "a margin of at least 0 and below 1",
                )
            }
            Self::Focal { gamma } => require(
                gamma == 0.0 || (gamma.is_finite() && gamma >= 1.0),
                "loss",
                format!("a focal one with an exponent of {gamma}"),
                "an exponent of 0, or of at least 1",
            ),
            Self::LogitAdjusted { tau } => require(
                tau.is_finite() && tau >= 0.0,
                "loss",
                format!("a logit-adjusted one with a factor of {tau}"),
                "a finite factor of at least 0",
            ),
            Self::Huber { delta } => require(
                delta.is_finite() && delta > 0.0,
                "loss",
                format!("Huber's with a delta of {delta}"),
                "a finite delta above 0",
            ),
            _ => Ok(()),
        }
    }

    /// Checks that it is for `task`.
    ///
    /// # Errors
    ///
    /// [`TrainerError::InvalidRecipe`].
    pub fn check_task(self, task: Task) -> Result<(), TrainerError> {
        let expected = match task {
            Task::SingleLabel => {
                "cross-entropy, focal or logit-adjusted, as each picture has one class; squared-emd is for classes in an order \
                 (--ordinal)"
            }
            Task::Ordinal => {
                "squared-emd, cross-entropy, focal or logit-adjusted, as each picture has one class of several in an order"
            }
            Task::MultiLabel => {
                "binary-cross-entropy or asymmetric, as a picture may have several labels"
            }
            Task::Regression => "l1, l2 or huber, as numbers are learned",
        };
        let is_for =
            self.task() == task || (self.task() == Task::SingleLabel && task == Task::Ordinal);
        require(is_for, "loss", self, expected)
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CrossEntropy => f.write_str("cross-entropy"),
            Self::Focal { gamma } => write!(f, "focal={gamma}"),
            Self::LogitAdjusted { tau } => write!(f, "logit-adjusted={tau}"),
            Self::SquaredEmd => f.write_str("squared-emd"),
            Self::BinaryCrossEntropy => f.write_str("binary-cross-entropy"),
            Self::Asymmetric {
                gamma_negative,
                gamma_positive,
                margin,
            } => write!(f, "asymmetric={gamma_negative},{gamma_positive},{margin}"),
            Self::L1 => f.write_str("l1"),
            Self::L2 => f.write_str("l2"),
            Self::Huber { delta } => write!(f, "huber={delta}"),
        }
    }
}

impl FromStr for Loss {
    type Err = TrainerError;

    /// Reads what [`Display`](fmt::Display) writes; `asymmetric` and `huber` alone take the usual numbers.
    fn from_str(text: &str) -> Result<Self, TrainerError> {
        let (name, numbers) = match text.split_once('=') {
            Some((name, numbers)) => (name, Some(numbers)),
            None => (text, None),
        };
        let numbers: Option<Vec<f64>> = numbers
            .map(|numbers| numbers.split(',').map(|n| n.trim().parse().ok()).collect())
            .unwrap_or(Some(Vec::new()));
        let loss = match (name, numbers.as_deref()) {
            ("cross-entropy", Some([])) => Some(Self::CrossEntropy),
            ("focal", Some([])) => Some(Self::Focal { gamma: 2.0 }),
            ("focal", Some([gamma])) => Some(Self::Focal { gamma: *gamma }),
            ("logit-adjusted", Some([])) => Some(Self::LogitAdjusted { tau: 1.0 }),
            ("logit-adjusted", Some([tau])) => Some(Self::LogitAdjusted { tau: *tau }),
            ("squared-emd", Some([])) => Some(Self::SquaredEmd),
            ("binary-cross-entropy", Some([])) => Some(Self::BinaryCrossEntropy),
            ("asymmetric", Some([])) => Some(Self::ASYMMETRIC),
            ("asymmetric", Some([gamma_negative, gamma_positive, margin])) => {
                Some(Self::Asymmetric {
                    gamma_negative: *gamma_negative,
                    gamma_positive: *gamma_positive,
                    margin: *margin,
                })
            }
            ("l1", Some([])) => Some(Self::L1),
            ("l2", Some([])) => Some(Self::L2),
            ("huber", Some([])) => Some(Self::Huber { delta: 1.0 }),
            ("huber", Some([delta])) => Some(Self::Huber { delta: *delta }),
            _ => None,
        };
        let loss = loss.ok_or_else(|| TrainerError::InvalidRecipe {
            field: "loss",
            found: text.to_string(),
            expected: "cross-entropy, focal[=GAMMA], logit-adjusted[=TAU], squared-emd, binary-cross-entropy, asymmetric[=NEGATIVE,POSITIVE,MARGIN], l1, l2 or huber[=DELTA]",
        })?;
        loss.validate()?;
        Ok(loss)
    }
}
