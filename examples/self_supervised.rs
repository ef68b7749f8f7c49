//! A network that learns from digits without labels, then from ten labels a class; against one that has the ten labels
//! alone.
//!
//! ```text
//! cargo run --release --example self_supervised -- --mnist mnist
//! ```
//!
//! The folder has MNIST's gzipped test files: the first half of the digits is learnt from, the second tests. Ways to learn
//! without labels are SimSiam, Barlow Twins and telling by how many quarters a digit was turned. `--json` prints the table for
//! a program.

#[path = "common/outcome.rs"]
mod outcome;
#[path = "digits/set.rs"]
mod set;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::activation::{log_softmax, relu};
use burn::tensor::{Device, Int, Tensor, TensorData};
use clap::Parser;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rekindle::resnet::{ConvNet, ConvNetConfig};
use rekindle::trainer::{Learner, Optimizer, Recipe};
use rekindle::transfer::objective::{barlow_twins_loss, simsiam_loss};
use rekindle::transfer::{Classifier, Plan};
use serde_json::json;

use set::{Digits, SIZE};

type Failure = Box<dyn std::error::Error>;

/// Compares ways of learning from digits without labels.
#[derive(Debug, Parser)]
struct Arguments {
    /// Folder with t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz
    #[arg(long)]
    mnist: PathBuf,
    /// Labels a class
    #[arg(long, default_value_t = 10)]
    labels: usize,
    /// Steps without labels, of 128 digits
    #[arg(long, default_value_t = 400)]
    steps: usize,
    /// Steps with labels
    #[arg(long, default_value_t = 150)]
    tuning: usize,
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

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Scratch,
    SimSiam,
    BarlowTwins,
    Rotation,
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mnist = Digits::read(&arguments.mnist, "t10k")?;
    let half = mnist.labels.len() / 2;
    let (train, test) = (mnist.part(0, half), mnist.part(half, mnist.labels.len()));
    let mut rows = Vec::new();
    for way in [Way::Scratch, Way::SimSiam, Way::BarlowTwins, Way::Rotation] {
        let begun = Instant::now();
        let accuracies = (0..arguments.seeds)
            .map(|seed| one(arguments, way, &train, &test, seed))
            .collect::<Result<Vec<_>, _>>()?;
        let mean = accuracies.iter().sum::<f64>() / accuracies.len().max(1) as f64;
        let seconds = begun.elapsed().as_secs_f64();
        if !arguments.json {
            println!(
                "{:12} {mean:.4}  {accuracies:.4?}  {seconds:.0} s",
                format!("{way:?}")
            );
        }
        rows.push(json!({
            "way": format!("{way:?}"), "mean": mean, "accuracies": accuracies, "seconds": seconds,
        }));
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    }
    Ok(())
}

/// Accuracy after learning without labels, then with a few.
fn one(
    arguments: &Arguments,
    way: Way,
    train: &Digits,
    test: &Digits,
    seed: u64,
) -> Result<f64, Failure> {
    let device = Device::flex();
    device.seed(seed);
    let mut net = ConvNetConfig::new()
        .with_width(arguments.width)
        .init(&device);
    let mut draws = Xoshiro256PlusPlus::seed_from_u64(seed);
    if way != Way::Scratch {
        net = without_labels(arguments, way, net, train, &mut draws)?;
    }
    let mut counts = [0; 10];
    let labelled: Vec<usize> = (0..train.labels.len())
        .filter(|row| {
            counts[train.labels[*row]] += 1;
            counts[train.labels[*row]] <= arguments.labels
        })
        .collect();
    let recipe = Recipe {
        optimizer: Optimizer::AdamW { weight_decay: 1e-4 },
        ..Recipe::tutorial()
    };
    let classifier = Classifier::new(net, 10, seed, &device);
    let mut learner = Learner::new(classifier, Plan::frozen(4, 0), &recipe, &device);
    for step in 0..arguments.tuning {
        let rows: Vec<usize> = (0..50)
            .map(|_| labelled[draws.random_range(0..labelled.len())])
            .collect();
        let mut batch = train.of(&rows, &device);
        batch.x = augmented(batch.x, &mut draws);
        let progress = step as f64 / arguments.tuning as f64;
        learner.train_batch(&batch, 2e-3 * (1.0 - progress))?;
    }
    let predictor = learner.predictor();
    let rows: Vec<usize> = (0..test.labels.len()).collect();
    let mut correct = 0;
    for rows in rows.chunks(250) {
        let logits = predictor.logits(&test.of(rows, &device))?.into_data();
        let logits: Vec<f32> = logits.iter::<f32>().collect();
        correct += rows
            .iter()
            .zip(logits.chunks_exact(10))
            .filter(|(row, logits)| {
                let own = logits[test.labels[**row]];
                logits.iter().filter(|logit| **logit >= own).count() == 1
            })
            .count();
    }
    Ok(correct as f64 / test.labels.len() as f64)
}

/// The network with what the task without labels needs on top.
#[derive(Module, Debug)]
struct Pretext {
    net: ConvNet,
    projector: [Linear; 2],
    predictor: [Linear; 2],
}

impl Pretext {
    fn new(net: ConvNet, outputs: usize, device: &Device) -> Self {
        let width = net.num_features();
        let layer = |a: usize, b: usize| LinearConfig::new(a, b).init(device);
        Self {
            net,
            projector: [layer(width, 128), layer(128, outputs)],
            predictor: [layer(outputs, 32), layer(32, outputs)],
        }
    }

    fn project(&self, x: Tensor<4>) -> Tensor<2> {
        let [first, second] = &self.projector;
        second.forward(relu(first.forward(self.net.features(x))))
    }

    fn predict(&self, z: Tensor<2>) -> Tensor<2> {
        let [first, second] = &self.predictor;
        second.forward(relu(first.forward(z)))
    }
}

fn without_labels(
    arguments: &Arguments,
    way: Way,
    net: ConvNet,
    train: &Digits,
    draws: &mut Xoshiro256PlusPlus,
) -> Result<ConvNet, Failure> {
    let plain = Device::flex();
    let device = plain.clone().autodiff();
    let outputs = if way == Way::Rotation { 4 } else { 64 };
    let mut pretext = Pretext::new(net.to_device(&device), outputs, &device);
    pretext = pretext.train();
    let mut optimizer = AdamConfig::new().init();
    for step in 0..arguments.steps {
        let x = train.batch(128, draws, &plain).x;
        let loss = match way {
            Way::Rotation => rotation_loss(&pretext, augmented(x, draws)),
            _ => {
                let (a, b) = (augmented(x.clone(), draws), augmented(x, draws));
                let z1 = pretext.project(Tensor::from_inner(a));
                let z2 = pretext.project(Tensor::from_inner(b));
                if way == Way::SimSiam {
                    let (p1, p2) = (pretext.predict(z1.clone()), pretext.predict(z2.clone()));
                    simsiam_loss(p1, z1, p2, z2)?
                } else {
                    barlow_twins_loss(z1, z2, 0.005)?
                }
            }
        };
        let grads = GradientsParams::from_grads(loss.backward(), &pretext);
        let progress = step as f64 / arguments.steps as f64;
        pretext = optimizer.step(2e-3 * (1.0 - 0.9 * progress), pretext, grads);
    }
    Ok(pretext.net.valid())
}

/// Cross entropy of the number of quarter turns, each a quarter of the batch.
fn rotation_loss(pretext: &Pretext, x: Tensor<4>) -> Tensor<1> {
    let quarter = x.dims()[0] / 4;
    let turned = |turns: usize| {
        let part = x.clone().narrow(0, turns * quarter, quarter);
        (0..turns).fold(part, |x, _| x.swap_dims(2, 3).flip([2]))
    };
    let x = Tensor::cat((0..4).map(turned).collect(), 0);
    let labels: Vec<i64> = (0..4 * quarter).map(|row| (row / quarter) as i64).collect();
    let logits = pretext.project(Tensor::from_inner(x));
    let labels = TensorData::new(labels, [4 * quarter, 1]);
    let labels = Tensor::<2, Int>::from_data(labels, &logits.device());
    log_softmax(logits, 1).gather(1, labels).mean().neg()
}

/// Each digit moved by up to 3 pixels, sheared and scaled a little, with a patch painted over.
fn augmented(x: Tensor<4>, draws: &mut Xoshiro256PlusPlus) -> Tensor<4> {
    let [n, ..] = x.dims();
    let device = x.device();
    let values: Vec<f32> = x.into_data().iter::<f32>().collect();
    let size = SIZE as f32;
    let mut moved = Vec::with_capacity(values.len());
    for digit in values.chunks_exact(SIZE * SIZE) {
        let mut number = |bound: f32| draws.random_range(-bound..bound);
        let (dx, dy, shear, turn) = (number(3.0), number(3.0), number(0.3), number(0.25));
        let scale = 1.0 + number(0.15);
        let (px, py) = (size / 2.0 + number(12.0), size / 2.0 + number(12.0));
        let shade = 1.0 + number(0.3);
        for at in 0..SIZE * SIZE {
            let (y, x) = ((at / SIZE) as f32, (at % SIZE) as f32);
            let (cx, cy) = ((x - size / 2.0) * scale, (y - size / 2.0) * scale);
            let sx = cx + (shear + turn) * cy + dx + size / 2.0;
            let sy = cy - turn * cx + dy + size / 2.0;
            let is_hidden = (x - px).abs() < 3.0 && (y - py).abs() < 3.0;
            let (sx, sy) = (sx.round(), sy.round());
            let is_inside = sx >= 0.0 && sy >= 0.0 && sx < size && sy < size;
            moved.push(if is_inside && !is_hidden {
                digit[sy as usize * SIZE + sx as usize] * shade
            } else {
                0.0
            });
        }
    }
    Tensor::from_data(TensorData::new(moved, [n, 1, SIZE, SIZE]), &device)
}
