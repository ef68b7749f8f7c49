//! Advice as data and as sentences.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Strategy;

/// A backbone to take, a strategy to adapt it by, and what to expect. Displays as a few lines of text, in which each number
/// says what it is of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Advice {
    /// Number of images.
    pub images: usize,
    /// Number of classes.
    pub classes: usize,
    /// Images per class.
    pub sizes: Sizes,
    /// Distance of the images from what the backbone knows, where that can be told.
    pub domain: Option<Domain>,
    /// Name of the backbone to take.
    pub backbone: String,
    /// The way to adapt it.
    pub strategy: Strategy,
    /// Accuracy of a linear probe on the backbone's frozen features on images that it was not fitted to, by
    /// cross-validation: what the recipe one-call is to be expected to reach, and no figure of any other strategy. None where
    /// a class has a single image.
    pub expected: Option<Estimate>,
    /// The same of a linear probe on raw colours, without any backbone.
    pub baseline: Option<Estimate>,
    /// All backbones, the best first.
    pub backbones: Vec<BackboneScore>,
    /// Reasons for this backbone and this strategy, in sentences.
    pub reasons: Vec<String>,
    /// Risks.
    pub warnings: Vec<Warning>,
    /// Cost of following the advice, where the pass over the images was timed.
    #[serde(default)]
    pub cost: Option<Cost>,
}

/// Time and memory that following the advice takes on this machine, estimated from the pass over the images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Seconds of the recipe one-call: every training image once and every validation image in four views through the
    /// network, and the fit of the head.
    pub one_call_seconds: f64,
    /// Epochs that the strategy takes by default.
    #[serde(default)]
    pub strategy_epochs: usize,
    /// Seconds of the strategy with so many epochs, where that is not to keep the features: three passes for a training image
    /// in each, one for a validation image.
    pub strategy_seconds: Option<f64>,
    /// Largest memory of this process so far in bytes, which is what one-call takes; training layers of the network takes
    /// more. None where the system doesn't tell.
    pub memory: Option<u64>,
}

/// Images per class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizes {
    /// Images in the smallest class.
    pub fewest: usize,
    /// Images in the median class.
    pub median: usize,
    /// Images in the largest class.
    pub most: usize,
}

/// Distance of images from what a source knows, by the mean probability of its classifier's first guess: it is
/// sure of photographs of many kinds and unsure of drawings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Domain {
    /// A mean probability of at least 0.5, as the source's own kind of pictures have.
    Near,
    /// Below.
    Far,
}

/// An accuracy between 0 and 1 and its 95 % interval (Wilson 1927).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The accuracy.
    pub accuracy: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Scores of one backbone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackboneScore {
    /// Its name.
    pub name: String,
    /// Length of its features.
    pub dim: usize,
    /// Accuracy of a linear probe on its features, on images that the probe wasn't fitted to; none where a class has a
    /// single image.
    pub expected: Option<Estimate>,
    /// Mean log loss of the probe on these.
    pub log_loss: Option<f64>,
    /// [`LogMe`](super::LogMe); decides which backbone is the best.
    pub log_me: f64,
    /// [`HScore`](super::HScore).
    pub h_score: f64,
    /// [`leep`](super::leep), where there is a source classifier.
    pub leep: Option<f64>,
    /// [`nce`](super::nce), where there is a source classifier.
    pub nce: Option<f64>,
    /// Mean probability of the source classifier's first guess, where there is one.
    pub confidence: Option<f64>,
}

/// A risk.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Warning {
    /// Raw colours do about as well as the best backbone: negative transfer threatens.
    NegativeTransfer {
        /// Accuracy of the best backbone.
        backbone: f64,
        /// Accuracy of the baseline.
        baseline: f64,
    },
    /// The best backbone's probe is not clearly better than always naming the largest class.
    NoBetterThanChance {
        /// Accuracy of the best backbone.
        backbone: f64,
        /// Share of the largest class.
        largest_class: f64,
    },
    /// Too few images to say how good the result will be.
    FewImages {
        /// Images in the smallest class.
        fewest: usize,
    },
    /// Some class has ten times as many images as another.
    Imbalance {
        /// Images in the smallest class.
        fewest: usize,
        /// Images in the largest class.
        most: usize,
    },
}

impl Estimate {
    /// Computes the interval of `accuracy`, clamped to [0, 1], that was measured on `images`.
    pub fn new(accuracy: f64, images: usize) -> Self {
        const Z: f64 = 1.959_964;
        let accuracy = accuracy.clamp(0.0, 1.0);
        let n = images.max(1) as f64;
        let spread = Z * (accuracy * (1.0 - accuracy) / n + Z * Z / (4.0 * n * n)).sqrt();
        let (centre, scale) = (accuracy + Z * Z / (2.0 * n), 1.0 + Z * Z / n);
        Self {
            accuracy,
            low: ((centre - spread) / scale).clamp(0.0, accuracy),
            high: ((centre + spread) / scale).clamp(accuracy, 1.0),
        }
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            accuracy,
            low,
            high,
        } = self;
        write!(f, "{accuracy:.3} ({low:.3} to {high:.3})")
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NegativeTransfer { backbone, baseline } => write!(
                f,
                "Negative transfer threatens: raw colours reach {baseline:.3} and the best backbone {backbone:.3}; look for a \
                 backbone that was trained on pictures like these, or train from scratch."
            ),
            Self::NoBetterThanChance {
                backbone,
                largest_class,
            } => write!(
                f,
                "Nothing was learnt that can be relied on: {backbone:.3}, where always naming the largest class gives \
                 {largest_class:.3}; check that the folders are the classes you mean."
            ),
            Self::FewImages { fewest } => write!(
                f,
                "A class has only {fewest} image{}: what is said here is little more than a guess; five per class make a \
                 start.",
                if *fewest == 1 { "" } else { "s" }
            ),
            Self::Imbalance { fewest, most } => write!(
                f,
                "Classes differ in size, {fewest} to {most} images: accuracy hides the small ones; weight the classes \
                 (--balance-classes) or watch the accuracy of each."
            ),
        }
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sizes { fewest, most, .. } = self.sizes;
        writeln!(
            f,
            "{} images of {} classes, {fewest} to {most} per class",
            self.images, self.classes
        )?;
        match self.keeps_features() {
            true => writeln!(f, "take {} and keep its features", self.backbone)?,
            false => writeln!(
                f,
                "take {} and train it by the strategy {}",
                self.backbone, self.strategy
            )?,
        }
        match &self.expected {
            Some(expected) => writeln!(
                f,
                "  A linear probe on its frozen features (one-call) is to be expected to name {expected} of new images \
                 right; measured by cross-validation, in brackets the 95 % interval."
            )?,
            None => writeln!(
                f,
                "  No accuracy can be told: some class has a single image, so nothing could be held out."
            )?,
        }
        if !self.keeps_features() {
            writeln!(
                f,
                "  The accuracy of {} was not measured: that takes training, for which one-call is the yardstick.",
                self.strategy
            )?;
        }
        for reason in &self.reasons {
            writeln!(f, "  {reason}")?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        writeln!(f)?;
        let width = self.backbones.iter().map(|score| score.name.len());
        let width = width.chain([8]).max().unwrap_or(8);
        writeln!(
            f,
            "{:width$}  accuracy (95 %)          log loss   LogME  H-score    LEEP     NCE  confidence",
            "backbone"
        )?;
        for score in &self.backbones {
            writeln!(f, "{:width$}  {score}", score.name)?;
        }
        if let Some(baseline) = &self.baseline {
            writeln!(f, "{:width$}  {baseline}", "colours")?;
        }
        writeln!(f)?;
        for (score, meaning) in MEANINGS {
            writeln!(f, "{score:10}  {meaning}")?;
        }
        Ok(())
    }
}

/// The columns of the table of scores, and the meaning of each.
pub const MEANINGS: [(&str, &str); 7] = [
    (
        "accuracy",
        "share of held-out images that a linear probe on the frozen features names right",
    ),
    (
        "log loss",
        "mean surprise of that probe about the right class; 0 is best, ln(classes) is guessing",
    ),
    (
        "LogME",
        "evidence for a linear model on the features; higher is better, ranks the backbones",
    ),
    (
        "H-score",
        "spread between the classes relative to the whole; higher is better, at most classes - 1",
    ),
    (
        "LEEP",
        "log likelihood of the classes by the backbone's own classifier; 0 is best",
    ),
    (
        "NCE",
        "the same by that classifier's first guess alone; 0 is best",
    ),
    (
        "confidence",
        "mean probability of that first guess; from 0.5 on the pictures are of a kind that it knows",
    ),
];

impl Advice {
    /// Returns true where the backbone's features are to be kept as they are.
    pub fn keeps_features(&self) -> bool {
        self.strategy == Strategy::FeatureExtraction
    }

    /// Returns the value of `train --strategy` that follows the advice: the probe that was measured here is what one-call
    /// trains, and any other strategy runs beside it, to be compared.
    pub fn strategy_argument(&self) -> String {
        match self.keeps_features() {
            true => "one-call".into(),
            false => format!("one-call,{}", self.strategy),
        }
    }
}

impl fmt::Display for BackboneScore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.3}"));
        let expected = self
            .expected
            .map_or("-".into(), |estimate| estimate.to_string());
        write!(
            f,
            "{expected:22}  {:>9} {:>7} {:>8} {:>7} {:>7} {:>11}",
            number(self.log_loss),
            number(Some(self.log_me)),
            number(Some(self.h_score)),
            number(self.leep),
            number(self.nce),
            number(self.confidence),
        )
    }
}
