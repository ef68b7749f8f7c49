//! Trains the narrow ResNet-18 that the built-in default starts from, on drawings of thirty kinds of things.
//!
//! ```text
//! cargo run --release --example pretrain_drawings
//! ```
//!
//! It takes about half an hour on two cores. The result is the file that the crate carries as
//! `rekindle::drawings::SOURCE_WEIGHTS`.

#[path = "common/outcome.rs"]
mod outcome;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use rekindle::device::DeviceName;
use rekindle::drawings::{DrawingTask, SourceTask};
use rekindle::imagefolder::{ImageDataset, ImageFolder, Pipeline, Transform};
use rekindle::models::Preprocess;
use rekindle::models::files::save_f16;
use rekindle::models::resnet::ResNetConfig;
use rekindle::trainer::{
    Interrupt, Optimizer, Progress, ProgressMode, Recipe, Schedule, Source, Trainer, TransferData,
    eval_pipeline,
};
use rekindle::transfer::{Classifier, Strategy};
use rekindle::weights::ModelInfo;

/// Channels after the stem: a quarter of torchvision's.
const STEM_WIDTH: usize = 16;

/// Side of the square that the network sees, in pixels.
const SIZE: usize = 64;

type Failure = Box<dyn std::error::Error>;

/// Trains a narrow ResNet-18 on drawings.
#[derive(Debug, Parser)]
struct Arguments {
    /// Folder for the drawings
    #[arg(long, default_value = "out/pretrain_drawings")]
    drawings: PathBuf,
    /// The file to write
    #[arg(long, default_value = "assets/drawings-source.safetensors")]
    out: PathBuf,
    /// Drawings per class to learn from
    #[arg(long, default_value_t = 300)]
    per_class: usize,
    /// Passes over them
    #[arg(long, default_value_t = 14)]
    epochs: usize,
    /// Seed of everything random
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// cpu, wgpu, cuda, cuda:N or ndarray
    #[arg(long, default_value_t = DeviceName::Cpu)]
    device: DeviceName,
}

fn main() -> ExitCode {
    outcome::exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let device = arguments.device.open()?;
    eprintln!("drawing {} pictures per class", arguments.per_class);
    SourceTask.write_folder(&arguments.drawings, arguments.per_class, 30, arguments.seed)?;
    let preprocess = Preprocess {
        resize: SIZE,
        crop: SIZE,
        ..Preprocess::IMAGENET
    };
    let data = data(arguments, &preprocess)?;
    let architecture = "resnet18, a quarter as wide";
    let backbone = ResNetConfig::RESNET18
        .with_stem_width(STEM_WIDTH)
        .with_num_classes(0)
        .network(arguments.seed, &device)?;
    let classifier = Classifier::new(backbone, data.classes.len(), arguments.seed, &device);
    let recipe = Recipe {
        epochs: arguments.epochs,
        batch_size: 32,
        optimizer: Optimizer::AdamW { weight_decay: 0.02 },
        learning_rate: 3e-3,
        schedule: Schedule::one_cycle(),
        label_smoothing: 0.1,
        seed: arguments.seed,
        ..Recipe::tutorial()
    };
    let classes = data.classes.clone();
    let fitted = Trainer::new(classifier, data)
        .source(Source {
            architecture: architecture.to_string(),
            ..Source::default()
        })
        .title("drawings")
        .strategy(Strategy::FromScratch)
        .recipe(recipe)
        .observer(Progress::new(ProgressMode::Auto))
        .interrupt(Interrupt::on_ctrl_c()?)
        .fit()?;
    let info = ModelInfo {
        architecture: Some(architecture.to_string()),
        classes: Some(classes),
        preprocess: Some(preprocess),
        provenance: Some(format!(
            "examples/pretrain_drawings.rs, {} drawings per class, {} epochs, seed {}, validation accuracy {:.3}",
            arguments.per_class,
            fitted.history.len(),
            arguments.seed,
            fitted.best_accuracy()
        )),
        ..ModelInfo::default()
    };
    let network = fitted.classifier.into_network()?;
    save_f16(&network, &arguments.out, &info)?;
    println!("{}", arguments.out.display());
    Ok(())
}

/// Training drawings with mild crops and flips, validation drawings plain.
fn data(arguments: &Arguments, preprocess: &Preprocess) -> Result<TransferData, Failure> {
    let (train, val) = ImageFolder::open_train_val(&arguments.drawings)?;
    let augmented = Pipeline::new([
        Transform::RandomResizedCrop {
            size: SIZE as u32,
            scale: (0.5, 1.0),
            ratio: (3.0 / 4.0, 4.0 / 3.0),
            interpolation: preprocess.interpolation,
        },
        Transform::RandomHorizontalFlip { p: 0.5 },
        Transform::Normalize {
            mean: preprocess.mean,
            std: preprocess.std,
        },
    ]);
    let cache = 1 << 30;
    let train = ImageDataset::new(&train, augmented)?.cache_bytes(cache);
    let val = ImageDataset::new(&val, eval_pipeline(preprocess))?.cache_bytes(cache);
    Ok(TransferData::from_datasets(train, val, preprocess)?)
}
