//! A run as a folder: what was asked, what happened, and all that is needed to go on.
//!
//! ```text
//! runs/2026-01-31-ants-bees-7f3a/
//! ├── run.json            what was asked: RunRecord
//! ├── classes.json        what the logits mean: ClassesRecord
//! ├── data.jsonl          the pictures, one per line: DataList
//! ├── metrics.jsonl       one event per line, appended
//! ├── metrics.csv         the figures of each epoch, one per line
//! ├── checkpoints/        epoch-0007/: the last and the best
//! ├── best.safetensors    the best weights
//! ├── report.html         for people
//! └── lock                one process at a time
//! ```
//!
//! A process may be killed at any moment: every file is either appended to line by line or written
//! under a temporary name, synced and renamed.

mod atomic;
mod checkpoint;
mod data_list;
mod images;
mod lock;
mod metrics_csv;
mod metrics_log;
mod record;

pub use atomic::{WriteError, atomic_replace, atomic_write};
pub use checkpoint::{Checkpoint, Position};
pub use record::{ClassesRecord, FIT, FORMAT, ONE_CALL, RunRecord, WeightsRecord};
pub(crate) use record::{one_call, refuse_other_recipe, within_budget};

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};

use crate::error::TrainerError;
use crate::events::Event;
use crate::identity::DataList;
use crate::text;
use lock::RunLock;
use metrics_csv::MetricsCsv;
use metrics_log::MetricsLog;

const DATA: &str = "data.jsonl";

/// A run directory to read from. Reading needs no lock, also while the run goes on.
#[derive(Debug, Clone)]
pub struct RunDirectory {
    path: PathBuf,
    record: RunRecord,
}

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
struct Made {
    /// The run directory where it didn't exist, then its parents, innermost first.
    folders: Vec<PathBuf>,
    /// Begun by this writer, in a folder that was empty.
    is_new: bool,
}

impl RunDirectory {
    /// Begins a run at `path`, which must not exist or be empty; parents are created.
    ///
    /// # Errors
    ///
    /// [`TrainerError::RunDirectoryExists`], [`TrainerError::LockedByAnotherProcess`], and those of
    /// the file system.
    pub fn create(
        path: impl AsRef<Path>,
        record: &RunRecord,
        classes: &ClassesRecord,
    ) -> Result<RunWriter, TrainerError> {
        Self::create_with(path.as_ref(), record.clone(), classes, None)
    }

    /// Begins a run as [`create`](Self::create) that is about the pictures in `data`: they are listed in `data.jsonl`,
    /// and their [identity](DataList::identity) becomes part of the record.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub fn create_about(
        path: impl AsRef<Path>,
        record: &RunRecord,
        classes: &ClassesRecord,
        data: &DataList,
    ) -> Result<RunWriter, TrainerError> {
        let mut record = record.clone();
        record.set_identity(data)?;
        Self::create_with(path.as_ref(), record, classes, Some(data))
    }

    fn create_with(
        path: &Path,
        record: RunRecord,
        classes: &ClassesRecord,
        data: Option<&DataList>,
    ) -> Result<RunWriter, TrainerError> {
        let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
        let made = path.ancestors().take_while(is_missing);
        let made = made.map(Path::to_path_buf).collect();
        fs::create_dir_all(path).map_err(|error| TrainerError::io("create", path, error))?;
        refuse_foreign_files(path)?;
        let lock = RunLock::acquire(path)?;
        // Another process may have created its run between the look and the lock.
        refuse_foreign_files(path)?;
        Checkpoint::sweep(path)?;
        record::write_json(&path.join("classes.json"), classes)?;
        if let Some(data) = data {
            data_list::write(&path.join(DATA), data)?;
        }
        // Last: a folder with a run.json is a run directory.
        record::write_json(&path.join("run.json"), &record)?;
        let directory = Self {
            path: path.to_path_buf(),
            record,
        };
        let made = Made {
            folders: made,
            is_new: true,
        };
        RunWriter::new(directory, lock, made)
    }

    /// Checks that a run can begin at `path`: nothing is there, or nothing that belongs to anybody.
    ///
    /// # Errors
    ///
    /// [`TrainerError::RunDirectoryExists`], and those of the file system.
    pub fn check_new(path: impl AsRef<Path>) -> Result<(), TrainerError> {
        match path.as_ref() {
            path if path.is_dir() => refuse_foreign_files(path),
            path if path.exists() => Err(TrainerError::RunDirectoryExists {
                path: path.to_path_buf(),
            }),
            _ => Ok(()),
        }
    }

    /// Begins a run in a new folder of `parent`, named after the day, the record's title and four
    /// digits that make it unique, as `2026-01-31-ants-bees-7f3a`.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub fn create_under(
        parent: impl AsRef<Path>,
        record: &RunRecord,
        classes: &ClassesRecord,
    ) -> Result<RunWriter, TrainerError> {
        let parent = parent.as_ref();
        let mut attempts = 0;
        loop {
            let digits = RandomState::new().hash_one(attempts) & 0xffff;
            let name = format!("{}-{}-{digits:04x}", record::today(), slug(&record.title));
            match Self::create(parent.join(name), record, classes) {
                Err(
                    TrainerError::RunDirectoryExists { .. }
                    | TrainerError::LockedByAnotherProcess { .. },
                ) if attempts < 64 => attempts += 1,
                result => return result,
            }
        }
    }

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
        let record = record::read_json(&path.join("run.json"))?
            .ok_or_else(|| not_a_run(&holds_no_run(path)))?;
        Ok(Self {
            path: path.to_path_buf(),
            record,
        })
    }

    /// Opens a run to go on with it: takes the lock, sweeps away what a killed process left half
    /// written, and cuts a torn line off `metrics.jsonl`. Then load
    /// [`latest_checkpoint`](Self::latest_checkpoint) and
    /// [`rewind`](RunWriter::rewind) to its position.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and [`TrainerError::LockedByAnotherProcess`].
    pub fn resume(path: impl AsRef<Path>) -> Result<RunWriter, TrainerError> {
        let directory = Self::open(path)?;
        let lock = RunLock::acquire(&directory.path)?;
        Checkpoint::sweep(&directory.path)?;
        Checkpoint::sweep(&directory.checkpoints_path())?;
        RunWriter::new(directory, lock, Made::default())
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
        record::read_json(&self.path.join("classes.json"))?.ok_or_else(|| {
            TrainerError::NotARunDirectory {
                path: self.path.clone(),
                reason: "it has no classes.json".into(),
            }
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

    /// Returns the path of the best weights, whether they exist yet or not. Replace the file with [`atomic_replace`].
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

    fn checkpoints_path(&self) -> PathBuf {
        self.path.join("checkpoints")
    }
}

impl RunWriter {
    fn new(directory: RunDirectory, lock: RunLock, made: Made) -> Result<Self, TrainerError> {
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
        record::write_json(&path.join("classes.json"), classes)?;
        record::write_json(&path.join("run.json"), &record)?;
        self.directory.record = record;
        Ok(())
    }

    /// Replaces `run.json`, such as for a run that is to be longer.
    ///
    /// # Errors
    ///
    /// Those of the file system; the record is then as it was.
    pub fn replace_record(&mut self, record: RunRecord) -> Result<(), TrainerError> {
        record::write_json(&self.path().join("run.json"), &record)?;
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
        record::write_json(&self.path().join("classes.json"), &classes)
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
        record::write_json(&self.path().join("classes.json"), &classes)
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

/// Says that a folder is no run, and which runs are inside of it.
fn holds_no_run(path: &Path) -> String {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let mut runs: Vec<String> = entries
        .filter(|entry| entry.path().join("run.json").is_file())
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

/// Whatever isn't left over from a creation that was killed before `run.json` belongs to somebody.
fn refuse_foreign_files(path: &Path) -> Result<(), TrainerError> {
    let failed = |error| TrainerError::io("read", path, error);
    for entry in fs::read_dir(path).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let is_ours = name == "lock" || name == "classes.json" || name == DATA;
        if !is_ours && !atomic::is_temporary(&name) {
            return Err(TrainerError::RunDirectoryExists {
                path: path.to_path_buf(),
            });
        }
    }
    Ok(())
}

/// Returns a title as part of a file name: lower-case letters and digits with single hyphens between.
fn slug(title: &str) -> String {
    let words: Vec<String> = title
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    let slug: String = words.join("-").chars().take(40).collect();
    match slug.trim_end_matches('-') {
        "" => "run".into(),
        slug => slug.into(),
    }
}
