//! Sets of classes that hold the right one as often as is asked for.

use serde::{Deserialize, Serialize};

use crate::predictor::ranked;
use crate::{Predictions, TrainerError};

/// Scores that are kept at most; of more images an even selection is taken.
const MOST: usize = 10_000;

/// Steps between a score of 0 and one of 1.
const STEPS: f64 = 10_000.0;

/// How unlike their own class images looked to a classifier that had not learned from them, so that sets of classes can
/// be made for new ones: split conformal prediction with the least ambiguous sets (LAC; Sadinle et al. 2019,
/// <https://arxiv.org/abs/1609.00451>).
///
/// A set holds the right class of at least the asked share of new images, whatever the classifier, as long as these come
/// from where the images came from.
///
/// ```
/// use rekindle_trainer::metrics::ConformalScores;
///
/// // Probabilities of the right class of nine images.
/// let right = [0.99f32, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.4, 0.2];
/// let scores = ConformalScores::of(right);
/// // Of ten places among ten images, the set must take in eight.
/// assert!((scores.least_probability(0.8)? - 0.4).abs() < 1e-3);
/// assert_eq!(scores.set(&[0.45, 0.41, 0.14], 0.8)?, [0, 1]);
/// # Ok::<(), rekindle_trainer::TrainerError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConformalScores {
    /// One minus the probability of the right class in ten thousandths, rounded up, in ascending order.
    sorted: Vec<u16>,
}

impl ConformalScores {
    /// Takes the probability of the right class of each image, 0 to 1.
    pub fn of(right: impl IntoIterator<Item = f32>) -> Self {
        let all: Vec<f32> = right.into_iter().collect();
        let stride = all.len().div_ceil(MOST).max(1);
        let score = |p: &f32| (STEPS * (1.0 - f64::from(*p)).clamp(0.0, 1.0)).ceil() as u16;
        let mut sorted: Vec<u16> = all.iter().step_by(stride).map(score).collect();
        sorted.sort_unstable();
        Self { sorted }
    }

    /// Takes the answers to labelled images; none for several labels, numbers or no image.
    pub fn of_predictions(found: &Predictions) -> Option<Self> {
        if !found.task.is_single_label() || found.labels.is_empty() {
            return None;
        }
        let rows = found.probabilities.chunks_exact(found.classes.max(1));
        let right = rows.zip(&found.labels).map(|(row, label)| row[*label]);
        Some(Self::of(right))
    }

    /// Restores scores that a file holds.
    ///
    /// # Errors
    ///
    /// [`TrainerError::InvalidPredictions`] for a score above 10,000.
    pub fn from_kept(mut sorted: Vec<u16>) -> Result<Self, TrainerError> {
        if let Some(found) = sorted.iter().find(|score| f64::from(**score) > STEPS) {
            return Err(TrainerError::InvalidPredictions {
                found: format!("a conformal score of {found} ten thousandths"),
                expected: "scores of at most 10000".into(),
            });
        }
        sorted.sort_unstable();
        Ok(Self { sorted })
    }

    /// Returns the scores for a file, in ten thousandths, in ascending order.
    pub fn kept(&self) -> &[u16] {
        &self.sorted
    }

    /// Returns the probability from which on a class is in the set.
    ///
    /// # Errors
    ///
    /// [`TrainerError::InvalidCoverage`] for one that isn't between 0 and 1, or that is too much for so few images:
    /// `n` of them promise at most `n / (n + 1)`.
    pub fn least_probability(&self, coverage: f64) -> Result<f64, TrainerError> {
        let score = self.sorted[place(self.sorted.len(), coverage)?];
        Ok(1.0 - f64::from(score) / STEPS)
    }

    /// Returns the classes of the set of an image, the most probable first: all that reach the
    /// [least probability](Self::least_probability). It is empty where none does, as happens where the classifier is right more
    /// often than is asked for: the image looks less like its class than that share of the others.
    ///
    /// # Errors
    ///
    /// As [`least_probability`](Self::least_probability).
    pub fn set(&self, probabilities: &[f32], coverage: f64) -> Result<Vec<usize>, TrainerError> {
        let reaching = Self::reaching(probabilities, self.least_probability(coverage)?);
        Ok(reaching.into_iter().map(|(class, _)| class).collect())
    }

    /// Returns the classes of at least this probability with theirs, the most probable first.
    pub fn reaching(probabilities: &[f32], least: f64) -> Vec<(usize, f32)> {
        let mut all = ranked(probabilities);
        all.retain(|(_, probability)| f64::from(*probability) >= least);
        all
    }

    /// Returns the share of labelled images whose set holds their class, and the mean size of the sets.
    ///
    /// # Errors
    ///
    /// As [`least_probability`](Self::least_probability).
    pub fn measure(&self, found: &Predictions, coverage: f64) -> Result<Coverage, TrainerError> {
        let least = self.least_probability(coverage)?;
        let rows = found.probabilities.chunks_exact(found.classes.max(1));
        let (mut covered, mut members) = (0, 0);
        for (row, label) in rows.zip(&found.labels) {
            let set = Self::reaching(row, least);
            covered += usize::from(set.iter().any(|(class, _)| class == label));
            members += set.len();
        }
        let images = found.labels.len().max(1) as f64;
        Ok(Coverage {
            asked: coverage,
            covered: covered as f64 / images,
            mean_size: members as f64 / images,
            least_probability: least,
        })
    }
}

/// Returns the position, among `images` ascending scores, of the one that new scores stay below with this probability at
/// least.
pub(super) fn place(images: usize, coverage: f64) -> Result<usize, TrainerError> {
    if !(coverage > 0.0 && coverage < 1.0) {
        return Err(TrainerError::InvalidCoverage {
            found: coverage.to_string(),
            expected: "a number above 0 and below 1".into(),
        });
    }
    // The slack keeps a product such as 10 * 0.9 from being rounded over the whole number.
    let place = ((images + 1) as f64 * coverage - 1e-9).ceil() as usize;
    match place.max(1) <= images {
        true => Ok(place.max(1) - 1),
        false => Err(TrainerError::InvalidCoverage {
            found: format!("{coverage}, with {images} validation images behind it"),
            expected: format!(
                "at most {:.3}, which so few images can promise; validate on more",
                images as f64 / (images + 1) as f64
            ),
        }),
    }
}

/// What sets of classes are worth on labelled images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Coverage {
    /// The share that was asked for.
    pub asked: f64,
    /// The share of images whose set holds their class.
    pub covered: f64,
    /// Classes per set.
    pub mean_size: f64,
    /// The probability from which on a class is in the set.
    pub least_probability: f64,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rekindle_imagefolder::rng::{SampleRng, Stream};

    #[test]
    fn the_threshold_is_the_quantile_of_its_definition() {
        let right: Vec<f32> = (1..=99).map(|at| at as f32 / 100.0).collect();
        let scores = ConformalScores::of(right.clone());
        for (coverage, place) in [(0.9, 90), (0.5, 50), (0.95, 95), (0.99, 99), (0.901, 91)] {
            // The score at this place of the ascending ones is `place / 100`.
            let expected = 1.0 - f64::from(place) / 100.0;
            let found = scores.least_probability(coverage).unwrap();
            assert!(
                (found - expected).abs() < 2e-4,
                "{coverage}: {found}, expected {expected}"
            );
        }
        assert!(
            scores
                .least_probability(0.995)
                .unwrap_err()
                .to_string()
                .contains("at most 0.990")
        );
        for wrong in [0.0, 1.0, -0.5, f64::NAN] {
            assert!(scores.least_probability(wrong).is_err(), "{wrong}");
        }
        assert!(ConformalScores::default().least_probability(0.5).is_err());
        assert!(ConformalScores::from_kept(vec![3, 10_001]).is_err());
        assert_eq!(
            ConformalScores::from_kept(scores.kept().to_vec()).unwrap(),
            scores
        );
    }

    #[test]
    fn a_set_is_empty_where_no_class_is_probable_enough() {
        let scores = ConformalScores::of([0.9; 20]);
        assert!(scores.set(&[0.3, 0.4, 0.3], 0.9).unwrap().is_empty());
        assert_eq!(scores.set(&[0.05, 0.95], 0.9).unwrap(), [1]);
    }

    /// Over many splits of answers of a classifier that is right two times of three and not calibrated, sets hold the right
    /// class as often as they promise: between the coverage and the coverage + 1 / (n + 1) in the mean.
    #[test]
    fn sets_cover_what_they_promise() {
        let (images, classes) = (400, 5);
        let mut rng = SampleRng::keyed(7, Stream::User, &[]);
        let mut all = Predictions {
            classes,
            ..Predictions::default()
        };
        for _ in 0..images {
            let label = rng.below(classes);
            let mut row: Vec<f64> = (0..classes).map(|_| 2.5 * rng.uniform(-1.0, 1.0)).collect();
            row[label] += 1.0;
            let sum: f64 = row.iter().map(|x| x.exp()).sum();
            all.probabilities
                .extend(row.iter().map(|x| (x.exp() / sum) as f32));
            all.labels.push(label);
        }
        let part = |indices: &[usize]| {
            let rows = indices
                .iter()
                .flat_map(|at| &all.probabilities[at * classes..][..classes]);
            Predictions {
                classes,
                probabilities: rows.copied().collect(),
                labels: indices.iter().map(|at| all.labels[*at]).collect(),
                ..Predictions::default()
            }
        };
        for coverage in [0.8, 0.9] {
            let (mut covered, mut size, splits) = (0.0, 0.0, 200);
            for _ in 0..splits {
                let mut order: Vec<usize> = (0..images).collect();
                rng.shuffle(&mut order);
                let scores = ConformalScores::of_predictions(&part(&order[..200])).unwrap();
                let found = scores.measure(&part(&order[200..]), coverage).unwrap();
                covered += found.covered / f64::from(splits);
                size += found.mean_size / f64::from(splits);
            }
            assert!(
                (covered - coverage - 0.002).abs() < 0.01,
                "{covered} of {coverage}"
            );
            assert!(size > 0.8 && size < 4.5, "{size}");
        }
    }
}
