//! A run directory to read from.

use std::fs;
use std::path::{Path, PathBuf};

use super::checkpoint::{Checkpoint, Position};
use super::record::{self, ClassesRecord, RunRecord};
use super::{CLASSES, DATA, RUN, data_list, metrics_log};
use crate::error::TrainerError;
use crate::events::Event;
use crate::identity::DataList;
use crate::text;

/// A run directory to read from. Reading needs no lock, also while the run goes on.
#[derive(Debug, Clone)]
pub struct RunDirectory {
    pub(super) path: PathBuf,
    pub(super) record: RunRecord,
}

impl RunDirectory {
    /// Opens a run to read from.
    ///
    /// # Errors
    ///
    /// [`TrainerError::NotARunDirectory`], [`TrainerError::NewerFormat`],
    /// [`TrainerError::DamagedFile`], and those of the file system.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, TrainerError> {
        let path = path.as_ref();
        let not_a_run = |reason: &str| TrainerError::NotARunDirectory {
            path: path.to_path_buf(),
            reason: reason.into(),
        };
        if !path.exists() {
            return Err(not_a_run("there is no such folder"));
        }
        if !path.is_dir() {
            return Err(not_a_run("it is a file"));
        }
        let record =
            record::read_json(&path.join(RUN))?.ok_or_else(|| not_a_run(&holds_no_run(path)))?;
        Ok(Self {
            path: path.to_path_buf(),
            record,
        })
    }

    /// Returns the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the settings of the run.
    pub fn record(&self) -> &RunRecord {
        &self.record
    }

    /// Returns the meaning of the logits.
    ///
    /// # Errors
    ///
    /// [`TrainerError::NotARunDirectory`] without `classes.json`, [`TrainerError::DamagedFile`],
    /// and those of the file system.
    pub fn classes(&self) -> Result<ClassesRecord, TrainerError> {
        record::read_json(&self.path.join(CLASSES))?.ok_or_else(|| TrainerError::NotARunDirectory {
            path: self.path.clone(),
            reason: "it has no classes.json".into(),
        })
    }

    /// Returns the pictures that the run is about; none where it kept no list, as before 0.2, or the list is not that
    /// of the record.
    ///
    /// # Errors
    ///
    /// [`TrainerError::DamagedFile`] names the line that isn't a picture.
    pub fn data_list(&self) -> Result<Option<DataList>, TrainerError> {
        let list = data_list::read(&self.path.join(DATA))?;
        let recorded = self.record.identity();
        Ok(list.filter(|list| Some(list.identity()) == recorded))
    }

    /// Returns the events so far. A torn last line is left out.
    ///
    /// # Errors
    ///
    /// [`TrainerError::DamagedFile`] names the line that isn't an event.
    pub fn events(&self) -> Result<Vec<Event>, TrainerError> {
        metrics_log::read(&self.metrics_path())
    }

    /// Returns all complete checkpoints, oldest first.
    ///
    /// # Errors
    ///
    /// Those of the file system; incomplete checkpoints are left out.
    pub fn checkpoints(&self) -> Result<Vec<Checkpoint>, TrainerError> {
        Checkpoint::list(&self.checkpoints_path())
    }

    /// Returns the complete checkpoint that is furthest on.
    ///
    /// # Errors
    ///
    /// As [`checkpoints`](Self::checkpoints).
    pub fn latest_checkpoint(&self) -> Result<Option<Checkpoint>, TrainerError> {
        Ok(self.checkpoints()?.pop())
    }

    /// Returns the checkpoint of the epoch that the latest one calls the best.
    ///
    /// # Errors
    ///
    /// As [`checkpoints`](Self::checkpoints).
    pub fn best_checkpoint(&self) -> Result<Option<Checkpoint>, TrainerError> {
        let checkpoints = self.checkpoints()?;
        let best = checkpoints.last().and_then(Checkpoint::best_epoch);
        Ok(checkpoints
            .into_iter()
            .find(|checkpoint| Some(checkpoint.position()) == best.map(Position::after_epoch)))
    }

    /// Returns the path of the best weights, whether they exist yet or not. Replace the file with [`atomic_replace`](super::atomic_replace).
    pub fn best_weights_path(&self) -> PathBuf {
        self.path.join("best.safetensors")
    }

    /// Returns the path of the report, whether it exists yet or not.
    pub fn report_path(&self) -> PathBuf {
        self.path.join("report.html")
    }

    /// Returns the path of the events.
    pub fn metrics_path(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// Returns the path of the table of epochs: a line of names, then one line per epoch with losses, accuracies, learning rate,
    /// seconds, images per second and whether the epoch is the best so far. The columns are the same in every run; what was
    /// not measured is empty.
    pub fn metrics_table_path(&self) -> PathBuf {
        self.path.join("metrics.csv")
    }

    pub(super) fn checkpoints_path(&self) -> PathBuf {
        self.path.join("checkpoints")
    }
}

/// Says that a folder is no run, and which runs are inside of it.
fn holds_no_run(path: &Path) -> String {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let mut runs: Vec<String> = entries
        .filter(|entry| entry.path().join(RUN).is_file())
        .map(|entry| rekindle_files::names::escape(entry.file_name()))
        .collect();
    runs.sort();
    match runs.is_empty() {
        true => "it has no run.json".into(),
        false => format!(
            "it has no run.json, but holds the runs {}",
            text::listed(&runs, 10)
        ),
    }
}
