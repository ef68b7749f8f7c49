//! One file of a feature cache.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use safetensors::tensor::{Dtype, Metadata, TensorInfo, TensorView};
use sha2::{Digest, Sha256};

use super::{CacheKey, Row};
use crate::TransferError;
use crate::backbone::{hexadecimal, text};

const TENSOR: &str = "activations";
/// The list of a million rows takes 100 MB; a header beyond that is none of ours.
const LARGEST_HEADER: u64 = 256 << 20;
/// A process may often have no more than 1,024 files open.
const MOST_OPEN: usize = 64;
/// The fault of a chunk in the folder of another key.
pub(super) const OTHER_KEY: &str =
    "it was made by other weights, another cut or other preprocessing than its folder's name says";
/// Bytes that are hashed at once.
const BLOCK: usize = 1 << 20;

/// A chunk whose header was read; its rows are read when they are asked for. Mapping the file would be no faster for
/// rows of kilobytes, and a file that is cut short under a mapping ends the process.
#[derive(Debug)]
pub(super) struct Chunk {
    path: PathBuf,
    row_shape: Vec<usize>,
    first_byte: u64,
}

/// A chunk with what its header says of it.
pub(super) struct Opened {
    pub chunk: Chunk,
    pub key: CacheKey,
    /// What the chunk's rows are of.
    pub rows: Vec<Row>,
}

/// Files that stay open between two readings; where they become too many, all are closed.
#[derive(Debug, Default)]
pub(super) struct OpenFiles(Mutex<HashMap<PathBuf, File>>);

/// Returns the chunks of a folder, oldest first.
pub(super) fn paths(folder: &Path) -> Result<Vec<PathBuf>, TransferError> {
    let failed = |error: io::Error| broken(folder, error);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
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

/// Writes one more chunk: under a temporary name, synced, then under a name that only the same rows have.
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
    let key = text(serde_json::to_string(key))?;
    let rows = text(serde_json::to_string(rows))?;
    let mut hasher = begun(&key, &rows, row_shape);
    hasher.update(&bytes);
    let sha256 = hexadecimal(hasher);
    let name = format!("{:06}-{}", next_number(folder)?, &sha256[..16]);
    let metadata = HashMap::from([
        ("rows".to_string(), rows),
        ("key".to_string(), key),
        ("sha256".to_string(), sha256),
    ]);
    let content =
        safetensors::serialize([(TENSOR, view)], Some(metadata)).map_err(|error| failed(&error))?;
    fs::create_dir_all(folder).map_err(|error| failed(&error))?;
    let path = folder.join(format!("{name}.safetensors"));
    let temporary = folder.join(format!("{name}-{}.tmp", own_name()));
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

/// Returns a number behind those of all chunks that are there. Two processes may find the same: the rest of their
/// names differs.
fn next_number(folder: &Path) -> Result<u64, TransferError> {
    let number_of = |path: &PathBuf| path.file_name()?.to_str()?.get(..6)?.parse::<u64>().ok();
    let last = paths(folder)?.iter().filter_map(number_of).max();
    Ok(last.map_or(0, |last| last + 1))
}

/// Tells apart the temporary files of processes that write the same rows, on one machine or on several.
fn own_name() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_nanos());
    format!("{}-{now}", std::process::id())
}

/// The hash of a chunk, before its values.
fn begun(key: &str, rows: &str, row_shape: &[usize]) -> Sha256 {
    let mut hasher = Sha256::new();
    text(&mut hasher, key);
    text(&mut hasher, rows);
    text(&mut hasher, &format!("{row_shape:?}"));
    hasher
}

impl Chunk {
    /// Opens a chunk of `key`.
    pub fn open(path: &Path, key: &CacheKey) -> Result<Opened, TransferError> {
        let (_, header) = Header::read(path)?;
        let opened = header.opened(path)?;
        match opened.key == *key {
            true => Ok(opened),
            false => Err(broken(path, OTHER_KEY)),
        }
    }

    /// Opens a chunk of any key and compares all that it holds with the hash that was written with it.
    pub fn open_verified(path: &Path) -> Result<Opened, TransferError> {
        let (mut file, header) = Header::read(path)?;
        let opened = header.opened(path)?;
        let (key, rows) = (header.entry("key"), header.entry("rows"));
        let mut hasher = begun(
            key.unwrap_or_default(),
            rows.unwrap_or_default(),
            opened.chunk.row_shape(),
        );
        let mut block = vec![0; BLOCK];
        loop {
            let count = file.read(&mut block).map_err(|error| broken(path, error))?;
            if count == 0 {
                break;
            }
            hasher.update(&block[..count]);
        }
        match header.entry("sha256") == Some(hexadecimal(hasher).as_str()) {
            true => Ok(opened),
            false => Err(broken(path, "its content has changed since it was written")),
        }
    }

    pub fn row_shape(&self) -> &[usize] {
        &self.row_shape
    }

    /// Returns one row's values.
    pub fn read(&self, row: usize, files: &OpenFiles) -> Result<Vec<f32>, TransferError> {
        let length = self.row_shape.iter().product::<usize>() * size_of::<f32>();
        let mut bytes = vec![0; length];
        let offset = self.first_byte + (row * length) as u64;
        files
            .read(&self.path, offset, &mut bytes)
            .map_err(|error| broken(&self.path, error))?;
        let numbers = bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        Ok(numbers.collect())
    }
}

impl OpenFiles {
    fn read(&self, path: &Path, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if files.len() >= MOST_OPEN && !files.contains_key(path) {
            files.clear();
        }
        let file = match files.entry(path.to_path_buf()) {
            Entry::Occupied(held) => held.into_mut(),
            Entry::Vacant(place) => place.insert(File::open(path)?),
        };
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(bytes)
    }
}

/// A file's first bytes, which say what comes behind them.
struct Header {
    metadata: Metadata,
    /// Bytes in front of the values.
    length: u64,
    /// Bytes of the file.
    file_length: u64,
}

impl Header {
    /// Reads a header; the file stands behind it.
    fn read(path: &Path) -> Result<(File, Self), TransferError> {
        let broken = |reason: &dyn std::fmt::Display| broken(path, reason);
        let mut file = File::open(path).map_err(|error| broken(&error))?;
        let file_length = file.metadata().map_err(|error| broken(&error))?.len();
        let mut length = [0; 8];
        file.read_exact(&mut length)
            .map_err(|error| broken(&error))?;
        let length = u64::from_le_bytes(length);
        if length > LARGEST_HEADER.min(file_length) {
            return Err(broken(&format!(
                "its header claims {length} of {file_length} bytes"
            )));
        }
        let mut header = vec![0; length as usize];
        file.read_exact(&mut header)
            .map_err(|error| broken(&error))?;
        let metadata = serde_json::from_slice(&header).map_err(|error| broken(&error))?;
        let header = Self {
            metadata,
            length: 8 + length,
            file_length,
        };
        Ok((file, header))
    }

    fn entry(&self, name: &str) -> Option<&str> {
        let entry = self.metadata.metadata().as_ref()?.get(name);
        entry.map(String::as_str)
    }

    /// The chunk that it is of, if the file is whole.
    fn opened(&self, path: &Path) -> Result<Opened, TransferError> {
        let broken = |reason: &dyn std::fmt::Display| broken(path, reason);
        let key = self
            .entry("key")
            .ok_or_else(|| broken(&"it doesn't say what made it"))?;
        let key: CacheKey = serde_json::from_str(key).map_err(|error| broken(&error))?;
        let rows = self
            .entry("rows")
            .ok_or_else(|| broken(&"it has no list of rows"))?;
        let rows: Vec<Row> = serde_json::from_str(rows).map_err(|error| broken(&error))?;
        let tensor = self
            .metadata
            .info(TENSOR)
            .ok_or_else(|| broken(&"it has no activations"))?;
        let TensorInfo {
            dtype,
            shape,
            data_offsets: (first, end),
        } = tensor;
        let (count, row_shape) = shape.split_first().unwrap_or((&0, &[]));
        let is_whole = *dtype == Dtype::F32
            && row_shape
                .iter()
                .try_fold(4_usize, |product, extent| product.checked_mul(*extent))
                .is_some()
            && *count == rows.len()
            && self.file_length == self.length + self.metadata.data_len() as u64;
        if !is_whole {
            return Err(broken(&format!(
                "it holds {dtype:?} values of shape {shape:?} in {} bytes, expected F32 and {} rows in a whole file",
                end - first,
                rows.len()
            )));
        }
        let chunk = Chunk {
            path: path.to_path_buf(),
            row_shape: row_shape.to_vec(),
            first_byte: self.length + *first as u64,
        };
        Ok(Opened { chunk, key, rows })
    }
}

fn broken(path: &Path, reason: impl std::fmt::Display) -> TransferError {
    TransferError::Cache {
        path: path.to_path_buf(),
        reason: reason.to_string(),
    }
}
