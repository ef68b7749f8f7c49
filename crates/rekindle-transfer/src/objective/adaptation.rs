//! A small head on kept features, trained on a labelled source and an unlabelled target together.

use burn::module::Module;
use burn::nn::Linear;
use burn::optim::GradientsParams;
use burn::prelude::*;
use burn::tensor::activation::{log_softmax, relu};
use burn::tensor::{Int, TensorData};
use serde::{Deserialize, Serialize};

use super::alignment::sgd;
use super::rows::{Rows, Scaler, select};
use super::{DomainAlignment, DomainObjective, DomainView, check};
use crate::TransferError;
use crate::features::Features;
use crate::initialise::linear;

/// Trains a head on features of a labelled source and an unlabelled target, by cross entropy plus a
/// [`DomainObjective`].
///
/// Plain data. Each step takes a batch of either domain; the learning rate falls as
/// `learning_rate / (1 + 10 p)^0.75` over the progress `p` (Ganin et al. 2016), by SGD with momentum 0.9.
/// The result is a function of the inputs and `seed`.
///
/// Few target rows (below some ten per class) give the objectives little to go by; and none of them can know when
/// the source has taught classes the wrong way round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adaptation {
    /// Objective on the target's images.
    pub objective: DomainObjective,
    /// Weight of the objective relative to the cross entropy; at least 0.
    pub weight: f64,
    /// Units of a layer with ReLU in front of the classifier; none for a linear classifier.
    pub hidden: Option<usize>,
    /// Scaling of the features before the first layer.
    pub scaling: Scaling,
    /// Number of steps.
    pub steps: usize,
    /// Rows of each domain in a step; all of them where there are fewer.
    pub batch_size: usize,
    /// Learning rate at the first step, above 0.
    pub learning_rate: f64,
    /// Added to the gradient, times the weight; at least 0.
    pub weight_decay: f64,
    /// Seed for the initial weights and the order of the rows.
    pub seed: u64,
}

/// Scaling of features before the first layer. Every row ends with a mean square of 1/4, which suits freshly
/// started layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scaling {
    /// Each row to the same length.
    Length,
    /// Each domain's mean taken off first: the simplest alignment there is, right where both domains hold their
    /// classes in like proportions.
    #[default]
    CentredByDomain,
}

/// Rows of the source with what they are.
#[derive(Clone, Copy, Debug)]
pub struct LabelledRows<'a> {
    /// `[n, dim]`.
    pub features: &'a Features,
    /// The class of each row, below `classes`.
    pub labels: &'a [usize],
    /// Number of classes.
    pub classes: usize,
    /// Weight of each row in the cross entropy, at least 0; none for equal weights.
    pub weights: Option<&'a [f32]>,
}

impl Adaptation {
    /// Takes the objective at weight 1 on a layer of 256 units, 500 steps of 64 + 64 rows at a rate of 0.01.
    pub fn new(objective: DomainObjective) -> Self {
        Self {
            objective,
            weight: 1.0,
            hidden: Some(256),
            scaling: Scaling::default(),
            steps: 500,
            batch_size: 64,
            learning_rate: 0.01,
            weight_decay: 1e-3,
            seed: 0,
        }
    }

    /// Trains a head for rows of the target's kind.
    ///
    /// # Errors
    ///
    /// [`TransferError`] where lengths disagree, a domain is empty, there is a single class, a setting is out of its
    /// range, an objective on features meets a linear classifier, or the loss stops being a number.
    pub fn fit(
        &self,
        source: LabelledRows<'_>,
        target: &Features,
        device: &Device,
    ) -> Result<AdaptedHead, TransferError> {
        self.validate()?;
        source.validate()?;
        check::length("target features", target.dim(), source.features.dim())?;
        if target.is_empty() {
            return Err(degenerate(
                "no row of the target; give its unlabelled features".into(),
            ));
        }
        let device = device.clone().autodiff();
        let (source_scaler, target_scaler) = (
            Scaler::new(self.scaling, source.features),
            Scaler::new(self.scaling, target),
        );
        let data = Data {
            source: source_scaler.tensor(source.features, &device),
            target: target_scaler.tensor(target, &device),
            labels: source.labels,
            weights: source.weights,
        };
        let network = self.train(&data, source.classes, &device)?;
        Ok(AdaptedHead {
            network: network.valid(),
            scaler: target_scaler,
            classes: source.classes,
            device: device.without_autodiff(),
        })
    }

    fn train(
        &self,
        data: &Data<'_>,
        classes: usize,
        device: &Device,
    ) -> Result<Network, TransferError> {
        let dim = data.source.dims()[1];
        let mut network = Network::new(dim, self.hidden, classes, self.seed, device);
        let widths = [self.hidden.unwrap_or(dim), classes];
        let objective = self.objective.clone();
        let mut alignment =
            DomainAlignment::new(objective, self.weight, widths, self.seed, device)?;
        let mut optimizer = sgd(self.weight_decay);
        let mut source = Rows::new(data.source.dims()[0], self.batch_size, self.seed);
        let mut target = Rows::new(data.target.dims()[0], self.batch_size, self.seed ^ 0x7a26);
        for step in 0..self.steps {
            let progress = step as f64 / self.steps as f64;
            let (rows, others) = (source.next_batch(), target.next_batch());
            let of_source = network.view(select(&data.source, &rows));
            let of_target = network.view(select(&data.target, &others));
            let loss = data.cross_entropy(of_source.logits.clone(), &rows)
                + alignment.loss(of_source, of_target, progress)?;
            let value = loss.clone().into_scalar::<f32>();
            if !value.is_finite() {
                return Err(degenerate(format!(
                    "the loss is {value} at step {step}; lower the learning rate, {}",
                    self.learning_rate
                )));
            }
            let rate = self.learning_rate / (1.0 + 10.0 * progress).powf(0.75);
            let mut gradients = loss.backward();
            alignment.step(&mut gradients, rate);
            let grads = GradientsParams::from_module(&mut gradients, &network);
            network = optimizer.step(rate, network, grads);
        }
        Ok(network)
    }

    fn validate(&self) -> Result<(), TransferError> {
        const METHOD: &str = "adaptation";
        check::positive(METHOD, "learning_rate", self.learning_rate)?;
        check::positive(METHOD, "batch_size", self.batch_size as f64)?;
        check::positive(METHOD, "hidden", self.hidden.unwrap_or(1) as f64)?;
        if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            return Err(TransferError::InvalidStrategy {
                strategy: METHOD,
                parameter: "weight_decay".into(),
                found: self.weight_decay.to_string(),
                expected: "a finite number, at least 0",
            });
        }
        if self.hidden.is_none() && self.objective.needs_trained_features() {
            return Err(degenerate(format!(
                "{} acts on trained features and a linear classifier has none; give a hidden layer",
                self.objective.name()
            )));
        }
        Ok(())
    }
}

impl LabelledRows<'_> {
    fn validate(&self) -> Result<(), TransferError> {
        check::length("labels", self.labels.len(), self.features.len())?;
        if self.features.is_empty() {
            return Err(degenerate("no row of the source".into()));
        }
        if self.classes < 2 {
            let classes = self.classes;
            return Err(degenerate(format!(
                "{classes} class(es); at least two are needed"
            )));
        }
        if let Some(label) = self.labels.iter().find(|label| **label >= self.classes) {
            let classes = self.classes;
            return Err(degenerate(format!("label {label} with {classes} classes")));
        }
        if let Some(weights) = self.weights {
            check::length("weights", weights.len(), self.features.len())?;
            let is_bad = |weight: &&f32| !(weight.is_finite() && **weight >= 0.0);
            if let Some(weight) = weights.iter().find(is_bad) {
                return Err(degenerate(format!("weight {weight}; expected at least 0")));
            }
        }
        Ok(())
    }
}

fn degenerate(reason: String) -> TransferError {
    TransferError::Degenerate {
        method: "adaptation",
        reason,
    }
}

/// A head for features of the target.
pub struct AdaptedHead {
    network: Network,
    scaler: Scaler,
    classes: usize,
    device: Device,
}

impl AdaptedHead {
    /// Logits `[count, classes]` of rows of the target's kind, row-major.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] for features of another length.
    pub fn logits(&self, features: &Features) -> Result<Vec<f64>, TransferError> {
        check::length("features for this head", features.dim(), self.scaler.dim)?;
        if features.is_empty() {
            return Ok(Vec::new());
        }
        let x = self.scaler.tensor(features, &self.device);
        let logits = self.network.view(x).logits.into_data();
        Ok(logits.iter::<f64>().collect())
    }

    /// Returns the most probable class of each row; the first among equals.
    ///
    /// # Errors
    ///
    /// As [`logits`](Self::logits).
    pub fn predict(&self, features: &Features) -> Result<Vec<usize>, TransferError> {
        let logits = self.logits(features)?;
        let best = |row: &[f64]| (1..row.len()).fold(0, |a, b| if row[b] > row[a] { b } else { a });
        Ok(logits.chunks_exact(self.classes).map(best).collect())
    }

    /// Returns the number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }
}

struct Data<'a> {
    source: Tensor<2>,
    target: Tensor<2>,
    labels: &'a [usize],
    weights: Option<&'a [f32]>,
}

impl Data<'_> {
    /// Weighted mean over `rows`, `[1]`; 0 where all weights are.
    fn cross_entropy(&self, logits: Tensor<2>, rows: &[usize]) -> Tensor<1> {
        let device = logits.device();
        let count = rows.len();
        let labels: Vec<i64> = rows.iter().map(|row| self.labels[*row] as i64).collect();
        let labels = Tensor::<2, Int>::from_data(TensorData::new(labels, [count, 1]), &device);
        let chosen = log_softmax(logits, 1).gather(1, labels);
        let Some(weights) = self.weights else {
            return chosen.mean().neg();
        };
        let weights: Vec<f32> = rows.iter().map(|row| weights[*row]).collect();
        let total = weights.iter().sum::<f32>().max(f32::MIN_POSITIVE);
        let weights = Tensor::<2>::from_data(TensorData::new(weights, [count, 1]), &device);
        (chosen * weights).sum().div_scalar(-total)
    }
}

#[derive(Module, Debug)]
struct Network {
    hidden: Option<Linear>,
    output: Linear,
}

impl Network {
    fn new(dim: usize, hidden: Option<usize>, classes: usize, seed: u64, device: &Device) -> Self {
        let width = hidden.unwrap_or(dim);
        Self {
            hidden: hidden.map(|hidden| linear(dim, hidden, seed ^ 0x51ed, device)),
            output: linear(width, classes, seed, device),
        }
    }

    fn view(&self, x: Tensor<2>) -> DomainView {
        let features = match &self.hidden {
            Some(layer) => relu(layer.forward(x)),
            None => x,
        };
        let logits = self.output.forward(features.clone());
        DomainView { features, logits }
    }
}
