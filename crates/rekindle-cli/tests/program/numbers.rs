//! A number of each picture, from the table to the exported file.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::workshop::{Called, rekindle, text, workshop};

/// Pictures that are the brighter the larger their number is, and a table of them: without labels, with a part to validate on.
fn ages() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let mut lines = String::from("file,age,split\n");
    for at in 0..48usize {
        let bright = (at * 13 % 48) as u32;
        let picture = image::RgbImage::from_fn(48, 48, |x, y| {
            let noise = ((x as usize * 31 + y as usize * 17 + at * 101) % 40) as u8;
            image::Rgb([if x < bright { 170 + noise } else { 30 + noise }; 3])
        });
        picture
            .save(folder.path().join(format!("{at}.png")))
            .unwrap();
        let part = if at % 3 == 2 { "val" } else { "train" };
        lines.push_str(&format!(
            "{at}.png,{},{part}\n",
            20.0 + 1.5 * f64::from(bright)
        ));
    }
    let table = folder.path().join("ages.csv");
    std::fs::write(&table, lines).unwrap();
    (folder, table)
}

fn train(table: &Path, out: &Path, options: &[&str]) -> Called {
    let mut arguments = vec!["train", "--table", text(table), "--out", text(out)];
    arguments.extend(["--weights", text(&workshop().weights), "--seed", "1"]);
    arguments.extend(options);
    rekindle(arguments)
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value}"))
}

#[test]
fn numbers_are_trained_measured_answered_resumed_and_exported() {
    let (folder, table) = ages();
    let out = folder.path().join("runs");
    let pace = ["--epochs", "3", "--batch", "8", "--strategy"];
    let options = [&pace[..], &["one-call,features", "--json", "--tensorboard"]].concat();
    let told = train(&table, &out, &options).ends_with(0);
    assert!(told.stderr.contains("numbers in age"), "{}", told.stderr);
    assert!(told.stderr.contains("valid loss"), "{}", told.stderr);
    let told = told.json();
    let runs = told["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2);
    let picture = folder.path().join("2.png");
    for run in runs {
        let model = run["directory"].as_str().unwrap();
        let command = [
            "evaluate",
            model,
            "--table",
            text(&table),
            "--coverage",
            "0.8",
        ];
        let found = rekindle([&command[..], &["--json"]].concat())
            .ends_with(0)
            .json();
        assert_eq!(
            (&found["task"], &found["name"]),
            (&"regression".into(), &"age".into())
        );
        for figure in ["mae", "rmse", "r2"] {
            let difference = number(&found["evaluation"][figure]) - number(&run[figure]);
            assert!(difference.abs() < 1e-3, "{run} {found}");
        }
        assert!(number(&found["coverage"]["covered"]) >= 0.8, "{found}");
        assert!(run["best_accuracy"].is_null(), "{run}");
        let said = rekindle(command).ends_with(0).stdout;
        assert!(said.contains("age of 16 images: MAE"), "{said}");
        assert!(
            said.contains("hold the true number (80.0 % asked)"),
            "{said}"
        );
        let asked = ["predict", model, text(&picture), "--coverage", "0.8"];
        let answer = rekindle([&asked[..], &["--json"]].concat())
            .ends_with(0)
            .json();
        let half = (number(&answer["high"]) - number(&answer["low"])) / 2.0;
        assert!((half - number(&found["coverage"]["half_width"])).abs() < 1e-3);
        assert_eq!(answer["name"], "age");
        let said = rekindle(asked).ends_with(0).stdout;
        assert!(
            said.contains(" to ") && said.trim().ends_with(')'),
            "{said}"
        );
        let page = std::fs::read_to_string(Path::new(model).join("report.html")).unwrap();
        for expected in [
            "Answers and true numbers",
            "Residuals",
            "The largest errors",
        ] {
            assert!(page.contains(expected), "{expected}");
        }
        for wrong in ["Confusion", "confusion", "Reliability", "recognises", "NaN"] {
            assert!(!page.contains(wrong), "{wrong}");
        }
        let record = std::fs::read(Path::new(model).join("run.json")).unwrap();
        let record: Value = serde_json::from_slice(&record).unwrap();
        let scale = &record["data"]["target_scale"];
        assert!(number(&scale["deviation"]) > 1.0, "{scale}");
        if run["strategy"] == "features" {
            assert_eq!(record["recipe"]["monitor"], "mae");
            let log = std::fs::read_to_string(Path::new(model).join("metrics.jsonl")).unwrap();
            let measured = log.lines().filter(|line| line.contains("\"measured\""));
            assert_eq!(measured.clone().count(), 3);
            assert!(measured.clone().all(|line| line.contains("\"r2\"")));
        }
        exported(model, folder.path(), &picture, number(&answer["number"]));
        let onnx = folder.path().join("eight-bits.onnx");
        let export = ["export", model, "--out", text(&onnx), "--quantize"];
        let told = rekindle([&export[..], &["--json"]].concat()).ends_with(0);
        let cost = &told.json()["quantization"]["measured"];
        assert_eq!(
            (&cost["metric"], &cost["agreement"]),
            (&"mae".into(), &Value::Null)
        );
        assert!(
            (number(&cost["float"]) - number(&run["mae"])).abs() < 1e-3,
            "{cost} {run}"
        );
        let said = rekindle(export).ends_with(0).stdout;
        assert!(said.contains("mean absolute error"), "{said}");
    }
    let resumed = [
        "--resume",
        "--strategy",
        "features",
        "--epochs",
        "4",
        "--json",
    ];
    let told = train(&table, &out, &resumed).ends_with(0).json();
    assert_eq!(told["runs"][0]["epochs"], 4);
    // Another number is another data set.
    let before = std::fs::read_to_string(&table).unwrap();
    std::fs::write(&table, before.replacen(",20,", ",21,", 1)).unwrap();
    let resumed = ["--resume", "--strategy", "features", "--epochs", "5"];
    let refused = train(&table, &out, &resumed).ends_with(3);
    assert!(
        refused.stderr.contains("1 label changed"),
        "{}",
        refused.stderr
    );
    std::fs::write(&table, before).unwrap();
    let page = folder.path().join("page.html");
    let report = rekindle(["report", text(&out), "--out", text(&page), "--json"]).ends_with(0);
    assert!(report.json()["runs"][0]["mae"].is_number());
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("Mean absolute error") && page.contains("is off by"));
}

/// Every written form answers with the number in its own units.
fn exported(model: &str, folder: &Path, picture: &Path, expected: f64) {
    for (name, options) in [
        ("a.onnx", &[][..]),
        ("b.onnx", &["--with-preprocessing"]),
        ("c.safetensors", &[]),
        ("d.bpk", &[]),
    ] {
        let out = folder.join("exported").join(name);
        std::fs::create_dir_all(out.parent().unwrap()).unwrap();
        let _ = std::fs::remove_file(&out);
        let command = [&["export", model, "--out", text(&out)], options].concat();
        let said = rekindle(command).ends_with(0).stdout;
        assert!(said.contains("with the number age"), "{said}");
        let answer = rekindle(["predict", text(&out), text(picture), "--json"])
            .ends_with(0)
            .json();
        let difference = number(&answer["number"]) - expected;
        assert!(
            difference.abs() < 1e-2,
            "{name}: {answer}, expected {expected}"
        );
    }
    let refused = rekindle([
        "export",
        model,
        "--out",
        text(&folder.join("e.onnx")),
        "--with-preprocessing",
        "--calibrated",
    ]);
    let refused = refused.ends_with(2).stderr;
    assert!(refused.contains("the model gives numbers"), "{refused}");
    let card = folder.join("card");
    std::fs::create_dir_all(&card).unwrap();
    let _ = std::fs::remove_file(card.join("README.md"));
    let out = card.join("ages.safetensors");
    rekindle(["export", model, "--out", text(&out), "--model-card"]).ends_with(0);
    let card = std::fs::read_to_string(card.join("README.md")).unwrap();
    assert!(
        card.contains("regression model") && card.contains("Mean absolute error"),
        "{card}"
    );
    assert!(
        !card.contains("pipeline_tag") && !card.contains("Cross-entropy"),
        "{card}"
    );
}

#[test]
fn fit_keeps_what_is_best_for_numbers() {
    let (folder, table) = ages();
    let out = folder.path().join("fit");
    let weights = text(&workshop().weights);
    let command = [
        "fit",
        "--table",
        text(&table),
        "--target",
        "age",
        "--weights",
        weights,
    ];
    let command = [
        &command[..],
        &["--minutes", "0.1", "--out", text(&out), "--json"],
    ]
    .concat();
    let told = rekindle(command).ends_with(0).json();
    assert!(
        number(&told["mae"]) > 0.0 && told["accuracy"].is_null(),
        "{told}"
    );
    let trial = &told["trials"][0];
    assert!(
        trial["what"]
            .as_str()
            .unwrap()
            .starts_with("ridge regression"),
        "{trial}"
    );
    assert!(number(&trial["mae"]) > 0.0, "{trial}");
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("MAE on held-out images"));
}

#[test]
fn what_is_for_classes_alone_is_refused() {
    let (folder, table) = ages();
    let out = folder.path().join("runs");
    for (options, expected) in [
        (&["--label-smoothing", "0.1"][..], "label_smoothing is 0.1"),
        (&["--mix-up", "0.2"], "mixed picture"),
        (&["--cut-mix", "1"], "mixed picture"),
        (
            &["--loss", "focal"],
            "l1, l2 or huber, as numbers are learned",
        ),
        (&["--loss", "binary-cross-entropy"], "l1, l2 or huber"),
        (&["--balance-classes"], "column of weights"),
        (&["--balanced-sampler"], "no classes to balance"),
        (
            &["--monitor", "accuracy"],
            "the accuracy, where numbers are learned",
        ),
        (
            &["--monitor", "macro-f1"],
            "the macro F1, where numbers are learned",
        ),
        (
            &["--target", "age", "--task", "multi-label"],
            "names a number to learn",
        ),
    ] {
        let all = [&["--strategy", "finetune", "--epochs", "1"], options].concat();
        let refused = train(&table, &out, &all).ends_with(2).stderr;
        assert!(refused.contains(expected), "{refused}");
        assert!(!out.join("finetune").exists());
    }
    let weights = text(&workshop().weights);
    let table_given = ["--table", text(&table)];
    let advise = [&["advise", "--weights", weights], &table_given[..]].concat();
    let refused = rekindle(advise).ends_with(3).stderr;
    assert!(refused.contains("the task is regression"), "{refused}");
    let lr_find = [
        &["lr-find", "--weights", weights, "--steps", "4"],
        &table_given[..],
    ]
    .concat();
    rekindle(lr_find).ends_with(0);
    let verified = [&["verify", "--json"], &table_given[..]].concat();
    rekindle(verified).ends_with(0);
    let options = ["--strategy", "one-call", "--json", "--quiet"];
    let told = train(&table, &out, &options).ends_with(0).json();
    let model = told["runs"][0]["directory"].as_str().unwrap();
    let picture = folder.path().join("0.png");
    for (command, code, expected) in [
        (
            &["predict", model, text(&picture), "--top", "2"][..],
            2,
            "one number",
        ),
        (
            &["predict", model, text(&picture), "--calibrated"],
            2,
            "no confidence to calibrate",
        ),
        (
            &["predict", model, text(&picture), "--coverage", "0.99"],
            2,
            "at most 0.941",
        ),
        (&["evaluate", model, text(&workshop().data)], 2, "--table"),
        (
            &["audit", text(&table)],
            2,
            "numbers of tables are not judged",
        ),
    ] {
        let refused = rekindle(command).ends_with(code).stderr;
        assert!(refused.contains(expected), "{refused}");
    }
    // Classes have no mean absolute error.
    let data = text(&workshop().data).to_string();
    let command = ["train", &data, "--weights", weights, "--out", text(&out)];
    let command = [
        &command[..],
        &["--strategy", "features", "--monitor", "mae"],
    ]
    .concat();
    let refused = rekindle(command).ends_with(2).stderr;
    assert!(
        refused.contains("the MAE, where pictures have one label each"),
        "{refused}"
    );
}

#[test]
fn numbers_are_cross_validated() {
    let (_folder, table) = ages();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("runs");
    let options = ["--folds", "2", "--split-copies", "--strategy", "one-call"];
    let told = train(&table, &out, &[&options[..], &["--json"]].concat()).ends_with(0);
    let told = told.json();
    let found = &told["strategies"][0];
    assert_eq!(found["measure"], "mean absolute error");
    let errors: Vec<f64> = told["folds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fold| number(&fold["runs"][0]["mae"]))
        .collect();
    assert_eq!(errors.len(), 2);
    assert!((number(&found["mean"]) - (errors[0] + errors[1]) / 2.0).abs() < 1e-6);
    // The validation part of the table is left alone: 32 pictures are in the folds.
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("32 images in 2 folds"), "{page}");
    let fold = std::fs::read_to_string(out.join("fold-1.csv")).unwrap();
    assert_eq!(fold.lines().next(), Some("file,age,split"));
    assert_eq!(
        fold.lines().filter(|line| line.ends_with(",val")).count(),
        16
    );
}
