//! Checks exit statuses and messages when something goes wrong.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rekindle::drawings::{DrawingTask, TargetTask};

use crate::workshop::{HOSTILE, program, rekindle, text, workshop};

#[test]
fn two_is_for_a_command_line_that_cannot_be_followed() {
    let workshop = workshop();
    let (data, weights) = (text(&workshop.data), text(&workshop.weights));
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("model.xyz");
    let runs = text(&workshop.runs);
    for arguments in [
        vec!["fly"],
        vec!["train"],
        vec!["train", data, "--strategy", "magic"],
        vec!["train", data, "--weights", weights, "--epochs", "0"],
        vec!["train", data, "--weights", weights, "--learning-rate=-1"],
        vec!["train", data, "--weights", weights, "--out", runs],
        vec!["train", data, "--weights", weights, "--arch", "resnet18"],
        vec!["train", data, "--weights", weights, "--device", "tpu"],
        vec![
            "train",
            data,
            "--weights",
            weights,
            "--out",
            text(&out),
            "-s",
            "freeze-up-to=layer9",
        ],
        vec!["export", weights, "--out", text(&out)],
        vec!["report", data],
        vec!["predict", data, data],
    ] {
        let called = rekindle(&arguments);
        assert_eq!(called.code, 2, "{arguments:?}: {}", called.stderr);
        assert!(
            called.stderr.contains("error: "),
            "{arguments:?}: {}",
            called.stderr
        );
        assert_eq!(called.stdout, "", "{arguments:?}");
    }
}

#[test]
fn one_is_for_what_failed() {
    let folder = tempfile::tempdir().unwrap();
    let nothing = folder.path().join("nothing.pth");
    let data = text(&workshop().data);
    let called = rekindle(["evaluate", text(&nothing), data]).ends_with(1);
    assert!(called.stderr.contains("nothing.pth"), "{}", called.stderr);
    let text_file = folder.path().join("text.pth");
    std::fs::write(&text_file, "these are no weights at all").unwrap();
    rekindle(["train", data, "--weights", text(&text_file)]).ends_with(1);
    // Nothing in the cache, and downloads are off.
    let called = rekindle([
        "features",
        data,
        "--arch",
        "resnet34",
        "--out",
        text(&text_file),
    ]);
    assert!(called.ends_with(1).stderr.contains("resnet34"));
}

#[test]
fn three_is_for_images_with_problems() {
    let workshop = workshop();
    let found = rekindle(["verify", text(&workshop.data), "--json"])
        .ends_with(3)
        .json();
    assert_eq!(
        (&found["clean"], found["checked"].as_u64()),
        (&false.into(), Some(62))
    );
    assert_eq!(found["bad"].as_array().unwrap().len(), 2);
    assert_eq!(found["ignored"][0]["reason"], "not an image extension");

    let folder = tempfile::tempdir().unwrap();
    TargetTask.write_folder(folder.path(), 2, 2, 0).unwrap();
    rekindle(["verify", text(folder.path())]).ends_with(0);
    let (train, val) = (
        folder.path().join("train/ants"),
        folder.path().join("val/ants"),
    );
    std::fs::copy(train.join("0000.png"), val.join("copy\u{1b}[2J.png")).unwrap();
    let called = rekindle(["verify", text(folder.path())]).ends_with(3);
    assert!(
        called.stdout.contains("in training and validation"),
        "{}",
        called.stdout
    );
    assert!(!called.stdout.contains('\u{1b}'));

    // Classes that the model doesn't know, and no folder at all.
    std::fs::rename(
        folder.path().join("val/ants"),
        folder.path().join("val/wasps"),
    )
    .unwrap();
    let run = workshop.runs.join("features");
    let called = rekindle(["evaluate", text(&run), text(folder.path())]).ends_with(3);
    assert!(called.stderr.contains("wasps") && called.stderr.contains(HOSTILE));
    rekindle(["verify", text(&folder.path().join("absent"))]).ends_with(3);
}

#[test]
#[cfg(unix)]
fn an_interrupted_run_ends_with_130_and_goes_on() {
    let workshop = workshop();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("runs");
    let metrics = out.join("features/metrics.jsonl");
    let train = |epochs: &str| {
        let mut command = program();
        command
            .args([
                "train",
                text(&workshop.data),
                "--weights",
                text(&workshop.weights),
            ])
            .args([
                "--out",
                text(&out),
                "--strategy",
                "features",
                "--epochs",
                epochs,
                "--views",
                "0",
                "--quiet",
            ]);
        command
    };
    let mut child = train("4000")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let has_epoch =
        || std::fs::read_to_string(&metrics).is_ok_and(|log| log.contains("epoch_ended"));
    while !has_epoch() {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "no epoch in two minutes"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let id = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &id])
            .status()
            .unwrap()
            .success()
    );
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--resume goes on"));
    assert!(out.join("report.html").is_file());

    // So that the test ends, there are to be fewer epochs than the record says.
    let done = std::fs::read_to_string(&metrics)
        .unwrap()
        .matches("epoch_ended")
        .count();
    let all = (done + 1).to_string();
    let output = train(&all).args(["--resume", "--json"]).output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["runs"][0]["epochs"], done + 1);
    assert_eq!(told["runs"][0]["reason"], "finished");
}
