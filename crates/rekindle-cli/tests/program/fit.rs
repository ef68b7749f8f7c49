//! `fit`: a budget, a forecast, and a run that the other commands read.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::workshop::{program, rekindle, text, workshop};

#[test]
fn fit_makes_a_run_within_its_minutes_that_the_other_commands_read() {
    let shop = workshop();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let called = rekindle([
        "fit",
        text(&shop.data),
        "--weights",
        text(&shop.weights),
        "--minutes",
        "0.2",
        "--out",
        text(&out),
        "--json",
    ])
    .ends_with(0);
    let told = called.json();
    // Bounds the order of magnitude: tests share the machine.
    assert!(told["seconds"].as_f64().unwrap() < 60.0);
    let forecast = &told["forecast"];
    assert!(forecast["low"].as_f64() <= forecast["accuracy"].as_f64());
    assert!(told["trials"].as_array().unwrap().len() >= 3);
    assert!(called.stderr.contains("forecast: "), "{}", called.stderr);
    assert!(called.stderr.contains("came true: "), "{}", called.stderr);
    let accuracy = told["accuracy"].as_f64().unwrap();
    let found = rekindle(["evaluate", text(&out), text(&shop.data), "--json"]);
    assert_eq!(found.json()["evaluation"]["accuracy"], accuracy);
    assert!(out.join("report.html").is_file());
    let val = shop.data.join("val");
    let answers = rekindle(["predict", text(&out), text(&val), "--json"]);
    assert!(answers.stdout.lines().count() > 10);
    // Its folder is taken.
    let again = rekindle([
        "fit",
        text(&shop.data),
        "--weights",
        text(&shop.weights),
        "--out",
        text(&out),
    ]);
    assert_ne!(again.code, 0);
    assert!(
        again.stderr.contains("is there already"),
        "{}",
        again.stderr
    );
}

#[test]
fn minutes_that_are_none_are_refused_before_any_work() {
    for minutes in ["0", "-1", "nan", "1e9", "soon"] {
        let called = rekindle(["fit", "nowhere", "--minutes", minutes]).ends_with(2);
        assert!(called.stderr.contains("minutes"), "{}", called.stderr);
    }
}

#[test]
fn train_with_nothing_but_pictures_does_what_fit_does() {
    let shop = workshop();
    let folder = tempfile::tempdir().unwrap();
    let (data, weights) = (text(&shop.data), text(&shop.weights));
    let train = |out: &str, more: &[&str]| {
        let out = folder.path().join(out);
        let mut all = vec!["train", data, "--weights", weights, "--out", text(&out)];
        all.extend(["--json", "--seed", "3"]);
        all.extend(more);
        rekindle(all)
    };
    let told = train("run", &["--minutes", "0.1"]).ends_with(0).json();
    let run = &told["runs"][0];
    assert!(run["forecast"]["low"].is_number(), "{told}");
    assert!(
        run["strategy"] == "fit" && run["best_accuracy"].is_number(),
        "{told}"
    );
    let record = std::fs::read(folder.path().join("run/run.json")).unwrap();
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
    assert_eq!(record["seed"], 3);
    assert_eq!(record["strategy"]["kind"], "fit", "{record}");
    // What says how to train asks for training.
    let told = train("tuned", &["--epochs", "1", "--optimizer", "lion"])
        .ends_with(0)
        .json();
    assert_eq!(told["runs"][0]["strategy"], "features");
    let record = std::fs::read(folder.path().join("tuned/features/run.json")).unwrap();
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
    let recipe = &record["recipe"];
    assert_eq!(
        (
            &recipe["optimizer"]["name"],
            &recipe["optimizer"]["weight_decay"]
        ),
        (&"lion".into(), &0.1.into())
    );
    assert!((recipe["learning_rate"].as_f64().unwrap() - 3e-5).abs() < 1e-12);
    for options in [
        &["--minutes", "1", "--epochs", "3"][..],
        &["--minutes", "1", "--strategy", "features"],
        &["--minutes", "1", "--folds", "3"],
        &["--minutes", "0"],
    ] {
        let refused = train("refused", options).ends_with(2);
        assert!(refused.stderr.contains("--minutes"), "{}", refused.stderr);
    }
    assert!(!folder.path().join("refused").exists());
}

#[test]
fn the_architecture_is_kept_where_that_is_asked_for() {
    let shop = workshop();
    let folder = tempfile::tempdir().unwrap();
    let one_call = |name: &str, options: &[&str]| {
        let out = folder.path().join(name);
        let mut arguments = vec!["train", text(&shop.data), "--weights", text(&shop.weights)];
        arguments.extend(["--strategy", "one-call", "--out", text(&out)]);
        arguments.extend(options);
        rekindle(arguments.clone()).ends_with(0).stderr
    };
    let is_tried = |told: &str| told.contains("features of two levels");
    assert!(is_tried(&one_call("free", &[])));
    assert!(!is_tried(&one_call("kept", &["--keep-architecture"])));
    // Taken up again, it is the same run.
    let again = one_call("kept", &["--resume"]);
    assert!(!is_tried(&again), "{again}");
    let called = rekindle([
        "train",
        text(&shop.data),
        "--weights",
        text(&shop.weights),
        "--strategy",
        "features",
        "--keep-architecture",
    ])
    .ends_with(2);
    assert!(
        called
            .stderr
            .contains("--keep-architecture has no effect on features"),
        "{}",
        called.stderr
    );
}

#[test]
#[cfg(unix)]
fn a_search_that_was_interrupted_goes_on() {
    let shop = workshop();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let fit = |command: &str, more: &[&str]| {
        let mut called = program();
        called.args([command, text(&shop.data), "--weights", text(&shop.weights)]);
        called.args(["--out", text(&out), "--quiet"]).args(more);
        called
    };
    let mut child = fit("fit", &["--minutes", "3"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let metrics = out.join("metrics.jsonl");
    let has_tried = || std::fs::read_to_string(&metrics).is_ok_and(|log| log.contains("tried"));
    while !has_tried() {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        assert!(begun.elapsed() < Duration::from_secs(120), "nothing tried");
        std::thread::sleep(Duration::from_millis(20));
    }
    let id = child.id().to_string();
    let pressed = Command::new("kill").args(["-INT", &id]).status().unwrap();
    assert!(pressed.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("--resume goes on"), "{said}");

    // `train`, which begins as `fit`, goes on as well, and so does `fit` for another time.
    let output = fit("fit", &["--minutes", "0.1", "--resume", "--json"]);
    let output = { output }.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(told["accuracy"].as_f64().unwrap() > 0.5, "{told}");
    for command in ["fit", "train"] {
        let mut again = fit(command, &["--resume"]);
        let output = again.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("a search that is done"), "{said}");
    }
    let nowhere = folder.path().join("nowhere");
    let called = rekindle([
        "fit",
        text(&shop.data),
        "--weights",
        text(&shop.weights),
        "--out",
        text(&nowhere),
        "--resume",
    ]);
    assert!(
        called.stderr.contains("no such folder"),
        "{}",
        called.stderr
    );
}
