//! Groups around means.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use crate::TransferError;
use crate::features::table::{Features, dot};

/// k-means: Lloyd's iterations (1982) from starts drawn by k-means++ (Arthur and Vassilvitskii 2007); the run
/// with the least sum of squared distances wins.
///
/// Scale pooled features to length 1 first: else images of high contrast are groups of their own. It hurts
/// where groups differ much in size or shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KMeans {
    /// Number of groups, at least 1.
    pub clusters: usize,
    /// Number of starts, at least 1.
    pub starts: usize,
    /// Iterations of a start at most.
    pub max_iterations: usize,
    /// Seed of the starts.
    pub seed: u64,
}

/// Groups that were found.
#[derive(Clone, Debug, PartialEq)]
pub struct Clusters {
    /// The group of each image.
    pub labels: Vec<usize>,
    /// Their means `[clusters, dim]`.
    pub means: Features,
    /// Sum of the squared distances of all images to their means.
    pub inertia: f64,
}

impl KMeans {
    /// Sets the number of groups; ten starts, seed 0.
    pub fn new(clusters: usize) -> Self {
        Self {
            clusters,
            starts: 10,
            max_iterations: 300,
            seed: 0,
        }
    }

    /// Groups of `features` `[n, dim]`. A group that loses all its images takes over the image farthest from
    /// its mean; where fewer different images than groups exist, some groups stay empty.
    ///
    /// # Errors
    ///
    /// [`TransferError::Degenerate`] for no group, no start, or more groups than images.
    pub fn fit(&self, features: &Features) -> Result<Clusters, TransferError> {
        if self.clusters == 0 || self.starts == 0 || self.clusters > features.len() {
            return Err(TransferError::Degenerate {
                method: "k-means",
                reason: format!(
                    "{} groups of {} images from {} starts; at least 1 of each, and no more groups than images",
                    self.clusters,
                    features.len(),
                    self.starts
                ),
            });
        }
        let squares: Vec<f64> = features.rows().map(|row| dot(row, row)).collect();
        let mut best = self.run(features, &squares, 0)?;
        for start in 1..self.starts {
            let found = self.run(features, &squares, start as u64)?;
            if found.inertia < best.inertia {
                best = found;
            }
        }
        Ok(best)
    }

    fn run(
        &self,
        features: &Features,
        squares: &[f64],
        start: u64,
    ) -> Result<Clusters, TransferError> {
        let seed = self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ start;
        let mut generator = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut means = self.first_means(features, squares, &mut generator);
        let mut labels = vec![usize::MAX; features.len()];
        let mut inertia = f64::INFINITY;
        for _ in 0..self.max_iterations.max(1) {
            let (next, distances) = nearest(features, squares, &means);
            inertia = distances.iter().sum();
            if next == labels {
                break;
            }
            labels = next;
            means = self.means_of(features, &mut labels, &distances)?;
        }
        Ok(Clusters {
            labels,
            means,
            inertia,
        })
    }

    /// k-means++: each further mean is an image, drawn in proportion to its squared distance to the nearest.
    fn first_means(
        &self,
        features: &Features,
        squares: &[f64],
        generator: &mut Xoshiro256PlusPlus,
    ) -> Features {
        let mut chosen = vec![generator.random_range(0..features.len())];
        let mut distances = vec![f64::INFINITY; features.len()];
        while chosen.len() < self.clusters {
            let last = chosen[chosen.len() - 1];
            for (i, distance) in distances.iter_mut().enumerate() {
                let product = dot(features.row(i), features.row(last));
                let square = (squares[i] + squares[last] - 2.0 * product).max(0.0);
                *distance = distance.min(square);
            }
            let total: f64 = distances.iter().sum();
            let mut mark = generator.random_range(0.0..1.0) * total;
            let drawn = distances.iter().position(|distance| {
                mark -= distance;
                mark < 0.0
            });
            // All images are means already: any will do.
            chosen.push(drawn.unwrap_or_else(|| generator.random_range(0..features.len())));
        }
        features.select(&chosen)
    }

    fn means_of(
        &self,
        features: &Features,
        labels: &mut [usize],
        distances: &[f64],
    ) -> Result<Features, TransferError> {
        let dim = features.dim();
        let mut counts = vec![0usize; self.clusters];
        labels.iter().for_each(|label| counts[*label] += 1);
        let mut order: Vec<usize> = (0..labels.len()).collect();
        order.sort_by(|a, b| distances[*b].total_cmp(&distances[*a]));
        let mut far = order.into_iter();
        for empty in 0..self.clusters {
            if counts[empty] > 0 {
                continue;
            }
            if let Some(row) = far.find(|row| counts[labels[*row]] > 1 && distances[*row] > 0.0) {
                counts[labels[row]] -= 1;
                labels[row] = empty;
                counts[empty] = 1;
            }
        }
        let mut sums = vec![0.0f64; self.clusters * dim];
        for (row, label) in features.rows().zip(labels.iter()) {
            let sum = &mut sums[label * dim..(label + 1) * dim];
            let pairs = sum.iter_mut().zip(row);
            pairs.for_each(|(sum, value)| *sum += f64::from(*value));
        }
        let means = sums
            .chunks_exact(dim)
            .zip(&counts)
            .flat_map(|(sum, count)| {
                let count = (*count).max(1) as f64;
                sum.iter().map(move |sum| (sum / count) as f32)
            });
        Features::new(means.collect(), dim)
    }
}

/// Returns the nearest mean of each image, and the squared distance to it.
fn nearest(features: &Features, squares: &[f64], means: &Features) -> (Vec<usize>, Vec<f64>) {
    let lengths: Vec<f64> = means.rows().map(|mean| dot(mean, mean)).collect();
    let of = |(row, square): (&[f32], &f64)| {
        let distances = means.rows().zip(&lengths);
        let distances = distances.map(|(mean, length)| square + length - 2.0 * dot(row, mean));
        let least = distances
            .enumerate()
            .min_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
        let (label, distance) = least.unwrap_or((0, 0.0));
        (label, distance.max(0.0))
    };
    features.rows().zip(squares).map(of).unzip()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn clouds() -> (Features, Vec<usize>) {
        let labels: Vec<usize> = (0..60).map(|i| i % 3).collect();
        let value = |i: usize, j: usize| ((i * 31 + j * 17) as f32).sin() * 0.4;
        let values = (0..60)
            .flat_map(|i| (0..4).map(move |j| value(i, j) + if j == i % 3 { 3.0 } else { 0.0 }));
        (Features::new(values.collect(), 4).unwrap(), labels)
    }

    #[test]
    fn separate_clouds_are_found_and_the_inertia_is_that_of_a_naive_sum() {
        let (features, labels) = clouds();
        let found = KMeans::new(3).fit(&features).unwrap();
        let agreement = crate::features::adjusted_rand_index(&found.labels, &labels).unwrap();
        assert_eq!(agreement, 1.0);
        let mut naive = 0.0;
        for (row, label) in features.rows().zip(&found.labels) {
            let pairs = row.iter().zip(found.means.row(*label));
            naive += pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
        }
        assert!((found.inertia - naive).abs() < 1e-4 * naive);
        assert_eq!(found, KMeans::new(3).fit(&features).unwrap());
    }

    #[test]
    fn one_group_is_the_mean_and_a_group_an_image_has_no_inertia() {
        let (features, _) = clouds();
        let one = KMeans::new(1).fit(&features).unwrap();
        for (found, expected) in one.means.values().iter().zip(features.mean()) {
            assert!((f64::from(*found) - expected).abs() < 1e-6);
        }
        let all = KMeans::new(60).fit(&features).unwrap();
        assert!(all.inertia < 1e-4, "{}", all.inertia);
    }

    #[test]
    fn equal_images_and_degenerate_numbers() {
        let equal = Features::new(vec![1.0; 10], 2).unwrap();
        let found = KMeans::new(3).fit(&equal).unwrap();
        assert!(found.inertia == 0.0 && found.means.values().iter().all(|v| v.is_finite()));
        assert!(KMeans::new(6).fit(&equal).is_err());
        assert!(KMeans::new(0).fit(&equal).is_err());
    }
}
