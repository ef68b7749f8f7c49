//! The ranges that bytes cover.

use burn::prelude::*;

/// The largest byte.
const MOST: f32 = 255.0;

/// Parts of a range that values are counted in.
const BINS: usize = 2048;

/// Affine quantization by unsigned bytes: one stands for `scale * (byte - zero_point)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rounding {
    pub scale: f32,
    pub zero_point: u8,
}

impl Rounding {
    /// Covers `low..=high` and zero, which is exact, so that padding is.
    pub fn of_range(low: f32, high: f32) -> Self {
        let (low, high) = (low.min(0.0), high.max(0.0));
        let scale = (high - low) / MOST;
        if scale < f32::MIN_POSITIVE {
            return Self {
                scale: 1.0,
                zero_point: 0,
            };
        }
        Self {
            scale,
            zero_point: (-low / scale).round_ties_even() as u8,
        }
    }

    /// Rounds to what bytes stand for; beyond the range, to its ends.
    pub fn apply<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let zero = f32::from(self.zero_point);
        let bytes = x.div_scalar(self.scale).round().clamp(-zero, MOST - zero);
        bytes.mul_scalar(self.scale)
    }

    fn error(&self, x: f32) -> f64 {
        let zero = f32::from(self.zero_point);
        let byte = (x / self.scale).round_ties_even().clamp(-zero, MOST - zero);
        f64::from(x - byte * self.scale).powi(2)
    }
}

/// How ranges are chosen of the values that were seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeRule {
    /// From the smallest to the largest.
    MinMax,
    /// The part of that range which has the least mean squared error when values are rounded to it and those outside are cut
    /// off.
    MeanSquaredError,
}

impl RangeRule {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::MinMax, Self::MeanSquaredError];

    /// Returns the name that reports give it.
    pub fn name(self) -> &'static str {
        match self {
            Self::MinMax => "min-max",
            Self::MeanSquaredError => "mean-squared-error",
        }
    }
}

/// The values that were seen at one place.
#[derive(Clone, Debug)]
pub(super) struct Observed {
    low: f32,
    high: f32,
    counts: Vec<u64>,
}

impl Observed {
    pub fn new() -> Self {
        Self {
            low: 0.0,
            high: 0.0,
            counts: vec![0; BINS],
        }
    }

    /// Widens the range; false for values that are no finite numbers.
    pub fn widen(&mut self, values: &[f32]) -> bool {
        for value in values {
            self.low = self.low.min(*value);
            self.high = self.high.max(*value);
        }
        values.iter().all(|value| value.is_finite())
    }

    /// Counts values, all of them within the range.
    pub fn count(&mut self, values: &[f32]) {
        let bins = BINS as f32 / (self.high - self.low).max(f32::MIN_POSITIVE);
        for value in values {
            let bin = ((value - self.low) * bins) as usize;
            self.counts[bin.min(BINS - 1)] += 1;
        }
    }

    /// Returns the range that a rule chooses.
    pub fn rounding(&self, rule: RangeRule) -> Rounding {
        let whole = Rounding::of_range(self.low, self.high);
        match rule {
            RangeRule::MinMax => whole,
            RangeRule::MeanSquaredError => {
                let parts = (20..100).rev().map(|percent| percent as f32 / 100.0);
                let parts = parts.map(|part| Rounding::of_range(part * self.low, part * self.high));
                let mut best = (self.error(&whole), whole);
                for rounding in parts {
                    let error = self.error(&rounding);
                    if error < best.0 {
                        best = (error, rounding);
                    }
                }
                best.1
            }
        }
    }

    fn error(&self, rounding: &Rounding) -> f64 {
        let width = (self.high - self.low) / BINS as f32;
        let bins = self.counts.iter().enumerate();
        let errors = bins.filter(|(_, count)| **count > 0).map(|(bin, count)| {
            let middle = self.low + width * (bin as f32 + 0.5);
            *count as f64 * rounding.error(middle)
        });
        errors.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bell of numbers, and one far away from it.
    fn values() -> Vec<f32> {
        let mut state = 1u64;
        let mut uniform = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
            (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
        };
        let mut values: Vec<f32> = (0..20_000)
            .map(|_| (0..12).map(|_| uniform()).sum())
            .collect();
        values.push(40.0);
        values
    }

    fn mean_square(values: &[f32], low: f32, high: f32) -> f64 {
        let step = (high - low) / 255.0;
        let zero = (-low / step).round_ties_even();
        let error = |value: &f32| {
            let byte = (value / step + zero).round_ties_even().clamp(0.0, 255.0);
            f64::from(value - (byte - zero) * step).powi(2)
        };
        values.iter().map(error).sum::<f64>() / values.len() as f64
    }

    #[test]
    fn ranges_are_the_whole_or_what_loses_least() {
        let values = values();
        let mut observed = Observed::new();
        assert!(observed.widen(&values));
        observed.count(&values);
        let low = values.iter().copied().fold(0.0, f32::min);
        let ends = |rounding: Rounding| {
            let low = -f32::from(rounding.zero_point) * rounding.scale;
            (low, low + 255.0 * rounding.scale)
        };
        let (from, to) = ends(observed.rounding(RangeRule::MinMax));
        assert!(
            (from - low).abs() < 0.1 && (to - 40.0).abs() < 0.1,
            "{from} {to}"
        );
        let (from, to) = ends(observed.rounding(RangeRule::MeanSquaredError));
        let found = mean_square(&values, from, to);
        // Of all ranges whose ends are the same part of the whole.
        let parts = (1..=1000).map(|part| part as f32 / 1000.0);
        let best = parts
            .filter(|part| *part >= 0.2)
            .map(|part| mean_square(&values, part * low, part * 40.0))
            .fold(f64::INFINITY, f64::min);
        println!(
            "{found:e}, best {best:e}, whole {:e}",
            mean_square(&values, low, 40.0)
        );
        assert!(found < 0.99 * mean_square(&values, low, 40.0));
        assert!(found <= 1.01 * best, "{found} {best}");
    }

    #[test]
    fn numbers_become_the_nearest_that_a_byte_stands_for() {
        let rounding = Rounding::of_range(-1.3, 2.7);
        let all: Vec<f32> = (0..256)
            .map(|byte| (byte as f32 - f32::from(rounding.zero_point)) * rounding.scale)
            .collect();
        assert!(all.contains(&0.0));
        let given: Vec<f32> = (-200..400).map(|at| at as f32 / 100.0 + 0.001).collect();
        let tensor = Tensor::<1>::from_floats(given.as_slice(), &Device::flex());
        let found: Vec<f32> = rounding.apply(tensor).into_data().iter().collect();
        for (x, found) in given.iter().zip(found) {
            let nearest = all
                .iter()
                .copied()
                .min_by(|a, b| (a - x).abs().total_cmp(&(b - x).abs()));
            let nearest = nearest.unwrap_or(f32::NAN);
            assert!(
                (nearest - found).abs() <= 1e-6,
                "{x}: {found}, nearest {nearest}"
            );
        }
    }

    #[test]
    fn nothing_but_zeros_has_a_range() {
        let mut observed = Observed::new();
        assert!(observed.widen(&[0.0; 4]) && !observed.widen(&[f32::NAN]));
        observed.count(&[0.0; 4]);
        for rule in RangeRule::ALL {
            let rounding = observed.rounding(rule);
            assert!(rounding.scale == 1.0 && rounding.zero_point == 0);
        }
    }
}
