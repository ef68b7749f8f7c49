//! Looks into folders, and reads no more of them than an answer needs.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use rekindle_files::names::escape;

use crate::folder::EXTENSIONS;
use crate::leftovers::{is_hidden, is_leftover};

/// Direct contents of a folder, without what systems leave behind.
#[derive(Debug, Default)]
pub(crate) struct Peek {
    /// Sub-folders, sorted by name.
    pub folders: Vec<PathBuf>,
    /// Files with the extension of a picture.
    pub pictures: usize,
}

impl Peek {
    /// Reads the folder's entries; one that can't be read has none.
    pub fn into(folder: &Path) -> Self {
        let mut found = Self::default();
        for path in entries(folder) {
            if path.is_dir() {
                found.folders.push(path);
            } else if is_picture(&path) {
                found.pictures += 1;
            }
        }
        found.folders.sort();
        found
    }

    /// Returns the sub-folders that hold a picture at any depth.
    pub fn with_pictures(&self) -> Vec<&Path> {
        let folders = self.folders.iter().map(PathBuf::as_path);
        folders.filter(|folder| holds_picture(folder)).collect()
    }
}

/// Returns the last part of a path as text.
pub(crate) fn name(path: &Path) -> String {
    escape(path.file_name().unwrap_or(path.as_os_str()))
}

/// Returns the names of paths as text.
pub(crate) fn names<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Vec<String> {
    paths.into_iter().map(|path| name(path.as_ref())).collect()
}

/// Returns true if there is a picture at any depth; the search ends at the first.
pub(crate) fn holds_picture(folder: &Path) -> bool {
    search(folder, &mut HashSet::new())
}

/// Returns true if some sub-folder holds a picture.
pub(crate) fn holds_class_folders(folder: &Path) -> bool {
    Peek::into(folder)
        .folders
        .iter()
        .any(|folder| holds_picture(folder))
}

fn search(folder: &Path, seen: &mut HashSet<PathBuf>) -> bool {
    // Links may lead round in circles.
    let Ok(real) = fs::canonicalize(folder) else {
        return false;
    };
    if !seen.insert(real) {
        return false;
    }
    let mut below = Vec::new();
    for path in entries(folder) {
        if path.is_dir() {
            below.push(path);
        } else if is_picture(&path) {
            return true;
        }
    }
    below.iter().any(|folder| search(folder, seen))
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter(|entry| !is_hidden(&entry.file_name()) && !is_leftover(&entry.file_name()))
        .map(|entry| entry.path())
}

fn is_picture(path: &Path) -> bool {
    has_extension(path, &EXTENSIONS)
}

/// Returns true if a file's name ends in one of the extensions, in upper or lower case.
pub(crate) fn has_extension<S: AsRef<str>>(path: &Path, extensions: &[S]) -> bool {
    path.extension().is_some_and(|found| {
        let mut known = extensions.iter().map(AsRef::as_ref);
        known.any(|known| found.eq_ignore_ascii_case(known))
    })
}
