use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::atomic::atomic_write;
use super::checkpoint::Position;
use crate::error::TrainerError;
use crate::events::Event;

/// `metrics.jsonl`: one event per line, appended.
#[derive(Debug)]
pub(super) struct MetricsLog {
    path: PathBuf,
    file: File,
    length: u64,
}

impl MetricsLog {
    /// Opens the log for appending. A last line that a killed process left torn is cut off.
    pub(super) fn open(path: &Path) -> Result<Self, TrainerError> {
        let failed = |action| move |error| TrainerError::io(action, path, error);
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .map_err(failed("create"))?;
        let bytes = fs::read(path).map_err(failed("read"))?;
        let length = whole_lines(&bytes).len() as u64;
        file.set_len(length).map_err(failed("write"))?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
            length,
        })
    }

    /// Appends one line in one write. Where that fails half-way, the half is taken back.
    pub(super) fn append(&mut self, event: &Event) -> Result<(), TrainerError> {
        let mut line = serde_json::to_vec(event)
            .map_err(|error| TrainerError::writer(&self.path, error.into()))?;
        line.push(b'\n');
        if let Err(error) = self.file.write_all(&line) {
            let _ = self.file.set_len(self.length);
            return Err(TrainerError::io("write", &self.path, error));
        }
        self.length += line.len() as u64;
        Ok(())
    }

    /// Waits until everything appended is on the disk.
    pub(super) fn sync(&self) -> Result<(), TrainerError> {
        self.file
            .sync_data()
            .map_err(|error| TrainerError::io("write", &self.path, error))
    }

    /// Drops the lines of epochs and batches after `position`: a resumed run does them again.
    pub(super) fn rewind(&mut self, position: Position) -> Result<(), TrainerError> {
        let bytes =
            fs::read(&self.path).map_err(|error| TrainerError::io("read", &self.path, error))?;
        atomic_write(&self.path, |file| {
            for line in whole_lines(&bytes).split_inclusive(|&byte| byte == b'\n') {
                let event: Value = serde_json::from_slice(line).unwrap_or_default();
                if lies_before(&event, position) {
                    file.write_all(line)?;
                }
            }
            Ok(())
        })?;
        *self = Self::open(&self.path)?;
        Ok(())
    }
}

/// Returns all events of a log, without a torn last line; none where there is no file.
pub(super) fn read(path: &Path) -> Result<Vec<Event>, TrainerError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(TrainerError::io("read", path, error)),
    };
    whole_lines(&bytes)
        .split(|&byte| byte == b'\n')
        .enumerate()
        .filter(|(_, line)| !line.is_empty())
        .map(|(index, line)| {
            serde_json::from_slice(line).map_err(|error| TrainerError::DamagedFile {
                path: path.to_path_buf(),
                reason: format!("line {}: {error}", index + 1),
            })
        })
        .collect()
}

/// Returns the events of a log as [`read`] does, without the lines that are none.
pub(super) fn read_what_can_be(path: &Path) -> Result<Vec<Event>, TrainerError> {
    let bytes = fs::read(path).map_err(|error| TrainerError::io("read", path, error))?;
    let lines = whole_lines(&bytes).split(|&byte| byte == b'\n');
    Ok(lines
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect())
}

/// Everything up to the last line that ends and is JSON. After a power failure the end of a file
/// may also be a line of zero bytes.
fn whole_lines(bytes: &[u8]) -> &[u8] {
    let end = bytes
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map_or(0, |at| at + 1);
    let lines = &bytes[..end];
    let Some(body) = lines.strip_suffix(b"\n") else {
        return lines;
    };
    let last = body
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map_or(0, |at| at + 1);
    match serde_json::from_slice::<Value>(&body[last..]) {
        Ok(_) => lines,
        Err(_) => &lines[..last],
    }
}

fn lies_before(event: &Value, position: Position) -> bool {
    let number = |key| event.get(key).and_then(Value::as_u64).map(|n| n as usize);
    let kind = event
        .get("event")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let Some(epoch) = number("epoch").or_else(|| number("first_epoch")) else {
        return true;
    };
    if epoch <= position.epochs {
        return true;
    }
    let in_progress = epoch == position.epochs + 1 && position.batches > 0;
    in_progress
        && match kind {
            "epoch_started" | "stage_started" => true,
            "batch_ended" => number("batch").is_some_and(|batch| batch <= position.batches),
            _ => false,
        }
}
