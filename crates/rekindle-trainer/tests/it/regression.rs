//! One number a picture: losses against PyTorch, figures and heads against scikit-learn, intervals against MAPIE
//! (`regression.py`), and runs from a table to a file that answers with numbers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use burn::tensor::{Device, Tensor, TensorData};
use rekindle_imagefolder::{Listing, Mix, Task};
use rekindle_trainer::events::EndReason;
use rekindle_trainer::feed::Batch;
use rekindle_trainer::loss::Targets;
use rekindle_trainer::metrics::ConformalResiduals;
use rekindle_trainer::{
    Cache, EarlyStopping, Event, Fit, Interrupt, Learner, Loss, Model, Monitor, Predictions,
    Recipe, RegressionEvaluation, RunDirectory, TargetScale, TestViews, Trainer, TrainerError,
    TransferData,
};
use rekindle_transfer::features::{Features, RidgeRegression};
use rekindle_transfer::{Backbone, Classifier, Entry, Plan, Strategy};
use serde_json::Value;
use test_support::reference_path;

use crate::common::{classifier, preprocess, recipe};
use crate::runs::{Files, stop_at};

fn known() -> Value {
    let text = std::fs::read_to_string(reference_path("regression.json")).unwrap();
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
fn losses_and_gradients_of_standardised_numbers_agree_with_pytorch() {
    let known = known();
    let (numbers, answers) = (list(&known["numbers"]), list(&known["answers"]));
    let scale = TargetScale::of(&numbers).unwrap();
    close(scale.mean.into(), known["mean"].as_f64().unwrap(), 1e-5);
    let deviation = known["deviation"].as_f64().unwrap();
    close(scale.deviation.into(), deviation, 1e-5);
    let standardized = |all: &[f32]| all.iter().map(|n| scale.standardized(*n)).collect();
    let targets = Targets {
        labels: vec![0; numbers.len()],
        soft: Some(standardized(&numbers)),
        task: Task::Regression,
        ..Targets::default()
    };
    for name in ["l1", "l2", "huber", "huber=0.3"] {
        let data = TensorData::new(standardized(&answers), [answers.len(), 1]);
        let outputs = Tensor::<2>::from_data(data, &Device::flex().autodiff()).require_grad();
        let loss: Loss = name.parse().unwrap();
        let value = loss.value(outputs.clone(), &targets, 0.0);
        let expected = known[name]["loss"].as_f64().unwrap();
        close(value.clone().into_scalar::<f32>().into(), expected, 1e-6);
        let gradient = outputs.grad(&value.backward()).unwrap();
        let gradient: Vec<f32> = gradient.into_data().try_to_vec().unwrap();
        for (found, expected) in gradient.iter().zip(list(&known[name]["gradient"])) {
            close((*found).into(), expected.into(), 1e-7);
        }
    }
}

#[test]
fn figures_agree_with_scikit_learn_and_intervals_with_mapie() {
    let known = known();
    let (numbers, answers) = (list(&known["numbers"]), list(&known["answers"]));
    let found = RegressionEvaluation::from_numbers(&answers, &numbers).unwrap();
    let expected = |name: &str| known[name].as_f64().unwrap();
    close(found.mae, expected("mae"), 1e-12);
    close(found.rmse, expected("rmse"), 1e-12);
    close(found.r2.unwrap(), expected("r2"), 1e-12);
    let median = expected("median_absolute_error");
    close(found.median_absolute_error, median, 1e-12);
    let predictions = Predictions {
        classes: 1,
        labels: vec![0; numbers.len()],
        probabilities: answers.clone(),
        targets: numbers.clone(),
        task: Task::Regression,
        ..Predictions::default()
    };
    assert_eq!(predictions.regression().unwrap(), found);
    assert_eq!(predictions.figure(Monitor::Mae), found.mae);
    assert_eq!(predictions.figure(Monitor::Rmse), found.rmse);
    assert!(predictions.accuracy().is_nan() && predictions.macro_f1().is_nan());
    let residuals = ConformalResiduals::of_predictions(&predictions).unwrap();
    for (coverage, expected) in known["half_widths"].as_object().unwrap() {
        let asked: f64 = coverage.parse().unwrap();
        let half_width = residuals.half_width(asked).unwrap();
        close(half_width, expected.as_f64().unwrap(), 1e-5);
        // At least as many hold the number as were asked for.
        let measured = residuals.measure(&predictions, asked).unwrap();
        assert!(measured.covered >= asked, "{measured:?}");
    }
    // 24 images promise no more than 24 of 25.
    assert!(residuals.half_width(0.961).is_err() && residuals.half_width(0.96).is_ok());
    assert!(residuals.half_width(1.0).is_err());
    assert!(ConformalResiduals::from_kept(vec![-0.1]).is_err());
    // Numbers that are all the same have no variance to explain.
    let same = RegressionEvaluation::from_numbers(&[1.0, 2.0], &[3.0, 3.0]).unwrap();
    assert_eq!((same.mae, same.r2, same.mean_error), (1.5, None, -1.5));
    for (answers, numbers) in [(&[1.0][..], &[][..]), (&[f32::NAN], &[1.0])] {
        assert!(RegressionEvaluation::from_numbers(answers, numbers).is_err());
    }
}

#[test]
fn heads_and_their_penalty_agree_with_scikit_learn() {
    let known = known();
    let numbers = list(&known["numbers"]);
    let features = Features::new(list(&known["features"]), 5).unwrap();
    let mean = features.mean();
    let squares = |row: &[f32]| -> f64 {
        let pairs = row.iter().zip(&mean);
        pairs.map(|(x, mean)| (f64::from(*x) - mean).powi(2)).sum()
    };
    let scale: f64 = features.rows().map(squares).sum();
    let alphas = list(&known["alphas"]);
    let search = RidgeRegression {
        penalties: alphas
            .iter()
            .map(|alpha| f64::from(*alpha) / scale)
            .collect(),
        ..RidgeRegression::default()
    };
    let found = search.fit(&features, &numbers).unwrap();
    close(found.chosen().alpha, known["alpha"].as_f64().unwrap(), 1e-6);
    let errors = known["squared_errors"].as_array().unwrap();
    assert_eq!(found.tried.len(), errors.len());
    for (tried, expected) in found.tried.iter().zip(errors) {
        close(tried.mean_squared_error, expected.as_f64().unwrap(), 1e-5);
    }
    let check = |head: &rekindle_transfer::features::LinearHead, weight: &str, bias: &str| {
        for (found, expected) in head.weight.iter().zip(list(&known[weight])) {
            close((*found).into(), expected.into(), 2e-6);
        }
        close(head.bias[0].into(), known[bias].as_f64().unwrap(), 1e-5);
    };
    check(&found.head, "coefficients", "intercept");
    // Weights move the mean that features are taken from, and with it what a penalty is a share of.
    let weights: Vec<f64> = list(&known["weights"])
        .iter()
        .map(|w| f64::from(*w))
        .collect();
    let weighed = |penalty: f64| {
        let search = RidgeRegression {
            penalties: vec![penalty],
            weights: Some(weights.clone()),
            ..RidgeRegression::default()
        };
        search.fit(&features, &numbers).unwrap()
    };
    let unit = weighed(1.0).chosen().alpha;
    let found = weighed(2.0 / unit);
    close(found.chosen().alpha, 2.0, 1e-9);
    check(&found.head, "weighed_coefficients", "weighed_intercept");
}

/// A step on numbers as they are, with a scale, is the step on standardised ones without.
#[test]
fn a_learner_standardises_numbers_itself() {
    let numbers = [31.0f32, 4.5, 77.0, 52.25];
    let scale = TargetScale::of(&numbers).unwrap();
    let images = Tensor::<4>::random(
        [4, 3, 32, 32],
        burn::tensor::Distribution::Uniform(-1.0, 1.0),
        &Device::flex(),
    );
    let batch = |numbers: Vec<f32>| Batch {
        x: images.clone(),
        start: Entry::IMAGES,
        targets: Targets {
            labels: vec![0; 4],
            soft: Some(numbers),
            task: Task::Regression,
            ..Targets::default()
        },
        indices: (0..4).collect(),
        number: 0,
        skipped: Vec::new(),
    };
    let learner = |scale: Option<TargetScale>| {
        let backbone = classifier().backbone;
        let stages = backbone.stage_names().len();
        let device = Device::flex();
        let plan = Plan::frozen(stages, stages);
        let classifier = Classifier::new(backbone, 1, 5, &device);
        Learner::new(classifier, plan, &recipe(), &device)
            .unwrap()
            .with_target_scale(scale)
    };
    let (mut own, mut plain) = (learner(Some(scale)), learner(None));
    let standardized = numbers.map(|number| scale.standardized(number)).to_vec();
    for _ in 0..3 {
        let a = own.train_batch(&batch(numbers.to_vec()), 0.05).unwrap();
        let b = plain
            .train_batch(&batch(standardized.clone()), 0.05)
            .unwrap();
        assert_eq!(a, b);
    }
}

/// Pictures whose brightness grows with the number, and a table of them: a quarter is held out.
fn bars(folder: &Path, images: usize) -> PathBuf {
    let mut lines = String::from("file,age,split,group\n");
    for at in 0..images {
        // 0 to 31 columns are bright, in an order that is none.
        let bright = (at * 13 % 32) as u32;
        let picture = image::RgbImage::from_fn(32, 32, |x, y| {
            let noise = ((x as usize * 31 + y as usize * 17 + at * 101) % 40) as u8;
            image::Rgb([if x < bright { 170 + noise } else { 30 + noise }; 3])
        });
        picture.save(folder.join(format!("{at}.png"))).unwrap();
        let part = if at % 4 == 3 { "val" } else { "train" };
        let age = 1000.0 + 20.0 * bright as f32;
        lines.push_str(&format!("{at}.png,{age},{part},{}\n", at / 2));
    }
    let table = folder.join("ages.csv");
    std::fs::write(&table, lines).unwrap();
    table
}

fn ages(table: &Path) -> TransferData {
    let listing = Listing::open(table).unwrap();
    TransferData::from_listing(&listing, &preprocess(), 0).unwrap()
}

fn pace() -> Recipe {
    Recipe {
        epochs: 4,
        batch_size: 8,
        learning_rate: 1e-3,
        augment: None,
        ..Recipe::modern()
    }
    .for_task(Task::Regression)
}

/// Checks a saved model against what its run said.
fn check_file(path: &Path, table: &Path, said: &Predictions) {
    let model = Model::open(path, &Device::flex()).unwrap();
    assert_eq!(model.task, Task::Regression);
    assert_eq!(model.class_names(), ["age"]);
    let found = model
        .evaluate_numbers(table, &Default::default(), |_| ())
        .unwrap();
    let expected = said.regression().unwrap();
    assert_eq!(found.evaluation.samples, expected.samples);
    close(found.evaluation.mae, expected.mae, 1e-2);
    close(found.evaluation.rmse, expected.rmse, 1e-2);
    let residuals = model.conformal_residuals().unwrap();
    let coverage = residuals.measure(&found.predictions, 0.9).unwrap();
    assert!(coverage.covered >= 0.9, "{coverage:?}");
    let picture = table.with_file_name("3.png");
    let in_memory = model
        .number_of_bytes(&std::fs::read(&picture).unwrap())
        .unwrap();
    model
        .predict(&[picture], |answer| {
            close(answer.number().unwrap().into(), in_memory.into(), 1e-2);
        })
        .unwrap();
    // A provenance tells of the scale, and a classifier's questions are refused.
    let provenance: Value = serde_json::from_str(model.provenance.as_deref().unwrap()).unwrap();
    let scale = &provenance["data"]["target_scale"];
    assert!(scale["mean"].as_f64().unwrap() > 1000.0, "{provenance}");
    let image = image::RgbImage::new(32, 32);
    let error = model.classify(image).unwrap_err().to_string();
    assert!(error.contains("gives numbers"), "{error}");
    let error = model.evaluate(table, |_| ()).unwrap_err().to_string();
    assert!(error.contains("a model for regression"), "{error}");
    let error = model.conformal().unwrap_err().to_string();
    assert!(error.contains("no scores"), "{error}");
    let views = model.in_views(TestViews::Flip);
    assert!(views.conformal_residuals().is_err());
    assert!(views.calibrated().is_err());
}

#[test]
fn a_ridge_on_frozen_features_becomes_a_file_that_answers_with_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let table = bars(folder.path(), 80);
    let (files, device) = (Files::new(), Device::flex());
    let data = ages(&table);
    let mut events: Vec<Event> = Vec::new();
    let tuned = Fit::new(&device)
        .without_training()
        .observer(&mut events)
        .run_directory(folder.path().join("run"))
        .fit(&files.pretrained(), &data)
        .unwrap();
    let found = tuned.predictions.regression().unwrap();
    assert!(found.r2.unwrap() > 0.9, "{found:?}");
    let ridge = tuned.ridge.as_ref().unwrap();
    // The groups of the table are left out as a whole: the answers are not those of single images.
    assert_eq!(ridge.held_out.len(), 60);
    let measured = events.iter().find_map(|event| match event {
        Event::Measured { figures, .. } => Some(figures.clone()),
        _ => None,
    });
    assert_eq!(measured.unwrap()["mae"], found.mae);
    let told = events.iter().find_map(|event| match event {
        Event::Tried(trial) => trial.mae,
        _ => None,
    });
    let answers: Vec<f32> = ridge.held_out.iter().map(|answer| *answer as f32).collect();
    let truths = data.train.targets().unwrap();
    let held_out = RegressionEvaluation::from_numbers(&answers, truths).unwrap();
    assert_eq!(told, Some(held_out.mae));
    let path = folder.path().join("ages.safetensors");
    tuned.save(&path).unwrap();
    check_file(&path, &table, &tuned.predictions);
    drop(tuned);
    // What the directory keeps says the same.
    let run = RunDirectory::open(folder.path().join("run")).unwrap();
    let scale = &run.record().data["target_scale"];
    assert_eq!(
        scale["mean"],
        serde_json::json!(data.target_scale.unwrap().mean)
    );
    check_file(
        &run.best_weights_path(),
        &table,
        &Model::open(run.path(), &device)
            .unwrap()
            .evaluate_numbers(&table, &Default::default(), |_| ())
            .unwrap()
            .predictions,
    );
}

#[test]
fn a_network_learns_numbers_and_goes_on_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let table = bars(folder.path(), 80);
    let files = Files::new();
    let pretrained = files.pretrained();
    for (name, strategy, loss, cache) in [
        ("features", Strategy::FeatureExtraction, None, Cache::Memory),
        (
            "finetune",
            Strategy::fine_tuning(),
            Some(Loss::L1),
            Cache::Off,
        ),
    ] {
        let recipe = Recipe {
            loss,
            cache,
            ..pace()
        };
        let trainer = || {
            Trainer::adapt(&pretrained, ages(&table), strategy.clone(), 0).recipe(recipe.clone())
        };
        let whole = trainer()
            .run_directory(folder.path().join(format!("{name}-whole")))
            .fit()
            .unwrap();
        let first = &whole.history[0];
        let last = whole.history.last().unwrap();
        assert!(last.train_loss < first.train_loss, "{name}");
        assert!(first.train_accuracy.is_nan() && first.valid_accuracy.is_none());
        // The best epoch is the one of the lowest mean absolute error.
        let errors: Vec<f64> = whole.history.iter().map(|m| m.figures["mae"]).collect();
        let best = whole.outcome.best_epoch.unwrap() - 1;
        assert!(
            errors.iter().all(|error| errors[best] <= *error),
            "{errors:?}"
        );
        let found = whole.predictions.regression().unwrap();
        assert_eq!(found.mae, errors[best]);
        // The loss that is told is that of standardised numbers.
        let deviation = f64::from(ages(&table).target_scale.unwrap().deviation);
        let expected = match loss {
            None => (found.rmse / deviation).powi(2),
            _ => found.mae / deviation,
        };
        close(whole.predictions.loss, expected, 1e-6);
        let path = folder.path().join(format!("{name}.safetensors"));
        whole.save(&path).unwrap();
        check_file(&path, &table, &whole.predictions);

        let directory = folder.path().join(name);
        let interrupt = Interrupt::new();
        let mut epochs = 0;
        let broken = trainer()
            .run_directory(&directory)
            .checkpoint_interval(Duration::ZERO)
            .observer(stop_at(&interrupt, |event| {
                epochs += usize::from(matches!(event, Event::EpochEnded { .. }));
                epochs == 2
            }))
            .interrupt(interrupt)
            .fit()
            .unwrap();
        assert_eq!(broken.outcome.reason, EndReason::Interrupted);
        drop(broken);
        let resumed = trainer().resume(&directory).unwrap();
        assert_eq!(
            rekindle_weights::state_dict::collect(&resumed.classifier),
            rekindle_weights::state_dict::collect(&whole.classifier),
            "{name}"
        );
        assert_eq!(resumed.predictions, whole.predictions);
        let figures = |fitted: &rekindle_trainer::Fitted<_>| -> Vec<_> {
            fitted.history.iter().map(|m| m.figures.clone()).collect()
        };
        assert_eq!(figures(&resumed), figures(&whole));
    }
}

#[test]
fn a_budget_trains_the_network_where_held_out_errors_fall() {
    let folder = tempfile::tempdir().unwrap();
    let table = bars(folder.path(), 80);
    let files = Files::new();
    let time = std::sync::atomic::AtomicU64::new(0);
    let ticks = move || {
        let before = time.fetch_add(100, std::sync::atomic::Ordering::SeqCst);
        Duration::from_millis(before + 100)
    };
    let tuned = Fit::new(&Device::flex())
        .budget(Duration::from_secs(20))
        .clock(ticks)
        .fit(&files.pretrained(), &ages(&table))
        .unwrap();
    let (ridge, trained): (Vec<_>, Vec<_>) = tuned
        .trials
        .iter()
        .partition(|trial| trial.what.starts_with("ridge regression"));
    assert_eq!(ridge.len(), 1);
    assert!(!trained.is_empty(), "{:?}", tuned.trials);
    assert!(
        trained
            .iter()
            .all(|trial| trial.mae.is_some() && trial.accuracy.is_none())
    );
    assert!(tuned.forecast.is_none());
    let found = tuned.predictions.regression().unwrap();
    assert!(found.r2.unwrap() > 0.9, "{found:?}");
    let path = folder.path().join("fit.safetensors");
    tuned.save(&path).unwrap();
    check_file(&path, &table, &tuned.predictions);
}

#[test]
fn what_makes_no_sense_for_numbers_is_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let table = bars(folder.path(), 24);
    let files = Files::new();
    let pretrained = files.pretrained();
    let data = ages(&table);
    let refused = |recipe: Recipe| {
        let trainer = Trainer::adapt(&pretrained, data.clone(), Strategy::FeatureExtraction, 0);
        let error = trainer.recipe(recipe).fit().map(drop).unwrap_err();
        assert!(
            matches!(error, TrainerError::InvalidRecipe { .. }),
            "{error}"
        );
        error.to_string()
    };
    let of = |change: &dyn Fn(&mut Recipe)| {
        let mut recipe = pace();
        change(&mut recipe);
        refused(recipe)
    };
    type Change<'a> = &'a dyn Fn(&mut Recipe);
    let changes: [(Change<'_>, &str); 8] = [
        (&|r| r.loss = Some(Loss::CrossEntropy), "l1, l2 or huber"),
        (
            &|r| r.loss = Some(Loss::Focal { gamma: 2.0 }),
            "l1, l2 or huber",
        ),
        (&|r| r.label_smoothing = 0.1, "no other classes"),
        (
            &|r| r.mix = Some(Mix::MixUp { alpha: 0.2 }),
            "mixed picture",
        ),
        (&|r| r.balance_classes = true, "column of weights"),
        (&|r| r.balanced_sampler = true, "no classes to balance"),
        (
            &|r| r.monitor = Monitor::Accuracy,
            "monitor is the accuracy, where numbers are learned, but must be mae, rmse or loss",
        ),
        (
            &|r| r.early_stopping = Some(EarlyStopping::of(Monitor::MacroF1, 2)),
            "the macro F1",
        ),
    ];
    for (change, expected) in changes {
        let error = of(change);
        assert!(error.contains(expected), "{error}");
    }
    // Classes have no mean absolute error.
    let mut recipe = Recipe::tutorial();
    recipe.monitor = Monitor::Mae;
    let trainer = Trainer::adapt(&pretrained, files.data(), Strategy::FeatureExtraction, 0);
    let error = trainer
        .recipe(recipe)
        .fit()
        .map(drop)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("the MAE, where pictures have one label each"),
        "{error}"
    );
    // The strategy's own recipe is one for numbers.
    let fitted = Trainer::adapt(&pretrained, data.clone(), Strategy::FeatureExtraction, 0)
        .fit()
        .unwrap();
    assert!(fitted.outcome.best_epoch.is_some());
    // Numbers that are all the same teach nothing, and several are not learned.
    let head = "file,age\n";
    let same = (0..6).map(|at| format!("{at}.png,7\n")).collect::<String>();
    let path = folder.path().join("same.csv");
    std::fs::write(&path, format!("{head}{same}")).unwrap();
    let options = |labels: &[&str]| rekindle_imagefolder::TableOptions {
        task: Some(Task::Regression),
        labels: labels.iter().map(|label| label.to_string()).collect(),
        ..Default::default()
    };
    let opened = |path: &Path, labels: &[&str]| {
        let listing = Listing::open_table(path, &options(labels)).unwrap();
        let data = TransferData::from_listing(&listing, &preprocess(), 0);
        data.map(drop).unwrap_err().to_string()
    };
    let error = opened(&path, &[]);
    assert!(error.contains("the number of every image is 7"), "{error}");
    let two = (0..6)
        .map(|at| format!("{at}.png,{at},{at}\n"))
        .collect::<String>();
    let path = folder.path().join("two.csv");
    std::fs::write(&path, format!("file,a,b\n{two}")).unwrap();
    let error = opened(&path, &["a", "b"]);
    assert!(error.contains("2 numbers an image (a, b)"), "{error}");
}
