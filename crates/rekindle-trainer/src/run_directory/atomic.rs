//! Files that are either whole or not there.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::TrainerError;

/// Error of a caller's writing function; `?` turns any error into it.
pub type WriteError = Box<dyn std::error::Error + Send + Sync>;

/// Prefix of names that are not yet, or no longer, valid.
pub(super) const TEMPORARY_PREFIX: &str = ".tmp-";

/// Replaces the file at `path` with what `write` writes, or leaves it as it was.
///
/// The bytes go to a temporary name beside `path`, reach the disk, and are then renamed, so that a
/// reader, and whoever comes back after a crash, sees the old file or the new one.
///
/// # Errors
///
/// [`TrainerError::DiskFull`], [`TrainerError::NotWritable`], [`TrainerError::Io`], or
/// [`TrainerError::Writer`] with what `write` returned.
pub fn atomic_write(
    path: impl AsRef<Path>,
    write: impl FnOnce(&mut dyn Write) -> Result<(), WriteError>,
) -> Result<(), TrainerError> {
    atomic_replace(path, |temporary| {
        let mut writer = BufWriter::new(File::create(temporary)?);
        write(&mut writer)?;
        writer.flush()?;
        Ok(())
    })
}

/// Like [`atomic_write`], for writers that want a path: `write` gets a temporary one with the same
/// extension, in the same folder, and creates the file there.
///
/// # Errors
///
/// As [`atomic_write`].
pub fn atomic_replace(
    path: impl AsRef<Path>,
    write: impl FnOnce(&Path) -> Result<(), WriteError>,
) -> Result<(), TrainerError> {
    let path = path.as_ref();
    let temporary = temporary_beside(path);
    let result = write(&temporary)
        .map_err(|error| TrainerError::writer(path, error))
        .and_then(|()| {
            sync_file(&temporary)
                .and_then(|()| fs::rename(&temporary, path))
                .and_then(|()| sync_folder_of(path))
                .map_err(|error| TrainerError::io("write", path, error))
        });
    if result.is_err() {
        // The first error is the one to report; a leftover is swept away on resume.
        let _ = fs::remove_file(&temporary);
    }
    result
}

/// Returns a name in the same folder that no other call uses.
pub(super) fn temporary_beside(path: &Path) -> PathBuf {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let mut name = OsString::from(format!(
        "{TEMPORARY_PREFIX}{}-{number}-",
        std::process::id()
    ));
    name.push(path.file_name().unwrap_or_default());
    path.with_file_name(name)
}

pub(super) fn is_temporary(name: &std::ffi::OsStr) -> bool {
    name.to_string_lossy().starts_with(TEMPORARY_PREFIX)
}

/// Waits until the file's bytes are on the disk.
pub(super) fn sync_file(path: &Path) -> io::Result<()> {
    // Windows flushes only through handles that may write.
    OpenOptions::new().write(true).open(path)?.sync_all()
}

/// Waits until the name of `path` is on the disk.
pub(super) fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => sync_folder(Path::new(".")),
        Some(parent) => sync_folder(parent),
        None => Ok(()),
    }
}

#[cfg(unix)]
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Other systems keep names in order by themselves and don't open folders.
#[cfg(not(unix))]
pub(super) fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_atomic_write_that_fails_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("best.safetensors");
        atomic_write(&path, |file| Ok(file.write_all(b"old")?)).unwrap();
        let failed = atomic_write(&path, |file| {
            file.write_all(b"new")?;
            Err(io::Error::other("cable pulled").into())
        });
        assert!(failed.unwrap_err().to_string().contains("cable pulled"));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        atomic_write(&path, |file| Ok(file.write_all(b"new")?)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn the_temporary_path_keeps_the_extension() {
        let folder = tempfile::tempdir().unwrap();
        atomic_replace(folder.path().join("best.safetensors"), |temporary| {
            assert_eq!(temporary.extension().unwrap(), "safetensors");
            assert_eq!(temporary.parent(), Some(folder.path()));
            Ok(fs::write(temporary, "x")?)
        })
        .unwrap();
    }
}
