//! `fit`: a budget, a forecast, and a run that the other commands read.

use crate::workshop::{rekindle, text, workshop};

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
