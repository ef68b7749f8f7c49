//! Decoded images kept in memory.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::content::ContentHash;
use crate::picture::Picture;

/// Keeps decoded images until `limit` bytes are used, and those it has for good: over a whole
/// epoch every image is asked for once, so evicting one for another could only lose.
#[derive(Debug)]
pub(crate) struct DecodedCache {
    limit: usize,
    /// Somebody asked for the content of these images, so that their files are hashed as they are decoded.
    hashes: AtomicBool,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    bytes: usize,
    /// An image was turned down for want of room.
    full: bool,
    images: HashMap<usize, Decoded>,
}

/// An image, and the hash of the bytes that it was decoded from, where they were hashed.
#[derive(Debug, Clone)]
pub(crate) struct Decoded {
    pub(crate) image: Picture,
    pub(crate) content: Option<ContentHash>,
}

impl DecodedCache {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            hashes: AtomicBool::new(false),
            entries: Mutex::default(),
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, index: usize) -> Option<Decoded> {
        self.entries().images.get(&index).cloned()
    }

    /// Returns true if files are to be hashed as they are decoded.
    pub(crate) fn wants_hashes(&self) -> bool {
        self.hashes.load(Ordering::Relaxed)
    }

    /// Returns the hash of what a held image was decoded from. One that was decoded before anybody asked is let go,
    /// since the file may have changed meanwhile.
    pub(crate) fn content(&self, index: usize) -> Option<ContentHash> {
        self.hashes.store(true, Ordering::Relaxed);
        let mut held = self.entries();
        let found = held.images.get(&index)?.content;
        if found.is_none()
            && let Some(decoded) = held.images.remove(&index)
        {
            held.bytes -= decoded.image.bytes();
        }
        found
    }

    pub(crate) fn offer(&self, index: usize, decoded: &Decoded) {
        let mut held = self.entries();
        let bytes = held.bytes + decoded.image.bytes();
        if held.images.contains_key(&index) {
            return;
        }
        if bytes > self.limit {
            held.full = true;
            return;
        }
        held.bytes = bytes;
        held.images.insert(index, decoded.clone());
    }

    /// Returns true if the image is not cached and the cache is full.
    pub(crate) fn is_closed_to(&self, index: usize) -> bool {
        let held = self.entries();
        held.full && !held.images.contains_key(&index)
    }

    /// Creates a cache with the same limit and nothing in it.
    pub(crate) fn emptied(&self) -> Self {
        Self::new(self.limit)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.entries().bytes
    }
}
