//! Digits of one kind with labels, digits of another without: a small network trained on both, by objectives of domain
//! adaptation.
//!
//! ```text
//! cargo run --release --example digits -- --mnist mnist --usps usps
//! ```
//!
//! Each folder has that set's gzipped idx files. USPS is trained on its training part and tested on its test part; of MNIST
//! the first half of the 10,000 test digits stands in for the one, the second half for the other. Labels of a target are used
//! for nothing but the table. `--json` prints it for a program.

#[path = "../common/outcome.rs"]
mod outcome;
mod set;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use burn::tensor::Device;
use clap::Parser;
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use rekindle::models::conv_net::ConvNetConfig;
use rekindle::nn::Network;
use rekindle::trainer::{Learner, Optimizer, Recipe};
use rekindle::transfer::objective::{DomainAlignment, DomainObjective};
use rekindle::transfer::{Classifier, Plan};
use serde_json::json;

use set::Digits;

type Failure = Box<dyn std::error::Error>;

/// Adapts a digit classifier from MNIST to USPS and back.
#[derive(Debug, Parser)]
struct Arguments {
    /// Folder with t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz
    #[arg(long)]
    mnist: PathBuf,
    /// Folder with train-images-idx3-ubyte.gz, test-images-idx3-ubyte.gz and their labels
    #[arg(long)]
    usps: PathBuf,
    /// Objectives to try, by name
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "source-only,mcc,information-maximisation,dann"
    )]
    objectives: Vec<String>,
    /// Steps of 64 + 64 digits
    #[arg(long, default_value_t = 600)]
    steps: usize,
    /// Channels of the network
    #[arg(long, default_value_t = 32)]
    width: usize,
    /// Seeds to average over: 0, 1, ...
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// Print JSON in place of lines
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    outcome::exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mnist = Digits::read(&arguments.mnist, "t10k")?;
    let half = mnist.labels.len() / 2;
    let mnist = [mnist.part(0, half), mnist.part(half, mnist.labels.len())];
    let usps = [
        Digits::read(&arguments.usps, "train")?,
        Digits::read(&arguments.usps, "test")?,
    ];
    let mut rows = Vec::new();
    for (name, source, target) in [
        ("mnist -> usps", &mnist, &usps),
        ("usps -> mnist", &usps, &mnist),
    ] {
        for objective in DomainObjective::all() {
            if !arguments
                .objectives
                .iter()
                .any(|wanted| wanted == objective.name())
            {
                continue;
            }
            let begun = Instant::now();
            let accuracies = (0..arguments.seeds)
                .map(|seed| adapt(arguments, &objective, &source[0], target, seed))
                .collect::<Result<Vec<_>, _>>()?;
            let mean = accuracies.iter().sum::<f64>() / accuracies.len().max(1) as f64;
            let seconds = begun.elapsed().as_secs_f64();
            if !arguments.json {
                let objective = objective.name();
                println!("{name}  {objective:26} {mean:.4}  {accuracies:.4?}  {seconds:.0} s");
            }
            rows.push(json!({
                "pair": name, "objective": objective.name(), "mean": mean,
                "accuracies": accuracies, "seconds": seconds,
            }));
        }
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    }
    Ok(())
}

/// Accuracy on the second part of `target` after training on `source` with labels and on the first part without.
fn adapt(
    arguments: &Arguments,
    objective: &DomainObjective,
    source: &Digits,
    target: &[Digits; 2],
    seed: u64,
) -> Result<f64, Failure> {
    let device = Device::flex();
    device.seed(seed);
    let config = ConvNetConfig {
        width: arguments.width,
        ..ConvNetConfig::default()
    };
    let net = config.network(seed, &device)?;
    let classifier = Classifier::new(net, 10, seed, &device);
    let recipe = Recipe {
        optimizer: Optimizer::Sgd {
            momentum: 0.9,
            nesterov: true,
            weight_decay: 1e-3,
        },
        ..Recipe::tutorial()
    };
    let mut learner = Learner::new(classifier, Plan::frozen(4, 0), &recipe, &device)?;
    let widths = [arguments.width, 10];
    let mut alignment = DomainAlignment::new(
        objective.clone(),
        1.0,
        widths,
        seed,
        &device.clone().autodiff(),
    )?;
    let mut draws = Xoshiro256PlusPlus::seed_from_u64(seed);
    for step in 0..arguments.steps {
        let progress = step as f64 / arguments.steps as f64;
        let rate = 0.02 / (1.0 + 10.0 * progress).powf(0.75);
        let batch = source.batch(64, &mut draws, &device);
        if *objective == DomainObjective::SourceOnly {
            learner.train_batch(&batch, rate)?;
        } else {
            let unlabelled = target[0].batch(64, &mut draws, &device);
            learner.train_batch_towards(&batch, &unlabelled, &mut alignment, progress, rate)?;
        }
    }
    if *objective != DomainObjective::SourceOnly {
        // The last word on running statistics is the target's.
        for _ in 0..60 {
            learner.logits(&target[0].batch(64, &mut draws, &device))?;
        }
    }
    accuracy(&learner, &target[1], &device)
}

fn accuracy(learner: &Learner<Network>, test: &Digits, device: &Device) -> Result<f64, Failure> {
    let predictor = learner.predictor();
    let rows: Vec<usize> = (0..test.labels.len()).collect();
    let mut correct = 0;
    for rows in rows.chunks(256) {
        let batch = test.of(rows, device);
        let logits: Vec<f32> = predictor
            .logits(&batch)?
            .into_data()
            .iter::<f32>()
            .collect();
        for (row, logits) in rows.iter().zip(logits.chunks_exact(10)) {
            let own = logits[test.labels[*row]];
            correct += usize::from(logits.iter().filter(|logit| **logit >= own).count() == 1);
        }
    }
    Ok(correct as f64 / test.labels.len() as f64)
}
