//! Small classification tasks drawn from a labelled set: N classes, K images of each to learn from.

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::SliceRandom;

use crate::TransferError;

/// Draws N-way K-shot episodes (Vinyals et al. 2016, "Matching Networks for One Shot Learning"): `ways`
/// classes, and of each `shots` images to learn from and `queries` others to be tested by, all without
/// replacement. Episode `i` is a function of the seed and `i` alone.
#[derive(Clone, Debug)]
pub struct EpisodeSampler {
    rows_of_class: Vec<Vec<usize>>,
    ways: usize,
    shots: usize,
    queries: usize,
    seed: u64,
}

/// One episode: rows of the features, and classes numbered from 0 to `ways - 1` in the order drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Episode {
    /// Rows to learn from, `[ways * shots]`, class after class.
    pub support: Vec<usize>,
    /// Their classes.
    pub support_labels: Vec<usize>,
    /// Rows to be tested by, `[ways * queries]`, class after class.
    pub query: Vec<usize>,
    /// Their classes.
    pub query_labels: Vec<usize>,
    /// The label in the whole set of each of the episode's classes.
    pub classes: Vec<usize>,
}

impl EpisodeSampler {
    /// Creates a sampler over rows with these labels. Classes with fewer than `shots + queries` rows are left out.
    ///
    /// # Errors
    ///
    /// [`TransferError::Degenerate`] for fewer than two ways, no shot, no query, or fewer than `ways` classes
    /// that have enough rows.
    pub fn new(
        labels: &[usize],
        ways: usize,
        shots: usize,
        queries: usize,
    ) -> Result<Self, TransferError> {
        let degenerate = |reason: String| {
            Err(TransferError::Degenerate {
                method: "episodes",
                reason,
            })
        };
        if ways < 2 || shots == 0 || queries == 0 {
            return degenerate(format!(
                "{ways} ways, {shots} shots, {queries} queries; at least 2, 1 and 1 are needed"
            ));
        }
        let mut rows_of_class = vec![Vec::new(); labels.iter().max().map_or(0, |max| max + 1)];
        for (row, label) in labels.iter().enumerate() {
            rows_of_class[*label].push(row);
        }
        let enough = |rows: &&Vec<usize>| rows.len() >= shots + queries;
        let usable = rows_of_class.iter().filter(enough).count();
        if usable < ways {
            return degenerate(format!(
                "{usable} classes have {shots} + {queries} images, {ways} are needed; \
                 take fewer ways, shots or queries"
            ));
        }
        Ok(Self {
            rows_of_class,
            ways,
            shots,
            queries,
            seed: 0,
        })
    }

    /// Sets the seed (default: 0).
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Classes an episode.
    pub fn ways(&self) -> usize {
        self.ways
    }

    /// Returns the episode of this number.
    pub fn episode(&self, index: u64) -> Episode {
        let seed = self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ index;
        let mut generator = Xoshiro256PlusPlus::seed_from_u64(seed);
        let needed = self.shots + self.queries;
        let mut classes: Vec<usize> = (0..self.rows_of_class.len())
            .filter(|class| self.rows_of_class[*class].len() >= needed)
            .collect();
        let (drawn, _) = classes.partial_shuffle(&mut generator, self.ways);
        let drawn = drawn.to_vec();
        let mut episode = Episode {
            support: Vec::with_capacity(self.ways * self.shots),
            support_labels: Vec::with_capacity(self.ways * self.shots),
            query: Vec::with_capacity(self.ways * self.queries),
            query_labels: Vec::with_capacity(self.ways * self.queries),
            classes: drawn,
        };
        for (way, class) in episode.classes.iter().enumerate() {
            let mut rows = self.rows_of_class[*class].clone();
            let (rows, _) = rows.partial_shuffle(&mut generator, needed);
            let (support, query) = rows.split_at(self.shots);
            episode.support.extend_from_slice(support);
            episode.support_labels.extend(vec![way; self.shots]);
            episode.query.extend_from_slice(query);
            episode.query_labels.extend(vec![way; self.queries]);
        }
        episode
    }
}

/// Mean accuracy over episodes with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeanAccuracy {
    /// Mean over the episodes.
    pub mean: f64,
    /// Half the width of the interval: 1.96 standard errors of the mean. 0 for a single episode.
    pub interval: f64,
    /// Number of episodes.
    pub episodes: usize,
}

impl MeanAccuracy {
    /// Computes mean and interval of accuracies, one per episode.
    ///
    /// # Errors
    ///
    /// [`TransferError::Degenerate`] without any.
    pub fn of(accuracies: &[f64]) -> Result<Self, TransferError> {
        let count = accuracies.len();
        if count == 0 {
            return Err(TransferError::Degenerate {
                method: "mean accuracy",
                reason: "no episode; run at least one".into(),
            });
        }
        let mean = accuracies.iter().sum::<f64>() / count as f64;
        let squares: f64 = accuracies.iter().map(|a| (a - mean) * (a - mean)).sum();
        let deviation = (squares / (count - 1).max(1) as f64).sqrt();
        Ok(Self {
            mean,
            interval: 1.96 * deviation / (count as f64).sqrt(),
            episodes: count,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn labels() -> Vec<usize> {
        // Classes of 12, 3, 12, 12 and 12 rows, in turns.
        (0..51)
            .map(|i| if i < 15 { i % 5 } else { [0, 2, 3, 4][i % 4] })
            .collect()
    }

    #[test]
    fn rows_are_distinct_and_belong_to_their_classes() {
        let labels = labels();
        let sampler = EpisodeSampler::new(&labels, 3, 2, 5).unwrap().seed(7);
        for index in 0..50 {
            let episode = sampler.episode(index);
            let mut rows = [episode.support.clone(), episode.query.clone()].concat();
            let classes = [episode.support_labels.clone(), episode.query_labels.clone()].concat();
            assert_eq!(rows.len(), 3 * 7);
            for (row, way) in rows.iter().zip(&classes) {
                assert_eq!(labels[*row], episode.classes[*way]);
            }
            assert!(!episode.classes.contains(&1), "class 1 is too small");
            rows.sort_unstable();
            rows.dedup();
            assert_eq!(rows.len(), 3 * 7);
            assert_eq!(episode, sampler.episode(index));
        }
        assert_ne!(sampler.episode(0), sampler.episode(1));
    }

    #[test]
    fn every_class_is_drawn_equally_often() {
        let sampler = EpisodeSampler::new(&labels(), 2, 1, 1).unwrap();
        let mut counts = [0usize; 5];
        for index in 0..2000 {
            for class in sampler.episode(index).classes {
                counts[class] += 1;
            }
        }
        // 800 each; five standard deviations of a binomial count are 110.
        assert!(
            counts.iter().all(|count| count.abs_diff(800) < 110),
            "{counts:?}"
        );
    }

    #[test]
    fn too_few_images_are_an_error() {
        let labels = labels();
        assert!(EpisodeSampler::new(&labels, 5, 2, 5).is_err());
        assert!(EpisodeSampler::new(&labels, 1, 2, 5).is_err());
        assert!(EpisodeSampler::new(&labels, 2, 0, 5).is_err());
        assert!(EpisodeSampler::new(&labels, 2, 1, 0).is_err());
        assert!(EpisodeSampler::new(&[], 2, 1, 1).is_err());
    }

    #[test]
    fn the_interval_is_that_of_a_mean() {
        let found = MeanAccuracy::of(&[0.5, 0.7, 0.9, 0.7]).unwrap();
        assert!((found.mean - 0.7).abs() < 1e-12);
        // Deviation sqrt(0.08 / 3), over sqrt(4), times 1.96.
        assert!(
            (found.interval - 0.160_033).abs() < 1e-5,
            "{}",
            found.interval
        );
        assert_eq!(MeanAccuracy::of(&[1.0]).unwrap().interval, 0.0);
        assert!(MeanAccuracy::of(&[]).is_err());
    }
}
