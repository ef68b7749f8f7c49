//! Cross entropy against hard, smoothed or mixed targets.

use burn::prelude::*;
use burn::tensor::TensorData;
use burn::tensor::activation::log_softmax;

/// What a batch of images is to be recognised as.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Targets {
    /// The class of each image.
    pub labels: Vec<usize>,
    /// Probabilities `[n, classes]`, row-major, in place of the labels where images were mixed.
    pub soft: Option<Vec<f32>>,
    /// How much each image counts; all the same where there are none.
    pub weights: Option<Vec<f32>>,
}

impl Targets {
    /// Probabilities `[n, classes]` with `smoothing` of each row spread over all classes.
    fn probabilities(&self, classes: usize, smoothing: f64) -> Vec<f32> {
        let mut rows = self.soft.clone().unwrap_or_else(|| {
            let mut rows = vec![0.0; self.labels.len() * classes];
            for (row, label) in self.labels.iter().enumerate() {
                rows[row * classes + label] = 1.0;
            }
            rows
        });
        if smoothing > 0.0 {
            let floor = (smoothing / classes as f64) as f32;
            let scale = (1.0 - smoothing) as f32;
            for value in &mut rows {
                *value = *value * scale + floor;
            }
        }
        rows
    }

    /// Weights that sum to 1, so that the weighted sum of losses is PyTorch's weighted mean.
    fn shares(&self) -> Vec<f32> {
        let count = self.labels.len();
        let weights = self.weights.clone().unwrap_or_else(|| vec![1.0; count]);
        let total: f32 = weights.iter().sum();
        let total = if total > 0.0 { total } else { 1.0 };
        weights.into_iter().map(|weight| weight / total).collect()
    }
}

/// Mean cross entropy of logits `[n, classes]` against `targets`, as a scalar `[1]`; natural logarithm.
pub fn cross_entropy(logits: Tensor<2>, targets: &Targets, smoothing: f64) -> Tensor<1> {
    let [count, classes] = logits.dims();
    let device = logits.device();
    let rows = targets.probabilities(classes, smoothing);
    let rows = Tensor::<2>::from_data(TensorData::new(rows, [count, classes]), &device);
    let shares = Tensor::<2>::from_data(TensorData::new(targets.shares(), [count, 1]), &device);
    (log_softmax(logits, 1) * rows * shares).sum().neg()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(logits: [[f32; 3]; 2], targets: &Targets, smoothing: f64) -> f32 {
        let logits = Tensor::<2>::from_data(logits, &Device::flex());
        cross_entropy(logits, targets, smoothing).into_scalar::<f32>()
    }

    fn log_softmax_of(row: [f64; 3], class: usize) -> f64 {
        row[class] - row.iter().map(|x| x.exp()).sum::<f64>().ln()
    }

    const LOGITS: [[f32; 3]; 2] = [[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]];
    const ROWS: [[f64; 3]; 2] = [[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]];

    #[test]
    fn hard_labels_give_the_mean_negative_log_likelihood() {
        let targets = Targets {
            labels: vec![2, 1],
            ..Targets::default()
        };
        let expected = -(log_softmax_of(ROWS[0], 2) + log_softmax_of(ROWS[1], 1)) / 2.0;
        assert!((f64::from(loss(LOGITS, &targets, 0.0)) - expected).abs() < 1e-6);
    }

    #[test]
    fn smoothing_mixes_in_the_mean_over_all_classes() {
        let targets = Targets {
            labels: vec![2, 1],
            ..Targets::default()
        };
        let row = |logits, class| {
            let all: f64 = (0..3).map(|c| log_softmax_of(logits, c)).sum::<f64>() / 3.0;
            -(0.9 * log_softmax_of(logits, class) + 0.1 * all)
        };
        let expected = (row(ROWS[0], 2) + row(ROWS[1], 1)) / 2.0;
        assert!((f64::from(loss(LOGITS, &targets, 0.1)) - expected).abs() < 1e-6);
    }

    #[test]
    fn weights_are_normalised() {
        let targets = Targets {
            labels: vec![2, 1],
            weights: Some(vec![3.0, 1.0]),
            ..Targets::default()
        };
        let expected = -(3.0 * log_softmax_of(ROWS[0], 2) + log_softmax_of(ROWS[1], 1)) / 4.0;
        assert!((f64::from(loss(LOGITS, &targets, 0.0)) - expected).abs() < 1e-6);
    }
}
