//! Pictures that look like others.

use std::fs;

use rekindle::drawings::{DrawingTask, TargetTask};
use serde_json::Value;

use crate::workshop::{Called, program, rekindle, text, workshop};

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

/// A table's files are relative to the table, wherever the command is called, for every command that takes DATA.
#[test]
fn a_table_is_searched_and_names_its_files_from_its_own_folder() {
    let work = tempfile::tempdir().unwrap();
    let photos = work.path().join("photos");
    TargetTask.write_folder(&photos, 3, 2, 5).unwrap();
    let mut table = String::from("file,label\n");
    for at in 0..3 {
        table.push_str(&format!("train/ants/{at:04}.png,ants\n"));
    }
    fs::write(photos.join("some.csv"), table).unwrap();
    let copy = work.path().join("copy.png");
    fs::copy(photos.join("train/ants/0001.png"), &copy).unwrap();
    let call = |arguments: &[&str]| {
        let mut command = program();
        command.current_dir(work.path()).args(arguments);
        command.args(["--weights", text(&workshop().weights), "--json"]);
        Called::from(command.output().unwrap()).ends_with(0)
    };
    let told = call(&["similar", "photos/some.csv", "copy.png", "--top", "2"]);
    let said = "photos/some.csv: files in file, labels in label";
    assert!(told.stderr.contains(said), "{}", told.stderr);
    let found = told.json();
    let first = &found["similar"][0];
    assert_eq!(
        (&first["path"], &first["class"]),
        (&"photos/train/ants/0001.png".into(), &"ants".into())
    );
    assert_eq!(found["similar"].as_array().unwrap().len(), 2);
    let table = ["--table", "photos/some.csv"];
    let told = call(&["features", table[0], table[1], "--out", "all.safetensors"]);
    assert_eq!(told.json()["images"], 3);
}
