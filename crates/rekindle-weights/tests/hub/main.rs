//! Downloads from a real server on this machine, which does what servers do.
#![cfg(feature = "hub")]
#![allow(clippy::unwrap_used)]

mod archives;
mod cache;
mod hugging_face;
mod refusals;
mod repositories;
mod server;
mod tokens;
mod transfers;

use std::fs;
use std::path::Path;
use std::time::Duration;

use rekindle_weights::hub::{Hub, Progress};
use rekindle_weights::sha256_of;

/// A file of 300,000 bytes, and the SHA-256 that `sha256sum` gives for it.
fn file() -> Vec<u8> {
    (0..300_000u32)
        .map(|i| (i.wrapping_mul(i) % 251) as u8)
        .collect()
}
const SHA: &str = "4abb1f7a";

fn hub(folder: &Path) -> Hub {
    Hub::at(folder)
        .attempts(3, Duration::from_millis(10))
        .timeouts(Duration::from_secs(2), Duration::from_millis(500))
}

fn quiet(_: Progress) {}

fn downloads(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder.join("downloads"))
        .map(|entries| {
            entries
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect()
        })
        .unwrap_or_default();
    names.retain(|name| !name.ends_with(".lock"));
    names.sort();
    names
}
