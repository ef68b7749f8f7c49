//! The ways to say how unknown an image looks.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A score of how unlike the known classes an image is. Higher is more unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownScore {
    /// Energy of the logits (Liu et al. 2020, <https://arxiv.org/abs/2010.03759>); see [`energy`].
    Energy,
    /// One minus the largest probability (Hendrycks and Gimpel 2017, <https://arxiv.org/abs/1610.02136>); see
    /// [`max_probability`].
    MaxProbability,
    /// Squared Mahalanobis distance of the normalised features to the nearest class mean (Lee et al. 2018,
    /// <https://arxiv.org/abs/1807.03888>); see [`Mahalanobis`](super::Mahalanobis).
    Mahalanobis,
    /// Distance of the normalised features to the k-th nearest training image (Sun et al. 2022,
    /// <https://arxiv.org/abs/2204.06507>); see [`NearestKnown`](super::NearestKnown).
    NearestNeighbors,
}

impl UnknownScore {
    /// All scores, the cheapest first.
    pub const ALL: [Self; 4] = [
        Self::Energy,
        Self::MaxProbability,
        Self::Mahalanobis,
        Self::NearestNeighbors,
    ];

    /// Returns the name in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Energy => "energy",
            Self::MaxProbability => "max-probability",
            Self::Mahalanobis => "mahalanobis",
            Self::NearestNeighbors => "nearest-neighbors",
        }
    }

    /// Returns true where the score is computed from features, and false where it is computed from logits.
    pub fn needs_features(self) -> bool {
        matches!(self, Self::Mahalanobis | Self::NearestNeighbors)
    }
}

impl fmt::Display for UnknownScore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Computes the energy of a row of logits, `-T ln(sum(exp(logit / T)))` for a temperature `T` above 0: low where one of the
/// classes is likely, high where none is.
pub fn energy(logits: &[f32], temperature: f64) -> f64 {
    let (largest, sum, _) = powers(logits, temperature);
    -temperature * (largest + sum.ln())
}

/// Computes the largest probability that a row of logits, divided by a temperature above 0, stands for.
pub fn max_probability(logits: &[f32], temperature: f64) -> f64 {
    let (_, sum, _) = powers(logits, temperature);
    1.0 / sum
}

/// One minus the [`max_probability`], without the rounding error of that difference where it is close to 0.
pub(super) fn doubt(logits: &[f32], temperature: f64) -> f64 {
    let (_, sum, rest) = powers(logits, temperature);
    rest / sum
}

/// The largest scaled logit, the sum of all exponentials relative to its own, and that of the others alone.
fn powers(logits: &[f32], temperature: f64) -> (f64, f64, f64) {
    let scaled = || logits.iter().map(|logit| f64::from(*logit) / temperature);
    let largest = scaled().fold(f64::NEG_INFINITY, f64::max);
    let at = scaled().position(|logit| logit == largest);
    let others = scaled().enumerate().filter(|(place, _)| Some(*place) != at);
    let rest: f64 = others.map(|(_, logit)| (logit - largest).exp()).sum();
    (largest, 1.0 + rest, rest)
}
