//! Another feature space: many labelled features of one kind help a few labels of a quite different kind.
//!
//! ```text
//! cargo run --release --example heterogeneous -- --mnist mnist --usps usps --weights resnet18.pth
//! ```
//!
//! One side: the 16 x 16 pixels of USPS digits as they are. The other: features of MNIST digits by a network that was
//! trained on photographs. Each in turn is the source, all of it with labels, and the other the target, a few of it with
//! labels. At last the target has no label at all, and other digits without labels that are described both ways make the
//! bridge. It needs the folders of both sets and weights.

mod common;
#[path = "digits/set.rs"]
#[allow(dead_code, reason = "shared with other examples")]
mod set;

use std::path::PathBuf;
use std::process::ExitCode;

use burn::tensor::{Device, Tensor, TensorData};
use clap::Parser;
use common::table::Table;
use common::{Failure, Images};
use rekindle::models::Pretrained;
use rekindle::transfer::features::{
    Cca, Features, LogisticRegression, ManifoldAlignment, Pca, accuracy,
};
use rekindle::transfer::{Backbone, FrozenPrefix};
use serde_json::json;
use set::{Digits, RawDigits};

/// From features of one set of digits to pixels of another.
#[derive(Debug, Parser)]
struct Arguments {
    /// Folder with t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz
    #[arg(long)]
    mnist: PathBuf,
    /// Folder with test-images-idx3-ubyte.gz and test-labels-idx1-ubyte.gz
    #[arg(long)]
    usps: PathBuf,
    /// Weights of the network that makes the source's features
    #[arg(long)]
    weights: PathBuf,
    /// Digits of each set
    #[arg(long, default_value_t = 1000)]
    digits: usize,
    /// Labelled target digits per class, one run each
    #[arg(long, value_delimiter = ',', default_value = "1,3,5")]
    shots: Vec<usize>,
    /// Seeds of the labelled target digits: 0, 1, ...
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// One JSON object a method
    #[arg(long)]
    json: bool,
}

const METHODS: [&str; 4] = [
    "target labels alone",
    "target labels alone, components",
    "CCA of pairs of one class",
    "manifold alignment",
];

/// Pixels along a side of a source digit as the network sees it.
const SIDE: usize = 64;
/// Pixels along a side of USPS's digits.
const NARROW: usize = 16;

fn main() -> ExitCode {
    common::outcome::exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mnist = Mnist::read(arguments)?;
    let features = mnist.with_labels();
    let usps = RawDigits::read(&arguments.usps, "test")?;
    if usps.height != NARROW || usps.width != NARROW {
        return Err(format!(
            "USPS digits of {} x {} pixels; expected 16 x 16",
            usps.height, usps.width
        )
        .into());
    }
    let rows: Vec<usize> = (0..arguments.digits.min(usps.labels.len())).collect();
    let pixels = Images {
        features: Features::new(usps.pixels, usps.height * usps.width)?,
        labels: usps.labels,
        classes: features.classes.clone(),
    }
    .select(&rows);
    let table = Table {
        json: arguments.json,
    };
    let ways = [
        ("pixels to features", &pixels, &features),
        ("features to pixels", &features, &pixels),
    ];
    for (way, source, target) in ways {
        for shots in &arguments.shots {
            let mut found: [Vec<f64>; METHODS.len()] = Default::default();
            for seed in 0..arguments.seeds {
                let accuracies = compare(source, target, *shots, seed)?;
                found
                    .iter_mut()
                    .zip(accuracies)
                    .for_each(|(all, one)| all.push(one));
            }
            for (method, values) in METHODS.iter().zip(&found) {
                table.row(
                    method,
                    values,
                    json!({"from": way, "target labels a class": shots}),
                );
            }
        }
    }
    let [plain, centred] = mnist.without_target_labels(&pixels)?;
    for (method, accuracy) in [
        ("CCA of unlabelled pairs", plain),
        ("CCA of unlabelled pairs, the target centred", centred),
    ] {
        table.row(
            method,
            &[accuracy],
            json!({"from": "features to pixels", "target labels a class": 0}),
        );
    }
    Ok(())
}

/// Digits that the network has seen, the first half of them with labels.
struct Mnist {
    /// `[2 n, dim]`.
    features: Features,
    /// `[2 n, 256]`: the same digits as USPS would have them.
    pixels: Features,
    /// `[n]`.
    labels: Vec<usize>,
}

impl Mnist {
    fn read(arguments: &Arguments) -> Result<Self, Failure> {
        let device = Device::flex();
        let pretrained = Pretrained::open(&arguments.weights, &device)?;
        let stages = pretrained.model.stage_names().len();
        let prefix = FrozenPrefix::new(&pretrained.model, stages)?;
        let digits = Digits::read(&arguments.mnist, "t10k")?;
        let count = arguments.digits.min(digits.labels.len() / 2);
        let rows: Vec<usize> = (0..2 * count).collect();
        let (mut values, mut pixels) = (Vec::new(), Vec::new());
        for rows in rows.chunks(32) {
            let x = digits.of(rows, &device).x;
            let small: Vec<f32> = x.into_data().iter::<f32>().collect();
            let mut batch = Vec::with_capacity(rows.len() * 3 * SIDE * SIDE);
            for digit in small.chunks_exact(set::SIZE * set::SIZE) {
                let large = resized(digit, 0.0, set::SIZE as f32, SIDE);
                for (mean, std) in pretrained
                    .preprocess
                    .mean
                    .iter()
                    .zip(pretrained.preprocess.std)
                {
                    batch.extend(large.iter().map(|value| (value - mean) / std));
                }
                // A margin of four pixels is MNIST's own.
                pixels.extend(resized(digit, 4.0, 20.0, NARROW));
            }
            let shape = [rows.len(), 3, SIDE, SIDE];
            let batch = Tensor::from_data(TensorData::new(batch, shape), &device);
            values.extend(prefix.forward(batch)?.into_data().iter::<f32>());
        }
        Ok(Self {
            features: Features::new(values, pretrained.model.num_features())?.l2_normalized(),
            pixels: Features::new(pixels, NARROW * NARROW)?,
            labels: digits.labels[..count].to_vec(),
        })
    }

    fn halves(&self) -> [Vec<usize>; 2] {
        let count = self.labels.len();
        [(0..count).collect(), (count..2 * count).collect()]
    }

    fn with_labels(&self) -> Images {
        Images {
            features: self.features.select(&self.halves()[0]),
            labels: self.labels.clone(),
            classes: (0..10).map(|digit| digit.to_string()).collect(),
        }
    }

    /// Accuracy on the target's pixels of a classifier of features: the digits whose labels it doesn't know link both
    /// descriptions. With the target's mean as it is, and moved to that of the linking digits.
    fn without_target_labels(&self, target: &Images) -> Result<[f64; 2], Failure> {
        let pairs = &self.halves()[1];
        let (x, y) = (self.features.select(pairs), self.pixels.select(pairs));
        let maps = Cca::default().fit(&x, &y)?;
        let source = maps.transform_x(&self.with_labels().features)?;
        let head = LogisticRegression::new(1e-3).fit(&source, &self.labels, 10)?;
        let right = |pixels: &Features| -> Result<f64, Failure> {
            let found = head.predict(&maps.transform_y(pixels)?)?;
            Ok(accuracy(&found, &target.labels))
        };
        let mean = y.mean();
        let shift: Vec<f64> = target
            .features
            .mean()
            .into_iter()
            .zip(mean)
            .map(|(target, pairs)| target - pairs)
            .collect();
        Ok([
            right(&target.features)?,
            right(&target.features.centered(&shift)?)?,
        ])
    }
}

/// The square of `extent` pixels from `start` on in both directions, with `side` pixels, linear between pixels.
fn resized(digit: &[f32], start: f32, extent: f32, side: usize) -> Vec<f32> {
    let last = set::SIZE - 1;
    let place = |at: usize| {
        let at = start + (at as f32 + 0.5) * extent / side as f32 - 0.5;
        let at = at.clamp(0.0, last as f32);
        let low = (at as usize).min(last - 1);
        (low, at - low as f32)
    };
    let mut pixels = Vec::with_capacity(side * side);
    for y in 0..side {
        for x in 0..side {
            let ((row, down), (column, right)) = (place(y), place(x));
            let pixel = |dy: usize, dx: usize| digit[(row + dy) * set::SIZE + column + dx];
            let upper = pixel(0, 0) * (1.0 - right) + pixel(0, 1) * right;
            let lower = pixel(1, 0) * (1.0 - right) + pixel(1, 1) * right;
            pixels.push(upper * (1.0 - down) + lower * down);
        }
    }
    pixels
}

/// Accuracies in the order of [`METHODS`] on the target digits without a label.
fn compare(
    source: &Images,
    target: &Images,
    shots: usize,
    seed: u64,
) -> Result<[f64; METHODS.len()], Failure> {
    let (few, test) = target.split(shots, seed);
    let components = Pca { components: 40 };
    let source_x = components
        .fit(&source.features)?
        .transform(&source.features)?;
    let fit = |features: &Features, labels: &[usize], test_features: &Features| {
        let head = LogisticRegression::new(1e-3).fit(features, labels, 10)?;
        Ok::<_, Failure>(accuracy(&head.predict(test_features)?, &test.labels))
    };
    let all = few.features.stack(&test.features)?;
    let components = components.fit(&all)?;
    let (few_c, test_c) = (
        components.transform(&few.features)?,
        components.transform(&test.features)?,
    );
    let labels: Vec<usize> = source.labels.iter().chain(&few.labels).copied().collect();

    // Each labelled digit is paired with ten source digits of its class.
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for (row, label) in few.labels.iter().enumerate() {
        let of_class = (0..source.labels.len()).filter(|at| source.labels[*at] == *label);
        for at in of_class.skip(seed as usize * 10).take(10) {
            left.push(at);
            right.push(row);
        }
    }
    let maps = Cca::default().fit(&source_x.select(&left), &few_c.select(&right))?;
    let shared = maps
        .transform_x(&source_x)?
        .stack(&maps.transform_y(&few_c)?)?;
    let cca = fit(&shared, &labels, &maps.transform_y(&test_c)?)?;

    let known: Vec<Option<usize>> = source.labels.iter().copied().map(Some).collect();
    let some: Vec<Option<usize>> = few
        .labels
        .iter()
        .copied()
        .map(Some)
        .chain(test.labels.iter().map(|_| None))
        .collect();
    let target_c = few_c.stack(&test_c)?;
    let maps = ManifoldAlignment::default().fit((&source_x, &known), (&target_c, &some), 10)?;
    let shared = maps
        .transform_source(&source_x)?
        .stack(&maps.transform_target(&few_c)?)?;
    let manifolds = fit(&shared, &labels, &maps.transform_target(&test_c)?)?;
    Ok([
        fit(&few.features, &few.labels, &test.features)?,
        fit(&few_c, &few.labels, &test_c)?,
        cca,
        manifolds,
    ])
}
