//! Messages and exit statuses when something is wrong with what was asked.

use std::path::Path;
use std::process::Stdio;

use crate::workshop::{Called, program, rekindle, text, workshop};

/// Says that a message is written for people: no Rust types, no debugged values, no suggestion that can't be followed.
#[track_caller]
fn is_readable(called: &Called) {
    for trace in [
        "Some(",
        "None",
        "[\"",
        "::",
        "Device<",
        "Os {",
        "panicked",
        "tip: to pass '-",
    ] {
        assert!(!called.stderr.contains(trace), "{trace}: {}", called.stderr);
    }
    assert!(called.stderr.contains("error: "), "{}", called.stderr);
    assert_eq!(called.stdout, "");
}

#[test]
fn values_out_of_range_end_with_two_and_say_the_range() {
    for (option, value, expected) in [
        ("--epochs", "0", "from 1 to 1000000"),
        ("--epochs", "-1", "from 1 to 1000000"),
        ("--epochs", "two", "from 1 to 1000000"),
        ("--epochs", "", "from 1 to 1000000"),
        ("--batch", "0", "from 1 to 65536"),
        ("--batch", "99999999999999999999", "from 1 to 65536"),
        ("--views", "-1", "from 0 to 1000"),
        ("--workers", "100000", "from 0 to 256"),
        ("--patience", "0", "from 1 to"),
        ("--seed", "-1", "from 0 to 18446744073709551615"),
        ("--learning-rate", "nan", "a number above 0"),
        ("--learning-rate", "-0.1", "a number above 0"),
        ("--learning-rate", "inf", "a number above 0"),
        ("--label-smoothing", "1", "from 0 to below 1"),
        ("--moving-average", "-1", "from 0 to below 1"),
        ("--title", " ", "isn't empty"),
        ("--arch", "", "isn't empty"),
        ("--out", "", "a value is required"),
        ("--device", "cuda:x", "known are cpu, wgpu"),
    ] {
        let called = rekindle(["train", "nowhere", option, value]).ends_with(2);
        assert!(
            called.stderr.contains(expected),
            "{option} {value}: {}",
            called.stderr
        );
        is_readable(&called);
    }
    for arguments in [
        &["predict", "m", "i", "--top", "0"][..],
        &["lr-find", "d", "--steps", "2"],
        &["lr-find", "d", "--from", "0"],
        &["lr-find", "d", "--from", "1", "--to", "0.1"],
        &["lr-find", "d", "--strategy", "one-call"],
        &["train", "d", "--epochs", "1", "--epochs", "2"],
        &["train", ""],
    ] {
        is_readable(&rekindle(arguments).ends_with(2));
    }
}

#[test]
fn strategies_are_listed_with_one_call_and_values_are_told_from_names() {
    let message = |strategy: &str| {
        let called = rekindle(["train", "nowhere", "--strategy", strategy]).ends_with(2);
        is_readable(&called);
        called.stderr
    };
    let unknown = message("magic");
    assert!(
        unknown.contains("one-call, features, finetune"),
        "{unknown}"
    );
    assert!(message("finetun").contains("did you mean finetune?"));
    assert!(message("onecall=1").contains("did you mean one-call?"));
    for (strategy, expected) in [
        ("finetune=abc", "the rate is \"abc\", expected a number"),
        (
            "finetune=-1",
            "the rate is -1, expected a finite number above 0",
        ),
        ("freeze-up-to", "freeze-up-to=layer3"),
        ("features,scratch=2", "strategy scratch takes no value"),
    ] {
        let message = message(strategy);
        assert!(message.contains(expected), "{message}");
        assert!(!message.contains("no such strategy"), "{message}");
    }
}

fn recipe_file(folder: &Path, recipe: &str) -> std::path::PathBuf {
    let path = folder.join("recipe.json");
    std::fs::write(&path, recipe).unwrap();
    path
}

#[test]
fn a_recipe_with_anything_unknown_in_it_is_refused_by_key_and_file() {
    let folder = tempfile::tempdir().unwrap();
    for (recipe, expected) in [
        (
            r#"{"epoch": 3}"#,
            "unknown key `epoch`; did you mean `epochs`?",
        ),
        (
            r#"{"batch_size": "4"}"#,
            "`batch_size`: invalid type: string",
        ),
        (r#"{"epochs": 0}"#, "epochs is 0, but must be at least 1"),
        (
            r#"{"optimizer": {"name": "sgd", "momentun": 0.9, "nesterov": false, "weight_decay": 0}}"#,
            "unknown field `momentun`",
        ),
        ("epochs = 3", "expected value"),
    ] {
        let path = recipe_file(folder.path(), recipe);
        let called = rekindle(["train", "nowhere", "--recipe", text(&path)]).ends_with(2);
        assert!(
            called.stderr.contains(expected) && called.stderr.contains("recipe.json"),
            "{}",
            called.stderr
        );
        is_readable(&called);
    }
    let missing = folder.path().join("none.json");
    rekindle(["train", "nowhere", "--recipe", text(&missing)]).ends_with(2);
}

#[test]
fn what_can_be_checked_is_checked_before_anything_is_trained() {
    let workshop = workshop();
    let (data, weights) = (text(&workshop.data), text(&workshop.weights));
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| text(&folder.path().join(name)).to_string();
    let (out, taken) = (at("runs"), at("taken"));
    std::fs::write(&taken, "a file").unwrap();
    let inside = text(&workshop.data.join("runs")).to_string();
    let missing = at("none/model.onnx");
    for (arguments, expected) in [
        (
            vec!["--out", &out, "-s", "features,freeze-up-to=layer9"],
            "no stage \"layer9\"",
        ),
        (
            vec!["--out", &out, "-s", "features,scratch,features"],
            "names features twice",
        ),
        (
            vec!["--out", &out, "-s", "delta,delta=0.01"],
            "names delta twice",
        ),
        (vec!["--out", &inside], "inside of the images' folder"),
        (
            vec!["--out", &out, "--cache", &inside],
            "inside of the images' folder",
        ),
        (vec!["--out", &taken], "is a file; choose another folder"),
        (
            vec!["--out", &out, "--cache", &taken],
            "is a file; choose another folder",
        ),
        (vec!["--out", &out, "--resume"], "leave --resume out"),
        (
            vec!["--out", text(&workshop.runs), "-s", "bitfit,scratch"],
            "--resume",
        ),
    ] {
        let mut all = vec!["train", data, "--weights", weights];
        all.extend(arguments);
        let called = rekindle(&all).ends_with(2);
        assert!(
            called.stderr.contains(expected),
            "{all:?}: {}",
            called.stderr
        );
        is_readable(&called);
        assert!(!Path::new(&out).exists(), "{all:?}");
    }
    assert!(!workshop.runs.join("bitfit").exists());
    let run = workshop.runs.join("scratch");
    let run = text(&run);
    let best = format!("{run}/best.safetensors");
    for (arguments, expected) in [
        (
            vec![
                "export",
                run,
                "--out",
                folder.path().to_str().unwrap(),
                "--format",
                "onnx",
            ],
            "is a folder",
        ),
        (vec!["export", run, "--out", &missing], "create it first"),
        (vec!["export", run, "--out", &best], "would be replaced"),
        (vec!["report", run, "--out", data], "is a folder"),
        (
            vec!["report", run, "--out", &out, "--images", &taken],
            "is a file",
        ),
        (
            vec!["features", data, "--weights", weights, "--out", &missing],
            "create it first",
        ),
        (
            vec!["features", data, "--weights", weights, "--out", weights],
            "would be replaced",
        ),
        (
            vec!["advise", data, "--weights", weights, "--cache", &inside],
            "inside of the images' folder",
        ),
        (
            vec![
                "lr-find",
                data,
                "--weights",
                weights,
                "-s",
                "freeze-up-to=x",
            ],
            "no stage \"x\"",
        ),
        (vec!["advise", data, "--weights", weights, weights], "twice"),
        (
            vec!["evaluate", text(&workshop.runs), data],
            "holds the runs discriminative-rates=0.5, features",
        ),
    ] {
        let called = rekindle(&arguments).ends_with(2);
        assert!(
            called.stderr.contains(expected),
            "{arguments:?}: {}",
            called.stderr
        );
        is_readable(&called);
    }
}

/// The same strategy with two values makes two runs, whose names say which.
#[test]
fn runs_of_one_strategy_with_two_values_stand_side_by_side() {
    let workshop = workshop();
    let folder = tempfile::tempdir().unwrap();
    let train = |more: &[&str]| {
        let mut all = vec![
            "train",
            text(&workshop.data),
            "--weights",
            text(&workshop.weights),
        ];
        all.extend([
            "--epochs",
            "1",
            "--batch",
            "5",
            "--json",
            "--out",
            text(folder.path()),
        ]);
        all.extend(more);
        rekindle(all).ends_with(0)
    };
    let told = train(&["-s", "freeze-up-to=layer4,freeze-up-to=layer3"]).json();
    for (run, name) in told["runs"]
        .as_array()
        .unwrap()
        .iter()
        .zip(["freeze-up-to=layer4", "freeze-up-to=layer3"])
    {
        assert_eq!(run["strategy"], name);
        assert!(folder.path().join(name).join("best.safetensors").is_file());
    }
    // Version 0.1 left the value out of the folder's name; such a run is still found.
    let before = folder.path().join("freeze-up-to");
    std::fs::rename(folder.path().join("freeze-up-to=layer4"), &before).unwrap();
    let called = train(&["-s", "freeze-up-to=layer4", "--resume"]);
    assert_eq!(called.json()["runs"][0]["directory"], text(&before));
}

#[test]
fn the_status_says_where_the_fault_lies() {
    let workshop = workshop();
    let (data, weights) = (text(&workshop.data), text(&workshop.weights));
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| text(&folder.path().join(name)).to_string();
    let (nowhere, empty, file) = (at("nowhere"), at("empty"), at("file"));
    std::fs::create_dir(&empty).unwrap();
    std::fs::write(&file, "neither weights nor a picture").unwrap();
    let run = workshop.runs.join("features");
    let run = text(&run);
    let out = at("out.safetensors");
    let no_head = at("trunk.safetensors");
    headless(&workshop.weights, Path::new(&no_head));
    for (arguments, status) in [
        // The images.
        (vec!["verify", &nowhere], 3),
        (vec!["verify", &empty], 3),
        (vec!["verify", &file], 3),
        (vec!["train", &nowhere, "--weights", weights], 3),
        (vec!["train", &empty, "--weights", weights], 3),
        (vec!["train", &file, "--weights", weights], 3),
        (vec!["evaluate", run, &nowhere], 3),
        (vec!["evaluate", run, &empty], 3),
        (vec!["advise", &empty, "--weights", weights], 3),
        (vec!["lr-find", &empty, "--weights", weights], 3),
        (
            vec!["features", &empty, "--weights", weights, "--out", &out],
            3,
        ),
        // The command line.
        (vec!["evaluate", data, data], 2),
        (vec!["predict", &empty, data], 2),
        (vec!["report", &nowhere], 2),
        (vec!["train", data, "--arch", "resnet17"], 2),
        (vec!["train", data, "--arch", "resnet18.V9"], 2),
        (
            vec!["train", data, "--weights", weights, "--device", "cuda"],
            2,
        ),
        // Everything else.
        (vec!["train", data, "--weights", &nowhere], 1),
        (vec!["train", data, "--weights", &file], 1),
        (vec!["advise", data, "--weights", &file], 1),
        (vec!["evaluate", &file, data], 1),
        (vec!["predict", &nowhere, data], 1),
        (vec!["predict", &no_head, data], 1),
        (
            vec![
                "features",
                data,
                "--weights",
                &no_head,
                "--layer",
                "logits",
                "--out",
                &out,
            ],
            1,
        ),
        (vec!["train", data, "--arch", "resnet34"], 1), // Downloads are off.
    ] {
        let called = rekindle(&arguments);
        assert_eq!(called.code, status, "{arguments:?}: {}", called.stderr);
        is_readable(&called);
    }
    assert!(!Path::new(&out).exists());
}

/// The same network without its classifier.
fn headless(from: &Path, to: &Path) {
    let device = rekindle::device::DeviceName::Cpu.open().unwrap();
    let pretrained = rekindle::models::Pretrained::open(from, &device).unwrap();
    let trunk = pretrained.model.clone().reset_classifier(0, 0);
    rekindle::models::files::save(&trunk, to, &pretrained.info()).unwrap();
}

/// A reader that goes away early is no failure, on either stream.
#[test]
#[cfg(unix)]
fn a_closed_pipe_is_no_failure() {
    let data = text(&workshop().data);
    for arguments in [&["completions", "zsh"][..], &["--help"], &["verify", data]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = program()
            .args(arguments)
            .stdout(Stdio::from(writer.try_clone().unwrap()))
            .stderr(Stdio::from(writer))
            .output()
            .unwrap();
        let code = output.status.code();
        assert!(
            code == Some(0) || code == Some(3),
            "{arguments:?}: {code:?}"
        );
    }
}

#[test]
fn numbers_agree_with_their_nouns() {
    let workshop = workshop();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("runs");
    let called = rekindle([
        "train",
        text(&workshop.data),
        "--weights",
        text(&workshop.weights),
        "--strategy",
        "features",
        "--epochs",
        "1",
        "--out",
        text(&out),
    ])
    .ends_with(0);
    assert!(
        called.stderr.contains("finished 1 epoch in "),
        "{}",
        called.stderr
    );
    assert!(
        called.stderr.contains("epoch 1, features: trains"),
        "{}",
        called.stderr
    );
    assert!(
        called.stderr.contains("device         cpu, seed 0"),
        "{}",
        called.stderr
    );
    let record = std::fs::read_to_string(out.join("features/run.json")).unwrap();
    assert!(record.contains(r#""device": "cpu""#), "{record}");
    // The file is named once in the line that says that it was left out.
    let skipped = called
        .stderr
        .lines()
        .find(|line| line.contains("torn.png"))
        .unwrap();
    assert_eq!(skipped.matches("torn.png").count(), 1, "{skipped}");
}

/// Text of `--help` at a width, as lines.
fn help(command: &str, width: usize) -> Vec<String> {
    let words = [command, "--help"];
    let output = program()
        .env("COLUMNS", width.to_string())
        .args(words.into_iter().filter(|word| !word.is_empty()))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_string).collect()
}

#[test]
fn help_breaks_between_words_at_any_width() {
    for command in [
        "",
        "verify",
        "advise",
        "train",
        "predict",
        "evaluate",
        "lr-find",
        "export",
        "report",
        "features",
        "completions",
    ] {
        let words = |width| -> Vec<String> {
            let text = help(command, width).join(" ");
            text.split_whitespace().map(str::to_string).collect()
        };
        let whole = words(1000);
        for width in [60, 80, 120] {
            assert_eq!(words(width), whole, "{command} at {width}");
            for line in help(command, width) {
                // A single word may be longer than its column.
                let is_one_word = line.split_whitespace().count() == 1;
                assert!(
                    line.chars().count() <= width || is_one_word,
                    "{command} at {width}: {line}"
                );
            }
        }
    }
}
