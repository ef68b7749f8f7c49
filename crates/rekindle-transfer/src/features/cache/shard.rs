//! One file of a feature cache.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use safetensors::tensor::{Dtype, Metadata, TensorView};

use super::{CacheKey, Row};
use crate::TransferError;

const TENSOR: &str = "activations";
/// The list of a million rows takes 100 MB; a header beyond that is none of ours.
const LARGEST_HEADER: u64 = 256 << 20;

/// An open shard: its header was read, its rows are read when they are asked for. Mapping the file would be no faster
/// for rows of kilobytes, and a file that is cut short under a mapping ends the process.
#[derive(Debug)]
pub(super) struct Shard {
    path: PathBuf,
    file: Mutex<File>,
    row_shape: Vec<usize>,
    first_byte: u64,
}

/// Returns the shards of a folder, oldest first.
pub(super) fn paths(folder: &Path) -> Result<Vec<PathBuf>, TransferError> {
    let failed = |error: std::io::Error| broken(folder, error);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "safetensors")
        {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Writes one more shard: under a temporary name, synced, then under a name that nobody else has.
pub(super) fn write(
    folder: &Path,
    key: &CacheKey,
    rows: &[Row],
    row_shape: &[usize],
    values: &[f32],
) -> Result<PathBuf, TransferError> {
    let failed = |error: &dyn std::fmt::Display| broken(folder, error);
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let shape = [&[rows.len()], row_shape].concat();
    let view = TensorView::new(Dtype::F32, shape, &bytes).map_err(|error| failed(&error))?;
    let text = |value: serde_json::Result<String>| value.map_err(|error| failed(&error));
    let metadata = std::collections::HashMap::from([
        ("rows".to_string(), text(serde_json::to_string(rows))?),
        ("key".to_string(), text(serde_json::to_string(key))?),
    ]);
    let content =
        safetensors::serialize([(TENSOR, view)], Some(metadata)).map_err(|error| failed(&error))?;
    fs::create_dir_all(folder).map_err(|error| failed(&error))?;
    let path = folder.join(next_name(folder)?);
    let temporary = path.with_extension("tmp");
    let published = File::create(&temporary)
        .and_then(|mut file| file.write_all(&content).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, &path));
    match published {
        Ok(()) => Ok(path),
        Err(error) => {
            // The error that matters is the one that stopped the writing.
            let _ = fs::remove_file(&temporary);
            Err(failed(&error))
        }
    }
}

/// Returns a name that sorts behind all others and that no other writer takes.
fn next_name(folder: &Path) -> Result<String, TransferError> {
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    let number_of = |path: &PathBuf| path.file_name()?.to_str()?.get(..6)?.parse::<u64>().ok();
    let last = paths(folder)?.iter().filter_map(number_of).max();
    let number = last.map_or(0, |last| last + 1);
    let written = WRITTEN.fetch_add(1, Ordering::Relaxed);
    Ok(format!(
        "{number:06}-{}-{written}.safetensors",
        std::process::id()
    ))
}

impl Shard {
    /// Opens a shard of `key` and reads what its rows are of.
    pub fn open(path: &Path, key: &CacheKey) -> Result<(Self, Vec<Row>), TransferError> {
        let broken = |reason: &dyn std::fmt::Display| broken(path, reason);
        let mut file = File::open(path).map_err(|error| broken(&error))?;
        let length = file.metadata().map_err(|error| broken(&error))?.len();
        let mut header_length = [0; 8];
        file.read_exact(&mut header_length)
            .map_err(|error| broken(&error))?;
        let header_length = u64::from_le_bytes(header_length);
        if header_length > LARGEST_HEADER.min(length) {
            return Err(broken(&format!(
                "its header claims {header_length} of {length} bytes"
            )));
        }
        let mut header = vec![0; header_length as usize];
        file.read_exact(&mut header)
            .map_err(|error| broken(&error))?;
        let header: Metadata = serde_json::from_slice(&header).map_err(|error| broken(&error))?;
        let entry = |name| header.metadata().as_ref()?.get(name);
        let found = entry("key").ok_or_else(|| broken(&"it doesn't say what made it"))?;
        let found: CacheKey = serde_json::from_str(found).map_err(|error| broken(&error))?;
        if found != *key {
            let reason = "it was made by other weights, another cut or other preprocessing than its folder's name says";
            return Err(broken(&reason));
        }
        let rows = entry("rows").ok_or_else(|| broken(&"it has no list of rows"))?;
        let rows: Vec<Row> = serde_json::from_str(rows).map_err(|error| broken(&error))?;
        let tensor = header
            .info(TENSOR)
            .ok_or_else(|| broken(&"it has no activations"))?;
        let (count, row_shape) = tensor.shape.split_first().unwrap_or((&0, &[]));
        let bytes = (tensor.data_offsets.1 - tensor.data_offsets.0) as u64;
        let is_whole = tensor.dtype == Dtype::F32
            && row_shape
                .iter()
                .try_fold(4_usize, |product, extent| product.checked_mul(*extent))
                .is_some()
            && *count == rows.len()
            && length == 8 + header_length + header.data_len() as u64;
        if !is_whole {
            return Err(broken(&format!(
                "it holds {:?} values of shape {:?} in {bytes} bytes, expected F32 and {} rows in a whole file",
                tensor.dtype,
                tensor.shape,
                rows.len()
            )));
        }
        let shard = Self {
            path: path.to_path_buf(),
            row_shape: row_shape.to_vec(),
            first_byte: 8 + header_length + tensor.data_offsets.0 as u64,
            file: Mutex::new(file),
        };
        Ok((shard, rows))
    }

    pub fn row_shape(&self) -> &[usize] {
        &self.row_shape
    }

    /// Returns one row's values.
    pub fn read(&self, row: usize) -> Result<Vec<f32>, TransferError> {
        let length = self.row_shape.iter().product::<usize>() * size_of::<f32>();
        let mut bytes = vec![0; length];
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(self.first_byte + (row * length) as u64))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|error| broken(&self.path, error))?;
        let numbers = bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        Ok(numbers.collect())
    }
}

fn broken(path: &Path, reason: impl std::fmt::Display) -> TransferError {
    TransferError::Cache {
        path: path.to_path_buf(),
        reason: reason.to_string(),
    }
}
