//! What numbers that a model gives are worth beside the true ones.

use serde::{Deserialize, Serialize};

use crate::TrainerError;

/// Errors of numbers that a model gives, in the numbers' own units.
///
/// ```
/// use rekindle_trainer::RegressionEvaluation;
///
/// let found = RegressionEvaluation::from_numbers(&[2.5, 0.0, 2.0, 8.0], &[3.0, -0.5, 2.0, 7.0])?;
/// assert_eq!(found.mae, 0.5);
/// assert!((found.rmse - 0.375f64.sqrt()).abs() < 1e-12);
/// # Ok::<(), rekindle_trainer::TrainerError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RegressionEvaluation {
    /// Samples looked at.
    pub samples: usize,
    /// Mean absolute error.
    pub mae: f64,
    /// Root of the mean squared error.
    pub rmse: f64,
    /// Share of the true numbers' variance that is explained (coefficient of determination): 1 at best, 0 for an answer of
    /// their mean to everything, less for worse; none where the true numbers are all the same.
    pub r2: Option<f64>,
    /// Median of the absolute errors, which a few large ones don't move.
    pub median_absolute_error: f64,
    /// Mean of answer minus truth: above 0 where answers are too high on the whole.
    pub mean_error: f64,
}

impl RegressionEvaluation {
    /// Evaluates answers against the true numbers.
    ///
    /// # Errors
    ///
    /// [`TrainerError::InvalidPredictions`] where lengths disagree, there are no numbers, or one is not finite.
    pub fn from_numbers(answers: &[f32], truths: &[f32]) -> Result<Self, TrainerError> {
        check(answers, truths)?;
        let samples = truths.len() as f64;
        let errors: Vec<f64> = answers
            .iter()
            .zip(truths)
            .map(|(answer, truth)| f64::from(*answer) - f64::from(*truth))
            .collect();
        let squares: f64 = errors.iter().map(|error| error * error).sum();
        let mean = truths.iter().map(|truth| f64::from(*truth)).sum::<f64>() / samples;
        let deviations = truths
            .iter()
            .map(|truth| (f64::from(*truth) - mean).powi(2));
        let variance: f64 = deviations.sum();
        let mut absolute: Vec<f64> = errors.iter().map(|error| error.abs()).collect();
        absolute.sort_by(f64::total_cmp);
        let middle = absolute.len() / 2;
        Ok(Self {
            samples: truths.len(),
            mae: absolute.iter().sum::<f64>() / samples,
            rmse: (squares / samples).sqrt(),
            r2: truths
                .iter()
                .any(|truth| *truth != truths[0])
                .then(|| 1.0 - squares / variance),
            median_absolute_error: match absolute.len() % 2 {
                0 => 0.5 * (absolute[middle - 1] + absolute[middle]),
                _ => absolute[middle],
            },
            mean_error: errors.iter().sum::<f64>() / samples,
        })
    }
}

pub(super) fn check(answers: &[f32], truths: &[f32]) -> Result<(), TrainerError> {
    let invalid =
        |found: String, expected: String| Err(TrainerError::InvalidPredictions { found, expected });
    if truths.is_empty() || answers.len() != truths.len() {
        return invalid(
            format!("{} answers for {} numbers", answers.len(), truths.len()),
            "one each, and one at least".into(),
        );
    }
    match answers
        .iter()
        .chain(truths)
        .find(|number| !number.is_finite())
    {
        Some(number) => invalid(
            format!("a number of {number}"),
            "finite ones (NaN means that training diverged)".into(),
        ),
        None => Ok(()),
    }
}
