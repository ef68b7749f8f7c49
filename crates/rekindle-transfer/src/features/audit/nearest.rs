//! Images that look alike: exact search among features, a block at a time.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::TransferError;
use crate::features::table::{Features, check_dim};

/// Rows of a block of queries, and of the images that it is compared with: both fit into a core's cache with their products.
const QUERIES: usize = 64;
const IMAGES: usize = 256;
/// Queries up to which rows are multiplied one by one: a product of matrices first puts all images into another order, which
/// takes longer than so few products.
const FEW: usize = 4;
/// Sums that are made side by side.
const LANES: usize = 16;

/// An image and how much it looks like another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Neighbor {
    /// The image's position.
    pub index: usize,
    /// The cosine of the angle between both features, -1 to 1.
    pub similarity: f32,
}

/// Features to search for those that are most like others. Every one is compared, so nothing is missed.
///
/// ```
/// use rekindle_transfer::features::{Features, NeighborIndex};
///
/// let features = Features::new(vec![1.0, 0.0, 0.0, 1.0, 0.9, 0.1], 2)?;
/// let found = NeighborIndex::new(&features).nearest(&features.select(&[0]), 2)?;
/// assert_eq!([found[0][0].index, found[0][1].index], [0, 2]);
/// # Ok::<(), rekindle_transfer::TransferError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct NeighborIndex {
    /// Rows of length 1.
    features: Features,
}

impl NeighborIndex {
    /// Prepares features `[n, dim]`.
    pub fn new(features: &Features) -> Self {
        Self {
            features: features.l2_normalized(),
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.features.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.features.is_empty()
    }

    /// Finds for each of `queries` `[m, dim]` the `count` most similar rows by the cosine, the most similar first; of
    /// equally similar ones the first. A row of zeros is similar to nothing (0).
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] for rows of another length.
    pub fn nearest(
        &self,
        queries: &Features,
        count: usize,
    ) -> Result<Vec<Vec<Neighbor>>, TransferError> {
        check_dim("features of queries", queries.dim(), self.features.dim())?;
        let queries = queries.l2_normalized();
        let blocks = queries.len().div_ceil(QUERIES);
        // Few queries keep all threads busy by parts of the index.
        let wanted = (4 * rayon::current_num_threads()).div_ceil(blocks.max(1));
        let shard = self
            .len()
            .div_ceil(wanted.max(1))
            .next_multiple_of(IMAGES)
            .max(IMAGES);
        let tasks: Vec<(usize, usize)> = (0..queries.len())
            .step_by(QUERIES)
            .flat_map(|first| {
                (0..self.len())
                    .step_by(shard)
                    .map(move |start| (first, start))
            })
            .collect();
        let parts: Vec<(usize, Vec<Vec<Neighbor>>)> = tasks
            .into_par_iter()
            .map(|(first, start)| (first, self.search(&queries, first, start, shard, count)))
            .collect();
        let mut found = vec![Vec::new(); queries.len()];
        for (first, part) in parts {
            for (best, more) in found[first..].iter_mut().zip(part) {
                best.extend(more);
            }
        }
        found.iter_mut().for_each(|best| cut(best, count));
        Ok(found)
    }

    /// Searches one part of the rows for one block of queries.
    fn search(
        &self,
        queries: &Features,
        first: usize,
        start: usize,
        shard: usize,
        count: usize,
    ) -> Vec<Vec<Neighbor>> {
        let block = Block::new(queries, first, QUERIES);
        let mut best = vec![Vec::new(); block.rows];
        let mut products = vec![0.0; QUERIES * IMAGES];
        let end = (start + shard).min(self.len());
        for start in (start..end).step_by(IMAGES) {
            let images = Block::new(&self.features, start, IMAGES.min(end - start));
            block.times(&images, &mut products);
            for (best, row) in best.iter_mut().zip(products.chunks_exact(images.rows)) {
                for (at, similarity) in row.iter().enumerate() {
                    let index = start + at;
                    offer(
                        best,
                        count,
                        Neighbor {
                            index,
                            similarity: *similarity,
                        },
                    );
                }
            }
        }
        best
    }
}

/// Finds the rows that are most like others where they come a block at a time, so that no more than a block is in memory.
/// What is found is, to the last bit, what [`NeighborIndex::nearest`] finds among all rows.
///
/// ```
/// use rekindle_transfer::features::{Features, NeighborSearch};
///
/// let queries = Features::new(vec![1.0, 0.0], 2)?;
/// let mut search = NeighborSearch::new(&queries, 2);
/// for block in [[1.0, 0.0, 0.0, 1.0], [0.5, 0.5, 0.9, 0.1]] {
///     search.add(&Features::new(block.into(), 2)?)?;
/// }
/// let found = search.finish()?;
/// assert_eq!([found[0][0].index, found[0][1].index], [0, 3]);
/// # Ok::<(), rekindle_transfer::TransferError>(())
/// ```
#[derive(Clone, Debug)]
pub struct NeighborSearch {
    queries: Features,
    count: usize,
    /// Rows that have not been compared yet: fewer than a block of [`IMAGES`].
    waiting: Vec<f32>,
    compared: usize,
    best: Vec<Vec<Neighbor>>,
}

impl NeighborSearch {
    /// Begins a search for the `count` most similar rows of each of `queries` `[m, dim]`.
    pub fn new(queries: &Features, count: usize) -> Self {
        Self {
            queries: queries.clone(),
            count,
            waiting: Vec::new(),
            compared: 0,
            best: vec![Vec::new(); queries.len()],
        }
    }

    /// Compares the next rows `[n, dim]`. They are counted on from those before.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] for rows of another length.
    pub fn add(&mut self, rows: &Features) -> Result<(), TransferError> {
        check_dim("features to search", rows.dim(), self.queries.dim())?;
        self.waiting.extend_from_slice(rows.values());
        // Products of whole blocks are the same wherever the rows were cut.
        let whole = self.waiting.len() / (IMAGES * rows.dim()) * IMAGES * rows.dim();
        let rest = self.waiting.split_off(whole);
        let whole = std::mem::replace(&mut self.waiting, rest);
        self.compare(whole)
    }

    /// Returns the neighbours of each query among all rows that were added, as [`NeighborIndex::nearest`] does.
    ///
    /// # Errors
    ///
    /// As [`NeighborIndex::nearest`].
    pub fn finish(mut self) -> Result<Vec<Vec<Neighbor>>, TransferError> {
        let rest = std::mem::take(&mut self.waiting);
        self.compare(rest)?;
        Ok(self.best)
    }

    fn compare(&mut self, rows: Vec<f32>) -> Result<(), TransferError> {
        if rows.is_empty() {
            return Ok(());
        }
        let rows = Features::new(rows, self.queries.dim())?;
        let found = NeighborIndex::new(&rows).nearest(&self.queries, self.count)?;
        for (best, found) in self.best.iter_mut().zip(found) {
            best.extend(found.into_iter().map(|neighbor| Neighbor {
                index: neighbor.index + self.compared,
                ..neighbor
            }));
            cut(best, self.count);
        }
        self.compared += rows.len();
        Ok(())
    }
}

/// Finds for each of `queries` `[m, dim]` the `count` most similar rows of `features` `[n, dim]`, as
/// [`NeighborIndex::nearest`] does.
///
/// # Errors
///
/// [`TransferError::WrongLength`] for rows of different lengths.
pub fn nearest_neighbors(
    features: &Features,
    queries: &Features,
    count: usize,
) -> Result<Vec<Vec<Neighbor>>, TransferError> {
    NeighborIndex::new(features).nearest(queries, count)
}

/// Rows that follow each other.
struct Block<'a> {
    rows: usize,
    dim: usize,
    values: &'a [f32],
}

impl<'a> Block<'a> {
    fn new(features: &'a Features, first: usize, most: usize) -> Self {
        let (dim, rows) = (features.dim(), most.min(features.len() - first));
        let values = &features.values()[first * dim..(first + rows) * dim];
        Self { rows, dim, values }
    }

    fn matrix(&self) -> MatRef<'a, f32> {
        MatRef::from_row_major_slice(self.values, self.rows, self.dim)
    }

    /// Writes the products of all rows with those of `images` `[rows, images.rows]`, row-major.
    fn times(&self, images: &Block<'_>, products: &mut [f32]) {
        let products = &mut products[..self.rows * images.rows];
        if self.rows <= FEW {
            let rows = self.values.chunks_exact(self.dim);
            for (row, products) in rows.zip(products.chunks_exact_mut(images.rows)) {
                let images = images.values.chunks_exact(images.dim);
                for (image, product) in images.zip(products) {
                    *product = dot(row, image);
                }
            }
            return;
        }
        matmul(
            MatMut::from_row_major_slice_mut(products, self.rows, images.rows),
            Accum::Replace,
            self.matrix(),
            images.matrix().transpose(),
            1.0,
            Par::Seq,
        );
    }
}

/// Product of two rows, in `f32`.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut sums = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

/// Takes a neighbour among the best where it may be one of them. Up to twice as many are held, so that they are seldom
/// sorted.
fn offer(best: &mut Vec<Neighbor>, count: usize, neighbor: Neighbor) {
    if count == 0 {
        return;
    }
    // Once cut, the last of `count` is the least that counts.
    if best.len() >= count && neighbor.similarity <= best[count - 1].similarity {
        return;
    }
    best.push(neighbor);
    if best.len() == count || best.len() >= 2 * count {
        cut(best, count);
    }
}

fn cut(best: &mut Vec<Neighbor>, count: usize) {
    best.sort_by(|a, b| {
        b.similarity
            .total_cmp(&a.similarity)
            .then(a.index.cmp(&b.index))
    });
    best.truncate(count);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::features::table;

    fn waves(images: usize, dim: usize, seed: usize) -> Features {
        let value = |at: usize| ((at * 37 + at * at * 11 + seed) as f32 * 0.731).sin();
        Features::new((0..images * dim).map(value).collect(), dim).unwrap()
    }

    #[test]
    fn blocks_find_what_comparing_one_by_one_finds() {
        let (features, queries) = (waves(1600, 37, 5), waves(130, 37, 9));
        let found = nearest_neighbors(&features, &queries, 5).unwrap();
        let (a, b) = (features.l2_normalized(), queries.l2_normalized());
        for (query, found) in b.rows().zip(&found) {
            let mut all: Vec<(f64, usize)> = a
                .rows()
                .enumerate()
                .map(|(at, row)| (table::dot(row, query), at))
                .collect();
            all.sort_by(|a, b| b.0.total_cmp(&a.0));
            for (found, wanted) in found.iter().zip(&all) {
                assert!((f64::from(found.similarity) - wanted.0).abs() < 1e-5);
                assert!((table::dot(a.row(found.index), query) - wanted.0).abs() < 1e-5);
            }
            assert_eq!(found.len(), 5);
        }
        // One query alone is searched for in parts.
        let alone = nearest_neighbors(&features, &queries.select(&[129]), 5).unwrap();
        assert_eq!(
            alone[0].iter().map(|n| n.index).collect::<Vec<_>>(),
            found[129].iter().map(|n| n.index).collect::<Vec<_>>()
        );
    }

    #[test]
    fn rows_that_come_in_pieces_have_the_neighbours_of_the_whole() {
        let (features, queries) = (waves(1600, 7, 5), waves(130, 7, 9));
        let whole = nearest_neighbors(&features, &queries, 5).unwrap();
        for piece in [1, 100, 256, 700, 1600] {
            let mut search = NeighborSearch::new(&queries, 5);
            let rows: Vec<usize> = (0..1600).collect();
            for rows in rows.chunks(piece) {
                search.add(&features.select(rows)).unwrap();
            }
            assert_eq!(search.finish().unwrap(), whole, "pieces of {piece}");
        }
        let none = NeighborSearch::new(&queries, 5).finish().unwrap();
        assert_eq!(none, vec![vec![]; 130]);
        let mut search = NeighborSearch::new(&queries, 5);
        assert!(search.add(&waves(1, 3, 1)).is_err());
    }

    #[test]
    fn odd_requests_have_answers() {
        let features = waves(3, 2, 1);
        let few = nearest_neighbors(&features, &features, 10).unwrap();
        assert!(few.iter().all(|found| found.len() == 3));
        let none = nearest_neighbors(&features, &features, 0).unwrap();
        assert!(none.iter().all(Vec::is_empty));
        assert!(nearest_neighbors(&features, &waves(1, 3, 1), 1).is_err());
        let empty = features.select(&[]);
        assert_eq!(
            nearest_neighbors(&empty, &features, 2).unwrap(),
            [vec![], vec![], vec![]]
        );
        assert!(nearest_neighbors(&features, &empty, 2).unwrap().is_empty());
    }
}
