//! What answers are worth where a picture has any number of labels.

use serde::{Deserialize, Serialize};

use super::ranking::{Step, cumulative, steps_below};
use crate::error::TrainerError;

/// The threshold of a label for which none was chosen.
pub const THRESHOLD: f64 = 0.5;

/// Points of a precision-recall curve that are kept.
const CURVE: usize = 64;

/// Everything that one pass over a labelled set says about answers of several labels.
///
/// ```
/// use rekindle_trainer::MultiLabelEvaluation;
///
/// // Three pictures, two labels.
/// let probabilities = [0.9, 0.1, 0.2, 0.8, 0.6, 0.4];
/// let targets = [1.0, 0.0, 0.0, 1.0, 0.0, 1.0];
/// let found = MultiLabelEvaluation::from_probabilities(&probabilities, &targets, 2, None)?;
/// assert_eq!(found.mean_average_precision, 1.0);
/// # Ok::<(), rekindle_trainer::TrainerError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MultiLabelEvaluation {
    /// Pictures looked at.
    pub samples: usize,
    /// Mean of the labels' average precision, 0 to 1; labels that no picture has are left out.
    pub mean_average_precision: f64,
    /// F1 over all answers together.
    pub micro_f1: f64,
    /// Mean of every label's F1; that of a label which neither the pictures nor the answers have is 0.
    pub macro_f1: f64,
    /// Share of right answers, each label of each picture being one.
    pub accuracy: f64,
    /// Mean of -ln of the right answer's probability, over all answers, in nats.
    pub cross_entropy: f64,
    /// The scores of each label, in the order of the logits.
    pub labels: Vec<LabelScores>,
}

/// What the answers of one label are worth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelScores {
    /// Pictures that have the label.
    pub support: u64,
    /// Area below the steps of precision over recall; none where no picture has the label.
    pub average_precision: Option<f64>,
    /// The probability from which on a picture is said to have the label.
    pub threshold: f64,
    /// Of the pictures that are said to have it, the share that has it; 0 where there are none.
    pub precision: f64,
    /// Of the pictures that have it, the share that is said to; 0 where there are none.
    pub recall: f64,
    /// Harmonic mean of both.
    pub f1: f64,
    /// Recall and precision from the strictest threshold to the most lenient one, thinned out.
    pub curve: Vec<[f64; 2]>,
}

impl MultiLabelEvaluation {
    /// Evaluates `probabilities` against `targets` of 0 and 1, both row-major `[samples, labels]`. A label is taken from its
    /// threshold on, which is [`THRESHOLD`] for all without `thresholds`.
    ///
    /// # Errors
    ///
    /// [`TrainerError::InvalidPredictions`] where lengths disagree, there are no samples, or a probability is none.
    pub fn from_probabilities(
        probabilities: &[f32],
        targets: &[f32],
        labels: usize,
        thresholds: Option<&[f64]>,
    ) -> Result<Self, TrainerError> {
        check(probabilities, targets, labels, thresholds)?;
        let samples = targets.len() / labels;
        let mut scores = Vec::with_capacity(labels);
        let mut all = Counts::default();
        for label in 0..labels {
            let of = |values: &[f32]| -> Vec<f32> {
                values.iter().skip(label).step_by(labels).copied().collect()
            };
            let (said, truth) = (of(probabilities), of(targets));
            let threshold = thresholds.map_or(THRESHOLD, |all| all[label]);
            let counts = Counts::of(&said, &truth, threshold);
            all.add(&counts);
            let curve = curve(&said, &truth);
            scores.push(LabelScores {
                support: counts.truths(),
                average_precision: (counts.truths() > 0).then(|| steps_below(&curve)),
                threshold,
                precision: counts.precision(),
                recall: counts.recall(),
                f1: counts.f1(),
                curve: thinned(&curve),
            });
        }
        let known: Vec<f64> = scores
            .iter()
            .filter_map(|label| label.average_precision)
            .collect();
        let answers = probabilities.len() as f64;
        let nats = |(said, truth): (&f32, &f32)| {
            let right = if *truth > 0.5 { *said } else { 1.0 - *said };
            super::nats(right)
        };
        let pairs = probabilities.iter().zip(targets);
        Ok(Self {
            samples,
            mean_average_precision: known.iter().sum::<f64>() / known.len() as f64,
            micro_f1: all.f1(),
            macro_f1: scores.iter().map(|label| label.f1).sum::<f64>() / labels as f64,
            accuracy: all.right as f64 / answers,
            cross_entropy: pairs.map(nats).sum::<f64>() / answers,
            labels: scores,
        })
    }
}

/// Average precision of scores against truths of 0 and 1: the sum over falling thresholds of each gain in recall times the
/// precision there, as scikit-learn's `average_precision_score` has it. None where nothing is true.
pub fn average_precision(scores: &[f32], truths: &[f32]) -> Option<f64> {
    let curve = curve(scores, truths);
    truths
        .iter()
        .any(|truth| *truth > 0.5)
        .then(|| steps_below(&curve))
}

/// Returns the threshold of the highest F1: halfway between the lowest score that is taken and the next one. The stricter of
/// equal ones; [`THRESHOLD`] where nothing is true.
pub fn best_threshold(scores: &[f32], truths: &[f32]) -> f64 {
    let truths_in_all = truths.iter().filter(|truth| **truth > 0.5).count();
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let (mut right, mut best) = (0, (0.0, THRESHOLD));
    for (taken, at) in (1..).zip(order.iter().enumerate()) {
        let (rank, index) = at;
        right += usize::from(truths[*index] > 0.5);
        let next = order.get(rank + 1).map(|next| f64::from(scores[*next]));
        let own = f64::from(scores[*index]);
        if next == Some(own) {
            continue; // Equal scores are taken together.
        }
        let f1 = 2.0 * right as f64 / (taken + truths_in_all) as f64;
        if f1 > best.0 {
            best = (f1, 0.5 * (own + next.unwrap_or(0.0)));
        }
    }
    best.1
}

/// Answers of one label, or of all, against a threshold.
#[derive(Default)]
pub(super) struct Counts {
    both: u64,
    said: u64,
    missed: u64,
    right: u64,
}

impl Counts {
    pub fn of(said: &[f32], truth: &[f32], threshold: f64) -> Self {
        let mut counts = Self::default();
        for (said, truth) in said.iter().zip(truth) {
            let (said, truth) = (f64::from(*said) >= threshold, *truth > 0.5);
            counts.both += u64::from(said && truth);
            counts.said += u64::from(said);
            counts.missed += u64::from(truth && !said);
            counts.right += u64::from(said == truth);
        }
        counts
    }

    pub fn add(&mut self, other: &Self) {
        self.both += other.both;
        self.said += other.said;
        self.missed += other.missed;
        self.right += other.right;
    }

    fn truths(&self) -> u64 {
        self.both + self.missed
    }

    fn precision(&self) -> f64 {
        share(self.both, self.said)
    }

    fn recall(&self) -> f64 {
        share(self.both, self.truths())
    }

    pub fn f1(&self) -> f64 {
        share(2 * self.both, self.said + self.truths())
    }
}

fn share(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 0.0,
        whole => part as f64 / whole as f64,
    }
}

/// Recall and precision at each score from the highest on; equal scores are one point.
fn curve(scores: &[f32], truths: &[f32]) -> Vec<[f64; 2]> {
    let truths: Vec<bool> = truths.iter().map(|truth| *truth > 0.5).collect();
    let in_all = truths.iter().filter(|truth| **truth).count().max(1) as f64;
    let point = |step: &Step| {
        let right = step.right as f64;
        [right / in_all, right / step.taken as f64]
    };
    cumulative(scores, &truths).iter().map(point).collect()
}

/// At most so many points, evenly from all, the last one included.
fn thinned(curve: &[[f64; 2]]) -> Vec<[f64; 2]> {
    if curve.len() <= CURVE {
        return curve.to_vec();
    }
    let at = |point: usize| curve[point * (curve.len() - 1) / (CURVE - 1)];
    (0..CURVE).map(at).collect()
}

pub(super) fn check(
    probabilities: &[f32],
    targets: &[f32],
    labels: usize,
    thresholds: Option<&[f64]>,
) -> Result<(), TrainerError> {
    let invalid =
        |found: String, expected: String| Err(TrainerError::InvalidPredictions { found, expected });
    if labels == 0 || targets.is_empty() || !targets.len().is_multiple_of(labels) {
        return invalid(
            format!("{} targets for {labels} labels", targets.len()),
            "one for each label of at least one picture".into(),
        );
    }
    if probabilities.len() != targets.len() {
        return invalid(
            format!(
                "{} probabilities for {} targets",
                probabilities.len(),
                targets.len()
            ),
            "as many of each".into(),
        );
    }
    if let Some(p) = probabilities.iter().find(|p| !(0.0..=1.0).contains(*p)) {
        return invalid(
            format!("a probability of {p}"),
            "0 to 1 (apply the logistic function to logits; NaN means that training diverged)"
                .into(),
        );
    }
    match thresholds {
        Some(all) if all.len() != labels => invalid(
            format!("{} thresholds for {labels} labels", all.len()),
            "one a label".into(),
        ),
        _ => Ok(()),
    }
}
