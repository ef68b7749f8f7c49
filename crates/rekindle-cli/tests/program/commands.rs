//! Each command on real runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use crate::workshop::{HOSTILE, rekindle, text, workshop};

fn accuracy_of(model: &str) -> f64 {
    // One file of the drawings can't be read, hence 3.
    let found = rekindle(["evaluate", model, text(&workshop().data), "--json"])
        .ends_with(3)
        .json();
    assert_eq!(found["skipped"].as_array().unwrap().len(), 1);
    assert_eq!(found["evaluation"]["samples"], 40);
    found["evaluation"]["accuracy"].as_f64().unwrap()
}

#[test]
fn training_leaves_runs_that_evaluate_to_what_was_said() {
    let runs = workshop().trained["runs"].as_array().unwrap();
    let names: Vec<&str> = runs
        .iter()
        .map(|run| run["strategy"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "features",
            "discriminative-rates=0.5",
            "scratch",
            "one-call"
        ]
    );
    for run in runs {
        let said = run["best_accuracy"].as_f64().unwrap();
        assert_eq!(accuracy_of(run["weights"].as_str().unwrap()), said, "{run}");
        if let Some(directory) = run["directory"].as_str() {
            assert_eq!(accuracy_of(directory), said, "{run}");
            assert!(Path::new(directory).join("report.html").is_file());
        }
    }
    let transferred = runs[0]["best_accuracy"].as_f64().unwrap();
    assert!(transferred > 0.75, "{transferred}");
}

#[test]
fn every_export_gives_the_same_answers_and_needs_nothing_but_the_file() {
    let workshop = workshop();
    let folder = tempfile::tempdir().unwrap();
    let run = workshop.runs.join("features");
    let answers = |model: &str| -> Vec<(String, f64)> {
        let images = workshop.data.join("val/ants");
        let called = rekindle(["predict", model, text(&images), "--json"]).ends_with(3);
        let lines = called
            .stdout
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let top = lines
            .filter(|line| line.get("error").is_none())
            .map(|line| {
                let first = &line["predictions"][0];
                let class = first["class"].as_str().unwrap().to_string();
                (class, first["probability"].as_f64().unwrap())
            });
        top.collect()
    };
    let expected = answers(text(&run));
    assert_eq!(expected.len(), 20);
    let known = BTreeSet::from(["ants", HOSTILE]);
    assert!(
        expected
            .iter()
            .all(|(class, _)| known.contains(class.as_str()))
    );
    for (name, format, tolerance) in [
        ("a.safetensors", None, 0.0),
        ("b.bpk", None, 0.0),
        ("c.weights", Some("safetensors-f16"), 1e-2),
    ] {
        let out = folder.path().join(name);
        let mut arguments = vec!["export", text(&run), "--out", text(&out), "--json"];
        arguments.extend(format.iter().flat_map(|format| ["--format", format]));
        let told = rekindle(arguments).ends_with(0).json();
        assert_eq!(
            told["classes"],
            serde_json::json!(["ants", HOSTILE]).sort_classes()
        );
        for ((class, p), (expected, q)) in answers(text(&out)).iter().zip(&expected) {
            assert!(
                (p - q).abs() <= tolerance && (class == expected || tolerance > 0.0),
                "{name}"
            );
        }
    }
    let out = folder.path().join("d.onnx");
    rekindle(["export", text(&run), "--out", text(&out)]).ends_with(0);
    assert!(std::fs::metadata(out).unwrap().len() > 100_000);
}

/// What onnxruntime answers to pictures as they are is what `predict` says.
#[test]
fn an_export_with_preprocessing_answers_as_predict_does() {
    let workshop = workshop();
    let run = workshop.runs.join("features");
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("app.onnx");
    let export = [
        "export",
        text(&run),
        "--out",
        text(&out),
        "--with-preprocessing",
        "--calibrated",
        "--json",
    ];
    let told = rekindle(export).ends_with(0).json();
    assert_eq!(told["with_preprocessing"], true);
    let picture = workshop.data.join("val/ants/0000.png");
    let answers = |model: &Path, more: &[&str]| {
        let call = [
            "predict",
            text(model),
            text(&picture),
            "--json",
            "--top",
            "2",
        ];
        let json = rekindle(call.iter().chain(more)).ends_with(0).json();
        let predictions = json["predictions"].as_array().unwrap().clone();
        let named = predictions.into_iter().map(|one| {
            let name = one["class"].as_str().unwrap().to_string();
            (name, one["probability"].as_f64().unwrap())
        });
        named.collect::<BTreeMap<String, f64>>()
    };
    let expected = answers(&run, &["--calibrated"]);
    // The network inside is the same.
    assert_eq!(answers(&out, &[]), answers(&run, &[]));
    let Some(runtime) = test_support::OnnxRuntime::find() else {
        return;
    };
    let pixels = rekindle::imagefolder::decode_file(&picture, &Default::default()).unwrap();
    let found = runtime.run_on_pixels(&out, &[(pixels.height(), pixels.width(), pixels.as_raw())]);
    let classes = told["classes"].as_array().unwrap().iter();
    for (class, p) in classes.zip(found) {
        let wanted = expected[class.as_str().unwrap()];
        assert!(
            (wanted - f64::from(p)).abs() <= 1e-4,
            "{class}: {p} for {wanted}"
        );
    }
}

#[test]
fn preprocessing_is_for_onnx_and_calibration_for_preprocessing() {
    let workshop = workshop();
    let folder = tempfile::tempdir().unwrap();
    let [pack, onnx] = ["a.bpk", "a.onnx"].map(|name| folder.path().join(name));
    let run = workshop.runs.join("features");
    let export = |model: &Path, out: &Path, more: &[&str]| {
        let call = ["export", text(model), "--out", text(out)];
        rekindle(call.iter().chain(more)).ends_with(2).stderr
    };
    let said = export(&run, &pack, &["--with-preprocessing"]);
    assert!(said.contains("--format onnx"), "{said}");
    export(&run, &onnx, &["--calibrated"]);
    let both = ["--with-preprocessing", "--calibrated"];
    let said = export(&workshop.weights, &onnx, &both);
    assert!(said.contains("no temperature"), "{said}");
    assert!(!onnx.exists() && !pack.exists());
}

trait SortClasses {
    fn sort_classes(self) -> Self;
}

impl SortClasses for Value {
    /// Class folders are sorted by name, and `<` comes before letters.
    fn sort_classes(mut self) -> Self {
        if let Some(names) = self.as_array_mut() {
            names.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
        }
        self
    }
}

#[test]
fn predictions_are_listed_for_people() {
    let workshop = workshop();
    let image = workshop.data.join("val/ants/0000.png");
    let run = workshop.runs.join("features");
    let called = rekindle(["predict", text(&run), text(&image), "--top", "2"]).ends_with(0);
    assert_eq!(called.stdout.lines().count(), 1);
    assert!(called.stdout.starts_with(text(&image)) && called.stdout.contains("ants 0."));
    assert!(called.stdout.contains(HOSTILE));
}

#[test]
fn runs_are_compared_side_by_side_and_as_files() {
    let workshop = workshop();
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("compared.html");
    let images = folder.path().join("images");
    let told = rekindle([
        "report",
        text(&workshop.runs),
        "--out",
        text(&page),
        "--images",
        text(&images),
        "--json",
    ])
    .ends_with(0)
    .json();
    assert_eq!(told["runs"].as_array().unwrap().len(), 4);
    let html = std::fs::read_to_string(page).unwrap();
    for expected in [
        "Runs compared",
        "against scratch",
        "Confusion matrix",
        "Reliability",
        "With temperature",
        "Most confident mistakes",
        "How the images lie",
        "Learning rate by part",
        "Where the time went",
        "notes.txt",
        "not an image extension",
        "broken",
        "torn.png",
        "Class by class",
        "data:image/jpeg;base64,",
    ] {
        assert!(html.contains(expected), "{expected}");
    }
    assert!(!html.contains(HOSTILE) && !html.contains("<b>broken") && !html.contains("<script"));
    assert!(!html.contains("http://") && !html.contains("https://"));
    // Features are kept there, so the bad file was met before the first epoch.
    let log = std::fs::read_to_string(workshop.runs.join("features/metrics.jsonl")).unwrap();
    let skipped = log.lines().find(|line| line.contains("skipped_file"));
    assert!(
        skipped.is_some_and(|line| line.contains("torn.png")),
        "{log}"
    );
    assert!(images.join("accuracy.svg").is_file() && images.join("report.json").is_file());
}

#[test]
fn a_run_whose_images_are_gone_still_has_curves() {
    let workshop = workshop();
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("report.html");
    let nowhere = folder.path().join("nowhere");
    let run = workshop.runs.join("scratch");
    rekindle([
        "report",
        text(&run),
        "--out",
        text(&page),
        "--data",
        text(&nowhere),
    ])
    .ends_with(0);
    let html = std::fs::read_to_string(page).unwrap();
    assert!(html.contains("Training curves") && !html.contains("Confusion matrix"));
    assert!(html.contains("read again") && html.contains("no such folder"));
}

#[test]
fn features_of_a_folder_are_a_table() {
    let workshop = workshop();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("features.safetensors");
    let told = rekindle([
        "features",
        text(&workshop.data.join("train")),
        "--weights",
        text(&workshop.weights),
        "--out",
        text(&out),
        "--json",
    ])
    .ends_with(3)
    .json();
    assert_eq!(told["images"], 20);
    let checkpoint = rekindle::weights::read(&out).unwrap();
    let width = told["width"].as_u64().unwrap() as usize;
    assert_eq!(checkpoint.shape("features"), Some(&[20, width][..]));
    let labels = checkpoint.get("labels").unwrap().read_i64().unwrap();
    assert_eq!(labels, [[0; 10], [1; 10]].concat());
    assert!(checkpoint.metadata["paths"].contains("0000.png"));
}

#[test]
fn advice_names_weights_and_a_strategy_that_train_takes() {
    let workshop = workshop();
    let (data, weights) = (text(&workshop.data), text(&workshop.weights));
    let told = rekindle(["advise", data, "--weights", weights, "--json"])
        .ends_with(0)
        .json();
    assert_eq!(told["backbone"], "source");
    assert_eq!((&told["images"], &told["classes"]), (&20.into(), &2.into()));
    let strategy: rekindle::transfer::Strategy =
        serde_json::from_value(told["strategy"].clone()).unwrap();
    assert!(
        strategy
            .name()
            .parse::<rekindle::transfer::Strategy>()
            .is_ok()
    );
    for score in ["accuracy", "LogME", "H-score", "LEEP", "NCE", "confidence"] {
        assert!(told["meanings"][score].is_string(), "{score}");
    }
    assert!(told["cost"]["one_call_seconds"].as_f64().unwrap() > 0.0);
    let called = rekindle(["advise", data, "--weights", weights]).ends_with(0);
    assert!(called.stdout.contains("source"), "{}", called.stdout);
    // The accuracy stands beside the name of what was measured.
    let accuracy = called
        .stdout
        .lines()
        .find(|line| line.contains("95 % interval"));
    assert!(
        accuracy.is_some_and(|line| line.contains("(one-call)")),
        "{}",
        called.stdout
    );
    assert!(
        called
            .stdout
            .contains("on this machine one-call takes about"),
        "{}",
        called.stdout
    );
}

/// Taken as it stands into a shell, the last line but one trains.
#[test]
#[cfg(unix)]
fn the_command_that_advice_ends_with_can_be_run() {
    let workshop = workshop();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("it's my \"data\" $HOME");
    let copy = std::process::Command::new("cp")
        .args(["-r", text(&workshop.data), text(&data)])
        .status();
    assert!(copy.unwrap().success());
    let weights = text(&workshop.weights);
    let told = rekindle(["advise", text(&data), "--weights", weights, "--json"])
        .ends_with(0)
        .json();
    let command = told["command"].as_str().unwrap();
    assert!(command.contains("--strategy one-call"), "{command}");
    let called = rekindle(["advise", text(&data), "--weights", weights]).ends_with(0);
    assert!(called.stdout.contains(command), "{}", called.stdout);
    // As a shell reads it, but with few epochs and this test's program.
    let program = format!(
        "rekindle() {{ '{}' \"$@\"; }}; ",
        env!("CARGO_BIN_EXE_rekindle")
    );
    let out = folder.path().join("runs");
    let few = match command.contains("one-call,") {
        true => "--epochs 1 --batch 5",
        false => "", // One-call has no epochs.
    };
    let status = std::process::Command::new("sh")
        .arg("-c")
        .arg(format!("{program}{command} {few} --out '{}'", text(&out)))
        .output()
        .unwrap();
    assert!(
        status.status.success(),
        "{}",
        String::from_utf8_lossy(&status.stderr)
    );
    assert!(out.join("one-call/best.safetensors").is_file());
}

#[test]
fn the_learning_rate_finder_recommends_one_of_the_rates() {
    let workshop = workshop();
    let find = |steps: &str| {
        rekindle([
            "lr-find",
            text(&workshop.data),
            "--weights",
            text(&workshop.weights),
            "--strategy",
            "features",
            "--steps",
            steps,
            "--batch",
            "8",
            "--from",
            "1e-4",
            "--to",
            "1e-2",
            "--json",
        ])
        .ends_with(0)
    };
    // Of so few steps hardly anything can be said.
    let few = find("12");
    let caution = "caution: the curve stands on 12 steps alone";
    assert!(few.stderr.contains(caution), "{}", few.stderr);
    assert!(few.stderr.contains("--steps 100"), "{}", few.stderr);
    let enough = find("20");
    assert_eq!(enough.json()["rates"].as_array().unwrap().len(), 20);
    assert!(!enough.stderr.contains("caution"), "{}", enough.stderr);
    let told = few.json();
    let rates = told["rates"].as_array().unwrap();
    assert!(rates.len() > 3 && rates.len() <= 12);
    assert_eq!(rates.len(), told["losses"].as_array().unwrap().len());
    assert!(told["steepest"].is_null() || rates.contains(&told["steepest"]));
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = rekindle(["completions", shell]).ends_with(0).stdout;
        for command in ["lr-find", "--learning-rate", "verify"] {
            // fish lists options without their dashes.
            assert!(
                script.contains(command.trim_start_matches('-')),
                "{shell}: {command}"
            );
        }
    }
}

#[test]
fn a_model_card_tells_what_the_run_knows_and_replaces_nothing() {
    let workshop = workshop();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("ants-bees.safetensors");
    let run = workshop.runs.join("features");
    let export = ["export", text(&run), "--out", text(&out), "--model-card"];
    let licensed = export.iter().chain(&["--license", "mit", "--json"]);
    let told = rekindle(licensed).ends_with(0).json();
    let card = std::fs::read_to_string(told["model_card"].as_str().unwrap()).unwrap();
    let (head, body) = card
        .strip_prefix("---\n")
        .unwrap()
        .split_once("---\n")
        .unwrap();
    let accuracy = workshop.trained["runs"][0]["best_accuracy"]
        .as_f64()
        .unwrap();
    for line in [
        "license: \"mit\"",
        "library_name: rekindle",
        "pipeline_tag: image-classification",
        "    - type: accuracy",
        &format!("      value: {accuracy}"),
    ] {
        assert!(head.lines().any(|found| found == line), "{line}: {head}");
    }
    assert!(
        body.contains("rekindle predict ants-bees.safetensors picture.jpg"),
        "{body}"
    );
    // A name that would be markup is in a block of code, and no folder of this machine is named.
    assert!(
        body.lines().any(|line| line == format!("    {HOSTILE}")),
        "{body}"
    );
    assert!(
        !card.contains(text(folder.path())) && !card.contains(text(&workshop.data)),
        "{card}"
    );
    let again = rekindle(export).ends_with(2);
    assert!(again.stderr.contains("README.md"), "{}", again.stderr);
    rekindle([
        "export",
        text(&run),
        "--out",
        text(&out),
        "--license",
        "mit",
    ])
    .ends_with(2);
}
