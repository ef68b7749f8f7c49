//! Disjoint sets of images, joined pair by pair.

/// A partition of `0..n` (union-find).
pub(crate) struct DisjointSets {
    parents: Vec<usize>,
}

impl DisjointSets {
    /// Creates `count` sets of one.
    pub fn new(count: usize) -> Self {
        Self {
            parents: (0..count).collect(),
        }
    }

    /// Joins the sets of two members.
    pub fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.parents[a.max(b)] = a.min(b);
    }

    /// Returns each member's set, counted from 0 in the order of their first members.
    pub fn numbered(mut self) -> Vec<usize> {
        let mut numbers = vec![None; self.parents.len()];
        let mut next = 0;
        (0..self.parents.len())
            .map(|member| {
                let root = self.root(member);
                *numbers[root].get_or_insert_with(|| {
                    next += 1;
                    next - 1
                })
            })
            .collect()
    }

    fn root(&mut self, mut of: usize) -> usize {
        while self.parents[of] != of {
            self.parents[of] = self.parents[self.parents[of]];
            of = self.parents[of];
        }
        of
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_of_pairs_are_one_set() {
        let mut sets = DisjointSets::new(7);
        for (a, b) in [(0, 3), (4, 5), (2, 3)] {
            sets.join(a, b);
        }
        assert_eq!(sets.numbered(), [0, 1, 0, 0, 2, 2, 3]);
        assert!(DisjointSets::new(0).numbered().is_empty());
    }
}
