//! Strategies by name, as on a command line.

use std::str::FromStr;

use super::Strategy;
use crate::TransferError;

/// Every form that [`Strategy::from_str`] takes, with what stands in for a value that is left out.
pub const STRATEGY_NAMES: [&str; 11] = [
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
    "scratch",
];

impl FromStr for Strategy {
    type Err = TransferError;

    /// `NAME` or `NAME=VALUE`, with the names that [`Strategy::name`] gives.
    ///
    /// ```
    /// use rekindle_transfer::Strategy;
    ///
    /// let strategy: Strategy = "freeze-up-to=layer3".parse()?;
    /// assert_eq!(strategy, Strategy::FreezeUpTo { last_frozen: "layer3".into() });
    /// assert_eq!("finetune".parse::<Strategy>()?, Strategy::fine_tuning());
    /// # Ok::<(), rekindle_transfer::TransferError>(())
    /// ```
    fn from_str(text: &str) -> Result<Self, TransferError> {
        let unknown = || TransferError::UnknownStrategy {
            found: text.to_string(),
            known: STRATEGY_NAMES.map(String::from).to_vec(),
        };
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let number = |default: f64| match value {
            None => Ok(default),
            Some(value) => value.parse::<f64>().map_err(|_| unknown()),
        };
        let count = |default: usize| match value {
            None => Ok(default),
            Some(value) => value.parse::<usize>().map_err(|_| unknown()),
        };
        let backbone_rate = 1.0;
        let strategy = match name {
            "finetune" => Strategy::FineTuning {
                backbone_rate: number(1.0)?,
            },
            "freeze-up-to" => Strategy::FreezeUpTo {
                last_frozen: value.ok_or_else(unknown)?.to_string(),
            },
            "gradual-unfreezing" => Strategy::GradualUnfreezing {
                epochs_per_stage: count(2)?,
            },
            "discriminative-rates" => Strategy::DiscriminativeRates {
                decay: number(0.4)?,
            },
            "lp-ft" => Strategy::LinearProbeThenFineTuning {
                probe_epochs: count(5)?,
                backbone_rate,
            },
            "l2-sp" => Strategy::L2Sp {
                strength: number(0.1)?,
                backbone_rate,
            },
            "delta" => Strategy::Delta {
                strength: number(0.01)?,
                backbone_rate,
            },
            "bitfit" => Strategy::BitFit {
                backbone_rate: number(1.0)?,
            },
            "batch-norm-only" => Strategy::BatchNormOnly {
                backbone_rate: number(1.0)?,
            },
            "features" if value.is_none() => Strategy::FeatureExtraction,
            "scratch" if value.is_none() => Strategy::FromScratch,
            _ => return Err(unknown()),
        };
        Ok(strategy)
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
            // What the list says of a value that is left out is what stands in for it.
            if let Some((_, default)) = rest.trim_end_matches(']').split_once(", ") {
                let explicit: Strategy = format!("{name}={default}").parse().unwrap();
                assert_eq!(explicit, strategy);
            }
        }
    }

    #[test]
    fn anything_else_lists_what_there_is() {
        for text in [
            "",
            "finetuned",
            "features=1",
            "finetune=fast",
            "lp-ft=-1",
            "freeze-up-to",
        ] {
            let message = text.parse::<Strategy>().unwrap_err().to_string();
            assert!(message.contains("gradual-unfreezing"), "{message}");
            assert!(message.contains(&format!("{text:?}")), "{message}");
        }
    }
}
