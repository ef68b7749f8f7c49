use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::atomic::{self, WriteError};
use super::record::{FORMAT, read_json, write_json};
use crate::error::TrainerError;

/// Progress of a run: finished epochs, and batches done of the one that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Position {
    /// Epochs finished.
    pub epochs: usize,
    /// Training batches done of the epoch after those; 0 between epochs.
    #[serde(default)]
    pub batches: usize,
}

/// A complete checkpoint on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    path: PathBuf,
    manifest: Manifest,
}

/// `checkpoint.json`: written last, it says what must be there for the checkpoint to be whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    format: u64,
    #[serde(flatten)]
    position: Position,
    best_epoch: Option<usize>,
    /// Sizes in bytes, by path inside the folder.
    files: BTreeMap<String, u64>,
}

const MANIFEST: &str = "checkpoint.json";

impl Position {
    /// Returns the position between two epochs.
    pub fn after_epoch(epochs: usize) -> Self {
        Self { epochs, batches: 0 }
    }

    fn folder_name(self) -> String {
        match self.batches {
            0 => format!("epoch-{:04}", self.epochs),
            batches => format!("epoch-{:04}-batch-{batches:05}", self.epochs),
        }
    }
}

impl Checkpoint {
    /// Returns the folder with the files that the run wrote.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns how far the run had come.
    pub fn position(&self) -> Position {
        self.manifest.position
    }

    /// Returns the best epoch at that time.
    pub fn best_epoch(&self) -> Option<usize> {
        self.manifest.best_epoch
    }

    /// Fills a folder under a temporary name, makes sure that it is on the disk, and only then
    /// gives it its name.
    pub(super) fn save(
        folder: &Path,
        position: Position,
        best_epoch: Option<usize>,
        write: impl FnOnce(&Path) -> Result<(), WriteError>,
    ) -> Result<Self, TrainerError> {
        let path = folder.join(position.folder_name());
        let temporary = atomic::temporary_beside(&path);
        let result = fill(&temporary, position, best_epoch, write)
            .and_then(|manifest| {
                replace_folder(&temporary, &path)
                    .map_err(|error| TrainerError::io("write", &path, error))?;
                Ok(manifest)
            })
            .map_err(|error| named(error, &path));
        match result {
            Ok(manifest) => Ok(Self { path, manifest }),
            Err(error) => {
                // The first error is the one to report; a leftover is swept away on resume.
                let _ = fs::remove_dir_all(&temporary);
                Err(error)
            }
        }
    }

    /// Lists all complete checkpoints, oldest first. Folders with a temporary name, without a manifest, or whose
    /// files are missing or cut short, don't count.
    pub(super) fn list(folder: &Path) -> Result<Vec<Self>, TrainerError> {
        let mut checkpoints = Vec::new();
        for path in subfolders(folder)? {
            if let Some(checkpoint) = Self::read(&path)? {
                checkpoints.push(checkpoint);
            }
        }
        checkpoints.sort_by_key(Checkpoint::position);
        Ok(checkpoints)
    }

    fn read(path: &Path) -> Result<Option<Self>, TrainerError> {
        let manifest: Manifest = match read_json(&path.join(MANIFEST)) {
            Ok(Some(manifest)) => manifest,
            Ok(None) | Err(TrainerError::DamagedFile { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let whole = manifest.files.iter().all(|(name, &size)| {
            fs::metadata(path.join(name)).is_ok_and(|file| file.is_file() && file.len() == size)
        });
        let checkpoint = Self {
            path: path.to_path_buf(),
            manifest,
        };
        Ok(whole.then_some(checkpoint))
    }

    /// Removes every checkpoint, whole or not, but those to keep.
    pub(super) fn prune(folder: &Path, keep: &[&Path]) -> Result<(), TrainerError> {
        for path in subfolders(folder)? {
            if !keep.contains(&path.as_path()) {
                remove_folder(&path).map_err(|error| TrainerError::io("remove", &path, error))?;
            }
        }
        Ok(())
    }

    /// Removes what a killed process left half written.
    pub(super) fn sweep(folder: &Path) -> Result<(), TrainerError> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(TrainerError::io("read", folder, error)),
        };
        for entry in entries {
            let path = entry
                .map_err(|error| TrainerError::io("read", folder, error))?
                .path();
            if path.file_name().is_some_and(atomic::is_temporary) {
                let removed = if path.is_dir() {
                    fs::remove_dir_all(&path)
                } else {
                    fs::remove_file(&path)
                };
                removed.map_err(|error| TrainerError::io("remove", &path, error))?;
            }
        }
        Ok(())
    }
}

fn fill(
    temporary: &Path,
    position: Position,
    best_epoch: Option<usize>,
    write: impl FnOnce(&Path) -> Result<(), WriteError>,
) -> Result<Manifest, TrainerError> {
    fs::create_dir_all(temporary).map_err(|error| TrainerError::io("create", temporary, error))?;
    write(temporary).map_err(|error| TrainerError::writer(temporary, error))?;
    let mut files = BTreeMap::new();
    sync_tree(temporary, "", &mut files)
        .map_err(|error| TrainerError::io("write", temporary, error))?;
    let manifest = Manifest {
        format: FORMAT,
        position,
        best_epoch,
        files,
    };
    write_json(&temporary.join(MANIFEST), &manifest)?;
    Ok(manifest)
}

fn sync_tree(folder: &Path, prefix: &str, files: &mut BTreeMap<String, u64>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!(
            "{prefix}{}",
            rekindle_files::names::escape(entry.file_name())
        );
        if entry.file_type()?.is_dir() {
            sync_tree(&entry.path(), &format!("{name}/"), files)?;
        } else {
            atomic::sync_file(&entry.path())?;
            files.insert(name, entry.metadata()?.len());
        }
    }
    atomic::sync_folder(folder)
}

/// Renames a folder to a name that may be taken. No system replaces a filled folder in one step,
/// so the old one steps aside first.
fn replace_folder(from: &Path, to: &Path) -> io::Result<()> {
    let aside = atomic::temporary_beside(to);
    let replaced = to.exists();
    if replaced {
        fs::rename(to, &aside)?;
    }
    fs::rename(from, to)?;
    atomic::sync_folder_of(to)?;
    if replaced {
        fs::remove_dir_all(aside)?;
    }
    Ok(())
}

/// Removes a folder so that a crash half-way leaves nothing that looks whole.
fn remove_folder(path: &Path) -> io::Result<()> {
    let aside = atomic::temporary_beside(path);
    fs::rename(path, &aside)?;
    fs::remove_dir_all(aside)
}

/// Folders with a final name.
fn subfolders(folder: &Path) -> Result<Vec<PathBuf>, TrainerError> {
    let failed = |error| TrainerError::io("read", folder, error);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() && !atomic::is_temporary(&entry.file_name())
        {
            paths.push(entry.path());
        }
    }
    Ok(paths)
}

/// Speaks of the checkpoint rather than of its temporary folder.
fn named(error: TrainerError, path: &Path) -> TrainerError {
    let path = path.to_path_buf();
    match error {
        TrainerError::DiskFull { .. } => TrainerError::DiskFull { path },
        TrainerError::NotWritable { source, .. } => TrainerError::NotWritable { path, source },
        TrainerError::Io { action, source, .. } => TrainerError::Io {
            action,
            path,
            source,
        },
        TrainerError::Writer { source, .. } => TrainerError::Writer { path, source },
        other => other,
    }
}
