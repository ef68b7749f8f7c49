//! Classes in an order, from the table or the folders to the exported file.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::workshop::{Called, rekindle, text, workshop};

/// Pictures with ever more bright columns in folders of their grades, and a table of them.
fn graded(names: [&str; 3]) -> (TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    let mut lines = String::from("file,label,split\n");
    for at in 0..36u32 {
        let grade = at % 3;
        let picture = image::RgbImage::from_fn(48, 48, |x, y| {
            let noise = ((x * 31 + y * 17 + at * 101) % 40) as u8;
            image::Rgb(
                [if x < 8 + 15 * grade {
                    170 + noise
                } else {
                    30 + noise
                }; 3],
            )
        });
        let part = if at % 4 == 3 { "val" } else { "train" };
        let name = format!("{part}/{}/{at}.png", names[grade as usize]);
        let path = images.join(&name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        picture.save(path).unwrap();
        lines.push_str(&format!("images/{name},{},{part}\n", names[grade as usize]));
    }
    let table = folder.path().join("grades.csv");
    std::fs::write(&table, lines).unwrap();
    (folder, images, table)
}

fn train(out: &Path, options: &[&str]) -> Called {
    let mut arguments = vec!["train", "--out", text(out), "--seed", "1"];
    arguments.extend(["--weights", text(&workshop().weights), "--batch", "8"]);
    arguments.extend(options);
    rekindle(arguments)
}

#[test]
fn grades_are_trained_measured_reported_and_exported() {
    let (folder, images, table) = graded(["2", "9", "10"]);
    let out = folder.path().join("runs");
    let options = [
        "--table",
        text(&table),
        "--ordinal",
        "--epochs",
        "3",
        "--strategy",
        "one-call,features",
        "--json",
    ];
    let told = train(&out, &options).ends_with(0);
    assert!(
        told.stderr.contains("from the lowest: 2, 9, 10"),
        "{}",
        told.stderr
    );
    assert!(told.stderr.contains(" MAE "), "{}", told.stderr);
    let told = told.json();
    let runs = told["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2);
    for run in runs {
        let model = run["directory"].as_str().unwrap();
        // The file knows that there is an order, of the table and of folders.
        for data in [&["--table", text(&table)][..], &[text(&images)]] {
            let command = [&["evaluate", model], data].concat();
            let found = rekindle([&command[..], &["--json"]].concat())
                .ends_with(0)
                .json();
            assert_eq!(found["task"], "ordinal");
            for figure in ["mae", "quadratic_weighted_kappa", "within_one"] {
                assert_eq!(found["ordinal"][figure], run[figure], "{figure} {run}");
            }
            let said = rekindle(command).ends_with(0).stdout;
            assert!(said.contains("classes, quadratic weighted kappa"), "{said}");
        }
        let page = std::fs::read_to_string(Path::new(model).join("report.html")).unwrap();
        for expected in [
            "weighted kappa",
            "MAE (classes)",
            "at most one class off",
            "off by",
        ] {
            assert!(page.contains(expected), "{expected}");
        }
        let record = std::fs::read(Path::new(model).join("run.json")).unwrap();
        let record: Value = serde_json::from_slice(&record).unwrap();
        assert_eq!(
            record["data"]["classes"],
            serde_json::json!(["2", "9", "10"])
        );
        exported(model, folder.path(), &images);
    }
    let page = folder.path().join("page.html");
    let report = rekindle(["report", text(&out), "--out", text(&page), "--json"]).ends_with(0);
    let report = report.json();
    for run in runs {
        let told = report["runs"].as_array().unwrap().iter();
        let mut told = told.filter(|told| told["directory"] == run["directory"]);
        let told = told.next().unwrap();
        assert_eq!(told["mae"], run["mae"]);
        assert_eq!(
            told["quadratic_weighted_kappa"],
            run["quadratic_weighted_kappa"]
        );
    }
    let resumed = [
        "--table",
        text(&table),
        "--ordinal",
        "--resume",
        "--strategy",
        "features",
    ];
    let resumed = [&resumed[..], &["--epochs", "4", "--json"]].concat();
    assert_eq!(
        train(&out, &resumed).ends_with(0).json()["runs"][0]["epochs"],
        4
    );
}

/// Every written form answers as the run does.
fn exported(model: &str, folder: &Path, images: &Path) {
    let picture = images.join("val/10/11.png");
    let answer = |model: &str| {
        let told = rekindle(["predict", model, text(&picture), "--json"])
            .ends_with(0)
            .json();
        told["classes"][0].clone()
    };
    let expected = answer(model);
    for (name, options) in [
        ("a.onnx", &["--with-preprocessing"][..]),
        ("b.safetensors", &[]),
    ] {
        let out = folder.join(format!(
            "{}-{name}",
            Path::new(model).file_name().unwrap().display()
        ));
        let command = [&["export", model, "--out", text(&out)], options].concat();
        rekindle(command).ends_with(0);
        assert_eq!(answer(text(&out))["class"], expected["class"], "{name}");
    }
}

#[test]
fn folders_of_words_are_graded_in_the_order_that_is_given_and_cross_validated() {
    let (folder, images, _) = graded(["unripe", "half", "ripe"]);
    let out = folder.path().join("runs");
    let images = images.join("train");
    let options = [
        text(&images),
        "--ordinal=unripe,half,ripe",
        "--folds",
        "2",
        "--split-copies",
        "--strategy",
        "one-call,features",
        "--monitor",
        "kappa",
        "--loss",
        "cross-entropy",
        "--epochs",
        "1",
        "--json",
    ];
    let told = train(&out, &options).ends_with(0);
    assert!(
        told.stderr.contains("from the lowest: unripe, half, ripe"),
        "{}",
        told.stderr
    );
    let told = told.json();
    assert_eq!(told["strategies"][0]["measure"], "mean absolute error");
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("weighted kappa"));
}

#[test]
fn what_does_not_go_with_an_order_is_said_before_anything_is_read() {
    let (folder, images, table) = graded(["unripe", "half", "ripe"]);
    let out = folder.path().join("runs");
    let (images, table) = (text(&images), text(&table));
    for (options, said) in [
        (&[images, "--ordinal=unripe,ripe"][..], "half, ripe, unripe"),
        (&["--table", table, "--ordinal=a,b,b"], "b is named twice"),
        (
            &[images, "--ordinal", "--task", "multi-label"],
            "leave one of them out",
        ),
        (
            &["--table", table, "--ordinal", "--target", "label"],
            "cannot be used with",
        ),
        (
            &["--table", table, "--ordinal", "--labels", "a,b"],
            "cannot be used with",
        ),
        (&[images, "--ordinal", "--loss", "l2"], "squared-emd"),
        (&[images, "--loss", "squared-emd"], "--ordinal"),
        (
            &[images, "--monitor", "kappa"],
            "pictures have one label each",
        ),
    ] {
        let options = [options, &["--strategy", "features"]].concat();
        let refused = train(&out, &options).ends_with(2);
        assert!(refused.stderr.contains(said), "{}", refused.stderr);
        assert!(!out.exists(), "{options:?}");
    }
    let model = workshop().runs.join("features");
    let data = text(&workshop().data);
    let refused = rekindle(["evaluate", text(&model), data, "--ordinal"]).ends_with(2);
    assert!(
        refused.stderr.contains("the model is for single-label"),
        "{}",
        refused.stderr
    );
}
