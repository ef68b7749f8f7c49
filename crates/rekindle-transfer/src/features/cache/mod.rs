//! Activations of a frozen prefix, computed once an image and view and kept in memory or on disk.

mod key;
mod shard;

pub use key::{CacheKey, Row};

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::TransferError;
use shard::{Shard, ShardRow};

/// New rows are written when they take so much memory.
const SHARD_BYTES: usize = 32 << 20;

/// A table with one row of activations an image and view.
///
/// On disk it is a folder of shards: new rows are gathered in memory up to 32 MB, then written as one more safetensors
/// file, and rows are read back one by one, so that neither filling nor reading a table needs memory for all of it.
/// A picture whose stamp has changed misses and is computed afresh; the other rows stay good.
#[derive(Debug, Default)]
pub struct FeatureCache {
    row_shape: Vec<usize>,
    rows: BTreeMap<(String, usize), Entry>,
    fresh: Fresh,
    disk: Option<Disk>,
}

#[derive(Clone, Debug)]
struct Entry {
    stamp: String,
    place: Place,
}

/// Where a row lies in a [`FeatureCache`].
#[derive(Clone, Copy, Debug)]
pub struct RowPlace(Place);

#[derive(Clone, Copy, Debug)]
enum Place {
    Fresh(usize),
    Shard { shard: usize, row: usize },
}

/// Rows that no shard has yet.
#[derive(Debug, Default)]
struct Fresh {
    keys: Vec<(String, usize)>,
    values: Vec<f32>,
}

#[derive(Debug)]
struct Disk {
    folder: PathBuf,
    key: CacheKey,
    shards: Vec<Shard>,
}

impl FeatureCache {
    /// An empty cache that lives as long as the process.
    pub fn in_memory() -> Self {
        Self::default()
    }

    /// A cache kept in `folder` under the key's digest; what is there already is found again.
    ///
    /// # Errors
    ///
    /// [`TransferError::Cache`] where a shard is damaged or can't be read.
    pub fn open(folder: &Path, key: CacheKey) -> Result<Self, TransferError> {
        let mut cache = Self::in_memory();
        let folder = folder.join(key.digest());
        let mut shards = Vec::new();
        for path in shard::paths(&folder)? {
            let (shard, rows) = Shard::open(&path)?;
            if cache.rows.is_empty() {
                cache.row_shape = shard.row_shape().to_vec();
            } else if shard.row_shape() != cache.row_shape {
                let reason = format!(
                    "its rows have the shape {:?}, those of the shards before {:?}",
                    shard.row_shape(),
                    cache.row_shape
                );
                return Err(TransferError::Cache { path, reason });
            }
            for (row, ShardRow { image, view, stamp }) in rows.into_iter().enumerate() {
                let place = Place::Shard {
                    shard: shards.len(),
                    row,
                };
                cache.rows.insert((image, view), Entry { stamp, place });
            }
            shards.push(shard);
        }
        cache.disk = Some(Disk {
            folder,
            key,
            shards,
        });
        Ok(cache)
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Shape of a row, `[num_features]` or `[channels, height, width]`; empty before the first.
    pub fn row_shape(&self) -> &[usize] {
        &self.row_shape
    }

    /// Where the row lies, if it is there and the picture hasn't changed. Good until the next [`insert`](Self::insert) or
    /// [`save`](Self::save).
    pub fn find(&self, row: &Row) -> Option<RowPlace> {
        let entry = self.rows.get(&(row.image.clone(), row.view))?;
        (entry.stamp == row.stamp).then_some(RowPlace(entry.place))
    }

    /// The activations at a place, row-major.
    ///
    /// # Errors
    ///
    /// [`TransferError::Cache`] where the shard can't be read.
    pub fn read(&self, place: RowPlace) -> Result<Cow<'_, [f32]>, TransferError> {
        match (place.0, &self.disk) {
            (Place::Shard { shard, row }, Some(disk)) => {
                disk.shards[shard].read(row).map(Cow::Owned)
            }
            (Place::Fresh(at) | Place::Shard { row: at, .. }, _) => {
                let length = self.row_length();
                Ok(Cow::Borrowed(
                    &self.fresh.values[at * length..(at + 1) * length],
                ))
            }
        }
    }

    /// The row's activations, row-major, if they are there and the picture hasn't changed.
    ///
    /// # Errors
    ///
    /// [`TransferError::Cache`] where the shard can't be read.
    pub fn get(&self, row: &Row) -> Result<Option<Cow<'_, [f32]>>, TransferError> {
        self.find(row).map(|place| self.read(place)).transpose()
    }

    /// Keeps a row's activations, in place of older ones of the same picture and view. The first row decides
    /// the shape of all.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] where `values` don't fill a row of that shape, and [`TransferError::Cache`] where
    /// a shard is full and can't be written.
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
        let key = (row.image, row.view);
        let at = match self.rows.get(&key).map(|entry| entry.place) {
            Some(Place::Fresh(at)) => {
                self.fresh.values[at * length..(at + 1) * length].copy_from_slice(values);
                at
            }
            _ => {
                self.fresh.values.extend_from_slice(values);
                self.fresh.keys.push(key.clone());
                self.fresh.keys.len() - 1
            }
        };
        let entry = Entry {
            stamp: row.stamp,
            place: Place::Fresh(at),
        };
        self.rows.insert(key, entry);
        if self.disk.is_some() && size_of_val(&self.fresh.values[..]) >= SHARD_BYTES {
            self.save()?;
        }
        Ok(())
    }

    /// Writes the rows that are not on the disk yet, where the cache has a folder. A shard appears whole or not at all.
    ///
    /// # Errors
    ///
    /// [`TransferError::Cache`] where it can't be written.
    pub fn save(&mut self) -> Result<(), TransferError> {
        let Some(disk) = self.disk.as_mut().filter(|_| !self.fresh.keys.is_empty()) else {
            return Ok(());
        };
        let row_of = |key: &(String, usize)| ShardRow {
            image: key.0.clone(),
            view: key.1,
            stamp: self.rows[key].stamp.clone(),
        };
        let rows: Vec<ShardRow> = self.fresh.keys.iter().map(row_of).collect();
        let path = shard::write(
            &disk.folder,
            &disk.key,
            &rows,
            &self.row_shape,
            &self.fresh.values,
        )?;
        let (shard, _) = Shard::open(&path)?;
        for (row, key) in self.fresh.keys.drain(..).enumerate() {
            if let Some(entry) = self.rows.get_mut(&key) {
                entry.place = Place::Shard {
                    shard: disk.shards.len(),
                    row,
                };
            }
        }
        disk.shards.push(shard);
        self.fresh = Fresh::default();
        Ok(())
    }

    fn row_length(&self) -> usize {
        self.row_shape.iter().product()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    fn key() -> CacheKey {
        CacheKey {
            weights: "abc".into(),
            cut: "pooled".into(),
            transform: "{}".into(),
            seed: 3,
        }
    }

    fn row(image: &str, stamp: &str, view: usize) -> Row {
        Row {
            image: image.into(),
            stamp: stamp.into(),
            view,
        }
    }

    fn values(cache: &FeatureCache, row: &Row) -> Option<Vec<f32>> {
        cache.get(row).unwrap().map(Cow::into_owned)
    }

    #[test]
    fn rows_survive_the_disk_and_a_changed_picture_invalidates_only_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let mut cache = FeatureCache::open(folder.path(), key()).unwrap();
        cache
            .insert(row("a.jpg", "1", 0), &[2], &[1.0, 2.0])
            .unwrap();
        cache
            .insert(row("b.jpg", "1", 0), &[2], &[3.0, 4.0])
            .unwrap();
        cache
            .insert(row("a.jpg", "1", 1), &[2], &[5.0, 6.0])
            .unwrap();
        cache.save().unwrap();

        let mut cache = FeatureCache::open(folder.path(), key()).unwrap();
        assert_eq!(cache.len(), 3);
        assert_eq!(values(&cache, &row("b.jpg", "1", 0)), Some(vec![3.0, 4.0]));
        assert_eq!(values(&cache, &row("a.jpg", "2", 0)), None);
        cache
            .insert(row("a.jpg", "2", 0), &[2], &[7.0, 8.0])
            .unwrap();
        for _ in 0..2 {
            assert_eq!(values(&cache, &row("a.jpg", "2", 0)), Some(vec![7.0, 8.0]));
            assert_eq!(values(&cache, &row("a.jpg", "1", 1)), Some(vec![5.0, 6.0]));
            assert_eq!(cache.len(), 3);
            cache.save().unwrap();
        }
        let cache = FeatureCache::open(folder.path(), key()).unwrap();
        assert_eq!(values(&cache, &row("a.jpg", "2", 0)), Some(vec![7.0, 8.0]));
        assert_eq!(cache.len(), 3);
    }

    #[test]
    fn a_table_larger_than_a_shard_becomes_several() {
        let folder = tempfile::tempdir().unwrap();
        let mut cache = FeatureCache::open(folder.path(), key()).unwrap();
        let length = SHARD_BYTES / 4 / 3;
        for number in 0..5 {
            let values = vec![number as f32; length];
            cache
                .insert(row(&number.to_string(), "1", 0), &[length], &values)
                .unwrap();
            assert!(cache.fresh.values.len() <= 3 * length);
        }
        cache.save().unwrap();
        assert_eq!(
            shard::paths(&folder.path().join(key().digest()))
                .unwrap()
                .len(),
            2
        );
        let cache = FeatureCache::open(folder.path(), key()).unwrap();
        for number in 0..5 {
            let found = values(&cache, &row(&number.to_string(), "1", 0)).unwrap();
            assert_eq!((found.len(), found[7]), (length, number as f32));
        }
    }

    #[test]
    fn a_shard_that_is_cut_short_under_the_table_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let mut cache = FeatureCache::open(folder.path(), key()).unwrap();
        cache.insert(row("a", "1", 0), &[2], &[1.0, 2.0]).unwrap();
        cache.save().unwrap();
        let path = &shard::paths(&folder.path().join(key().digest())).unwrap()[0];
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(20).unwrap();
        assert!(cache.get(&row("a", "1", 0)).is_err());
        assert!(FeatureCache::open(folder.path(), key()).is_err());
    }

    #[test]
    fn another_key_is_another_folder() {
        let folder = tempfile::tempdir().unwrap();
        let mut cache = FeatureCache::open(folder.path(), key()).unwrap();
        cache.insert(row("a.jpg", "1", 0), &[1], &[1.0]).unwrap();
        cache.save().unwrap();
        let other = CacheKey { seed: 4, ..key() };
        assert!(FeatureCache::open(folder.path(), other).unwrap().is_empty());
    }

    #[test]
    fn fields_of_a_key_do_not_run_into_each_other() {
        let left = CacheKey {
            weights: "ab".into(),
            cut: "c".into(),
            ..key()
        };
        let right = CacheKey {
            weights: "a".into(),
            cut: "bc".into(),
            ..key()
        };
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
        cache
            .insert(row("a", "1", 0), &[3], &[1.0, 2.0, 3.0])
            .unwrap();
        assert!(cache.insert(row("b", "1", 0), &[3], &[1.0]).is_err());
        assert!(cache.insert(row("b", "1", 0), &[1], &[1.0]).is_err());
    }
}
