//! Joins the caches that several processes filled.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::chunk::{self, Chunk, OTHER_KEY, OpenFiles, Opened};
use super::{FeatureCache, other_shape};
use crate::TransferError;

/// What [`merge_caches`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MergedCaches {
    /// Rows of each [key](super::CacheKey): a network, its cut and what it was shown.
    pub rows: Vec<MergedRows>,
    /// Files that were left out.
    pub refused: Vec<RefusedChunk>,
}

/// Rows of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MergedRows {
    /// The [digest](super::CacheKey::digest) of the key.
    pub key: String,
    /// The shape of a row.
    pub row_shape: Vec<usize>,
    /// Files that were read.
    pub files: usize,
    /// Rows that were added.
    pub added: usize,
    /// Rows that were there already, the same in every bit.
    pub present: usize,
    /// Rows that were there already with other values; those that were there stay.
    pub differing: usize,
    /// Rows that the merged cache has now.
    pub total: usize,
}

/// A file that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedChunk {
    /// The file.
    pub path: PathBuf,
    /// The fault.
    pub reason: String,
}

/// Adds all rows of `caches` to the cache in the folder `out`, which need not exist; rows that it has already stay. `progress`
/// hears of every file that is read.
///
/// Every file is compared with the hash that was written with it, in `out` too. A file that is damaged or that another
/// version wrote is left out and told; the rows in it are computed again when somebody asks for them. Called again, it adds
/// nothing. New files hold 32 MB of rows, however small those were that they come from, and appear whole or not at all, so
/// that a merge may be killed and begun again. In memory are such a file, while it is written three times, and 30 to 100 bytes
/// for each row of the merged cache.
///
/// # Errors
///
/// [`TransferError::NotACache`] for a folder that is none or holds something else, and [`TransferError::Cache`] where a
/// file of `out` is damaged, or none can be written.
pub fn merge_caches(
    out: &Path,
    caches: &[PathBuf],
    mut progress: impl FnMut(&Path),
) -> Result<MergedCaches, TransferError> {
    let mut folders: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for cache in caches {
        for (key, folder) in key_folders(cache)? {
            folders.entry(key).or_default().push(folder);
        }
    }
    let mut merged = MergedCaches::default();
    for (key, folders) in folders {
        let mut target = None;
        let mut found = MergedRows {
            key,
            ..MergedRows::default()
        };
        for folder in folders {
            for path in chunk::paths(&folder)? {
                progress(&path);
                let opened = match checked(&path, &found.key) {
                    Ok(opened) => opened,
                    Err(reason) => {
                        merged.refused.push(RefusedChunk { path, reason });
                        continue;
                    }
                };
                let target = match &mut target {
                    Some(target) => target,
                    None => target.insert(open_target(out, &opened, &mut progress)?),
                };
                let shape = opened.chunk.row_shape();
                if !target.is_empty() && shape != target.row_shape() {
                    let reason = other_shape(shape, target.row_shape());
                    merged.refused.push(RefusedChunk { path, reason });
                    continue;
                }
                found.files += 1;
                add(target, opened, &mut found)?;
            }
        }
        if let Some(mut target) = target {
            target.save()?;
            found.total = target.len();
            found.row_shape = target.row_shape().to_vec();
            merged.rows.push(found);
        }
    }
    Ok(merged)
}

/// The folders of keys in a cache, with their names.
fn key_folders(cache: &Path) -> Result<Vec<(String, PathBuf)>, TransferError> {
    let not_a_cache = |reason: String| TransferError::NotACache {
        path: cache.to_path_buf(),
        reason,
    };
    let failed = |error: io::Error| not_a_cache(error.to_string());
    let (mut found, mut others) = (Vec::new(), 0);
    for entry in fs::read_dir(cache).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        match name.filter(|name| is_digest(name)) {
            Some(name) => found.push((name.to_string(), path)),
            None => others += 1,
        }
    }
    if found.is_empty() && others > 0 {
        return Err(not_a_cache(
            "none of its folders is called by 64 hexadecimal digits".into(),
        ));
    }
    Ok(found)
}

fn is_digest(name: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    name.len() == 64 && name.bytes().all(is_digit)
}

/// A chunk in the folder of `digest`, or the reason why it can't be used.
fn checked(path: &Path, digest: &str) -> Result<Opened, String> {
    let opened = Chunk::open_verified(path).map_err(|error| match error {
        TransferError::Cache { reason, .. } => reason,
        other => other.to_string(),
    })?;
    if !opened.key.is_current() {
        return Err("another version of this program wrote it".into());
    }
    match opened.key.digest() == digest {
        true => Ok(opened),
        false => Err(OTHER_KEY.into()),
    }
}

/// Opens the cache that `opened` is to be added to, after a look at all that it has.
fn open_target(
    out: &Path,
    opened: &Opened,
    progress: &mut impl FnMut(&Path),
) -> Result<FeatureCache, TransferError> {
    let folder = out.join(opened.key.digest());
    for path in chunk::paths(&folder)? {
        progress(&path);
        Chunk::open_verified(&path)?;
    }
    FeatureCache::open(out, opened.key.clone())
}

/// Adds the rows of a chunk.
fn add(
    target: &mut FeatureCache,
    opened: Opened,
    found: &mut MergedRows,
) -> Result<(), TransferError> {
    let Opened { chunk, rows, .. } = opened;
    let files = OpenFiles::default();
    for (at, row) in rows.into_iter().enumerate() {
        let values = chunk.read(at, &files)?;
        let is_equal = target.get(&row)?.map(|kept| {
            let mut pairs = kept.iter().zip(&values);
            pairs.all(|(a, b)| a.to_bits() == b.to_bits())
        });
        match is_equal {
            Some(true) => found.present += 1,
            Some(false) => found.differing += 1,
            None => {
                target.insert(row, chunk.row_shape(), &values)?;
                found.added += 1;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{CacheKey, Row};
    use super::*;

    fn key() -> CacheKey {
        CacheKey::from_parts("abc", "{}")
    }

    fn row(content: &str) -> Row {
        Row {
            content: content.into(),
            draw: None,
        }
    }

    /// A cache in `folder` with rows of two numbers.
    fn cache(folder: &Path, rows: &[(&str, f32)]) -> PathBuf {
        let mut cache = FeatureCache::open(folder, key()).unwrap();
        for (content, value) in rows {
            cache.insert(row(content), &[2], &[*value, -value]).unwrap();
        }
        cache.save().unwrap();
        folder.to_path_buf()
    }

    fn chunk_of(folder: &Path) -> PathBuf {
        chunk::paths(&folder.join(key().digest()))
            .unwrap()
            .remove(0)
    }

    fn merge(out: &Path, caches: &[PathBuf]) -> MergedCaches {
        merge_caches(out, caches, |_| ()).unwrap()
    }

    #[test]
    fn all_rows_are_there_once_and_a_second_merge_adds_none() {
        let work = tempfile::tempdir().unwrap();
        let at = |name: &str| work.path().join(name);
        let caches = [
            cache(&at("a"), &[("x", 1.0), ("y", 2.0)]),
            cache(&at("b"), &[("y", 2.0), ("z", 3.0)]),
            cache(&at("c"), &[("z", 4.0)]),
        ];
        fs::create_dir(at("empty")).unwrap();
        let expected = MergedRows {
            key: key().digest(),
            row_shape: vec![2],
            files: 3,
            added: 3,
            present: 1,
            differing: 1,
            total: 3,
        };
        let all = [&caches[..], &[at("empty")]].concat();
        let merged = merge(&at("out"), &all);
        assert_eq!(merged.rows, std::slice::from_ref(&expected));
        let again = MergedRows {
            added: 0,
            present: 4,
            ..expected
        };
        assert_eq!(merge(&at("out"), &all).rows, [again]);
        let merged = FeatureCache::open(&at("out"), key()).unwrap();
        for (content, value) in [("x", 1.0), ("y", 2.0), ("z", 3.0)] {
            let kept = merged.get(&row(content)).unwrap().unwrap();
            assert_eq!(*kept, [value, -value]);
        }
        assert_eq!(
            chunk::paths(&at("out").join(key().digest())).unwrap().len(),
            1
        );
    }

    #[test]
    fn a_file_with_a_changed_bit_is_left_out_and_named() {
        let work = tempfile::tempdir().unwrap();
        let (good, bad) = (work.path().join("good"), work.path().join("bad"));
        let out = work.path().join("out");
        cache(&good, &[("x", 1.0)]);
        cache(&bad, &[("y", 2.0)]);
        let path = chunk_of(&bad);
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, &bytes).unwrap();
        let merged = merge(&out, &[good, bad.clone()]);
        assert_eq!(merged.rows[0].total, 1);
        assert_eq!(merged.refused.len(), 1);
        assert_eq!(merged.refused[0].path, path);
        assert!(merged.refused[0].reason.contains("changed"));
        // What is damaged in the merged cache itself ends the merge.
        let kept = chunk_of(&out);
        fs::copy(&path, &kept).unwrap();
        let error = merge_caches(&out, &[work.path().join("good")], |_| ()).unwrap_err();
        assert!(error.to_string().contains("changed"), "{error}");
    }

    #[test]
    fn rows_of_another_version_or_shape_are_left_out() {
        let work = tempfile::tempdir().unwrap();
        let at = |name: &str| work.path().join(name);
        let good = cache(&at("good"), &[("x", 1.0)]);
        let mut wide = FeatureCache::open(&at("wide"), key()).unwrap();
        wide.insert(row("w"), &[3], &[1.0, 2.0, 3.0]).unwrap();
        wide.save().unwrap();
        cache(&at("renamed"), &[("r", 1.0)]);
        let other = CacheKey::from_parts("abd", "{}").digest();
        let renamed = at("renamed");
        fs::rename(renamed.join(key().digest()), renamed.join(other)).unwrap();
        let old = r#"{"layout":2,"network":"abc","view":"{}"}"#;
        let old = serde_json::from_str(old).unwrap();
        let mut old = FeatureCache::open(&at("old"), old).unwrap();
        old.insert(row("x"), &[2], &[1.0, 2.0]).unwrap();
        old.save().unwrap();
        let merged = merge(&at("out"), &[good, at("wide"), renamed, at("old")]);
        assert_eq!(merged.rows.len(), 1);
        assert_eq!((merged.rows[0].total, merged.rows[0].files), (1, 1));
        let reasons: Vec<&str> = merged.refused.iter().map(|r| r.reason.as_str()).collect();
        assert_eq!(reasons.len(), 3);
        for part in ["shape", "version"] {
            assert!(reasons.iter().any(|reason| reason.contains(part)));
        }
        assert!(reasons.contains(&OTHER_KEY));
    }

    #[test]
    fn folders_that_are_no_cache_are_refused() {
        let work = tempfile::tempdir().unwrap();
        let at = |name: &str| work.path().join(name);
        fs::create_dir_all(at("photos/ants")).unwrap();
        for name in ["photos", "nowhere"] {
            let error = merge_caches(&at("out"), &[at(name)], |_| ()).unwrap_err();
            assert!(matches!(error, TransferError::NotACache { .. }), "{error}");
            assert!(error.is_invalid_option());
        }
        assert!(!at("out").exists());
    }
}
