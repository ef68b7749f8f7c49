//! Unpacks archives from anywhere.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use zip::ZipArchive;

use crate::Error;

/// Unpacks a zip archive into a folder that does not exist yet.
///
/// The work is done in a temporary folder beside it, which is renamed at the end, so the folder is
/// complete or absent. Entries that would land outside it, links, and more than `limit` bytes in
/// all (counted as they come out, whatever the archive claims) are refused.
///
/// # Errors
/// [`Error::UnsafeArchive`], [`Error::Corrupt`], [`Error::Truncated`], [`Error::Read`],
/// [`Error::Write`].
pub fn unzip(archive: &Path, folder: &Path, limit: u64) -> Result<(), Error> {
    let file = File::open(archive).map_err(Error::read(archive))?;
    let mut zip = ZipArchive::new(BufReader::new(file)).map_err(|error| {
        Error::truncated(archive, format_args!("no valid zip directory ({error})"))
    })?;
    let scratch = Scratch::beside(folder)?;

    let mut left = limit;
    for index in 0..zip.len() {
        let entry = zip
            .by_index(index)
            .map_err(|error| Error::corrupt(archive, "zip", error))?;
        let name = entry
            .name()
            .map_or_else(|_| format!("number {index}"), |name| name.to_string());
        let refuse = |detail: &str| Error::UnsafeArchive {
            path: archive.to_path_buf(),
            entry: name.clone(),
            detail: detail.to_string(),
        };
        let inside = entry
            .enclosed_name()
            .ok_or_else(|| refuse("would be written outside the folder"))?;
        let target = scratch.path.join(inside);
        if entry.is_symlink() {
            return Err(refuse("is a link"));
        }
        if entry.is_dir() {
            fs::create_dir_all(&target).map_err(Error::write(&target))?;
            continue;
        }
        left = extract(entry, &target, left, archive)?
            .ok_or_else(|| refuse(&format!("goes beyond the limit of {limit} unpacked bytes")))?;
    }
    scratch.publish(folder)
}

/// Writes one entry, and returns what is left of the limit; `None` if that is not enough.
fn extract(
    mut entry: impl Read,
    target: &Path,
    left: u64,
    archive: &Path,
) -> Result<Option<u64>, Error> {
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).map_err(Error::write(parent))?;
    }
    let mut file = File::create_new(target).map_err(Error::write(target))?;
    let mut buffer = vec![0; 1 << 16];
    let mut left = left;
    loop {
        let count = match entry.read(&mut buffer) {
            Ok(0) => return Ok(Some(left)),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(Error::truncated(archive, "an entry ends early"));
            }
            Err(error) => return Err(Error::corrupt(archive, "zip", error)),
        };
        match left.checked_sub(count as u64) {
            Some(rest) => left = rest,
            None => return Ok(None),
        }
        io::Write::write_all(&mut file, &buffer[..count]).map_err(Error::write(target))?;
    }
}

/// A temporary folder that is removed unless it is published.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn beside(folder: &Path) -> Result<Self, Error> {
        let path = super::with_suffix(folder, &format!(".{}.tmp", std::process::id()));
        // Left by a process of the same number that was killed.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).map_err(Error::write(&path))?;
        Ok(Self { path })
    }

    fn publish(self, folder: &Path) -> Result<(), Error> {
        fs::rename(&self.path, folder).map_err(Error::write(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
