//! Features of many images, and the linear heads that are learnt from them.

use std::ops::Range;

use burn::nn::Linear;

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

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.values.len() / self.dim
    }

    /// Returns true if there is no row.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Returns the length of a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Returns one row.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.dim..(index + 1) * self.dim]
    }

    /// Returns all rows, one after the other.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.dim)
    }

    /// Returns all values, row after row.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Returns the rows at `indices`, in that order; a row may come more than once.
    ///
    /// # Panics
    ///
    /// If an index is not below [`len`](Self::len).
    pub fn select(&self, indices: &[usize]) -> Self {
        let mut values = Vec::with_capacity(indices.len() * self.dim);
        for index in indices {
            values.extend_from_slice(self.row(*index));
        }
        Self {
            values,
            dim: self.dim,
        }
    }

    /// Returns some of the values of each row, in their order.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] for columns that are not there.
    pub fn columns(&self, columns: Range<usize>) -> Result<Self, TransferError> {
        if columns.is_empty() || columns.end > self.dim {
            return Err(TransferError::WrongLength {
                what: "columns of features",
                found: columns.end,
                expected: self.dim,
            });
        }
        let dim = columns.len();
        let rows = self.rows().flat_map(|row| &row[columns.clone()]);
        Ok(Self {
            values: rows.copied().collect(),
            dim,
        })
    }

    /// Divides each part of the rows by its mean length, so that all parts count alike, and returns what each column was divided
    /// by; `parts` are their lengths, one behind the other.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] where parts are longer than the rows together, or shorter.
    pub fn with_equal_parts(&self, parts: &[usize]) -> Result<(Self, Vec<f64>), TransferError> {
        check_dim("parts of features", parts.iter().sum(), self.dim)?;
        let mut scale = Vec::with_capacity(self.dim);
        for part in parts.iter().filter(|part| **part > 0) {
            let columns = self.columns(scale.len()..scale.len() + part)?;
            let length = columns.mean_norm().max(f64::MIN_POSITIVE);
            scale.resize(scale.len() + part, length);
        }
        let of = |row: &[f32]| -> Vec<f32> {
            let pairs = row.iter().zip(&scale);
            pairs
                .map(|(value, scale)| (f64::from(*value) / scale) as f32)
                .collect()
        };
        let values = self.rows().flat_map(of).collect();
        Ok((
            Self {
                values,
                dim: self.dim,
            },
            scale,
        ))
    }

    /// Stacks the rows of `other` below those of `self`.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] where their lengths differ.
    pub fn stack(&self, other: &Self) -> Result<Self, TransferError> {
        check_dim("features to stack", other.dim, self.dim)?;
        let mut values = self.values.clone();
        values.extend_from_slice(&other.values);
        Ok(Self {
            values,
            dim: self.dim,
        })
    }

    /// Returns the rows of `self` and `other` side by side, `[count, dim + other.dim]`: two networks' views of the
    /// same images.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] for different numbers of rows.
    pub fn beside(&self, other: &Self) -> Result<Self, TransferError> {
        check_dim("rows of features side by side", other.len(), self.len())?;
        let mut values = Vec::with_capacity(self.values.len() + other.values.len());
        for (left, right) in self.rows().zip(other.rows()) {
            values.extend_from_slice(left);
            values.extend_from_slice(right);
        }
        Ok(Self {
            values,
            dim: self.dim + other.dim,
        })
    }

    /// Divides each row by its Euclidean length; a row of zeros stays as it is.
    pub fn l2_normalized(&self) -> Self {
        let mut values = Vec::with_capacity(self.values.len());
        for row in self.rows() {
            let norm = dot(row, row).sqrt();
            let scale = if norm > 0.0 { 1.0 / norm } else { 0.0 };
            values.extend(row.iter().map(|v| (f64::from(*v) * scale) as f32));
        }
        Self {
            values,
            dim: self.dim,
        }
    }

    /// Raises each value's magnitude to `power` and keeps its sign (power normalisation; Perronnin et al. 2010,
    /// "Improving the Fisher Kernel for Large-Scale Image Classification"): 0.5 evens out a few large values.
    ///
    /// # Errors
    ///
    /// [`TransferError::Degenerate`] for a power that is not above 0 and at most 1.
    pub fn power_normalized(&self, power: f32) -> Result<Self, TransferError> {
        if !(power > 0.0 && power <= 1.0) {
            return Err(TransferError::Degenerate {
                method: "power normalisation",
                reason: format!("power {power}; it is above 0 and at most 1"),
            });
        }
        let of = |value: &f32| value.abs().powf(power).copysign(*value);
        Ok(Self {
            values: self.values.iter().map(of).collect(),
            dim: self.dim,
        })
    }

    /// Returns the mean row; zeros where there is none.
    pub fn mean(&self) -> Vec<f64> {
        let mut mean = vec![0.0; self.dim];
        for row in self.rows() {
            for (sum, value) in mean.iter_mut().zip(row) {
                *sum += f64::from(*value);
            }
        }
        let count = self.len().max(1) as f64;
        mean.iter_mut().for_each(|sum| *sum /= count);
        mean
    }

    /// Subtracts `mean` `[dim]` from each row.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] for a mean of another length.
    pub fn centered(&self, mean: &[f64]) -> Result<Self, TransferError> {
        check_dim("mean of features", mean.len(), self.dim)?;
        let shift = |(value, mean): (&f32, &f64)| (f64::from(*value) - mean) as f32;
        let values = self.rows().flat_map(|row| row.iter().zip(mean).map(shift));
        Ok(Self {
            values: values.collect(),
            dim: self.dim,
        })
    }

    /// Returns the mean Euclidean length of a row.
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
    /// Takes the weights of a linear layer; its bias is zero where it has none.
    pub fn of(layer: &Linear) -> Self {
        let weight = layer.weight.val().swap_dims(0, 1);
        let bias = layer.bias.as_ref().map(|bias| bias.val().into_data());
        Self {
            bias: bias.map_or_else(
                || vec![0.0; weight.dims()[0]],
                |bias| bias.iter::<f32>().collect(),
            ),
            weight: weight.into_data().iter::<f32>().collect(),
        }
    }

    /// Returns the head for features as they are, where this one is for columns that were divided by `scale`.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] for another number of columns.
    pub fn for_unscaled(mut self, scale: &[f64]) -> Result<Self, TransferError> {
        check_dim("scales of features", scale.len(), self.dim())?;
        for row in self.weight.chunks_exact_mut(scale.len().max(1)) {
            let pairs = row.iter_mut().zip(scale);
            pairs.for_each(|(weight, scale)| *weight = (f64::from(*weight) / scale) as f32);
        }
        Ok(self)
    }

    /// Returns the head that looks at some of the features only.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] for columns that are not there.
    pub fn columns(&self, columns: Range<usize>) -> Result<Self, TransferError> {
        let weight = Features::new(self.weight.clone(), self.dim())?.columns(columns)?;
        Ok(Self {
            weight: weight.values,
            bias: self.bias.clone(),
        })
    }

    /// Returns the number of classes.
    pub fn classes(&self) -> usize {
        self.bias.len()
    }

    /// Returns the length of a feature vector.
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

    /// Probabilities `[count, classes]`, row-major: the softmax of the logits.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] for features of another length.
    pub fn probabilities(&self, features: &Features) -> Result<Vec<f64>, TransferError> {
        let mut logits = self.logits(features)?;
        logits.chunks_exact_mut(self.classes()).for_each(|row| {
            softmax(row);
        });
        Ok(logits)
    }

    /// Returns the class with the largest logit, for each row.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] for features of another length.
    pub fn predict(&self, features: &Features) -> Result<Vec<usize>, TransferError> {
        Ok(argmax_rows(&self.logits(features)?, self.classes()))
    }
}

/// Returns the first largest entry of each row of `[count, width]` values.
pub fn argmax_rows(values: &[f64], width: usize) -> Vec<usize> {
    let largest = |row: &[f64]| {
        (0..row.len()).fold(0, |best, at| match row[at] > row[best] {
            true => at,
            false => best,
        })
    };
    values.chunks_exact(width.max(1)).map(largest).collect()
}

/// Computes the share of predictions that equal the labels; 0 where there is none.
pub fn accuracy(predictions: &[usize], labels: &[usize]) -> f64 {
    let right = predictions.iter().zip(labels).filter(|(p, l)| p == l);
    right.count() as f64 / labels.len().max(1) as f64
}

/// Scalar product, summed in double precision.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| f64::from(*a) * f64::from(*b))
        .sum()
}

/// Turns a row of logits into probabilities in place; returns the logarithm of the sum of exponentials.
pub(crate) fn softmax(row: &mut [f64]) -> f64 {
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

/// Checks the length of a row.
pub(crate) fn check_dim(
    what: &'static str,
    found: usize,
    expected: usize,
) -> Result<(), TransferError> {
    match found == expected {
        true => Ok(()),
        false => Err(TransferError::WrongLength {
            what,
            found,
            expected,
        }),
    }
}

/// Checks labels against the number of rows and classes; every class must have an image.
pub(crate) fn check_labels(
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

/// Checks weights of rows: finite, not negative, and some for every class.
pub(crate) fn check_weights(
    method: &'static str,
    weights: &[f64],
    labels: &[usize],
    classes: usize,
) -> Result<(), TransferError> {
    check_dim("weights of images", weights.len(), labels.len())?;
    let degenerate = |reason: String| Err(TransferError::Degenerate { method, reason });
    let is_wrong = |weight: &f64| !weight.is_finite() || *weight < 0.0;
    if let Some(at) = weights.iter().position(is_wrong) {
        return degenerate(format!(
            "weight {} of image {at}; weights are finite and at least 0",
            weights[at]
        ));
    }
    let mut sums = vec![0.0; classes];
    for (weight, label) in weights.iter().zip(labels) {
        sums[*label] += weight;
    }
    match sums.iter().position(|sum| *sum == 0.0) {
        Some(class) => degenerate(format!(
            "no image of class {class} has a weight above 0; add some or leave the class out"
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rows_side_by_side_and_roots_of_values() {
        let a = Features::new(vec![1.0, -4.0, 9.0, 0.0], 2).unwrap();
        let b = Features::new(vec![5.0, 6.0], 1).unwrap();
        assert_eq!(
            a.beside(&b).unwrap().values(),
            [1.0, -4.0, 5.0, 9.0, 0.0, 6.0]
        );
        assert!(a.beside(&a.select(&[0])).is_err());
        let roots = a.power_normalized(0.5).unwrap();
        assert_eq!(roots.values(), [1.0, -2.0, 3.0, 0.0]);
        assert!(a.power_normalized(0.0).is_err() && a.power_normalized(f32::NAN).is_err());
    }
}
