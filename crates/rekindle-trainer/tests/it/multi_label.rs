//! Several labels a picture: losses against PyTorch, scores and heads against scikit-learn (`multi_label.py`), and runs
//! from a table to a file that answers with labels.

use std::time::Duration;

use burn::tensor::{Device, Tensor, TensorData};
use rekindle_imagefolder::{Listing, TableOptions, Task};
use rekindle_trainer::loss::Targets;
use rekindle_trainer::metrics::{average_precision, best_threshold};
use rekindle_trainer::{
    Event, Fit, Loss, Model, Monitor, MultiLabelEvaluation, Recipe, Trainer, TransferData,
};
use rekindle_transfer::Strategy;
use rekindle_transfer::features::{Features, OneVsRest};
use serde_json::Value;
use test_support::reference_path;

use crate::common::preprocess;
use crate::fit::ticking;
use crate::runs::Files;

const LABELS: usize = 3;

pub(crate) fn numbers() -> Value {
    let text = std::fs::read_to_string(reference_path("multi_label.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn list(value: &Value) -> Vec<f32> {
    let values = value.as_array().unwrap().iter();
    values.map(|value| value.as_f64().unwrap() as f32).collect()
}

#[track_caller]
fn close(found: f64, expected: f64, within: f64) {
    assert!((found - expected).abs() < within, "{found} {expected}");
}

#[test]
fn losses_and_gradients_agree_with_pytorch() {
    let known = numbers();
    let logits = list(&known["logits"]);
    let images = logits.len() / LABELS;
    let device = Device::flex().autodiff();
    for (name, loss, weights) in [
        ("binary", Loss::BinaryCrossEntropy, None),
        (
            "balanced",
            Loss::BinaryCrossEntropy,
            Some(list(&known["positive_weights"])),
        ),
        ("asymmetric", Loss::ASYMMETRIC, None),
    ] {
        let targets = Targets {
            labels: vec![0; images],
            soft: Some(list(&known["targets"])),
            task: Task::MultiLabel,
            positive_weights: weights.map(Into::into),
            ..Targets::default()
        };
        let data = TensorData::new(logits.clone(), [images, LABELS]);
        let outputs = Tensor::<2>::from_data(data, &device).require_grad();
        let value = loss.value(outputs.clone(), &targets, 0.0);
        close(
            value.clone().into_scalar::<f32>().into(),
            known[name]["loss"].as_f64().unwrap(),
            2e-6,
        );
        let gradient = outputs.grad(&value.backward()).unwrap();
        let gradient: Vec<f32> = gradient.into_data().try_to_vec().unwrap();
        for (found, expected) in gradient.iter().zip(list(&known[name]["gradient"])) {
            close(f64::from(*found), f64::from(expected), 2e-7);
        }
    }
    // Without focus and margin, it is binary cross entropy.
    let plain = "asymmetric=0,0,0".parse::<Loss>().unwrap();
    let targets = Targets {
        labels: vec![0; 2],
        soft: Some(vec![1.0, 0.0, 0.3, 0.6]),
        weights: Some(vec![3.0, 1.0]),
        task: Task::MultiLabel,
        ..Targets::default()
    };
    let outputs = Tensor::<2>::from_data([[0.4f32, -1.0], [2.0, -0.1]], &Device::flex());
    let of = |loss: Loss| {
        f64::from(
            loss.value(outputs.clone(), &targets, 0.1)
                .into_scalar::<f32>(),
        )
    };
    close(of(plain), of(Loss::BinaryCrossEntropy), 1e-6);
}

#[test]
fn losses_of_numbers_are_those_of_their_formulas() {
    let targets = Targets {
        labels: vec![0; 2],
        soft: Some(vec![1.0, -1.0, 0.5, 0.0]),
        task: Task::Regression,
        ..Targets::default()
    };
    // Errors 0.5 and 3, then 0 and 2; the sum over the numbers, the mean over the pictures.
    let outputs = Tensor::<2>::from_data([[1.5f32, 2.0], [0.5, -2.0]], &Device::flex());
    for (loss, expected) in [
        ("l1", (3.5 + 2.0) / 2.0),
        ("l2", (9.25 + 4.0) / 2.0),
        ("huber", (0.125 + 2.5 + 1.5) / 2.0),
        ("huber=2", (0.125 + 4.0 + 2.0) / 2.0),
    ] {
        let parsed: Loss = loss.parse().unwrap();
        let value = parsed.value(outputs.clone(), &targets, 0.0);
        close(value.into_scalar::<f32>().into(), expected, 1e-6);
        assert_eq!(parsed.to_string().parse::<Loss>().unwrap(), parsed);
    }
    for wrong in [
        "huber=0",
        "asymmetric=0.5,0,0",
        "asymmetric=1,2",
        "focal=0.5",
    ] {
        assert!(wrong.parse::<Loss>().is_err(), "{wrong}");
    }
}

#[test]
fn scores_agree_with_scikit_learn() {
    let known = numbers();
    let (logits, targets) = (list(&known["logits"]), list(&known["targets"]));
    let probabilities: Vec<f32> = logits.iter().map(|z| 1.0 / (1.0 + (-z).exp())).collect();
    let found =
        MultiLabelEvaluation::from_probabilities(&probabilities, &targets, LABELS, None).unwrap();
    let expected = list(&known["average_precision"]);
    for (scores, expected) in found.labels.iter().zip(&expected) {
        close(
            scores.average_precision.unwrap(),
            f64::from(*expected),
            1e-7,
        );
        assert_eq!(scores.curve.last().unwrap()[0], 1.0);
    }
    let mean = expected.iter().map(|value| f64::from(*value)).sum::<f64>() / 3.0;
    close(found.mean_average_precision, mean, 1e-7);
    close(found.micro_f1, known["micro_f1"].as_f64().unwrap(), 1e-12);
    close(found.macro_f1, known["macro_f1"].as_f64().unwrap(), 1e-12);
    // A label that no picture has is of no mean.
    let found = MultiLabelEvaluation::from_probabilities(
        &[0.9, 0.2, 0.1, 0.4],
        &[1.0, 0.0, 0.0, 0.0],
        2,
        None,
    )
    .unwrap();
    assert_eq!(
        (
            found.mean_average_precision,
            found.labels[1].average_precision
        ),
        (1.0, None)
    );
    assert_eq!(
        average_precision(&[0.5; 4], &[1.0, 0.0, 0.0, 1.0]),
        Some(0.5)
    );
    assert!(MultiLabelEvaluation::from_probabilities(&[f32::NAN], &[1.0], 1, None).is_err());
    // Both true ones and one false one: F1 0.8, where the stricter one has 2/3.
    close(
        best_threshold(&[0.9, 0.7, 0.6, 0.2], &[1.0, 0.0, 1.0, 0.0]),
        0.4,
        1e-7,
    );
}

#[test]
fn heads_agree_with_scikit_learn() {
    let known = numbers();
    let (features, targets) = (list(&known["features"]), list(&known["targets"]));
    let features = Features::new(features, 5).unwrap();
    let norm: f64 = features.mean_norm();
    let c = known["c"].as_f64().unwrap();
    let search = OneVsRest {
        penalties: vec![1.0 / (c * features.len() as f64 * norm * norm)],
        ..OneVsRest::default()
    };
    let found = search
        .fit_while(&|| false, &features, &targets, LABELS)
        .unwrap();
    for label in 0..LABELS {
        let expected = list(&known["weights"][label]);
        for (found, expected) in found.head.weight[label * 5..].iter().zip(&expected) {
            close(f64::from(*found), f64::from(*expected), 2e-4);
        }
        close(
            f64::from(found.head.bias[label]),
            known["biases"][label].as_f64().unwrap(),
            2e-4,
        );
    }
    // A weight of 2 is the same picture twice; one of 0 is none.
    let weights: Vec<f64> = (0..features.len())
        .map(|at| [0.0, 1.0, 2.0][at % 3])
        .collect();
    let rows: Vec<usize> = (0..features.len())
        .flat_map(|at| vec![at; [0, 1, 2][at % 3]])
        .collect();
    let repeated: Vec<f32> = rows
        .iter()
        .flat_map(|at| targets[at * LABELS..(at + 1) * LABELS].to_vec())
        .collect();
    let plain = OneVsRest {
        penalties: vec![0.01],
        folds: 1,
        ..OneVsRest::default()
    };
    let twice = plain
        .fit(&features.select(&rows), &repeated, LABELS)
        .unwrap();
    let weighed = OneVsRest {
        weights: Some(weights),
        ..plain
    }
    .fit(&features, &targets, LABELS)
    .unwrap();
    let of = |head: &rekindle_transfer::features::LinearHead| head.logits(&features).unwrap();
    for (a, b) in of(&twice.head).iter().zip(of(&weighed.head)) {
        // The features' mean length, which the penalty goes by, differs a little.
        close(*a, b, 0.3);
    }
}

/// Pictures with a light band on top, at the bottom, in both places or nowhere, and a table of them.
pub(crate) fn bands(folder: &std::path::Path, images: usize) -> std::path::PathBuf {
    let mut lines = String::from("file,label,split\n");
    for at in 0..images {
        let (top, bottom) = (at % 2 == 1, at / 2 % 2 == 1);
        let shade = |y: u32| match (y < 12 && top) || (y >= 20 && bottom) {
            true => 200 + (at * 7 % 40) as u8,
            false => 30 + (at * 5 % 40) as u8,
        };
        let picture = image::RgbImage::from_fn(32, 32, |x, y| {
            let value = shade(y).wrapping_add((x as usize * at % 11) as u8);
            image::Rgb([value; 3])
        });
        picture.save(folder.join(format!("{at}.png"))).unwrap();
        let names = [("top", top), ("bottom", bottom)];
        let names: Vec<&str> = names
            .iter()
            .filter(|(_, has)| *has)
            .map(|(name, _)| *name)
            .collect();
        let part = if at < images * 2 / 3 { "train" } else { "val" };
        lines.push_str(&format!("{at}.png,{},{part}\n", names.join(";")));
    }
    let table = folder.join("bands.csv");
    std::fs::write(&table, lines).unwrap();
    table
}

/// Reads that table.
pub(crate) fn labelled(table: &std::path::Path) -> TransferData {
    let options = TableOptions {
        task: Some(Task::MultiLabel),
        ..TableOptions::default()
    };
    let listing = Listing::open_table(table, &options).unwrap();
    TransferData::from_listing(&listing, &preprocess(), 0).unwrap()
}

#[test]
fn a_table_of_labels_becomes_a_file_that_answers_with_labels() {
    let folder = tempfile::tempdir().unwrap();
    let table = bands(folder.path(), 60);
    let data = labelled(&table);
    let (files, device) = (Files::new(), Device::flex());
    let pretrained = files.pretrained();

    let mut events: Vec<Event> = Vec::new();
    let tuned = Fit::new(&device)
        .without_training()
        .observer(&mut events)
        .fit(&pretrained, &data)
        .unwrap();
    let thresholds = tuned.thresholds.clone().unwrap();
    let evaluation = tuned.predictions.multi_label(Some(&thresholds)).unwrap();
    assert!(evaluation.mean_average_precision > 0.9, "{evaluation:?}");
    let measured = events.iter().find_map(|event| match event {
        Event::Measured { figures, .. } => Some(figures["mean_average_precision"]),
        _ => None,
    });
    assert_eq!(measured, Some(evaluation.mean_average_precision));
    let path = folder.path().join("labels.safetensors");
    tuned.save(&path).unwrap();
    let model = Model::open(&path, &device).unwrap();
    assert_eq!(
        (model.task, model.thresholds.as_ref()),
        (Task::MultiLabel, Some(&thresholds))
    );
    let found = model
        .evaluate_labels(&table, &TableOptions::default(), |_| ())
        .unwrap();
    assert_eq!(found.evaluation.samples, 20);
    close(
        found.evaluation.mean_average_precision,
        evaluation.mean_average_precision,
        1e-6,
    );
    let error = model.evaluate(&table, |_| ()).unwrap_err().to_string();
    assert!(error.contains("multi-label"), "{error}");
    model
        .predict(&[folder.path().join("40.png")], |answer| {
            let probabilities = answer.probabilities.clone().unwrap();
            let above = (0..2).filter(|at| f64::from(probabilities[*at]) >= thresholds[*at]);
            assert_eq!(model.labels(&answer).len(), above.count());
        })
        .unwrap();

    for loss in [None, Some(Loss::ASYMMETRIC)] {
        let recipe = Recipe {
            epochs: 6,
            learning_rate: 0.05,
            loss,
            monitor: Monitor::MeanAveragePrecision,
            balance_classes: loss.is_none(),
            cache: rekindle_trainer::Cache::Memory,
            ..Recipe::tutorial()
        };
        let trainer = |recipe: Recipe| {
            Trainer::adapt(&pretrained, data.clone(), Strategy::FeatureExtraction, 0).recipe(recipe)
        };
        let fitted = trainer(recipe.clone()).fit().unwrap();
        let mean = fitted.predictions.mean_average_precision();
        // The asymmetric loss moves little where answers are easy.
        assert!(loss.is_some() || mean > 0.8, "{mean}");
        let first = &fitted.history[0];
        assert!(fitted.history[5].train_loss < first.train_loss, "{loss:?}");
        let wrong = Recipe {
            loss: Some(Loss::CrossEntropy),
            ..recipe
        };
        let error = trainer(wrong).fit().map(drop).unwrap_err().to_string();
        assert!(
            error.contains("binary-cross-entropy or asymmetric"),
            "{error}"
        );
    }
}

#[test]
fn a_fit_trains_a_network_of_several_labels_and_chooses_its_thresholds() {
    let folder = tempfile::tempdir().unwrap();
    let table = bands(folder.path(), 90);
    let data = labelled(&table);
    let (files, device) = (Files::new(), Device::flex());
    let tuned = Fit::new(&device)
        .budget(Duration::from_secs(60))
        .clock(ticking(|_| 100))
        .fit(&files.pretrained(), &data)
        .unwrap();
    assert!(tuned.seconds <= 60.0);
    let trained = tuned
        .trials
        .iter()
        .filter(|trial| trial.what.starts_with("fine-tuning"));
    let trained: Vec<_> = trained.collect();
    assert!(!trained.is_empty(), "{:?}", tuned.trials);
    let (images, losses) = (trained[0].images, trained.iter().map(|trial| trial.loss));
    assert!(
        images >= 10 && losses.flatten().all(f64::is_finite),
        "{trained:?}"
    );
    let thresholds = tuned.thresholds.clone().unwrap();
    assert_eq!(thresholds.len(), 2);
    let mean = tuned.predictions.mean_average_precision();
    assert!(mean > 0.95, "{mean}");
    // The file answers as the fit did.
    let path = folder.path().join("trained.safetensors");
    tuned.save(&path).unwrap();
    let model = Model::open(&path, &device).unwrap();
    assert_eq!(model.thresholds.as_ref(), Some(&thresholds));
    let found = model.evaluate_labels(&table, &TableOptions::default(), |_| ());
    close(found.unwrap().evaluation.mean_average_precision, mean, 1e-6);
}
