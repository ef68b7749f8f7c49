//! A network that learns from digits without labels, then from ten labels per class; against one that has the ten labels
//! alone.
//!
//! ```text
//! cargo run --release --example self_supervised -- --mnist mnist
//! ```
//!
//! The folder has MNIST's gzipped test files: the first half of the digits is learnt from, the second tests. Ways to learn
//! without labels are SimSiam, Barlow Twins and telling by how many quarters a digit was turned. Each is measured by a
//! logistic regression on its features (a linear probe) and by fine-tuning the whole network from there. `--json` prints the
//! table for a program.

#[path = "../common/outcome.rs"]
mod outcome;
mod pretext;
#[path = "../digits/set.rs"]
mod set;
#[path = "../common/views.rs"]
mod views;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::Device;
use clap::{Parser, ValueEnum};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rekindle::models::conv_net::ConvNetConfig;
use rekindle::nn::Network;
use rekindle::trainer::{Learner, Optimizer, Recipe};
use rekindle::transfer::features::{Features, LinearHead, LogisticRegression, accuracy};
use rekindle::transfer::{Classifier, Plan};
use serde_json::json;

use pretext::Pretext;
use set::Digits;
use views::Views;

type Failure = Box<dyn std::error::Error>;

/// Compares ways of learning from digits without labels.
#[derive(Debug, Parser)]
struct Arguments {
    /// Folder with t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz
    #[arg(long)]
    mnist: PathBuf,
    /// Labels per class
    #[arg(long, default_value_t = 10)]
    labels: usize,
    /// One way instead of all: scratch, sim-siam, barlow-twins or rotation
    #[arg(long)]
    only: Option<Method>,
    /// Steps without labels, of 256 digits
    #[arg(long, default_value_t = 1500)]
    steps: usize,
    /// Steps with labels, of 50 digits
    #[arg(long, default_value_t = 400)]
    tuning: usize,
    /// Channels of the network
    #[arg(long, default_value_t = 64)]
    width: usize,
    /// Seeds to average over: 0, 1, ...
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// Print JSON in place of lines
    #[arg(long)]
    json: bool,
}

/// Origin of the weights before labels are used.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Method {
    Scratch,
    SimSiam,
    BarlowTwins,
    Rotation,
}

impl Method {
    fn pretext(self) -> Option<Pretext> {
        match self {
            Self::Scratch => None,
            Self::SimSiam => Some(Pretext::SimSiam),
            Self::BarlowTwins => Some(Pretext::BarlowTwins),
            Self::Rotation => Some(Pretext::Rotation),
        }
    }
}

/// Of digits, with labels and without.
const VIEWS: Views = Views {
    shift: 3.0,
    distortion: 0.25,
    hidden: 6.0,
    shade: 0.3,
};

fn main() -> ExitCode {
    outcome::exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mnist = Digits::read(&arguments.mnist, "t10k")?;
    let half = mnist.labels.len() / 2;
    let (train, test) = (mnist.part(0, half), mnist.part(half, mnist.labels.len()));
    let methods = match arguments.only {
        Some(method) => &[method][..],
        None => Method::value_variants(),
    };
    let mut rows = Vec::new();
    for method in methods {
        let begun = Instant::now();
        let found = (0..arguments.seeds)
            .map(|seed| one(arguments, *method, &train, &test, seed))
            .collect::<Result<Vec<_>, _>>()?;
        let seconds = begun.elapsed().as_secs_f64();
        let probe: Vec<f64> = found.iter().map(|found| found.probe).collect();
        let tuned: Vec<f64> = found.iter().map(|found| found.tuned).collect();
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let name = format!("{method:?}");
        if !arguments.json {
            println!(
                "{name:12} probe {:.4} {probe:.4?}  tuned {:.4} {tuned:.4?}  {seconds:.0} s",
                mean(&probe),
                mean(&tuned),
            );
        }
        rows.push(json!({
            "way": name, "seconds": seconds,
            "probe": mean(&probe), "probe_of_seeds": probe,
            "tuned": mean(&tuned), "tuned_of_seeds": tuned,
        }));
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    }
    Ok(())
}

/// Accuracies on the test digits.
struct Found {
    /// Of a logistic regression on the features.
    probe: f64,
    /// Of the network fine-tuned.
    tuned: f64,
}

/// Learns without labels, then with a few.
fn one(
    arguments: &Arguments,
    method: Method,
    train: &Digits,
    test: &Digits,
    seed: u64,
) -> Result<Found, Failure> {
    let device = Device::flex();
    device.seed(seed);
    let mut draws = Xoshiro256PlusPlus::seed_from_u64(seed);
    let config = ConvNetConfig {
        width: arguments.width,
        ..ConvNetConfig::default()
    };
    let net = config.network(seed, &device)?;
    let net = match method.pretext() {
        Some(pretext) => pretext.learn(net, train, arguments, &mut draws)?,
        None => net,
    };
    let mut counts = [0; 10];
    let is_labelled = |row: &usize| {
        counts[train.labels[*row]] += 1;
        counts[train.labels[*row]] <= arguments.labels
    };
    let labelled: Vec<usize> = (0..train.labels.len()).filter(is_labelled).collect();
    let labels: Vec<usize> = labelled.iter().map(|row| train.labels[*row]).collect();
    let all: Vec<usize> = (0..test.labels.len()).collect();
    let few = embed(&net, train, &labelled)?;
    let head = LogisticRegression::with_inverse_penalty(1.0, &few).fit(&few, &labels, 10)?;
    let probe = accuracy(&head.predict(&embed(&net, test, &all)?)?, &test.labels);
    let fresh = Classifier::new(net, 10, seed, &device);
    let net = match method {
        Method::Scratch => fresh,
        _ => fresh.with_head(head.weight, head.bias)?,
    };
    let tuned = fine_tuned(net, arguments, train, &labelled, &mut draws)?;
    let answers = LinearHead::of(&tuned.head).predict(&embed(&tuned.backbone, test, &all)?)?;
    Ok(Found {
        probe,
        tuned: accuracy(&answers, &test.labels),
    })
}

/// The whole network after some steps on the labelled digits.
fn fine_tuned(
    net: Classifier<Network>,
    arguments: &Arguments,
    train: &Digits,
    labelled: &[usize],
    draws: &mut Xoshiro256PlusPlus,
) -> Result<Classifier<Network>, Failure> {
    let device = Device::flex();
    let recipe = Recipe {
        optimizer: Optimizer::AdamW { weight_decay: 1e-4 },
        ..Recipe::tutorial()
    };
    let mut learner = Learner::new(net, Plan::frozen(4, 0), &recipe, &device)?;
    for step in 0..arguments.tuning {
        let any = |_| labelled[draws.random_range(0..labelled.len())];
        let rows: Vec<usize> = (0..50).map(any).collect();
        let mut batch = train.of(&rows, &device);
        batch.x = VIEWS.of(batch.x, draws);
        let progress = step as f64 / arguments.tuning as f64;
        learner.train_batch(&batch, 2e-3 * (1.0 - progress))?;
    }
    Ok(learner.classifier().valid())
}

/// Features `[rows, width]` of digits.
fn embed(net: &Network, digits: &Digits, rows: &[usize]) -> Result<Features, Failure> {
    let mut values: Vec<f32> = Vec::new();
    for rows in rows.chunks(250) {
        let features = net.forward(digits.of(rows, &Device::flex()).x);
        values.extend(features.into_data().iter::<f32>());
    }
    Ok(Features::new(values, net.num_features())?)
}
