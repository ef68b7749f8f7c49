//! Folders as people have them: other names for the parts, other bytes in names, pointers in place of pictures.

use std::fs;
use std::path::{Path, PathBuf};

use rekindle::drawings::{DrawingTask, TargetTask};
use tempfile::TempDir;

use crate::workshop::{Called, rekindle, text, workshop};

/// Drawn ants and bees under `train` and `val`, ten and five of each.
fn drawn() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    TargetTask.write_folder(folder.path(), 10, 5, 7).unwrap();
    folder
}

fn rename(folder: &Path, names: &[(&str, &str)]) {
    for (from, to) in names {
        let to = folder.join(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::rename(folder.join(from), to).unwrap();
    }
}

fn train(data: &Path, out: &Path, more: &[&str]) -> Called {
    let mut arguments = vec!["train".into(), data.as_os_str().to_os_string()];
    arguments.extend([
        "--weights".into(),
        workshop().weights.clone().into_os_string(),
    ]);
    arguments.extend(["--out".into(), out.as_os_str().to_os_string()]);
    let fixed = ["--epochs", "2", "--learning-rate", "0.05", "--json"];
    arguments.extend(fixed.iter().chain(more).map(Into::into));
    rekindle(arguments)
}

#[test]
fn every_command_finds_the_same_parts_and_says_so() {
    let folder = drawn();
    rename(
        folder.path(),
        &[("train", "photos/Training"), ("val", "photos/TEST")],
    );
    fs::create_dir(folder.path().join("__MACOSX")).unwrap();
    let data = text(folder.path());
    let work = tempfile::tempdir().unwrap();
    let out = work.path().join("runs");
    let weights = text(&workshop().weights);
    let said = "training images in Training, validation images in TEST";

    let called = train(folder.path(), &out, &["--strategy", "features"]).ends_with(0);
    assert!(called.stderr.contains(said), "{}", called.stderr);
    let classes = fs::read_to_string(out.join("features/classes.json")).unwrap();
    assert!(
        classes.contains("ants") && !classes.contains("Training"),
        "{classes}"
    );

    let run = out.join("features");
    let called = rekindle(["evaluate", text(&run), data, "--json"]).ends_with(0);
    assert!(called.stderr.contains(said));
    assert_eq!(called.json()["evaluation"]["samples"], 10);
    let called = rekindle(["verify", data, "--json"]).ends_with(0);
    assert!(called.stderr.contains(said));
    let found = called.json();
    for (part, images) in [(0, 20), (1, 10)] {
        assert_eq!(
            found["folders"][part]["classes"],
            serde_json::json!(["ants", "bees"])
        );
        assert_eq!(found["folders"][part]["images"], images);
    }
    let table = work.path().join("features.safetensors");
    let called = rekindle([
        "features",
        data,
        "--weights",
        weights,
        "--out",
        text(&table),
        "--json",
    ]);
    let called = called.ends_with(0);
    assert!(called.stderr.contains(said));
    let told = called.json();
    assert_eq!(
        (&told["images"], &told["classes"]),
        (&30.into(), &serde_json::json!(["ants", "bees"]))
    );
    let called = rekindle(["advise", data, "--weights", weights, "--json"]).ends_with(0);
    assert!(called.stderr.contains(said));
    assert_eq!(called.json()["images"], 20);
    let lr = [
        "lr-find",
        data,
        "--weights",
        weights,
        "--steps",
        "3",
        "-s",
        "features",
        "--json",
    ];
    assert!(rekindle(lr).ends_with(0).stderr.contains(said));
    let tuned = rekindle::trainer::fine_tune(data, weights, &burn::tensor::Device::flex()).unwrap();
    assert_eq!(
        (tuned.classes.len(), tuned.predictions.labels.len()),
        (2, 10)
    );
}

#[test]
fn a_split_under_unknown_names_is_refused_with_the_names() {
    let folder = drawn();
    rename(folder.path(), &[("val", "rest")]);
    let elsewhere = tempfile::tempdir().unwrap();
    let out = elsewhere.path().join("runs");
    let called = train(folder.path(), &out, &["--strategy", "features"]).ends_with(3);
    for part in ["rest, train", "val, valid, validation", "testing"] {
        assert!(called.stderr.contains(part), "{}", called.stderr);
    }
    assert!(!out.exists());
}

#[test]
fn doubtful_data_is_said_before_training() {
    let folder = drawn();
    let at = |name: &str| folder.path().join(name);
    fs::copy(at("train/ants/0000.png"), at("val/ants/leak.png")).unwrap();
    fs::copy(at("train/ants/0001.png"), at("train/bees/twin.png")).unwrap();
    fs::remove_dir_all(at("val/bees")).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let out = elsewhere.path().join("runs");
    let called = train(folder.path(), &out, &["--quiet", "--strategy", "features"]).ends_with(0);
    for part in [
        "1 image in training and in validation",
        "leak.png",
        "1 image in more than one class",
        "validation has no image that can be read of bees",
    ] {
        assert!(called.stderr.contains(part), "{}", called.stderr);
    }
    let log = fs::read_to_string(out.join("features/metrics.jsonl")).unwrap();
    assert!(log.contains("in training and in validation"));
}

#[test]
fn pointers_are_no_pictures_and_a_class_of_them_is_an_error_everywhere() {
    let folder = drawn();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 104211\n";
    for part in ["train", "val"] {
        for file in fs::read_dir(folder.path().join(part).join("bees")).unwrap() {
            fs::write(file.unwrap().path(), pointer).unwrap();
        }
    }
    let data = text(folder.path());
    let weights = text(&workshop().weights);
    let elsewhere = tempfile::tempdir().unwrap();
    let out = elsewhere.path().join("runs");
    let of_bees = |called: Called| {
        let said = called.ends_with(3).stderr;
        assert!(
            said.contains("class bees") && said.contains("git lfs pull"),
            "{said}"
        );
    };
    for strategy in ["features", "finetune", "one-call"] {
        of_bees(train(folder.path(), &out, &["--strategy", strategy]));
    }
    of_bees(rekindle(["advise", data, "--weights", weights]));
    of_bees(rekindle(["lr-find", data, "--weights", weights]));
    assert!(
        !out.exists(),
        "a run that cannot begin leaves nothing behind"
    );
    let called = rekindle(["verify", data]).ends_with(3);
    assert_eq!(called.stdout.matches("git lfs pull").count(), 15);
}

#[test]
fn a_strategy_that_does_not_fit_leaves_no_folder_behind() {
    let folder = drawn();
    let elsewhere = tempfile::tempdir().unwrap();
    let out = elsewhere.path().join("runs");
    train(folder.path(), &out, &["--strategy", "freeze-up-to=layer9"]).ends_with(2);
    assert!(!out.exists());
}

#[test]
fn predict_names_every_file_that_is_missing_or_bad() {
    let folder = tempfile::tempdir().unwrap();
    let model = workshop().runs.join("features");
    // More than a batch of bad files, and none that is good.
    let paths: Vec<PathBuf> = (0..20)
        .map(|i| folder.path().join(format!("{i}.png")))
        .collect();
    for path in &paths[..18] {
        fs::write(path, "no picture").unwrap();
    }
    let arguments = |images: &[PathBuf]| {
        let mut all = vec!["predict".into(), model.clone(), "--json".into()];
        all.extend_from_slice(images);
        all
    };
    let called = rekindle(arguments(&paths)).ends_with(3);
    assert_eq!(
        (called.stdout.lines().count(), called.stderr.lines().count()),
        (20, 20)
    );
    for path in &paths {
        assert!(called.stderr.contains(text(path)) && called.stdout.contains(text(path)));
    }
    let called = rekindle(arguments(&paths[19..])).ends_with(3);
    assert!(called.stderr.contains("19.png"), "{}", called.stderr);
}

#[cfg(unix)]
#[test]
fn names_of_any_bytes_go_through_every_command() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let folder = drawn();
    let data = folder.path().join(OsStr::from_bytes(b"data_\xe9"));
    for part in ["train", "val"] {
        let name = |name: &[u8]| data.join(part).join(OsStr::from_bytes(name));
        fs::create_dir_all(data.join(part)).unwrap();
        fs::rename(folder.path().join(part).join("ants"), name(b"t\xe9")).unwrap();
        fs::rename(folder.path().join(part).join("bees"), name(b"t\xe8")).unwrap();
        fs::rename(name(b"t\xe9/0000.png"), name(b"t\xe9/\xff\x1b.png")).unwrap();
    }
    fs::write(
        data.join("train")
            .join(OsStr::from_bytes(b"t\xe8/bad\xe9.png")),
        "x",
    )
    .unwrap();
    let out = folder.path().join(OsStr::from_bytes(b"runs_\xe9"));
    let cache = folder.path().join("cache");
    let cache = ["--cache", text(&cache)];
    let strategies = ["--strategy", "features,one-call"];
    let trained = train(&data, &out, &[strategies, cache].concat())
        .ends_with(0)
        .json();
    assert_eq!(trained["runs"].as_array().unwrap().len(), 2);
    assert!(trained["report"].as_str().unwrap().contains(r"runs_\xe9"));
    let run = out.join("features");
    let classes = fs::read_to_string(run.join("classes.json")).unwrap();
    let classes: serde_json::Value = serde_json::from_str(&classes).unwrap();
    assert_eq!(classes["classes"], serde_json::json!([r"t\xe8", r"t\xe9"]));
    let log = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    assert!(log.contains(r"t\\xe8/bad\\xe9.png"), "{log}");

    let os = |words: &[&OsStr]| rekindle(words);
    let [verify, evaluate, predict, report, features, json] = [
        "verify", "evaluate", "predict", "report", "features", "--json",
    ]
    .map(OsStr::new);
    let (run, data) = (run.as_os_str(), data.as_os_str());
    os(&[verify, data]).ends_with(3);
    let found = os(&[verify, data, json]).ends_with(3).json();
    assert!(
        found["bad"][0]["path"]
            .as_str()
            .unwrap()
            .ends_with(r"bad\xe9.png")
    );
    os(&[evaluate, run, data, json]).ends_with(0);
    let called = os(&[predict, run, data, json]).ends_with(3);
    assert_eq!(called.stdout.lines().count(), 31);
    assert!(called.stdout.contains(r"\\xff\u001b.png") && called.stdout.contains(r"t\\xe9"));
    let called = os(&[predict, run, data]).ends_with(3);
    assert!(!called.stdout.contains('\u{1b}') && called.stdout.contains(r"\xff\u{1b}.png"));
    let page = folder.path().join("report.html");
    os(&[
        report,
        out.as_os_str(),
        OsStr::new("--out"),
        page.as_os_str(),
        json,
    ])
    .ends_with(0);
    let html = fs::read_to_string(page).unwrap();
    assert!(html.contains("Confusion matrix") && html.contains(r"bad\xe9.png"));
    let weights = workshop().weights.as_os_str();
    // Advice ends with a command that bash reads back.
    let odd = folder.path().join(OsStr::from_bytes(b"w\xe9.safetensors"));
    fs::copy(weights, &odd).unwrap();
    let called = os(&[
        OsStr::new("advise"),
        data,
        OsStr::new("--weights"),
        odd.as_os_str(),
    ]);
    let line = called.ends_with(0).stdout;
    let line = line
        .lines()
        .find(|line| line.contains("rekindle train"))
        .unwrap()
        .to_string();
    assert!(
        line.contains(r"data_\xe9'") && line.contains(r"w\xe9.safetensors'"),
        "{line}"
    );
    let table = folder.path().join("table.safetensors");
    let (flag, out) = (OsStr::new("--weights"), OsStr::new("--out"));
    os(&[features, data, flag, weights, out, table.as_os_str(), json]).ends_with(3);
}

#[test]
fn pictures_of_a_phone_that_are_not_decoded_are_named() {
    let folder = tempfile::tempdir().unwrap();
    TargetTask.write_folder(folder.path(), 4, 4, 0).unwrap();
    let heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic";
    let phone = folder.path().join("train/ants/IMG_0042.HEIC");
    fs::write(&phone, heic).unwrap();
    // Under a name that says something else.
    let renamed = folder.path().join("train/ants/renamed.jpg");
    fs::write(&renamed, heic).unwrap();
    let found = rekindle(["verify", text(folder.path()), "--json"])
        .ends_with(3)
        .json();
    let reasons = [&found["ignored"][0]["reason"], &found["bad"][0]["reason"]];
    for reason in reasons {
        let reason = reason.as_str().unwrap_or_default();
        assert!(
            reason.contains("HEIC") && reason.contains("convert"),
            "{found}"
        );
    }
    let called = rekindle([
        "train",
        text(folder.path()),
        "--weights",
        text(&workshop().weights),
        "--strategy",
        "one-call",
        "--out",
        text(&folder.path().with_extension("runs")),
    ]);
    let said = called.stderr;
    assert!(
        said.contains("1 picture is left out, since HEIC is not decoded"),
        "{said}"
    );
    assert!(said.contains("IMG_0042.HEIC"), "{said}");
}
