//! Identifies everything that an activation depends on.

use burn::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::backbone::{hexadecimal, text};
use crate::{Backbone, FrozenPrefix, TransferError};

/// Counts the layouts of a cache's folder; other ones are other folders.
const LAYOUT: u64 = 3;

/// Everything that decides an activation but the picture: another key is another folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheKey {
    layout: u64,
    network: String,
    view: String,
}

impl CacheKey {
    /// Returns the key of what `prefix` makes on `device` of images of `height` by `width` pixels that are shown by
    /// `view`: the preprocessing and augmentation with its seed, in a form that changes when they do, such as JSON.
    /// The network's part is computed from its live weights, see [`FrozenPrefix::digest`].
    ///
    /// # Errors
    ///
    /// As [`FrozenPrefix::forward`].
    pub fn of<B: Backbone>(
        prefix: &FrozenPrefix<B>,
        device: &Device,
        (height, width): (usize, usize),
        view: &str,
    ) -> Result<Self, TransferError> {
        Ok(Self::from_parts(
            &prefix.digest(device, height, width)?,
            view,
        ))
    }

    /// Returns the key of rows that no [`FrozenPrefix`] makes. `network` must change whenever what makes the rows
    /// does, and `view` whenever what it is shown does: hashes of both.
    pub fn from_parts(network: &str, view: &str) -> Self {
        Self {
            layout: LAYOUT,
            network: network.to_string(),
            view: view.to_string(),
        }
    }

    /// Returns true for a key of the folders that this version reads and writes.
    pub(super) fn is_current(&self) -> bool {
        self.layout == LAYOUT
    }

    /// Returns the SHA-256 of the key, in hexadecimal: the folder's name.
    pub fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        hasher.update(self.layout.to_le_bytes());
        text(&mut hasher, &self.network);
        text(&mut hasher, &self.view);
        hexadecimal(hasher)
    }
}

/// A picture, and the view of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Row {
    /// The picture's content: a hash of its bytes. Its name doesn't matter.
    pub content: String,
    /// Position in the data set and number of the view, which decide the augmentation besides the key. None
    /// where nothing is drawn at random, so that a picture that has moved is found.
    pub draw: Option<(usize, usize)>,
}

/// A row's name in 16 bytes, the beginning of a SHA-256: of ten million names, two are equal with a probability below 1e-24.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct RowId([u8; 16]);

impl RowId {
    pub fn of(row: &Row) -> Self {
        let mut hasher = Sha256::new();
        text(&mut hasher, &row.content);
        if let Some((position, view)) = row.draw {
            for number in [position, view] {
                hasher.update((number as u64).to_le_bytes());
            }
        }
        let mut id = [0; 16];
        id.copy_from_slice(&hasher.finalize()[..16]);
        Self(id)
    }
}
