//! Strategies as data: what is frozen in which epoch, and at which rate the rest learns.

use serde::{Deserialize, Serialize};

use crate::TransferError;

/// A way to adapt a pretrained network.
///
/// A strategy is plain data; [`plan`](Self::plan) turns it into what holds in one epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
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
    /// [`FineTuning`](Self::FineTuning) with a penalty on each weight's distance from where it started
    /// ([`L2Sp`](super::L2Sp); Li et al. 2018).
    L2Sp {
        /// Strength of the penalty, at least 0; the paper's lie between 0.01 and 1.
        strength: f64,
        /// Multiplier of the learning rate of all stages.
        backbone_rate: f64,
    },
    /// [`FineTuning`](Self::FineTuning) with the last stage's feature maps held near the source's
    /// ([`feature_map_penalty`](super::feature_map_penalty); Li et al. 2019).
    Delta {
        /// Strength of the penalty, at least 0.
        strength: f64,
        /// Multiplier of the learning rate of all stages.
        backbone_rate: f64,
    },
    /// Only biases learn, besides the head: in most networks the shifts of batch normalisation, whose running statistics
    /// stay (BitFit; Ben Zaken et al. 2022, <https://arxiv.org/abs/2106.10199>).
    BitFit {
        /// Multiplier of the learning rate of all stages.
        backbone_rate: f64,
    },
    /// Only batch normalisation learns, besides the head: scales, shifts and running statistics
    /// (Frankle et al. 2021, <https://arxiv.org/abs/2003.00152>).
    BatchNormOnly {
        /// Multiplier of the learning rate of all stages.
        backbone_rate: f64,
    },
    /// [`FineTuning`](Self::FineTuning) in which batch normalisation keeps the source's running statistics
    /// and normalises by them: training begins with the very function that is used later, and the few images
    /// of a batch don't decide its scale.
    FixedStatistics {
        /// Multiplier of the learning rate of all stages.
        backbone_rate: f64,
    },
    /// Every weight starts afresh: no transfer, the yardstick for all others.
    FromScratch,
}

impl Strategy {
    /// Returns fine-tuning with one rate for all, as the PyTorch tutorial does it.
    pub fn fine_tuning() -> Self {
        Strategy::FineTuning { backbone_rate: 1.0 }
    }

    /// Returns a short name for tables and file names.
    pub fn name(&self) -> &'static str {
        match self {
            Strategy::FeatureExtraction => "features",
            Strategy::FineTuning { .. } => "finetune",
            Strategy::FreezeUpTo { .. } => "freeze-up-to",
            Strategy::GradualUnfreezing { .. } => "gradual-unfreezing",
            Strategy::DiscriminativeRates { .. } => "discriminative-rates",
            Strategy::LinearProbeThenFineTuning { .. } => "lp-ft",
            Strategy::L2Sp { .. } => "l2-sp",
            Strategy::Delta { .. } => "delta",
            Strategy::BitFit { .. } => "bitfit",
            Strategy::BatchNormOnly { .. } => "batch-norm-only",
            Strategy::FixedStatistics { .. } => "fixed-statistics",
            Strategy::FromScratch => "scratch",
        }
    }

    /// Returns true where the source's weights are used at all.
    pub fn is_transfer(&self) -> bool {
        !matches!(self, Strategy::FromScratch)
    }

    /// Returns the plan for `epoch` (counted from 0) and a backbone with these stages.
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
                stage_rates: (0..count)
                    .map(|stage| decay.powi((count - stage) as i32))
                    .collect(),
                ..Plan::frozen(count, 0)
            },
            // Nothing moves under an infinite penalty, so nothing needs a backward pass.
            Strategy::L2Sp { strength, .. } | Strategy::Delta { strength, .. }
                if strength.is_infinite() =>
            {
                Plan::frozen(count, count)
            }
            Strategy::L2Sp {
                strength,
                backbone_rate,
            } => Plan {
                l2_sp: *strength,
                ..Plan::uniform(count, *backbone_rate)
            },
            Strategy::Delta {
                strength,
                backbone_rate,
            } => Plan {
                feature_penalty: *strength,
                ..Plan::uniform(count, *backbone_rate)
            },
            Strategy::BitFit { backbone_rate } => Plan {
                filter: ParameterFilter::Biases,
                ..Plan::uniform(count, *backbone_rate)
            },
            Strategy::BatchNormOnly { backbone_rate } => Plan {
                filter: ParameterFilter::Normalisation,
                ..Plan::uniform(count, *backbone_rate)
            },
            Strategy::FixedStatistics { backbone_rate } => Plan {
                filter: ParameterFilter::AllButStatistics,
                ..Plan::uniform(count, *backbone_rate)
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

    /// Returns the number of stages that stay frozen through all of `epochs`: their activations can be kept.
    ///
    /// # Errors
    ///
    /// As [`plan`](Self::plan).
    pub fn always_frozen(&self, stages: &[&str], epochs: usize) -> Result<usize, TransferError> {
        // Nothing freezes again once it has thawed, so the last epoch decides.
        Ok(self.plan(stages, epochs.saturating_sub(1))?.frozen_stages)
    }

    /// Checks every parameter but the names of stages, which [`plan`](Self::plan) knows.
    ///
    /// # Errors
    ///
    /// [`TransferError::InvalidStrategy`] for a parameter out of its range.
    pub fn validate(&self) -> Result<(), TransferError> {
        let invalid = |parameter: &str, found: f64, expected| {
            Err(TransferError::InvalidStrategy {
                strategy: self.name(),
                parameter: parameter.into(),
                found: found.to_string(),
                expected,
            })
        };
        match self {
            Strategy::FineTuning { backbone_rate }
            | Strategy::LinearProbeThenFineTuning { backbone_rate, .. }
            | Strategy::L2Sp { backbone_rate, .. }
            | Strategy::Delta { backbone_rate, .. }
            | Strategy::BitFit { backbone_rate }
            | Strategy::BatchNormOnly { backbone_rate }
            | Strategy::FixedStatistics { backbone_rate }
                if !(backbone_rate.is_finite() && *backbone_rate > 0.0) =>
            {
                invalid("rate", *backbone_rate, "a finite number above 0")
            }
            Strategy::L2Sp { strength, .. } | Strategy::Delta { strength, .. }
                if strength.is_nan() || *strength < 0.0 =>
            {
                invalid("strength", *strength, "at least 0")
            }
            Strategy::DiscriminativeRates { decay } if !(*decay > 0.0 && *decay <= 1.0) => {
                invalid("decay", *decay, "a number in (0, 1]")
            }
            Strategy::GradualUnfreezing {
                epochs_per_stage: 0,
            } => invalid("number of epochs", 0.0, "at least 1"),
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

/// The parameters of the thawed stages that learn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ParameterFilter {
    /// All of them.
    #[default]
    All,
    /// All of them, while batch normalisation keeps its running statistics and normalises by them.
    AllButStatistics,
    /// Biases; batch normalisation keeps its running statistics.
    Biases,
    /// Parameters of batch normalisation: of one dimension.
    Normalisation,
    /// The thin matrices that [`LowRank`](super::LowRank) attached; batch normalisation keeps its running statistics.
    Adapters,
}

impl ParameterFilter {
    /// Returns true where the parameter at `path`, of so many dimensions, learns.
    pub fn includes(self, path: &str, dimensions: usize) -> bool {
        let is_adapter = path.ends_with(".lora.a") || path.ends_with(".lora.b");
        match self {
            ParameterFilter::All | ParameterFilter::AllButStatistics => true,
            ParameterFilter::Biases => path.rsplit('.').next() == Some("bias"),
            ParameterFilter::Normalisation => dimensions == 1,
            ParameterFilter::Adapters => is_adapter,
        }
    }

    /// Returns true where batch normalisation normalises by the batch and updates its running statistics.
    pub fn updates_statistics(self) -> bool {
        matches!(self, ParameterFilter::All | ParameterFilter::Normalisation)
    }
}

/// Effect of a strategy in one epoch. The head always learns, at rate 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Number of stages, from the first, that are frozen: no gradient, no update of running statistics, no
    /// backward pass.
    pub frozen_stages: usize,
    /// Multiplier of the learning rate for each stage; meaningless for a frozen one.
    pub stage_rates: Vec<f64>,
    /// Parameters that learn in the others.
    pub filter: ParameterFilter,
    /// Strength of the penalty on the distance from the source's weights ([`L2Sp`](super::L2Sp)).
    pub l2_sp: f64,
    /// Strength of the penalty on the last stage's feature maps
    /// ([`feature_map_penalty`](super::feature_map_penalty)).
    pub feature_penalty: f64,
}

impl Plan {
    /// Returns the plan with `frozen_stages` of `count` frozen, the rest at the head's rate.
    pub fn frozen(count: usize, frozen_stages: usize) -> Self {
        Plan {
            frozen_stages,
            stage_rates: vec![1.0; count],
            filter: ParameterFilter::All,
            l2_sp: 0.0,
            feature_penalty: 0.0,
        }
    }

    /// Lets low-rank adapters and the head alone learn, in a backbone that [`LowRank`](super::LowRank) was attached to.
    pub fn adapters(count: usize) -> Self {
        Plan {
            filter: ParameterFilter::Adapters,
            ..Plan::frozen(count, 0)
        }
    }

    /// Checks that the plan fits a backbone with `count` stages.
    ///
    /// # Errors
    ///
    /// [`TransferError::InvalidPlan`] for more frozen stages than there are, another number of rates, or a rate or strength
    /// that is negative or no number.
    pub fn check(&self, count: usize) -> Result<(), TransferError> {
        let invalid = |parameter, found: String, expected: String| {
            Err(TransferError::InvalidPlan {
                parameter,
                found,
                expected,
            })
        };
        if self.frozen_stages > count {
            let expected = format!("at most {count}, the number of stages");
            return invalid("frozen_stages", self.frozen_stages.to_string(), expected);
        }
        if self.stage_rates.len() != count {
            let found = format!("{} rates", self.stage_rates.len());
            return invalid("stage_rates", found, format!("{count}, one per stage"));
        }
        let strengths = [
            ("l2_sp", self.l2_sp),
            ("feature_penalty", self.feature_penalty),
        ];
        let rates = self.stage_rates.iter().map(|rate| ("stage_rates", *rate));
        for (parameter, value) in rates.chain(strengths) {
            if !(value.is_finite() && value >= 0.0) {
                let expected = "a finite number, at least 0".into();
                return invalid(parameter, value.to_string(), expected);
            }
        }
        Ok(())
    }

    fn uniform(count: usize, rate: f64) -> Self {
        Plan {
            stage_rates: vec![rate; count],
            ..Plan::frozen(count, 0)
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
    fn an_infinite_pull_freezes_and_none_is_fine_tuning() {
        let fine_tuning = Strategy::fine_tuning().plan(&STAGES, 0).unwrap();
        let backbone_rate = 1.0;
        for strength in [0.0, f64::INFINITY, -1.0, f64::NAN] {
            for strategy in [
                Strategy::L2Sp {
                    strength,
                    backbone_rate,
                },
                Strategy::Delta {
                    strength,
                    backbone_rate,
                },
            ] {
                match (strategy.plan(&STAGES, 0), strength) {
                    (Ok(plan), 0.0) => assert_eq!(plan, fine_tuning),
                    (Ok(plan), _) => assert_eq!(plan.frozen_stages, 5),
                    (Err(_), strength) => assert!(strength.is_nan() || strength < 0.0),
                }
            }
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
