//! Places the lines and numbers of an axis.

/// A linear or logarithmic axis from data to pixels.
#[derive(Debug, Clone)]
pub(crate) struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
    from: f64,
    to: f64,
    /// Values that get a line and a number.
    pub(crate) ticks: Vec<f64>,
}

impl Axis {
    /// Covers `values` with round ticks, at most about `count` of them. `from` and `to` are the
    /// pixels of the lower and the upper end. Values that aren't finite are left out.
    pub(crate) fn linear(values: &[f64], count: usize, from: f64, to: f64) -> Self {
        let (low, high) = extent(values).unwrap_or((0.0, 1.0));
        let span = if high > low {
            high - low
        } else {
            high.abs().max(1.0) * 0.1
        };
        let step = round_step(span / count.max(1) as f64);
        // 0.7 - 0.3 lies a bit below 0.4, but needs no tick at 0.3.
        let first = (low / step + 1e-9).floor();
        let last = (high / step - 1e-9).ceil().max(first + 1.0);
        let ticks: Vec<f64> = (0..=(last - first) as usize)
            .map(|index| (first + index as f64) * step)
            .collect();
        Self {
            low: first * step,
            high: last * step,
            logarithmic: false,
            from,
            to,
            ticks,
        }
    }

    /// Creates an axis from 0 to 1 in steps of `step`.
    pub(crate) fn share(step: f64, from: f64, to: f64) -> Self {
        Self {
            ticks: (0..=(1.0 / step).round() as usize)
                .map(|index| index as f64 * step)
                .collect(),
            ..Self::within(0.0, 1.0, from, to)
        }
    }

    /// Whole numbers from `first` to `last`, with a number at about `count` of them.
    pub(crate) fn whole(first: usize, last: usize, count: usize, from: f64, to: f64) -> Self {
        let span = last.saturating_sub(first);
        let step = round_step(span as f64 / count.max(1) as f64).max(1.0) as usize;
        let ticks: Vec<f64> = (first..=last)
            .filter(|n| *n == first || (n % step == 0 && n - first >= step.div_ceil(2)))
            .map(|n| n as f64)
            .collect();
        Self {
            ticks,
            // A single epoch stands in the middle.
            ..if span == 0 {
                Self::within(first as f64 - 1.0, first as f64 + 1.0, from, to)
            } else {
                Self::within(first as f64, last as f64, from, to)
            }
        }
    }

    /// Powers of ten that cover the positive ones of `values`.
    pub(crate) fn logarithmic(values: &[f64], from: f64, to: f64) -> Self {
        let positive: Vec<f64> = values.iter().copied().filter(|v| *v > 0.0).collect();
        let (low, high) = extent(&positive).unwrap_or((1.0, 1.0));
        let first = low.log10().floor();
        let last = high.log10().ceil().max(first + 1.0);
        let every = ((last - first) / 6.0).ceil().max(1.0);
        let mut ticks = Vec::new();
        let mut power = last;
        while power >= first {
            ticks.push(10f64.powf(power));
            power -= every;
        }
        Self {
            ticks,
            logarithmic: true,
            ..Self::within(10f64.powf(first), 10f64.powf(last), from, to)
        }
    }

    fn within(low: f64, high: f64, from: f64, to: f64) -> Self {
        Self {
            low,
            high,
            logarithmic: false,
            from,
            to,
            ticks: Vec::new(),
        }
    }

    /// Returns the pixel of a value; none for what has no place on the axis.
    pub(crate) fn pixel(&self, value: f64) -> Option<f64> {
        let place = |v: f64| if self.logarithmic { v.log10() } else { v };
        let share = (place(value) - place(self.low)) / (place(self.high) - place(self.low));
        let pixel = self.from + share * (self.to - self.from);
        pixel.is_finite().then_some(pixel)
    }

    /// Ticks with their pixels.
    pub(crate) fn marks(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.ticks
            .iter()
            .filter_map(|&tick| self.pixel(tick).map(|pixel| (tick, pixel)))
    }
}

fn extent(values: &[f64]) -> Option<(f64, f64)> {
    let finite = values.iter().copied().filter(|v| v.is_finite());
    finite.fold(None, |extent, v| match extent {
        None => Some((v, v)),
        Some((low, high)) => Some((v.min(low), v.max(high))),
    })
}

/// Returns the next larger of 1, 2, 5 times a power of ten.
fn round_step(step: f64) -> f64 {
    if !(step.is_finite() && step > 0.0) {
        return 1.0;
    }
    let magnitude = 10f64.powf(step.log10().floor());
    let factor = step / magnitude;
    // Divisions leave 2.0000000000000004.
    let round = [1.0, 2.0, 5.0].into_iter().find(|r| factor <= r + 1e-9);
    round.unwrap_or(10.0) * magnitude
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ticks_are_round_and_cover_the_values() {
        let axis = Axis::linear(&[0.63, f64::NAN, 0.951], 5, 100.0, 0.0);
        let expected = [0.6, 0.7, 0.8, 0.9, 1.0];
        assert_eq!(axis.ticks.len(), expected.len(), "{:?}", axis.ticks);
        for (found, expected) in axis.ticks.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12);
        }
        assert!((axis.pixel(0.8).unwrap() - 50.0).abs() < 1e-9);
        assert_eq!(axis.pixel(f64::NAN), None);
    }

    #[test]
    fn equal_values_and_no_values_still_make_an_axis() {
        for values in [&[][..], &[0.0], &[3.0, 3.0], &[f64::INFINITY]] {
            let axis = Axis::linear(values, 5, 0.0, 100.0);
            assert!(axis.ticks.len() >= 2, "{values:?}: {:?}", axis.ticks);
            assert!(axis.ticks.len() <= 12, "{values:?}: {:?}", axis.ticks);
        }
    }

    #[test]
    fn whole_numbers_start_at_the_first() {
        let ticks = |first, last| Axis::whole(first, last, 8, 0.0, 1.0).ticks;
        assert_eq!(ticks(1, 4), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(ticks(1, 25), [1.0, 5.0, 10.0, 15.0, 20.0, 25.0]);
        assert_eq!(ticks(1, 1), [1.0]);
    }

    #[test]
    fn a_logarithmic_axis_has_powers_of_ten() {
        let axis = Axis::logarithmic(&[1e-3, 1e-5, 0.0], 0.0, 100.0);
        assert_eq!(axis.ticks.len(), 3);
        assert!((axis.pixel(1e-4).unwrap() - 50.0).abs() < 1e-9);
        assert_eq!(axis.pixel(0.0), None);
    }
}
