//! Images per second of a network or of the data path, to set beside other libraries.
//!
//! ```text
//! cargo run --release --example throughput -- --arch resnet18 --batch 32 --mode train --json
//! cargo run --release --example throughput -- --mode data --data photos --json
//! ```
//!
//! Figures are the median over `--repeats` batches (epochs for `data`) after `--warmup`.

#[path = "common/outcome.rs"]
mod outcome;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use burn::prelude::*;
use burn::tensor::Distribution;
use clap::{Parser, ValueEnum};
use rekindle::device::DeviceName;
use rekindle::imagefolder::{ImageDataset, ImageFolder, Loader};
use rekindle::models::{Model, Options, Preprocess};
use rekindle::nn::Network;
use rekindle::trainer::feed::Batch;
use rekindle::trainer::loss::Targets;
use rekindle::trainer::{Learner, Recipe, train_pipeline};
use rekindle::transfer::{Backbone, Classifier, Entry, FrozenPrefix, Strategy};
use serde_json::json;

type Failure = Box<dyn std::error::Error>;

/// Measures images per second.
#[derive(Debug, Parser)]
struct Arguments {
    /// A model of the registry, such as resnet50 or efficientnet_b0
    #[arg(long, default_value = "resnet18")]
    arch: String,
    /// Images per batch
    #[arg(long, default_value_t = 32)]
    batch: usize,
    /// The work to measure
    #[arg(long, value_enum, default_value_t = Mode::Forward)]
    mode: Mode,
    /// In mode `frozen`, the last frozen stage
    #[arg(long, default_value = "layer3")]
    frozen_to: String,
    /// In mode `data`, a folder of images
    #[arg(long)]
    data: Option<PathBuf>,
    /// Timed batches
    #[arg(long, default_value_t = 10)]
    repeats: usize,
    /// Batches before them
    #[arg(long, default_value_t = 3)]
    warmup: usize,
    /// Threads of the CPU backend and of the loader
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// cpu, wgpu, cuda, cuda:N or ndarray
    #[arg(long, default_value_t = DeviceName::Cpu)]
    device: DeviceName,
    /// Burn's operations even where there are kernels of our own
    #[arg(long)]
    no_kernels: bool,
    /// Frozen stages, or in modes `forward` and `features` all of them, in eight bits
    #[arg(long)]
    quantize: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Logits in evaluation mode
    Forward,
    /// Pooled features in evaluation mode
    Features,
    /// A step of SGD on all parameters
    Train,
    /// A step of SGD behind frozen stages
    Frozen,
    /// Decode, random resized crop, flip, normalise
    Data,
}

fn main() -> ExitCode {
    outcome::exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(arguments.threads)
        .build_global()?;
    let device = arguments.device.open()?;
    let rate = match arguments.mode {
        Mode::Forward | Mode::Features => forward(arguments, &device)?,
        Mode::Train => step(arguments, &device, Strategy::fine_tuning())?,
        Mode::Frozen => {
            let last_frozen = arguments.frozen_to.clone();
            step(arguments, &device, Strategy::FreezeUpTo { last_frozen })?
        }
        Mode::Data => data(arguments)?,
    };
    let peak = peak_resident_mib();
    if arguments.json {
        let mode = arguments
            .mode
            .to_possible_value()
            .map(|value| value.get_name().to_string());
        println!(
            "{}",
            json!({
                "arch": arguments.arch, "batch": arguments.batch, "mode": mode,
                "quantize": arguments.quantize,
                "device": arguments.device.to_string(), "threads": arguments.threads,
                "img_per_s": (rate * 100.0).round() / 100.0, "peak_rss_mb": peak,
            })
        );
    } else {
        println!(
            "{} {:?}: {rate:.1} images/s",
            arguments.arch, arguments.mode
        );
    }
    Ok(())
}

fn forward(arguments: &Arguments, device: &Device) -> Result<f64, Failure> {
    let model = network(arguments, 1000, device)?.valid();
    let images = images(arguments.batch, device);
    let stages = model.stage_names().len();
    let prefix = match arguments.quantize {
        true => FrozenPrefix::quantized(&model, stages, std::slice::from_ref(&images))?,
        false => FrozenPrefix::new(&model, stages)?,
    };
    let run = |model: &Network| -> Result<(), Failure> {
        let output = match arguments.mode {
            Mode::Forward if !arguments.quantize => model.forward(images.clone()),
            Mode::Forward => model.classify(prefix.forward(images.clone())?.flatten(1, 3)),
            _ => prefix.forward(images.clone())?.flatten(1, 3),
        };
        // Reading a value back waits until the device has finished.
        output.slice([0..1, 0..1]).into_data();
        Ok(())
    };
    median_rate(arguments, arguments.batch, || run(&model))
}

fn network(arguments: &Arguments, classes: usize, device: &Device) -> Result<Network, Failure> {
    let model = Model::named(&arguments.arch)?;
    let graph = (model.describe)(&Options::with_classes(classes))?;
    let network = Network::new(graph, 0, device);
    #[cfg(feature = "kernels")]
    let network = network.with_kernels(!arguments.no_kernels);
    Ok(network)
}

fn step(arguments: &Arguments, device: &Device, strategy: Strategy) -> Result<f64, Failure> {
    let backbone = network(arguments, 0, device)?;
    let classifier = Classifier::new(backbone, 1000, 0, device);
    let plan = strategy.plan(&classifier.backbone.stage_names(), 0)?;
    let mut learner = Learner::new(classifier, plan, &Recipe::tutorial(), device)?;
    let batch = Batch {
        x: images(arguments.batch, device),
        start: Entry::IMAGES,
        targets: Targets {
            labels: (0..arguments.batch)
                .map(|image| image * 37 % 1000)
                .collect(),
            ..Targets::default()
        },
        indices: (0..arguments.batch).collect(),
        number: 0,
        skipped: Vec::new(),
    };
    if arguments.quantize {
        learner.quantize_frozen(vec![batch.x.clone()])?;
    }
    median_rate(arguments, arguments.batch, || {
        learner.train_batch(&batch, 1e-3)?;
        Ok(())
    })
}

fn data(arguments: &Arguments) -> Result<f64, Failure> {
    let folder = arguments
        .data
        .as_ref()
        .ok_or("mode data needs --data FOLDER")?;
    let folder = ImageFolder::open_any(folder)?;
    let dataset = ImageDataset::new(&folder, train_pipeline(&Preprocess::IMAGENET))?;
    let loader = Loader::new(dataset)
        .batch_size(arguments.batch)
        .workers(arguments.threads)
        .shuffle(0);
    let mut epoch = 0;
    median_rate(arguments, folder.len(), || {
        for batch in loader.epoch(epoch) {
            batch?;
        }
        epoch += 1;
        Ok(())
    })
}

fn images(batch: usize, device: &Device) -> Tensor<4> {
    Tensor::random([batch, 3, 224, 224], Distribution::Normal(0.0, 1.0), device)
}

fn median_rate(
    arguments: &Arguments,
    images: usize,
    mut run: impl FnMut() -> Result<(), Failure>,
) -> Result<f64, Failure> {
    for _ in 0..arguments.warmup {
        run()?;
    }
    let mut seconds = Vec::new();
    for _ in 0..arguments.repeats.max(1) {
        let begun = Instant::now();
        run()?;
        seconds.push(begun.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    Ok(images as f64 / seconds[seconds.len() / 2])
}

/// Largest resident size of this process so far in MiB, where the operating system tells (Linux).
fn peak_resident_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024)
}
