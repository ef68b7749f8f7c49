//! Checks that a model answers for bytes, pixels, views and files alike.

use std::path::PathBuf;
use std::sync::Arc;

use crate::common::{classifier, dataset, preprocess, recipe, unbroken, weights};
use crate::runs::Files;
use burn::prelude::*;
use rekindle_models::Pretrained;
use rekindle_models::files::save;
use rekindle_trainer::feed::Feed;
use rekindle_trainer::{Fit, Interrupt, Model, Predictor, RunDirectory, TestViews};
use rekindle_weights::ModelInfo;
use rekindle_weights::state_dict;

/// What a server is asked: bytes and pixels in memory, from several threads, with the answers of `predict` on the files.
#[test]
fn images_in_memory_are_answered_as_their_files_are() {
    let files = Files::new();
    let tuned = Fit::new(&Device::flex())
        .without_training()
        .run_directory(files.path("run"))
        .fit(&files.pretrained(), &files.data())
        .unwrap();
    drop(tuned);
    let images = files.images();
    for views in [TestViews::Plain, TestViews::Flip] {
        let model = Model::open(files.path("run"), &Device::flex())
            .unwrap()
            .in_views(views);
        let mut expected = Vec::new();
        model
            .predict(&images, |answer| {
                expected.push(answer.probabilities.unwrap())
            })
            .unwrap();
        let of = |path: &PathBuf| model.classify_bytes(&std::fs::read(path).unwrap()).unwrap();
        let alone: Vec<_> = std::thread::scope(|threads| {
            let asked: Vec<_> = images
                .iter()
                .map(|path| threads.spawn(|| of(path)))
                .collect();
            asked
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        let pixels = images.iter().map(|path| {
            let options = rekindle_imagefolder::DecodeOptions::default();
            rekindle_imagefolder::decode_file(path, &options).unwrap()
        });
        let together = model.classify_all(pixels.collect()).unwrap();
        assert_eq!((alone.len(), together.len()), (images.len(), images.len()));
        for ((one, other), expected) in alone.iter().zip(&together).zip(&expected) {
            for answer in [one, other] {
                for (a, b) in answer.probabilities.iter().zip(expected) {
                    assert!((a - b).abs() < 1e-5, "{answer:?}, {expected:?}");
                }
            }
        }
        let best = &alone[0];
        let named = model.class_names();
        let first = best.top(1)[0];
        assert!(named.contains(&first.0.to_string()) && first.1 == best.probability());
        let json = serde_json::json!(best);
        assert_eq!(json[0]["class"], best.class());
        assert_eq!(json.as_array().unwrap().len(), named.len());
    }
    let model = Model::open(files.path("run"), &Device::flex()).unwrap();
    assert!(model.classify_bytes(b"no picture").is_err());
    assert!(model.classify_all(Vec::new()).unwrap().is_empty());
}

/// The naive way: one picture at a time through every pipeline, and the mean of the logits.
#[test]
fn answers_in_views_are_means_of_logits() {
    let classifier = classifier();
    let dataset = Arc::new(dataset(
        5,
        40,
        rekindle_trainer::eval_pipeline(&preprocess()),
    ));
    let predictor = Predictor::new(&classifier);
    for views in TestViews::ALL {
        let pipelines = views.pipelines(&preprocess());
        let found = views
            .predict(&classifier, &dataset, &preprocess(), &Interrupt::new())
            .unwrap();
        assert_eq!(found.indices, [0, 1, 2, 3, 4]);
        for (index, row) in found.probabilities.chunks_exact(2).enumerate() {
            let mut mean = [0.0f64; 2];
            for pipeline in &pipelines {
                let one = Arc::new(dataset.with_pipeline(pipeline.clone()).unwrap());
                let loader = rekindle_imagefolder::Loader::new(one)
                    .batch_size(1)
                    .workers(0);
                let feed = Feed::Images(loader);
                let batch = feed.epoch(0, &Device::flex()).nth(index).unwrap().unwrap();
                let logits = predictor.logit_values(&batch).unwrap();
                for (sum, logit) in mean.iter_mut().zip(logits) {
                    *sum += f64::from(logit) / pipelines.len() as f64;
                }
            }
            let expected = 1.0 / (1.0 + (mean[1] - mean[0]).exp());
            assert!(
                (f64::from(row[0]) - expected).abs() < 1e-6,
                "{views} {index}"
            );
        }
    }
}

#[test]
fn a_picture_and_its_mirror_image_get_one_answer_when_both_are_looked_at() {
    let files = Files::new();
    drop(files.one_call("run").unwrap());
    let mirrored = files.path("mirrored.png");
    let original = &files.images()[0];
    let pixels = image::open(original).unwrap().fliph();
    pixels.save(&mirrored).unwrap();
    let ask = |views| {
        let model = Model::open(files.path("run"), &Device::flex()).unwrap();
        let mut rows = Vec::new();
        model
            .in_views(views)
            .predict(&[original.clone(), mirrored.clone()], |answer| {
                rows.push(answer.probabilities.unwrap());
            })
            .unwrap();
        rows
    };
    let plain = ask(TestViews::Plain);
    assert!((plain[0][0] - plain[1][0]).abs() > 1e-4, "{plain:?}");
    for views in [TestViews::Flip, TestViews::FlipAndScale] {
        let both = ask(views);
        assert!((both[0][0] - both[1][0]).abs() < 1e-6, "{views}: {both:?}");
    }
}

#[test]
fn a_file_carries_its_temperature_and_views_and_uses_them_when_asked() {
    let files = Files::new();
    let tuned = Fit::new(&Device::flex())
        .without_training()
        .run_directory(files.path("run"))
        .test_views(TestViews::Flip)
        .fit(&files.pretrained(), &files.data())
        .unwrap();
    let fitted = tuned.predictions.temperature().unwrap();
    let in_views = tuned.accuracy_in_views();
    drop(tuned);
    let open = || Model::open(files.path("run"), &Device::flex()).unwrap();
    let answers = |model: Model| {
        let mut rows = Vec::new();
        model
            .predict(&files.images(), |answer| {
                rows.extend(answer.probabilities.unwrap())
            })
            .unwrap();
        rows
    };
    let model = open();
    assert_eq!(model.temperature, Some(fitted));
    assert_eq!(model.file_views().unwrap(), TestViews::Flip);
    let recorded = RunDirectory::open(files.path("run")).unwrap();
    assert_eq!(recorded.classes().unwrap().temperature, Some(fitted));
    let viewed = open().in_views(TestViews::Flip);
    let found = viewed.evaluate(files.path("data"), |_| ()).unwrap();
    assert_eq!(Some(found.evaluation.accuracy), in_views);

    // With another temperature in the file, so that it matters: p to the power of 1 / T, scaled to a sum of 1.
    let info = ModelInfo {
        temperature: Some(2.5),
        ..model.info()
    };
    let path = files.path("warm.safetensors");
    save(&model.network().unwrap(), &path, &info).unwrap();
    let warm = || Model::open(&path, &Device::flex()).unwrap();
    let plain = answers(warm());
    assert_eq!(plain, answers(open()));
    let calibrated = answers(warm().calibrated().unwrap());
    for (row, scaled) in plain.chunks_exact(2).zip(calibrated.chunks_exact(2)) {
        let powers = [0, 1].map(|class| f64::from(row[class]).powf(1.0 / 2.5));
        let expected = powers[0] / (powers[0] + powers[1]);
        assert!(
            (f64::from(scaled[0]) - expected).abs() < 1e-6,
            "{row:?} {scaled:?}"
        );
    }
    let found = warm()
        .calibrated()
        .unwrap()
        .evaluate(files.path("data"), |_| ());
    assert!(found.unwrap().evaluation.cross_entropy.is_finite());
    assert!(warm().in_views(TestViews::Flip).calibrated().is_err());
    let nothing = ModelInfo {
        temperature: None,
        ..info
    };
    save(&warm().network().unwrap(), &path, &nothing).unwrap();
    let refused = warm().calibrated().unwrap_err().to_string();
    assert!(refused.contains("no temperature"), "{refused}");
}

#[test]
fn the_best_weights_of_a_run_carry_the_temperature_of_their_own_answers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let fitted = unbroken(&path, &recipe());
    let expected = fitted.predictions.temperature().unwrap();
    assert_eq!(state_dict::collect(&fitted.classifier), weights(&fitted));
    drop(fitted);
    let back = Pretrained::open(path.join("best.safetensors"), &Device::flex()).unwrap();
    assert_eq!(back.temperature, Some(expected));
    assert_eq!(back.test_views, None);
}
