//! Helpers that the targets share.

use std::fs;
use std::panic;
use std::path::PathBuf;

/// Panics of other crates are caught and become errors, so only those of rekindle's own code are findings; libFuzzer's
/// own hook would end the process at any.
pub fn only_own_panics() {
    panic::set_hook(Box::new(|panic| {
        let is_own = panic
            .location()
            .is_none_or(|at| at.file().contains("rekindle"));
        if is_own {
            eprintln!("{panic}");
            std::process::abort();
        }
    }));
}

/// A file of this process on a disk in memory, where there is one.
pub fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let folder = folder();
    let path = folder.join(name);
    fs::write(&path, bytes).expect("a temporary file can be written");
    path
}

/// A folder of this process.
pub fn folder() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    let parent = if memory.is_dir() {
        memory
    } else {
        std::env::temp_dir()
    };
    let folder = parent.join(format!("rekindle-fuzz-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a temporary folder can be made");
    folder
}
