//! Distances in units of the spread within the classes.

use faer::{Mat, MatRef, Side};

use crate::TransferError;
use crate::error::degenerate;
use crate::features::table::{Features, check_dim, dot};

const METHOD: &str = "Mahalanobis distance";

/// Least share of the shrinkage's target, so that the covariance can be inverted where features depend on each other.
const LEAST_SHRINKAGE: f64 = 1e-6;

/// The squared Mahalanobis distance of features of length 1 to the nearest class mean (Lee et al. 2018,
/// <https://arxiv.org/abs/1807.03888>; of normalised features Müller and Hein 2025, <https://arxiv.org/abs/2505.18032>).
///
/// All classes share one covariance. It is shrunk towards a multiple of the identity by the share that has the least expected
/// squared error (Ledoit and Wolf 2004), and so can be inverted with fewer images than dimensions too.
///
/// Kept as what turns features into coordinates of unit covariance, and the means in these.
#[derive(Clone, Debug, PartialEq)]
pub struct Mahalanobis {
    pub(super) dim: usize,
    /// Inverse of the covariance's Cholesky factor, a lower triangle, row after row: `dim (dim + 1) / 2` numbers.
    pub(super) whitening: Vec<f32>,
    /// `[classes, dim]`, whitened.
    pub(super) means: Vec<f32>,
}

impl Mahalanobis {
    /// Estimates means and covariance from `features` `[n, dim]` with a class below `classes` each.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] where lengths disagree, and [`TransferError::Degenerate`] for a class without an image, or
    /// where all images of each class have the same features.
    pub fn fit(
        features: &Features,
        labels: &[usize],
        classes: usize,
    ) -> Result<Self, TransferError> {
        let features = &features.l2_normalized();
        let dim = features.dim();
        let means = class_means(features, labels, classes)?;
        let centered = Mat::from_fn(features.len(), dim, |i, j| {
            f64::from(features.row(i)[j]) - means[labels[i] * dim + j]
        });
        let (covariance, _) = ledoit_wolf(centered.as_ref())?;
        let factor = covariance
            .llt(Side::Lower)
            .map_err(|_| TransferError::Degenerate {
                method: METHOD,
                reason: "the covariance is singular; give more images".into(),
            })?;
        let mut inverse = Mat::<f64>::identity(dim, dim);
        factor.L().solve_lower_triangular_in_place(inverse.as_mut());
        let mut whitening = Vec::with_capacity(dim * (dim + 1) / 2);
        for i in 0..dim {
            whitening.extend((0..=i).map(|j| inverse[(i, j)] as f32));
        }
        let mut found = Self {
            dim,
            whitening,
            means: Vec::new(),
        };
        for mean in means.chunks_exact(dim) {
            let narrow: Vec<f32> = mean.iter().map(|value| *value as f32).collect();
            found.means.extend(found.whitened(&narrow));
        }
        Ok(found)
    }

    /// Computes the squared distance of features `[dim]` to the nearest class mean, at least 0.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] for features of another length.
    pub fn distance(&self, features: &[f32]) -> Result<f64, TransferError> {
        check_dim("features for this distance", features.len(), self.dim)?;
        let length = dot(features, features).sqrt();
        let scale = if length > 0.0 { 1.0 / length } else { 0.0 };
        let unit = features
            .iter()
            .map(|value| (f64::from(*value) * scale) as f32);
        let place = self.whitened(&unit.collect::<Vec<f32>>());
        let to = |mean: &[f32]| -> f64 {
            let squares = mean.iter().zip(&place);
            squares.map(|(a, b)| f64::from(a - b).powi(2)).sum()
        };
        let distances = self.means.chunks_exact(self.dim).map(to);
        Ok(distances.fold(f64::INFINITY, f64::min))
    }

    fn whitened(&self, features: &[f32]) -> Vec<f32> {
        let mut start = 0;
        let rows = (1..=self.dim).map(|length| {
            let row = &self.whitening[start..start + length];
            start += length;
            dot(row, &features[..length]) as f32
        });
        rows.collect()
    }
}

/// Means of the classes, `[classes, dim]`.
fn class_means(
    features: &Features,
    labels: &[usize],
    classes: usize,
) -> Result<Vec<f64>, TransferError> {
    check_dim("labels", labels.len(), features.len())?;
    let dim = features.dim();
    let (mut means, mut counts) = (vec![0.0; classes * dim], vec![0usize; classes]);
    for (row, label) in features.rows().zip(labels) {
        let Some(count) = counts.get_mut(*label) else {
            return degenerate(METHOD, format!("label {label} with {classes} classes"));
        };
        *count += 1;
        let mean = &mut means[label * dim..(label + 1) * dim];
        mean.iter_mut()
            .zip(row)
            .for_each(|(sum, value)| *sum += f64::from(*value));
    }
    if let Some(class) = counts.iter().position(|count| *count == 0) {
        return degenerate(
            METHOD,
            format!("class {class} has no image; add some or leave it out"),
        );
    }
    for (mean, count) in means.chunks_exact_mut(dim).zip(counts) {
        mean.iter_mut().for_each(|sum| *sum /= count as f64);
    }
    Ok(means)
}

/// Computes the covariance of rows `[n, dim]` whose mean is 0, shrunk towards a multiple of the identity by the share that
/// has the least expected squared error (Ledoit and Wolf 2004, "A well-conditioned estimator for large-dimensional
/// covariance matrices"), and that share.
fn ledoit_wolf(centered: MatRef<'_, f64>) -> Result<(Mat<f64>, f64), TransferError> {
    let (count, dim) = (centered.nrows() as f64, centered.ncols() as f64);
    let mut covariance = centered.transpose() * centered;
    covariance *= 1.0 / count;
    let trace: f64 = (0..centered.ncols()).map(|j| covariance[(j, j)]).sum();
    let variance = trace / dim;
    if !(variance > 0.0 && variance.is_finite()) {
        return degenerate(
            METHOD,
            "the features don't vary within the classes; give at least two different images of a class".into(),
        );
    }
    let squares = covariance.as_ref().squared_norm_l2();
    let fourth: f64 = (0..centered.nrows())
        .map(|i| centered.row(i).squared_norm_l2().powi(2))
        .sum();
    let spread = squares - dim * variance * variance;
    let error = ((fourth / count - squares) / count).min(spread);
    let share = match error > 0.0 && spread > 0.0 {
        true => error / spread,
        false => 0.0,
    };
    let share = share.max(LEAST_SHRINKAGE);
    covariance *= 1.0 - share;
    for j in 0..centered.ncols() {
        covariance[(j, j)] += share * variance;
    }
    Ok((covariance, share))
}
