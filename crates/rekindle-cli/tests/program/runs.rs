//! Checks what `train` prints and writes: figures that match its files, runs of every strategy alike, and no
//! option without effect.

use std::path::Path;

use rekindle::drawings::{DrawingTask, TargetTask};
use serde_json::Value;

#[cfg(target_os = "linux")]
use crate::workshop::program;
use crate::workshop::{HOSTILE, rekindle, text, workshop};

/// `train` on the workshop's drawings, with these options behind.
fn train(out: &Path, options: &[&str]) -> crate::workshop::Called {
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
    // Another folder is measured as a whole.
    let other = folder.path().join("other");
    std::fs::rename(&data, &other).unwrap();
    let model = text(&out.join("features")).to_string();
    let found = rekindle(["evaluate", &model, text(&other), "--json"])
        .ends_with(0)
        .json();
    assert_eq!(
        (&found["held_out"], &found["evaluation"]["samples"]),
        (&false.into(), &60.into())
    );
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
fn an_option_without_an_effect_is_refused_by_name_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("runs");
    let cache = folder.path().join("cache");
    let cache = text(&cache);
    let vain: &[(&str, &[&str])] = &[
        ("one-call", &["--views", "2"]),
        ("one-call", &["--label-smoothing", "0.1"]),
        ("one-call", &["--moving-average", "0.9"]),
        ("one-call", &["--patience", "2"]),
        ("one-call", &["--monitor", "loss"]),
        ("one-call", &["--balance-classes"]),
        ("finetune", &["--views", "2"]),
        ("finetune", &["--cache", cache]),
        ("finetune", &["--quantize"]),
        ("scratch", &["--quantize"]),
        ("scratch", &["--cache", cache]),
        ("lp-ft", &["--cache", cache]),
    ];
    for (strategy, options) in vain {
        let mut arguments = vec!["--strategy", strategy];
        arguments.extend(*options);
        let called = train(&out, &arguments).ends_with(2);
        let message = called.stderr;
        assert!(
            message.contains(options[0]) && message.contains(strategy),
            "{strategy} {options:?}: {message}"
        );
        assert!(!out.exists(), "{strategy} {options:?}");
    }
    let called = train(&out, &["--views", "0", "--cache", cache]).ends_with(2);
    assert!(called.stderr.contains("--views 0") && called.stderr.contains("--cache"));
    let called = train(&out, &["--resume"]).ends_with(2);
    assert!(called.stderr.contains("--resume"), "{}", called.stderr);
    assert!(!out.exists());
    // Beside a strategy that it changes, and where it only sets the pace, it is said.
    let options = [
        "--strategy",
        "one-call,features",
        "--patience",
        "1",
        "--epochs",
        "2",
    ];
    let called = train(&out, &options).ends_with(0);
    for option in ["--patience", "--epochs"] {
        let note = format!("note: {option} has no effect on one-call\n");
        assert!(called.stderr.contains(&note), "{}", called.stderr);
    }
}

/// An option that acts on one strategy of several is left out of the other, and the same call goes on with both.
#[test]
fn eight_bits_of_one_strategy_are_no_hindrance_to_another() {
    let folder = tempfile::tempdir().unwrap();
    let call = |more: &[&str]| {
        let mut options = vec!["--strategy", "features,finetune", "--quantize", "--epochs"];
        options.extend(more);
        train(folder.path(), &options)
    };
    let called = call(&["1"]);
    if called.stderr.contains("this machine") {
        test_support::skip(test_support::Needs::Instructions, called.stderr);
        return;
    }
    let called = called.ends_with(0);
    let note = "note: --quantize has no effect on finetune\n";
    assert!(called.stderr.contains(note), "{}", called.stderr);
    let quantized = |strategy: &str| {
        let record = std::fs::read(folder.path().join(strategy).join("run.json")).unwrap();
        let record: Value = serde_json::from_slice(&record).unwrap();
        record["recipe"]["quantize_frozen"].as_bool().unwrap()
    };
    assert_eq!(
        [quantized("features"), quantized("finetune")],
        [true, false]
    );
    call(&["2", "--resume"]).ends_with(0);
    assert_eq!(
        [quantized("features"), quantized("finetune")],
        [true, false]
    );
}

#[test]
fn a_second_run_into_the_same_folder_is_refused_before_anything_is_trained() {
    let folder = tempfile::tempdir().unwrap();
    train(folder.path(), &["--strategy", "one-call"]).ends_with(0);
    let path = folder.path().join("one-call/best.safetensors");
    let before = std::fs::read(&path).unwrap();
    // The first of the two would be free.
    let options = [
        "--strategy",
        "features,one-call",
        "--seed",
        "5",
        "--epochs",
        "1",
    ];
    let called = train(folder.path(), &options).ends_with(2);
    assert!(called.stderr.contains("one-call"), "{}", called.stderr);
    assert!(!folder.path().join("features").exists());
    assert_eq!(std::fs::read(path).unwrap(), before);
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

/// Presses Ctrl-C after the first line of output, or as soon as the program listens for it, and returns status and
/// output.
#[cfg(target_os = "linux")]
fn interrupted(arguments: &[&str], waits_for_a_line: bool) -> (Option<i32>, Vec<String>) {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    let mut child = program()
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut told = Vec::new();
    match waits_for_a_line {
        true => told.push(lines.next().unwrap().unwrap()),
        false => {
            while !listens_for_ctrl_c(child.id()) {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
    }
    let id = child.id().to_string();
    let pressed = Command::new("kill").args(["-INT", &id]).status().unwrap();
    assert!(pressed.success());
    told.extend(lines.map(Result::unwrap));
    (child.wait().unwrap().code(), told)
}

/// Returns true if the process catches SIGINT, signal number 2.
#[cfg(target_os = "linux")]
fn listens_for_ctrl_c(process: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    u64::from_str_radix(caught.unwrap().trim(), 16).unwrap() & 0b10 != 0
}

#[test]
#[cfg(target_os = "linux")]
fn commands_that_take_long_are_interrupted_and_end_with_130() {
    let workshop = workshop();
    let folder = tempfile::tempdir().unwrap();
    let picture = workshop.data.join("val/ants/0000.png");
    for class in ["ants", HOSTILE] {
        let class = folder.path().join(class);
        std::fs::create_dir(&class).unwrap();
        for number in 0..20_000 {
            std::fs::hard_link(&picture, class.join(format!("{number:05}.png"))).unwrap();
        }
    }
    let (model, many) = (workshop.runs.join("features"), text(folder.path()));
    let out = folder.path().join("features.safetensors");
    let (code, told) = interrupted(&["predict", text(&model), many, "--json"], true);
    assert_eq!(code, Some(130));
    assert!(told.len() < 40_000, "it had ended by itself");
    for line in told {
        assert!(serde_json::from_str::<Value>(&line).is_ok(), "{line}");
    }
    let weights = text(&workshop.weights);
    for arguments in [
        vec!["evaluate", text(&model), many],
        vec!["verify", many],
        vec!["features", many, "--weights", weights, "--out", text(&out)],
        vec!["advise", many, "--weights", weights],
    ] {
        let (code, told) = interrupted(&arguments, false);
        assert_eq!((code, told.len()), (Some(130), 0), "{arguments:?}");
    }
    assert!(!out.exists());
}

/// The recipe and the preprocessing of a run.
fn asked(out: &Path, strategy: &str) -> (Value, Value) {
    let read = |file: &str| -> Value {
        let text = std::fs::read(out.join(strategy).join(file)).unwrap();
        serde_json::from_slice(&text).unwrap()
    };
    let (mut record, classes) = (read("run.json"), read("classes.json"));
    (record["recipe"].take(), classes["preprocessing"].clone())
}

#[test]
fn every_strategy_has_a_recipe_of_its_own_and_the_tutorials_is_asked_for_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("own");
    let short = ["--strategy", "features,finetune,bitfit", "--epochs", "1"];
    train(&own, &short).ends_with(0);
    let rates = |strategy| {
        let (recipe, _) = asked(&own, strategy);
        assert_eq!(recipe["optimizer"]["name"], "adam_w");
        assert_eq!(recipe["batch_size"], 16);
        [recipe["learning_rate"].clone(), recipe["head_rate"].clone()]
    };
    assert_eq!(rates("features"), [3e-4, 10.0]);
    assert_eq!(rates("finetune"), [3e-4, 10.0]);
    assert_eq!(rates("bitfit"), [3e-3, 1.0]);
    let tutorial = folder.path().join("tutorial");
    let options = [
        "--strategy",
        "finetune",
        "--recipe",
        "tutorial",
        "--epochs",
        "1",
    ];
    train(&tutorial, &options).ends_with(0);
    let expected = rekindle::trainer::Recipe {
        epochs: 1,
        cache: rekindle::trainer::Cache::Memory,
        ..rekindle::trainer::Recipe::tutorial()
    };
    assert_eq!(asked(&tutorial, "finetune").0, serde_json::json!(expected));
}

#[test]
fn options_of_training_reach_the_record_and_what_has_no_effect_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("all");
    let options = "--strategy finetune --epochs 1 --lr 0.002 --head-rate 3 --optimizer sgd --weight-decay 0.1 \
                   --schedule cosine --warm-up 0.5 --clip-norm 2 --accumulate 2 --augment trivial --flip 0.25 \
                   --mix-up 0.2 --cut-mix 1 --batch-size 6 --resize letterbox --image-size 48";
    train(&out, &options.split_whitespace().collect::<Vec<_>>()).ends_with(0);
    let (recipe, preprocess) = asked(&out, "finetune");
    for (pointer, expected) in [
        ("/learning_rate", serde_json::json!(0.002)),
        ("/head_rate", 3.0.into()),
        ("/optimizer/name", "sgd".into()),
        ("/optimizer/weight_decay", 0.1.into()),
        ("/schedule/kind", "warmup".into()),
        ("/schedule/epochs", 0.5.into()),
        ("/schedule/then/kind", "cosine".into()),
        ("/clip_norm", 2.0.into()),
        ("/accumulate", 2.into()),
        ("/augment/policy", "trivial".into()),
        ("/augment/flip", 0.25.into()),
        ("/mix/name", "either".into()),
        ("/mix/cutmix_alpha", 1.0.into()),
        ("/batch_size", 6.into()),
        ("/cache", "off".into()),
    ] {
        assert_eq!(recipe.pointer(pointer), Some(&expected), "{pointer}");
    }
    assert_eq!(preprocess["mode"], "letterbox");
    assert_eq!(
        (&preprocess["resize"], &preprocess["crop"]),
        (&48.into(), &48.into())
    );
    // The file says so too, and a resumed run goes on with it.
    let model = out.join("finetune");
    let images = workshop().data.join("val/ants");
    rekindle(["predict", text(&model), text(&images)]).ends_with(3);
    train(&out, &["--resume", "--epochs", "2"]).ends_with(0);
    let message = train(&out, &["--resume", "--resize", "squash"])
        .ends_with(2)
        .stderr;
    for word in ["preprocessing", "letterbox", "squash"] {
        assert!(message.contains(word), "{message}");
    }
    let other = folder.path().join("other");
    for (options, named) in [
        (
            "--strategy features --augment trivial",
            "--augment has no effect on features",
        ),
        (
            "--strategy features --flip 0",
            "--flip has no effect on features",
        ),
        ("--strategy finetune --warm-up 1", "--schedule cosine"),
        ("--strategy finetune --flip 1.5", "from 0 to 1"),
        ("--strategy finetune --image-size 3", "from 16 to 4096"),
    ] {
        let called = train(&other, &options.split_whitespace().collect::<Vec<_>>()).ends_with(2);
        assert!(
            called.stderr.contains(named),
            "{options}: {}",
            called.stderr
        );
        assert!(!other.exists());
    }
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
        let called = rekindle(arguments);
        assert!(
            called.code != 0 && called.stderr.contains(named),
            "{options:?}: {}",
            called.stderr
        );
    }
    let source = text(&workshop().weights);
    let called = rekindle(["predict", source, text(&ants), "--coverage", "0.9"]);
    assert!(
        called.code != 0 && called.stderr.contains("no scores for sets"),
        "{}",
        called.stderr
    );
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
