//! Classes in an order: the loss against PyTorch, figures against scikit-learn (`ordinal.py`), and runs from folders of grades to a
//! file that knows their order.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use rekindle_imagefolder::{Listing, TableOptions, Task};
use rekindle_trainer::loss::Targets;
use rekindle_trainer::{
    ConfusionMatrix, Fit, Loss, Model, Monitor, OrdinalEvaluation, Predictions, Recipe,
    RunDirectory, Trainer, TrainerError, TransferData,
};
use rekindle_transfer::{Classifier, Strategy};
use serde_json::Value;
use test_support::reference_path;

use crate::common::{classifier, preprocess};
use crate::runs::Files;

fn known() -> Value {
    let text = std::fs::read_to_string(reference_path("ordinal.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn list(value: &Value) -> Vec<f32> {
    let values = value.as_array().unwrap().iter();
    values.map(|value| value.as_f64().unwrap() as f32).collect()
}

fn classes(value: &Value) -> Vec<usize> {
    let values = value.as_array().unwrap().iter();
    values
        .map(|value| value.as_u64().unwrap() as usize)
        .collect()
}

#[track_caller]
fn close(found: f64, expected: f64, within: f64) {
    assert!((found - expected).abs() < within, "{found} {expected}");
}

#[test]
fn the_loss_and_its_gradients_agree_with_pytorch() {
    let known = known();
    let labels = classes(&known["labels"]);
    let targets = |weights: Option<Vec<f32>>| Targets {
        labels: labels.clone(),
        task: Task::Ordinal,
        weights,
        ..Targets::default()
    };
    for (name, smoothing, weights) in [
        ("plain", 0.0, None),
        ("smoothed", 0.1, None),
        ("weighed", 0.0, Some(list(&known["weights"]))),
    ] {
        let data = TensorData::new(list(&known["logits"]), [labels.len(), 5]);
        let logits = Tensor::<2>::from_data(data, &Device::flex().autodiff()).require_grad();
        let value = Loss::SquaredEmd.value(logits.clone(), &targets(weights), smoothing);
        let expected = known[name]["loss"].as_f64().unwrap();
        close(value.clone().into_scalar::<f32>().into(), expected, 1e-6);
        let gradient = logits.grad(&value.backward()).unwrap();
        let gradient: Vec<f32> = gradient.into_data().try_to_vec().unwrap();
        let expected = list(&known[name]["gradient"]);
        assert_eq!(gradient.len(), expected.len());
        for (found, expected) in gradient.iter().zip(expected) {
            close((*found).into(), expected.into(), 1e-7);
        }
    }
}

/// Answers that are sure of these classes.
fn sure(answers: &[usize], truth: &[usize], classes: usize) -> Predictions {
    Predictions {
        classes,
        probabilities: answers
            .iter()
            .flat_map(|answer| (0..classes).map(move |class| f32::from(u8::from(class == *answer))))
            .collect(),
        labels: truth.to_vec(),
        task: Task::Ordinal,
        ..Predictions::default()
    }
}

#[test]
fn figures_agree_with_scikit_learn() {
    let known = known();
    let count = known["classes"].as_u64().unwrap() as usize;
    for figures in known["figures"].as_array().unwrap() {
        let (truth, answers) = (classes(&figures["truth"]), classes(&figures["answers"]));
        let predictions = sure(&answers, &truth, count);
        let found = predictions.ordinal().unwrap();
        assert_eq!(found.samples, truth.len() as u64);
        close(found.mae, figures["mae"].as_f64().unwrap(), 1e-12);
        close(
            found.within_one,
            figures["within_one"].as_f64().unwrap(),
            1e-12,
        );
        let kappa = found.quadratic_weighted_kappa.unwrap();
        close(kappa, figures["kappa"].as_f64().unwrap(), 1e-12);
        assert_eq!(predictions.figure(Monitor::Mae), found.mae);
        assert_eq!(predictions.figure(Monitor::QuadraticWeightedKappa), kappa);
        assert!(predictions.figure(Monitor::Rmse).is_nan());
    }
    // All of one class: scikit-learn has no number either.
    let same = sure(&[3, 3], &[3, 3], 5).ordinal().unwrap();
    assert_eq!((same.mae, same.quadratic_weighted_kappa), (0.0, None));
    assert!(OrdinalEvaluation::from_confusion(&ConfusionMatrix::new(5)).is_err());
    assert!(
        Predictions {
            task: Task::SingleLabel,
            ..sure(&[1], &[1], 2)
        }
        .ordinal()
        .is_err()
    );
    let improves = |value, best| Monitor::QuadraticWeightedKappa.improves(value, best, 0.0);
    assert!(improves(0.8, 0.7) && !improves(0.6, 0.7));
}

/// Pictures with ever more bright columns, in the folders 0, 5 and 10.
fn grades(folder: &Path) {
    for at in 0..36u32 {
        let grade = at % 3;
        let picture = image::RgbImage::from_fn(32, 32, |x, y| {
            let noise = ((x * 31 + y * 17 + at * 101) % 40) as u8;
            image::Rgb(
                [if x < 6 + 10 * grade {
                    170 + noise
                } else {
                    30 + noise
                }; 3],
            )
        });
        let part = if at % 4 == 3 { "val" } else { "train" };
        let place = folder.join(part).join((5 * grade).to_string());
        std::fs::create_dir_all(&place).unwrap();
        picture.save(place.join(format!("{at}.png"))).unwrap();
    }
}

fn graded() -> TableOptions {
    TableOptions {
        task: Some(Task::Ordinal),
        ..TableOptions::default()
    }
}

fn data(folder: &Path) -> TransferData {
    let listing = Listing::open_table(folder, &graded()).unwrap();
    TransferData::from_listing(&listing, &preprocess(), 0).unwrap()
}

fn three_classes() -> Classifier<rekindle_nn::Network> {
    Classifier::new(classifier().backbone, 3, 5, &Device::flex())
}

fn pace() -> Recipe {
    Recipe {
        epochs: 3,
        batch_size: 8,
        learning_rate: 1e-2,
        augment: None,
        ..Recipe::modern()
    }
    .for_task(Task::Ordinal)
}

/// The mean over the images of the squared differences of cumulative probabilities.
fn emd(found: &Predictions) -> f64 {
    let rows = found.probabilities.chunks(found.classes).zip(&found.labels);
    let of_row = |(row, label): (&[f32], &usize)| -> f64 {
        let below = |border: usize| row[..border].iter().map(|p| f64::from(*p)).sum::<f64>();
        let truth = |border: usize| if *label < border { 1.0 } else { 0.0 };
        (1..row.len())
            .map(|border| (below(border) - truth(border)).powi(2))
            .sum()
    };
    rows.map(of_row).sum::<f64>() / found.labels.len() as f64
}

#[test]
fn a_run_on_folders_of_grades_leaves_a_file_that_knows_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    grades(&images);
    let data = data(&images);
    assert_eq!(data.classes, ["0", "5", "10"]);
    let directory = folder.path().join("run");
    let fitted = Trainer::new(three_classes(), data)
        .strategy(Strategy::FeatureExtraction)
        .recipe(pace())
        .run_directory(&directory)
        .fit()
        .unwrap();
    let expected = fitted.predictions.ordinal().unwrap();
    close(fitted.predictions.loss, emd(&fitted.predictions), 1e-5);
    let best = fitted.outcome.best_epoch.unwrap();
    let figures = &fitted.history[best - 1].figures;
    assert_eq!(figures["mae"], expected.mae);
    let lowest = fitted.history.iter().map(|epoch| epoch.figures["mae"]);
    assert_eq!(lowest.reduce(f64::min), Some(expected.mae));
    drop(fitted);
    let run = RunDirectory::open(&directory).unwrap();
    assert_eq!(run.record().data["task"], "ordinal");
    assert_eq!(run.record().recipe["monitor"], "mae");
    let listing = run.listing(None).unwrap();
    assert_eq!(listing.task(), Task::Ordinal);
    assert_eq!(
        listing.open_training().unwrap().images.classes(),
        ["0", "5", "10"]
    );
    let model = Model::open(&directory, &Device::flex()).unwrap();
    assert_eq!(model.task, Task::Ordinal);
    // Of the folder alone: the file knows the order.
    let found = model.evaluate(&images, |_| ()).unwrap();
    assert_eq!(found.ordinal, Some(expected));
    close(found.predictions.loss, emd(&found.predictions), 1e-6);
    assert!(model.evaluate_numbers(&images, &graded(), |_| ()).is_err());
}

#[test]
fn one_call_measures_grades_by_their_distance() {
    let folder = tempfile::tempdir().unwrap();
    grades(folder.path());
    let device = Device::flex();
    let pretrained = Files::new().pretrained();
    let out = folder.path().join("out.safetensors");
    let tuned = Fit::new(&device)
        .without_training()
        .fit(&pretrained, &data(folder.path()))
        .unwrap();
    tuned.save(&out).unwrap();
    let expected = tuned.predictions.ordinal().unwrap();
    let model = Model::open(&out, &device).unwrap();
    assert_eq!(model.task, Task::Ordinal);
    let found = model.evaluate(folder.path(), |_| ()).unwrap();
    assert_eq!(found.ordinal, Some(expected));
}

#[test]
fn what_does_not_go_with_an_order_is_refused() {
    for (recipe, task) in [
        (
            Recipe {
                loss: Some(Loss::SquaredEmd),
                ..Recipe::modern()
            },
            Task::SingleLabel,
        ),
        (
            Recipe {
                loss: Some(Loss::BinaryCrossEntropy),
                ..pace()
            },
            Task::Ordinal,
        ),
        (
            Recipe {
                monitor: Monitor::Rmse,
                ..pace()
            },
            Task::Ordinal,
        ),
        (
            Recipe {
                monitor: Monitor::QuadraticWeightedKappa,
                ..Recipe::modern()
            },
            Task::SingleLabel,
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        grades(folder.path());
        let options = TableOptions {
            task: Some(task),
            ..TableOptions::default()
        };
        let listing = match task {
            Task::Ordinal => Listing::open_table(folder.path(), &options).unwrap(),
            _ => Listing::open(folder.path()).unwrap(),
        };
        let data = TransferData::from_listing(&listing, &preprocess(), 0).unwrap();
        let found = Trainer::new(three_classes(), data).recipe(recipe).fit();
        assert!(matches!(found, Err(TrainerError::InvalidRecipe { .. })));
    }
    for loss in [
        Loss::SquaredEmd,
        Loss::CrossEntropy,
        Loss::Focal { gamma: 2.0 },
    ] {
        loss.check_task(Task::Ordinal).unwrap();
    }
}
