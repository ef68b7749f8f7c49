//! Places for results, looked at before the work begins: an hour of training must not end in a name that is taken.

use std::path::{Path, PathBuf};

use rekindle::files::names::show;
use rekindle::imagefolder;

use crate::failure::Failure;

/// Checks that there is a folder of images, before weights are read or even downloaded for it.
pub fn images(data: &Path) -> Result<(), Failure> {
    match data.is_dir() {
        true => Ok(()),
        false => Err(imagefolder::Error::FolderNotFound {
            path: data.to_path_buf(),
        }
        .into()),
    }
}

/// Checks that a file can be written at `path`; one that is there already will be replaced.
pub fn file(path: &Path) -> Result<(), Failure> {
    if path.is_dir() {
        return Err(Failure::Usage(format!(
            "{} is a folder; give the name of the file to write",
            show(path)
        )));
    }
    let folder = match path.parent() {
        None => path,
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
    };
    if !folder.is_dir() {
        return Err(Failure::Usage(format!(
            "cannot write {}: there is no folder {}; create it first",
            show(path),
            show(folder)
        )));
    }
    writable(folder, path)
}

/// Checks that files can be written into the folder `path`, which need not exist.
pub fn folder(path: &Path) -> Result<(), Failure> {
    let existing = existing(path);
    if existing.is_dir() {
        return writable(&existing, path);
    }
    Err(Failure::Usage(format!(
        "cannot write into {}: {} is a file; choose another folder",
        show(path),
        show(existing)
    )))
}

/// Checks that `path` lies outside of the images in `data`, where a later run could take it for images.
pub fn outside(option: &str, path: &Path, data: &Path) -> Result<(), Failure> {
    let Ok(data_folder) = data.canonicalize() else {
        return Ok(()); // Reading the images says what is wrong with the folder.
    };
    let place = existing(path);
    let rest = path.strip_prefix(&place).unwrap_or(Path::new(""));
    let place = place.canonicalize().unwrap_or(place).join(rest);
    if !place.starts_with(&data_folder) {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "{option} {} lies inside of the images' folder {}, where it could be taken for images; choose a place outside",
        show(path),
        show(data)
    )))
}

/// Checks that two options don't name the same file.
pub fn different(what: &str, path: &Path, other: &Path) -> Result<(), Failure> {
    match (path.canonicalize(), other.canonicalize()) {
        (Ok(a), Ok(b)) if a == b => Err(Failure::Usage(format!(
            "{} is {what}, and would be replaced; choose another name",
            show(path)
        ))),
        _ => Ok(()),
    }
}

/// Returns `path`, or the nearest folder above it that exists.
fn existing(path: &Path) -> PathBuf {
    let found = path
        .ancestors()
        .find(|place| !place.as_os_str().is_empty() && place.exists());
    found.unwrap_or(Path::new(".")).to_path_buf()
}

/// Asks the system by creating a file that is gone at once.
fn writable(folder: &Path, path: &Path) -> Result<(), Failure> {
    match tempfile::tempfile_in(folder) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::Unwritable {
            path: show(path),
            reason: format!("{error}; choose a place that this user may write to"),
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn places_that_cannot_take_a_file_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("taken"), "").unwrap();
        assert!(file(&at("new.onnx")).is_ok() && file(&at("taken")).is_ok());
        assert!(file(folder.path()).is_err() && file(&at("none/new.onnx")).is_err());
        assert!(self::folder(&at("a/b/c")).is_ok() && self::folder(folder.path()).is_ok());
        assert!(self::folder(&at("taken/a")).is_err());
        // Nothing is left behind by looking.
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
        assert!(different("the input", &at("taken"), &at("taken")).is_err());
        assert!(different("the input", &at("taken"), &at("other")).is_ok());
    }

    #[test]
    fn results_inside_of_the_images_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir_all(data.join("ants")).unwrap();
        for inside in ["runs", "ants/runs/a", "", "../data/runs"] {
            assert!(
                outside("--out", &data.join(inside), &data).is_err(),
                "{inside}"
            );
        }
        for outside_of in ["../runs", "../data-2/runs"] {
            assert!(
                outside("--out", &data.join(outside_of), &data).is_ok(),
                "{outside_of}"
            );
        }
    }
}
