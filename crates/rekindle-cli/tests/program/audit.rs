//! An audit of drawings with planted faults.

use std::fs;
use std::path::Path;

use rekindle::drawings::{DrawingTask, TargetTask};
use serde_json::Value;

use crate::workshop::{rekindle, text, workshop};

fn first(folder: &Path) -> std::path::PathBuf {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    files[0].clone()
}

/// Names of files of one kind of finding.
fn found(json: &Value, kind: &str) -> Vec<String> {
    let findings = json["findings"].as_array().unwrap().iter();
    let of_kind = findings.filter(|finding| finding["kind"] == kind);
    let name = |finding: &Value| {
        let path = Path::new(finding["path"].as_str().unwrap());
        path.file_name().unwrap().to_str().unwrap().to_string()
    };
    of_kind.map(name).collect()
}

#[test]
fn planted_faults_are_found_listed_and_shown_and_nothing_is_changed() {
    let work = tempfile::tempdir().unwrap();
    let data = work.path().join("photos");
    TargetTask.write_folder(&data, 30, 5, 7).unwrap();
    let weights = text(&workshop().weights);
    let (page, list) = (
        work.path().join("audit.html"),
        work.path().join("audit.csv"),
    );
    let audit = |more: &[&str]| {
        let fixed = [
            "audit",
            text(&data),
            "--weights",
            weights,
            "--out",
            text(&page),
        ];
        rekindle(fixed.iter().chain(more))
    };
    let clean = audit(&["--json"]).ends_with(0).json();
    assert_eq!(clean["clean"], true);
    assert!(found(&clean, "leak").is_empty() && found(&clean, "dark").is_empty());

    let ants = data.join("train/ants");
    fs::copy(first(&ants), data.join("val/ants/leak.png")).unwrap();
    fs::rename(
        first(&data.join("train/bees")),
        ants.join("a bee,\"here\".png"),
    )
    .unwrap();
    fs::write(data.join("train/bees/broken.png"), b"no picture").unwrap();
    let blank = [&b"P6 64 64 255\n"[..], &[0; 64 * 64 * 3]].concat();
    fs::write(data.join("train/bees/blank.ppm"), blank).unwrap();
    let before = rekindle(["verify", text(&data), "--json"]).json();
    let cache = work.path().join("cache");
    let called = audit(&["--json", "--cache", text(&cache)]).ends_with(3);
    let json = called.json();
    assert_eq!(found(&json, "leak"), ["leak.png"]);
    assert_eq!(found(&json, "unreadable"), ["broken.png"]);
    assert_eq!(found(&json, "blank"), ["blank.ppm"]);
    let wrong = found(&json, "wrong_label");
    assert!(
        wrong.contains(&"a bee,\"here\".png".to_string()),
        "{wrong:?}"
    );
    assert_eq!(json["counts"]["leak"], 1);
    assert_eq!(json["clean"], false);
    assert_eq!(rekindle(["verify", text(&data), "--json"]).json(), before);

    let csv = fs::read_to_string(&list).unwrap();
    assert!(csv.starts_with("path,given,suggested,score,kind,part,twin\n"));
    assert_eq!(
        csv.lines().count(),
        1 + json["findings"].as_array().unwrap().len()
    );
    assert!(csv.contains("a bee,\"\"here\"\".png\",ants,bees,"), "{csv}");
    let html = fs::read_to_string(&page).unwrap();
    assert!(html.contains("data:image/jpeg;base64,") && html.contains("probably wrong"));
    assert!(!html.contains(text(work.path())) || html.contains("What was looked at"));

    // Kept features give the same findings.
    let again = audit(&["--cache", text(&cache)]).ends_with(3);
    assert!(again.stdout.contains("leak: ") && again.stdout.contains("looks like bees"));
}

#[test]
fn places_that_cannot_be_are_refused_before_any_work() {
    let data = text(&workshop().data);
    let weights = text(&workshop().weights);
    let inside = workshop().data.join("audit.html");
    for (more, said) in [
        (
            vec!["--out", text(&inside)],
            "lies inside of the images' folder",
        ),
        (vec!["--out", "a.csv"], "--out and --list both name a.csv"),
        (vec!["--list", "no-such-folder/a.csv"], "there is no folder"),
    ] {
        let fixed = ["audit", data, "--weights", weights];
        let called = rekindle(fixed.iter().copied().chain(more)).ends_with(2);
        assert!(called.stderr.contains(said), "{}", called.stderr);
    }
    rekindle(["audit", "no-such-folder", "--weights", weights]).ends_with(3);
}
