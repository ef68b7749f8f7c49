//! The fit itself, in coordinates in which every penalty has a closed form.

use faer::Mat;

use super::METHOD;
use crate::TransferError;
use crate::features::linalg::{Principal, centered_matrix, solve_positive_definite};
use crate::features::table::{Features, LinearHead};

/// What is left at least of an image when its leverage is taken off.
const LEAST_REST: f64 = 1e-9;

/// Features and numbers about their weighted means, in coordinates along the features' principal directions.
pub(super) struct Problem {
    pub weights: Vec<f64>,
    /// Sum of the weights.
    pub total: f64,
    /// Mean of the features `[dim]`, and of the numbers.
    mean: Vec<f64>,
    mean_number: f64,
    /// Numbers less their mean `[n]`.
    numbers: Vec<f64>,
    /// Principal directions `[dim, rank]`.
    directions: Mat<f64>,
    /// `[n, rank]`.
    coordinates: Mat<f64>,
    /// Weighted sum of squares of each coordinate.
    pub variances: Vec<f64>,
    /// Weighted products of the coordinates with the numbers `[rank]`.
    products: Vec<f64>,
}

impl Problem {
    pub fn new(
        features: &Features,
        numbers: &[f32],
        weights: Vec<f64>,
    ) -> Result<Self, TransferError> {
        let (images, dim) = (features.len(), features.dim());
        let total: f64 = weights.iter().sum();
        let mut mean = vec![0.0; dim];
        for (row, weight) in features.rows().zip(&weights) {
            for (mean, value) in mean.iter_mut().zip(row) {
                *mean += weight / total * f64::from(*value);
            }
        }
        let x = centered_matrix(features, &mean);
        let weighed = Mat::from_fn(images, dim, |i, j| weights[i].sqrt() * x[(i, j)]);
        // What is left of the same values less their mean is the mean's rounding.
        let squares: f64 = features
            .values()
            .iter()
            .map(|value| f64::from(*value).powi(2))
            .sum();
        let rounding = images.max(dim) as f64 * f64::EPSILON;
        let principal = Principal::of(METHOD, &weighed, squares * rounding * rounding)?;
        let (values, vectors) = (principal.variances, principal.vectors);
        let rank = values.len();
        let directions = match principal.is_wide {
            true => {
                let scaled = Mat::from_fn(images, rank, |i, j| vectors[(i, j)] / values[j].sqrt());
                weighed.transpose() * &scaled
            }
            false => vectors,
        };
        let coordinates = &x * &directions;
        let pairs = weights.iter().zip(numbers);
        let mean_number = pairs
            .map(|(weight, number)| weight / total * f64::from(*number))
            .sum();
        let numbers: Vec<f64> = numbers
            .iter()
            .map(|number| f64::from(*number) - mean_number)
            .collect();
        let product = |direction: usize| {
            (0..images)
                .map(|i| weights[i] * coordinates[(i, direction)] * numbers[i])
                .sum()
        };
        Ok(Self {
            products: (0..rank).map(product).collect(),
            variances: values,
            weights,
            total,
            mean,
            mean_number,
            numbers,
            directions,
            coordinates,
        })
    }

    fn rank(&self) -> usize {
        self.variances.len()
    }

    /// Coefficients of the coordinates `[rank]`.
    fn coefficients(&self, alpha: f64) -> Vec<f64> {
        let pairs = self.products.iter().zip(&self.variances);
        pairs
            .map(|(product, variance)| product / (variance + alpha))
            .collect()
    }

    /// The head for features as they are.
    pub fn head(&self, alpha: f64) -> LinearHead {
        let coefficients = self.coefficients(alpha);
        let weight: Vec<f32> = (0..self.mean.len())
            .map(|j| {
                let along = coefficients.iter().enumerate();
                along.map(|(k, c)| self.directions[(j, k)] * c).sum::<f64>() as f32
            })
            .collect();
        let shift: f64 = weight
            .iter()
            .zip(&self.mean)
            .map(|(weight, mean)| f64::from(*weight) * mean)
            .sum();
        LinearHead {
            weight,
            bias: vec![(self.mean_number - shift) as f32],
        }
    }

    /// Answers to each image by the head for all others: a residual over one minus its image's leverage.
    pub fn left_out(&self, alpha: f64) -> Vec<f64> {
        let coefficients = self.coefficients(alpha);
        let answer = |i: usize| {
            let (mut fit, mut leverage) = (0.0, 1.0 / self.total);
            for (k, coefficient) in coefficients.iter().enumerate() {
                let coordinate = self.coordinates[(i, k)];
                fit += coefficient * coordinate;
                leverage += coordinate * coordinate / (self.variances[k] + alpha);
            }
            // A leverage of 1 leaves nothing to say; the least rest keeps it finite.
            let rest = (1.0 - self.weights[i] * leverage).max(LEAST_REST);
            let number = self.numbers[i];
            self.mean_number + number - (number - fit) / rest
        };
        (0..self.numbers.len()).map(answer).collect()
    }

    /// Answers to the images of `part` by heads for all others, one for each penalty, put in their places.
    pub fn leave_out(
        &self,
        part: &[usize],
        alphas: &[f64],
        answers: &mut [Vec<f64>],
    ) -> Result<(), TransferError> {
        let rank = self.rank();
        // The last column is the bias's: the mean of the rest is another one.
        let design = Mat::from_fn(part.len(), rank + 1, |i, k| match k == rank {
            true => 1.0,
            false => self.coordinates[(part[i], k)],
        });
        let weighed = Mat::from_fn(part.len(), rank + 1, |i, k| {
            self.weights[part[i]] * design[(i, k)]
        });
        let held_out = weighed.transpose() * &design;
        let right = Mat::from_fn(rank + 1, 1, |k, _| {
            let own: f64 = (0..part.len())
                .map(|i| weighed[(i, k)] * self.numbers[part[i]])
                .sum();
            let whole = if k == rank { 0.0 } else { self.products[k] };
            whole - own
        });
        for (alpha, answers) in alphas.iter().zip(answers) {
            let matrix = Mat::from_fn(rank + 1, rank + 1, |a, b| {
                let whole = match (a == b, a == rank) {
                    (true, true) => self.total,
                    (true, false) => self.variances[a] + alpha,
                    (false, _) => 0.0,
                };
                whole - held_out[(a, b)]
            });
            let found = solve_positive_definite(METHOD, matrix.as_ref(), right.as_ref())?;
            let fit = &design * &found;
            for (i, row) in part.iter().enumerate() {
                answers[*row] = self.mean_number + fit[(i, 0)];
            }
        }
        Ok(())
    }
}
