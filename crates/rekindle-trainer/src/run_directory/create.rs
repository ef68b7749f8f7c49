//! Begins a run in a folder, or goes on with one.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::BuildHasher;
use std::path::Path;

use super::checkpoint::Checkpoint;
use super::lock::RunLock;
use super::reader::RunDirectory;
use super::record::{self, ClassesRecord, RunRecord};
use super::writer::{Made, RunWriter};
use super::{CLASSES, DATA, FIT, RUN, atomic, data_list};
use crate::error::TrainerError;
use crate::events::{EndReason, Event};
use crate::identity::DataList;

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
        record::write_json(&path.join(CLASSES), classes)?;
        if let Some(data) = data {
            data_list::write(&path.join(DATA), data)?;
        }
        // Last: a folder with a run.json is a run directory.
        record::write_json(&path.join(RUN), &record)?;
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
            path if path.exists() => Err(taken(path)),
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
}

/// Whatever isn't left over from a creation that was killed before `run.json` belongs to somebody.
fn refuse_foreign_files(path: &Path) -> Result<(), TrainerError> {
    let failed = |error| TrainerError::io("read", path, error);
    for entry in fs::read_dir(path).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let is_ours = name == "lock" || name == CLASSES || name == DATA;
        if !is_ours && !atomic::is_temporary(&name) {
            return Err(taken(path));
        }
    }
    Ok(())
}

/// Returns the error of a place where a run is already, or something else.
fn taken(path: &Path) -> TrainerError {
    let is_end = |event: &Event| matches!(event, Event::RunEnded(outcome) if outcome.reason == EndReason::Finished);
    let remark = match RunDirectory::open(path) {
        Err(_) => " and holds no run that could be resumed;",
        Ok(run) if run.record().strategy_name() != FIT => "; resume that run (--resume), or",
        // A search has a time, not epochs that could be more.
        Ok(run) => match run.events().is_ok_and(|events| events.iter().any(is_end)) {
            true => ", a search that is done and can't be resumed;",
            false => "; resume that run (--resume), or",
        },
    };
    TrainerError::RunDirectoryExists {
        path: path.to_path_buf(),
        remark,
    }
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
