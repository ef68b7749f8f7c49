//! Multinomial logistic regression on features, by a proper solver.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

use super::lbfgs::Lbfgs;
use super::table::{Features, LinearHead, check_labels, check_weights, dot, softmax};
use crate::TransferError;

/// A linear probe: minimises the mean cross entropy plus `l2 / 2` times the squared Frobenius norm of the
/// weights; the bias is free.
///
/// Features are taken as multiples of their mean length, so that `l2` means the same for every backbone;
/// the head that comes out applies to the features as they are. An offset holds logits that are there
/// already, such as those of a head to start from: the regression then learns what they lack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogisticRegression {
    /// Strength of the penalty, at least 0.
    pub l2: f64,
    /// Steps of L-BFGS at most.
    pub max_iterations: usize,
}

/// Precision to which a regression is solved.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Precision {
    /// To convergence: for a head that is kept.
    Full,
    /// Until a step gains less than a hundred-thousandth of the objective, which moves no held-out answer that counts: for comparisons.
    Coarse,
}

impl LogisticRegression {
    /// Creates a regression with this penalty and at most 100 steps.
    pub fn new(l2: f64) -> Self {
        Self {
            l2,
            max_iterations: 100,
        }
    }

    /// Returns the regression that other libraries call `C = c` on these features: there the summed cross entropy is
    /// multiplied by `C` and features are not scaled. At most 1000 steps.
    pub fn with_inverse_penalty(c: f64, features: &Features) -> Self {
        let norm = features.mean_norm().max(f64::MIN_POSITIVE);
        Self {
            l2: 1.0 / (c * features.len().max(1) as f64 * norm * norm),
            max_iterations: 1000,
        }
    }

    /// Fits `features` `[n, dim]` to `labels` `[n]`, each below `classes`.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] where lengths disagree, [`TransferError::Degenerate`] for a single
    /// class, a class without an image, or features that are all zero.
    pub fn fit(
        &self,
        features: &Features,
        labels: &[usize],
        classes: usize,
    ) -> Result<LinearHead, TransferError> {
        self.fit_rows(features, labels, classes, None)
    }

    /// Fits like [`fit`](Self::fit), with a weight of at least 0 for each image: the weighted mean of the
    /// cross entropies is minimised, so a common factor of all weights changes nothing. An image of weight 2
    /// counts as the same image twice.
    ///
    /// # Errors
    ///
    /// As [`fit`](Self::fit), and [`TransferError::Degenerate`] for weights that are negative or not finite,
    /// or that leave a class without any weight.
    pub fn fit_weighted(
        &self,
        features: &Features,
        labels: &[usize],
        classes: usize,
        weights: &[f64],
    ) -> Result<LinearHead, TransferError> {
        check_labels("logistic regression", labels, features.len(), classes)?;
        check_weights("logistic regression", weights, labels, classes)?;
        self.fit_rows(features, labels, classes, Some(weights))
    }

    fn fit_rows(
        &self,
        features: &Features,
        labels: &[usize],
        classes: usize,
        weights: Option<&[f64]>,
    ) -> Result<LinearHead, TransferError> {
        check_labels("logistic regression", labels, features.len(), classes)?;
        let problem = Problem::new(features)?;
        let rows: Vec<usize> = (0..features.len()).collect();
        let start = vec![0.0; classes * (problem.rank + 1)];
        let images = Images {
            rows: &rows,
            labels,
            weights,
        };
        let solution = problem.solve(self, &images, classes, None, start, Precision::Full);
        Ok(problem.head(features, &solution, classes))
    }
}

/// Images that a regression is fitted on.
pub(super) struct Images<'a> {
    /// Their rows among the features.
    pub rows: &'a [usize],
    /// Labels of all rows of the features.
    pub labels: &'a [usize],
    /// Weights of all rows of the features; equal where there are none.
    pub weights: Option<&'a [f64]>,
}

impl Images<'_> {
    /// Returns the share of each image in the mean.
    fn shares(&self) -> Vec<f64> {
        let of = |row: &usize| self.weights.map_or(1.0, |weights| weights[*row]);
        let total: f64 = self.rows.iter().map(of).sum();
        // Rows without any weight teach nothing.
        let total = if total > 0.0 { total } else { 1.0 };
        self.rows.iter().map(|row| of(row) / total).collect()
    }
}

/// Features prepared for many regressions: scaled, and where there are fewer images than dimensions,
/// expressed in as many coordinates as there are images, which keeps every scalar product.
pub(super) struct Problem {
    /// `[n, rank]`.
    coordinates: Vec<f64>,
    pub rank: usize,
    scale: f64,
    /// Leaves the bias out where it is false.
    has_bias: bool,
    /// Lower triangle of the Gram matrix's Cholesky factor, where coordinates are its rows.
    factor: Option<Vec<f64>>,
}

impl Problem {
    pub fn new(features: &Features) -> Result<Self, TransferError> {
        let norm = features.mean_norm();
        if norm == 0.0 || features.is_empty() {
            return Err(TransferError::Degenerate {
                method: "logistic regression",
                reason: "all features are zero; check the images and weights".into(),
            });
        }
        let (count, dim) = (features.len(), features.dim());
        if count >= dim {
            let coordinates = features
                .rows()
                .flatten()
                .map(|v| f64::from(*v) / norm)
                .collect();
            return Ok(Self {
                coordinates,
                rank: dim,
                scale: norm,
                has_bias: true,
                factor: None,
            });
        }
        let mut gram = vec![0.0; count * count];
        for i in 0..count {
            for j in 0..=i {
                let value = dot(features.row(i), features.row(j)) / (norm * norm);
                gram[i * count + j] = value;
                gram[j * count + i] = value;
            }
        }
        let factor = cholesky(gram, count);
        Ok(Self {
            coordinates: factor.clone(),
            rank: count,
            scale: norm,
            has_bias: true,
            factor: Some(factor),
        })
    }

    /// Restricts the regression to heads whose bias is 0.
    pub fn without_bias(self) -> Self {
        Self {
            has_bias: false,
            ..self
        }
    }

    pub fn row(&self, index: usize) -> &[f64] {
        &self.coordinates[index * self.rank..(index + 1) * self.rank]
    }

    /// Weights and bias `[classes, rank + 1]` fitted to some of the images, from `start` on.
    pub fn solve(
        &self,
        options: &LogisticRegression,
        images: &Images<'_>,
        classes: usize,
        offset: Option<&[f64]>,
        start: Vec<f64>,
        precision: Precision,
    ) -> Vec<f64> {
        let solver = Lbfgs {
            max_iterations: options.max_iterations,
            value_tolerance: match precision {
                Precision::Full => Lbfgs::default().value_tolerance,
                Precision::Coarse => 1e-5,
            },
            ..Lbfgs::default()
        };
        let (rank, width) = (self.rank, self.rank + 1);
        let (labels, shares, count) = (images.labels, images.shares(), images.rows.len());
        let mut chosen = Vec::with_capacity(count * rank);
        for row in images.rows {
            chosen.extend_from_slice(self.row(*row));
        }
        let x = MatRef::from_row_major_slice(&chosen, count, rank);
        // Logits, then their residuals, `[n, classes]`.
        let mut scores = vec![0.0; count * classes];
        solver.minimize(start, |parameters, gradient| {
            gradient.fill(0.0);
            let weights = MatRef::from_row_major_slice(parameters, classes, width);
            let logits = MatMut::from_row_major_slice_mut(&mut scores, count, classes);
            let products = weights.subcols(0, rank).transpose();
            matmul(logits, Accum::Replace, x, products, 1.0, Par::Seq);
            let mut value = 0.0;
            for ((row, share), logits) in
                (images.rows.iter().zip(&shares)).zip(scores.chunks_exact_mut(classes))
            {
                for (class, logit) in logits.iter_mut().enumerate() {
                    let given = offset.map_or(0.0, |offset| offset[row * classes + class]);
                    *logit += parameters[class * width + rank] + given;
                }
                let true_logit = logits[labels[*row]];
                value += share * (softmax(logits) - true_logit);
                logits[labels[*row]] -= 1.0;
                for (class, residual) in logits.iter_mut().enumerate() {
                    *residual *= share;
                    if self.has_bias {
                        gradient[class * width + rank] += *residual;
                    }
                }
            }
            let residuals = MatRef::from_row_major_slice(&scores, count, classes).transpose();
            let of_weights = MatMut::from_row_major_slice_mut(gradient, classes, width);
            let of_weights = of_weights.subcols_mut(0, rank);
            matmul(of_weights, Accum::Replace, residuals, x, 1.0, Par::Seq);
            for (target, parameters) in gradient
                .chunks_exact_mut(width)
                .zip(parameters.chunks_exact(width))
            {
                for (target, weight) in target.iter_mut().zip(&parameters[..self.rank]) {
                    *target += options.l2 * weight;
                    value += 0.5 * options.l2 * weight * weight;
                }
            }
            value
        })
    }

    /// Logits of one image under weights `[classes, rank + 1]`.
    pub fn logits_of(
        &self,
        row: usize,
        parameters: &[f64],
        classes: usize,
        offset: Option<&[f64]>,
    ) -> Vec<f64> {
        let x = self.row(row);
        let weights = parameters.chunks_exact(self.rank + 1);
        let mut logits: Vec<f64> = weights
            .map(|weights| {
                let products = weights.iter().zip(x).map(|(w, x)| w * x);
                products.sum::<f64>() + weights[self.rank]
            })
            .collect();
        if let Some(offset) = offset {
            let given = &offset[row * classes..(row + 1) * classes];
            logits
                .iter_mut()
                .zip(given)
                .for_each(|(logit, given)| *logit += given);
        }
        logits
    }

    /// Returns the head for features as they are.
    pub fn head(&self, features: &Features, parameters: &[f64], classes: usize) -> LinearHead {
        let width = self.rank + 1;
        let mut head = LinearHead {
            weight: Vec::with_capacity(classes * features.dim()),
            bias: Vec::with_capacity(classes),
        };
        for weights in parameters.chunks_exact(width) {
            head.bias.push(weights[self.rank] as f32);
            let weights = &weights[..self.rank];
            match &self.factor {
                None => head
                    .weight
                    .extend(weights.iter().map(|w| (w / self.scale) as f32)),
                Some(factor) => {
                    let shares = solve_transposed(factor, weights);
                    let mut sum = vec![0.0f64; features.dim()];
                    for (share, row) in shares.iter().zip(features.rows()) {
                        for (sum, value) in sum.iter_mut().zip(row) {
                            *sum += share * f64::from(*value);
                        }
                    }
                    // Coordinates came from features over `scale`, and so does the head's input.
                    let scale = self.scale * self.scale;
                    head.weight
                        .extend(sum.into_iter().map(|s| (s / scale) as f32));
                }
            }
        }
        head
    }
}

/// Computes the lower Cholesky factor of a positive semidefinite matrix `[n, n]`; the rest is zero. A pivot that
/// vanishes (an image that is a mixture of others, such as a duplicate) leaves an empty column.
fn cholesky(mut matrix: Vec<f64>, n: usize) -> Vec<f64> {
    let tolerance = 1e-10 * (0..n).map(|i| matrix[i * n + i]).fold(0.0, f64::max);
    for j in 0..n {
        let (before, rest) = matrix.split_at_mut(j * n);
        let pivot_row = &mut rest[..n];
        let _ = before;
        let square: f64 = pivot_row[..j].iter().map(|v| v * v).sum();
        let pivot = pivot_row[j] - square;
        let is_empty = pivot <= tolerance;
        let pivot = pivot.max(0.0).sqrt();
        pivot_row[j] = if is_empty { 0.0 } else { pivot };
        let (head, below) = matrix.split_at_mut((j + 1) * n);
        let pivot_row = &head[j * n..];
        for row in below.chunks_exact_mut(n) {
            let inner: f64 = row[..j]
                .iter()
                .zip(&pivot_row[..j])
                .map(|(a, b)| a * b)
                .sum();
            row[j] = if is_empty {
                0.0
            } else {
                (row[j] - inner) / pivot
            };
        }
        for value in &mut matrix[j * n + j + 1..(j + 1) * n] {
            *value = 0.0;
        }
    }
    matrix
}

/// Solves `factor^T a = b`; an empty column gives 0.
fn solve_transposed(factor: &[f64], b: &[f64]) -> Vec<f64> {
    let n = b.len();
    let mut a = b.to_vec();
    for i in (0..n).rev() {
        let pivot = factor[i * n + i];
        a[i] = if pivot == 0.0 { 0.0 } else { a[i] / pivot };
        for j in 0..i {
            a[j] -= factor[i * n + j] * a[i];
        }
    }
    a
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Two clouds, the second moved by `shift` along the first axis.
    fn clouds(count: usize, dim: usize, shift: f32) -> (Features, Vec<usize>) {
        let mut values = Vec::new();
        for i in 0..count {
            for j in 0..dim {
                let noise = ((i * 37 + j * 101 + 13) as f32 * 0.731).sin();
                values.push(noise + if j == 0 && i % 2 == 1 { shift } else { 0.0 });
            }
        }
        let labels = (0..count).map(|i| i % 2).collect();
        (Features::new(values, dim).unwrap(), labels)
    }

    /// Computes the gradient of the objective at `head`, in the scaled features' coordinates.
    fn largest_gradient(head: &LinearHead, features: &Features, labels: &[usize], l2: f64) -> f64 {
        let scale = features.mean_norm();
        let (n, dim, classes) = (features.len(), features.dim(), head.classes());
        let logits = head.logits(features).unwrap();
        let mut largest = 0.0f64;
        for class in 0..classes {
            let mut gradient: Vec<f64> = head.weight[class * dim..(class + 1) * dim]
                .iter()
                .map(|w| l2 * f64::from(*w) * scale)
                .collect();
            for row in 0..n {
                let mut p = logits[row * classes..(row + 1) * classes].to_vec();
                softmax(&mut p);
                let residual = (p[class] - f64::from(u8::from(labels[row] == class))) / n as f64;
                for (g, x) in gradient.iter_mut().zip(features.row(row)) {
                    *g += residual * f64::from(*x) / scale;
                }
            }
            largest = gradient.iter().fold(largest, |l, g| l.max(g.abs()));
        }
        largest
    }

    #[test]
    fn the_gradient_vanishes_at_the_solution_with_more_images_than_dimensions_and_with_fewer() {
        for (count, dim) in [(60, 5), (20, 50)] {
            let (features, labels) = clouds(count, dim, 1.0);
            for l2 in [1e-3, 1e-1] {
                let head = LogisticRegression::new(l2)
                    .fit(&features, &labels, 2)
                    .unwrap();
                let gradient = largest_gradient(&head, &features, &labels, l2);
                assert!(gradient < 1e-4, "{count} x {dim}, l2 {l2}: {gradient:e}");
            }
        }
    }

    #[test]
    fn duplicates_make_a_singular_gram_matrix_and_no_trouble() {
        let (features, labels) = clouds(10, 40, 1.0);
        let twice: Vec<f32> = features
            .rows()
            .chain(features.rows())
            .flatten()
            .copied()
            .collect();
        let twice = Features::new(twice, 40).unwrap();
        let labels: Vec<usize> = labels.iter().chain(&labels).copied().collect();
        let head = LogisticRegression::new(1e-2)
            .fit(&twice, &labels, 2)
            .unwrap();
        let once = LogisticRegression::new(1e-2)
            .fit(&features, &labels[..10], 2)
            .unwrap();
        for (a, b) in head.weight.iter().zip(&once.weight) {
            assert!((a - b).abs() < 1e-3, "{a} {b}");
        }
    }

    #[test]
    fn degenerate_input_is_an_error() {
        let zeros = Features::new(vec![0.0; 8], 2).unwrap();
        let regression = LogisticRegression::new(1.0);
        assert!(regression.fit(&zeros, &[0, 1, 0, 1], 2).is_err());
        let (features, labels) = clouds(4, 2, 1.0);
        assert!(regression.fit(&features, &labels, 1).is_err());
        assert!(regression.fit(&features, &labels, 3).is_err());
        assert!(regression.fit(&features, &labels[..3], 2).is_err());
        assert!(Features::new(vec![f32::NAN], 1).is_err());
        assert!(Features::new(vec![1.0; 5], 2).is_err());
    }
}
