//! Importance weights that match kernel means.

use super::check_domains;
use super::kernel::{gaussian, median_squared_distance, squared_distances};
use crate::TransferError;
use crate::features::table::Features;

/// Kernel mean matching (Huang et al. 2006, "Correcting Sample Selection Bias by Unlabeled Data"): weights of
/// the source images whose mean in the kernel's space comes closest to the target's,
///
/// ```text
/// minimise  1/2 w' K w - k' w,   K = k(x_s, x_s),   k_i = n_s / n_t sum_j k(x_i, x_j)
/// subject to  0 <= w_i <= largest,   |sum w - n_s| <= n_s slack
/// ```
///
/// with a Gaussian kernel `exp(-d^2 / scale)`, by projected gradients with momentum (FISTA; Beck and Teboulle
/// 2009). Densities are never estimated, but the result depends on the kernel's width, and memory on the square
/// of the source images. It hurts where the target looks like no part of the source.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kmm {
    /// Kernel scale `2 width^2`; none for the median squared distance of source and target together.
    pub scale: Option<f64>,
    /// Largest weight, at least 1.
    pub largest: f64,
    /// Largest distance of the mean weight from 1; none for the paper's `(sqrt(n_s) - 1) / sqrt(n_s)`.
    pub slack: Option<f64>,
    /// Steps at most.
    pub max_iterations: usize,
}

impl Default for Kmm {
    fn default() -> Self {
        Self {
            scale: None,
            largest: 1000.0,
            slack: None,
            max_iterations: 2000,
        }
    }
}

impl Kmm {
    /// Computes a weight for each source image `[n]`.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] where the sides' features differ in length,
    /// [`TransferError::Degenerate`] for a side without an image or parameters out of range. Where all images
    /// are alike, all weights are alike.
    pub fn weights(&self, source: &Features, target: &Features) -> Result<Vec<f64>, TransferError> {
        check_domains("kernel mean matching", source, target)?;
        let scale = match self.scale {
            Some(scale) => scale,
            None => median_squared_distance(&source.stack(target)?),
        };
        self.check()?;
        if scale == 0.0 {
            return Ok(vec![1.0; source.len()]);
        }
        let kernel = gaussian(squared_distances(source, source), scale);
        let cross = gaussian(squared_distances(source, target), scale);
        let ratio = source.len() as f64 / target.len() as f64;
        let pull: Vec<f64> = cross
            .chunks_exact(target.len())
            .map(|row| ratio * row.iter().sum::<f64>())
            .collect();
        Ok(self.solve(&kernel, &pull))
    }

    fn check(&self) -> Result<(), TransferError> {
        let positive = |value: Option<f64>| value.is_none_or(|v| v.is_finite() && v > 0.0);
        let is_slack = self.slack.is_none_or(|v| v.is_finite() && v >= 0.0);
        if positive(self.scale) && self.largest >= 1.0 && is_slack {
            return Ok(());
        }
        Err(TransferError::Degenerate {
            method: "kernel mean matching",
            reason: format!(
                "the scale is {}, expected above 0; the largest weight is {}, expected at least 1; the slack is {}, \
                 expected at least 0",
                or_chosen(self.scale),
                self.largest,
                or_chosen(self.slack)
            ),
        })
    }

    fn solve(&self, kernel: &[f64], pull: &[f64]) -> Vec<f64> {
        let count = pull.len();
        let n = count as f64;
        let slack = self.slack.unwrap_or((n.sqrt() - 1.0) / n.sqrt());
        let range = [n * (1.0 - slack).max(0.0), n * (1.0 + slack)];
        // Gershgorin: no eigenvalue of K is larger than its largest row sum.
        let row_sum = |row: &[f64]| row.iter().sum::<f64>();
        let largest = kernel.chunks_exact(count).map(row_sum).fold(0.0, f64::max);
        let mut weights = vec![1.0; count];
        let mut ahead = weights.clone();
        let mut momentum = 1.0f64;
        for _ in 0..self.max_iterations {
            let step = |(i, row): (usize, &[f64])| {
                let gradient: f64 = row.iter().zip(&ahead).map(|(k, w)| k * w).sum();
                ahead[i] - (gradient - pull[i]) / largest
            };
            let moved: Vec<f64> = kernel.chunks_exact(count).enumerate().map(step).collect();
            let next = project(&moved, self.largest, range);
            let change = next.iter().zip(&weights).map(|(a, b)| (a - b).abs());
            let change = change.fold(0.0, f64::max);
            let uphill: f64 = (0..count)
                .map(|i| (ahead[i] - next[i]) * (next[i] - weights[i]))
                .sum();
            if uphill > 0.0 {
                // Momentum has carried too far: start it anew (O'Donoghue and Candès 2015).
                momentum = 1.0;
            }
            let next_momentum = (1.0 + (1.0 + 4.0 * momentum * momentum).sqrt()) / 2.0;
            let carry = (momentum - 1.0) / next_momentum;
            ahead = (0..count)
                .map(|i| next[i] + carry * (next[i] - weights[i]))
                .collect();
            weights = next;
            momentum = next_momentum;
            if change < 1e-9 {
                break;
            }
        }
        weights
    }
}

/// Returns the nearest point with entries in `[0, largest]` and a sum in `range`: all are shifted alike until the sum
/// fits, found by bisection.
fn project(values: &[f64], largest: f64, range: [f64; 2]) -> Vec<f64> {
    let shifted = |shift: f64| values.iter().map(move |v| (v + shift).clamp(0.0, largest));
    let sum = |shift: f64| shifted(shift).sum::<f64>();
    let goal = match sum(0.0) {
        found if found < range[0] => range[0],
        found if found > range[1] => range[1],
        _ => return shifted(0.0).collect(),
    };
    let extent = values.iter().fold(0.0f64, |m, v| m.max(v.abs())) + largest;
    let (mut low, mut high) = (-extent, extent);
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        match sum(middle) < goal {
            true => low = middle,
            false => high = middle,
        }
    }
    shifted(0.5 * (low + high)).collect()
}

fn or_chosen(value: Option<f64>) -> String {
    value.map_or_else(|| "chosen by the data".into(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn points(values: &[f32]) -> Features {
        Features::new(values.to_vec(), 1).unwrap()
    }

    #[test]
    fn the_solution_of_scipy() {
        let source = points(&[-1.0, -0.4, 0.0, 0.3, 1.1, 2.0]);
        let target = points(&[0.8, 1.0, 1.4, 1.9]);
        let kmm = Kmm {
            scale: Some(1.0),
            largest: 3.0,
            slack: Some(0.1),
            max_iterations: 50_000,
        };
        let expected = [0.0, 0.0, 0.0, 0.95452, 3.0, 2.0511772];
        let found = kmm.weights(&source, &target).unwrap();
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-4, "{found} {expected}");
        }
    }

    #[test]
    fn a_sample_thinned_on_one_side_is_filled_up_again() {
        // The source lacks two thirds of what is left of 0.
        let target: Vec<f32> = (0..120).map(|i| (i as f32 - 59.5) / 30.0).collect();
        let kept = |i: &usize| *i >= 60 || i.is_multiple_of(3);
        let source: Vec<f32> = (0..120).filter(kept).map(|i| target[i]).collect();
        let kmm = Kmm {
            scale: Some(0.5),
            largest: 10.0,
            ..Kmm::default()
        };
        let weights = kmm.weights(&points(&source), &points(&target)).unwrap();
        let mean = |weights: &[f64]| {
            let sum: f64 = weights.iter().sum();
            let pairs = source.iter().zip(weights);
            pairs.map(|(x, w)| f64::from(*x) * w).sum::<f64>() / sum
        };
        assert!(mean(&vec![1.0; source.len()]) > 0.45);
        assert!(mean(&weights).abs() < 0.05, "{}", mean(&weights));
    }

    #[test]
    fn constant_and_degenerate_input() {
        let same = points(&[2.0; 4]);
        assert_eq!(Kmm::default().weights(&same, &same).unwrap(), [1.0; 4]);
        let one = points(&[1.0]);
        let found = Kmm::default().weights(&one, &points(&[5.0])).unwrap();
        assert!(found[0].is_finite());
        assert!(Kmm::default().weights(&one, &points(&[])).is_err());
        let kmm = Kmm {
            largest: 0.5,
            ..Kmm::default()
        };
        assert!(kmm.weights(&one, &one).is_err());
    }
}
