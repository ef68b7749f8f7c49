//! What classes that a model names are worth where these are in an order, such as grades.

use serde::{Deserialize, Serialize};

use super::ConfusionMatrix;
use crate::TrainerError;

/// How far answers are from the true classes, where the classes are in an order; distances are counted in classes.
///
/// ```
/// use rekindle_trainer::{ConfusionMatrix, OrdinalEvaluation};
///
/// // Five grades; one picture of grade 4 is taken for grade 1.
/// let confusion = ConfusionMatrix::from_labels(&[0, 1, 2, 3, 4], &[0, 1, 2, 3, 1], 5)?;
/// let found = OrdinalEvaluation::from_confusion(&confusion)?;
/// assert_eq!((found.mae, found.within_one), (0.6, 0.8));
/// # Ok::<(), rekindle_trainer::TrainerError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OrdinalEvaluation {
    /// Samples looked at.
    pub samples: u64,
    /// Mean absolute distance of answer and truth.
    pub mae: f64,
    /// Agreement of answers and truth beyond that of chance, each disagreement by the square of its distance (Cohen 1968,
    /// <https://doi.org/10.1037/h0026256>): 1 at best, 0 for chance; none where all answers and all true classes are one class.
    pub quadratic_weighted_kappa: Option<f64>,
    /// Share of the answers that are right or one class off, 0 to 1.
    pub within_one: f64,
}

impl OrdinalEvaluation {
    /// Evaluates counts of true and predicted classes, whose indices are their order.
    ///
    /// # Errors
    ///
    /// [`TrainerError::InvalidPredictions`] without samples.
    pub fn from_confusion(confusion: &ConfusionMatrix) -> Result<Self, TrainerError> {
        let classes = confusion.classes();
        let samples = confusion.total();
        if samples == 0 {
            return Err(TrainerError::InvalidPredictions {
                found: "no sample".into(),
                expected: "at least one".into(),
            });
        }
        let predicted: Vec<u64> = (0..classes)
            .map(|class| {
                (0..classes)
                    .map(|truth| confusion.count(truth, class))
                    .sum()
            })
            .collect();
        let (mut distance, mut near) = (0.0, 0);
        let (mut observed, mut by_chance) = (0.0, 0.0);
        for truth in 0..classes {
            let support = confusion.support(truth) as f64;
            for (answer, answers) in predicted.iter().enumerate() {
                let count = confusion.count(truth, answer);
                let off = truth.abs_diff(answer) as f64;
                distance += count as f64 * off;
                near += if off <= 1.0 { count } else { 0 };
                observed += count as f64 * off * off;
                by_chance += support * *answers as f64 / samples as f64 * off * off;
            }
        }
        Ok(Self {
            samples,
            mae: distance / samples as f64,
            quadratic_weighted_kappa: (by_chance > 0.0).then(|| 1.0 - observed / by_chance),
            within_one: near as f64 / samples as f64,
        })
    }
}
