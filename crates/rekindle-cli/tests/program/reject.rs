//! Pictures of none of the classes: `train --reject`, `reject`, `predict --reject` and `evaluate --reject --unknown`.

use std::path::{Path, PathBuf};

use rekindle::drawings::{DrawingTask, SourceTask};
use serde_json::Value;
use tempfile::TempDir;

use crate::workshop::{rekindle, text, workshop};

/// Number of classes that the model knows.
const KNOWN: usize = 5;

/// Drawings of some classes in `data`, and of all others in `others`.
struct Drawn {
    folder: TempDir,
}

impl Drawn {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (data, others) = (folder.path().join("data"), folder.path().join("others"));
        SourceTask.write_folder(&data, 12, 6, 1).unwrap();
        std::fs::create_dir(&others).unwrap();
        for class in &SourceTask.class_names()[KNOWN..] {
            std::fs::remove_dir_all(data.join("train").join(class)).unwrap();
            std::fs::rename(data.join("val").join(class), others.join(class)).unwrap();
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn train(&self, out: &Path, options: &[&str]) -> crate::workshop::Called {
        let data = self.path("data");
        let weights = &workshop().weights;
        let mut arguments = vec!["train", text(&data), "--weights", text(weights)];
        arguments.extend(["--out", text(out), "--strategy", "one-call", "--quiet"]);
        arguments.extend(options);
        rekindle(arguments)
    }
}

fn lines(stdout: &str) -> Vec<Value> {
    stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_run_learns_to_tell_pictures_of_none_of_its_classes() {
    let drawn = Drawn::new();
    let out = drawn.path("runs");
    let told = drawn
        .train(&out, &["--reject", "--json"])
        .ends_with(0)
        .json();
    let unknown = &told["runs"][0]["unknown"];
    assert_eq!(unknown["left_out"], KNOWN);
    assert_eq!(
        (&unknown["train_images"], &unknown["held_out_images"]),
        (&60.into(), &30.into())
    );
    let compared = unknown["compared"].as_array().unwrap();
    assert_eq!(compared.len(), 4);
    assert_eq!(unknown["score"], compared[0]["score"]);

    let (model, data, others) = (
        out.join("one-call"),
        drawn.path("data"),
        drawn.path("others"),
    );
    let (model, data, others) = (text(&model), text(&data), text(&others));
    let found = rekindle([
        "evaluate",
        model,
        data,
        "--reject=0.2",
        "--unknown",
        others,
        "--json",
    ]);
    let rejection = found.ends_with(0).json()["rejection"].clone();
    assert_eq!(rejection["score"], unknown["score"]);
    assert_eq!(
        (&rejection["asked"], &rejection["unknown"]["images"]),
        (&0.2.into(), &150.into())
    );
    let known_rejected = rejection["known_rejected"].as_f64().unwrap();
    assert!(known_rejected <= 0.2, "{rejection}");
    assert!(
        rejection["unknown"]["auroc"].as_f64().unwrap() > 0.8,
        "{rejection}"
    );

    // Pictures one by one say what the figures say.
    let count = |folder: &str| {
        let told = rekindle(["predict", model, folder, "--reject=0.2", "--json"]).ends_with(0);
        let answers = lines(&told.stdout);
        for answer in &answers {
            let number = |key: &str| answer[key].as_f64().unwrap();
            let is_unknown = number("unknown_score") > number("threshold");
            assert_eq!(answer["unknown"], is_unknown);
            let classes = answer["predictions"].as_array().unwrap().len();
            assert_eq!(classes, usize::from(!is_unknown), "{answer}");
            assert_eq!(answer["threshold"], rejection["threshold"]);
        }
        let rejected = answers
            .iter()
            .filter(|answer| answer["unknown"] == true)
            .count();
        (rejected as f64 / answers.len() as f64, told)
    };
    assert_eq!(count(&format!("{data}/val")).0, known_rejected);
    let rejected = count(others).0;
    assert_eq!(rejection["unknown"]["rejected"], rejected);
    assert!(rejected > known_rejected);
    let told = rekindle(["predict", model, others, "--reject=0.2"]).ends_with(0);
    let named = told
        .stdout
        .lines()
        .filter(|line| line.contains(": unknown; score "))
        .count();
    assert_eq!(named as f64 / 150.0, rejected, "{}", told.stdout);

    // A file that can't be read is left out of the figures.
    std::fs::write(drawn.path("others/torn.png"), "no png").unwrap();
    let found = rekindle(["evaluate", model, data, "--reject", "--unknown", others]).ends_with(3);
    assert!(found.stderr.contains("left out: ") && found.stdout.contains("(5.0 % asked)"));
    assert!(
        found.stdout.contains("of 150 images of unknown classes"),
        "{}",
        found.stdout
    );
}

#[test]
fn a_run_without_it_names_the_command_that_adds_it() {
    let drawn = Drawn::new();
    let out = drawn.path("runs");
    drawn.train(&out, &["--json"]).ends_with(0);
    let (run, data) = (out.join("one-call"), drawn.path("data"));
    let (model, val) = (text(&run), data.join("val"));
    let called = rekindle(["predict", model, text(&val), "--reject"]).ends_with(2);
    assert!(
        called.stderr.contains("rekindle reject RUN"),
        "{}",
        called.stderr
    );
    let plain = rekindle(["predict", model, text(&val), "--json"])
        .ends_with(0)
        .stdout;

    // The images have moved since.
    let moved = drawn.path("moved");
    std::fs::rename(&data, &moved).unwrap();
    let called = rekindle(["reject", model]);
    assert!(
        called.code != 0 && called.stderr.contains("data"),
        "{}",
        called.stderr
    );
    let told = rekindle(["reject", model, "--data", text(&moved), "--json", "--quiet"]);
    let told = told.ends_with(0).json();
    assert_eq!(told["compared"].as_array().unwrap().len(), 4);
    let val = moved.join("val");
    let after = rekindle(["predict", model, text(&val), "--json"])
        .ends_with(0)
        .stdout;
    assert_eq!(after, plain.replace(text(&data), text(&moved)));
    let answers = rekindle(["predict", model, text(&val), "--reject=0.1", "--json"]).ends_with(0);
    let answers = lines(&answers.stdout);

    // Exported files take it along.
    for name in ["model.bpk", "model.safetensors", "model.onnx"] {
        let file = drawn.path(name);
        rekindle(["export", model, "--out", text(&file)]).ends_with(0);
        let told = rekindle(["predict", text(&file), text(&val), "--reject=0.1", "--json"]);
        for (told, answer) in lines(&told.ends_with(0).stdout).iter().zip(&answers) {
            assert_eq!(told["threshold"], answer["threshold"], "{name}");
            let score = |of: &Value| of["unknown_score"].as_f64().unwrap();
            assert!(
                (score(told) - score(answer)).abs() < 1e-3 * score(answer).abs(),
                "{name}"
            );
        }
    }
    let text_told = rekindle(["reject", model, "--data", text(&moved), "--quiet"]).ends_with(0);
    assert!(
        text_told.stdout.contains("unknown classes by "),
        "{}",
        text_told.stdout
    );
    assert!(
        text_told
            .stdout
            .contains("where each of 5 classes was left out of 60 training images")
    );

    for (options, named) in [
        (&["--reject=0.01"][..], "at least 0.03"),
        (&["--reject=0"], "above 0 and below 1"),
        (&["--reject", "--views", "flip"], "--views flip"),
        (&["--reject", "--coverage", "0.9"], "--coverage"),
    ] {
        let mut arguments = vec!["predict", model, text(&val)];
        arguments.extend(options);
        let called = rekindle(arguments).ends_with(2);
        assert!(
            called.stderr.contains(named),
            "{options:?}: {}",
            called.stderr
        );
    }
    let called = rekindle(["evaluate", model, text(&moved), "--unknown", text(&val)]).ends_with(2);
    assert!(called.stderr.contains("--reject"), "{}", called.stderr);
    let absent = drawn.path("absent");
    rekindle([
        "evaluate",
        model,
        text(&moved),
        "--reject",
        "--unknown",
        text(&absent),
    ])
    .ends_with(3);
    let called = rekindle(["reject", text(&moved)]).ends_with(2);
    assert!(
        called.stderr.contains("not a run directory"),
        "{}",
        called.stderr
    );
}

/// One image of a class is too few to leave one out.
#[test]
fn classes_of_one_image_are_refused_before_training() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("runs"));
    SourceTask.write_folder(&data, 1, 2, 1).unwrap();
    let weights = text(&workshop().weights);
    for command in ["train", "fit"] {
        let called = rekindle([
            command,
            text(&data),
            "--weights",
            weights,
            "--out",
            text(&out),
            "--reject",
            "--quiet",
        ])
        .ends_with(2);
        assert!(
            called.stderr.contains("--reject needs two classes"),
            "{}",
            called.stderr
        );
        assert!(!out.exists());
    }
}

#[test]
fn evaluate_says_the_areas_of_each_class() {
    let run = workshop().runs.join("features");
    let data = text(&workshop().data);
    let found = rekindle(["evaluate", text(&run), data, "--json"])
        .ends_with(3)
        .json();
    let ranking = &found["evaluation"]["ranking"];
    let [a, b] = [0, 1].map(|class| ranking["classes"][class]["auroc"].as_f64().unwrap());
    // Of two classes, whose probabilities are one minus the other's, both areas are the same.
    assert!((a - b).abs() < 1e-9 && a > 0.5, "{ranking}");
    assert!((ranking["macro_auroc"].as_f64().unwrap() - a).abs() < 1e-9);
    for curve in ["roc", "precision_recall", "gains"] {
        let points = ranking["classes"][0][curve].as_array().unwrap();
        assert!((2..=100).contains(&points.len()), "{curve}");
    }
    let told = rekindle(["evaluate", text(&run), data]).ends_with(3).stdout;
    let mean = format!("each class against the others: AUROC {a:.3}, average precision ");
    assert!(told.contains(&mean), "{told}");
    assert!(
        told.lines()
            .any(|line| line.contains(&format!("{a:.3}")) && line.ends_with("ants"))
    );
    // The table of epochs beside the log.
    let table = std::fs::read_to_string(run.join("metrics.csv")).unwrap();
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!(rows.len(), 4);
    assert!(
        rows[0].starts_with("epoch,train_loss,") && rows[3].starts_with("3,"),
        "{table}"
    );
}
