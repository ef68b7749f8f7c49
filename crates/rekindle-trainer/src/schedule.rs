//! Learning-rate schedules as plain data.
//!
//! A schedule is a pure function of the position in training: nothing is counted along the way, so
//! a resumed run needs to know only where it stopped. The learning rate of a step is the base rate
//! of its parameter group times [`Schedule::factor`].

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::error::TrainerError;

/// Course of the learning rate over a run, as a factor on the base rate.
///
/// Names, parameters and defaults are those of `torch.optim.lr_scheduler`. `Step`, `MultiStep` and
/// `Exponential` change between epochs; `Cosine`, `OneCycle` and `Warmup` change with every step.
///
/// ```
/// use rekindle_trainer::Schedule;
///
/// let schedule = Schedule::Step { step_size: 7, gamma: 0.1 };
/// let steps_per_epoch = 61;
/// assert_eq!(schedule.factor(6 * steps_per_epoch, steps_per_epoch, 25), 1.0);
/// assert_eq!(schedule.factor(7 * steps_per_epoch, steps_per_epoch, 25), 0.1);
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// The base rate throughout.
    #[default]
    Constant,
    /// Times `gamma` after every `step_size` epochs (`StepLR`).
    Step {
        /// Epochs between two decays, at least 1.
        step_size: usize,
        /// Factor of one decay, above 0.
        gamma: f64,
    },
    /// Times `gamma` at each milestone (`MultiStepLR`).
    MultiStep {
        /// Epochs, counted from 0, at whose start the rate decays.
        milestones: Vec<usize>,
        /// Factor of one decay, above 0.
        gamma: f64,
    },
    /// Times `gamma` after every epoch (`ExponentialLR`).
    Exponential {
        /// Factor of one epoch, above 0.
        gamma: f64,
    },
    /// Half a cosine from 1 to `min_factor` (`CosineAnnealingLR` stepped once per batch; Loshchilov
    /// and Hutter, "SGDR", 2017, without restarts).
    Cosine {
        /// Factor that the end of training approaches, 0 to 1.
        min_factor: f64,
    },
    /// Up to the base rate and down again (`OneCycleLR`; Smith, "Super-Convergence", 2018). The
    /// base rate is the maximum. The momentum stays as it is.
    OneCycle {
        /// Share of the steps that the rise takes, above 0 and below 1 (below 0.5 with three
        /// phases).
        #[serde(default = "default_pct_start")]
        pct_start: f64,
        /// Starts at `1 / div_factor`, above 0.
        #[serde(default = "default_div_factor")]
        div_factor: f64,
        /// Ends at `1 / (div_factor * final_div_factor)`, above 0.
        #[serde(default = "default_final_div_factor")]
        final_div_factor: f64,
        /// The curve of rise and fall.
        #[serde(default)]
        anneal: Anneal,
        /// Fall as fast as it rose, then a third phase down to the end, as in the paper.
        #[serde(default)]
        three_phase: bool,
    },
    /// Rises linearly from `start_factor` to 1, then runs another schedule over what is left
    /// (`SequentialLR` of `LinearLR` and that schedule). The other schedule starts its own count
    /// where the rise ends.
    Warmup {
        /// Length of the rise in epochs, fractions allowed, at least 0.
        epochs: f64,
        /// Factor of the very first step, above 0 and at most 1.
        start_factor: f64,
        /// The schedule after the rise.
        then: Box<Schedule>,
    },
}

/// The shape of a rise or fall in [`Schedule::OneCycle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Anneal {
    /// Half a cosine.
    #[default]
    Cosine,
    /// A straight line.
    Linear,
}

impl Schedule {
    /// Returns the schedule of the PyTorch transfer-learning tutorial: a tenth after every seven epochs.
    pub fn tutorial() -> Self {
        Self::Step {
            step_size: 7,
            gamma: 0.1,
        }
    }

    /// Returns half a cosine down to zero.
    pub fn cosine() -> Self {
        Self::Cosine { min_factor: 0.0 }
    }

    /// Returns one cycle with PyTorch's defaults: rise over 30 % of the steps from 1/25, fall to 1/250,000.
    pub fn one_cycle() -> Self {
        Self::OneCycle {
            pct_start: default_pct_start(),
            div_factor: default_div_factor(),
            final_div_factor: default_final_div_factor(),
            anneal: Anneal::Cosine,
            three_phase: false,
        }
    }

    /// Returns the same schedule after a linear rise over `epochs` from a hundredth of the base rate.
    pub fn with_warmup(self, epochs: f64) -> Self {
        Self::Warmup {
            epochs,
            start_factor: 0.01,
            then: Box::new(self),
        }
    }

    /// Returns the factor on the base learning rate for optimiser step number `step`, counted from 0.
    ///
    /// `steps_per_epoch` counts optimiser steps, that is batches divided by accumulation, rounded
    /// up. Past the end of training the factor of the last step holds.
    pub fn factor(&self, step: usize, steps_per_epoch: usize, total_epochs: usize) -> f64 {
        let steps_per_epoch = steps_per_epoch.max(1);
        let total_steps = steps_per_epoch * total_epochs.max(1);
        self.factor_of(step.min(total_steps - 1), steps_per_epoch, total_steps)
    }

    /// Checks every parameter's range.
    ///
    /// # Errors
    ///
    /// [`TrainerError::InvalidSchedule`] names the first parameter outside its range.
    pub fn validate(&self) -> Result<(), TrainerError> {
        let positive =
            |field, value: f64| require(value.is_finite() && value > 0.0, field, value, "above 0");
        match self {
            Self::Constant => Ok(()),
            Self::Step { step_size, gamma } => {
                require(*step_size >= 1, "step_size", step_size, "at least 1 epoch")?;
                positive("gamma", *gamma)
            }
            Self::MultiStep { gamma, .. } | Self::Exponential { gamma } => {
                positive("gamma", *gamma)
            }
            Self::Cosine { min_factor } => require(
                (0.0..=1.0).contains(min_factor),
                "min_factor",
                min_factor,
                "between 0 and 1",
            ),
            Self::OneCycle {
                pct_start,
                div_factor,
                final_div_factor,
                three_phase,
                ..
            } => {
                let (limit, expected) = if *three_phase {
                    (0.5, "above 0 and below 0.5 with three phases")
                } else {
                    (1.0, "above 0 and below 1")
                };
                require(
                    *pct_start > 0.0 && *pct_start < limit,
                    "pct_start",
                    pct_start,
                    expected,
                )?;
                positive("div_factor", *div_factor)?;
                positive("final_div_factor", *final_div_factor)
            }
            Self::Warmup {
                epochs,
                start_factor,
                then,
            } => {
                require(
                    epochs.is_finite() && *epochs >= 0.0,
                    "warm-up epochs",
                    epochs,
                    "0 or more",
                )?;
                require(
                    *start_factor > 0.0 && *start_factor <= 1.0,
                    "start_factor",
                    start_factor,
                    "above 0 and at most 1",
                )?;
                then.validate()
            }
        }
    }

    fn factor_of(&self, step: usize, steps_per_epoch: usize, total_steps: usize) -> f64 {
        let epoch = step / steps_per_epoch;
        match self {
            Self::Constant => 1.0,
            Self::Step { step_size, gamma } => power(*gamma, epoch / (*step_size).max(1)),
            Self::MultiStep { milestones, gamma } => {
                power(*gamma, milestones.iter().filter(|&&m| m <= epoch).count())
            }
            Self::Exponential { gamma } => power(*gamma, epoch),
            Self::Cosine { min_factor } => {
                Anneal::Cosine.between(1.0, *min_factor, step as f64 / total_steps as f64)
            }
            Self::OneCycle {
                pct_start,
                div_factor,
                final_div_factor,
                anneal,
                three_phase,
            } => {
                let start = 1.0 / div_factor;
                let end = start / final_div_factor;
                let total = total_steps as f64;
                let rise_end = pct_start * total - 1.0;
                // (last step of the phase, factor there)
                let phases = if *three_phase {
                    vec![
                        (rise_end, 1.0),
                        (2.0 * pct_start * total - 2.0, start),
                        (total - 1.0, end),
                    ]
                } else {
                    vec![(rise_end, 1.0), (total - 1.0, end)]
                };
                one_cycle(step as f64, start, &phases, *anneal)
            }
            Self::Warmup {
                epochs,
                start_factor,
                then,
            } => {
                let rise = (epochs * steps_per_epoch as f64).round() as usize;
                if step < rise {
                    start_factor + (1.0 - start_factor) * step as f64 / rise as f64
                } else {
                    let left = total_steps.saturating_sub(rise).max(1);
                    then.factor_of(step - rise, steps_per_epoch, left)
                }
            }
        }
    }
}

impl Anneal {
    /// Interpolates from `from` (`progress` 0) to `to` (`progress` 1).
    fn between(self, from: f64, to: f64, progress: f64) -> f64 {
        match self {
            Self::Cosine => to + (from - to) * 0.5 * (1.0 + (PI * progress).cos()),
            Self::Linear => from + (to - from) * progress,
        }
    }
}

fn one_cycle(step: f64, start: f64, phases: &[(f64, f64)], anneal: Anneal) -> f64 {
    let (mut from_step, mut from) = (0.0, start);
    for (index, &(to_step, to)) in phases.iter().enumerate() {
        if step <= to_step || index + 1 == phases.len() {
            let length = to_step - from_step;
            // A run of one step has phases of no length.
            let progress = if length > 0.0 {
                ((step - from_step) / length).clamp(0.0, 1.0)
            } else {
                1.0
            };
            return anneal.between(from, to, progress);
        }
        (from_step, from) = (to_step, to);
    }
    from
}

fn power(gamma: f64, times: usize) -> f64 {
    gamma.powi(i32::try_from(times).unwrap_or(i32::MAX))
}

fn require(
    holds: bool,
    field: &'static str,
    found: impl ToString,
    expected: &'static str,
) -> Result<(), TrainerError> {
    if holds {
        return Ok(());
    }
    Err(TrainerError::InvalidSchedule {
        field,
        found: found.to_string(),
        expected,
    })
}

fn default_pct_start() -> f64 {
    0.3
}

fn default_div_factor() -> f64 {
    25.0
}

fn default_final_div_factor() -> f64 {
    1e4
}
