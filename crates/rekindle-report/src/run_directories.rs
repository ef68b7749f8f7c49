//! Finds runs below folders.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use rekindle_trainer::{RunDirectory, TrainerError};

/// Lists the run directories among `paths`, and those at any depth inside the others, sorted by name. Inside of a run none is
/// looked for.
///
/// # Errors
///
/// [`TrainerError::NotARunDirectory`] for a folder that is none and holds none.
pub fn run_directories(paths: &[PathBuf]) -> Result<Vec<PathBuf>, TrainerError> {
    let mut found = Vec::new();
    for path in paths {
        let before = found.len();
        search(path, &mut HashSet::new(), &mut found);
        if found.len() > before {
            continue;
        }
        if path.is_dir() {
            std::fs::read_dir(path).map_err(|error| TrainerError::io("read", path, error))?;
            // Says what is missing.
            RunDirectory::open(path)?;
        }
        found.push(path.clone());
    }
    Ok(found)
}

fn search(folder: &Path, seen: &mut HashSet<PathBuf>, found: &mut Vec<PathBuf>) {
    // Links may lead round in circles.
    let Ok(real) = folder.canonicalize() else {
        return;
    };
    if !seen.insert(real) {
        return;
    }
    if folder.join("run.json").is_file() {
        found.push(folder.to_path_buf());
        return;
    }
    let entries = folder.read_dir().into_iter().flatten().flatten();
    let mut inside: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    inside.sort();
    for path in inside.iter().filter(|path| path.is_dir()) {
        search(path, seen, found);
    }
}
