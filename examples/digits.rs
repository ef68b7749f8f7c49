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

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use burn::tensor::{Device, Tensor, TensorData};
use clap::Parser;
use image::imageops::{self, FilterType};
use image::{GrayImage, Luma};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rekindle::resnet::{ConvNet, ConvNetConfig};
use rekindle::trainer::feed::Batch;
use rekindle::trainer::loss::Targets;
use rekindle::trainer::{Learner, Optimizer, Recipe};
use rekindle::transfer::objective::{DomainAlignment, DomainObjective};
use rekindle::transfer::{Classifier, Plan};
use serde_json::json;

type Failure = Box<dyn std::error::Error>;

const SIZE: usize = 28;
const PIXELS: usize = SIZE * SIZE;

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
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
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
    let net = ConvNetConfig::new()
        .with_width(arguments.width)
        .init(&device);
    let classifier = Classifier::new(net, 10, seed, &device);
    let recipe = Recipe {
        optimizer: Optimizer::Sgd {
            momentum: 0.9,
            nesterov: true,
            weight_decay: 1e-3,
        },
        ..Recipe::tutorial()
    };
    let mut learner = Learner::new(classifier, Plan::frozen(4, 0), &recipe, &device);
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

fn accuracy(learner: &Learner<ConvNet>, test: &Digits, device: &Device) -> Result<f64, Failure> {
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

/// Digits of 28 x 28 pixels, ink 1 on paper 0.
struct Digits {
    pixels: Vec<f32>,
    labels: Vec<usize>,
}

impl Digits {
    fn read(folder: &Path, part: &str) -> Result<Self, Failure> {
        let images = unpack(&folder.join(format!("{part}-images-idx3-ubyte.gz")))?;
        let labels = unpack(&folder.join(format!("{part}-labels-idx1-ubyte.gz")))?;
        let number = |at: usize| {
            let bytes = images
                .get(at..at + 4)
                .and_then(|bytes| bytes.try_into().ok());
            bytes.map(u32::from_be_bytes).ok_or("a cut idx file")
        };
        let (height, width) = (number(8)?, number(12)?);
        let mut pixels = Vec::new();
        for digit in images[16..].chunks_exact((height * width) as usize) {
            let digit = GrayImage::from_fn(width, height, |x, y| {
                Luma([digit[(y * width + x) as usize]])
            });
            let digit = imageops::resize(&digit, SIZE as u32, SIZE as u32, FilterType::Triangle);
            pixels.extend(digit.pixels().map(|pixel| f32::from(pixel.0[0]) / 255.0));
        }
        let labels: Vec<usize> = labels
            .iter()
            .skip(8)
            .map(|label| usize::from(*label))
            .collect();
        if labels.len() * PIXELS != pixels.len() || labels.iter().any(|label| *label > 9) {
            return Err(
                format!("{}: images and labels of {part} disagree", folder.display()).into(),
            );
        }
        Ok(Self { pixels, labels })
    }

    fn part(&self, start: usize, end: usize) -> Self {
        Self {
            pixels: self.pixels[start * PIXELS..end * PIXELS].to_vec(),
            labels: self.labels[start..end].to_vec(),
        }
    }

    fn batch(&self, count: usize, draws: &mut Xoshiro256PlusPlus, device: &Device) -> Batch {
        let any = |_| draws.random_range(0..self.labels.len());
        self.of(&(0..count).map(any).collect::<Vec<_>>(), device)
    }

    fn of(&self, rows: &[usize], device: &Device) -> Batch {
        let digit = |row: &usize| self.pixels[row * PIXELS..(row + 1) * PIXELS].to_vec();
        let values: Vec<f32> = rows.iter().flat_map(digit).collect();
        let shape = [rows.len(), 1, SIZE, SIZE];
        Batch {
            x: Tensor::from_data(TensorData::new(values, shape), device),
            start: 0,
            targets: Targets {
                labels: rows.iter().map(|row| self.labels[*row]).collect(),
                ..Targets::default()
            },
            indices: rows.to_vec(),
            skipped: Vec::new(),
        }
    }
}

fn unpack(path: &Path) -> Result<Vec<u8>, Failure> {
    let file = std::fs::File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(file).read_to_end(&mut bytes)?;
    if bytes.len() < 16 {
        return Err(format!("{} is no idx file", path.display()).into());
    }
    Ok(bytes)
}
