//! Curves over all thresholds of a class against the others, and the areas below them.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Points that all curves of one kind may have together, so that those of many classes fill no page.
const POINTS: usize = 10_000;

/// Points of one curve, at least and at most.
const PER_CURVE: (usize, usize) = (12, 100);

/// How well the probability of each class tells its images from the others, over all thresholds (one against the rest).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RankingCurves {
    /// Mean of the classes' areas under the ROC curve; none where no class has one.
    pub macro_auroc: Option<f64>,
    /// Mean of the classes' average precision; none where no class has one.
    pub macro_average_precision: Option<f64>,
    /// The curves of each class, in the order of the classes.
    pub classes: Vec<ClassCurves>,
}

/// The curves of one class. They begin at the strictest threshold; of many points some are kept, evenly along the curve, the
/// first and the last included, and the areas are those of all points.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ClassCurves {
    /// Area under the ROC curve: the probability that an image of the class has a higher probability of it than another
    /// image, equal ones counted half. None where no image, or every image, is of the class.
    pub auroc: Option<f64>,
    /// Area below the steps of precision over recall; none where no image is of the class.
    pub average_precision: Option<f64>,
    /// Receiver operating characteristic: false positive rate and true positive rate, from `[0, 0]` to `[1, 1]`; empty where
    /// there is no [`auroc`](Self::auroc).
    pub roc: Vec<[f64; 2]>,
    /// Recall and precision, from `[0, 1]`, which is no threshold's, on; empty where no image is of the class.
    pub precision_recall: Vec<[f64; 2]>,
    /// Cumulative gains: the share of all images that are looked at, those of the highest probability first, and the share of
    /// the class's images among them, from `[0, 0]` to `[1, 1]`; empty where no image is of the class.
    pub gains: Vec<[f64; 2]>,
}

impl RankingCurves {
    /// Computes the curves of `probabilities` `[samples, classes]`, row-major, against the true class of each row.
    pub(super) fn of(probabilities: &[f32], labels: &[usize], classes: usize) -> Self {
        let most = (POINTS / classes.max(1)).clamp(PER_CURVE.0, PER_CURVE.1);
        let found: Vec<ClassCurves> = (0..classes)
            .into_par_iter()
            .map(|class| {
                let scores = probabilities.iter().skip(class).step_by(classes);
                let scores: Vec<f32> = scores.copied().collect();
                let truths: Vec<bool> = labels.iter().map(|label| *label == class).collect();
                ClassCurves::of(&scores, &truths, most)
            })
            .collect();
        let mean = |of: fn(&ClassCurves) -> Option<f64>| {
            let known: Vec<f64> = found.iter().filter_map(of).collect();
            let sum: f64 = known.iter().sum();
            (!known.is_empty()).then(|| sum / known.len() as f64)
        };
        Self {
            macro_auroc: mean(|class| class.auroc),
            macro_average_precision: mean(|class| class.average_precision),
            classes: found,
        }
    }
}

impl ClassCurves {
    /// Computes the curves of scores, of which each is an image's of the class or not; at most `most` points per curve.
    pub(super) fn of(scores: &[f32], truths: &[bool], most: usize) -> Self {
        let steps = cumulative(scores, truths);
        let images = scores.len() as f64;
        let positives = truths.iter().filter(|truth| **truth).count() as f64;
        let negatives = images - positives;
        if positives == 0.0 {
            return Self::default();
        }
        let points = |first: [f64; 2], of: &dyn Fn(f64, f64) -> [f64; 2]| {
            let others = steps
                .iter()
                .map(|step| of(step.taken as f64, step.right as f64));
            std::iter::once(first).chain(others).collect::<Vec<_>>()
        };
        let roc = match negatives > 0.0 {
            true => points([0.0; 2], &|taken, right| {
                [(taken - right) / negatives, right / positives]
            }),
            false => Vec::new(),
        };
        let precision_recall = points([0.0, 1.0], &|taken, right| {
            [right / positives, right / taken]
        });
        let gains = points([0.0; 2], &|taken, right| {
            [taken / images, right / positives]
        });
        Self {
            auroc: (!roc.is_empty()).then(|| trapezoids(&roc)),
            average_precision: Some(steps_below(&precision_recall)),
            roc: thinned(&roc, most),
            precision_recall: thinned(&precision_recall, most),
            gains: thinned(&gains, most),
        }
    }
}

/// The images down to a threshold.
pub(super) struct Step {
    /// All of them.
    pub taken: usize,
    /// Those that are of the class.
    pub right: usize,
}

/// Counts at each distinct score, from the highest on.
pub(super) fn cumulative(scores: &[f32], truths: &[bool]) -> Vec<Step> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let (mut right, mut steps) = (0, Vec::new());
    for (rank, index) in order.iter().enumerate() {
        right += usize::from(truths[*index]);
        if order.get(rank + 1).map(|next| scores[*next]) != Some(scores[*index]) {
            steps.push(Step {
                taken: rank + 1,
                right,
            });
        }
    }
    steps
}

/// The area below straight lines between the points.
fn trapezoids(curve: &[[f64; 2]]) -> f64 {
    let between = |pair: &[[f64; 2]]| 0.5 * (pair[1][0] - pair[0][0]) * (pair[0][1] + pair[1][1]);
    curve.windows(2).map(between).sum()
}

/// The area below steps: each gain along the first axis times the value that it leads to.
pub(super) fn steps_below(curve: &[[f64; 2]]) -> f64 {
    let mut before = 0.0;
    let mut sum = 0.0;
    for [x, y] in curve {
        sum += (x - before) * y;
        before = *x;
    }
    sum
}

/// Leaves out points on straight lines, then keeps at most `most`, evenly along the curve, the first and the last included.
fn thinned(curve: &[[f64; 2]], most: usize) -> Vec<[f64; 2]> {
    let corners = corners(curve);
    if corners.len() <= most {
        return corners;
    }
    let mut along = vec![0.0];
    for pair in corners.windows(2) {
        let step = (pair[1][0] - pair[0][0]).abs() + (pair[1][1] - pair[0][1]).abs();
        along.push(along[along.len() - 1] + step);
    }
    let (last, whole) = (corners.len() - 1, along[along.len() - 1]);
    let at = |place: usize| {
        let length = whole * place as f64 / (most - 1) as f64;
        along.partition_point(|reached| *reached < length).min(last)
    };
    let mut kept: Vec<usize> = (0..most - 1).map(at).filter(|at| *at < last).collect();
    kept.push(last);
    kept.dedup();
    kept.into_iter().map(|at| corners[at]).collect()
}

/// The points at which a curve changes its direction, and both ends.
fn corners(curve: &[[f64; 2]]) -> Vec<[f64; 2]> {
    let mut kept: Vec<[f64; 2]> = Vec::new();
    for (place, point) in curve.iter().enumerate() {
        let (Some(before), Some(next)) = (kept.last(), curve.get(place + 1)) else {
            kept.push(*point);
            continue;
        };
        let [a, b] = [point[0] - before[0], point[1] - before[1]];
        let [c, d] = [next[0] - point[0], next[1] - point[1]];
        if (a * d - b * c).abs() > 1e-12 {
            kept.push(*point);
        }
    }
    kept
}
