//! Thresholds of labels that validation images choose: against scikit-learn (`multi_label.py`), and in a run's file.

use burn::tensor::Device;
use rekindle_imagefolder::{TableOptions, Task};
use rekindle_trainer::{Event, LabelThresholds, Model, Recipe, RunDirectory, Trainer};
use rekindle_transfer::{Classifier, Strategy};

use crate::common::classifier;
use crate::multi_label::{bands, labelled, numbers};

#[test]
fn thresholds_and_their_cross_fitted_figures_agree_with_scikit_learn() {
    let known = &numbers()["thresholds"];
    let list = |name: &str| -> Vec<f32> {
        let values = known[name].as_array().unwrap().iter();
        values.map(|value| value.as_f64().unwrap() as f32).collect()
    };
    let (probabilities, targets) = (list("probabilities"), list("targets"));
    let found = LabelThresholds::fit(&probabilities, &targets, 3).unwrap();
    let close = |found: f64, expected: f64| {
        assert!((found - expected).abs() < 1e-7, "{found} {expected}");
    };
    for (found, expected) in found.values.iter().zip(list("values")) {
        close(*found, expected.into());
    }
    for (name, value) in [
        ("micro_f1", found.micro_f1),
        ("macro_f1", found.macro_f1),
        ("micro_f1_at_half", found.micro_f1_at_half),
        ("macro_f1_at_half", found.macro_f1_at_half),
    ] {
        close(value, known[name].as_f64().unwrap());
    }
    assert_eq!(found.to_keep(), Some(&found.values[..]));
    // On the samples that chose them they look better.
    let told = rekindle_trainer::MultiLabelEvaluation::from_probabilities(
        &probabilities,
        &targets,
        3,
        Some(&found.values),
    );
    assert!(told.unwrap().macro_f1 > found.macro_f1);
    // Nothing to gain, nothing to keep; a label that nobody has stays at one half.
    let sure = LabelThresholds::fit(&[0.9, 0.1, 0.2, 0.1], &[1.0, 0.0, 0.0, 0.0], 2).unwrap();
    assert_eq!((sure.to_keep(), sure.values[1]), (None, 0.5));
    assert!(LabelThresholds::fit(&[0.5], &[1.0, 0.0], 1).is_err());
}

#[test]
fn a_run_by_epochs_leaves_thresholds_in_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let table = bands(folder.path(), 60);
    let device = Device::flex();
    // So little training that most answers are below one half or above.
    let recipe = Recipe {
        epochs: 1,
        batch_size: 8,
        learning_rate: 1e-3,
        augment: None,
        ..Recipe::modern()
    }
    .for_task(Task::MultiLabel);
    let path = folder.path().join("run");
    let fitted = Trainer::new(
        Classifier::new(classifier().backbone, 2, 5, &device),
        labelled(&table),
    )
    .strategy(Strategy::FeatureExtraction)
    .recipe(recipe)
    .run_directory(&path)
    .fit()
    .unwrap();
    let chosen = fitted.predictions.label_thresholds().unwrap();
    assert!(chosen.macro_f1 > chosen.macro_f1_at_half, "{chosen:?}");
    assert_eq!(fitted.thresholds(), Some(chosen.values.clone()));
    // What is announced, by whatever way, is what the file gives: counted here answer by answer.
    let predictions = &fitted.predictions;
    let rows = predictions.probabilities.iter().zip(&predictions.targets);
    let right = rows.enumerate().filter(|(at, (said, truth))| {
        (f64::from(**said) >= chosen.values[at % 2]) == (**truth > 0.5)
    });
    let expected = right.count() as f64 / predictions.targets.len() as f64;
    assert_ne!(expected, predictions.accuracy());
    let (best, outcome) = (fitted.best_accuracy(), fitted.outcome.clone());
    drop(fitted);
    let model = Model::open(&path, &device).unwrap();
    assert_eq!(model.thresholds, Some(chosen.values));
    let logged = RunDirectory::open(&path).unwrap().events().unwrap();
    let Some(Event::RunEnded(logged)) = logged.last() else {
        panic!("{logged:?}");
    };
    let evaluated = model.evaluate_labels(&table, &TableOptions::default(), |_| ());
    let evaluated = evaluated.unwrap();
    for told in [
        Some(best),
        outcome.best_accuracy,
        outcome.last_accuracy,
        logged.best_accuracy,
        Some(evaluated.evaluation.accuracy),
    ] {
        assert!(
            (told.unwrap() - expected).abs() < 1e-12,
            "{told:?} {expected}"
        );
    }
}
