//! Cross-validation: `train --folds`.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::workshop::{rekindle, text, workshop};

fn train(data: &Path, out: &Path, options: &[&str]) -> crate::workshop::Called {
    let weights = text(&workshop().weights);
    let mut arguments = vec![
        "train",
        text(data),
        "--weights",
        weights,
        "--out",
        text(out),
    ];
    arguments.extend(["--json", "--quiet"]);
    arguments.extend(options);
    rekindle(arguments)
}

#[test]
fn every_image_is_judged_once_by_a_run_that_did_not_learn_from_it() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("runs");
    let data = workshop().data.join("train");
    let options = [
        "--folds",
        "3",
        "--split-copies",
        "--strategy",
        "features,scratch",
    ];
    let options = [&options[..], &["--epochs", "2"]].concat();
    let found = train(&data, &out, &options).ends_with(0).json();
    let folds = found["folds"].as_array().unwrap();
    assert_eq!(folds.len(), 3);
    let mut judged: Vec<String> = Vec::new();
    for fold in 1..=3 {
        let table = fs::read_to_string(out.join(format!("fold-{fold}.csv"))).unwrap();
        judged.extend(
            table
                .lines()
                .filter_map(|line| line.strip_suffix(",val").map(String::from)),
        );
    }
    judged.sort();
    judged.dedup();
    // Ten of each class, and one that is no picture.
    assert_eq!(judged.len(), 21);
    for (at, strategy) in found["strategies"].as_array().unwrap().iter().enumerate() {
        let accuracies: Vec<f64> = folds
            .iter()
            .map(|fold| fold["runs"][at]["best_accuracy"].as_f64().unwrap())
            .collect();
        let mean = accuracies.iter().sum::<f64>() / 3.0;
        let variance = accuracies.iter().map(|a| (a - mean).powi(2)).sum::<f64>() / 2.0;
        assert!((strategy["mean"].as_f64().unwrap() - mean).abs() < 1e-12);
        assert!((strategy["deviation"].as_f64().unwrap() - variance.sqrt()).abs() < 1e-12);
        assert_eq!(strategy["strategy"], folds[0]["runs"][at]["strategy"]);
    }
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("3 folds: mean accuracy"));
    // A fold's run is a run like others.
    let run = out.join("fold-2/features");
    let said = folds[1]["runs"][0]["best_accuracy"].as_f64();
    let table = out.join("fold-2.csv");
    let measured = rekindle([
        "evaluate",
        text(&run),
        "--table",
        text(&table),
        text(&data),
        "--json",
    ]);
    let measured: Value = serde_json::from_str(&measured.stdout).unwrap();
    assert_eq!(measured["evaluation"]["accuracy"].as_f64(), said);
    // Of the folder that all folds were made of, it is measured on what its fold held out.
    let measured = rekindle(["evaluate", text(&run), text(&data), "--json"]);
    let measured: Value = serde_json::from_str(&measured.stdout).unwrap();
    assert_eq!(measured["evaluation"]["accuracy"].as_f64(), said);
    assert_eq!(
        (&measured["held_out"], &measured["learned_from"]),
        (&true.into(), &0.into())
    );
    // Resumed, nothing is left to do, and the figures are the same.
    let again = [&options[..], &["--resume"]].concat();
    let again = train(&data, &out, &again).ends_with(0).json();
    assert_eq!(
        again["strategies"][0]["mean"],
        found["strategies"][0]["mean"]
    );
    assert_eq!(
        again["strategies"][1]["mean"],
        found["strategies"][1]["mean"]
    );
}

#[test]
fn copies_stay_in_one_fold() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    // Each ant thrice: alone that would be learnt by heart.
    for class in ["ants", "bees"] {
        fs::create_dir_all(data.join(class)).unwrap();
    }
    let ants = workshop().data.join("train/ants");
    let bees = workshop().data.join("train").join(crate::workshop::HOSTILE);
    for (class, from) in [("ants", ants), ("bees", bees)] {
        let files = fs::read_dir(from)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let pictures = files.filter(|file| file.extension().is_some_and(|ending| ending == "png"));
        for (at, file) in pictures
            .filter(|file| !file.ends_with("torn.png"))
            .enumerate()
        {
            for copy in 0..3 {
                fs::copy(&file, data.join(class).join(format!("{at}-{copy}.png"))).unwrap();
            }
        }
    }
    let out = folder.path().join("runs");
    train(&data, &out, &["--folds", "2"]).ends_with(0);
    let table = fs::read_to_string(out.join("fold-1.csv")).unwrap();
    let part = |name: &str| {
        let line = table.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit(',').next().unwrap().to_string()
    };
    for class in ["ants", "bees"] {
        for at in 0..10 {
            let of = |copy: usize| part(&format!("{class}/{at}-{copy}.png"));
            assert_eq!((of(0), of(1)), (of(1), of(2)));
        }
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("runs");
    let data = workshop().data.join("train");
    let called = train(&data, &out, &["--split-copies"]).ends_with(2);
    assert!(called.stderr.contains("--folds"), "{}", called.stderr);
    let called = train(&data, &out, &["--folds", "1"]).ends_with(2);
    assert!(called.stderr.contains("2"), "{}", called.stderr);
    let called = train(&data, &out, &["--folds", "30", "--split-copies"]);
    assert_ne!(called.code, 0);
    assert!(called.stderr.contains("30 folds"), "{}", called.stderr);
    assert!(!out.join("fold-1").exists());
}
