//! Files of weights as training programs save them, at the command line.

use std::path::{Path, PathBuf};

use rekindle::models;
use rekindle::weights::{self, TensorOut, write_safetensors};

use crate::workshop::{rekindle, text, workshop};

/// Written by PyTorch; see `make.py` there.
fn made_by_pytorch(file: &str) -> PathBuf {
    Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../rekindle-models/tests/reference/checkpoints"
    ))
    .join(file)
}

#[test]
fn what_was_left_out_of_a_checkpoint_is_said_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("features.safetensors");
    let images = workshop().data.join("val/ants");
    let features = |file: &str, more: &[&str]| {
        let weights = made_by_pytorch(file);
        let command = [
            "features",
            text(&images),
            "--weights",
            text(&weights),
            "--out",
            text(&out),
        ];
        rekindle(command.iter().chain(more))
    };
    let called = features("lightning.ckpt", &[]).ends_with(3); // One of the drawings is no picture.
    let said: Vec<&str> = called
        .stderr
        .lines()
        .filter(|line| line.contains("left out: "))
        .collect();
    assert!(
        said.iter()
            .any(|line| line.contains("`state_dict.model`") && line.contains("criterion.weight")),
        "{}",
        called.stderr
    );
    // The choice that the note names can be made.
    let called = features("dino.pth", &[]).ends_with(3);
    assert!(
        called
            .stderr
            .contains("DINO's teacher; for the other: --weights-key student"),
        "{}",
        called.stderr
    );
    features("dino.pth", &["--weights-key", "student"]).ends_with(3);
    let called = features("dino.pth", &["--weights-key", "model"]).ends_with(2);
    assert!(
        called.stderr.contains("--weights-key model") && called.stderr.contains("teacher"),
        "{}",
        called.stderr
    );
    // A choice without a file has no effect, and is refused.
    let call = [
        "features",
        text(&images),
        "--weights-key",
        "model",
        "--out",
        text(&out),
    ];
    rekindle(call).ends_with(2);
}

#[test]
fn commands_that_need_a_head_say_why_a_file_has_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("behind-dropout.safetensors");
    let file = weights::read(made_by_pytorch("lightning.ckpt")).unwrap();
    let network = models::find(&file, &weights::LoadOptions::default())
        .unwrap()
        .checkpoint;
    let tensors = network
        .tensors
        .iter()
        .filter(|(_, tensor)| tensor.element_type().is_float());
    let tensors = tensors.map(|(name, tensor)| {
        let name = name.replace("fc.", "fc.1.");
        TensorOut::f32(name, tensor.shape(), &tensor.read_f32().unwrap())
    });
    write_safetensors(&path, tensors.collect(), &Default::default()).unwrap();
    let data = text(&workshop().data);
    let image = workshop().data.join("val/ants");
    let onnx = folder.path().join("model.onnx");
    for call in [
        vec!["predict", text(&path), text(&image)],
        vec!["evaluate", text(&path), data],
        vec!["export", text(&path), "--out", text(&onnx)],
    ] {
        let called = rekindle(&call);
        assert_ne!(called.code, 0, "{call:?}");
        assert!(
            called.stderr.contains("`fc.1.weight`"),
            "{call:?}: {}",
            called.stderr
        );
    }
    assert!(!onnx.exists());
    // The trunk trains nevertheless.
    let runs = folder.path().join("runs");
    let call = [
        "train",
        data,
        "--weights",
        text(&path),
        "--out",
        text(&runs),
        "--epochs",
        "1",
    ];
    let called = rekindle(call).ends_with(0);
    assert!(
        called.stderr.contains("left out: fc (2 tensors)"),
        "{}",
        called.stderr
    );
    assert!(runs.join("features/run.json").is_file());
}

#[test]
fn a_refusal_names_the_file_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    let pointer = folder.path().join("model.safetensors");
    std::fs::write(
        &pointer,
        "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 46807446\n",
    )
    .unwrap();
    for (weights, said) in [
        (pointer, "git lfs pull"),
        (made_by_pytorch("module.pth"), "__main__.Net"),
        (made_by_pytorch("make.py"), "no format known here"),
    ] {
        let call = [
            "train",
            text(&workshop().data),
            "--weights",
            text(&weights),
            "--out",
            text(&runs),
        ];
        let called = rekindle(call).ends_with(1);
        assert!(called.stderr.contains(said), "{}", called.stderr);
        assert!(
            called
                .stderr
                .contains(weights.file_name().unwrap().to_str().unwrap()),
            "{}",
            called.stderr
        );
        assert!(!runs.exists());
    }
    let call = [
        "train",
        text(&workshop().data),
        "--arch",
        "resnet17",
        "--out",
        text(&runs),
    ];
    let called = rekindle(call);
    assert_ne!(called.code, 0);
    assert!(
        called.stderr.contains("`resnet17`, did you mean resnet18?"),
        "{}",
        called.stderr
    );
    assert!(!runs.exists());
}

/// Takes our name out of an ONNX file, so that it is read as anybody's.
fn made_by_somebody(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let name = b"rekindle";
    let at = bytes
        .windows(name.len())
        .position(|part| part == name)
        .unwrap();
    bytes[at..at + name.len()].copy_from_slice(b"somebody");
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn an_onnx_file_is_weights_like_others_and_is_not_needed_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (given, runs) = (at("colleague.onnx"), at("runs"));
    let data = &workshop().data;
    rekindle(["export", text(&workshop().weights), "--out", text(&given)]).ends_with(0);
    made_by_somebody(&given);
    let train = |more: &[&str]| {
        let command = [
            "train",
            text(data),
            "--weights",
            text(&given),
            "--out",
            text(&runs),
        ];
        rekindle(command.iter().chain(more))
    };
    // Several networks are never in one such file.
    let called = train(&["--strategy", "features", "--weights-key", "model"]).ends_with(2);
    assert!(
        called.stderr.contains("--features-from NODE"),
        "{}",
        called.stderr
    );
    train(&["--strategy", "features,finetune", "--epochs", "1"]).ends_with(0);
    std::fs::remove_file(&given).unwrap();
    let picture = at("picture.png");
    std::fs::copy(picture_in(data), &picture).unwrap();
    for strategy in ["features", "finetune"] {
        let run = runs.join(strategy);
        let found = rekindle(["predict", text(&run), text(&picture), "--json"]).ends_with(0);
        let answer = found.stdout.lines().next().unwrap().to_string();
        assert!(answer.contains("ants"), "{answer}");
        // Out again: what is written answers the same.
        let again = at("again.onnx");
        rekindle(["export", text(&run), "--out", text(&again)]).ends_with(0);
        let from_file = rekindle(["predict", text(&again), text(&picture), "--json"]).ends_with(0);
        let probability = |line: &str| {
            let json: serde_json::Value = serde_json::from_str(line).unwrap();
            json["predictions"][0]["probability"].as_f64().unwrap()
        };
        let (a, b) = (
            probability(&answer),
            probability(from_file.stdout.lines().next().unwrap()),
        );
        assert!((a - b).abs() < 1e-4, "{a:?} {b:?}");
    }
}

/// Returns a drawing; one of the files is none.
fn picture_in(data: &Path) -> PathBuf {
    let files = std::fs::read_dir(data.join("val/ants")).unwrap().flatten();
    let mut paths = files.map(|entry| entry.path());
    let is_picture = |path: &PathBuf| std::fs::read(path).unwrap().starts_with(b"\x89PNG");
    paths.find(is_picture).unwrap()
}
