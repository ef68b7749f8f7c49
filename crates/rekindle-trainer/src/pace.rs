//! Training that ends at a given time: as many steps as fit, decided as it goes.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time since some beginning, by the processor's clock or by one of a test's own.
#[derive(Clone)]
pub(crate) struct Clock(Arc<dyn Fn() -> Duration + Send + Sync>);

impl Clock {
    /// Begins now.
    pub fn started() -> Self {
        let begun = Instant::now();
        Self::of(move || begun.elapsed())
    }

    pub fn of(now: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub fn seconds(&self) -> f64 {
        (self.0)().as_secs_f64()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({:.3} s)", self.seconds())
    }
}

/// Plans a training's steps so that it ends by a deadline, and plans anew where they turn out slower or faster.
///
/// The schedule of the learning rate runs over the planned steps; under a new plan it goes on from where it is. So the
/// weights are a function of the seed and the plans, which are kept.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    clock: Clock,
    /// Seconds on the clock.
    deadline: f64,
    /// Steps at most, however much time is left.
    most: usize,
    seconds_per_step: f64,
    last: Option<f64>,
    plans: Vec<PacePlan>,
}

/// Decision made before a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PacePlan {
    /// Steps done at the time.
    pub done: usize,
    /// Steps planned in all.
    pub steps: usize,
    /// Share of the schedule that was over.
    share: f64,
}

/// Ratios of what is left to what was planned beyond which the plan is changed: being late is worse than being early.
const LATE: f64 = 1.02;
const EARLY: f64 = 0.75;

impl Pace {
    /// Plans for steps that are guessed to take `seconds_per_step`, to be over when `clock` shows `deadline`.
    pub fn new(clock: &Clock, deadline: f64, seconds_per_step: f64, most: usize) -> Self {
        let left = deadline - clock.seconds();
        let steps = fitting(left, seconds_per_step).clamp(1, most.max(1));
        Self {
            clock: clock.clone(),
            deadline,
            most: most.max(1),
            seconds_per_step,
            last: None,
            plans: vec![PacePlan {
                done: 0,
                steps,
                share: 0.0,
            }],
        }
    }

    /// Steps planned in all.
    pub fn steps(&self) -> usize {
        self.plan().steps
    }

    /// Returns every plan, the first one first.
    pub fn plans(&self) -> &[PacePlan] {
        &self.plans
    }

    /// Seconds that a step takes at the moment.
    pub fn seconds_per_step(&self) -> f64 {
        self.seconds_per_step
    }

    /// Returns the share of the schedule that is over after `done` steps, from 0 to 1.
    pub fn share(&self, done: usize) -> f64 {
        let plan = self.plan();
        let steps = (plan.steps - plan.done).max(1) as f64;
        let over = done.saturating_sub(plan.done) as f64 / steps;
        (plan.share + (1.0 - plan.share) * over).min(1.0)
    }

    /// Takes note that `done` steps are over; plans anew where that is necessary.
    pub fn advance(&mut self, done: usize) {
        let now = self.clock.seconds();
        if let Some(last) = self.last.replace(now) {
            // Begins with the first step's own time, which is worth more than a guess.
            let weight = if done <= 2 { 1.0 } else { 0.2 };
            self.seconds_per_step += weight * ((now - last) - self.seconds_per_step);
        }
        let left = self.deadline - now;
        let needed = self.steps().saturating_sub(done) as f64 * self.seconds_per_step;
        let may_be_longer = needed < EARLY * left && self.steps() < self.most;
        if needed > LATE * left.max(0.0) || may_be_longer {
            let steps = (done + fitting(left, self.seconds_per_step)).min(self.most);
            if steps != self.steps() {
                let share = self.share(done);
                self.plans.push(PacePlan { done, steps, share });
            }
        }
    }

    fn plan(&self) -> &PacePlan {
        &self.plans[self.plans.len() - 1]
    }
}

/// Steps that fit into so many seconds.
fn fitting(seconds: f64, per_step: f64) -> usize {
    (seconds.max(0.0) / per_step.max(1e-9)) as usize
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Creates a clock that moves by hand, in milliseconds.
    fn by_hand() -> (Clock, Arc<AtomicU64>) {
        let time = Arc::new(AtomicU64::new(0));
        let shown = Arc::clone(&time);
        let clock = Clock::of(move || Duration::from_millis(shown.load(Ordering::Relaxed)));
        (clock, time)
    }

    /// Runs to the end with steps that take so many milliseconds; returns the steps and the time of the end.
    fn run(pace: &mut Pace, time: &AtomicU64, takes: impl Fn(usize) -> u64) -> (usize, u64) {
        let (mut done, mut share) = (0, 0.0);
        while done < pace.steps() {
            time.fetch_add(takes(done), Ordering::Relaxed);
            done += 1;
            pace.advance(done);
            let next = pace.share(done);
            assert!(next >= share && next <= 1.0, "{share} then {next}");
            share = next;
        }
        assert!(
            (share - 1.0).abs() < 1e-9,
            "ends at {share} of the schedule"
        );
        (done, time.load(Ordering::Relaxed))
    }

    #[test]
    fn steps_as_guessed_keep_the_first_plan() {
        let (clock, time) = by_hand();
        let mut pace = Pace::new(&clock, 10.0, 0.1, 1000);
        assert_eq!(run(&mut pace, &time, |_| 100), (100, 10_000));
        assert_eq!(pace.plans().len(), 1);
    }

    #[test]
    fn a_machine_that_becomes_slow_ends_in_time_all_the_same() {
        let (clock, time) = by_hand();
        let mut pace = Pace::new(&clock, 10.0, 0.1, 1000);
        let (steps, end) = run(&mut pace, &time, |done| if done < 40 { 100 } else { 300 });
        assert!((9_000..=10_500).contains(&end), "{end}");
        assert!(steps < 70 && pace.plans().len() > 1);
    }

    #[test]
    fn a_wrong_guess_is_corrected_in_both_directions() {
        for guess in [1.0, 0.01] {
            let (clock, time) = by_hand();
            let mut pace = Pace::new(&clock, 10.0, guess, 1000);
            let (steps, end) = run(&mut pace, &time, |_| 100);
            assert!(
                (7_400..=10_100).contains(&end),
                "guess {guess}: {end} after {steps}"
            );
        }
    }

    #[test]
    fn more_steps_than_wanted_are_not_made() {
        let (clock, time) = by_hand();
        let mut pace = Pace::new(&clock, 1000.0, 0.1, 30);
        assert_eq!(run(&mut pace, &time, |_| 100), (30, 3_000));
    }
}
