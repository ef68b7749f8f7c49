//! Work on features that are computed once and kept.

mod cache;

pub use cache::{CacheKey, FeatureCache, Row};
