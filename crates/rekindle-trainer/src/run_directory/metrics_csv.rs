//! `metrics.csv`: the figures of each epoch as a table, made of `metrics.jsonl`.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::atomic::atomic_write;
use super::metrics_log::read_what_can_be;
use crate::error::TrainerError;
use crate::events::{EpochMetrics, Event};

/// Figures of [`Event::Measured`], which have columns of their own; empty where there are none.
const FIGURES: [&str; 7] = [
    "mean_average_precision",
    "micro_f1",
    "macro_f1",
    "mae",
    "rmse",
    "r2",
    "quadratic_weighted_kappa",
];

/// The columns of every run, whatever its task.
const COLUMNS: &str = "epoch,train_loss,train_accuracy,valid_loss,valid_accuracy,learning_rate,train_seconds,\
                       valid_seconds,images_per_second,best,mean_average_precision,micro_f1,macro_f1,mae,rmse,r2,\
                       quadratic_weighted_kappa";

/// The table of a run, of which each line is an epoch.
#[derive(Debug)]
pub(super) struct MetricsCsv {
    path: PathBuf,
    /// Figures of the epoch that hasn't ended.
    figures: BTreeMap<String, f64>,
}

impl MetricsCsv {
    /// Writes the table of the events in the log so far, whatever was there.
    pub(super) fn create(path: &Path, log: &Path) -> Result<Self, TrainerError> {
        let mut table = Self {
            path: path.to_path_buf(),
            figures: BTreeMap::new(),
        };
        let mut rows: BTreeMap<usize, String> = BTreeMap::new();
        for event in read_what_can_be(log)? {
            if let Some((epoch, row)) = table.row_of(&event) {
                // An epoch that a killed process began again counts once, as the last.
                rows.insert(epoch, row);
            }
        }
        atomic_write(path, |file| {
            writeln!(file, "{COLUMNS}")?;
            for row in rows.values() {
                writeln!(file, "{row}")?;
            }
            Ok(())
        })?;
        Ok(table)
    }

    /// Appends the line of an epoch that ends.
    pub(super) fn append(&mut self, event: &Event) -> Result<(), TrainerError> {
        let Some((_, row)) = self.row_of(event) else {
            return Ok(());
        };
        let failed = |error| TrainerError::io("write", &self.path, error);
        let mut file = OpenOptions::new()
            .append(true)
            .open(&self.path)
            .map_err(failed)?;
        file.write_all(format!("{row}\n").as_bytes())
            .map_err(failed)
    }

    /// The number and the line of an epoch, if the event ends one.
    fn row_of(&mut self, event: &Event) -> Option<(usize, String)> {
        match event {
            Event::EpochStarted { .. } => self.figures.clear(),
            Event::Measured { figures, .. } => self.figures = figures.clone(),
            Event::EpochEnded { metrics } => {
                return Some((metrics.epoch, row(metrics, &self.figures)));
            }
            _ => {}
        }
        None
    }
}

fn row(metrics: &EpochMetrics, figures: &BTreeMap<String, f64>) -> String {
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    let measured = [
        Some(metrics.train_loss),
        Some(metrics.train_accuracy),
        metrics.valid_loss,
        metrics.valid_accuracy,
        Some(metrics.learning_rate),
        Some(metrics.train_seconds),
        Some(metrics.valid_seconds),
        Some(metrics.images_per_second),
    ];
    let mut cells = vec![metrics.epoch.to_string()];
    cells.extend(measured.map(number));
    cells.push(metrics.best.to_string());
    cells.extend(FIGURES.map(|name| number(figures.get(name).copied())));
    cells.join(",")
}
