//! A detector as JSON, checked when it is read.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::detector::{Scorer, UnknownDetector};
use super::mahalanobis::Mahalanobis;
use super::nearest_known::NearestKnown;
use super::score::UnknownScore;
use super::search::ScoredUnknown;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    score: UnknownScore,
    temperature: f64,
    #[serde(default)]
    compared: Vec<ScoredUnknown>,
    held_out: Vec<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mahalanobis: Option<KeptMahalanobis>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nearest_neighbors: Option<KeptNearest>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptMahalanobis {
    dim: usize,
    means: Numbers,
    whitening: Numbers,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptNearest {
    dim: usize,
    neighbors: usize,
    rows: Numbers,
}

impl From<UnknownDetector> for Kept {
    fn from(detector: UnknownDetector) -> Self {
        let score = detector.score_name();
        let (mut mahalanobis, mut nearest_neighbors) = (None, None);
        match detector.scorer {
            Scorer::Energy | Scorer::MaxProbability => {}
            Scorer::Mahalanobis(found) => {
                mahalanobis = Some(KeptMahalanobis {
                    dim: found.dim,
                    means: Numbers(found.means),
                    whitening: Numbers(found.whitening),
                });
            }
            Scorer::NearestNeighbors(found) => {
                nearest_neighbors = Some(KeptNearest {
                    dim: found.dim,
                    neighbors: found.neighbors,
                    rows: Numbers(found.rows),
                });
            }
        }
        Self {
            score,
            temperature: detector.temperature,
            compared: detector.compared,
            held_out: detector.held_out,
            mahalanobis,
            nearest_neighbors,
        }
    }
}

impl TryFrom<Kept> for UnknownDetector {
    type Error = String;

    fn try_from(kept: Kept) -> Result<Self, String> {
        let is_sorted = kept.held_out.is_sorted() && kept.held_out.iter().all(|s| s.is_finite());
        if !is_sorted {
            return Err("scores of held-out images that are not finite or not ascending".into());
        }
        if !(kept.temperature.is_finite() && kept.temperature > 0.0) {
            return Err(format!("a temperature of {}", kept.temperature));
        }
        let scorer = match (kept.score, kept.mahalanobis, kept.nearest_neighbors) {
            (UnknownScore::Energy, None, None) => Scorer::Energy,
            (UnknownScore::MaxProbability, None, None) => Scorer::MaxProbability,
            (UnknownScore::Mahalanobis, Some(found), None) => Scorer::Mahalanobis(found.checked()?),
            (UnknownScore::NearestNeighbors, None, Some(found)) => {
                Scorer::NearestNeighbors(found.checked()?)
            }
            (score, ..) => return Err(format!("other numbers than those of {score}")),
        };
        Ok(Self {
            scorer,
            temperature: kept.temperature,
            compared: kept.compared,
            held_out: kept.held_out,
        })
    }
}

impl KeptMahalanobis {
    fn checked(self) -> Result<Mahalanobis, String> {
        let (dim, means, whitening) = (self.dim, self.means.0, self.whitening.0);
        let triangle = dim.checked_add(1).and_then(|next| dim.checked_mul(next));
        let fits = dim > 0
            && triangle.map(|twice| twice / 2) == Some(whitening.len())
            && !means.is_empty()
            && means.len().is_multiple_of(dim);
        match fits {
            true => Ok(Mahalanobis {
                dim,
                whitening,
                means,
            }),
            false => Err(format!(
                "{} means and {} numbers of whitening for {dim} features",
                means.len(),
                whitening.len()
            )),
        }
    }
}

impl KeptNearest {
    fn checked(self) -> Result<NearestKnown, String> {
        let (dim, rows) = (self.dim, self.rows.0);
        let fits = dim > 0 && rows.len().is_multiple_of(dim) && self.neighbors > 0;
        match fits && self.neighbors <= rows.len() / dim {
            true => Ok(NearestKnown {
                dim,
                neighbors: self.neighbors,
                rows,
            }),
            false => Err(format!(
                "{} numbers of neighbours for {dim} features and neighbour {}",
                rows.len(),
                self.neighbors
            )),
        }
    }
}

/// Finite numbers as base64 of little-endian `f32`.
#[derive(Clone, Debug)]
struct Numbers(Vec<f32>);

impl Serialize for Numbers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = self
            .0
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
    }
}

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let text = String::deserialize(deserializer)?;
        let bytes = BASE64_STANDARD.decode(text).map_err(Error::custom)?;
        let (values, rest) = bytes.as_chunks::<4>();
        let values: Vec<f32> = values
            .iter()
            .map(|four| f32::from_le_bytes(*four))
            .collect();
        match rest.is_empty() && values.iter().all(|value| value.is_finite()) {
            true => Ok(Self(values)),
            false => Err(Error::custom("no whole number of finite 32-bit floats")),
        }
    }
}
