//! Checks what `train` records and refuses: recipes of strategies, options without effect, folders that are taken.

use std::path::Path;

use serde_json::Value;

use crate::runs::train;
use crate::workshop::{rekindle, text, workshop};

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

/// What keeps features from being kept costs a pass over the frozen network in each epoch, and is said.
#[test]
fn frozen_stages_that_are_computed_in_each_epoch_are_said() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = folder.path().join("mix.toml");
    std::fs::write(&recipe, "mix = { name = \"mix_up\", alpha = 0.2 }\n").unwrap();
    let plain = folder.path().join("plain.toml");
    std::fs::write(&plain, "batch_size = 8\n").unwrap();
    let cases: [(&[&str], &str); 7] = [
        (&["--mix-up", "0.2"], "note: with --mix-up no features"),
        (
            &["--mix-up", "0.2", "--cut-mix", "1"],
            "note: with --mix-up and --cut-mix no features",
        ),
        (&["--recipe", text(&recipe)], "note: the recipe's mix"),
        (
            &["--recipe", text(&plain)],
            "note: the recipe's cache is off",
        ),
        // Fresh views were asked for, and without mixing they are kept.
        (&["--mix-up", "0.2", "--views", "0"], ""),
        (&["--views", "0"], ""),
        (&[], ""),
    ];
    for (at, (options, note)) in cases.into_iter().enumerate() {
        let out = folder.path().join(at.to_string());
        let strategies = ["--strategy", "features,finetune", "--epochs", "2"];
        let called = train(&out, &[&strategies, options].concat()).ends_with(0);
        let said = &called.stderr;
        let costs = "features computes its 5 frozen stages in each of 2 epochs";
        match note.is_empty() {
            true => assert!(!said.contains("frozen stages in each"), "{said}"),
            false => assert!(said.contains(note) && said.contains(costs), "{said}"),
        }
        // Nothing is frozen in the other.
        assert!(!said.contains("finetune computes"), "{said}");
    }
}

/// The features that one call computes are those of others and more, so it goes first; results stand as they were asked for.
#[test]
fn one_call_goes_before_the_strategies_that_share_its_features() {
    let folder = tempfile::tempdir().unwrap();
    let options = ["--strategy", "features,one-call", "--epochs", "2"];
    let told = train(folder.path(), &options).ends_with(0).json();
    let names = ["features", "one-call"];
    for (run, name) in told["runs"].as_array().unwrap().iter().zip(names) {
        assert_eq!(run["strategy"], name);
        assert!(run["directory"].as_str().unwrap().ends_with(name));
    }
    let page = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
    let section = |name: &str| page.find(&format!("<bdi>{name}</bdi></h2>")).unwrap();
    assert!(section("Features") < section("One-call"));
    let begun = |name: &str| {
        let record = folder.path().join(name).join("run.json");
        std::fs::metadata(record).unwrap().modified().unwrap()
    };
    assert!(begun("one-call") < begun("features"));
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
