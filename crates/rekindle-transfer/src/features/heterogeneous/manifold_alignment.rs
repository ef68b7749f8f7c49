//! One space for two domains that share nothing but classes.

use faer::Mat;

use crate::TransferError;
use crate::error::degenerate;
use crate::features::NeighborGraph;
use crate::features::linalg::{centered_matrix, features, generalized_eigen};
use crate::features::table::{Features, check_dim};

const METHOD: &str = "manifold alignment";

/// Manifold alignment with labels (Wang and Mahadevan 2011, "Heterogeneous Domain Adaptation Using Manifold
/// Alignment"): linear maps of both domains into one space that keep neighbours of a domain together, bring
/// images of one class together across the domains, and drive classes apart. With all images as columns of the
/// block-diagonal `Z`, the directions are the first eigenvectors of
///
/// ```text
/// Z L_d Z' v = value (mu Z L Z' + Z L_s Z' + r I) v
/// ```
///
/// for the Laplacians of neighbours `L`, of labelled pairs of one class `L_s` and of different classes `L_d`. Pairs
/// are weighted so that every pair of (domain, class) groups counts the same, whatever its size; the neighbours' part
/// is scaled to the size of the classes'.
///
/// Time grows with the cube of `dim_s + dim_t`: reduce long features first ([`Pca`](crate::features::Pca)). A few
/// labelled target images per class are needed; with many, a classifier of the target alone is as good.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ManifoldAlignment {
    /// Length of the shared features; fewer where the domains have fewer together.
    pub dimensions: usize,
    /// Weight of the neighbours, at least 0.
    pub mu: f64,
    /// Neighbours of an image in its own domain, at least 1.
    pub neighbors: usize,
    /// `r`, above 0, relative to the mean of the diagonal it is added to.
    pub regularization: f64,
}

impl Default for ManifoldAlignment {
    fn default() -> Self {
        Self {
            dimensions: 30,
            mu: 1.0,
            neighbors: 10,
            regularization: 0.1,
        }
    }
}

/// Both maps of [`ManifoldAlignment`].
#[derive(Clone, Debug)]
pub struct AlignedManifolds {
    domains: [Domain; 2],
    maps: [Mat<f64>; 2],
}

#[derive(Clone, Debug)]
struct Domain {
    mean: Vec<f64>,
    /// One over the mean length of the centred rows.
    scale: f64,
}

impl ManifoldAlignment {
    /// Computes the maps for `source` `[n_s, dim_s]` and `target` `[n_t, dim_t]` with the labels that are known, each
    /// below `classes`.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] where labels don't fit, [`TransferError::Degenerate`] for parameters out of
    /// range, a domain with fewer than two images or images all alike, or fewer than two classes that both domains
    /// have labels of.
    pub fn fit(
        &self,
        source: (&Features, &[Option<usize>]),
        target: (&Features, &[Option<usize>]),
        classes: usize,
    ) -> Result<AlignedManifolds, TransferError> {
        self.check(source, target, classes)?;
        let (first, x) = Domain::new(source.0)?;
        let (second, y) = Domain::new(target.0)?;
        let dims = [x.ncols(), y.ncols()];
        let labelled = [
            groups(&x, source.1, classes, 0),
            groups(&y, target.1, classes, 1),
        ]
        .concat();
        let size = dims[0] + dims[1];
        let (mut same, mut different) = (Mat::zeros(size, size), Mat::zeros(size, size));
        for (at, a) in labelled.iter().enumerate() {
            for b in &labelled[at..] {
                let sum = if a.class == b.class {
                    &mut same
                } else {
                    &mut different
                };
                add_pairs(sum, a, b, dims[0]);
            }
        }
        let mut topology: Mat<f64> = Mat::zeros(size, size);
        for (domain, offset) in [(&x, 0), (&y, dims[0])] {
            add_neighbors(&mut topology, domain, offset, self.neighbors)?;
        }
        let trace = |m: &Mat<f64>| (0..size).map(|i| m[(i, i)]).sum::<f64>();
        let weight = match trace(&topology) {
            0.0 => 0.0,
            found => self.mu * trace(&same) / found,
        };
        let mut near = Mat::from_fn(size, size, |i, j| same[(i, j)] + weight * topology[(i, j)]);
        let ridge = self.regularization * (trace(&near) + trace(&different)) / (2 * size) as f64;
        (0..size).for_each(|i| near[(i, i)] += ridge);
        let (_, vectors) = generalized_eigen(METHOD, different.as_ref(), near.as_ref())?;
        let count = self.dimensions.min(size);
        Ok(AlignedManifolds {
            maps: [
                vectors.submatrix(0, 0, dims[0], count).to_owned(),
                vectors.submatrix(dims[0], 0, dims[1], count).to_owned(),
            ],
            domains: [first, second],
        })
    }

    fn check(
        &self,
        source: (&Features, &[Option<usize>]),
        target: (&Features, &[Option<usize>]),
        classes: usize,
    ) -> Result<(), TransferError> {
        check_dim("source labels", source.1.len(), source.0.len())?;
        check_dim("target labels", target.1.len(), target.0.len())?;
        let is_fine = |value: f64| value.is_finite() && value >= 0.0;
        if self.dimensions == 0 || self.neighbors == 0 || !is_fine(self.mu) {
            return degenerate(
                METHOD,
                format!(
                    "{} dimensions, {} neighbours, mu {}; at least 1, 1 and 0 are needed",
                    self.dimensions, self.neighbors, self.mu
                ),
            );
        }
        if !is_fine(self.regularization) || self.regularization == 0.0 {
            return degenerate(
                METHOD,
                format!("regularisation {}; it must be above 0", self.regularization),
            );
        }
        let mut known = source.1.iter().chain(target.1).flatten();
        if let Some(label) = known.find(|label| **label >= classes) {
            return degenerate(METHOD, format!("label {label} with {classes} classes"));
        }
        let has = |labels: &[Option<usize>], class| labels.contains(&Some(class));
        let shared = (0..classes).filter(|class| has(source.1, *class) && has(target.1, *class));
        let shared = shared.count();
        if shared < 2 {
            return degenerate(
                METHOD,
                format!(
                    "both domains have labels of {shared} class(es) in common; at least two are needed"
                ),
            );
        }
        Ok(())
    }
}

impl AlignedManifolds {
    /// Returns source features `[n, dim_s]` in the shared space, `[n, d]`.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] for features of another length.
    pub fn transform_source(&self, source: &Features) -> Result<Features, TransferError> {
        self.transform(source, 0)
    }

    /// Returns target features `[n, dim_t]` in the shared space, `[n, d]`.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] for features of another length.
    pub fn transform_target(&self, target: &Features) -> Result<Features, TransferError> {
        self.transform(target, 1)
    }

    fn transform(&self, rows: &Features, side: usize) -> Result<Features, TransferError> {
        let domain = &self.domains[side];
        check_dim("features", rows.dim(), domain.mean.len())?;
        features((domain.apply(rows) * &self.maps[side]).as_ref())
    }
}

impl Domain {
    fn new(rows: &Features) -> Result<(Self, Mat<f64>), TransferError> {
        let mean = rows.mean();
        let centered = rows.centered(&mean)?;
        let norm = centered.mean_norm();
        if rows.len() < 2 || norm == 0.0 {
            return degenerate(
                METHOD,
                format!("a domain of {} images that are all alike", rows.len()),
            );
        }
        let domain = Self {
            mean,
            scale: 1.0 / norm,
        };
        let matrix = domain.apply(rows);
        Ok((domain, matrix))
    }

    fn apply(&self, rows: &Features) -> Mat<f64> {
        let centered = centered_matrix(rows, &self.mean);
        Mat::from_fn(rows.len(), rows.dim(), |i, j| centered[(i, j)] * self.scale)
    }
}

/// Labelled images of one class in one domain.
#[derive(Clone)]
struct Group {
    class: usize,
    side: usize,
    mean: Vec<f64>,
    /// Mean of `x x'`.
    moment: Mat<f64>,
}

fn groups(rows: &Mat<f64>, labels: &[Option<usize>], classes: usize, side: usize) -> Vec<Group> {
    let of = |class: usize| {
        let members: Vec<usize> = (0..labels.len())
            .filter(|row| labels[*row] == Some(class))
            .collect();
        if members.is_empty() {
            return None;
        }
        let count = members.len() as f64;
        let own = Mat::from_fn(members.len(), rows.ncols(), |i, j| rows[(members[i], j)]);
        let square = own.transpose() * &own;
        let sum = |j: usize| (0..members.len()).map(|i| own[(i, j)]).sum::<f64>();
        Some(Group {
            class,
            side,
            mean: (0..rows.ncols()).map(|j| sum(j) / count).collect(),
            moment: Mat::from_fn(rows.ncols(), rows.ncols(), |i, j| square[(i, j)] / count),
        })
    };
    (0..classes).filter_map(of).collect()
}

/// Adds the mean over pairs of members of `(z_a - z_b)(z_a - z_b)'`, each `z` in its domain's block.
fn add_pairs(sum: &mut Mat<f64>, a: &Group, b: &Group, split: usize) {
    for group in [a, b] {
        let offset = group.side * split;
        for i in 0..group.mean.len() {
            for j in 0..group.mean.len() {
                sum[(offset + i, offset + j)] += group.moment[(i, j)];
            }
        }
    }
    let (p, q) = (a.side * split, b.side * split);
    for (i, x) in a.mean.iter().enumerate() {
        for (j, y) in b.mean.iter().enumerate() {
            sum[(p + i, q + j)] -= x * y;
            sum[(q + j, p + i)] -= x * y;
        }
    }
}

/// Adds `sum_ij w_ij (x_i - x_j)(x_i - x_j)'` over the edges of the domain's neighbour graph, in its block.
fn add_neighbors(
    sum: &mut Mat<f64>,
    rows: &Mat<f64>,
    offset: usize,
    neighbors: usize,
) -> Result<(), TransferError> {
    let graph = NeighborGraph::new(&features(rows.as_ref())?, neighbors)?;
    let mut laplacian_rows: Mat<f64> = Mat::zeros(rows.nrows(), rows.ncols());
    for i in 0..rows.nrows() {
        for (j, weight) in graph.neighbors(i) {
            for k in 0..rows.ncols() {
                laplacian_rows[(i, k)] += weight * (rows[(i, k)] - rows[(*j, k)]);
            }
        }
    }
    let product = rows.transpose() * &laplacian_rows;
    for i in 0..rows.ncols() {
        for j in 0..rows.ncols() {
            sum[(offset + i, offset + j)] += 0.5 * (product[(i, j)] + product[(j, i)]);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::features::{Distance, Prototypes, accuracy};

    /// Three classes along three axes; the target is the same picture in five other coordinates.
    fn domains() -> (Features, Vec<usize>, Features, Vec<usize>) {
        let noise = |i: usize, k: usize| ((i * 7919 + k * 104_729) as f32 * 0.37).sin() * 0.25;
        let hidden = |i: usize, phase: usize| -> [f32; 3] {
            std::array::from_fn(|k| noise(i + phase, k) + if i % 3 == k { 1.0 } else { 0.0 })
        };
        let source: Vec<f32> = (0..60).flat_map(|i| hidden(i, 0)).collect();
        let target: Vec<f32> = (0..60)
            .flat_map(|i| {
                let [a, b, c] = hidden(i, 500);
                [5.0 - b, a + c, 2.0 * a, b - c, c + 1.0]
            })
            .collect();
        let labels: Vec<usize> = (0..60).map(|i| i % 3).collect();
        (
            Features::new(source, 3).unwrap(),
            labels.clone(),
            Features::new(target, 5).unwrap(),
            labels,
        )
    }

    #[test]
    fn a_classifier_of_the_source_works_on_the_target_with_one_label_a_class() {
        let (source, labels, target, target_labels) = domains();
        let known: Vec<Option<usize>> = labels.iter().copied().map(Some).collect();
        let anchors: Vec<Option<usize>> = (0..60).map(|i| (i < 3).then_some(i % 3)).collect();
        let maps = ManifoldAlignment::default()
            .fit((&source, &known), (&target, &anchors), 3)
            .unwrap();
        let a = maps.transform_source(&source).unwrap();
        let b = maps.transform_target(&target).unwrap();
        let prototypes = Prototypes::fit(&a, &labels, 3, Distance::Cosine).unwrap();
        let found = accuracy(&prototypes.predict(&b).unwrap(), &target_labels);
        assert!(found > 0.9, "{found}");
    }

    #[test]
    fn pairs_of_groups_are_those_of_a_naive_sum() {
        let rows = Mat::from_fn(5, 2, |i, j| ((i * 3 + j * 7) as f64).sin());
        let labels = [Some(0), Some(1), Some(0), None, Some(1)];
        let mut of = groups(&rows, &labels, 2, 0);
        of[1].side = 1;
        let mut found = Mat::zeros(4, 4);
        add_pairs(&mut found, &of[0], &of[1], 2);
        let mut naive: Mat<f64> = Mat::zeros(4, 4);
        for a in [0, 2] {
            for b in [1, 4] {
                let z = [rows[(a, 0)], rows[(a, 1)], -rows[(b, 0)], -rows[(b, 1)]];
                for i in 0..4 {
                    for j in 0..4 {
                        naive[(i, j)] += z[i] * z[j] / 4.0;
                    }
                }
            }
        }
        for i in 0..4 {
            for j in 0..4 {
                assert!((found[(i, j)] - naive[(i, j)]).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn degenerate_input_is_an_error() {
        let (source, labels, target, _) = domains();
        let known: Vec<Option<usize>> = labels.iter().copied().map(Some).collect();
        let fit = |method: ManifoldAlignment, target: &Features, labels: &[Option<usize>]| {
            method.fit((&source, &known), (target, labels), 3).is_err()
        };
        let method = ManifoldAlignment::default();
        assert!(fit(method, &target, &[None; 60]));
        assert!(fit(method, &target, &known[1..]));
        let constant = Features::new(vec![1.0; 300], 5).unwrap();
        assert!(fit(method, &constant, &known));
        let bare = ManifoldAlignment {
            regularization: 0.0,
            ..method
        };
        assert!(fit(bare, &target, &known));
    }
}
