//! The figures of a run, from its events.

use std::path::Path;

use crate::contents::{PhaseTime, RunReport, SkippedFile};
use rekindle_imagefolder::Task;
use rekindle_trainer::events::{EpochMetrics, Event};
use rekindle_trainer::metrics::{Evaluation, OrdinalEvaluation};
use rekindle_trainer::run_directory::{FIT, ONE_CALL};

impl RunReport {
    /// Gathers from a run's events what the report tells of it. Of an epoch that a resumed run did
    /// twice the later one counts.
    pub fn from_events(name: impl Into<String>, events: &[Event]) -> Self {
        let mut run = Self {
            name: name.into(),
            ..Self::default()
        };
        for event in events {
            match event {
                Event::RunStarted(summary) => {
                    run.summary = Some(summary.clone());
                    // A resumed run goes on where it once had ended.
                    run.outcome = None;
                }
                Event::StageStarted(stage) => {
                    run.stages
                        .retain(|other| other.first_epoch != stage.first_epoch);
                    run.stages.push(stage.clone());
                }
                Event::EpochEnded { metrics } => {
                    run.epochs.retain(|other| other.epoch < metrics.epoch);
                    run.epochs.push(metrics.clone());
                }
                Event::PhaseEnded { name, seconds } => run.add_phase(name, *seconds),
                Event::SkippedFile { path, reason } => run.skip(path, reason),
                Event::Tried(trial) => run.trials.push(trial.clone()),
                Event::Forecast(forecast) => run.forecast = Some(*forecast),
                Event::RunEnded(outcome) => run.outcome = Some(outcome.clone()),
                _ => {}
            }
        }
        run
    }

    /// Returns the epoch with the best validation accuracy, or of numbers the lowest mean absolute error, the earliest of equal
    /// ones; without validation images there is none.
    pub fn best_epoch(&self) -> Option<&EpochMetrics> {
        let recorded = self.outcome.as_ref().and_then(|outcome| outcome.best_epoch);
        if let Some(epoch) = recorded {
            return self.epochs.iter().find(|metrics| metrics.epoch == epoch);
        }
        // Accuracies are high where they are good, errors low.
        let worth = |metrics: &EpochMetrics| {
            let error = || metrics.figures.get("mae").map(|mae| -mae);
            metrics.valid_accuracy.or_else(error)
        };
        self.epochs
            .iter()
            .filter(|metrics| worth(metrics).is_some_and(f64::is_finite))
            .reduce(|best, next| match worth(next) > worth(best) {
                true => next,
                false => best,
            })
    }

    /// Returns the best accuracy on the validation images, 0 to 1.
    pub fn best_accuracy(&self) -> Option<f64> {
        self.outcome
            .as_ref()
            .and_then(|outcome| outcome.best_accuracy)
            .or_else(|| self.best_epoch().and_then(|epoch| epoch.valid_accuracy))
            .or_else(|| self.evaluation.as_ref().map(|found| found.accuracy))
    }

    /// Tells whether it is a search (`one-call`, `fit`), which chooses on training images that it holds out.
    pub(crate) fn is_search(&self) -> bool {
        let summary = self.summary.as_ref();
        summary.is_some_and(|summary| [ONE_CALL, FIT].contains(&summary.strategy.as_str()))
    }

    /// Returns true if the classes are in an order.
    pub fn is_ordinal(&self) -> bool {
        let summary = self.summary.as_ref();
        self.ordinal.is_some() || summary.is_some_and(|summary| summary.task == Task::Ordinal)
    }

    /// Returns the mean absolute distance of answers and true classes on the validation images, counted in classes, where these
    /// are in an order.
    pub fn mae_of_order(&self) -> Option<f64> {
        self.of_order("mae", |found| Some(found.mae))
    }

    /// Returns the quadratic weighted kappa on the validation images, where the classes are in an order.
    pub fn weighted_kappa(&self) -> Option<f64> {
        self.of_order("quadratic_weighted_kappa", |found| {
            found.quadratic_weighted_kappa
        })
    }

    fn of_order(
        &self,
        name: &str,
        examined: impl Fn(&OrdinalEvaluation) -> Option<f64>,
    ) -> Option<f64> {
        let of_epoch = || self.best_epoch()?.figures.get(name).copied();
        let examined = || self.ordinal.as_ref().and_then(&examined);
        self.is_ordinal().then(|| of_epoch().or_else(examined))?
    }

    /// Returns the mean absolute error of the best weights on the validation images, where numbers are learned.
    pub fn best_mae(&self) -> Option<f64> {
        if self.is_ordinal() {
            return None;
        }
        let of_epoch = self.best_epoch().and_then(|epoch| epoch.figures.get("mae"));
        let examined = self.numbers.as_ref().map(|found| found.evaluation.mae);
        of_epoch.copied().or(examined)
    }

    /// Returns the loss on the validation images in the best epoch: of classes the cross-entropy, in nats; of classes in an order
    /// the squared earth mover's distance.
    pub fn best_loss(&self) -> Option<f64> {
        let of_epoch = self.best_epoch().and_then(|epoch| epoch.valid_loss);
        let examined = || {
            let found = self.evaluation.as_ref().filter(|_| !self.is_ordinal());
            found.map(|found| found.cross_entropy)
        };
        of_epoch.or_else(examined).filter(|loss| loss.is_finite())
    }

    /// Returns the number of validation images that [`best_accuracy`](Self::best_accuracy) was measured on, where that is known.
    pub fn validated_images(&self) -> Option<usize> {
        let of_classes = self.evaluation.as_ref().map(|found| found.samples);
        let of_numbers = self.numbers.as_ref().map(|found| found.evaluation.samples);
        let examined = of_classes.or(of_numbers);
        let announced = self.summary.as_ref().map(|summary| summary.valid_images);
        let images = match self.examined_otherwise() {
            Some(_) => announced,
            None => examined.or(announced),
        };
        images.filter(|images| *images > 0)
    }

    /// Returns what the saved weights were found to be worth, where that isn't what was measured in training: the images may
    /// have changed since.
    pub(crate) fn examined_otherwise(&self) -> Option<&Evaluation> {
        let measured = self.best_accuracy()?;
        let examined = self.evaluation.as_ref()?;
        let images = (examined.accuracy - measured).abs() * examined.samples as f64;
        (images > 0.5).then_some(examined)
    }

    /// Tells whether this run used nothing of the source: the yardstick for the others.
    pub fn is_from_scratch(&self) -> bool {
        match &self.summary {
            Some(summary) if !summary.strategy.is_empty() => summary.strategy == "scratch",
            _ => self.name == "scratch",
        }
    }

    /// Seconds from start to end, or what is known of them.
    pub fn seconds(&self) -> f64 {
        if !self.folds.is_empty() {
            return self.folds.iter().map(|fold| fold.run.seconds()).sum();
        }
        let known: f64 = self.times().iter().map(|phase| phase.seconds).sum();
        self.outcome
            .as_ref()
            .map_or(known, |outcome| outcome.seconds.max(known))
    }

    /// Returns the time by what it was spent on: phases, training, validation.
    pub(crate) fn times(&self) -> Vec<PhaseTime> {
        let mut times = self.phases.clone();
        let epochs = |seconds: fn(&EpochMetrics) -> f64| self.epochs.iter().map(seconds).sum();
        times.push(PhaseTime {
            name: "training".into(),
            seconds: epochs(|epoch| epoch.train_seconds),
        });
        times.push(PhaseTime {
            name: "validation".into(),
            seconds: epochs(|epoch| epoch.valid_seconds),
        });
        times.retain(|time| time.seconds.is_finite() && time.seconds > 0.0);
        times
    }

    /// Every epoch meets a bad file again; it is listed once.
    pub(crate) fn skip(&mut self, path: &Path, reason: &str) {
        if !self.skipped.iter().any(|file| file.path == path) {
            self.skipped.push(SkippedFile {
                path: path.to_path_buf(),
                reason: reason.to_string(),
            });
        }
    }

    fn add_phase(&mut self, name: &str, seconds: f64) {
        match self.phases.iter_mut().find(|phase| phase.name == name) {
            Some(phase) => phase.seconds += seconds,
            None => self.phases.push(PhaseTime {
                name: name.into(),
                seconds,
            }),
        }
    }
}
