//! Defines what a reader returns, whatever the format.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::Error;
use crate::checkpoint::{Format, NamedTensor};

/// All that a reader finds in a file.
#[derive(Default)]
pub(crate) struct Contents {
    pub tensors: BTreeMap<String, NamedTensor>,
    pub metadata: BTreeMap<String, String>,
    /// Python classes that nobody here knows.
    pub foreign: BTreeSet<String>,
    /// Buffers that a pickled module doesn't save in its state dict.
    pub transient: HashSet<String>,
}

/// Runs a parser on a file that may be hostile: a panic becomes an error.
pub(crate) fn guarded<T>(
    path: &Path,
    format: Format,
    parse: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(parse)).unwrap_or_else(|_| {
        Err(Error::corrupt(
            path,
            format.name(),
            "its reader gave up on it",
        ))
    })
}
