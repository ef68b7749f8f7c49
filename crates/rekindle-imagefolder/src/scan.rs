//! Walks over a folder: class folders, images at any depth, and what is left out.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use rekindle_files::names::{composed, escape};

use crate::error::Error;
use crate::folder::{Ignored, ScanOptions};
use crate::formats::foreign::{undecoded_format, unlisted_format};
use crate::leftovers::{is_hidden, is_leftover};
use crate::peek::has_extension;

/// One walk over a folder.
pub(crate) struct Scan<'a> {
    options: &'a ScanOptions,
    pub ignored: Vec<Ignored>,
}

impl<'a> Scan<'a> {
    pub fn new(options: &'a ScanOptions) -> Self {
        Self {
            options,
            ignored: Vec::new(),
        }
    }

    /// Returns the direct sub-folders by name, sorted by code point as Python sorts them. A name is escaped where it
    /// is no UTF-8, so that no two folders have the same.
    pub fn class_folders(&mut self, root: &Path) -> Result<BTreeMap<String, PathBuf>, Error> {
        let mut folders = BTreeMap::new();
        for (name, path) in entries(root)? {
            if let Some(reason) = self.left_out(&name) {
                self.ignore(path, reason);
            } else if !path.is_dir() {
                self.ignore(path, "a file beside the class folders");
            } else {
                folders.insert(escape(&name), path);
            }
        }
        refuse_twins(root, folders.keys())?;
        Ok(folders)
    }

    /// Returns every image below `folder`, sorted by its folder's whole path and then by its name.
    pub fn images_below(&mut self, folder: &Path) -> Result<Vec<PathBuf>, Error> {
        let mut by_folder = BTreeMap::new();
        self.walk(folder, &mut Vec::new(), &mut by_folder)?;
        Ok(by_folder.into_values().flatten().collect())
    }

    fn walk(
        &mut self,
        folder: &Path,
        above: &mut Vec<PathBuf>,
        by_folder: &mut BTreeMap<Vec<u8>, Vec<PathBuf>>,
    ) -> Result<(), Error> {
        let real = fs::canonicalize(folder).map_err(|source| Error::Read {
            path: folder.to_path_buf(),
            source,
        })?;
        // A link to a folder that is being walked would lead round in a circle for ever.
        if above.contains(&real) {
            self.ignore(folder.to_path_buf(), "a link back to a folder above it");
            return Ok(());
        }
        above.push(real);
        let mut files = Vec::new();
        for (name, path) in entries(folder)? {
            if let Some(reason) = self.left_out(&name) {
                self.ignore(path, reason);
            } else if path.is_dir() {
                self.walk(&path, above, by_folder)?;
            } else if has_extension(&path, &self.options.extensions) {
                files.push(path);
            } else if let Some(format) = undecoded_format(&path) {
                let reason =
                    format!("{format} pictures are not decoded; convert it to JPEG or PNG");
                self.ignore(path, &reason);
            } else if unlisted_format(&path) == Some("GIF") {
                let reason =
                    "GIF is not taken from folders, as torchvision takes none; convert it to PNG";
                self.ignore(path, reason);
            } else {
                self.ignore(path, "not an image extension");
            }
        }
        above.pop();
        by_folder.insert(folder.as_os_str().as_encoded_bytes().to_vec(), files);
        Ok(())
    }

    /// Returns the reason why nothing of this name is taken; none where it is.
    fn left_out(&self, name: &OsStr) -> Option<&'static str> {
        if !self.options.hidden && is_hidden(name) {
            Some("a hidden name")
        } else if !self.options.leftovers && is_leftover(name) {
            Some("left behind by a system, no part of the data")
        } else {
            None
        }
    }

    /// Returns the formats of pictures that were left out, and how many there are of each.
    pub fn unlisted(&self) -> Vec<(&'static str, usize)> {
        let mut counts = BTreeMap::new();
        let ignored = self.ignored.iter();
        for format in ignored.filter_map(|file| unlisted_format(&file.path)) {
            *counts.entry(format).or_default() += 1;
        }
        counts.into_iter().collect()
    }

    fn ignore(&mut self, path: PathBuf, reason: &str) {
        self.ignored.push(Ignored {
            path,
            reason: reason.to_string(),
        });
    }
}

/// Lists the entries of a folder, sorted by the bytes of their names (UTF-8 sorts as code points do).
fn entries(folder: &Path) -> Result<Vec<(OsString, PathBuf)>, Error> {
    let failed = |source| Error::Read {
        path: folder.to_path_buf(),
        source,
    };
    let mut entries = fs::read_dir(folder)
        .map_err(failed)?
        .map(|entry| entry.map(|entry| (entry.file_name(), entry.path())))
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed)?;
    entries.sort_by(|a, b| a.0.as_encoded_bytes().cmp(b.0.as_encoded_bytes()));
    Ok(entries)
}

/// Refuses names that differ only in how letters and accents are composed: they look the same everywhere.
fn refuse_twins<'a>(root: &Path, names: impl Iterator<Item = &'a String>) -> Result<(), Error> {
    let mut seen: BTreeMap<String, &String> = BTreeMap::new();
    for name in names {
        if let Some(twin) = seen.insert(composed(name), name) {
            return Err(Error::SameSpelling {
                path: root.to_path_buf(),
                names: [twin.clone(), name.clone()],
            });
        }
    }
    Ok(())
}
