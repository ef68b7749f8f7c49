//! Pictures of unknown classes: what is kept in a model's file, what it answers, and what is refused.

use std::path::{Path, PathBuf};

use burn::prelude::*;
use image::RgbImage;
use rekindle_imagefolder::Task;
use rekindle_trainer::{
    Fit, FittedUnknown, Model, RejectionRates, TestViews, TransferData, image_files,
};
use rekindle_transfer::features::{Features, UnknownDetector, UnknownScore};
use rekindle_weights::read;

use crate::runs::Files;

/// A run of one call on drawn pictures, with the file of its model.
fn run(files: &Files) -> PathBuf {
    let directory = files.path("run");
    Fit::new(&Device::flex())
        .without_training()
        .run_directory(&directory)
        .fit(&files.pretrained(), &files.data())
        .unwrap();
    directory.join("best.safetensors")
}

fn open(path: &Path) -> Model {
    Model::open(path, &Device::flex()).unwrap()
}

fn fitted(model: &Model, data: &TransferData) -> FittedUnknown {
    model.fit_unknown(data, 0, |_| ()).unwrap()
}

/// The bytes of every tensor of a file.
fn tensors(path: &Path) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let file = read(path).unwrap();
    let of = |(name, tensor): (&String, &rekindle_weights::NamedTensor)| {
        let values = tensor.read_f32().unwrap_or_default();
        (name.clone(), tensor.shape().to_vec(), values)
    };
    file.tensors.iter().map(of).collect()
}

#[test]
fn a_file_keeps_what_tells_unknown_classes_and_all_answers_agree() {
    let files = Files::new();
    let path = run(&files);
    let before = tensors(&path);
    let error = open(&path).rejecting(0.05).unwrap_err().to_string();
    assert!(error.contains("rekindle reject RUN"), "{error}");

    let model = open(&path);
    let mut looked_at = 0;
    let found = model
        .fit_unknown(&files.data(), 0, |count| looked_at += count)
        .unwrap();
    assert_eq!((found.train_images, found.held_out_images), (40, 24));
    assert_eq!(looked_at, 64);
    // Two classes: one is left, so that scores of features alone are compared.
    assert_eq!((found.left_out, found.detector.compared().len()), (2, 2));
    assert_eq!(found, fitted(&model, &files.data()));
    found.write(&path).unwrap();
    assert_eq!(tensors(&path), before, "tensors are others");
    assert_eq!(open(&path).detector().unwrap(), found.detector);
    // Written again, nothing is there twice.
    let size = std::fs::metadata(&path).unwrap().len();
    found.write(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), size);

    let model = open(&path).rejecting(0.1).unwrap();
    let images = image_files(&[files.path("data/val")]).unwrap();
    let mut checks = Vec::new();
    model
        .predict(&images, |answer| checks.push(answer.unknown.unwrap()))
        .unwrap();
    // Of the images that the threshold was set by, at most the asked share is rejected.
    let rejected = checks.iter().filter(|check| check.is_unknown()).count();
    assert!(rejected as f64 <= 0.1 * 24.0, "{rejected}");
    let evaluated = model.evaluate(files.path("data"), |_| ()).unwrap();
    let scores = evaluated.unknown_scores.unwrap();
    for (check, score) in checks.iter().zip(&scores) {
        assert!(
            (check.score - score).abs() <= 1e-4 * score.abs(),
            "{check:?} {score}"
        );
    }
    let rates = RejectionRates::measure(&found.detector, 0.1, &scores, None).unwrap();
    assert_eq!(rates.known_rejected, rejected as f64 / 24.0);
    assert!(RejectionRates::measure(&found.detector, 0.1, &[], None).is_err());
    assert!(RejectionRates::measure(&found.detector, 0.1, &scores, Some(&[])).is_err());

    // In memory as from a file; noise of one colour is none of the classes.
    let bytes = std::fs::read(&images[0]).unwrap();
    let answer = model.classify_bytes(&bytes).unwrap();
    let check = answer.unknown.unwrap();
    assert!((check.score - checks[0].score).abs() <= 1e-4 * check.score.abs());
    let odd = RgbImage::from_fn(40, 40, |x, y| {
        image::Rgb([(x * 83 + y * 131) as u8, 255, (x * y * 57) as u8])
    });
    let answer = model.classify(odd).unwrap();
    assert_eq!(
        answer.is_unknown(),
        answer.unknown.unwrap().score > check.threshold
    );
    let listed = serde_json::json!(answer).as_array().unwrap().len();
    assert_eq!(listed, if answer.is_unknown() { 0 } else { 2 });
    let plain = open(&path).classify_bytes(&bytes).unwrap();
    assert!(plain.unknown.is_none() && !plain.is_unknown());
}

/// The scores of logits are those of the temperature in the file, whether answers are calibrated or not.
#[test]
fn calibrated_answers_are_rejected_as_plain_ones_are() {
    let files = Files::new();
    let path = run(&files);
    let model = open(&path);
    let data = files.data();
    let features = Features::new(vec![1.0, 2.0], 1).unwrap();
    for score in [UnknownScore::Energy, UnknownScore::MaxProbability] {
        let detector = UnknownDetector::fit(score, &features, &[0, 1], 2, 2.0).unwrap();
        let found = FittedUnknown {
            detector: detector.with_held_out((0..24).map(f64::from)),
            ..fitted(&model, &data)
        };
        found.write(&path).unwrap();
        let scores = |model: Model| {
            let evaluated = model.rejecting(0.5).unwrap();
            let evaluated = evaluated.evaluate(files.path("data"), |_| ()).unwrap();
            evaluated.unknown_scores.unwrap()
        };
        let plain = scores(open(&path));
        assert!(plain.iter().any(|score| *score != plain[0]));
        let mut sharper = open(&path);
        sharper.temperature = Some(0.25);
        assert_eq!(scores(sharper.calibrated().unwrap()), plain, "{score}");
    }
}

#[test]
fn what_cannot_be_told_is_refused_with_its_reason() {
    let files = Files::new();
    let path = run(&files);
    fitted(&open(&path), &files.data()).write(&path).unwrap();
    let refused = |model: Model, named: &str| {
        let error = model.rejecting(0.1).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    };
    refused(open(&path).in_views(TestViews::Flip), "plain views");
    let of_task = |task| {
        let mut model = open(&path);
        model.task = task;
        model
    };
    let labels = of_task(Task::MultiLabel);
    let error = labels.fit_unknown(&files.data(), 0, |_| ()).unwrap_err();
    assert!(
        error.to_string().contains("any number of labels"),
        "{error}"
    );
    refused(labels, "any number of labels");
    refused(of_task(Task::Regression), "has no classes");
    for kept in [
        "",
        "{}",
        "[1",
        r#"{"score":"energy","temperature":0,"held_out":[]}"#,
    ] {
        let mut damaged = open(&path);
        damaged.unknown_detector = Some(kept.into());
        refused(damaged, "rekindle reject RUN");
    }
    let error = open(&path).rejecting(0.01).unwrap_err().to_string();
    assert!(error.contains("at least 0.04"), "{error}");
    // Views that are asked for afterwards don't leave the question out.
    let model = open(&path)
        .rejecting(0.1)
        .unwrap()
        .in_views(TestViews::Flip);
    assert!(model.classify_all(Vec::new()).is_err());
    assert!(model.predict(&[], |_| ()).is_err());
    assert!(model.evaluate(files.path("data"), |_| ()).is_err());
    // Other classes than the model's.
    let mut data = files.data();
    data.classes.reverse();
    let error = open(&path).fit_unknown(&data, 0, |_| ()).unwrap_err();
    assert!(error.to_string().contains("other classes"), "{error}");
    // A file that is no safetensors stays as it is.
    let other = files.path("other.bin");
    std::fs::write(&other, "no weights").unwrap();
    let found = fitted(&open(&path), &files.data());
    assert!(found.write(&other).is_err());
    assert_eq!(std::fs::read(&other).unwrap(), b"no weights");
}
