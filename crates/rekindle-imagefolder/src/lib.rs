//! Image folders as training data: scan, decode, augment, split, batch.
