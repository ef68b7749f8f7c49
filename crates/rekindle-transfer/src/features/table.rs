//! Features of many images, and the linear heads that are learnt from them.

use crate::TransferError;

/// Features `[count, dim]`, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    values: Vec<f32>,
    dim: usize,
}

impl Features {
    /// Rows of length `dim`.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] where `values` isn't a whole number of rows, and
    /// [`TransferError::Degenerate`] where one of them is NaN or infinite.
    pub fn new(values: Vec<f32>, dim: usize) -> Result<Self, TransferError> {
        if dim == 0 || !values.len().is_multiple_of(dim) {
            return Err(TransferError::WrongLength {
                what: "features",
                found: values.len(),
                expected: dim,
            });
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(TransferError::Degenerate {
                method: "features",
                reason: format!(
                    "row {} is NaN or infinite; check the images and weights",
                    at / dim
                ),
            });
        }
        Ok(Self { values, dim })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.values.len() / self.dim
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Length of a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// One row.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.dim..(index + 1) * self.dim]
    }

    /// All rows, one after the other.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.dim)
    }

    /// Mean Euclidean length of a row.
    pub fn mean_norm(&self) -> f64 {
        let norm = |row: &[f32]| dot(row, row).sqrt();
        self.rows().map(norm).sum::<f64>() / self.len().max(1) as f64
    }
}

/// A linear classifier: logits = weight x + bias.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearHead {
    /// `[classes, dim]`, row-major.
    pub weight: Vec<f32>,
    /// `[classes]`.
    pub bias: Vec<f32>,
}

impl LinearHead {
    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.bias.len()
    }

    /// Length of a feature vector.
    pub fn dim(&self) -> usize {
        self.weight.len() / self.bias.len().max(1)
    }

    /// Logits `[count, classes]`, row-major, in double precision.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] for features of another length.
    pub fn logits(&self, features: &Features) -> Result<Vec<f64>, TransferError> {
        if features.dim() != self.dim() {
            return Err(TransferError::WrongLength {
                what: "features for this head",
                found: features.dim(),
                expected: self.dim(),
            });
        }
        let mut logits = Vec::with_capacity(features.len() * self.classes());
        for row in features.rows() {
            let weights = self.weight.chunks_exact(self.dim()).zip(&self.bias);
            logits.extend(weights.map(|(weight, bias)| dot(weight, row) + f64::from(*bias)));
        }
        Ok(logits)
    }
}

/// Scalar product, summed in double precision.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| f64::from(*a) * f64::from(*b))
        .sum()
}

/// Turns a row of logits into probabilities in place; returns the logarithm of the sum of exponentials.
pub(super) fn softmax(row: &mut [f64]) -> f64 {
    let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for value in row.iter_mut() {
        *value = (*value - largest).exp();
        sum += *value;
    }
    for value in row.iter_mut() {
        *value /= sum;
    }
    largest + sum.ln()
}

/// Checks labels against the number of rows and classes; every class must have an image.
pub(super) fn check_labels(
    method: &'static str,
    labels: &[usize],
    count: usize,
    classes: usize,
) -> Result<(), TransferError> {
    if labels.len() != count {
        return Err(TransferError::WrongLength {
            what: "labels",
            found: labels.len(),
            expected: count,
        });
    }
    let degenerate = |reason: String| Err(TransferError::Degenerate { method, reason });
    if let Some(label) = labels.iter().find(|label| **label >= classes) {
        return degenerate(format!("label {label} with {classes} classes"));
    }
    if classes < 2 {
        return degenerate(format!("{classes} class(es); at least two are needed"));
    }
    match (0..classes).find(|class| !labels.contains(class)) {
        Some(class) => degenerate(format!(
            "class {class} has no image; add some or leave it out"
        )),
        None => Ok(()),
    }
}
