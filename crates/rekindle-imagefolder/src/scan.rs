//! A walk over a folder: class folders, images at any depth, and what is left out.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::folder::{Ignored, ScanOptions};

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

    /// The direct sub-folders by name, sorted by code point as Python sorts them.
    pub fn class_folders(&mut self, root: &Path) -> Result<BTreeMap<String, PathBuf>, Error> {
        let mut folders = BTreeMap::new();
        for (name, path) in entries(root)? {
            if !path.is_dir() {
                self.ignore(path, "a file beside the class folders");
            } else if self.is_hidden(&name) {
                self.ignore(path, "a hidden folder");
            } else {
                folders.insert(name.to_string_lossy().into_owned(), path);
            }
        }
        Ok(folders)
    }

    /// Every image below `folder`, sorted by its folder's whole path and then by its name.
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
            if self.is_hidden(&name) {
                self.ignore(path, "a hidden name");
            } else if path.is_dir() {
                self.walk(&path, above, by_folder)?;
            } else if self.has_extension(&path) {
                files.push(path);
            } else {
                self.ignore(path, "not an image extension");
            }
        }
        above.pop();
        by_folder.insert(folder.as_os_str().as_encoded_bytes().to_vec(), files);
        Ok(())
    }

    fn has_extension(&self, path: &Path) -> bool {
        let Some(extension) = path.extension() else {
            return false;
        };
        let extension = extension.to_string_lossy();
        self.options
            .extensions
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known))
    }

    fn is_hidden(&self, name: &OsString) -> bool {
        !self.options.hidden && name.as_encoded_bytes().starts_with(b".")
    }

    fn ignore(&mut self, path: PathBuf, reason: &str) {
        self.ignored.push(Ignored {
            path,
            reason: reason.to_string(),
        });
    }
}

/// The entries of a folder, sorted by the bytes of their names (UTF-8 sorts as code points do).
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
