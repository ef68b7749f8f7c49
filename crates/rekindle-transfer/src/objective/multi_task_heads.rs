//! Several tasks at once: one layer that they share, a head for each, and labels that may be missing.

use burn::module::Module;
use burn::nn::Linear;
use burn::optim::GradientsParams;
use burn::prelude::*;
use burn::tensor::activation::{log_softmax, relu};
use burn::tensor::{Int, TensorData};
use serde::{Deserialize, Serialize};

use super::alignment::sgd;
use super::rows::{Rows, Scaler, select};
use super::{Scaling, UncertaintyWeighting, check, pcgrad, weighted_sum};
use crate::TransferError;
use crate::features::Features;
use crate::initialise::linear;

/// Computes the mean cross entropy over the rows that have a label, `[1]`; 0 where none has.
///
/// `logits` `[n, classes]`, `labels` `[n]`, each below `classes`.
///
/// # Errors
///
/// [`TransferError`] for an empty batch, another number of labels, or a label out of range.
pub fn masked_cross_entropy(
    logits: Tensor<2>,
    labels: &[Option<usize>],
) -> Result<Tensor<1>, TransferError> {
    check::rows("masked cross entropy", &logits, 1)?;
    let [n, classes] = logits.dims();
    check::length("labels", labels.len(), n)?;
    check_labels(labels, classes)?;
    let device = logits.device();
    let known = labels.iter().flatten().count().max(1);
    let weights: Vec<f32> = labels
        .iter()
        .map(|label| f32::from(label.is_some()))
        .collect();
    let weights = Tensor::<2>::from_data(TensorData::new(weights, [n, 1]), &device);
    let labels: Vec<i64> = labels
        .iter()
        .map(|label| label.unwrap_or(0) as i64)
        .collect();
    let labels = Tensor::<2, Int>::from_data(TensorData::new(labels, [n, 1]), &device);
    let chosen = log_softmax(logits, 1).gather(1, labels);
    Ok((chosen * weights).sum().div_scalar(-(known as f64)))
}

fn check_labels(labels: &[Option<usize>], classes: usize) -> Result<(), TransferError> {
    match labels.iter().flatten().find(|label| **label >= classes) {
        Some(label) => Err(degenerate(format!("label {label} with {classes} classes"))),
        None => Ok(()),
    }
}

/// One task's labels of the rows that all tasks share.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskLabels {
    /// The class of each row, below `classes`; none where this task doesn't know.
    pub labels: Vec<Option<usize>>,
    /// Number of classes.
    pub classes: usize,
}

/// Combination of the losses of several tasks into one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Weighting {
    /// A fixed weight per task ([`weighted_sum`]).
    Fixed {
        /// One per task, at least 0.
        weights: Vec<f64>,
    },
    /// Learnt from each task's uncertainty ([`UncertaintyWeighting`]; Kendall et al. 2018).
    Uncertainty,
    /// A plain sum whose gradients are kept from working against each other ([`pcgrad`]; Yu et al. 2020).
    PcGrad,
}

/// Trains one shared layer and a head a task on kept features (hard parameter sharing; Caruana 1997).
///
/// Plain data. Tasks may have different label sets, and each row any of their labels or none. SGD with momentum 0.9; the
/// learning rate falls as `learning_rate / (1 + 10 p)^0.75` over the progress `p`. It helps where tasks need the
/// same features and some have few labels; tasks that need different ones crowd each other out, most so in a narrow
/// layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MultiTask {
    /// Combination of the losses into one.
    pub weighting: Weighting,
    /// Units of the shared layer, at least 1.
    pub hidden: usize,
    /// Number of steps.
    pub steps: usize,
    /// Rows in a step; all of them where there are fewer.
    pub batch_size: usize,
    /// Learning rate at the first step, above 0.
    pub learning_rate: f64,
    /// Added to the gradient, times the weight; at least 0.
    pub weight_decay: f64,
    /// Seed for the initial weights and the order of the rows.
    pub seed: u64,
}

impl MultiTask {
    /// Begins with a shared layer of 256 units, 500 steps of 64 rows at a rate of 0.01.
    pub fn new(weighting: Weighting) -> Self {
        Self {
            weighting,
            hidden: 256,
            steps: 500,
            batch_size: 64,
            learning_rate: 0.01,
            weight_decay: 1e-3,
            seed: 0,
        }
    }

    /// Trains on `features` `[n, dim]` with the labels of each task.
    ///
    /// # Errors
    ///
    /// [`TransferError`] without rows or tasks, for a task of fewer than two classes or without a single label, for lengths
    /// that disagree, a setting out of its range, or a loss that stops being a number.
    pub fn fit(
        &self,
        features: &Features,
        tasks: &[TaskLabels],
        device: &Device,
    ) -> Result<MultiTaskHeads, TransferError> {
        self.validate(features, tasks)?;
        let device = device.clone().autodiff();
        let scaler = Scaler::new(Scaling::Length, features);
        let x = scaler.tensor(features, &device);
        let mut network = Network {
            trunk: linear(features.dim(), self.hidden, self.seed ^ 0x51ed, &device),
            heads: (0_u64..)
                .zip(tasks)
                .map(|(at, task)| linear(self.hidden, task.classes, self.seed ^ at, &device))
                .collect(),
            weighting: matches!(self.weighting, Weighting::Uncertainty)
                .then(|| UncertaintyWeighting::new(tasks.len(), &device)),
        };
        let mut optimizer = sgd(self.weight_decay);
        let mut rows = Rows::new(features.len(), self.batch_size, self.seed);
        for step in 0..self.steps {
            let progress = step as f64 / self.steps as f64;
            let rate = self.learning_rate / (1.0 + 10.0 * progress).powf(0.75);
            let batch = rows.next_batch();
            let losses = || network.losses(select(&x, &batch), tasks, &batch);
            let grads = self.gradients(&network, losses, step)?;
            network = optimizer.step(rate, network, grads);
        }
        Ok(MultiTaskHeads {
            network: network.valid(),
            scaler,
            device: device.without_autodiff(),
        })
    }

    fn gradients(
        &self,
        network: &Network,
        forward: impl Fn() -> Result<Vec<Tensor<1>>, TransferError>,
        step: usize,
    ) -> Result<GradientsParams, TransferError> {
        let losses = &forward()?;
        let loss = match (&self.weighting, &network.weighting) {
            (Weighting::Fixed { weights }, _) => weighted_sum(losses, weights)?,
            (Weighting::Uncertainty, Some(weighting)) => weighting.loss(losses)?,
            _ => weighted_sum(losses, &vec![1.0; losses.len()])?,
        };
        let value = loss.clone().into_scalar::<f32>();
        if !value.is_finite() {
            return Err(degenerate(format!(
                "the loss is {value} at step {step}; lower the learning rate, {}",
                self.learning_rate
            )));
        }
        if self.weighting != Weighting::PcGrad {
            return Ok(GradientsParams::from_grads(loss.backward(), network));
        }
        // A backward pass consumes the graph, so that each task needs a forward pass of its own.
        let of_task = |task: usize| {
            let loss = forward()?.swap_remove(task);
            Ok(GradientsParams::from_grads(loss.backward(), network))
        };
        let each = (0..losses.len())
            .map(of_task)
            .collect::<Result<_, TransferError>>()?;
        pcgrad(network, each, self.seed ^ step as u64)
    }

    fn validate(&self, features: &Features, tasks: &[TaskLabels]) -> Result<(), TransferError> {
        const METHOD: &str = "multi-task";
        check::positive(METHOD, "hidden", self.hidden as f64)?;
        check::positive(METHOD, "batch_size", self.batch_size as f64)?;
        check::positive(METHOD, "learning_rate", self.learning_rate)?;
        if features.is_empty() || tasks.is_empty() {
            return Err(degenerate(
                "no rows or no tasks; give at least one of each".into(),
            ));
        }
        if let Weighting::Fixed { weights } = &self.weighting {
            check::length("weights of tasks", weights.len(), tasks.len())?;
        }
        for task in tasks {
            check::length("labels of a task", task.labels.len(), features.len())?;
            check_labels(&task.labels, task.classes)?;
            if task.classes < 2 || task.labels.iter().all(Option::is_none) {
                return Err(degenerate(
                    "a task of fewer than two classes, or without a label; leave it out".into(),
                ));
            }
        }
        Ok(())
    }
}

fn degenerate(reason: String) -> TransferError {
    TransferError::Degenerate {
        method: "multi-task",
        reason,
    }
}

/// Heads for several tasks on one layer.
pub struct MultiTaskHeads {
    network: Network,
    scaler: Scaler,
    device: Device,
}

impl MultiTaskHeads {
    /// Logits `[count, classes]` of each task, row-major.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] for features of another length.
    pub fn logits(&self, features: &Features) -> Result<Vec<Vec<f64>>, TransferError> {
        check::length("features for these heads", features.dim(), self.scaler.dim)?;
        if features.is_empty() {
            return Ok(vec![Vec::new(); self.network.heads.len()]);
        }
        let x = self.scaler.tensor(features, &self.device);
        let logits = self.network.forward(x).into_iter();
        Ok(logits
            .map(|logits| logits.into_data().iter::<f64>().collect())
            .collect())
    }

    /// Returns the most probable class of each row, one list per task; the first among equals.
    ///
    /// # Errors
    ///
    /// As [`logits`](Self::logits).
    pub fn predict(&self, features: &Features) -> Result<Vec<Vec<usize>>, TransferError> {
        let best = |row: &[f64]| (1..row.len()).fold(0, |a, b| if row[b] > row[a] { b } else { a });
        let logits = self.logits(features)?.into_iter().zip(&self.network.heads);
        Ok(logits
            .map(|(logits, head)| {
                logits
                    .chunks_exact(head.weight.dims()[1])
                    .map(best)
                    .collect()
            })
            .collect())
    }
}

#[derive(Module, Debug)]
struct Network {
    trunk: Linear,
    heads: Vec<Linear>,
    weighting: Option<UncertaintyWeighting>,
}

impl Network {
    fn forward(&self, x: Tensor<2>) -> Vec<Tensor<2>> {
        let shared = relu(self.trunk.forward(x));
        self.heads
            .iter()
            .map(|head| head.forward(shared.clone()))
            .collect()
    }

    fn losses(
        &self,
        x: Tensor<2>,
        tasks: &[TaskLabels],
        rows: &[usize],
    ) -> Result<Vec<Tensor<1>>, TransferError> {
        self.forward(x)
            .into_iter()
            .zip(tasks)
            .map(|(logits, task)| {
                let labels: Vec<Option<usize>> = rows.iter().map(|row| task.labels[*row]).collect();
                masked_cross_entropy(logits, &labels)
            })
            .collect()
    }
}
