//! Features or logits of every image in a folder, as safetensors for whatever comes next.
//!
//! ```text
//! cargo run --release --example extract_features -- --weights resnet18-f37072fd.pth --data photos --out features.safetensors
//! ```
//!
//! The file holds `features` or `logits` `[N, D]` (f32) and `labels` `[N]` (i64, -1 without classes) in sorted
//! path order; its metadata has `paths` and `classes` as JSON lists, and how the numbers were made.

use std::error::Error;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use rekindle::device::DeviceName;
use rekindle::imagefolder::ImageFolder;
use rekindle::models::Pretrained;
use rekindle::trainer::{FeatureExtractor, FeatureLayer, Progress, ProgressMode};

/// Writes what a pretrained ResNet says of every image in a folder.
#[derive(Debug, Parser)]
struct Arguments {
    /// Weights: .pth, .safetensors or burnpack
    #[arg(long)]
    weights: PathBuf,
    /// Folder with one folder per class, or with images
    #[arg(long)]
    data: PathBuf,
    /// The safetensors file to write
    #[arg(long)]
    out: PathBuf,
    /// Pooled features or the classifier's logits
    #[arg(long, value_enum, default_value_t = Layer::Features)]
    layer: Layer,
    /// Computes in eight bits: faster on a CPU with VNNI, and a little off
    #[arg(long)]
    quantize: bool,
    /// cpu, wgpu, cuda, cuda:N or ndarray
    #[arg(long, default_value_t = DeviceName::Cpu)]
    device: DeviceName,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Layer {
    Features,
    Logits,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let device = arguments.device.open()?;
    let pretrained = Pretrained::open(&arguments.weights, &device)?;
    let folder = ImageFolder::open_any(&arguments.data)?;
    let layer = match arguments.layer {
        Layer::Features => FeatureLayer::Pooled,
        Layer::Logits => FeatureLayer::Logits,
    };
    let table = FeatureExtractor::new(&device)
        .layer(layer)
        .quantize(arguments.quantize)
        .observer(Progress::new(ProgressMode::Auto))
        .run(&pretrained, &folder)?;
    for skipped in &table.skipped {
        eprintln!("left out: {}", skipped.reason);
    }
    table.save(&arguments.out, &pretrained)?;
    println!(
        "{} x {} {:?} of {} to {}",
        table.labels.len(),
        table.width,
        arguments.layer,
        arguments.data.display(),
        arguments.out.display()
    );
    Ok(())
}
