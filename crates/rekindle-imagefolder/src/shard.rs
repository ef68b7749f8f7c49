//! Parts of a data set for several processes.

use std::fmt;
use std::path::{Component, Path};
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::folder::ImageFolder;

const OPTION: &str = "shard";

/// One of `count` parts of a data set, counted from 0. Together they are the whole, and no picture is in two of them.
///
/// A picture's shard is a function of its path alone, so that it is the same on every machine and whatever other pictures
/// there are: the first eight bytes of the SHA-256 of the path, as a big-endian number, modulo `count`. The path is
/// relative to the folder that was opened, its bytes as they are in the folder, with `/` between its parts. In Python:
///
/// ```py
/// int(hashlib.sha256(b"train/ants/0013035.jpg").hexdigest()[:16], 16) % count
/// ```
///
/// Shards are equally large within the square root of their size, as drawn lots are.
///
/// ```
/// use std::path::Path;
///
/// use rekindle_imagefolder::Shard;
///
/// let shards: Vec<Shard> = (0..3).map(|index| Shard::new(index, 3)).collect::<Result<_, _>>()?;
/// let path = Path::new("ants/0013035.jpg");
/// assert_eq!(shards.iter().filter(|shard| shard.contains(path)).count(), 1);
/// assert_eq!("2/3".parse::<Shard>()?, shards[2]);
/// # Ok::<(), rekindle_imagefolder::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: u64,
    count: u64,
}

impl Shard {
    /// Returns shard `index` of `count`; the first is 0.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`] where `index` is not below `count`.
    pub fn new(index: u64, count: u64) -> Result<Self, Error> {
        match index < count {
            true => Ok(Self { index, count }),
            false => Err(Error::InvalidOption {
                option: OPTION,
                reason: match count {
                    0 => "there are no 0 shards; give at least one, as in 0/1".into(),
                    _ => format!(
                        "there is no shard {index} of {count}; they are counted from 0 to {}",
                        count - 1
                    ),
                },
            }),
        }
    }

    /// Returns the number of the shard, from 0 on.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Returns the number of shards.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns true if the picture at `path`, relative to the data set's folder, is in this shard.
    pub fn contains(&self, path: &Path) -> bool {
        let mut hasher = Sha256::new();
        let mut separator = "";
        for part in path.components() {
            hasher.update(separator);
            hasher.update(part.as_os_str().as_encoded_bytes());
            // The root of an absolute path is a separator itself.
            separator = if part == Component::RootDir { "" } else { "/" };
        }
        let mut first = [0; 8];
        first.copy_from_slice(&hasher.finalize()[..8]);
        u64::from_be_bytes(first) % self.count == self.index
    }

    /// Returns the positions of its pictures among those of `folder`, in order.
    pub fn positions(&self, folder: &ImageFolder) -> Vec<usize> {
        let samples = folder.samples().iter().enumerate();
        let own = samples.filter(|(_, sample)| {
            let path = sample.path.strip_prefix(folder.root());
            self.contains(path.unwrap_or(&sample.path))
        });
        own.map(|(position, _)| position).collect()
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => text.parse().ok(),
            false => None,
        };
        let numbers = text.split_once('/');
        let numbers = numbers.and_then(|(index, count)| Some((number(index)?, number(count)?)));
        match numbers {
            Some((index, count)) => Self::new(index, count),
            None => Err(Error::InvalidOption {
                option: OPTION,
                reason: format!("{text:?} is no shard; expected I/N, from 0/N to (N - 1)/N"),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The shards that Python's hashlib gives: `int(hashlib.sha256(path.encode()).hexdigest()[:16], 16) % count`.
    #[test]
    fn a_path_is_in_the_shard_that_its_sha_256_says() {
        for (path, count, expected) in [
            ("train/ants/0013035.jpg", 8, 0),
            ("train/ants/0013035.jpg", 7, 3),
            ("a b/é.png", 1000, 858),
            ("/abs/x.jpg", 5, 2),
            ("x.jpg", 1, 0),
        ] {
            let of = |index| Shard::new(index, count).unwrap();
            let found: Vec<u64> = (0..count)
                .filter(|index| of(*index).contains(Path::new(path)))
                .collect();
            assert_eq!(found, [expected], "{path} of {count}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_no_utf_8_have_a_shard_of_their_own() {
        use std::os::unix::ffi::OsStrExt;

        let path = Path::new(std::ffi::OsStr::from_bytes(b"caf\xe9.jpg"));
        assert!(Shard::new(75, 100).unwrap().contains(path));
    }

    #[test]
    fn texts_that_are_no_shard_are_refused_with_what_is_expected() {
        for text in [
            "", "1", "a/b", "1/", "-1/4", "+1/4", "1/2/3", " 1/4", "1.0/4",
        ] {
            let message = text.parse::<Shard>().unwrap_err().to_string();
            assert!(message.contains("0/N"), "{text:?}: {message}");
        }
        let message = "4/4".parse::<Shard>().unwrap_err().to_string();
        assert!(message.contains("from 0 to 3"), "{message}");
        assert!("0/0".parse::<Shard>().is_err());
        assert_eq!("3/4".parse::<Shard>().unwrap().to_string(), "3/4");
    }
}
