//! Checks what `train` prints and writes: figures that match its files, measured again by the other
//! commands.

use std::path::Path;

use rekindle::drawings::{DrawingTask, TargetTask};
use serde_json::Value;

use crate::workshop::{HOSTILE, rekindle, text, workshop};

/// `train` on the workshop's drawings, with these options behind.
pub(crate) fn train(out: &Path, options: &[&str]) -> crate::workshop::Called {
    let workshop = workshop();
    let mut arguments = vec!["train", text(&workshop.data), "--weights"];
    arguments.extend([
        text(&workshop.weights),
        "--out",
        text(out),
        "--json",
        "--quiet",
    ]);
    arguments.extend(options);
    rekindle(arguments)
}

fn accuracy_of(model: &str, options: &[&str]) -> f64 {
    let data = text(&workshop().data);
    let mut arguments = vec!["evaluate", model, data, "--json"];
    arguments.extend(options);
    let found = rekindle(arguments).ends_with(3).json();
    assert_eq!(found["evaluation"]["samples"], 40);
    found["evaluation"]["accuracy"].as_f64().unwrap()
}

/// Counted from the lines of `predict --json`: the class of a picture is its folder.
fn counted(model: &str, options: &[&str]) -> f64 {
    let images = workshop().data.join("val");
    let (mut right, mut all) = (0, 0);
    for class in ["ants", HOSTILE] {
        let folder = images.join(class);
        let mut arguments = vec!["predict", model, text(&folder), "--json"];
        arguments.extend(options);
        for line in rekindle(arguments).stdout.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            if line.get("error").is_none() {
                all += 1;
                right += usize::from(line["predictions"][0]["class"] == class);
            }
        }
    }
    assert_eq!(all, 40);
    f64::from(right as u32) / 40.0
}

#[test]
fn what_train_says_is_what_evaluate_measures_and_predict_answers() {
    for run in workshop().trained["runs"].as_array().unwrap() {
        let said = run["best_accuracy"].as_f64().unwrap();
        let directory = run["directory"].as_str().unwrap();
        assert_eq!(accuracy_of(directory, &[]), said, "{run}");
        assert_eq!(counted(directory, &[]), said, "{run}");
        assert_eq!(run["reason"], "finished");
        for file in [
            "run.json",
            "classes.json",
            "metrics.jsonl",
            "report.html",
            "lock",
        ] {
            assert!(Path::new(directory).join(file).is_file(), "{file} of {run}");
        }
        // Calibrated answers are the same classes.
        assert_eq!(counted(directory, &["--calibrated"]), said, "{run}");
        let log = std::fs::read_to_string(Path::new(directory).join("metrics.jsonl")).unwrap();
        let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
        assert_eq!(last["best_accuracy"], run["best_accuracy"]);
    }
}

/// A folder without parts: what training held out is what it is measured on.
#[test]
fn a_run_on_a_folder_without_parts_is_measured_on_what_it_held_out() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("runs"));
    TargetTask
        .write_folder(&folder.path().join("both"), 30, 1, 2)
        .unwrap();
    std::fs::rename(folder.path().join("both/train"), &data).unwrap();
    let weights = text(&workshop().weights);
    let told = rekindle([
        "train",
        text(&data),
        "--weights",
        weights,
        "--out",
        text(&out),
        "--json",
        "--quiet",
        "--strategy",
        "one-call,features",
        "--seed",
        "7",
        "--epochs",
        "4",
    ])
    .ends_with(0)
    .json();
    for run in told["runs"].as_array().unwrap() {
        let model = run["directory"].as_str().unwrap();
        let found = rekindle(["evaluate", model, text(&data), "--json"])
            .ends_with(0)
            .json();
        assert_eq!(found["held_out"], true);
        assert_eq!(found["evaluation"]["samples"], 12);
        assert_eq!(
            found["evaluation"]["accuracy"], run["best_accuracy"],
            "{run}"
        );
    }
    // The run knows its pictures wherever they are, and the file by itself does not.
    let other = folder.path().join("other");
    std::fs::rename(&data, &other).unwrap();
    let run = out.join("features");
    let alone = folder.path().join("alone.safetensors");
    std::fs::copy(run.join("best.safetensors"), &alone).unwrap();
    for (model, is_held_out, images) in [(&run, true, 12), (&alone, false, 60)] {
        let found = rekindle(["evaluate", text(model), text(&other), "--json"])
            .ends_with(0)
            .json();
        assert_eq!(
            (&found["held_out"], &found["evaluation"]["samples"]),
            (&is_held_out.into(), &images.into())
        );
        assert_eq!(found["learned_from"], 0);
    }
    // With half of a class gone, not all that was held out is there.
    for at in 0..15 {
        std::fs::remove_file(other.join(format!("ants/{at:04}.png"))).unwrap();
    }
    let called = rekindle(["evaluate", text(&run), text(&other), "--json"]).ends_with(0);
    let found = called.json();
    assert_eq!(found["evaluation"]["samples"], 45);
    let learned = found["learned_from"].as_u64().unwrap();
    assert!((33..45).contains(&learned), "{learned}");
    let warning = format!("warning: the run learned from {learned} of the images");
    assert!(called.stderr.contains(&warning), "{}", called.stderr);
}

#[test]
fn views_are_measured_beside_and_asked_for_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let options = [
        "--strategy",
        "one-call,features",
        "--test-views",
        "flip-and-scale",
    ];
    let told = train(folder.path(), &options).ends_with(0).json();
    for run in told["runs"].as_array().unwrap() {
        let directory = run["directory"].as_str().unwrap();
        let (said, beside) = (&run["best_accuracy"], &run["accuracy_in_views"]);
        assert_eq!(accuracy_of(directory, &[]), said.as_f64().unwrap());
        let beside = beside.as_f64().unwrap();
        assert_eq!(accuracy_of(directory, &["--views", "file"]), beside);
        assert_eq!(
            accuracy_of(directory, &["--views", "flip-and-scale"]),
            beside
        );
        assert_eq!(counted(directory, &["--views", "flip-and-scale"]), beside);
        assert_eq!(run["test_views"], "flip-and-scale");
    }
    let run = folder.path().join("features");
    let data = text(&workshop().data);
    let refused = rekindle([
        "evaluate",
        text(&run),
        data,
        "--views",
        "flip",
        "--calibrated",
    ]);
    assert!(refused.ends_with(2).stderr.contains("--views flip"));
    // A network that was never calibrated says so.
    let weights = text(&workshop().weights);
    let called = rekindle(["evaluate", weights, data, "--calibrated"]);
    assert!(
        called.code != 0 && called.stderr.contains("temperature"),
        "{}",
        called.stderr
    );
}

#[test]
fn a_finished_run_is_lengthened_and_nothing_else_about_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    // A rate that runs over all epochs would be stretched.
    let epochs = |number| {
        let options = ["--batch", "5", "--seed", "3", "--schedule", "step"];
        [
            &["--strategy", "features", "--epochs", number][..],
            &options,
        ]
        .concat()
    };
    train(folder.path(), &epochs("3")).ends_with(0);
    // Without a strategy it is that of the run.
    let told = train(folder.path(), &["--resume", "--epochs", "5"])
        .ends_with(0)
        .json();
    assert_eq!(told["runs"][0]["epochs"], 5);
    assert_eq!(told["runs"][0]["seed"], 3);
    let whole = tempfile::tempdir().unwrap();
    let expected = train(whole.path(), &epochs("5")).ends_with(0).json();
    for field in ["best_accuracy", "last_accuracy", "best_epoch", "loss"] {
        assert_eq!(
            told["runs"][0][field], expected["runs"][0][field],
            "{field}"
        );
    }
    for (options, named) in [
        (&["--batch", "7"][..], &["batch_size", "5", "7"][..]),
        (&["--seed", "4"], &["seed", "3", "4"]),
        (
            &["--learning-rate", "0.5"],
            &["learning_rate", "0.0003", "0.5"],
        ),
        (&["--monitor", "loss"], &["monitor", "accuracy", "loss"]),
        (&["--title", "other"], &["title", "other"]),
        (&["--epochs", "2"], &["epochs", "2"]),
        (&["--views", "0"], &["cache", "memory", "off"]),
        (&["--strategy", "finetune"], &["--resume", "finetune"]),
    ] {
        let mut arguments = vec!["--resume"];
        arguments.extend(options);
        let message = train(folder.path(), &arguments).ends_with(2).stderr;
        for word in named {
            assert!(message.contains(word), "{options:?}: {message}");
        }
    }
    let fine = tempfile::tempdir().unwrap();
    train(
        fine.path(),
        &["--strategy", "finetune=0.5", "--epochs", "1"],
    )
    .ends_with(0);
    let other = ["--strategy", "finetune=0.25", "--resume"];
    let message = train(fine.path(), &other).ends_with(2).stderr;
    assert!(
        message.contains("0.25") && message.contains("0.5"),
        "{message}"
    );
}

#[test]
fn sets_of_classes_cover_what_is_asked_for() {
    let run = workshop().runs.join("features");
    let (model, images) = (text(&run), workshop().data.join("val"));
    let ants = images.join("ants");
    // Forty validation images promise up to 40 / 41; two pictures are none.
    let found = rekindle([
        "evaluate",
        model,
        text(&workshop().data),
        "--coverage",
        "0.9",
        "--json",
    ]);
    let coverage = found.ends_with(3).json()["coverage"].clone();
    assert!(coverage["covered"].as_f64().unwrap() >= 0.9, "{coverage}");
    let least = coverage["least_probability"].as_f64().unwrap();
    let told = rekindle(["predict", model, text(&ants), "--coverage", "0.9", "--json"]);
    let told = told.ends_with(3);
    let plain = rekindle(["predict", model, text(&ants), "--top", "2", "--json"]).ends_with(3);
    for (set, plain) in told.stdout.lines().zip(plain.stdout.lines()) {
        let [set, plain]: [Value; 2] = [set, plain].map(|line| serde_json::from_str(line).unwrap());
        let Some(all) = plain["predictions"].as_array() else {
            continue;
        };
        let reaches = |answer: &&Value| answer["probability"].as_f64().unwrap() >= least;
        let expected: Vec<Value> = all.iter().filter(reaches).cloned().collect();
        assert_eq!(set["set"].as_array().unwrap(), &expected, "{plain}");
    }
    for (options, named) in [
        (&["--coverage", "0.99"][..], "at most 0.976"),
        (&["--coverage", "1"], "above 0 and below 1"),
        (&["--coverage", "0.9", "--views", "flip"], "--views flip"),
        (&["--coverage", "0.9", "--calibrated"], "--calibrated"),
        (&["--coverage", "0.9", "--top", "2"], "--top"),
    ] {
        let mut arguments = vec!["predict", model, text(&ants)];
        arguments.extend(options);
        let called = rekindle(arguments).ends_with(2);
        assert!(
            called.stderr.contains(named),
            "{options:?}: {}",
            called.stderr
        );
    }
    // What the file doesn't hold can't be asked of it; nothing is wrong with the images.
    let source = text(&workshop().weights);
    for (options, named) in [
        (&["--coverage", "0.9"][..], "no scores for sets"),
        (&["--calibrated"], "no temperature"),
        (&["--reject"], "how unknown classes are told"),
    ] {
        let mut arguments = vec!["predict", source, text(&ants)];
        arguments.extend(options);
        let called = rekindle(arguments).ends_with(2);
        assert!(called.stderr.contains(named), "{}", called.stderr);
    }
}

#[test]
fn figures_for_tensorboard_lie_beside_the_runs() {
    let folder = tempfile::tempdir().unwrap();
    let options = [
        "--strategy",
        "features,one-call",
        "--epochs",
        "2",
        "--tensorboard",
    ];
    train(folder.path(), &options).ends_with(0);
    let board = folder.path().join("tensorboard/features");
    let files: Vec<_> = std::fs::read_dir(&board)
        .unwrap()
        .map(|file| file.unwrap())
        .collect();
    assert_eq!(files.len(), 1);
    assert!(files[0].file_name().to_str().unwrap().contains("tfevents"));
    let bytes = std::fs::read(files[0].path()).unwrap();
    // Two epochs and their batches, each record with its tag.
    let count = |tag: &[u8]| bytes.windows(tag.len()).filter(|part| *part == tag).count();
    assert_eq!(
        (count(b"loss/validation"), count(b"accuracy/train")),
        (2, 2)
    );
    assert!(count(b"batch/loss") >= 2);
    let other = folder.path().join("other");
    let called = train(&other, &["--strategy", "one-call", "--tensorboard"]).ends_with(2);
    assert!(called.stderr.contains("--tensorboard"), "{}", called.stderr);
}
