//! Archives of data: nothing outside of the folder, no more bytes than allowed.
#![no_main]

use std::fs;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use rekindle_fuzz::{file, folder, only_own_panics};
use rekindle_weights::hub::unzip;

fuzz_target!(init: only_own_panics(), |bytes: &[u8]| {
    let packed = file("packed.zip", bytes);
    let inside = folder().join("inside");
    let out = inside.join("out");
    let _ = fs::remove_dir_all(&inside);
    fs::create_dir_all(&inside).expect("a folder can be made");
    let done = unzip(&packed, &out, 1 << 20);
    for entry in fs::read_dir(&inside).expect("it can be read").flatten() {
        assert_eq!(entry.path(), out, "rekindle wrote outside of the folder");
    }
    if done.is_ok() {
        assert!(size(&out) <= 1 << 20);
    }
});

fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}
