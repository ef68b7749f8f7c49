//! Strategies by name, as on a command line.

use std::fmt;
use std::str::FromStr;

use super::Strategy;
use crate::TransferError;

/// Every form that [`Strategy::from_str`] takes, with what stands in for a value that is left out.
pub const STRATEGY_NAMES: [&str; 12] = [
    "features",
    "finetune[=BACKBONE_RATE, 1]",
    "freeze-up-to=STAGE",
    "gradual-unfreezing[=EPOCHS_PER_STAGE, 2]",
    "discriminative-rates[=DECAY, 0.4]",
    "lp-ft[=PROBE_EPOCHS, 5]",
    "l2-sp[=STRENGTH, 0.1]",
    "delta[=STRENGTH, 0.01]",
    "bitfit[=BACKBONE_RATE, 1]",
    "batch-norm-only[=BACKBONE_RATE, 1]",
    "fixed-statistics[=BACKBONE_RATE, 1]",
    "scratch",
];

impl FromStr for Strategy {
    type Err = TransferError;

    /// Reads `NAME` or `NAME=VALUE`, with the names that [`Strategy::name`] gives.
    ///
    /// ```
    /// use rekindle_transfer::Strategy;
    ///
    /// let strategy: Strategy = "freeze-up-to=layer3".parse()?;
    /// assert_eq!(strategy, Strategy::FreezeUpTo { last_frozen: "layer3".into() });
    /// assert_eq!(strategy.to_string(), "freeze-up-to=layer3");
    /// assert_eq!("finetune".parse::<Strategy>()?, Strategy::fine_tuning());
    /// # Ok::<(), rekindle_transfer::TransferError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`TransferError::UnknownStrategy`] for another name, [`TransferError::InvalidStrategy`] for a value that is missing,
    /// no number or out of range, [`TransferError::UnexpectedValue`] where none is taken.
    fn from_str(text: &str) -> Result<Self, TransferError> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let backbone_rate = 1.0;
        let strategy = match name {
            "features" => Strategy::FeatureExtraction,
            "scratch" => Strategy::FromScratch,
            "finetune" => Strategy::fine_tuning(),
            "freeze-up-to" => Strategy::FreezeUpTo {
                last_frozen: String::new(),
            },
            "gradual-unfreezing" => Strategy::GradualUnfreezing {
                epochs_per_stage: 2,
            },
            "discriminative-rates" => Strategy::DiscriminativeRates { decay: 0.4 },
            "lp-ft" => Strategy::LinearProbeThenFineTuning {
                probe_epochs: 5,
                backbone_rate,
            },
            "l2-sp" => Strategy::L2Sp {
                strength: 0.1,
                backbone_rate,
            },
            "delta" => Strategy::Delta {
                strength: 0.01,
                backbone_rate,
            },
            "bitfit" => Strategy::BitFit { backbone_rate },
            "batch-norm-only" => Strategy::BatchNormOnly { backbone_rate },
            "fixed-statistics" => Strategy::FixedStatistics { backbone_rate },
            _ => {
                return Err(TransferError::UnknownStrategy {
                    found: text.to_string(),
                    known: STRATEGY_NAMES.map(String::from).to_vec(),
                });
            }
        };
        strategy.with_value(value)
    }
}

impl fmt::Display for Strategy {
    /// Writes the strategy as [`FromStr`] reads it: `NAME`, or `NAME=VALUE` where the value is not the one that stands in
    /// for it. The `backbone_rate` of strategies that have another value besides is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match (self.value(), self.name().parse::<Strategy>()) {
            (Some(value), Ok(plain)) if plain.value().as_ref() == Some(&value) => Ok(()),
            (Some(value), _) => write!(f, "={value}"),
            (None, _) => Ok(()),
        }
    }
}

impl Strategy {
    /// Returns the value that a command line gives, as text.
    fn value(&self) -> Option<String> {
        match self {
            Strategy::FeatureExtraction | Strategy::FromScratch => None,
            Strategy::FreezeUpTo { last_frozen } => Some(last_frozen.clone()),
            Strategy::GradualUnfreezing { epochs_per_stage } => Some(epochs_per_stage.to_string()),
            Strategy::LinearProbeThenFineTuning { probe_epochs, .. } => {
                Some(probe_epochs.to_string())
            }
            Strategy::DiscriminativeRates { decay } => Some(decay.to_string()),
            Strategy::L2Sp { strength, .. } | Strategy::Delta { strength, .. } => {
                Some(strength.to_string())
            }
            Strategy::FineTuning { backbone_rate }
            | Strategy::BitFit { backbone_rate }
            | Strategy::BatchNormOnly { backbone_rate }
            | Strategy::FixedStatistics { backbone_rate } => Some(backbone_rate.to_string()),
        }
    }

    /// Puts the value of a command line in place of the one that stands in for it.
    fn with_value(mut self, value: Option<&str>) -> Result<Self, TransferError> {
        let name = self.name();
        let invalid =
            |parameter: &str, found: Option<&str>, expected| TransferError::InvalidStrategy {
                strategy: name,
                parameter: parameter.into(),
                found: found.map_or_else(|| "missing".into(), |found| format!("{found:?}")),
                expected,
            };
        match (&mut self, value) {
            (Strategy::FreezeUpTo { .. }, None | Some("")) => {
                let expected = "the name of the last frozen stage, as in freeze-up-to=layer3";
                return Err(invalid("stage", None, expected));
            }
            (Strategy::FreezeUpTo { last_frozen }, Some(stage)) => *last_frozen = stage.to_string(),
            (Strategy::FeatureExtraction | Strategy::FromScratch, Some(found)) => {
                return Err(TransferError::UnexpectedValue {
                    strategy: name,
                    found: found.to_string(),
                });
            }
            (_, None) => {}
            (
                Strategy::GradualUnfreezing {
                    epochs_per_stage: count,
                }
                | Strategy::LinearProbeThenFineTuning {
                    probe_epochs: count,
                    ..
                },
                Some(text),
            ) => {
                let wrong = |_| invalid("number of epochs", value, "a whole number");
                *count = text.parse().map_err(wrong)?;
            }
            (
                Strategy::FineTuning {
                    backbone_rate: number,
                }
                | Strategy::BitFit {
                    backbone_rate: number,
                }
                | Strategy::BatchNormOnly {
                    backbone_rate: number,
                }
                | Strategy::FixedStatistics {
                    backbone_rate: number,
                }
                | Strategy::DiscriminativeRates { decay: number }
                | Strategy::L2Sp {
                    strength: number, ..
                }
                | Strategy::Delta {
                    strength: number, ..
                },
                Some(text),
            ) => {
                let parameter = match name {
                    "discriminative-rates" => "decay",
                    "l2-sp" | "delta" => "strength",
                    _ => "rate",
                };
                let wrong = |_| invalid(parameter, value, "a number");
                *number = text.parse().map_err(wrong)?;
            }
        }
        self.validate()?;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_listed_name_is_taken_and_given_back() {
        for form in STRATEGY_NAMES {
            let (name, rest) = form.split_at(form.find(['[', '=']).unwrap_or(form.len()));
            let required = if rest.starts_with('=') { "=layer2" } else { "" };
            let strategy: Strategy = format!("{name}{required}").parse().unwrap();
            assert_eq!(strategy.name(), name);
            assert_eq!(strategy.to_string(), format!("{name}{required}"));
            // What the list says of a value that is left out is what stands in for it.
            if let Some((_, default)) = rest.trim_end_matches(']').split_once(", ") {
                let explicit: Strategy = format!("{name}={default}").parse().unwrap();
                assert_eq!(explicit, strategy);
                assert_eq!(explicit.to_string(), name);
            }
        }
        for text in [
            "finetune=0.1",
            "lp-ft=1",
            "delta=0.5",
            "gradual-unfreezing=3",
        ] {
            assert_eq!(text.parse::<Strategy>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn an_unknown_name_lists_what_there_is() {
        for text in ["", "finetuned", "Features", "finetuned=1"] {
            let message = text.parse::<Strategy>().unwrap_err().to_string();
            assert!(message.contains("gradual-unfreezing"), "{message}");
            assert!(message.contains(&format!("{text:?}")), "{message}");
        }
    }

    #[test]
    fn a_value_that_a_known_name_cannot_take_is_named_and_not_the_strategy() {
        for (text, expected) in [
            (
                "finetune=abc",
                "strategy finetune: the rate is \"abc\", expected a number",
            ),
            ("finetune=", "the rate is \"\", expected a number"),
            (
                "finetune=0",
                "the rate is 0, expected a finite number above 0",
            ),
            ("finetune=nan", "the rate is NaN"),
            (
                "lp-ft=-1",
                "number of epochs is \"-1\", expected a whole number",
            ),
            (
                "gradual-unfreezing=0",
                "number of epochs is 0, expected at least 1",
            ),
            (
                "discriminative-rates=2",
                "the decay is 2, expected a number in (0, 1]",
            ),
            ("l2-sp=-1", "the strength is -1, expected at least 0"),
            (
                "features=1",
                "strategy features takes no value, found \"1\"",
            ),
            ("freeze-up-to", "the stage is missing"),
            ("freeze-up-to=", "as in freeze-up-to=layer3"),
        ] {
            let error = text.parse::<Strategy>().unwrap_err();
            assert!(error.is_invalid_option());
            let message = error.to_string();
            assert!(message.contains(expected), "{message}");
            assert!(!message.contains("there is no strategy"), "{message}");
        }
    }
}
