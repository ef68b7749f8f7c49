//! What training minimises, for one class, several labels or numbers a picture.

mod criterion;
mod kinds;

pub use criterion::Criterion;
pub use kinds::Loss;

use std::sync::Arc;

use burn::prelude::*;
use burn::tensor::TensorData;
use burn::tensor::activation::{log_sigmoid, log_softmax, softmax};
use rekindle_imagefolder::Task;

/// What a batch of images is to be recognised as.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Targets {
    /// The class of each image; of no meaning where images have several labels or numbers.
    pub labels: Vec<usize>,
    /// Targets `[n, classes]`, row-major, in place of the labels: probabilities where images were mixed, 0 or 1 for each
    /// of several labels, or numbers.
    pub soft: Option<Vec<f32>>,
    /// How much each image counts; all the same where there are none.
    pub weights: Option<Vec<f32>>,
    /// What is to be learned.
    pub task: Task,
    /// How much a picture with a label counts against one without, for each label; the same where there are none.
    pub positive_weights: Option<Arc<[f32]>>,
    /// Share of each class among the training images, which [`Loss::LogitAdjusted`] asks for; all above 0.
    pub class_shares: Option<Arc<[f32]>>,
}

impl Targets {
    /// Targets `[n, classes]` with `smoothing` of each row spread over all classes; of several labels, over yes and no.
    fn rows(&self, classes: usize, smoothing: f64) -> Vec<f32> {
        let mut rows = self.soft.clone().unwrap_or_else(|| {
            let mut rows = vec![0.0; self.labels.len() * classes];
            for (row, label) in self.labels.iter().enumerate() {
                rows[row * classes + label] = 1.0;
            }
            rows
        });
        let answers = match self.task {
            Task::SingleLabel | Task::Ordinal => classes,
            Task::MultiLabel => 2,
            Task::Regression => return rows,
        };
        if smoothing > 0.0 {
            let floor = (smoothing / answers as f64) as f32;
            let scale = (1.0 - smoothing) as f32;
            for value in &mut rows {
                *value = *value * scale + floor;
            }
        }
        rows
    }

    /// Returns the targets as a tensor beside `outputs` `[n, classes]`: probabilities with `smoothing` of each row spread over
    /// all classes, of several labels over yes and no of each, or numbers.
    pub fn tensor(&self, outputs: &Tensor<2>, smoothing: f64) -> Tensor<2> {
        let [count, classes] = outputs.dims();
        let rows = TensorData::new(self.rows(classes, smoothing), [count, classes]);
        Tensor::from_data(rows, &outputs.device())
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
    Loss::CrossEntropy.value(logits, targets, smoothing)
}

/// What is left to 1 of a probability at least, before a power of it is taken.
const LEAST_LEFT: f64 = 1e-7;

impl Loss {
    /// Returns the loss of outputs `[n, classes]` against `targets`, as a scalar `[1]`: the sum over an image's labels or
    /// numbers, and the weighted mean over the images.
    pub fn value(self, outputs: Tensor<2>, targets: &Targets, smoothing: f64) -> Tensor<1> {
        let [count, classes] = outputs.dims();
        let device = outputs.device();
        let rows = targets.tensor(&outputs, smoothing);
        let shares = Tensor::<2>::from_data(TensorData::new(targets.shares(), [count, 1]), &device);
        let losses = match self {
            Self::CrossEntropy => return (log_softmax(outputs, 1) * rows * shares).sum().neg(),
            Self::LogitAdjusted { tau } => {
                let adjusted = match &targets.class_shares {
                    Some(shares) => {
                        let raised = shares.iter().map(|share| tau as f32 * share.ln());
                        let raised = TensorData::new(raised.collect(), [1, classes]);
                        outputs + Tensor::<2>::from_data(raised, &device)
                    }
                    None => outputs,
                };
                return (log_softmax(adjusted, 1) * rows * shares).sum().neg();
            }
            Self::Focal { gamma } => {
                let logs = log_softmax(outputs, 1);
                let left = logs.clone().exp().neg() + 1.0;
                let eased = match gamma {
                    0.0 => logs,
                    1.0 => left * logs,
                    // A power's gradient is no number at 0.
                    gamma => left.clamp_min(LEAST_LEFT).powf_scalar(gamma) * logs,
                };
                return (eased * rows * shares).sum().neg();
            }
            Self::SquaredEmd => (softmax(outputs, 1) - rows).cumsum(1).square(),
            Self::BinaryCrossEntropy => {
                let yes = rows.clone() * log_sigmoid(outputs.clone());
                let no = (rows.neg() + 1.0) * log_sigmoid(outputs.neg());
                let yes = match &targets.positive_weights {
                    Some(weights) => {
                        let weights = TensorData::new(weights.to_vec(), [1, classes]);
                        yes * Tensor::<2>::from_data(weights, &device)
                    }
                    None => yes,
                };
                (yes + no).neg()
            }
            Self::Asymmetric {
                gamma_negative,
                gamma_positive,
                margin,
            } => asymmetric(outputs, rows, [gamma_negative, gamma_positive, margin]),
            Self::L1 => (outputs - rows).abs(),
            Self::L2 => (outputs - rows).square(),
            Self::Huber { delta } => {
                // Half the square up to delta, from there on straight.
                let error = (outputs - rows).abs();
                let near = error.clone().clamp_max(delta);
                near.clone().square() * 0.5 + (error - near) * delta
            }
        };
        (losses * shares).sum()
    }
}

/// The asymmetric loss of every answer: probabilities of labels that a picture lacks are lowered by a margin, and easy
/// answers count less, those for labels that it lacks still less (Ridnik et al. 2021, <https://arxiv.org/abs/2009.14119>).
fn asymmetric(
    outputs: Tensor<2>,
    rows: Tensor<2>,
    [negative, positive, margin]: [f64; 3],
) -> Tensor<2> {
    /// What a probability is at least before its logarithm is taken.
    const LEAST: f64 = 1e-8;
    let yes = burn::tensor::activation::sigmoid(outputs.clone());
    let lowered = (yes.clone() - margin).clamp_min(0.0);
    let power = |base: Tensor<2>, exponent: f64, loss: Tensor<2>| match exponent {
        0.0 => loss,
        1.0 => base * loss,
        exponent => base.powf_scalar(exponent) * loss,
    };
    let of_yes = power(yes.neg() + 1.0, positive, log_sigmoid(outputs));
    let log_no = (lowered.clone().neg() + 1.0).clamp_min(LEAST).log();
    let of_no = power(lowered, negative, log_no);
    let losses = rows.clone() * of_yes + (rows.neg() + 1.0) * of_no;
    losses.neg()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
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

    /// Against PyTorch in f64: `-(1 - p)^2 log p`, and `cross_entropy(logits + tau * log(shares), labels)`.
    #[test]
    fn losses_for_uneven_classes_are_those_of_their_papers() {
        let of = |loss: Loss, targets: &Targets, smoothing| {
            let logits = Tensor::<2>::from_data(LOGITS, &Device::flex());
            f64::from(loss.value(logits, targets, smoothing).into_scalar::<f32>())
        };
        let plain = Targets {
            labels: vec![2, 1],
            ..Targets::default()
        };
        let uneven = Targets {
            class_shares: Some([0.7, 0.2, 0.1].into()),
            ..plain.clone()
        };
        let (focal, adjusted) = (
            |gamma| Loss::Focal { gamma },
            |tau| Loss::LogitAdjusted { tau },
        );
        for (found, expected) in [
            (of(focal(0.0), &plain, 0.0), 0.535_240_403),
            (of(focal(1.0), &plain, 0.0), 0.320_461_062),
            (of(focal(2.0), &plain, 0.0), 0.201_913_392),
            (of(adjusted(0.0), &uneven, 0.0), 0.535_240_403),
            (of(adjusted(0.5), &uneven, 0.0), 0.900_805_107),
            (of(adjusted(1.0), &uneven, 0.0), 1.355_207_555),
            (of(adjusted(1.0), &uneven, 0.1), 1.451_896_336),
            (of(adjusted(1.0), &plain, 0.0), 0.535_240_403),
        ] {
            assert!(
                (found - expected).abs() < 1e-6,
                "{found}, expected {expected}"
            );
        }
        // Sure and right: no gradient that is no number.
        let logits = Tensor::<2>::from_data(
            [[60.0, 0.0, 0.0], [0.0, 90.0, 0.0]],
            &Device::flex().autodiff(),
        );
        let logits = logits.require_grad();
        let sure = Targets {
            labels: vec![0, 1],
            ..Targets::default()
        };
        let grads = focal(1.5).value(logits.clone(), &sure, 0.0).backward();
        let grad = logits.grad(&grads).unwrap().into_data();
        assert!(grad.iter::<f32>().all(f32::is_finite));
    }

    #[test]
    fn a_loss_is_read_as_it_is_written() {
        for text in [
            "focal=2",
            "focal=1.5",
            "logit-adjusted=1",
            "asymmetric=4,1,0.05",
            "squared-emd",
            "l2",
        ] {
            let loss: Loss = text.parse().unwrap();
            assert_eq!(loss.to_string(), text);
        }
        assert_eq!("focal".parse::<Loss>().unwrap(), Loss::Focal { gamma: 2.0 });
        for wrong in [
            "focal=0.5",
            "focal=1,2",
            "logit-adjusted=-1",
            "logit-adjusted=nan",
            "squared-emd=2",
            "fokal",
        ] {
            assert!(wrong.parse::<Loss>().is_err(), "{wrong}");
        }
    }
}
