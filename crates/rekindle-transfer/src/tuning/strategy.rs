//! Strategies as data: what is frozen in which epoch, and at which rate the rest learns.

use serde::{Deserialize, Serialize};

use crate::TransferError;

/// How a pretrained network is adapted.
///
/// A strategy is plain data; [`plan`](Self::plan) turns it into what holds in one epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Strategy {
    /// Everything but the head is frozen, batch normalisation included: features are fixed.
    FeatureExtraction,
    /// Everything learns from the first epoch, the backbone at `backbone_rate` times the head's rate.
    FineTuning {
        /// Multiplier of the learning rate of all stages; 1 treats them as the head.
        backbone_rate: f64,
    },
    /// The stages up to and including `last_frozen` are frozen, the rest learns.
    FreezeUpTo {
        /// Name of the last frozen stage, such as `"layer3"`.
        last_frozen: String,
    },
    /// Starts with the head and thaws one more stage, from the last to the first, every
    /// `epochs_per_stage` epochs (Howard and Ruder 2018, <https://arxiv.org/abs/1801.06146>).
    GradualUnfreezing {
        /// Epochs before the next stage is thawed; at least 1.
        epochs_per_stage: usize,
    },
    /// Everything learns, each stage at `decay` times the rate of the stage behind it
    /// (discriminative fine-tuning, Howard and Ruder 2018).
    DiscriminativeRates {
        /// Ratio of one stage's rate to the next one's, in (0, 1].
        decay: f64,
    },
    /// Linear probing, then fine-tuning: the head alone for `probe_epochs`, then everything
    /// (Kumar et al. 2022, <https://arxiv.org/abs/2202.10054>).
    LinearProbeThenFineTuning {
        /// Epochs in which only the head learns.
        probe_epochs: usize,
        /// Multiplier of the learning rate of all stages afterwards.
        backbone_rate: f64,
    },
    /// Every weight starts afresh: no transfer, the yardstick for all others.
    FromScratch,
}

impl Strategy {
    /// Fine-tuning with one rate for all, as the PyTorch tutorial does it.
    pub fn fine_tuning() -> Self {
        Strategy::FineTuning { backbone_rate: 1.0 }
    }

    /// A short name for tables and file names.
    pub fn name(&self) -> &'static str {
        match self {
            Strategy::FeatureExtraction => "features",
            Strategy::FineTuning { .. } => "finetune",
            Strategy::FreezeUpTo { .. } => "freeze-up-to",
            Strategy::GradualUnfreezing { .. } => "gradual-unfreezing",
            Strategy::DiscriminativeRates { .. } => "discriminative-rates",
            Strategy::LinearProbeThenFineTuning { .. } => "lp-ft",
            Strategy::FromScratch => "scratch",
        }
    }

    /// Whether the source's weights are used at all.
    pub fn is_transfer(&self) -> bool {
        !matches!(self, Strategy::FromScratch)
    }

    /// What holds in `epoch` (counted from 0) for a backbone with these stages.
    ///
    /// # Errors
    ///
    /// [`TransferError::UnknownStage`] for a stage that the backbone doesn't have,
    /// [`TransferError::InvalidStrategy`] for a rate or a count out of its range.
    pub fn plan(&self, stages: &[&str], epoch: usize) -> Result<Plan, TransferError> {
        self.validate()?;
        let count = stages.len();
        let plan = match self {
            Strategy::FeatureExtraction => Plan::frozen(count, count),
            Strategy::FineTuning { backbone_rate } => Plan::uniform(count, *backbone_rate),
            Strategy::FreezeUpTo { last_frozen } => {
                Plan::frozen(count, position(stages, last_frozen)? + 1)
            }
            Strategy::GradualUnfreezing { epochs_per_stage } => {
                Plan::frozen(count, count.saturating_sub(epoch / epochs_per_stage))
            }
            Strategy::DiscriminativeRates { decay } => Plan {
                frozen_stages: 0,
                stage_rates: (0..count)
                    .map(|stage| decay.powi((count - stage) as i32))
                    .collect(),
            },
            Strategy::LinearProbeThenFineTuning {
                probe_epochs,
                backbone_rate,
            } => {
                if epoch < *probe_epochs {
                    Plan::frozen(count, count)
                } else {
                    Plan::uniform(count, *backbone_rate)
                }
            }
            Strategy::FromScratch => Plan::uniform(count, 1.0),
        };
        Ok(plan)
    }

    /// How many stages stay frozen through all of `epochs`: their activations can be kept.
    ///
    /// # Errors
    ///
    /// As [`plan`](Self::plan).
    pub fn always_frozen(&self, stages: &[&str], epochs: usize) -> Result<usize, TransferError> {
        // Nothing freezes again once it has thawed, so the last epoch decides.
        Ok(self.plan(stages, epochs.saturating_sub(1))?.frozen_stages)
    }

    fn validate(&self) -> Result<(), TransferError> {
        let invalid = |what: &str, found: f64, expected: &'static str| {
            Err(TransferError::InvalidStrategy {
                strategy: self.name(),
                parameter: what.to_string(),
                found: found.to_string(),
                expected,
            })
        };
        match self {
            Strategy::FineTuning { backbone_rate }
            | Strategy::LinearProbeThenFineTuning { backbone_rate, .. }
                if !(backbone_rate.is_finite() && *backbone_rate > 0.0) =>
            {
                invalid("backbone_rate", *backbone_rate, "a finite number above 0")
            }
            Strategy::DiscriminativeRates { decay } if !(*decay > 0.0 && *decay <= 1.0) => {
                invalid("decay", *decay, "a number in (0, 1]")
            }
            Strategy::GradualUnfreezing {
                epochs_per_stage: 0,
            } => invalid("epochs_per_stage", 0.0, "at least 1"),
            _ => Ok(()),
        }
    }
}

fn position(stages: &[&str], wanted: &str) -> Result<usize, TransferError> {
    stages
        .iter()
        .position(|stage| *stage == wanted)
        .ok_or_else(|| TransferError::UnknownStage {
            found: wanted.to_string(),
            known: stages.iter().map(ToString::to_string).collect(),
        })
}

/// What a strategy means in one epoch. The head always learns, at rate 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// How many stages, from the first, are frozen: no gradient, no update of running statistics, no
    /// backward pass.
    pub frozen_stages: usize,
    /// Multiplier of the learning rate for each stage; meaningless for a frozen one.
    pub stage_rates: Vec<f64>,
}

impl Plan {
    fn frozen(count: usize, frozen_stages: usize) -> Self {
        Plan {
            frozen_stages,
            stage_rates: vec![1.0; count],
        }
    }

    fn uniform(count: usize, rate: f64) -> Self {
        Plan {
            frozen_stages: 0,
            stage_rates: vec![rate; count],
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const STAGES: [&str; 5] = ["stem", "layer1", "layer2", "layer3", "layer4"];

    #[test]
    fn feature_extraction_freezes_everything_in_every_epoch() {
        let plan = Strategy::FeatureExtraction.plan(&STAGES, 7).unwrap();
        assert_eq!(plan.frozen_stages, 5);
    }

    #[test]
    fn gradual_unfreezing_thaws_from_the_last_stage() {
        let strategy = Strategy::GradualUnfreezing {
            epochs_per_stage: 2,
        };
        let frozen: Vec<usize> = (0..13)
            .map(|epoch| strategy.plan(&STAGES, epoch).unwrap().frozen_stages)
            .collect();
        assert_eq!(frozen, [5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0, 0]);
        assert_eq!(strategy.always_frozen(&STAGES, 5).unwrap(), 3);
    }

    #[test]
    fn discriminative_rates_are_a_geometric_series() {
        let strategy = Strategy::DiscriminativeRates { decay: 0.5 };
        let plan = strategy.plan(&STAGES, 0).unwrap();
        assert_eq!(plan.stage_rates, [0.03125, 0.0625, 0.125, 0.25, 0.5]);
    }

    #[test]
    fn linear_probing_then_everything() {
        let strategy = Strategy::LinearProbeThenFineTuning {
            probe_epochs: 3,
            backbone_rate: 0.1,
        };
        assert_eq!(strategy.plan(&STAGES, 2).unwrap().frozen_stages, 5);
        let plan = strategy.plan(&STAGES, 3).unwrap();
        assert_eq!((plan.frozen_stages, plan.stage_rates[0]), (0, 0.1));
    }

    #[test]
    fn an_unknown_stage_names_the_known_ones() {
        let strategy = Strategy::FreezeUpTo {
            last_frozen: "layer9".into(),
        };
        let message = strategy.plan(&STAGES, 0).unwrap_err().to_string();
        assert!(
            message.contains("layer9") && message.contains("layer3"),
            "{message}"
        );
    }

    #[test]
    fn rates_out_of_range_are_refused() {
        for decay in [0.0, -1.0, 1.5, f64::NAN] {
            let strategy = Strategy::DiscriminativeRates { decay };
            assert!(strategy.plan(&STAGES, 0).is_err(), "{decay}");
        }
    }

    #[test]
    fn strategies_survive_json() {
        let strategy = Strategy::FreezeUpTo {
            last_frozen: "layer3".into(),
        };
        let json = serde_json::to_string(&strategy).unwrap();
        assert_eq!(serde_json::from_str::<Strategy>(&json).unwrap(), strategy);
    }
}
