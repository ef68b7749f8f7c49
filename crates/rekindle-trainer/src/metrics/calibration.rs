use serde::{Deserialize, Serialize};

use super::{argmax, check_probabilities};
use crate::error::TrainerError;

/// Agreement of confidence and accuracy: a classifier that says "90 %" should be right nine times out of ten
/// (Guo et al., "On Calibration of Modern Neural Networks", 2017).
///
/// Confidence is the largest probability of a row. Bins are of equal width, each open below and
/// closed above.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Expected calibration error: mean over all samples of the distance between a bin's
    /// confidence and its accuracy, 0 to 1, lower is better.
    pub ece: f64,
    /// Maximum calibration error: the same distance in the worst bin that has samples.
    pub mce: f64,
    /// Mean confidence minus accuracy: above 0 is overconfident.
    pub overconfidence: f64,
    /// The reliability diagram, from low to high confidence.
    pub bins: Vec<ReliabilityBin>,
}

/// One bar of a reliability diagram.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// Confidences above this...
    pub lower: f64,
    /// ... and up to this.
    pub upper: f64,
    /// Samples in the bin.
    pub samples: usize,
    /// Their mean confidence; 0 in an empty bin.
    pub confidence: f64,
    /// Their share of right answers; 0 in an empty bin.
    pub accuracy: f64,
}

impl Calibration {
    /// Bins of an ordinary reliability diagram.
    pub const BINS: usize = 10;

    /// Bins the confidences of `probabilities`, row-major `[samples, classes]`.
    ///
    /// # Errors
    ///
    /// [`TrainerError::InvalidPredictions`], as
    /// [`Evaluation::from_probabilities`](super::Evaluation::from_probabilities), and for 0 bins.
    pub fn from_probabilities(
        probabilities: &[f32],
        labels: &[usize],
        classes: usize,
        bins: usize,
    ) -> Result<Self, TrainerError> {
        if bins == 0 {
            return Err(TrainerError::InvalidPredictions {
                found: "0 bins".into(),
                expected: "at least one".into(),
            });
        }
        check_probabilities(probabilities, labels, classes)?;
        let answers = probabilities
            .chunks_exact(classes)
            .zip(labels)
            .map(|(row, &label)| {
                let predicted = argmax(row);
                (f64::from(row[predicted]), predicted == label)
            });
        Ok(Self::from_answers(answers, bins))
    }

    fn from_answers(answers: impl Iterator<Item = (f64, bool)>, count: usize) -> Self {
        let mut sums = vec![(0usize, 0.0f64, 0usize); count];
        for (confidence, right) in answers {
            let bin = (confidence * count as f64).ceil() as usize;
            let (samples, total, hits) = &mut sums[bin.clamp(1, count) - 1];
            *samples += 1;
            *total += confidence;
            *hits += usize::from(right);
        }
        let bins: Vec<ReliabilityBin> = sums
            .iter()
            .enumerate()
            .map(|(index, &(samples, total, hits))| ReliabilityBin {
                lower: index as f64 / count as f64,
                upper: (index + 1) as f64 / count as f64,
                samples,
                confidence: total / samples.max(1) as f64,
                accuracy: hits as f64 / samples.max(1) as f64,
            })
            .collect();
        Self::from_bins(bins)
    }

    fn from_bins(bins: Vec<ReliabilityBin>) -> Self {
        let samples: usize = bins.iter().map(|bin| bin.samples).sum();
        let weighted = |value: &dyn Fn(&ReliabilityBin) -> f64| {
            bins.iter()
                .map(|bin| bin.samples as f64 * value(bin))
                .sum::<f64>()
                / samples.max(1) as f64
        };
        Self {
            ece: weighted(&|bin| bin.gap().abs()),
            mce: bins
                .iter()
                .filter(|bin| bin.samples > 0)
                .map(|bin| bin.gap().abs())
                .fold(0.0, f64::max),
            overconfidence: weighted(&ReliabilityBin::gap),
            bins,
        }
    }
}

impl ReliabilityBin {
    /// Returns confidence minus accuracy.
    pub fn gap(&self) -> f64 {
        self.confidence - self.accuracy
    }
}
