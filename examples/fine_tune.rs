//! A classifier for a folder of images in one call.
//!
//! ```text
//! cargo run --release --example fine_tune -- --data hymenoptera --weights resnet18-f37072fd.pth --out ants-bees.safetensors
//! ```

#[path = "common/outcome.rs"]
mod outcome;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use rekindle::device::DeviceName;
use rekindle::trainer::{Fit, Progress, ProgressMode, TestViews, TrainerError};
use serde_json::json;

/// Adapts a pretrained network to a folder of images.
#[derive(Debug, Parser)]
struct Arguments {
    /// Folder of images: `train` and `val` with one folder per class each, or one folder per class
    #[arg(long)]
    data: PathBuf,
    /// Weights: .pth, .safetensors or burnpack
    #[arg(long)]
    weights: PathBuf,
    /// Time from the start to the result
    #[arg(long, default_value_t = 2.0, value_parser = minutes)]
    minutes: f64,
    /// File to write the adapted network to
    #[arg(long)]
    out: Option<PathBuf>,
    /// Views of each validation image that it is measured in as well, beside the plain one
    #[arg(long, value_enum, default_value_t = Views::Plain)]
    views: Views,
    /// Folder that keeps features for later calls
    #[arg(long)]
    cache: Option<PathBuf>,
    /// Seed of the cross-validation, and of the split where the folder has none
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// cpu, wgpu, cuda, cuda:N or ndarray
    #[arg(long, default_value_t = DeviceName::Cpu)]
    device: DeviceName,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Views {
    Plain,
    Flip,
    FlipAndScale,
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes = text.parse().unwrap_or(0.0);
    match minutes > 0.0 && minutes <= 1e5 {
        true => Ok(minutes),
        false => Err("expected a number of minutes above 0".into()),
    }
}

fn main() -> ExitCode {
    outcome::exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let views = match arguments.views {
        Views::Plain => TestViews::Plain,
        Views::Flip => TestViews::Flip,
        Views::FlipAndScale => TestViews::FlipAndScale,
    };
    let mut recipe = Fit::new(&arguments.device.open()?)
        .budget(Duration::from_secs_f64(60.0 * arguments.minutes))
        .test_views(views)
        .seed(arguments.seed)
        .observer(Progress::new(ProgressMode::Auto));
    if let Some(folder) = &arguments.cache {
        recipe = recipe.cache(folder);
    }
    let tuned = recipe.run(&arguments.data, &arguments.weights)?;
    if let Some(path) = &arguments.out {
        tuned
            .save(path)
            .map_err(|error: TrainerError| error.to_string())?;
        eprintln!("{}", path.display());
    }
    if arguments.json {
        let result = json!({
            "accuracy": tuned.accuracy(), "accuracy_in_views": tuned.accuracy_in_views(),
            "val_images": tuned.predictions.labels.len(), "penalty": tuned.probe.chosen().penalty,
            "classes": tuned.classes, "seed": arguments.seed, "seconds": tuned.seconds,
        });
        println!("{result}");
    } else {
        let beside = tuned
            .accuracy_in_views()
            .map_or_else(String::new, |accuracy| {
                format!(" ({accuracy:.3} in {} views)", views.count())
            });
        println!(
            "accuracy {:.3} on {} validation images{beside}, {:.1} s",
            tuned.accuracy(),
            tuned.predictions.labels.len(),
            tuned.seconds
        );
    }
    Ok(())
}
