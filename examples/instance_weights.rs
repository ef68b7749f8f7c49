//! A biased sample undone: source images weighted until they stand for the target's.
//!
//! ```text
//! cargo run --release --example instance_weights -- --data art_painting --weights resnet50.safetensors
//! ```
//!
//! Half of the images are thinned out, by class or along the features' first principal component, and learnt from; the
//! other half, untouched, measures. With `--target` a few labels of another domain correct the source (TrAdaBoost).
//! Without `--data` it takes drawn things.

mod common;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use common::table::Table;
use common::{Failure, Images, Network};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rekindle::transfer::features::{
    DensityRatio, Features, Kliep, Kmm, LogisticRegression, Pca, TrAdaBoost, accuracy,
    effective_sample_size,
};
use serde_json::json;

/// Importance weights on a sample that was biased on purpose.
#[derive(Debug, Parser)]
struct Arguments {
    /// A folder with one folder a class, or a file that `extract_features` wrote
    #[arg(long)]
    data: Option<PathBuf>,
    /// Another domain with the same classes, for TrAdaBoost
    #[arg(long, requires = "data")]
    target: Option<PathBuf>,
    /// Labelled target images per class
    #[arg(long, default_value_t = 3)]
    shots: usize,
    #[command(flatten)]
    network: Network,
    /// Principal components that weights and classifiers see
    #[arg(long, default_value_t = 20)]
    components: usize,
    /// Seeds of the halves and of the thinning: 0, 1, ...
    #[arg(long, default_value_t = 5)]
    seeds: u64,
    /// One JSON object a method
    #[arg(long)]
    json: bool,
}

const METHODS: [&str; 6] = [
    "unweighted",
    "KMM",
    "KLIEP",
    "density ratio",
    "true weights",
    "unbiased sample of the same size",
];

fn main() -> ExitCode {
    common::outcome::exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let images = arguments
        .network
        .images_or_drawn(arguments.data.as_deref())?;
    let lengths = images.features.l2_normalized();
    let components = Pca {
        components: arguments.components,
    };
    let images = Images {
        features: components.fit(&lengths)?.transform(&lengths)?,
        ..images
    };
    let table = Table {
        json: arguments.json,
    };
    for bias in [Bias::Class, Bias::Component] {
        let mut found = vec![[Vec::new(), Vec::new(), Vec::new()]; METHODS.len()];
        for seed in 0..arguments.seeds {
            for (found, scores) in found.iter_mut().zip(bias.scores(&images, seed)?) {
                found
                    .iter_mut()
                    .zip(scores)
                    .for_each(|(all, score)| all.push(score));
            }
        }
        for (method, found) in METHODS.iter().zip(found) {
            for (score, values) in ["accuracy", "log loss", "effective images"]
                .iter()
                .zip(found)
            {
                table.row(
                    method,
                    &values,
                    json!({"bias": bias.name(), "score": score}),
                );
            }
        }
    }
    if let Some(path) = &arguments.target {
        let source = arguments
            .network
            .images_or_drawn(arguments.data.as_deref())?;
        few_labels(arguments, &source, &arguments.network.images(path)?, table)?;
    }
    Ok(())
}

/// Rule by which an image is kept.
#[derive(Clone, Copy)]
enum Bias {
    /// The last class keeps a tenth as many as the first.
    Class,
    /// Images at the far end of the first principal component are kept a tenth as often as those at the near end.
    Component,
}

impl Bias {
    fn name(self) -> &'static str {
        match self {
            Bias::Class => "class",
            Bias::Component => "first component",
        }
    }

    /// The chance of each image to be kept.
    fn chances(self, images: &Images) -> Vec<f64> {
        let spread = |share: f64| 10f64.powf(-share);
        match self {
            Bias::Class => {
                let last = (images.classes.len() - 1).max(1) as f64;
                let of = |label: &usize| spread(*label as f64 / last);
                images.labels.iter().map(of).collect()
            }
            Bias::Component => {
                let firsts: Vec<f32> = images.features.rows().map(|row| row[0]).collect();
                let rank = |value: &f32| firsts.iter().filter(|other| *other < value).count();
                let last = (firsts.len() - 1).max(1) as f64;
                firsts
                    .iter()
                    .map(|value| spread(rank(value) as f64 / last))
                    .collect()
            }
        }
    }

    /// Accuracy, log loss and effective number of images of each method.
    fn scores(self, images: &Images, seed: u64) -> Result<Vec<[f64; 3]>, Failure> {
        let (pool, test) = images.halves(seed);
        let chances = self.chances(&pool);
        let mut draws = StdRng::seed_from_u64(seed + 1000);
        let mut kept: Vec<usize> = (0..chances.len())
            .filter(|row| draws.random_range(0.0..1.0) < chances[*row])
            .collect();
        // One image of each class stays in any case.
        for class in 0..pool.classes.len() {
            if !kept.iter().any(|row| pool.labels[*row] == class) {
                kept.extend(pool.labels.iter().position(|label| *label == class));
            }
        }
        let source = pool.select(&kept);
        let (x, target) = (&source.features, &test.features);
        let truth: Vec<f64> = kept.iter().map(|row| 1.0 / chances[*row]).collect();
        let share = kept.len() as f64 / pool.labels.len() as f64;
        let even = images.split_evenly(share, seed);
        let weights = [
            vec![1.0; kept.len()],
            Kmm::default().weights(x, target)?,
            Kliep::default().fit(x, target)?.weights,
            DensityRatio::default().weights(x, target)?,
            truth,
        ];
        let mut scores = Vec::new();
        for weights in weights {
            scores.push(score(&source, &weights, &test)?);
        }
        scores.push(score(&even, &vec![1.0; even.labels.len()], &test)?);
        Ok(scores)
    }
}

impl Images {
    /// The first half of [`halves`](Self::halves), thinned to `share` of each class.
    fn split_evenly(&self, share: f64, seed: u64) -> Self {
        let pool = self.halves(seed).0;
        let mut rows = Vec::new();
        for class in 0..pool.classes.len() {
            let of_class: Vec<usize> = (0..pool.labels.len())
                .filter(|row| pool.labels[*row] == class)
                .collect();
            let count = (of_class.len() as f64 * share).round().max(1.0) as usize;
            rows.extend(&of_class[..count.min(of_class.len())]);
        }
        pool.select(&rows)
    }
}

fn score(source: &Images, weights: &[f64], test: &Images) -> Result<[f64; 3], Failure> {
    // A method that leaves a class without any weight learns it a little all the same.
    let floor = 1e-3 * weights.iter().sum::<f64>() / weights.len() as f64;
    let raised: Vec<f64> = weights.iter().map(|weight| weight.max(floor)).collect();
    let classes = source.classes.len();
    let head = LogisticRegression::new(1e-3).fit_weighted(
        &source.features,
        &source.labels,
        classes,
        &raised,
    )?;
    let probabilities = head.probabilities(&test.features)?;
    let rows = probabilities.chunks_exact(classes).zip(&test.labels);
    let log_loss = rows
        .map(|(row, label)| -row[*label].max(1e-12).ln())
        .sum::<f64>();
    Ok([
        accuracy(&head.predict(&test.features)?, &test.labels),
        log_loss / test.labels.len() as f64,
        effective_sample_size(weights),
    ])
}

/// Many source images and a few labels of another domain.
fn few_labels(
    arguments: &Arguments,
    source: &Images,
    target: &Images,
    table: Table,
) -> Result<(), Failure> {
    if source.classes != target.classes {
        return Err("--data and --target have different classes".into());
    }
    let classes = target.classes.len();
    let x = source.features.l2_normalized();
    let mut found: [Vec<f64>; 4] = Default::default();
    for seed in 0..arguments.seeds {
        let (few, test) = target.split(arguments.shots, seed);
        let (few_x, test_x) = (few.features.l2_normalized(), test.features.l2_normalized());
        let fit = |features: &Features, labels: &[usize]| {
            LogisticRegression::with_inverse_penalty(10.0, features)
                .fit(features, labels, classes)?
                .predict(&test_x)
        };
        let both = x.stack(&few_x)?;
        let labels: Vec<usize> = source.labels.iter().chain(&few.labels).copied().collect();
        let boosted = TrAdaBoost::default()
            .fit((&x, &source.labels), (&few_x, &few.labels), classes)?
            .predict(&test_x)?;
        let predictions = [
            fit(&x, &source.labels)?,
            fit(&few_x, &few.labels)?,
            fit(&both, &labels)?,
            boosted,
        ];
        for (all, found) in found.iter_mut().zip(predictions) {
            all.push(accuracy(&found, &test.labels));
        }
    }
    let names = [
        "source alone",
        "target labels alone",
        "both as one set",
        "TrAdaBoost",
    ];
    for (name, values) in names.iter().zip(&found) {
        table.row(
            name,
            values,
            json!({"score": "accuracy", "target labels a class": arguments.shots}),
        );
    }
    Ok(())
}
