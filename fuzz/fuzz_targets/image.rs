//! Pictures: rekindle's own JPEG decoder whole, in part and reduced, and the others behind the same door.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use rekindle_fuzz::only_own_panics;
use rekindle_imagefolder::{DecodeOptions, decode_bytes};

fuzz_target!(init: only_own_panics(), |bytes: &[u8]| {
    let options = DecodeOptions { max_pixels: 1 << 20, ..DecodeOptions::default() };
    if let Ok(image) = decode_bytes(Path::new("fuzz"), bytes, &options) {
        assert!(u64::from(image.width()) * u64::from(image.height()) <= 1 << 20);
    }
});
