//! What a classifier would say of each image, had it not learnt from it.

use faer::Mat;
use faer::prelude::Solve;
use rayon::prelude::*;

use crate::TransferError;
use crate::error::degenerate;
use crate::features::held_out::check_penalties;
use crate::features::linalg::{Principal, matrix};
use crate::features::table::{Features, check_dim, softmax};

const METHOD: &str = "held-out ridge";

/// Steps of the search for a temperature, each of which narrows it by a golden section.
const TEMPERATURE_STEPS: usize = 20;

/// Logarithms of the lowest and the highest temperature: differences of least squares' answers are up to 1, and a tenth can be
/// enough to be sure.
const TEMPERATURES: (f64, f64) = (-5.0, 2.0);

/// Images whose losses are added up by one thread.
const PIECE: usize = 512;

/// What is left at least of an image when its lever is taken off.
const LEAST_REST: f64 = 1e-9;

/// Images of one group at most: of larger ones, each so many leave together.
const LARGEST_GROUP: usize = 256;

/// A linear probe by least squares on features of length 1, whose answers for images that it didn't learn from have a closed
/// form: the residuals of a group `G` that is left out are `(I - H_GG)^-1 (Y - F)_G`, with the hat matrix `H` and the fit `F`
/// to all images. So every image is left out alone, or with those that look the same, for the price of one eigendecomposition,
/// and nothing is drawn at random.
///
/// Penalty and temperature are those of the lowest log loss on the images left out. A wrong label draws less on a
/// squared error with a penalty than on a logistic regression, which has to get around every image.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldOutRidge {
    /// Penalties to choose from, per image, above 0.
    pub penalties: Vec<f64>,
}

/// Answers for images by probes that didn't learn from them.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldOutAnswers {
    /// What the probes say of each class `[n, classes]`, row-major: about 1 for the image's own, 0 for others.
    pub scores: Vec<f64>,
    /// Number of classes.
    pub classes: usize,
    /// What scores are over before they become probabilities.
    pub temperature: f64,
    /// The penalty that was chosen, per image.
    pub penalty: f64,
    /// Mean log loss of the labels.
    pub log_loss: f64,
}

impl Default for HeldOutRidge {
    fn default() -> Self {
        let steps = -10..=0;
        Self {
            penalties: steps
                .map(|step| 10f64.powf(0.5 * f64::from(step)))
                .collect(),
        }
    }
}

impl HeldOutRidge {
    /// Asks of every image with features `[n, dim]` what it is, leaving it out together with its group. `groups` are
    /// lists of images that look the same, none in two of them; images in none are left out alone.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] where lengths disagree, [`TransferError::Degenerate`] for fewer than two classes or
    /// images, a label that is no class, groups that overlap, no penalty, or features that are all the same.
    pub fn answers(
        &self,
        features: &Features,
        labels: &[usize],
        classes: usize,
        groups: &[Vec<usize>],
    ) -> Result<HeldOutAnswers, TransferError> {
        check_dim("labels", labels.len(), features.len())?;
        let images = labels.len();
        if classes < 2 || images < 2 {
            return degenerate(
                METHOD,
                format!(
                    "{images} image(s) of {classes} class(es); at least two of each are needed"
                ),
            );
        }
        if let Some(label) = labels.iter().find(|label| **label >= classes) {
            return degenerate(METHOD, format!("label {label} with {classes} classes"));
        }
        check_penalties(METHOD, &self.penalties)?;
        let groups = complete(groups, images)?;
        let basis = Basis::new(features)?;
        let targets = Targets::new(&basis, labels, classes);
        let all: Vec<usize> = (0..images).collect();
        let mut best: Option<HeldOutAnswers> = None;
        for penalty in &self.penalties {
            let scores = targets.left_out(&basis, *penalty * images as f64, &groups);
            let (temperature, log_loss) =
                best_temperature(&scores, labels, classes, &all, TEMPERATURES);
            if best.as_ref().is_none_or(|best| log_loss < best.log_loss) {
                best = Some(HeldOutAnswers {
                    scores,
                    classes,
                    temperature,
                    penalty: *penalty,
                    log_loss,
                });
            }
        }
        match best {
            Some(best) => Ok(best),
            None => degenerate(METHOD, "no penalty was tried; give at least one".into()),
        }
    }
}

impl HeldOutAnswers {
    /// Computes probabilities `[n, classes]`, row-major.
    pub fn probabilities(&self) -> Vec<f64> {
        let mut probabilities = self.scores.clone();
        for row in probabilities.chunks_exact_mut(self.classes) {
            row.iter_mut().for_each(|score| *score /= self.temperature);
            softmax(row);
        }
        probabilities
    }

    /// Fits the temperature anew to the images for which `counts` says so: wrong labels speak against being sure. Where it
    /// says so of none, nothing changes.
    pub fn recalibrated(mut self, labels: &[usize], counts: impl Fn(usize) -> bool) -> Self {
        let images = labels.len().min(self.scores.len() / self.classes);
        let kept: Vec<usize> = (0..images).filter(|index| counts(*index)).collect();
        if !kept.is_empty() {
            let found = best_temperature(&self.scores, labels, self.classes, &kept, TEMPERATURES);
            (self.temperature, self.log_loss) = found;
        }
        self
    }
}

/// Images that are left out together, in pieces that are not too large; all others are left out alone.
fn complete(groups: &[Vec<usize>], images: usize) -> Result<Vec<Vec<usize>>, TransferError> {
    let mut is_placed = vec![false; images];
    for index in groups.iter().flatten() {
        match is_placed.get_mut(*index) {
            Some(placed) if !*placed => *placed = true,
            Some(_) => return degenerate(METHOD, format!("image {index} is in two groups")),
            None => return degenerate(METHOD, format!("a group has image {index} of {images}")),
        }
    }
    let pieces = groups
        .iter()
        .flat_map(|group| group.chunks(LARGEST_GROUP).map(<[usize]>::to_vec));
    Ok(pieces.filter(|group| group.len() > 1).collect())
}

/// Centred features in coordinates along their principal directions.
struct Basis {
    /// `[n, rank]`.
    coordinates: Mat<f64>,
    /// Sum of squares of each column.
    variances: Vec<f64>,
}

impl Basis {
    fn new(features: &Features) -> Result<Self, TransferError> {
        let features = features.l2_normalized();
        let features = features.centered(&features.mean())?;
        let images = features.len();
        let x = matrix(&features);
        let principal = Principal::of(METHOD, &x, 0.0)?;
        let (values, vectors) = (principal.variances, principal.vectors);
        let rank = values.len();
        let coordinates = match principal.is_wide {
            true => Mat::from_fn(images, rank, |i, j| vectors[(i, j)] * values[j].sqrt()),
            false => &x * &vectors,
        };
        Ok(Self {
            coordinates,
            variances: values,
        })
    }

    /// What each coordinate's products are over, `[rank]`, to make the hat matrix of them without its constant part.
    fn shrinkage(&self, penalty: f64) -> Vec<f64> {
        self.variances
            .iter()
            .map(|variance| variance + penalty)
            .collect()
    }

    /// The hat matrix's diagonal `[n]`.
    fn levers(&self, shrinkage: &[f64]) -> Vec<f64> {
        let images = self.coordinates.nrows();
        let mut levers = vec![1.0 / images as f64; images];
        for (column, over) in self.coordinates.col_iter().zip(shrinkage) {
            for (lever, value) in levers.iter_mut().zip(column.iter()) {
                *lever += value * value / over;
            }
        }
        levers
    }

    /// The identity minus the hat matrix of some images, `[group, group]`.
    fn rest_of(&self, group: &[usize], shrinkage: &[f64]) -> Mat<f64> {
        let rows = Mat::from_fn(group.len(), shrinkage.len(), |i, j| {
            self.coordinates[(group[i], j)] / shrinkage[j].sqrt()
        });
        let products = &rows * rows.transpose();
        let constant = 1.0 / self.coordinates.nrows() as f64;
        Mat::from_fn(group.len(), group.len(), |a, b| {
            let unit = f64::from(u8::from(a == b)) * (1.0 + LEAST_REST);
            unit - products[(a, b)] - constant
        })
    }
}

/// One column for each class, 1 for images of its label.
struct Targets {
    classes: usize,
    labels: Vec<usize>,
    /// Shares of the classes.
    means: Vec<f64>,
    /// Coordinates' products with the targets, `[rank, classes]`.
    products: Mat<f64>,
}

impl Targets {
    fn new(basis: &Basis, labels: &[usize], classes: usize) -> Self {
        let images = labels.len();
        let mut means = vec![0.0; classes];
        labels
            .iter()
            .for_each(|label| means[*label] += 1.0 / images as f64);
        let targets = Mat::from_fn(images, classes, |i, class| {
            f64::from(u8::from(labels[i] == class)) - means[class]
        });
        Self {
            classes,
            labels: labels.to_vec(),
            means,
            products: basis.coordinates.transpose() * &targets,
        }
    }

    fn of(&self, index: usize, class: usize) -> f64 {
        f64::from(u8::from(self.labels[index] == class))
    }

    /// Answers `[n, classes]` of probes that didn't learn from the image, nor from those in its group.
    fn left_out(&self, basis: &Basis, penalty: f64, groups: &[Vec<usize>]) -> Vec<f64> {
        let (images, classes) = (self.labels.len(), self.classes);
        let shrinkage = basis.shrinkage(penalty);
        let weights = Mat::from_fn(self.products.nrows(), classes, |j, class| {
            self.products[(j, class)] / shrinkage[j]
        });
        let fit = &basis.coordinates * &weights;
        let residual = |index: usize, class: usize| {
            self.of(index, class) - fit[(index, class)] - self.means[class]
        };
        let mut answers = vec![0.0; images * classes];
        for (index, lever) in basis.levers(&shrinkage).into_iter().enumerate() {
            // A lever of 1 leaves nothing to say; the least rest keeps it finite.
            let rest = (1.0 - lever).max(LEAST_REST);
            for class in 0..classes {
                answers[index * classes + class] =
                    self.of(index, class) - residual(index, class) / rest;
            }
        }
        for group in groups {
            let right = Mat::from_fn(group.len(), classes, |i, class| residual(group[i], class));
            let residuals = basis
                .rest_of(group, &shrinkage)
                .partial_piv_lu()
                .solve(&right);
            for (at, index) in group.iter().enumerate() {
                for class in 0..classes {
                    answers[index * classes + class] =
                        self.of(*index, class) - residuals[(at, class)];
                }
            }
        }
        answers
    }
}

/// The temperature of the lowest mean log loss of some images' scores, and that loss: golden sections of its logarithm, in
/// which the loss has one valley.
pub(in crate::features) fn best_temperature(
    scores: &[f64],
    labels: &[usize],
    classes: usize,
    images: &[usize],
    (mut low, mut high): (f64, f64),
) -> (f64, f64) {
    let loss = |log: f64| {
        let sharpness = (-log).exp();
        let of = |index: &usize| {
            let row = &scores[index * classes..(index + 1) * classes];
            let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = row
                .iter()
                .map(|score| ((score - largest) * sharpness).exp())
                .sum();
            sum.ln() - (row[labels[*index]] - largest) * sharpness
        };
        // Sums of pieces in order, so that the number of threads changes no bit.
        let sums: Vec<f64> = images
            .par_chunks(PIECE)
            .map(|piece| piece.iter().map(of).sum())
            .collect();
        sums.into_iter().sum::<f64>() / images.len() as f64
    };
    let ratio = (5.0f64.sqrt() - 1.0) / 2.0;
    for _ in 0..TEMPERATURE_STEPS {
        let (left, right) = (high - ratio * (high - low), low + ratio * (high - low));
        match loss(left) <= loss(right) {
            true => high = right,
            false => low = left,
        }
    }
    let log = 0.5 * (low + high);
    (log.exp(), loss(log))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn waves(images: usize, dim: usize) -> (Features, Vec<usize>) {
        let value = |at: usize| ((at * 37 + at * at * 11 + 5) as f32 * 0.731).sin();
        let labels: Vec<usize> = (0..images).map(|i| (i * 7 + i / 3) % 3).collect();
        let mut values: Vec<f32> = (0..images * dim).map(value).collect();
        for (i, label) in labels.iter().enumerate() {
            values[i * dim + label] += 1.5;
        }
        (Features::new(values, dim).unwrap(), labels)
    }

    /// Fits to the other images alone, without any short cut.
    fn fitted_to_others(x: &Features, labels: &[usize], group: &[usize], penalty: f64) -> Vec<f64> {
        use crate::features::linalg::{matrix, solve_positive_definite};
        let x = x.l2_normalized();
        let x = x.centered(&x.mean()).unwrap();
        let rest: Vec<usize> = (0..x.len()).filter(|i| !group.contains(i)).collect();
        // The mean that is taken off is that of all, so the bias is fitted as a feature without a penalty.
        let design = Mat::from_fn(rest.len(), x.dim() + 1, |i, j| match j {
            0 => 1.0,
            _ => f64::from(x.row(rest[i])[j - 1]),
        });
        let y = Mat::from_fn(rest.len(), 3, |i, class| {
            f64::from(u8::from(labels[rest[i]] == class))
        });
        let mut gram = design.transpose() * &design;
        for j in 0..=x.dim() {
            gram[(j, j)] += if j == 0 { 1e-12 } else { penalty };
        }
        let right = design.transpose() * &y;
        let weights = solve_positive_definite("test", gram.as_ref(), right.as_ref()).unwrap();
        let asked = matrix(&x.select(group));
        let answer = |i: usize, class: usize| {
            (0..x.dim())
                .map(|j| asked[(i, j)] * weights[(j + 1, class)])
                .sum::<f64>()
                + weights[(0, class)]
        };
        (0..group.len())
            .flat_map(|i| [answer(i, 0), answer(i, 1), answer(i, 2)])
            .collect()
    }

    #[test]
    fn the_short_cut_agrees_with_fits_to_the_other_images() {
        for (images, dim) in [(24, 5), (14, 20)] {
            let (x, labels) = waves(images, dim);
            let basis = Basis::new(&x).unwrap();
            let targets = Targets::new(&basis, &labels, 3);
            let groups = complete(&[vec![2, 5, 9], vec![1, 3]], images).unwrap();
            let answers = targets.left_out(&basis, 0.7, &groups);
            let alone = (0..images).filter(|i| !groups.iter().any(|group| group.contains(i)));
            let alone: Vec<Vec<usize>> = alone.map(|index| vec![index]).collect();
            for group in groups.iter().chain(&alone) {
                let wanted = fitted_to_others(&x, &labels, group, 0.7);
                for (at, index) in group.iter().enumerate() {
                    for class in 0..3 {
                        let (a, b) = (answers[index * 3 + class], wanted[at * 3 + class]);
                        assert!((a - b).abs() < 1e-6, "{images} x {dim}, {group:?}: {a} {b}");
                    }
                }
            }
        }
    }

    #[test]
    fn wrong_input_is_an_error() {
        let (x, labels) = waves(9, 4);
        let ask = |classes, groups: &[Vec<usize>]| {
            HeldOutRidge::default().answers(&x, &labels, classes, groups)
        };
        assert!(ask(3, &[]).is_ok());
        assert!(ask(2, &[]).is_err() && ask(1, &[]).is_err());
        assert!(ask(3, &[vec![0, 1], vec![1]]).is_err() && ask(3, &[vec![9]]).is_err());
        let none = HeldOutRidge {
            penalties: Vec::new(),
        };
        assert!(none.answers(&x, &labels, 3, &[]).is_err());
        let same = Features::new(vec![1.0; 8], 2).unwrap();
        assert!(
            HeldOutRidge::default()
                .answers(&same, &[0, 1, 0, 1], 2, &[])
                .is_err()
        );
    }
}
