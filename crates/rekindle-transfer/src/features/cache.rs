//! Activations of a frozen prefix, computed once an image and view and kept in memory or on disk.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::TransferError;

const TENSOR: &str = "activations";

/// Everything that decides an activation but the picture: another key is another file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheKey {
    /// Digest of the weights' bytes.
    pub weights: String,
    /// Where the frozen prefix ends, such as `"layer3"` or `"pooled"`.
    pub cut: String,
    /// Preprocessing and augmentation, in a form that changes when they do (JSON).
    pub transform: String,
    /// Seed of the augmentation.
    pub seed: u64,
}

impl CacheKey {
    /// SHA-256 of the key, in hexadecimal: the file's name.
    pub fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        for part in [&self.weights, &self.cut, &self.transform] {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.update(self.seed.to_le_bytes());
        hasher
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

/// Which picture, in which state, seen how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The picture's path.
    pub image: String,
    /// Changes when the picture does: size and modification time, or a hash of its content.
    pub stamp: String,
    /// Number of the augmented view.
    pub view: usize,
}

/// A table with one row of activations an image and view.
///
/// A picture whose stamp has changed misses and is computed afresh; the other rows stay good.
#[derive(Debug, Default)]
pub struct FeatureCache {
    row_shape: Vec<usize>,
    rows: BTreeMap<(String, usize), Entry>,
    values: Vec<f32>,
    file: Option<(PathBuf, CacheKey)>,
    is_changed: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    stamp: String,
    index: usize,
}

impl FeatureCache {
    /// An empty cache that lives as long as the process.
    pub fn in_memory() -> Self {
        Self::default()
    }

    /// A cache kept in `folder` under the key's digest; what is there already is read.
    ///
    /// # Errors
    ///
    /// [`TransferError::Cache`] where the file is damaged or can't be read.
    pub fn open(folder: &Path, key: CacheKey) -> Result<Self, TransferError> {
        let path = folder.join(format!("{}.safetensors", key.digest()));
        let mut cache = Self::in_memory();
        if path.exists() {
            cache.read(&path)?;
        }
        cache.file = Some((path, key));
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

    /// The row's activations, row-major, if they are there and the picture hasn't changed.
    pub fn get(&self, row: &Row) -> Option<&[f32]> {
        let entry = self.rows.get(&(row.image.clone(), row.view))?;
        (entry.stamp == row.stamp).then(|| {
            let length = self.row_length();
            &self.values[entry.index * length..(entry.index + 1) * length]
        })
    }

    /// Keeps a row's activations, in place of older ones of the same picture and view. The first row decides
    /// the shape of all.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] where `values` don't fill a row of that shape.
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
        let next = self.rows.len();
        let entry = self
            .rows
            .entry((row.image, row.view))
            .or_insert_with(|| Entry {
                stamp: String::new(),
                index: next,
            });
        entry.stamp = row.stamp;
        if entry.index == next {
            self.values.extend_from_slice(values);
        } else {
            self.values[entry.index * length..(entry.index + 1) * length].copy_from_slice(values);
        }
        self.is_changed = true;
        Ok(())
    }

    /// Writes the cache to its folder, if it has one and has changed since it was read. The file is
    /// replaced at once: a reader sees the old or the new one.
    ///
    /// # Errors
    ///
    /// [`TransferError::Cache`] where it can't be written.
    pub fn save(&mut self) -> Result<(), TransferError> {
        let Some((path, key)) = self.file.as_ref().filter(|_| self.is_changed) else {
            return Ok(());
        };
        self.write(path, key)
            .map_err(|reason| TransferError::Cache {
                path: path.clone(),
                reason,
            })?;
        self.is_changed = false;
        Ok(())
    }

    fn row_length(&self) -> usize {
        self.row_shape.iter().product()
    }

    fn write(&self, path: &Path, key: &CacheKey) -> Result<(), String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let bytes: Vec<u8> = self.values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let mut shape = vec![self.rows.len()];
        shape.extend(&self.row_shape);
        let view = TensorView::new(Dtype::F32, shape, &bytes).map_err(|e| text(&e))?;
        let rows: Vec<(&String, usize, &Entry)> = self
            .rows
            .iter()
            .map(|((image, view), entry)| (image, *view, entry))
            .collect();
        let metadata = std::collections::HashMap::from([
            (
                "rows".to_string(),
                serde_json::to_string(&rows).map_err(|e| text(&e))?,
            ),
            (
                "key".to_string(),
                serde_json::to_string(key).map_err(|e| text(&e))?,
            ),
        ]);
        let content =
            safetensors::serialize([(TENSOR, view)], Some(metadata)).map_err(|e| text(&e))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(|e| text(&e))?;
        let temporary = path.with_extension(format!("tmp-{}", std::process::id()));
        let written = fs::File::create(&temporary)
            .and_then(|mut file| file.write_all(&content).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&temporary, path));
        written.map_err(|error| {
            // The error that matters is the one that stopped the writing.
            let _ = fs::remove_file(&temporary);
            text(&error)
        })
    }

    fn read(&mut self, path: &Path) -> Result<(), TransferError> {
        let broken = |reason: String| TransferError::Cache {
            path: path.to_path_buf(),
            reason,
        };
        let bytes = fs::read(path).map_err(|e| broken(e.to_string()))?;
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| broken(e.to_string()))?;
        let rows = header
            .metadata()
            .as_ref()
            .and_then(|metadata| metadata.get("rows"))
            .ok_or_else(|| broken("it has no list of rows".to_string()))?;
        let rows: Vec<(String, usize, Entry)> =
            serde_json::from_str(rows).map_err(|e| broken(e.to_string()))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|e| broken(e.to_string()))?;
        let view = file.tensor(TENSOR).map_err(|e| broken(e.to_string()))?;
        let (count, row_shape) = view.shape().split_first().unwrap_or((&0, &[]));
        if view.dtype() != Dtype::F32 || *count != rows.len() {
            return Err(broken(format!(
                "it holds {:?} {:?}, expected F32 and {} rows",
                view.dtype(),
                view.shape(),
                rows.len()
            )));
        }
        self.row_shape = row_shape.to_vec();
        let is_permutation = {
            let mut indices: Vec<usize> = rows.iter().map(|(_, _, entry)| entry.index).collect();
            indices.sort_unstable();
            indices.iter().copied().eq(0..rows.len())
        };
        if !is_permutation {
            return Err(broken("its list of rows is inconsistent".to_string()));
        }
        self.values = view
            .data()
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        self.rows = rows
            .into_iter()
            .map(|(image, view, entry)| ((image, view), entry))
            .collect();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
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
        assert_eq!(cache.get(&row("b.jpg", "1", 0)), Some(&[3.0, 4.0][..]));
        assert_eq!(cache.get(&row("a.jpg", "2", 0)), None);
        cache
            .insert(row("a.jpg", "2", 0), &[2], &[7.0, 8.0])
            .unwrap();
        assert_eq!(cache.get(&row("a.jpg", "2", 0)), Some(&[7.0, 8.0][..]));
        assert_eq!(cache.get(&row("a.jpg", "1", 1)), Some(&[5.0, 6.0][..]));
        assert_eq!(cache.len(), 3);
    }

    #[test]
    fn another_key_is_another_file() {
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
        let path = folder
            .path()
            .join(format!("{}.safetensors", key().digest()));
        fs::write(&path, b"not a cache").unwrap();
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
