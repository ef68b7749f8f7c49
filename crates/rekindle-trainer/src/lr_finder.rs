//! The learning-rate range test: train with a rate that grows from batch to batch, and watch the loss.

use burn::prelude::*;
use rekindle_transfer::Backbone;
use serde::{Deserialize, Serialize};

use crate::feed::Feed;
use crate::learner::Learner;
use crate::{Interrupt, TrainerError, recipe::require};

/// A range test (Smith 2017, <https://arxiv.org/abs/1506.01186>), with fastai's choices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LrFinder {
    /// First rate.
    pub start: f64,
    /// Last rate.
    pub end: f64,
    /// Batches at most.
    pub steps: usize,
    /// The test ends when the smoothed loss is this many times its smallest value.
    pub divergence: f64,
}

impl Default for LrFinder {
    fn default() -> Self {
        Self {
            start: 1e-6,
            end: 1.0,
            steps: 100,
            divergence: 4.0,
        }
    }
}

/// Steps below which a curve says little: over the default range the rate more than doubles from each to the next.
const FEW: usize = 20;

/// Loss over learning rate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LrCurve {
    /// The rates tried, growing geometrically.
    pub rates: Vec<f64>,
    /// The loss at each, smoothed exponentially (0.98, corrected for its start).
    pub losses: Vec<f64>,
}

impl LrFinder {
    /// Runs the test. `learner` is spent: its weights are trained at rates that are too high.
    ///
    /// # Errors
    ///
    /// A range that is none, and what reading the batches brings.
    pub fn run<B: Backbone>(
        &self,
        learner: Learner<B>,
        feed: &Feed,
        device: &Device,
    ) -> Result<LrCurve, TrainerError> {
        self.run_with(learner, feed, device, &Interrupt::new(), |_| ())
    }

    /// Runs like [`run`](Self::run), unless `interrupt` is requested between two batches; `progress` is
    /// called with the number done after each of them.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run), and [`TrainerError::Interrupted`].
    pub fn run_with<B: Backbone>(
        &self,
        mut learner: Learner<B>,
        feed: &Feed,
        device: &Device,
        interrupt: &Interrupt,
        mut progress: impl FnMut(usize),
    ) -> Result<LrCurve, TrainerError> {
        require(
            self.start > 0.0 && self.start < self.end && self.end.is_finite(),
            "range of learning rates",
            format!("{} to {}", self.start, self.end),
            "above 0 and growing",
        )?;
        let mut curve = LrCurve::default();
        let mut smoothed = Smoothed::default();
        for epoch in 0.. {
            let before = curve.rates.len();
            for batch in feed.epoch(epoch, device) {
                interrupt.check()?;
                let batch = batch?;
                if batch.indices.is_empty() {
                    continue;
                }
                let step = curve.rates.len();
                if step == self.steps {
                    return Ok(curve);
                }
                let share = step as f64 / (self.steps.max(2) - 1) as f64;
                let rate = self.start * (self.end / self.start).powf(share);
                let loss = learner.train_batch(&batch, rate)?.loss;
                let loss = smoothed.add(loss);
                if !loss.is_finite() || loss > self.divergence * smoothed.smallest {
                    return Ok(curve);
                }
                smoothed.smallest = smoothed.smallest.min(loss);
                curve.rates.push(rate);
                curve.losses.push(loss);
                progress(curve.rates.len());
            }
            if curve.rates.len() == before {
                break; // No batch at all: nothing will come of another pass.
            }
        }
        Ok(curve)
    }
}

/// An exponential mean that isn't drawn towards zero by its start.
struct Smoothed {
    sum: f64,
    weight: f64,
    smallest: f64,
}

impl Default for Smoothed {
    fn default() -> Self {
        Self {
            sum: 0.0,
            weight: 0.0,
            smallest: f64::INFINITY,
        }
    }
}

impl Smoothed {
    fn add(&mut self, value: f64) -> f64 {
        const KEEP: f64 = 0.98;
        self.sum = KEEP * self.sum + (1.0 - KEEP) * value;
        self.weight = KEEP * self.weight + (1.0 - KEEP);
        self.sum / self.weight
    }
}

impl LrCurve {
    /// Returns the rate at which the loss falls fastest over the logarithm of the rate: a good base rate. None with
    /// fewer than three points, or where the loss never falls.
    pub fn steepest(&self) -> Option<f64> {
        let slope = |at: usize| {
            (self.losses[at + 1] - self.losses[at - 1])
                / (self.rates[at + 1].ln() - self.rates[at - 1].ln())
        };
        (1..self.rates.len().saturating_sub(1))
            .min_by(|a, b| slope(*a).total_cmp(&slope(*b)))
            .filter(|at| slope(*at) < 0.0)
            .map(|at| self.rates[at])
    }

    /// Tells whether the curve stands on so few steps (below 20) that its [steepest](Self::steepest) rate is hardly more than one of the
    /// batches' luck.
    pub fn is_short(&self) -> bool {
        self.rates.len() < FEW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steepest_rate_is_where_the_slope_is() {
        let rates: Vec<f64> = (0..41)
            .map(|i| 1e-4 * 10f64.powf(f64::from(i) / 10.0))
            .collect();
        // A logistic fall around 1e-2: steepest there.
        let losses = rates
            .iter()
            .map(|r| 1.0 / (1.0 + (r / 1e-2).powi(2)))
            .collect();
        let curve = LrCurve { rates, losses };
        let found = curve.steepest().unwrap_or(f64::NAN);
        assert!((found.log10() + 2.0).abs() < 0.05, "{found}");
    }

    #[test]
    fn a_rising_loss_has_no_good_rate() {
        let curve = LrCurve {
            rates: vec![1.0, 2.0, 3.0, 4.0],
            losses: vec![1.0, 2.0, 3.0, 4.0],
        };
        assert_eq!(curve.steepest(), None);
    }

    #[test]
    fn a_constant_loss_is_its_own_mean() {
        let mut smoothed = Smoothed::default();
        for _ in 0..5 {
            assert!((smoothed.add(3.0) - 3.0).abs() < 1e-12);
        }
    }
}
