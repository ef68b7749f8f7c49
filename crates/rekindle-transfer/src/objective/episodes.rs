//! N-way K-shot episodes.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use crate::TransferError;

/// Draws few-shot tasks from labelled rows (Vinyals et al. 2016, <https://arxiv.org/abs/1606.04080>): each has some classes,
/// and of each class some rows to learn from and others to ask about.
///
/// An episode is a function of the seed and its number.
#[derive(Clone, Debug)]
pub struct Episodes {
    rows: Vec<Vec<usize>>,
    ways: usize,
    shots: usize,
    queries: usize,
    seed: u64,
}

/// One few-shot task: positions of rows, class after class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Episode {
    /// Rows to learn from, `ways * shots`.
    pub support: Vec<usize>,
    /// Rows to ask about, `ways * queries`; the class of position `i` is `i / queries`.
    pub queries: Vec<usize>,
    /// The original class of each of the task's classes, `ways`.
    pub classes: Vec<usize>,
}

impl Episodes {
    /// Tasks of `ways` classes with `shots` rows to learn from and `queries` to ask about, from rows with these `labels`.
    /// Classes with fewer than `shots + queries` rows are never drawn.
    ///
    /// # Errors
    ///
    /// [`TransferError::Degenerate`] where fewer than `ways` classes have enough rows, or one of the numbers is 0.
    pub fn new(
        labels: &[usize],
        [ways, shots, queries]: [usize; 3],
        seed: u64,
    ) -> Result<Self, TransferError> {
        let classes = labels.iter().max().map_or(0, |largest| largest + 1);
        let mut rows = vec![Vec::new(); classes];
        for (row, label) in labels.iter().enumerate() {
            rows[*label].push(row);
        }
        let enough = rows
            .iter()
            .filter(|rows| rows.len() >= shots + queries)
            .count();
        if ways == 0 || shots == 0 || queries == 0 || enough < ways {
            return Err(TransferError::Degenerate {
                method: "episodes",
                reason: format!(
                    "{ways} ways, {shots} shots and {queries} queries, and {enough} classes have enough rows; ask for less"
                ),
            });
        }
        Ok(Self {
            rows,
            ways,
            shots,
            queries,
            seed,
        })
    }

    /// The task with this number.
    pub fn episode(&self, number: u64) -> Episode {
        let mixed = self.seed ^ (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut generator = Xoshiro256PlusPlus::seed_from_u64(mixed);
        let each = self.shots + self.queries;
        let mut usable: Vec<usize> = (0..self.rows.len())
            .filter(|class| self.rows[*class].len() >= each)
            .collect();
        draw(&mut usable, self.ways, &mut generator);
        let (mut support, mut queries) = (Vec::new(), Vec::new());
        for class in &usable {
            let mut rows = self.rows[*class].clone();
            draw(&mut rows, each, &mut generator);
            support.extend(&rows[..self.shots]);
            queries.extend(&rows[self.shots..]);
        }
        Episode {
            support,
            queries,
            classes: usable,
        }
    }
}

/// Leaves `count` of the items, drawn without replacement, in random order.
fn draw(items: &mut Vec<usize>, count: usize, generator: &mut Xoshiro256PlusPlus) {
    for at in 0..count {
        let other = generator.random_range(at..items.len());
        items.swap(at, other);
    }
    items.truncate(count);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn episodes_have_distinct_classes_and_rows_of_them() {
        let labels: Vec<usize> = (0..60).map(|i| i % 6).chain([6]).collect();
        let episodes = Episodes::new(&labels, [4, 2, 3], 1).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for number in 0..50 {
            let episode = episodes.episode(number);
            assert_eq!(episode, episodes.episode(number));
            assert_eq!((episode.support.len(), episode.queries.len()), (8, 12));
            let mut rows: Vec<usize> = episode.support.clone();
            rows.extend(&episode.queries);
            rows.sort_unstable();
            rows.dedup();
            assert_eq!(rows.len(), 20);
            for (at, row) in episode.queries.iter().enumerate() {
                assert_eq!(labels[*row], episode.classes[at / 3]);
            }
            for (at, row) in episode.support.iter().enumerate() {
                assert_eq!(labels[*row], episode.classes[at / 2]);
            }
            let mut classes = episode.classes.clone();
            classes.sort_unstable();
            classes.dedup();
            assert_eq!(classes.len(), 4);
            seen.extend(classes);
        }
        // The class with a single row is never drawn.
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
        for bad in [[7, 2, 3], [0, 1, 1], [2, 0, 1], [2, 1, 0], [2, 9, 9]] {
            assert!(Episodes::new(&labels, bad, 0).is_err());
        }
        assert!(Episodes::new(&[], [1, 1, 1], 0).is_err());
    }
}
