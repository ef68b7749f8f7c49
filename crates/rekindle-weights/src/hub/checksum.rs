//! Tells whether a file is the one that was meant.

use std::fmt;

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
