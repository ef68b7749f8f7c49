//! Features or logits of every image in a folder, as safetensors for whatever comes next.
//!
//! ```text
//! cargo run --release --example extract_features -- --weights resnet18-f37072fd.pth --data photos --out features.safetensors
//! ```
//!
//! The file holds `features` or `logits` `[N, D]` (f32) and `labels` `[N]` (i64, -1 without classes) in sorted
//! path order; its metadata has `paths` and `classes` as JSON lists, and how the numbers were made.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use burn::tensor::Device;
use clap::{Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use rekindle::device::DeviceName;
use rekindle::imagefolder::{ImageDataset, ImageFolder, Loader, OnBadFile};
use rekindle::resnet::Pretrained;
use rekindle::trainer::eval_pipeline;
use rekindle::trainer::feed::Feed;
use rekindle::transfer::{Backbone, FrozenPrefix};
use safetensors::tensor::{Dtype, TensorView};

type Failure = Box<dyn std::error::Error>;

/// Writes what a pretrained ResNet says of every image in a folder.
#[derive(Debug, Parser)]
struct Arguments {
    /// Refuse weights of any other architecture, such as resnet18
    #[arg(long)]
    arch: Option<String>,
    /// Weights: .pth, .safetensors or burnpack
    #[arg(long)]
    weights: PathBuf,
    /// Folder with one folder a class, or with images
    #[arg(long)]
    data: PathBuf,
    /// The safetensors file to write
    #[arg(long)]
    out: PathBuf,
    /// Pooled features or the classifier's logits
    #[arg(long, value_enum, default_value_t = Layer::Features)]
    layer: Layer,
    /// Images that go through the network together
    #[arg(long, default_value_t = 16)]
    batch: usize,
    /// cpu, wgpu, cuda, cuda:N or ndarray
    #[arg(long, default_value_t = DeviceName::Cpu)]
    device: DeviceName,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Layer {
    Features,
    Logits,
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
    let device = arguments.device.open()?;
    let pretrained = Pretrained::open(&arguments.weights, &device)?;
    if let Some(arch) = &arguments.arch
        && *arch != pretrained.architecture
    {
        return Err(format!(
            "{} holds a {}, not a {arch}; leave --arch out or give other weights",
            arguments.weights.display(),
            pretrained.architecture
        )
        .into());
    }
    let folder = ImageFolder::open_any(&arguments.data)?;
    let table = extract(arguments, &pretrained, &folder, &device)?;
    write(arguments, &pretrained, &folder, &table)?;
    println!(
        "{} x {} {:?} of {} to {}",
        table.labels.len(),
        table.width(),
        arguments.layer,
        arguments.data.display(),
        arguments.out.display()
    );
    Ok(())
}

/// One row an image, in the folder's order.
struct Table {
    values: Vec<f32>,
    labels: Vec<i64>,
    paths: Vec<PathBuf>,
}

impl Table {
    fn width(&self) -> usize {
        self.values.len() / self.labels.len().max(1)
    }
}

fn extract(
    arguments: &Arguments,
    pretrained: &Pretrained,
    folder: &ImageFolder,
    device: &Device,
) -> Result<Table, Failure> {
    let model = &pretrained.model;
    let stages = model.stage_names().len();
    let prefix = FrozenPrefix::new(model, stages);
    let dataset = ImageDataset::new(folder, eval_pipeline(&pretrained.preprocess))?;
    let loader = Loader::new(dataset)
        .batch_size(arguments.batch)
        .on_bad_file(OnBadFile::Skip);
    let bar = ProgressBar::new(folder.len() as u64).with_style(ProgressStyle::with_template(
        "{bar:30} {pos}/{len} images, {per_sec}, {eta} left",
    )?);
    let mut table = Table {
        values: Vec::new(),
        labels: Vec::new(),
        paths: Vec::new(),
    };
    for batch in Feed::Images(loader).epoch(0, device) {
        let batch = batch?;
        for skipped in &batch.skipped {
            bar.println(format!("left out: {}", skipped.reason));
        }
        bar.inc((batch.indices.len() + batch.skipped.len()) as u64);
        if batch.indices.is_empty() {
            continue;
        }
        let pooled = prefix.forward(batch.x)?;
        let rows = match (arguments.layer, &model.fc) {
            (Layer::Features, _) => pooled.flatten::<2>(1, 3),
            (Layer::Logits, Some(head)) => head.forward(pooled.flatten::<2>(1, 3)),
            (Layer::Logits, None) => {
                return Err("the weights have no classifier; use --layer features".into());
            }
        };
        table.values.extend(rows.into_data().iter::<f32>());
        for index in batch.indices {
            let sample = &folder.samples()[index];
            table
                .labels
                .push(sample.label.map_or(-1, |label| label as i64));
            table.paths.push(sample.path.clone());
        }
    }
    bar.finish_and_clear();
    if table.labels.is_empty() {
        return Err(format!(
            "{} holds no image that can be read",
            arguments.data.display()
        )
        .into());
    }
    Ok(table)
}

fn write(
    arguments: &Arguments,
    pretrained: &Pretrained,
    folder: &ImageFolder,
    table: &Table,
) -> Result<(), Failure> {
    let values: Vec<u8> = table.values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let labels: Vec<u8> = table.labels.iter().flat_map(|v| v.to_le_bytes()).collect();
    let count = table.labels.len();
    let name = match arguments.layer {
        Layer::Features => "features",
        Layer::Logits => "logits",
    };
    let relative = |path: &PathBuf| {
        let path: &Path = path.strip_prefix(folder.root()).unwrap_or(path);
        path.display().to_string()
    };
    let paths: Vec<String> = table.paths.iter().map(relative).collect();
    let metadata = HashMap::from([
        ("paths".to_string(), serde_json::to_string(&paths)?),
        (
            "classes".to_string(),
            serde_json::to_string(folder.classes())?,
        ),
        ("architecture".to_string(), pretrained.architecture.clone()),
        ("weights_sha256".to_string(), pretrained.sha256.clone()),
        (
            "preprocess".to_string(),
            serde_json::to_string(&pretrained.preprocess)?,
        ),
    ]);
    let tensors = [
        (
            name,
            TensorView::new(Dtype::F32, vec![count, table.width()], &values)?,
        ),
        ("labels", TensorView::new(Dtype::I64, vec![count], &labels)?),
    ];
    let bytes = safetensors::serialize(tensors, Some(metadata))?;
    rekindle::trainer::atomic_write(&arguments.out, |file| {
        std::io::Write::write_all(file, &bytes)?;
        Ok(())
    })?;
    Ok(())
}
