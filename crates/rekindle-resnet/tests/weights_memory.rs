//! Loading takes little memory and time. One test, alone in its process, since it reads the
//! process's peak.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::time::Instant;

use rekindle_resnet::weights;

fn peak_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        * 1024
}

#[test]
fn resnet50_fits_in_three_times_its_file() {
    let path = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../shared/data/weights/resnet50-standin.safetensors"
    ));
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return;
    }
    let size = fs::metadata(path).unwrap().len();
    let before = peak_bytes();
    let start = Instant::now();
    let checkpoint = weights::read(path).unwrap();
    let loaded: Vec<Vec<f32>> = checkpoint
        .tensors
        .values()
        .filter(|tensor| tensor.element_type().is_float())
        .map(|tensor| tensor.read_f32().unwrap())
        .collect();
    let seconds = start.elapsed().as_secs_f64();
    let grown = peak_bytes() - before;
    let elements: usize = loaded.iter().map(Vec::len).sum();
    println!(
        "{size} bytes of f16, {elements} elements: peak grew by {grown} bytes ({:.2} x the file), {seconds:.3} s",
        grown as f64 / size as f64
    );
    assert!(elements > 25_000_000);
    assert!(grown < 3 * size, "{grown} bytes for a file of {size}");
    // About a second on a machine to itself; several things may run on this one.
    assert!(seconds < 5.0, "{seconds} s");
}
