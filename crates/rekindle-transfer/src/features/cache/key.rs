//! What an activation depends on.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Everything that decides an activation but the picture: another key is another folder.
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
    /// SHA-256 of the key, in hexadecimal: the folder's name.
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
