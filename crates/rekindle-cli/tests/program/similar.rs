//! Pictures that look like others.

use std::fs;

use rekindle::drawings::{DrawingTask, TargetTask};
use serde_json::Value;

use crate::workshop::{rekindle, text, workshop};

#[test]
fn a_copy_is_found_first_and_a_picture_never_finds_itself() {
    let work = tempfile::tempdir().unwrap();
    let data = work.path().join("photos");
    TargetTask.write_folder(&data, 6, 3, 5).unwrap();
    let mut files: Vec<_> = fs::read_dir(data.join("train/ants"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    let copy = work.path().join("copy.png");
    fs::copy(&files[2], &copy).unwrap();
    let broken = work.path().join("broken.png");
    fs::write(&broken, b"no picture").unwrap();
    let weights = text(&workshop().weights);
    let asked = [text(&copy), text(&broken), text(&files[2])];
    let fixed = ["similar", text(&data)].into_iter().chain(asked);
    let options = ["--weights", weights, "--top", "3", "--json"];
    let called = rekindle(fixed.chain(options)).ends_with(3);
    assert!(called.stderr.contains("broken.png"));
    let lines: Vec<Value> = called
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    let first = &lines[0]["similar"][0];
    assert_eq!(first["path"], text(&files[2]));
    assert_eq!(first["class"], "ants");
    assert!(first["similarity"].as_f64().unwrap() > 0.999);
    for line in &lines {
        let found = line["similar"].as_array().unwrap();
        assert_eq!(found.len(), 3);
        assert!(found.iter().all(|one| one["path"] != line["path"]));
    }
    rekindle(["similar", text(&data), "--weights", weights]).ends_with(2);
}
