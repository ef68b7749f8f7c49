//! `data.jsonl`: the pictures of a run, one per line.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::atomic::atomic_write;
use crate::error::TrainerError;
use crate::identity::{DataList, ImageRecord};

/// Writes the list.
pub(super) fn write(path: &Path, list: &DataList) -> Result<(), TrainerError> {
    atomic_write(path, |file| {
        serde_json::to_writer(&mut *file, &list.classes)?;
        file.write_all(b"\n")?;
        for image in &list.images {
            serde_json::to_writer(&mut *file, image)?;
            file.write_all(b"\n")?;
        }
        Ok(())
    })
}

/// Reads the list; `None` where there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<DataList>, TrainerError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(TrainerError::io("read", path, error)),
    };
    let damaged = |line: usize, error: serde_json::Error| TrainerError::DamagedFile {
        path: path.to_path_buf(),
        reason: format!("line {}: {error}", line + 1),
    };
    let mut lines = text.lines().enumerate();
    let (_, classes) = lines.next().unwrap_or((0, ""));
    let classes = serde_json::from_str(classes).map_err(|error| damaged(0, error))?;
    let images = lines.map(|(number, line)| {
        serde_json::from_str::<ImageRecord>(line).map_err(|error| damaged(number, error))
    });
    Ok(Some(DataList {
        classes,
        images: images.collect::<Result<_, _>>()?,
    }))
}
