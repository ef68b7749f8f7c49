//! Drawings as an image folder on disk.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::{DrawingTask, Split};

/// Reason why drawings could not be written.
#[derive(Debug, thiserror::Error)]
pub enum DrawingsError {
    /// A folder could not be made or listed.
    #[error("cannot make the folder {path}: {source}; choose another one that can be written to")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Error of the system.
        source: std::io::Error,
    },
    /// A picture could not be written.
    #[error("cannot write the picture {path}: {source}")]
    Picture {
        /// The file.
        path: PathBuf,
        /// Error of the encoder or of the system.
        source: image::ImageError,
    },
    /// The folder holds something that does not belong to the drawings asked for.
    #[error("{path} is none of the drawings to be written; remove it, or choose an empty folder")]
    ForeignFile {
        /// The first such file.
        path: PathBuf,
    },
}

pub(super) fn write<T: DrawingTask + Sync>(
    task: &T,
    dir: &Path,
    splits: [(Split, usize); 2],
    seed: u64,
) -> Result<(), DrawingsError> {
    for (split, count) in splits {
        let split_dir = dir.join(split.folder());
        let classes = task.class_names();
        make_folder(&split_dir, |name| {
            classes.iter().any(|class| name == *class)
        })?;
        let names: HashSet<OsString> = (0..count).map(|index| file_name(index).into()).collect();
        for (class, class_name) in classes.iter().enumerate() {
            let class_dir = split_dir.join(class_name);
            make_folder(&class_dir, |name| names.contains(name))?;
            (0..count).into_par_iter().try_for_each(|index| {
                let path = class_dir.join(file_name(index));
                let picture = task.draw(class, split, index, seed);
                picture
                    .save(&path)
                    .map_err(|source| DrawingsError::Picture { path, source })
            })?;
        }
    }
    Ok(())
}

fn file_name(index: usize) -> String {
    format!("{index:04}.png")
}

/// Makes `dir` and checks that all it holds belongs there.
fn make_folder(dir: &Path, belongs: impl Fn(&OsStr) -> bool) -> Result<(), DrawingsError> {
    let failed = |source| DrawingsError::Folder {
        path: dir.to_owned(),
        source,
    };
    fs::create_dir_all(dir).map_err(failed)?;
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !belongs(&entry.file_name()) {
            return Err(DrawingsError::ForeignFile { path: entry.path() });
        }
    }
    Ok(())
}
