//! Kept features.
#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use rekindle_fuzz::{folder, only_own_panics};
use rekindle_transfer::features::{CacheKey, FeatureCache, Row};

fuzz_target!(init: only_own_panics(), |bytes: &[u8]| {
    let key = CacheKey::from_parts("", "");
    let chunks = folder().join(key.digest());
    fs::create_dir_all(&chunks).expect("a folder can be made");
    fs::write(chunks.join("000000.safetensors"), bytes).expect("a file can be written");
    let Ok(cache) = FeatureCache::open(&folder(), key) else {
        return;
    };
    let row = Row {
        content: "a".into(),
        draw: None,
    };
    let length: usize = cache.row_shape().iter().product();
    if let Ok(Some(values)) = cache.get(&row) {
        assert_eq!(values.len(), length);
    }
});
