//! Decoded images kept in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use image::RgbImage;

/// Keeps decoded images until `limit` bytes are used, and those it has for good: over a whole
/// epoch every image is asked for once, so evicting one for another could only lose.
#[derive(Debug)]
pub(crate) struct DecodedCache {
    limit: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    bytes: usize,
    /// An image was turned down for want of room.
    full: bool,
    images: HashMap<usize, Arc<RgbImage>>,
}

impl DecodedCache {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            held: Mutex::default(),
        }
    }

    pub(crate) fn get(&self, index: usize) -> Option<Arc<RgbImage>> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.images.get(&index).cloned()
    }

    pub(crate) fn offer(&self, index: usize, image: &Arc<RgbImage>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = held.bytes + image.as_raw().len();
        if held.images.contains_key(&index) {
            return;
        }
        if bytes > self.limit {
            held.full = true;
            return;
        }
        held.bytes = bytes;
        held.images.insert(index, Arc::clone(image));
    }

    /// Whether the image is not held, and the cache is full.
    pub(crate) fn is_closed_to(&self, index: usize) -> bool {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.full && !held.images.contains_key(&index)
    }

    /// A cache with the same limit and nothing in it.
    pub(crate) fn emptied(&self) -> Self {
        Self::new(self.limit)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .bytes
    }
}
