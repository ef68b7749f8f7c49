//! Loading takes little memory. One test, alone in its process, since it reads the
//! process's peak.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

/// Writes ResNet-50 in f16 without ever holding it: every value is 1.
fn write_resnet50(path: &Path) {
    let facts = fs::read(test_support::reference_path("architectures.json")).unwrap();
    let facts: serde_json::Value = serde_json::from_slice(&facts).unwrap();
    let mut header = serde_json::Map::new();
    let mut end = 0;
    for (name, shape) in facts["resnet50"]["state_dict"].as_object().unwrap() {
        if name.ends_with("num_batches_tracked") {
            continue;
        }
        let elements: u64 = shape
            .as_array()
            .unwrap()
            .iter()
            .map(|extent| extent.as_u64().unwrap())
            .product();
        let start = end;
        end += 2 * elements;
        let entry =
            serde_json::json!({"dtype": "F16", "shape": shape, "data_offsets": [start, end]});
        header.insert(name.clone(), entry);
    }
    let header = serde_json::to_vec(&header).unwrap();
    let mut file = BufWriter::new(File::create(path).unwrap());
    file.write_all(&(header.len() as u64).to_le_bytes())
        .unwrap();
    file.write_all(&header).unwrap();
    for _ in 0..end / 2 {
        file.write_all(&0x3C00_u16.to_le_bytes()).unwrap();
    }
    file.flush().unwrap();
}

#[test]
fn resnet50_fits_in_three_times_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = &folder.path().join("resnet50.safetensors");
    write_resnet50(path);
    let size = fs::metadata(path).unwrap().len();
    let peak = || test_support::memory("VmHWM").unwrap();
    let before = peak();
    let checkpoint = rekindle_weights::read(path).unwrap();
    let loaded: Vec<Vec<f32>> = checkpoint
        .tensors
        .values()
        .filter(|tensor| tensor.element_type().is_float())
        .map(|tensor| tensor.read_f32().unwrap())
        .collect();
    let grown = peak() - before;
    let elements: usize = loaded.iter().map(Vec::len).sum();
    println!(
        "{size} bytes of f16, {elements} elements: peak grew by {grown} bytes ({:.2} x the file)",
        grown as f64 / size as f64
    );
    assert!(elements > 25_000_000);
    assert!(grown < 3 * size, "{grown} bytes for a file of {size}");
    assert!(loaded.iter().flatten().all(|value| *value == 1.0));
}
