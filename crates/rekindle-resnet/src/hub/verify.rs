//! Whether a file is the one that was meant.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::Error;

/// The beginning of a SHA-256, in hexadecimal.
#[derive(Debug, Clone)]
pub(super) struct Checksum(String);

impl Checksum {
    pub(super) fn new(prefix: &str) -> Result<Self, Error> {
        let valid =
            (1..=64).contains(&prefix.len()) && prefix.bytes().all(|b| b.is_ascii_hexdigit());
        if valid {
            Ok(Self(prefix.to_ascii_lowercase()))
        } else {
            Err(Error::InvalidRequest {
                what: format!("with the checksum `{prefix}`"),
                detail: "a SHA-256 is 1 to 64 hexadecimal digits here".to_string(),
            })
        }
    }

    pub(super) fn matches(&self, sha256: &str) -> bool {
        sha256.starts_with(&self.0)
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The SHA-256 of a file, in lower-case hexadecimal.
pub(super) fn sha256(path: &Path) -> Result<String, Error> {
    let mut file = File::open(path).map_err(Error::read(path))?;
    let mut hasher = Hasher(Sha256::new());
    io::copy(&mut file, &mut hasher).map_err(Error::read(path))?;
    Ok(hasher
        .0
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

struct Hasher(Sha256);

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
