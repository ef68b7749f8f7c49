//! Going on from a trained model with other classes: `train --from`.

use std::fs;
use std::path::Path;

use rekindle::Device;
use rekindle::models::Pretrained;
use rekindle::transfer::features::LinearHead;

use crate::workshop::{HOSTILE, rekindle, text, workshop};

fn copied(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_some_and(|ending| ending == "png") {
            fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
        }
    }
}

/// The workshop's ants under their name, and its bees under one that no model knows.
fn with_wasps(folder: &Path) {
    for part in ["train", "val"] {
        let from = workshop().data.join(part);
        copied(&from.join("ants"), &folder.join(part).join("ants"));
        copied(&from.join(HOSTILE), &folder.join(part).join("wasps"));
    }
}

fn head(file: &str) -> (LinearHead, Vec<String>) {
    let model = Pretrained::open(file, &Device::flex()).unwrap();
    let head = model.model.split_classifier().1.unwrap();
    (LinearHead::of(&head), model.classes.unwrap())
}

#[test]
fn known_classes_keep_their_rows_and_what_is_forgotten_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    with_wasps(&data);
    let begun = &workshop().trained["runs"][0];
    let run = workshop().runs.join("features");
    let out = folder.path().join("runs");
    let arguments = [
        "train",
        text(&data),
        "--from",
        text(&run),
        "--out",
        text(&out),
        "--json",
    ];
    // So slow that nothing moves.
    let options = ["--strategy", "features", "--epochs", "1", "--lr", "1e-30"];
    let called = rekindle([&arguments[..], &options].concat()).ends_with(0);
    assert!(
        called
            .stderr
            .contains("known before: ants; new: wasps; no longer known: <img")
    );
    let found = &called.json()["runs"][0];
    let known = &found["known_classes"];
    assert_eq!(known["kept"], serde_json::json!(["ants"]));
    assert_eq!(known["new"], serde_json::json!(["wasps"]));
    assert_eq!(known["dropped"], serde_json::json!([HOSTILE]));
    assert_eq!(known["measured"]["images"], 20);

    let (before, old) = head(begun["weights"].as_str().unwrap());
    let (after, new) = head(found["weights"].as_str().unwrap());
    let own = old.iter().position(|class| class == "ants").unwrap();
    let place = new.iter().position(|class| class == "ants").unwrap();
    let dim = before.dim();
    let row = |head: &LinearHead, at: usize| head.weight[at * dim..(at + 1) * dim].to_vec();
    assert_eq!(row(&after, place), row(&before, own));
    assert_eq!(after.bias[place], before.bias[own]);
    assert_ne!(row(&after, 1 - place), row(&before, 1 - own));

    // What it recognised before is what it recognises of these files by itself.
    let ants = data.join("val/ants");
    let said = rekindle(["predict", text(&run), text(&ants), "--json"]).ends_with(3);
    let right = said
        .stdout
        .matches("\"predictions\":[{\"class\":\"ants\"")
        .count();
    let before = known["measured"]["accuracy_before"].as_f64().unwrap();
    assert!(
        (before - right as f64 / 20.0).abs() < 1e-12,
        "{before} {right}"
    );
}

#[test]
fn what_keeps_nothing_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    with_wasps(&data);
    let run = workshop().runs.join("features");
    let out = folder.path().join("runs");
    let train = |from: &Path, options: &[&str]| {
        let arguments = [
            "train",
            text(&data),
            "--from",
            text(from),
            "--out",
            text(&out),
        ];
        rekindle([&arguments[..], options].concat())
    };
    for strategy in ["one-call", "scratch"] {
        let called = train(&run, &["--strategy", strategy]).ends_with(2);
        assert!(
            called.stderr.contains("--from has no effect"),
            "{}",
            called.stderr
        );
    }
    let weights = &workshop().weights;
    train(&run, &["--weights", text(weights)]).ends_with(2);
    // A network whose classes are others.
    let called = train(weights, &[]);
    assert_ne!(called.code, 0);
    assert!(called.stderr.contains("--weights"), "{}", called.stderr);
}
