//! Activations of a frozen prefix, computed once per image and view and kept in memory or on disk.

mod chunk;
mod key;
mod merge;

pub use key::{CacheKey, Row};
pub use merge::{MergedCaches, MergedRows, RefusedChunk, merge_caches};

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::TransferError;
use chunk::{Chunk, OpenFiles, Opened};
use key::RowId;

/// New rows are written when they take so much memory.
const CHUNK_BYTES: usize = 32 << 20;

/// A table with one row of activations per image and view.
///
/// On disk it is a folder of chunks: new rows are gathered in memory up to 32 MB, then written as one more safetensors
/// file, and rows are read back one by one. Neither filling nor reading a table needs memory for all of it, but for
/// 30 to 100 bytes a row that tell where the row is.
/// A row's identity is the content of its picture and, where it is augmented at random, its place: a picture that has
/// changed misses and is computed afresh, and one that was moved, renamed or touched is found.
///
/// Several processes, on one machine or on several, may fill one folder at the same time. Each sees the rows that were there
/// when it opened the folder; rows that two of them wrote are equal. Folders that were filled apart are joined by
/// [`merge_caches`].
#[derive(Debug, Default)]
pub struct FeatureCache {
    row_shape: Vec<usize>,
    rows: HashMap<RowId, Place>,
    fresh: Fresh,
    disk: Option<Disk>,
}

/// Position of a row in a [`FeatureCache`].
#[derive(Clone, Copy, Debug)]
pub struct RowPlace(Place);

#[derive(Clone, Copy, Debug)]
enum Place {
    Fresh(u32),
    Chunk { chunk: u32, row: u32 },
}

/// Rows that no chunk has yet.
#[derive(Debug, Default)]
struct Fresh {
    keys: Vec<Row>,
    values: Vec<f32>,
}

#[derive(Debug)]
struct Disk {
    folder: PathBuf,
    key: CacheKey,
    chunks: Vec<Chunk>,
    files: OpenFiles,
}

impl FeatureCache {
    /// Creates an empty cache that lives as long as the process.
    pub fn in_memory() -> Self {
        Self::default()
    }

    /// Opens a cache kept in `folder` under the key's digest; what is there already is found again.
    ///
    /// # Errors
    ///
    /// [`TransferError::Cache`] where a chunk is damaged or can't be read.
    pub fn open(folder: &Path, key: CacheKey) -> Result<Self, TransferError> {
        let mut cache = Self::in_memory();
        let folder = folder.join(key.digest());
        let mut chunks = Vec::new();
        for path in chunk::paths(&folder)? {
            let Opened { chunk, rows, .. } = Chunk::open(&path, &key)?;
            if cache.rows.is_empty() {
                cache.row_shape = chunk.row_shape().to_vec();
            } else if chunk.row_shape() != cache.row_shape {
                let reason = other_shape(chunk.row_shape(), &cache.row_shape);
                return Err(TransferError::Cache { path, reason });
            }
            cache.place(&rows, chunks.len())?;
            chunks.push(chunk);
        }
        cache.disk = Some(Disk {
            folder,
            key,
            chunks,
            files: OpenFiles::default(),
        });
        Ok(cache)
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns true if there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Returns the shape of a row, `[num_features]` or `[channels, height, width]`; empty before the first.
    pub fn row_shape(&self) -> &[usize] {
        &self.row_shape
    }

    /// Returns the position of the row, if it is there. Valid until the next [`insert`](Self::insert) or
    /// [`save`](Self::save).
    pub fn find(&self, row: &Row) -> Option<RowPlace> {
        self.rows.get(&RowId::of(row)).copied().map(RowPlace)
    }

    /// Returns the activations at a place, row-major.
    ///
    /// # Errors
    ///
    /// [`TransferError::Cache`] where the chunk can't be read.
    pub fn read(&self, place: RowPlace) -> Result<Cow<'_, [f32]>, TransferError> {
        match (place.0, &self.disk) {
            (Place::Chunk { chunk, row }, Some(disk)) => disk.chunks[chunk as usize]
                .read(row as usize, &disk.files)
                .map(Cow::Owned),
            (Place::Fresh(at) | Place::Chunk { row: at, .. }, _) => {
                let (at, length) = (at as usize, self.row_length());
                Ok(Cow::Borrowed(
                    &self.fresh.values[at * length..(at + 1) * length],
                ))
            }
        }
    }

    /// Returns the row's activations, row-major, if they are there.
    ///
    /// # Errors
    ///
    /// [`TransferError::Cache`] where the chunk can't be read.
    pub fn get(&self, row: &Row) -> Result<Option<Cow<'_, [f32]>>, TransferError> {
        self.find(row).map(|place| self.read(place)).transpose()
    }

    /// Keeps a row's activations; those that are there already stay, since equal rows are equal. The first row decides the
    /// shape of all.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] where `values` don't fill a row of that shape, and [`TransferError::Cache`] where
    /// a chunk is full and can't be written.
    pub fn insert(
        &mut self,
        row: Row,
        shape: &[usize],
        values: &[f32],
    ) -> Result<(), TransferError> {
        if self.rows.is_empty() {
            self.row_shape = shape.to_vec();
        }
        let length = self.row_length();
        if values.len() != length || shape != self.row_shape {
            return Err(TransferError::WrongLength {
                what: "a row of the feature cache",
                found: values.len(),
                expected: length,
            });
        }
        let id = RowId::of(&row);
        if self.rows.contains_key(&id) {
            return Ok(());
        }
        let at = number(self.fresh.keys.len())?;
        self.fresh.values.extend_from_slice(values);
        self.fresh.keys.push(row);
        self.rows.insert(id, Place::Fresh(at));
        if self.disk.is_some() && size_of_val(&self.fresh.values[..]) >= CHUNK_BYTES {
            self.save()?;
        }
        Ok(())
    }

    /// Writes the rows that are not on the disk yet, where the cache has a folder. A chunk appears whole or not at all.
    ///
    /// # Errors
    ///
    /// [`TransferError::Cache`] where it can't be written.
    pub fn save(&mut self) -> Result<(), TransferError> {
        let Some(disk) = self.disk.as_mut().filter(|_| !self.fresh.keys.is_empty()) else {
            return Ok(());
        };
        let path = chunk::write(
            &disk.folder,
            &disk.key,
            &self.fresh.keys,
            &self.row_shape,
            &self.fresh.values,
        )?;
        let Opened { chunk, rows, .. } = Chunk::open(&path, &disk.key)?;
        disk.chunks.push(chunk);
        let last = disk.chunks.len() - 1;
        self.fresh = Fresh::default();
        self.place(&rows, last)
    }

    /// Notes that `rows` are those of a chunk.
    fn place(&mut self, rows: &[Row], chunk: usize) -> Result<(), TransferError> {
        let chunk = number(chunk)?;
        for (at, row) in rows.iter().enumerate() {
            let place = Place::Chunk {
                chunk,
                row: number(at)?,
            };
            self.rows.insert(RowId::of(row), place);
        }
        Ok(())
    }

    fn row_length(&self) -> usize {
        self.row_shape.iter().product()
    }
}

/// A position in four bytes, since there are as many as rows.
fn number(position: usize) -> Result<u32, TransferError> {
    u32::try_from(position).map_err(|_| TransferError::WrongLength {
        what: "rows of a feature cache",
        found: position,
        expected: u32::MAX as usize,
    })
}

fn other_shape(found: &[usize], expected: &[usize]) -> String {
    format!("its rows have the shape {found:?}, those of the chunks before {expected:?}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    fn key() -> CacheKey {
        CacheKey::from_parts("abc", "{}")
    }

    fn row(content: &str, view: usize) -> Row {
        Row {
            content: content.into(),
            draw: (view > 0).then_some((7, view)),
        }
    }

    fn values(cache: &FeatureCache, row: &Row) -> Option<Vec<f32>> {
        cache.get(row).unwrap().map(Cow::into_owned)
    }

    #[test]
    fn rows_survive_the_disk_and_other_content_is_another_row() {
        let folder = tempfile::tempdir().unwrap();
        let mut cache = FeatureCache::open(folder.path(), key()).unwrap();
        cache.insert(row("a", 0), &[2], &[1.0, 2.0]).unwrap();
        cache.insert(row("b", 0), &[2], &[3.0, 4.0]).unwrap();
        cache.insert(row("a", 1), &[2], &[5.0, 6.0]).unwrap();
        cache.save().unwrap();

        let mut cache = FeatureCache::open(folder.path(), key()).unwrap();
        assert_eq!(cache.len(), 3);
        assert_eq!(values(&cache, &row("b", 0)), Some(vec![3.0, 4.0]));
        assert_eq!(values(&cache, &row("c", 0)), None);
        cache.insert(row("c", 0), &[2], &[7.0, 8.0]).unwrap();
        cache.insert(row("b", 0), &[2], &[9.0, 9.0]).unwrap();
        for _ in 0..2 {
            assert_eq!(values(&cache, &row("c", 0)), Some(vec![7.0, 8.0]));
            assert_eq!(values(&cache, &row("a", 1)), Some(vec![5.0, 6.0]));
            assert_eq!(values(&cache, &row("b", 0)), Some(vec![3.0, 4.0]));
            assert_eq!(cache.len(), 4);
            cache.save().unwrap();
        }
        let cache = FeatureCache::open(folder.path(), key()).unwrap();
        assert_eq!(values(&cache, &row("c", 0)), Some(vec![7.0, 8.0]));
        assert_eq!(cache.len(), 4);
    }

    #[test]
    fn a_chunk_under_another_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut cache = FeatureCache::open(folder.path(), key()).unwrap();
        cache.insert(row("a", 0), &[1], &[1.0]).unwrap();
        cache.save().unwrap();
        let other = CacheKey::from_parts("abd", "{}");
        let (from, to) = (key().digest(), other.digest());
        fs::rename(folder.path().join(from), folder.path().join(to)).unwrap();
        let message = FeatureCache::open(folder.path(), other).unwrap_err();
        assert!(message.to_string().contains("other weights"), "{message}");
    }

    #[test]
    fn a_table_larger_than_a_chunk_becomes_several() {
        let folder = tempfile::tempdir().unwrap();
        let mut cache = FeatureCache::open(folder.path(), key()).unwrap();
        let length = CHUNK_BYTES / 4 / 3;
        for number in 0..5 {
            let values = vec![number as f32; length];
            cache
                .insert(row(&number.to_string(), 0), &[length], &values)
                .unwrap();
            assert!(cache.fresh.values.len() <= 3 * length);
        }
        cache.save().unwrap();
        assert_eq!(
            chunk::paths(&folder.path().join(key().digest()))
                .unwrap()
                .len(),
            2
        );
        let cache = FeatureCache::open(folder.path(), key()).unwrap();
        for number in 0..5 {
            let found = values(&cache, &row(&number.to_string(), 0)).unwrap();
            assert_eq!((found.len(), found[7]), (length, number as f32));
        }
    }

    #[test]
    fn a_chunk_that_is_cut_short_under_the_table_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let mut cache = FeatureCache::open(folder.path(), key()).unwrap();
        cache.insert(row("a", 0), &[2], &[1.0, 2.0]).unwrap();
        cache.save().unwrap();
        let path = &chunk::paths(&folder.path().join(key().digest())).unwrap()[0];
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(20).unwrap();
        assert!(cache.get(&row("a", 0)).is_err());
        assert!(FeatureCache::open(folder.path(), key()).is_err());
    }

    #[test]
    fn another_key_is_another_folder() {
        let folder = tempfile::tempdir().unwrap();
        let mut cache = FeatureCache::open(folder.path(), key()).unwrap();
        cache.insert(row("a.jpg", 0), &[1], &[1.0]).unwrap();
        cache.save().unwrap();
        let other = CacheKey::from_parts("abc", "{ }");
        assert!(FeatureCache::open(folder.path(), other).unwrap().is_empty());
    }

    #[test]
    fn fields_of_a_key_do_not_run_into_each_other() {
        let (left, right) = (
            CacheKey::from_parts("ab", "c"),
            CacheKey::from_parts("a", "bc"),
        );
        assert_ne!(left.digest(), right.digest());
    }

    #[test]
    fn a_broken_file_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(key().digest());
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("0000.safetensors"), b"not a cache").unwrap();
        let message = FeatureCache::open(folder.path(), key())
            .unwrap_err()
            .to_string();
        assert!(message.contains(&key().digest()), "{message}");
    }

    #[test]
    fn a_row_of_the_wrong_length_is_refused() {
        let mut cache = FeatureCache::in_memory();
        cache.insert(row("a", 0), &[3], &[1.0, 2.0, 3.0]).unwrap();
        assert!(cache.insert(row("b", 0), &[3], &[1.0]).is_err());
        assert!(cache.insert(row("b", 0), &[1], &[1.0]).is_err());
    }
}
