//! What a trained network calls images: from a run directory, or from a file of weights.
//!
//! ```text
//! cargo run --release --example classify -- out/ants_bees/features photo.jpg another.jpg
//! cargo run --release --example classify -- out/ants_bees/features/best.safetensors photos --json
//! ```

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use burn::tensor::activation::softmax;
use clap::Parser;
use rekindle::device::DeviceName;
use rekindle::imagefolder::{ImageDataset, ImageFolder, Loader, OnBadFile, Sample};
use rekindle::resnet::Pretrained;
use rekindle::trainer::feed::Feed;
use rekindle::trainer::{Predictor, RunDirectory, eval_pipeline};
use rekindle::transfer::Classifier;
use serde_json::json;

type Failure = Box<dyn std::error::Error>;

/// Names the class of images, with its probability.
#[derive(Debug, Parser)]
struct Arguments {
    /// A run directory, or a file of weights
    model: PathBuf,
    /// Images, or folders of images
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// How many classes to name for each image
    #[arg(long, default_value_t = 1)]
    top: usize,
    /// One JSON object an image
    #[arg(long)]
    json: bool,
    /// cpu, wgpu, cuda, cuda:N or ndarray
    #[arg(long, default_value_t = DeviceName::Cpu)]
    device: DeviceName,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// False where an image could not be read.
fn run(arguments: &Arguments) -> Result<bool, Failure> {
    let device = arguments.device.open()?;
    let weights = if arguments.model.is_dir() {
        RunDirectory::open(&arguments.model)?.best_weights_path()
    } else {
        arguments.model.clone()
    };
    let pretrained = Pretrained::open(weights, &device)?;
    let samples = samples(&arguments.images)?;
    let folder = ImageFolder::from_samples(Path::new("."), Vec::new(), samples)?;
    let dataset = ImageDataset::new(&folder, eval_pipeline(&pretrained.preprocess))?;
    let classes = pretrained.classes.clone();
    let classifier = Classifier::from_resnet(pretrained.model)
        .ok_or("these weights have no classifier: train one first, or extract features")?;
    let predictor = Predictor::new(&classifier);
    let name = |class: usize| match &classes {
        Some(classes) => classes.get(class).cloned().unwrap_or_default(),
        None => format!("class {class}"),
    };

    let mut all_read = true;
    let loader = Loader::new(dataset)
        .batch_size(16)
        .on_bad_file(OnBadFile::Skip);
    for batch in Feed::Images(loader).epoch(0, &device) {
        let batch = batch?;
        for skipped in &batch.skipped {
            all_read = false;
            eprintln!("left out: {}", skipped.reason);
        }
        if batch.indices.is_empty() {
            continue;
        }
        let logits = predictor.logits(&batch)?;
        let [_, count] = logits.dims();
        let probabilities: Vec<f32> = softmax(logits, 1).into_data().iter::<f32>().collect();
        for (index, row) in batch.indices.iter().zip(probabilities.chunks_exact(count)) {
            let path = folder.samples()[*index].path.display();
            let mut order: Vec<usize> = (0..count).collect();
            order.sort_by(|a, b| row[*b].total_cmp(&row[*a]));
            let top = &order[..arguments.top.clamp(1, count)];
            if arguments.json {
                let classes: Vec<_> = top
                    .iter()
                    .map(|class| json!({"class": name(*class), "probability": row[*class]}))
                    .collect();
                println!(
                    "{}",
                    json!({"path": path.to_string(), "predictions": classes})
                );
            } else {
                let named = top
                    .iter()
                    .map(|class| format!("{} {:.3}", name(*class), row[*class]));
                println!("{path}: {}", named.collect::<Vec<_>>().join(", "));
            }
        }
    }
    Ok(all_read)
}

/// Every image that is named or lies in a named folder.
fn samples(paths: &[PathBuf]) -> Result<Vec<Sample>, Failure> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            let folder = ImageFolder::open_any(path)?;
            found.extend(folder.samples().iter().map(|sample| sample.path.clone()));
        } else {
            found.push(path.clone());
        }
    }
    Ok(found
        .into_iter()
        .map(|path| Sample { path, label: None })
        .collect())
}
