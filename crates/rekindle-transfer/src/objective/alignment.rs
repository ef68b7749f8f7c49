//! Objectives of unsupervised domain adaptation as data, and their part in a training step.

use burn::module::Module;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
use burn::prelude::*;
use burn::tensor::Gradients;
use burn::tensor::activation::softmax;
use serde::{Deserialize, Serialize};

use super::{
    DomainClassifier, MkMmd, RandomizedMultilinearMap, certainty_weights, check, deep_coral_loss,
    domain_confusion_loss, domain_loss, information_maximisation, mean_entropy,
    minimum_class_confusion, multilinear_map, pseudo_label_loss, reverse_gradient,
};
use crate::TransferError;

/// The longest outer product that CDAN's domain classifier sees; beyond, a random map of
/// [`RANDOM_MAP`] numbers stands in for it.
const LONGEST_PRODUCT: usize = 4096;
const RANDOM_MAP: usize = 1024;

/// Objective on an unlabelled target, in addition to the cross entropy on a labelled source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum DomainObjective {
    /// Nothing: the yardstick for all others.
    SourceOnly,
    /// Features that a domain classifier can't tell apart, by a reversed gradient (Ganin et al. 2016).
    Dann {
        /// Units of the domain classifier.
        hidden: usize,
    },
    /// Features that leave a domain classifier undecided (Tzeng et al. 2015).
    DomainConfusion {
        /// Units of the domain classifier.
        hidden: usize,
    },
    /// [`Dann`](Self::Dann) whose domain classifier sees features and predictions (Long et al. 2018).
    Cdan {
        /// Units of the domain classifier.
        hidden: usize,
        /// True if certain predictions count more (CDAN+E).
        by_certainty: bool,
    },
    /// Equal distributions of features and of logits under several kernels (Long et al. 2015).
    MkMmd(MkMmd),
    /// Equal covariances of features (Sun and Saenko 2016).
    DeepCoral,
    /// Predictions on the target that don't confuse classes (Jin et al. 2020).
    MinimumClassConfusion {
        /// Divides the logits; the paper's is 2.5.
        temperature: f64,
    },
    /// Certain predictions on the target (Grandvalet and Bengio 2004).
    Entropy,
    /// Certain predictions on the target, all classes in use (Liang et al. 2020).
    InformationMaximisation,
    /// The classifier's own certain predictions as labels (Lee 2013).
    PseudoLabels {
        /// Smallest probability that counts, in `[0, 1]`.
        threshold: f64,
    },
}

impl DomainObjective {
    /// Returns every objective with its paper's constants.
    pub fn all() -> Vec<Self> {
        vec![
            Self::SourceOnly,
            Self::Dann { hidden: 256 },
            Self::DomainConfusion { hidden: 256 },
            Self::Cdan {
                hidden: 256,
                by_certainty: true,
            },
            Self::MkMmd(MkMmd::default()),
            Self::DeepCoral,
            Self::MinimumClassConfusion { temperature: 2.5 },
            Self::Entropy,
            Self::InformationMaximisation,
            Self::PseudoLabels { threshold: 0.95 },
        ]
    }

    /// Returns a short name for tables.
    pub fn name(&self) -> &'static str {
        match self {
            Self::SourceOnly => "source-only",
            Self::Dann { .. } => "dann",
            Self::DomainConfusion { .. } => "domain-confusion",
            Self::Cdan { .. } => "cdan",
            Self::MkMmd(_) => "mk-mmd",
            Self::DeepCoral => "deep-coral",
            Self::MinimumClassConfusion { .. } => "mcc",
            Self::Entropy => "entropy",
            Self::InformationMaximisation => "information-maximisation",
            Self::PseudoLabels { .. } => "pseudo-labels",
        }
    }

    /// Returns true if it acts on features alone, and so needs a trained layer in front of the classifier.
    pub fn needs_trained_features(&self) -> bool {
        matches!(
            self,
            Self::Dann { .. } | Self::DomainConfusion { .. } | Self::Cdan { .. } | Self::DeepCoral
        )
    }

    /// Returns the weight of the objective at `progress` (0 at the start of training, 1 at its end): 1 for
    /// MCC and Deep CORAL, `2 / (1 + exp(-10 progress)) - 1` (Ganin et al. 2016) for the others, which would
    /// act on the noise of an untrained classifier.
    pub fn strength(&self, progress: f64) -> f64 {
        match self {
            Self::DeepCoral | Self::MinimumClassConfusion { .. } => 1.0,
            _ => 2.0 / (1.0 + (-10.0 * progress).exp()) - 1.0,
        }
    }

    fn validate(&self) -> Result<(), TransferError> {
        match self {
            Self::Dann { hidden: 0 }
            | Self::DomainConfusion { hidden: 0 }
            | Self::Cdan { hidden: 0, .. } => check::positive(self.name(), "hidden", 0.0),
            Self::MkMmd(mmd) => mmd.validate(),
            Self::MinimumClassConfusion { temperature } => {
                check::positive("MCC", "temperature", *temperature)
            }
            Self::PseudoLabels { threshold } if !(0.0..=1.0).contains(threshold) => {
                Err(TransferError::InvalidStrategy {
                    strategy: "pseudo-labels",
                    parameter: "threshold".into(),
                    found: threshold.to_string(),
                    expected: "a number in [0, 1]",
                })
            }
            _ => Ok(()),
        }
    }
}

/// One domain's part of a batch.
#[derive(Clone, Debug)]
pub struct DomainView {
    /// Inputs of the classifier's last layer, `[n, features]`.
    pub features: Tensor<2>,
    /// Outputs of it, `[n, classes]`.
    pub logits: Tensor<2>,
}

/// A [`DomainObjective`] in a training loop: the loss of each step, and whatever has to learn besides the
/// network itself (a domain classifier, with its optimiser).
///
/// ```no_run
/// # fn main() -> Result<(), rekindle_transfer::TransferError> {
/// # use burn::prelude::*;
/// # use rekindle_transfer::objective::{DomainAlignment, DomainObjective, DomainView};
/// # let device = Device::flex().autodiff();
/// # let view = || DomainView { features: Tensor::zeros([8, 64], &device), logits: Tensor::zeros([8, 7], &device) };
/// # let (source, target, cross_entropy) = (view(), view(), Tensor::<1>::zeros([1], &device));
/// let objective = DomainObjective::MinimumClassConfusion { temperature: 2.5 };
/// let mut alignment = DomainAlignment::new(objective, 1.0, [64, 7], 0, &device)?;
/// let loss = cross_entropy + alignment.loss(source, target, 0.1)?; // a tenth of the training is done
/// let mut gradients = loss.backward();
/// alignment.step(&mut gradients, 0.01); // then the network's own step
/// # Ok(())
/// # }
/// ```
pub struct DomainAlignment {
    objective: DomainObjective,
    weight: f64,
    adversary: Option<Adversary>,
}

struct Adversary {
    classifier: DomainClassifier,
    optimizer: ModuleOptimizer,
    map: Option<RandomizedMultilinearMap>,
}

impl DomainAlignment {
    /// Creates the loss: `weight` times the objective, for features and logits of these widths (`[features,
    /// classes]`), on an autodiff `device`. A domain classifier starts as a function of `seed`.
    ///
    /// # Errors
    ///
    /// [`TransferError::InvalidStrategy`] for a constant out of its range.
    pub fn new(
        objective: DomainObjective,
        weight: f64,
        [features, classes]: [usize; 2],
        seed: u64,
        device: &Device,
    ) -> Result<Self, TransferError> {
        objective.validate()?;
        if !(weight.is_finite() && weight >= 0.0) {
            return Err(TransferError::InvalidStrategy {
                strategy: objective.name(),
                parameter: "weight".into(),
                found: weight.to_string(),
                expected: "a finite number, at least 0",
            });
        }
        let adversary = match objective {
            DomainObjective::Dann { hidden } | DomainObjective::DomainConfusion { hidden } => {
                Some(Adversary::new(features, hidden, None, seed, device))
            }
            DomainObjective::Cdan { hidden, .. } => {
                let product = features * classes;
                let map = (product > LONGEST_PRODUCT).then(|| {
                    RandomizedMultilinearMap::new(features, classes, RANDOM_MAP, seed, device)
                });
                let inputs = if map.is_some() { RANDOM_MAP } else { product };
                Some(Adversary::new(inputs, hidden, map, seed, device))
            }
            _ => None,
        };
        Ok(Self {
            objective,
            weight,
            adversary,
        })
    }

    /// Returns the objective.
    pub fn objective(&self) -> &DomainObjective {
        &self.objective
    }

    /// Computes the loss of a step, `[1]`, to be added to the cross entropy on the source; `progress` runs from 0 to
    /// 1 over the training.
    ///
    /// # Errors
    ///
    /// [`TransferError`] for shapes that don't fit, or batches too small for the objective.
    pub fn loss(
        &self,
        source: DomainView,
        target: DomainView,
        progress: f64,
    ) -> Result<Tensor<1>, TransferError> {
        let strength = self.objective.strength(progress);
        let loss = match (&self.objective, &self.adversary) {
            (DomainObjective::Dann { .. }, Some(adversary)) => {
                let classify = |x| adversary.classifier.forward(reverse_gradient(x, strength));
                domain_loss(classify(source.features), classify(target.features), None)?
            }
            (DomainObjective::DomainConfusion { .. }, Some(adversary)) => {
                adversary.confusion(source, target, strength)?
            }
            (DomainObjective::Cdan { by_certainty, .. }, Some(adversary)) => {
                adversary.conditional(source, target, strength, *by_certainty)?
            }
            (DomainObjective::MkMmd(mmd), _) => {
                let of_features = mmd.loss(source.features, target.features)?;
                (of_features + mmd.loss(source.logits, target.logits)?).mul_scalar(strength)
            }
            (DomainObjective::DeepCoral, _) => deep_coral_loss(source.features, target.features)?,
            (DomainObjective::MinimumClassConfusion { temperature }, _) => {
                minimum_class_confusion(target.logits, *temperature)?
            }
            (DomainObjective::Entropy, _) => mean_entropy(target.logits)?.mul_scalar(strength),
            (DomainObjective::InformationMaximisation, _) => {
                information_maximisation(target.logits)?.mul_scalar(strength)
            }
            (DomainObjective::PseudoLabels { threshold }, _) => {
                let teacher = target.logits.clone();
                pseudo_label_loss(target.logits, teacher, *threshold)?.mul_scalar(strength)
            }
            _ => Tensor::zeros([1], &target.logits.device()),
        };
        Ok(loss.mul_scalar(self.weight))
    }

    /// Lets the domain classifier learn from the gradients of the whole loss, at `learning_rate` (SGD with momentum
    /// 0.9 and weight decay 1e-3); nothing happens for objectives without one.
    pub fn step(&mut self, gradients: &mut Gradients, learning_rate: f64) {
        if let Some(adversary) = &mut self.adversary {
            let grads = GradientsParams::from_module(gradients, &adversary.classifier);
            let classifier = adversary.classifier.clone();
            adversary.classifier = adversary.optimizer.step(learning_rate, classifier, grads);
        }
    }
}

impl Adversary {
    fn new(
        inputs: usize,
        hidden: usize,
        map: Option<RandomizedMultilinearMap>,
        seed: u64,
        device: &Device,
    ) -> Self {
        Self {
            classifier: DomainClassifier::new(inputs, hidden, seed ^ 0xd0_3a1e, device),
            optimizer: sgd(1e-3),
            map,
        }
    }

    fn confusion(
        &self,
        source: DomainView,
        target: DomainView,
        strength: f64,
    ) -> Result<Tensor<1>, TransferError> {
        let fixed = self.classifier.clone().no_grad();
        let confusion = domain_confusion_loss(
            fixed.forward(source.features.clone()),
            fixed.forward(target.features.clone()),
        )?;
        let classify = |x: Tensor<2>| self.classifier.forward(x.detach());
        let classification =
            domain_loss(classify(source.features), classify(target.features), None)?;
        Ok(classification + confusion.mul_scalar(strength))
    }

    fn conditional(
        &self,
        source: DomainView,
        target: DomainView,
        strength: f64,
        by_certainty: bool,
    ) -> Result<Tensor<1>, TransferError> {
        let weights = if by_certainty {
            Some((
                certainty_weights(source.logits.clone())?,
                certainty_weights(target.logits.clone())?,
            ))
        } else {
            None
        };
        let classify = |view: DomainView| {
            let predictions = softmax(view.logits.detach(), 1);
            let product = match &self.map {
                Some(map) => map.forward(view.features, predictions),
                None => multilinear_map(view.features, predictions),
            };
            product.map(|x| self.classifier.forward(reverse_gradient(x, strength)))
        };
        domain_loss(classify(source)?, classify(target)?, weights)
    }
}

/// SGD with momentum 0.9, Nesterov's step and this weight decay.
pub(super) fn sgd(weight_decay: f64) -> ModuleOptimizer {
    let momentum = MomentumConfig {
        momentum: 0.9,
        dampening: 0.0,
        nesterov: true,
    };
    let config = SgdConfig::new().with_momentum(Some(momentum));
    let config = if weight_decay > 0.0 {
        config.with_weight_decay(Some(WeightDecayConfig::new(weight_decay as f32)))
    } else {
        config
    };
    config.init()
}
