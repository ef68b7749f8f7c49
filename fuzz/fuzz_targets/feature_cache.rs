//! Kept features.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rekindle_fuzz::{file, folder, only_own_panics};
use rekindle_transfer::features::{CacheKey, FeatureCache, Row};

fuzz_target!(init: only_own_panics(), |bytes: &[u8]| {
    let key = CacheKey {
        weights: String::new(),
        cut: String::new(),
        transform: String::new(),
        seed: 0,
    };
    file(&format!("{}.safetensors", key.digest()), bytes);
    if let Ok(cache) = FeatureCache::open(&folder(), key) {
        let row = Row { image: "a".into(), stamp: "1".into(), view: 0 };
        let length: usize = cache.row_shape().iter().product();
        assert!(cache.get(&row).is_none_or(|values| values.len() == length));
    }
});
