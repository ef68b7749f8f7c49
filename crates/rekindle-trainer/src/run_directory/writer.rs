//! A run directory to write to.

use std::fs;
use std::path::{Path, PathBuf};

use super::atomic::WriteError;
use super::checkpoint::{Checkpoint, Position};
use super::lock::RunLock;
use super::metrics_csv::MetricsCsv;
use super::metrics_log::MetricsLog;
use super::reader::RunDirectory;
use super::record::{self, ClassesRecord, RunRecord};
use super::{CLASSES, DATA, RUN, data_list};
use crate::error::TrainerError;
use crate::events::Event;
use crate::identity::DataList;

/// A run directory to write to; holds its lock.
///
/// ```
/// use rekindle_trainer::{Position, RunDirectory, RunRecord, ClassesRecord};
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("run");
/// let classes = ClassesRecord::new(vec!["ants".into(), "bees".into()], Default::default());
/// let run = RunDirectory::create(&path, &RunRecord::new("ants and bees"), &classes)?;
/// run.save_checkpoint(Position::after_epoch(1), Some(1), |folder| {
///     std::fs::write(folder.join("model.safetensors"), b"...")?;
///     Ok(())
/// })?;
/// drop(run);
///
/// let run = RunDirectory::resume(&path)?;
/// let checkpoint = run.directory().latest_checkpoint()?.expect("saved above");
/// assert_eq!(checkpoint.position(), Position::after_epoch(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct RunWriter {
    directory: RunDirectory,
    log: MetricsLog,
    table: MetricsCsv,
    made: Made,
    _lock: RunLock,
}

/// Directories and files that a writer created, to remove them again.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// The run directory where it didn't exist, then its parents, innermost first.
    pub folders: Vec<PathBuf>,
    /// Begun by this writer, in a folder that was empty.
    pub is_new: bool,
}

impl RunWriter {
    pub(super) fn new(
        directory: RunDirectory,
        lock: RunLock,
        made: Made,
    ) -> Result<Self, TrainerError> {
        let folder = directory.checkpoints_path();
        fs::create_dir_all(&folder).map_err(|error| TrainerError::io("create", &folder, error))?;
        let log = MetricsLog::open(&directory.metrics_path())?;
        let table = MetricsCsv::create(&directory.metrics_table_path(), &directory.metrics_path())?;
        Ok(Self {
            directory,
            log,
            table,
            made,
            _lock: lock,
        })
    }

    /// Removes a run that this writer created, with the folders that were made for it: for one that could not begin. A
    /// run that was resumed stays as it is.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn discard(self) -> Result<(), TrainerError> {
        let Self {
            directory,
            log,
            made,
            _lock: lock,
            ..
        } = self;
        drop(log);
        if !made.is_new {
            return Ok(());
        }
        // Windows removes no file that is open.
        drop(lock);
        let path = directory.path();
        let failed = |error| TrainerError::io("remove", path, error);
        for entry in fs::read_dir(path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            match entry.file_type().map_err(failed)?.is_dir() {
                true => fs::remove_dir_all(entry.path()),
                false => fs::remove_file(entry.path()),
            }
            .map_err(failed)?;
        }
        for folder in &made.folders {
            // A parent may hold another run by now.
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Returns the directory, to read from.
    pub fn directory(&self) -> &RunDirectory {
        &self.directory
    }

    /// Returns the folder.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Goes on with other pictures: replaces `data.jsonl`, `classes.json`, and `data` in `run.json` by `description` with
    /// the list's identity.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn replace_data(
        &mut self,
        description: serde_json::Value,
        classes: &ClassesRecord,
        data: &DataList,
    ) -> Result<(), TrainerError> {
        let mut record = self.directory.record.clone();
        record.data = description;
        record.set_identity(data)?;
        let path = self.path().to_path_buf();
        data_list::write(&path.join(DATA), data)?;
        record::write_json(&path.join(CLASSES), classes)?;
        record::write_json(&path.join(RUN), &record)?;
        self.directory.record = record;
        Ok(())
    }

    /// Replaces `run.json`, such as for a run that is to be longer.
    ///
    /// # Errors
    ///
    /// Those of the file system; the record is then as it was.
    pub fn replace_record(&mut self, record: RunRecord) -> Result<(), TrainerError> {
        record::write_json(&self.path().join(RUN), &record)?;
        self.directory.record = record;
        Ok(())
    }

    /// Writes the temperature of the best weights, where they have one, into `classes.json`.
    ///
    /// # Errors
    ///
    /// Those of the file system, and a `classes.json` that is damaged.
    pub fn keep_temperature(&self, temperature: Option<f64>) -> Result<(), TrainerError> {
        let classes = ClassesRecord {
            temperature,
            ..self.directory.classes()?
        };
        record::write_json(&self.path().join(CLASSES), &classes)
    }

    /// Writes the preprocessing of the best weights into `classes.json`, where it is not the one that the run began with.
    ///
    /// # Errors
    ///
    /// As [`keep_temperature`](Self::keep_temperature).
    pub fn keep_preprocessing(&self, preprocessing: serde_json::Value) -> Result<(), TrainerError> {
        let before = self.directory.classes()?;
        if before.preprocessing == preprocessing {
            return Ok(());
        }
        let classes = ClassesRecord {
            preprocessing,
            ..before
        };
        record::write_json(&self.path().join(CLASSES), &classes)
    }

    /// Appends an event to `metrics.jsonl`, and the end of an epoch to `metrics.csv`. Events that only move a progress bar are left out, and
    /// the end of an epoch waits until the disk has it.
    ///
    /// # Errors
    ///
    /// [`TrainerError::DiskFull`] and those of the file system; the file then ends with the event
    /// before.
    pub fn log(&mut self, event: &Event) -> Result<(), TrainerError> {
        match event {
            Event::PhaseAdvanced { .. } | Event::ValidationBatchEnded { .. } => Ok(()),
            Event::EpochEnded { .. } | Event::RunEnded(_) => {
                self.log.append(event)?;
                self.log.sync()?;
                self.table.append(event)
            }
            _ => {
                self.log.append(event)?;
                self.table.append(event)
            }
        }
    }

    /// Saves a checkpoint, then removes all but this one and the best. `write` puts whatever files
    /// it likes into the folder that it is given.
    ///
    /// `best_epoch` is the best epoch so far; its own checkpoint is the one saved at
    /// [`Position::after_epoch`] of that number.
    ///
    /// # Errors
    ///
    /// [`TrainerError::DiskFull`], [`TrainerError::Writer`] with what `write` returned, and those
    /// of the file system. The checkpoints before are then still there.
    pub fn save_checkpoint(
        &self,
        position: Position,
        best_epoch: Option<usize>,
        write: impl FnOnce(&Path) -> Result<(), WriteError>,
    ) -> Result<Checkpoint, TrainerError> {
        let folder = self.directory.checkpoints_path();
        let saved = Checkpoint::save(&folder, position, best_epoch, write)?;
        let best = best_epoch.map(Position::after_epoch);
        let checkpoints = self.directory.checkpoints()?;
        let mut keep = vec![saved.path()];
        keep.extend(
            checkpoints
                .iter()
                .filter(|checkpoint| Some(checkpoint.position()) == best)
                .map(Checkpoint::path),
        );
        Checkpoint::prune(&folder, &keep)?;
        Ok(saved)
    }

    /// Drops from `metrics.jsonl` and `metrics.csv` what happened after `position`, because it will happen again.
    ///
    /// # Errors
    ///
    /// Those of the file system; the file is then as it was.
    pub fn rewind(&mut self, position: Position) -> Result<(), TrainerError> {
        self.log.rewind(position)?;
        let directory = &self.directory;
        self.table =
            MetricsCsv::create(&directory.metrics_table_path(), &directory.metrics_path())?;
        Ok(())
    }
}
