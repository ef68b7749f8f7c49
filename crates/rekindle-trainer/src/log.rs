use std::collections::HashSet;
use std::path::PathBuf;

use rekindle_imagefolder::Task;

use crate::early_stopping::Monitor;
use crate::events::{
    EndReason, EpochMetrics, Event, Forecast, RunOutcome, RunSummary, StageSummary, Trial,
};
use crate::run_directory::FIT;
use crate::text;
use rekindle_files::names::{printable, show};

/// A run as lines of text.
#[derive(Debug, Default)]
pub(crate) struct Log {
    epochs: usize,
    /// Skipped files since the last other event, and all of this run: one that is met again in
    /// every epoch is told once.
    skipped: usize,
    skipped_before: HashSet<PathBuf>,
    best: Option<(usize, Monitor, f64)>,
    forecast: Option<Forecast>,
    /// True if the run keeps to a budget of time, and so isn't resumed.
    is_timed: bool,
}

/// Skipped files told one by one; the others are only counted.
const SKIPPED_SHOWN: usize = 5;

impl Log {
    /// Returns the lines that tell `event`; none for most.
    pub(crate) fn lines(&mut self, event: &Event) -> Vec<String> {
        let mut lines = Vec::new();
        if !matches!(event, Event::SkippedFile { .. }) {
            lines.extend(self.unlisted_skipped());
        }
        match event {
            Event::RunStarted(run) => {
                self.epochs = run.epochs;
                self.is_timed = run.strategy == FIT;
                lines.extend(run_started(run));
            }
            Event::SkippedFile { path, .. } if !self.skipped_before.insert(path.clone()) => {}
            Event::SkippedFile { path, reason } => {
                self.skipped += 1;
                if self.skipped <= SKIPPED_SHOWN {
                    let reason = text::reason_alone(path, reason);
                    lines.push(format!("skipped {}: {}", show(path), printable(reason)));
                }
            }
            Event::PhaseEnded { name, seconds } => {
                lines.push(format!("{name}: done in {}", text::duration(*seconds)));
            }
            Event::StageStarted(stage) => lines.push(stage_started(stage)),
            Event::BestImproved {
                epoch,
                monitor,
                value,
                ..
            } => self.best = Some((*epoch, *monitor, *value)),
            Event::EpochEnded { metrics } => lines.push(epoch_ended(metrics)),
            Event::Note { message } => lines.push(printable(message)),
            Event::Tried(trial) => lines.push(tried(trial)),
            Event::Forecast(forecast) => {
                self.forecast = Some(*forecast);
                lines.push(format!(
                    "forecast: {} of {} will be named right, between {} and {} with 95 % probability",
                    text::percent(forecast.accuracy),
                    text::counted(forecast.images, "validation image", "validation images"),
                    text::percent(forecast.low),
                    text::percent(forecast.high)
                ));
            }
            Event::Validated { accuracy, .. } => {
                lines.extend(self.forecast.take().map(|forecast| {
                    let is_held = (forecast.low..=forecast.high).contains(accuracy);
                    let held = if is_held { "as" } else { "not as" };
                    format!("came true: {}, {held} forecast", text::percent(*accuracy))
                }));
            }
            // Those of numbers and of classes in an order stand in the epoch's own line.
            Event::Measured { figures, .. } if !figures.contains_key("mae") => {
                let figures: Vec<String> = figures
                    .iter()
                    .map(|(name, value)| format!("{} {value:.3}", name.replace('_', " ")))
                    .collect();
                lines.push(figures.join(", "));
            }
            Event::Warning { message } => {
                lines.push(format!("warning: {}", printable(message)));
            }
            Event::RunEnded(outcome) => lines.extend(self.run_ended(outcome)),
            _ => {}
        }
        lines
    }

    fn unlisted_skipped(&mut self) -> Option<String> {
        let unlisted = self.skipped.saturating_sub(SKIPPED_SHOWN);
        self.skipped = 0;
        (unlisted > 0).then(|| {
            format!(
                "skipped {}",
                text::counted(unlisted, "more file", "more files")
            )
        })
    }

    fn run_ended(&self, outcome: &RunOutcome) -> Vec<String> {
        let took = text::duration(outcome.seconds);
        let epochs = text::counted(outcome.epochs, "epoch", "epochs");
        let mut lines = vec![match outcome.reason {
            EndReason::Finished => format!("finished {epochs} in {took}"),
            EndReason::EarlyStopping => {
                let since = self.best.map_or_else(String::new, |(epoch, monitor, _)| {
                    format!(": {} hasn't improved since epoch {epoch}", monitor.name())
                });
                format!("stopped early after {epochs} and {took}{since}")
            }
            EndReason::Interrupted => {
                let done = match self.epochs {
                    0 => epochs,
                    all => format!(
                        "{} of {}",
                        outcome.epochs,
                        text::counted(all, "epoch", "epochs")
                    ),
                };
                format!("interrupted after {done} and {took}")
            }
            EndReason::Diverged => format!(
                "stopped after {epochs} and {took}: the loss is no longer a number; try a \
                 lower learning rate or gradient clipping"
            ),
            EndReason::Failed => format!("stopped after {epochs} and {took} by an error"),
        }];
        let last = outcome.last_accuracy.map_or_else(String::new, |last| {
            format!("; last {}", text::percent(last))
        });
        if let (Some(best), Some(epoch)) = (outcome.best_accuracy, outcome.best_epoch) {
            lines.push(format!(
                "  best accuracy  {} at epoch {epoch}{last}",
                text::percent(best)
            ));
        }
        if let Some((epoch, monitor @ (Monitor::Mae | Monitor::Rmse), value)) = self.best {
            lines.push(format!(
                "  {:<15}{} at epoch {epoch}",
                format!("best {}", monitor.name()),
                text::figure(value)
            ));
        }
        match &outcome.best_weights {
            Some(weights) => lines.push(format!("  best weights   {}", show(weights))),
            None if outcome.epochs == 0
                && outcome.reason == EndReason::Interrupted
                && outcome.directory.is_some() =>
            {
                lines.push("  best weights   none yet, since no epoch is finished".into());
            }
            None => {}
        }
        if let Some(directory) = &outcome.directory {
            let hint = match outcome.reason {
                EndReason::Interrupted | EndReason::Failed if !self.is_timed => {
                    " (resume it to go on)"
                }
                _ => "",
            };
            lines.push(format!("  run directory  {}{hint}", show(directory)));
        }
        lines
    }
}

fn run_started(run: &RunSummary) -> Vec<String> {
    let mut lines = vec![format!(
        "{}: {} with {}, weights {}",
        printable(&run.title),
        run.strategy,
        run.architecture,
        printable(&run.weights)
    )];
    lines.push(match run.task {
        Task::Regression => format!("  number         {}", text::listed(&run.classes, 1)),
        _ => format!("  classes        {}", class_list(&run.classes)),
    });
    lines.push(format!(
        "  images         {} for training, {} for validation, {} per batch",
        text::count(run.train_images),
        text::count(run.valid_images),
        text::count(run.batch_size)
    ));
    lines.push(format!(
        "  parameters     {}: {} trained, {} frozen",
        text::count(run.parameters),
        text::count(run.trainable_parameters),
        text::count(run.frozen_parameters())
    ));
    lines.push(format!(
        "  device         {}, seed {}",
        run.device, run.seed
    ));
    if let Some(directory) = &run.directory {
        lines.push(format!("  run directory  {}", show(directory)));
    }
    match run.resumed_after_epoch {
        Some(done) => lines.push(format!(
            "  epochs         {}, resumed after epoch {done}",
            run.epochs
        )),
        None => lines.push(format!("  epochs         {}", run.epochs)),
    }
    lines
}

fn tried(trial: &Trial) -> String {
    let mut fate = if trial.kept { "kept" } else { "not kept" }.to_string();
    if trial.seconds > 0.0 {
        fate = format!("{} | {fate}", text::duration(trial.seconds));
    }
    if let Some(mae) = trial.mae {
        return format!(
            "tried {} ({}): MAE {} on {}, loss {} | {fate}",
            trial.what,
            trial.why,
            text::figure(mae),
            text::counted(trial.images, "held-out image", "held-out images"),
            trial.loss.map_or_else(|| "-".into(), text::loss),
        );
    }
    let Some(accuracy) = trial.accuracy else {
        return format!(
            "tried {} ({}): no image to measure it on",
            trial.what, trial.why
        );
    };
    let gain = trial
        .gain
        .map_or_else(String::new, |gain| format!(", {:+.1} points", 100.0 * gain));
    format!(
        "tried {} ({}): {} of {} right, loss {}{gain} | {fate}",
        trial.what,
        trial.why,
        text::percent(accuracy),
        text::counted(trial.images, "held-out image", "held-out images"),
        trial.loss.map_or_else(|| "-".into(), text::loss),
    )
}

fn class_list(classes: &[String]) -> String {
    const SHOWN: usize = 6;
    format!("{}: {}", classes.len(), text::listed(classes, SHOWN))
}

fn stage_started(stage: &StageSummary) -> String {
    let trained: Vec<&str> = stage
        .parts
        .iter()
        .filter(|part| part.trainable > 0)
        .map(|part| part.name.as_str())
        .collect();
    format!(
        "{}, {}: trains {} of {} parameters ({})",
        match stage.first_epoch == stage.last_epoch {
            true => format!("epoch {}", stage.first_epoch),
            false => format!("epochs {} to {}", stage.first_epoch, stage.last_epoch),
        },
        stage.name,
        text::count(stage.trainable_parameters()),
        text::count(stage.parameters()),
        trained.join(", ")
    )
}

fn epoch_ended(metrics: &EpochMetrics) -> String {
    let width = metrics.epochs.to_string().len();
    let accuracy = |share: f64| match share.is_nan() {
        true => String::new(),
        false => format!(" acc {:>7}", text::percent(share)),
    };
    let figures = || {
        let figure = |name: &str| metrics.figures.get(name).copied();
        let mae =
            figure("mae").map_or_else(String::new, |mae| format!(" MAE {}", text::figure(mae)));
        let r2 = figure("r2").map_or_else(String::new, |r2| format!(" R2 {r2:.3}"));
        let kappa = figure("quadratic_weighted_kappa");
        mae + &r2 + &kappa.map_or_else(String::new, |kappa| format!(" kappa {kappa:.3}"))
    };
    let valid = match (metrics.valid_loss, metrics.valid_accuracy) {
        (Some(loss), share) => format!(
            " | valid loss {:>6}{}{}",
            text::loss(loss),
            share.map_or_else(String::new, accuracy),
            figures()
        ),
        _ => String::new(),
    };
    format!(
        "epoch {:>width$}/{} | train loss {:>6}{}{valid} | lr {:<6} | {}, {:.1} img/s{}",
        metrics.epoch,
        metrics.epochs,
        text::loss(metrics.train_loss),
        accuracy(metrics.train_accuracy),
        text::rate(metrics.learning_rate),
        text::duration(metrics.train_seconds + metrics.valid_seconds),
        metrics.images_per_second,
        if metrics.best { " | best" } else { "" },
    )
}
