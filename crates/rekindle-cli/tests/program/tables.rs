//! Pictures that a table lists: the same runs as of the folder that holds them.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::workshop::{HOSTILE, rekindle, text, workshop};

/// The workshop's pictures by part and class, in a folder's order.
fn pictures() -> Vec<(&'static str, &'static str, PathBuf)> {
    let mut found = Vec::new();
    for part in ["train", "val"] {
        for class in [HOSTILE, "ants"] {
            let folder = workshop().data.join(part).join(class);
            let mut files: Vec<PathBuf> = folder
                .read_dir()
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.extension().is_some_and(|ending| ending == "png"))
                .collect();
            files.sort();
            found.extend(files.into_iter().map(|file| (part, class, file)));
        }
    }
    found
}

/// A table of them, in a folder of its own; names are relative to the workshop's data.
fn table(row: impl Fn(usize, &str, &str, &str) -> String, head: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("insects.csv");
    let mut lines = format!("{head}\n");
    for (at, (part, class, file)) in pictures().iter().enumerate() {
        let name = file.strip_prefix(&workshop().data).unwrap();
        writeln!(lines, "{}", row(at, part, class, text(name))).unwrap();
    }
    std::fs::write(&path, lines).unwrap();
    (folder, path)
}

fn train(table: &Path, out: &Path, options: &[&str]) -> crate::workshop::Called {
    let workshop = workshop();
    let mut arguments = vec!["train", text(&workshop.data), "--table", text(table)];
    arguments.extend(["--weights", text(&workshop.weights), "--out", text(out)]);
    arguments.extend(["--json", "--quiet", "--seed", "1"]);
    arguments.extend(options);
    rekindle(arguments)
}

const HEAD: &str = "file,label,split";

fn plain(_: usize, part: &str, class: &str, file: &str) -> String {
    format!("\"{file}\",{class},{part}")
}

#[test]
fn a_table_of_a_folder_trains_and_measures_as_the_folder() {
    let (folder, table) = table(plain, HEAD);
    let out = folder.path().join("runs");
    let pace = ["--epochs", "3", "--batch", "5", "--learning-rate", "0.01"];
    let mut options = vec!["--strategy", "one-call,features", "--recipe", "tutorial"];
    options.extend(pace);
    let told = train(&table, &out, &options).ends_with(0).json();
    let of_folder = workshop().trained["runs"].as_array().unwrap();
    for run in told["runs"].as_array().unwrap() {
        let same = of_folder
            .iter()
            .find(|other| other["strategy"] == run["strategy"]);
        let same = same.unwrap();
        for figure in ["best_accuracy", "loss"] {
            assert_eq!(run[figure], same[figure], "{run}");
        }
        let model = run["directory"].as_str().unwrap();
        let data = text(&workshop().data).to_string();
        let found = rekindle(["evaluate", model, &data, "--table", text(&table), "--json"]);
        let found = found.ends_with(3).json(); // One picture is no picture.
        assert_eq!(
            found["evaluation"]["accuracy"], run["best_accuracy"],
            "{run}"
        );
    }
    // What is done is taken up as it was left; another label is another data set.
    train(
        &table,
        &out,
        &["--resume", "--strategy", "features", "--epochs", "4"],
    )
    .ends_with(0);
    let before = std::fs::read_to_string(&table).unwrap();
    std::fs::write(
        &table,
        before.replacen(",ants,", &format!(",{HOSTILE},"), 1),
    )
    .unwrap();
    let refused = train(
        &table,
        &out,
        &["--resume", "--strategy", "features", "--epochs", "5"],
    )
    .ends_with(3);
    assert!(
        refused.stderr.contains("1 label changed"),
        "{}",
        refused.stderr
    );
    // The report reads the table once more.
    std::fs::write(&table, before).unwrap();
    let page = folder.path().join("page.html");
    let report = rekindle(["report", text(&out), "--out", text(&page)]).ends_with(0);
    assert!(
        !report.stderr.contains("no more than its curves"),
        "{}",
        report.stderr
    );
}

#[test]
fn weights_of_pictures_count_in_every_way_of_training() {
    // A picture of weight 3 counts as three of the same; those of weight 0 as none.
    let (folder, weighed) = table(
        |at, part, class, file| format!("{},{}", plain(at, part, class, file), [0, 1, 3][at % 3]),
        &format!("{HEAD},weight"),
    );
    let (_other, plain) = table(plain, HEAD);
    let options = ["--strategy", "one-call,features,finetune", "--epochs", "1"];
    let runs = |table: &Path, out: &str| -> Vec<Value> {
        let out = folder.path().join(out);
        let told = train(table, &out, &options).ends_with(0).json();
        told["runs"].as_array().unwrap().clone()
    };
    for (with, without) in runs(&weighed, "a").iter().zip(runs(&plain, "b")) {
        assert_ne!(with["loss"], without["loss"], "{with}");
    }
}

#[test]
fn an_option_of_tables_without_a_table_is_refused() {
    let data = text(&workshop().data).to_string();
    let refused = rekindle(["verify", &data, "--label-column", "x"]).ends_with(2);
    assert!(
        refused
            .stderr
            .contains("--label-column has no effect on a folder")
    );
    rekindle(["verify"]).ends_with(2);
    rekindle(["verify", "--table", "nowhere.csv"]).ends_with(3);
    let (_folder, table) = table(plain, HEAD);
    let found = rekindle(["verify", &data, "--table", text(&table), "--json"])
        .ends_with(3)
        .json();
    assert_eq!(found["folders"][0]["name"], "train");
    assert_eq!(found["folders"][1]["images"], 41);
    let both = rekindle(["verify", text(&table), "--table", text(&table)]).ends_with(2);
    assert!(both.stderr.contains("two tables"), "{}", both.stderr);
}

#[test]
fn several_labels_are_trained_measured_and_answered() {
    // Every picture has its class, and every second one is said to be old.
    let (folder, table) = table(
        |at, part, class, file| {
            let old = if at % 2 == 0 { "|old" } else { "" };
            format!("\"{file}\",{class}{old},{part}")
        },
        HEAD,
    );
    let out = folder.path().join("runs");
    let options = [
        "--label-separator",
        "|",
        "--strategy",
        "one-call,features",
        "--epochs",
        "3",
    ];
    let told = train(&table, &out, &options).ends_with(0).json();
    let data = text(&workshop().data).to_string();
    for run in told["runs"].as_array().unwrap() {
        let model = run["directory"].as_str().unwrap();
        let found = rekindle([
            "evaluate",
            model,
            &data,
            "--table",
            text(&table),
            "--label-separator",
            "|",
            "--json",
        ]);
        let found = found.ends_with(3).json();
        assert_eq!(found["task"], "multi-label");
        if run["strategy"] == "features" {
            let record = std::fs::read(Path::new(model).join("run.json")).unwrap();
            let record: Value = serde_json::from_slice(&record).unwrap();
            let watched = rekindle::trainer::Monitor::MeanAveragePrecision;
            assert_eq!(record["recipe"]["monitor"], serde_json::json!(watched));
        }
        let (said, measured) = (
            &run["mean_average_precision"],
            &found["evaluation"]["mean_average_precision"],
        );
        let difference = said.as_f64().unwrap() - measured.as_f64().unwrap();
        assert!(difference.abs() < 1e-6, "{run}");
        let picture = &pictures()[0].2;
        let answered = rekindle(["predict", model, text(picture), "--json"])
            .ends_with(0)
            .json();
        assert!(answered["labels"].is_array(), "{answered}");
        let page = std::fs::read_to_string(Path::new(model).join("report.html")).unwrap();
        assert!(page.contains("Label by label"));
        let onnx = folder.path().join("model.onnx");
        rekindle(["export", model, "--out", text(&onnx)]).ends_with(0);
        let answered = rekindle(["predict", text(&onnx), text(picture), "--json"])
            .ends_with(0)
            .json();
        assert!(answered["labels"].is_array(), "{answered}");
        let export = [
            "export",
            model,
            "--out",
            text(&onnx),
            "--quantize",
            "--json",
        ];
        let cost = &rekindle(export).ends_with(3).json()["quantization"]["measured"];
        assert_eq!(cost["metric"], "mean_average_precision");
        let difference = cost["float"].as_f64().unwrap() - measured.as_f64().unwrap();
        assert!(difference.abs() < 1e-6, "{cost} {measured}");
        assert!(cost["agreement"].as_f64().unwrap() > 0.8, "{cost}");
    }
    let refused = train(&table, &folder.path().join("b"), &["--loss", "asymmetric"]).ends_with(2);
    assert!(
        refused.stderr.contains("each picture has one class"),
        "{}",
        refused.stderr
    );
}

/// Puts every picture of the workshop into the folder of its class, and every second one into that of another label too.
fn folders_of_labels() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (at, (part, class, file)) in pictures().iter().enumerate() {
        let labels = [*class, "old"];
        for label in labels.iter().take(1 + usize::from(at % 2 == 0)) {
            let into = folder.path().join("data").join(part).join(label);
            std::fs::create_dir_all(&into).unwrap();
            // Another name, as where people copy pictures by hand.
            std::fs::copy(file, into.join(format!("{at}-{}.png", label.len()))).unwrap();
        }
    }
    folder
}

#[test]
fn a_picture_in_several_folders_has_several_labels_as_in_a_table() {
    let folder = folders_of_labels();
    let data = folder.path().join("data");
    let weights = text(&workshop().weights);
    let run = |out: &Path, more: &[&str]| {
        let mut all = vec![
            "train",
            text(&data),
            "--weights",
            weights,
            "--out",
            text(out),
        ];
        all.extend(["--strategy", "one-call", "--quiet", "--json"]);
        all.extend(more);
        rekindle(all)
    };
    let out = folder.path().join("runs");
    let told = run(&out, &["--task", "multi-label"]).ends_with(0).json();
    let told = &told["runs"][0];
    let model = told["directory"].as_str().unwrap();
    let record = std::fs::read(Path::new(model).join("run.json")).unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    let counts = |part: &str| pictures().iter().filter(|(of, ..)| *of == part).count();
    assert_eq!(record["data"]["train_images"], counts("train"));
    assert_eq!(record["data"]["val_images"], counts("val"));
    assert_eq!(
        record["data"]["classes"],
        serde_json::json!([HOSTILE, "ants", "old"])
    );
    // The model knows its task; the same labels in a table give the same figures.
    let found = rekindle(["evaluate", model, text(&data), "--json"])
        .ends_with(3)
        .json();
    let precision = |found: &Value| found["mean_average_precision"].as_f64().unwrap();
    assert!(
        (precision(told) - precision(&found["evaluation"])).abs() < 1e-6,
        "{told}"
    );
    let labels = |at: usize, class: &str| match at % 2 {
        0 => format!("{class}|old"),
        _ => class.to_string(),
    };
    let (kept, table) = table(
        |at, part, class, file| format!("\"{file}\",{},{part}", labels(at, class)),
        HEAD,
    );
    let same = train(
        &table,
        &kept.path().join("runs"),
        &["--label-separator", "|", "--strategy", "one-call"],
    );
    let same = same.ends_with(0).json();
    assert!(
        (precision(told) - precision(&same["runs"][0])).abs() < 1e-6,
        "{same}"
    );
    // Its page is made again from the record, also where the folder has moved.
    let page = folder.path().join("page.html");
    let moved = folder.path().join("moved");
    std::fs::rename(&data, &moved).unwrap();
    rekindle([
        "report",
        model,
        "--out",
        text(&page),
        "--data",
        text(&moved),
    ])
    .ends_with(0);
    assert!(
        std::fs::read_to_string(&page)
            .unwrap()
            .contains("Label by label")
    );
    std::fs::rename(&moved, &data).unwrap();
    // Without the task each file has one class, and the program says what it may be.
    let single = run(&folder.path().join("single"), &[]).ends_with(0);
    assert!(
        single.stderr.contains("--task multi-label"),
        "{}",
        single.stderr
    );
    let idle = run(&folder.path().join("b"), &["--task", "regression"]).ends_with(2);
    assert!(
        idle.stderr.contains("--task has no effect on a folder"),
        "{}",
        idle.stderr
    );
}
