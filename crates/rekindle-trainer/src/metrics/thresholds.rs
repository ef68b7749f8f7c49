//! The probability of each label from which on a picture is said to have it, chosen on labelled pictures.

use serde::{Deserialize, Serialize};

use super::multi_label::{Counts, check};
use super::{THRESHOLD, best_threshold};
use crate::TrainerError;

/// Parts of the samples that are held out in turn.
const FOLDS: usize = 5;

/// The threshold of the highest F1 of each label, and what to expect of them on other pictures.
///
/// [`values`](Self::values) are chosen on all samples. The figures beside them are cross-fitted: each fifth of the samples is
/// judged by thresholds that the other four fifths chose. On the samples that chose them, thresholds look better than they are.
///
/// ```
/// use rekindle_trainer::LabelThresholds;
///
/// // One label, which every third picture has; the network says 0.3 where it is, and 0.1 where it isn't.
/// let targets: Vec<f32> = (0..30).map(|at| if at % 3 == 0 { 1.0 } else { 0.0 }).collect();
/// let probabilities: Vec<f32> = targets.iter().map(|target| 0.1 + 0.2 * target).collect();
/// let found = LabelThresholds::fit(&probabilities, &targets, 1)?;
/// assert!((found.values[0] - 0.2).abs() < 1e-6);
/// assert_eq!((found.macro_f1_at_half, found.macro_f1), (0.0, 1.0));
/// # Ok::<(), rekindle_trainer::TrainerError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelThresholds {
    /// The thresholds, in the order of the logits; [`THRESHOLD`] for a label that no sample has.
    pub values: Vec<f64>,
    /// F1 over all answers together, cross-fitted.
    pub micro_f1: f64,
    /// Mean of every label's F1, cross-fitted.
    pub macro_f1: f64,
    /// F1 over all answers together with [`THRESHOLD`] for all labels.
    pub micro_f1_at_half: f64,
    /// Mean of every label's F1 with that.
    pub macro_f1_at_half: f64,
}

impl LabelThresholds {
    /// Chooses thresholds for `probabilities` by `targets` of 0 and 1, both row-major `[samples, labels]`.
    ///
    /// # Errors
    ///
    /// [`TrainerError::InvalidPredictions`] where lengths disagree, there are no samples, or a probability is none.
    pub fn fit(
        probabilities: &[f32],
        targets: &[f32],
        labels: usize,
    ) -> Result<Self, TrainerError> {
        check(probabilities, targets, labels, None)?;
        let mut values = Vec::with_capacity(labels);
        let (mut chosen, mut at_half) = (Scores::default(), Scores::default());
        for label in 0..labels {
            let of = |values: &[f32], keep: &dyn Fn(usize) -> bool| -> Vec<f32> {
                let rows = values.iter().skip(label).step_by(labels).enumerate();
                rows.filter(|(sample, _)| keep(*sample))
                    .map(|(_, value)| *value)
                    .collect()
            };
            let of_both =
                |keep: &dyn Fn(usize) -> bool| (of(probabilities, keep), of(targets, keep));
            let (said, truth) = of_both(&|_| true);
            values.push(best_threshold(&said, &truth));
            at_half.add(&Counts::of(&said, &truth, THRESHOLD));
            let mut counts = Counts::default();
            for fold in 0..FOLDS {
                let (said, truth) = of_both(&|sample| sample % FOLDS != fold);
                let threshold = best_threshold(&said, &truth);
                let (said, truth) = of_both(&|sample| sample % FOLDS == fold);
                counts.add(&Counts::of(&said, &truth, threshold));
            }
            chosen.add(&counts);
        }
        Ok(Self {
            values,
            micro_f1: chosen.all.f1(),
            macro_f1: chosen.sum / labels as f64,
            micro_f1_at_half: at_half.all.f1(),
            macro_f1_at_half: at_half.sum / labels as f64,
        })
    }

    /// Returns the thresholds to use on new pictures: none where cross-fitting doesn't show that they raise the mean F1.
    pub fn to_keep(&self) -> Option<&[f64]> {
        (self.macro_f1 > self.macro_f1_at_half).then_some(&self.values)
    }
}

/// Counts over all labels, and the sum of the labels' F1.
#[derive(Default)]
struct Scores {
    all: Counts,
    sum: f64,
}

impl Scores {
    fn add(&mut self, label: &Counts) {
        self.all.add(label);
        self.sum += label.f1();
    }
}
