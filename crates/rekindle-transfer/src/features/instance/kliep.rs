//! Importance weights as a mixture of kernels.

use super::check_domains;
use super::kernel::{gaussian, median_squared_distance, squared_distances};
use crate::TransferError;
use crate::features::table::Features;

const METHOD: &str = "KLIEP";

/// Kullback-Leibler importance estimation (Sugiyama et al. 2008, "Direct Importance Estimation for Covariate
/// Shift Adaptation"): the weight is a mixture `w(x) = sum_l a_l exp(-|x - c_l|^2 / scale)` with `a_l >= 0`
/// around target images `c_l` that maximises the target's `sum_j log w(x_j)` while its mean over the source is
/// 1.
///
/// The kernel's scale is chosen by likelihood cross-validation on the target, without any label. The concave
/// problem is that of a mixture's shares, solved by expectation maximisation, which needs no step length. It
/// hurts in many dimensions, where all distances are alike: reduce them first ([`Pca`](crate::features::Pca)).
#[derive(Clone, Debug, PartialEq)]
pub struct Kliep {
    /// Target images that are centres at most, evenly spaced.
    pub centers: usize,
    /// Kernel scales `2 width^2` to choose from, as multiples of the median squared distance of source and
    /// target together.
    pub scales: Vec<f64>,
    /// Parts of the cross-validation, at least 2.
    pub folds: usize,
    /// Steps at most.
    pub max_iterations: usize,
}

impl Default for Kliep {
    fn default() -> Self {
        Self {
            centers: 100,
            scales: vec![0.03, 0.1, 0.3, 1.0, 3.0],
            folds: 5,
            max_iterations: 500,
        }
    }
}

/// Result of KLIEP.
#[derive(Clone, Debug, PartialEq)]
pub struct KliepWeights {
    /// A weight for each source image, `[n]`, with mean 1.
    pub weights: Vec<f64>,
    /// The kernel's scale `2 width^2`.
    pub scale: f64,
    /// Mean of `log w` over held-out target images for each of [`Kliep::scales`]; empty where there was
    /// nothing to choose.
    pub log_likelihoods: Vec<f64>,
}

impl Kliep {
    /// Weights of the source images `[n_s, dim]`.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] where the sides' features differ in length,
    /// [`TransferError::Degenerate`] for a side without an image, parameters out of range, or a target that
    /// no source image comes near at any scale. Where all images are alike, all weights are 1.
    pub fn fit(&self, source: &Features, target: &Features) -> Result<KliepWeights, TransferError> {
        check_domains(METHOD, source, target)?;
        self.check()?;
        let median = median_squared_distance(&source.stack(target)?);
        if median == 0.0 {
            return Ok(KliepWeights {
                weights: vec![1.0; source.len()],
                scale: 0.0,
                log_likelihoods: Vec::new(),
            });
        }
        let step = target.len().div_ceil(self.centers);
        let rows: Vec<usize> = (0..target.len()).step_by(step).collect();
        let centers = target.select(&rows);
        let distances = Distances {
            source: squared_distances(source, &centers),
            target: squared_distances(target, &centers),
            centers: rows.len(),
        };
        let scales: Vec<f64> = self.scales.iter().map(|share| share * median).collect();
        let mut log_likelihoods = Vec::new();
        let mut scale = scales[0];
        if scales.len() > 1 && target.len() >= self.folds {
            let score = |scale: &f64| self.held_out(&distances, *scale);
            log_likelihoods = scales.iter().map(score).collect();
            let best = (0..scales.len())
                .max_by(|a, b| log_likelihoods[*a].total_cmp(&log_likelihoods[*b]))
                .unwrap_or(0);
            scale = scales[best];
        }
        let all: Vec<usize> = (0..target.len()).collect();
        let mixture = self.mixture(&distances, scale, &all);
        let weights = mixture
            .map(|mixture| mixture.of(&distances.source, scale))
            .filter(|weights| weights.iter().any(|w| *w > 0.0))
            .ok_or_else(|| TransferError::Degenerate {
                method: METHOD,
                reason: "no source image is near any target image; try larger scales".into(),
            })?;
        Ok(KliepWeights {
            weights,
            scale,
            log_likelihoods,
        })
    }

    fn check(&self) -> Result<(), TransferError> {
        let is_scale = |scale: &f64| scale.is_finite() && *scale > 0.0;
        let has_scales = !self.scales.is_empty() && self.scales.iter().all(is_scale);
        if self.centers > 0 && self.folds > 1 && has_scales {
            return Ok(());
        }
        Err(TransferError::Degenerate {
            method: METHOD,
            reason: format!(
                "{} centres of at least 1, {} folds of at least 2, scales {:?} above 0 are needed",
                self.centers, self.folds, self.scales
            ),
        })
    }

    /// Mean log weight of target images that the mixture was not fitted to.
    fn held_out(&self, distances: &Distances, scale: f64) -> f64 {
        let count = distances.target.len() / distances.centers;
        let mut sum = 0.0;
        for fold in 0..self.folds {
            let (test, train): (Vec<usize>, Vec<usize>) =
                (0..count).partition(|row| row % self.folds == fold);
            let Some(mixture) = self.mixture(distances, scale, &train) else {
                return f64::NEG_INFINITY;
            };
            let found = mixture.of(&distances.target_rows(&test), scale);
            sum += found.iter().map(|w| w.ln()).sum::<f64>();
        }
        sum / count as f64
    }

    /// Returns the mixture for the target images `rows`; none where the source is out of every kernel's reach.
    fn mixture(&self, distances: &Distances, scale: f64, rows: &[usize]) -> Option<Mixture> {
        let centers = distances.centers;
        let source = gaussian(distances.source.clone(), scale);
        let mut source_means = vec![0.0; centers];
        for row in source.chunks_exact(centers) {
            let pairs = source_means.iter_mut().zip(row);
            pairs.for_each(|(mean, value)| *mean += value);
        }
        let count = (source.len() / centers) as f64;
        let inverse: Vec<f64> = source_means
            .iter()
            .map(|sum| if *sum > 1e-100 { count / sum } else { 0.0 })
            .collect();
        // Rows: target images; columns: kernels with mean 1 over the source.
        let mut kernels = gaussian(distances.target_rows(rows), scale);
        for row in kernels.chunks_exact_mut(centers) {
            let pairs = row.iter_mut().zip(&inverse);
            pairs.for_each(|(kernel, inverse)| *kernel *= inverse);
        }
        let usable = inverse.iter().filter(|v| **v > 0.0).count();
        if usable == 0 {
            return None;
        }
        let even = |inverse: &f64| {
            if *inverse > 0.0 {
                1.0 / usable as f64
            } else {
                0.0
            }
        };
        let mut shares: Vec<f64> = inverse.iter().map(even).collect();
        let mut before = f64::NEG_INFINITY;
        for _ in 0..self.max_iterations {
            let mut next = vec![0.0; centers];
            let (mut value, mut seen) = (0.0, 0.0);
            for row in kernels.chunks_exact(centers) {
                let weight: f64 = row.iter().zip(&shares).map(|(k, share)| k * share).sum();
                if weight > 0.0 {
                    value += weight.ln();
                    seen += 1.0;
                    let pairs = next.iter_mut().zip(row).zip(&shares);
                    pairs.for_each(|((next, k), share)| *next += k * share / weight);
                }
            }
            if seen == 0.0 {
                return None;
            }
            shares = next.into_iter().map(|sum| sum / seen).collect();
            if value - before <= 1e-9 * seen {
                break;
            }
            before = value;
        }
        Some(Mixture { shares, inverse })
    }
}

struct Distances {
    /// `[n_s, centers]`.
    source: Vec<f64>,
    /// `[n_t, centers]`.
    target: Vec<f64>,
    centers: usize,
}

impl Distances {
    fn target_rows(&self, rows: &[usize]) -> Vec<f64> {
        let row = |row: &usize| &self.target[row * self.centers..(row + 1) * self.centers];
        rows.iter().flat_map(row).copied().collect()
    }
}

struct Mixture {
    shares: Vec<f64>,
    inverse: Vec<f64>,
}

impl Mixture {
    /// Weights of images at these squared distances `[n, centers]` from the centres.
    fn of(&self, distances: &[f64], scale: f64) -> Vec<f64> {
        let factors: Vec<f64> = self
            .shares
            .iter()
            .zip(&self.inverse)
            .map(|(share, inverse)| share * inverse)
            .collect();
        distances
            .chunks_exact(factors.len())
            .map(|row| {
                let pairs = row.iter().zip(&factors);
                pairs.map(|(d, factor)| factor * (-d / scale).exp()).sum()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn points(values: &[f32]) -> Features {
        Features::new(values.to_vec(), 1).unwrap()
    }

    fn normal(count: usize, mean: f64, deviation: f64) -> Vec<f32> {
        let value = |i: usize| {
            let u = (i as f64 + 0.5) / count as f64;
            let v = (i as f64 * 0.618_033_988_75).fract();
            mean + deviation * (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
        };
        (0..count).map(|i| value(i) as f32).collect()
    }

    #[test]
    fn the_solution_of_scipy() {
        let source = points(&[-1.0, -0.4, 0.0, 0.3, 1.1, 2.0]);
        let target = points(&[0.8, 1.0, 1.4, 1.9]);
        let both = source.stack(&target).unwrap();
        let kliep = Kliep {
            scales: vec![1.0 / median_squared_distance(&both)],
            max_iterations: 100_000,
            ..Kliep::default()
        };
        let found = kliep.fit(&source, &target).unwrap();
        let expected = [0.009033, 0.112272, 0.403803, 0.854851, 2.619992, 2.000048];
        for (found, expected) in found.weights.iter().zip(expected) {
            assert!((found - expected).abs() < 2e-3, "{found} {expected}");
        }
    }

    #[test]
    fn weights_follow_the_ratio_of_two_normals_and_have_mean_one() {
        let source = normal(400, 0.0, 1.0);
        let target = normal(400, 0.5, 0.7);
        let found = Kliep::default()
            .fit(&points(&source), &points(&target))
            .unwrap();
        let mean = found.weights.iter().sum::<f64>() / 400.0;
        assert!((mean - 1.0).abs() < 1e-9);
        assert_eq!(found.log_likelihoods.len(), 5);
        let density = |x: f64, m: f64, s: f64| (-(x - m).powi(2) / (2.0 * s * s)).exp() / s;
        let error: f64 = source
            .iter()
            .zip(&found.weights)
            .map(|(x, w)| {
                let x = f64::from(*x);
                (w - density(x, 0.5, 0.7) / density(x, 0.0, 1.0)).abs() / 400.0
            })
            .sum();
        assert!(error < 0.15, "{error}");
    }

    #[test]
    fn constant_far_and_degenerate_input() {
        let same = points(&[2.0; 4]);
        assert_eq!(
            Kliep::default().fit(&same, &same).unwrap().weights,
            [1.0; 4]
        );
        let (source, far) = (points(&[0.0, 0.1]), points(&[1e6, 1e6 + 1.0]));
        match Kliep::default().fit(&source, &far) {
            Ok(found) => assert!(found.weights.iter().all(|w| w.is_finite())),
            Err(error) => assert!(error.to_string().contains("no source image")),
        }
        assert!(Kliep::default().fit(&source, &points(&[])).is_err());
        let kliep = Kliep {
            folds: 1,
            ..Kliep::default()
        };
        assert!(kliep.fit(&source, &far).is_err());
    }
}
