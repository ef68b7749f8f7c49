//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use rekindle::device::DeviceName;
use rekindle::imagefolder::Shard;
use rekindle::transfer::Strategy;

mod answers;
mod elsewhere;
mod recipe;
mod train;
mod weights;

pub use answers::{Asked, Evaluate, Predict, Views, ViewsOrFile, Words};
pub use elsewhere::pointed_out;
pub use recipe::{Augment, Figure, Optimizer, Recipe, Resize, ScheduleName, View};
use train::trained_strategy;
pub use train::{Fit, MINUTES, Method, Train};
pub use weights::{Candidates, Depth, Part, Weights};

use crate::tables::Table;
use crate::values::{count, rate, seed, words};

const EXIT_STATUS: &str = "\
Exit status:
  0    everything asked for was done
  1    something failed: a file, weights, the network
  2    the command line or the recipe can't be followed
  3    the images have problems: unreadable files, leaks
       between training and validation, unknown classes
  130  interrupted; what is needed to go on is saved

Standard output has the results, standard error the rest.";

/// Transfer learning for images: adapt a network trained on ImageNet to classes of your own.
#[derive(Debug, Parser)]
#[command(name = "rekindle", version, after_help = EXIT_STATUS, propagate_version = true)]
pub struct Arguments {
    #[command(flatten)]
    pub output: Output,
    #[command(subcommand)]
    pub command: Command,
}

/// Form of results and progress.
#[derive(Clone, Copy, Debug, Args)]
pub struct Output {
    /// Prints results as JSON: one object, or one per line where there are many
    #[arg(long, global = true)]
    pub json: bool,
    /// Shows no progress
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lists the networks that --arch knows, with their published weights
    Models(Models),
    /// Decodes every image of a folder and lists bad files, duplicates and leaks
    Verify(Verify),
    /// Looks for wrong labels, copies, leaks, outliers and bad pictures, and writes a page that shows them
    Audit(Audit),
    /// Recommends weights and a strategy for a folder of images, with what to expect
    Advise(Advise),
    /// Makes the best classifier for a folder of images that the given minutes can buy
    Fit(Fit),
    /// Trains classifiers for a folder of images, one per strategy, and writes a report; without a strategy as fit does
    Train(Box<Train>),
    /// Names the class of images, or their labels or number
    Predict(Predict),
    /// Measures a model on labelled images
    Evaluate(Evaluate),
    /// Finds a good learning rate by a range test
    LrFind(LrFind),
    /// Writes a model in another format
    Export(Export),
    /// Lets a trained model tell pictures of none of its classes
    Reject(Reject),
    /// Writes a report of one run, or of several side by side
    Report(Report),
    /// Writes features or logits of every image in a folder to a table
    Features(Features),
    /// Joins the features that several processes kept with --cache
    MergeCaches(MergeCaches),
    /// Names the pictures of a folder that look most like others
    Similar(Similar),
    /// Prints a completion script for a shell
    Completions(Completions),
}

#[derive(Debug, Args)]
pub struct Models {
    /// Lists only names with this in it, such as efficientnet
    #[arg(long, value_name = "WORD", value_parser = words)]
    pub search: Option<String>,
    /// Measures how many images per second each classifies on this machine; takes some seconds per network
    #[arg(long)]
    pub measure: bool,
    /// Device to measure on: cpu, wgpu, cuda, cuda:N or ndarray
    #[arg(long, default_value_t = DeviceName::Cpu, requires = "measure")]
    pub device: DeviceName,
}

#[derive(Debug, Args)]
pub struct Verify {
    /// Folder with a training and a validation part under any usual names, or with one folder per class; or a table
    #[arg(required_unless_present = "table")]
    pub data: Option<PathBuf>,
    #[command(flatten)]
    pub table: Table,
    #[command(flatten)]
    pub depth: Depth,
}

#[derive(Debug, Args)]
pub struct Audit {
    /// Folder with a training and a validation part under any usual names, with one folder per class, or with images; all are
    /// looked at, and nothing in it is changed
    pub data: PathBuf,
    #[command(flatten)]
    pub weights: Weights,
    /// The page to write
    #[arg(long, short, value_name = "FILE", default_value = "audit.html")]
    pub out: PathBuf,
    /// List of everything that is found, as comma-separated values [default: the page's name with .csv]
    #[arg(long, value_name = "FILE")]
    pub list: Option<PathBuf>,
    #[command(flatten)]
    pub looking: Looking,
}

/// How images go through a network whose features are compared.
#[derive(Debug, Args)]
pub struct Looking {
    /// Folder that keeps features for later calls
    #[arg(long, value_name = "FOLDER")]
    pub cache: Option<PathBuf>,
    /// Threads that decode images for the network
    #[arg(long, default_value_t = 2, value_parser = count::<0, 256>, allow_negative_numbers = true)]
    pub workers: usize,
    /// cpu, wgpu, cuda, cuda:N or ndarray
    #[arg(long, default_value_t = DeviceName::Cpu)]
    pub device: DeviceName,
}

#[derive(Debug, Args)]
pub struct Advise {
    /// Folder with one folder per class, or one with a training part, of which that is looked at; or a table
    #[arg(required_unless_present = "table")]
    pub data: Option<PathBuf>,
    #[command(flatten)]
    pub table: Table,
    #[command(flatten)]
    pub weights: Candidates,
    /// Folder that keeps features for later calls
    #[arg(long, value_name = "FOLDER")]
    pub cache: Option<PathBuf>,
    /// Seed of the cross-validation
    #[arg(long, default_value_t = 0, value_parser = seed, allow_negative_numbers = true)]
    pub seed: u64,
    /// cpu, wgpu, cuda, cuda:N or ndarray
    #[arg(long, default_value_t = DeviceName::Cpu)]
    pub device: DeviceName,
}

#[derive(Debug, Args)]
pub struct LrFind {
    /// Folder with a training and a validation part, or with one folder per class; or a table
    #[arg(required_unless_present = "table")]
    pub data: Option<PathBuf>,
    #[command(flatten)]
    pub table: Table,
    #[command(flatten)]
    pub weights: Weights,
    /// One of the strategies of `train`, except one-call
    #[arg(long, short, value_name = "NAME", default_value = "finetune", value_parser = trained_strategy)]
    pub strategy: Strategy,
    /// Lowest rate
    #[arg(long, default_value_t = 1e-6, value_parser = rate, allow_negative_numbers = true)]
    pub from: f64,
    /// Highest rate
    #[arg(long, default_value_t = 1.0, value_parser = rate, allow_negative_numbers = true)]
    pub to: f64,
    /// Most batches
    #[arg(long, default_value_t = 100, value_parser = count::<3, 100_000>, allow_negative_numbers = true)]
    pub steps: usize,
    /// Images per batch
    #[arg(long, default_value_t = 16, value_parser = count::<1, 65_536>, allow_negative_numbers = true)]
    pub batch: usize,
    /// Seed of everything random
    #[arg(long, default_value_t = 0, value_parser = seed, allow_negative_numbers = true)]
    pub seed: u64,
    /// cpu, wgpu, cuda, cuda:N or ndarray
    #[arg(long, default_value_t = DeviceName::Cpu)]
    pub device: DeviceName,
}

#[derive(Debug, Args)]
pub struct Export {
    /// A run directory, or a file of weights
    pub model: PathBuf,
    #[command(flatten)]
    pub part: Part,
    /// The file to write
    #[arg(long, short)]
    pub out: PathBuf,
    /// The format [default: by the ending of --out]
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// ONNX that takes decoded pictures of any size as bytes and gives probabilities, or numbers in their own units: resizing,
    /// cropping and normalising are inside
    #[arg(long)]
    pub with_preprocessing: bool,
    /// Divides logits by the temperature that training fitted and left in the file, as predict --calibrated does
    #[arg(long, requires = "with_preprocessing")]
    pub calibrated: bool,
    /// ONNX in eight bits, which onnxruntime computes in integers: a quarter of the size. Ranges are measured on up to 64
    /// training images, and what rounding costs is measured on the validation images
    #[arg(long)]
    pub quantize: bool,
    /// Folder or table of the images for --quantize [default: those that the run was trained on]
    #[arg(long, value_name = "DATA", requires = "quantize")]
    pub data: Option<PathBuf>,
    /// Writes README.md beside the file: a model card as the Hugging Face hub reads it, with the run's figures, the classes
    /// and how to load the file
    #[arg(long)]
    pub model_card: bool,
    /// The license that the card names, as the hub calls it (mit, apache-2.0) [default: unknown]
    #[arg(long, value_name = "LICENSE", requires = "model_card", value_parser = words)]
    pub license: Option<String>,
}

/// Formats that `export` writes; all carry class names, preprocessing and provenance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The published names, 32-bit floats; PyTorch loads it with strict=True
    Safetensors,
    /// The same in 16-bit floats
    SafetensorsF16,
    /// Burn's own format
    Burnpack,
    /// For onnxruntime and others, operator set 17
    Onnx,
}

impl Format {
    /// The name that `--format` takes.
    pub fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_string())
    }
}

#[derive(Debug, Args)]
pub struct Reject {
    /// The run directory of the model, whose best weights are given what tells unknown classes; the weights stay as they are
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// Folder of the images that it was trained on, if they have moved since
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// cpu, wgpu, cuda, cuda:N or ndarray
    #[arg(long, default_value_t = DeviceName::Cpu)]
    pub device: DeviceName,
}

#[derive(Debug, Args)]
pub struct Report {
    /// Run directories, or folders that hold some
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// The page to write
    #[arg(long, short, default_value = "report.html")]
    pub out: PathBuf,
    /// Folder for report.json and every figure as a file of its own (SVG, PNG, JPEG)
    #[arg(long, value_name = "FOLDER")]
    pub images: Option<PathBuf>,
    /// Folder of the images, if they have moved since
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// cpu, wgpu, cuda, cuda:N or ndarray
    #[arg(long, default_value_t = DeviceName::Cpu)]
    pub device: DeviceName,
}

#[derive(Debug, Args)]
pub struct Features {
    /// Folder with one folder per class, with parts of these (all are taken), or with images; or a table
    #[arg(required_unless_present = "table")]
    pub data: Option<PathBuf>,
    #[command(flatten)]
    pub table: Table,
    #[command(flatten)]
    pub weights: Weights,
    /// The safetensors file to write
    #[arg(
        long,
        short,
        required_unless_present = "shard",
        conflicts_with = "shard"
    )]
    pub out: Option<PathBuf>,
    /// Pooled features or the classifier's logits [default: pooled]
    #[arg(long, value_enum, conflicts_with = "shard")]
    pub layer: Option<Layer>,
    /// Computes in eight bits: faster, and a little off
    #[arg(long)]
    pub quantize: bool,
    /// Takes one of N parts of the images, from 0/N to (N - 1)/N, and leaves their features in --cache in place of a table. The
    /// part of an image depends on its path alone
    #[arg(long, value_name = "I/N", requires = "cache")]
    pub shard: Option<Shard>,
    /// Leaves nothing but the network's own features, of a quarter of the size, for fit --keep-architecture, audit and similar
    #[arg(long, requires = "shard", conflicts_with = "quantize")]
    pub keep_architecture: bool,
    #[command(flatten)]
    pub looking: Looking,
}

#[derive(Debug, Args)]
pub struct MergeCaches {
    /// Folders that --cache filled, here or on other machines; they stay as they are
    #[arg(required = true, value_name = "CACHE")]
    pub caches: Vec<PathBuf>,
    /// Folder of the merged cache; what it holds already stays
    #[arg(long, short, value_name = "FOLDER")]
    pub out: PathBuf,
}

#[derive(Debug, Args)]
pub struct Similar {
    /// Folder to search, with one folder per class, with parts of these (all are taken), or with images; or a table
    pub index: PathBuf,
    /// Images to find others for, or folders of such
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<PathBuf>,
    #[command(flatten)]
    pub weights: Weights,
    /// Number of pictures to name for each image
    #[arg(long, default_value_t = 5, value_parser = count::<1, 1_000_000>, allow_negative_numbers = true)]
    pub top: usize,
    #[command(flatten)]
    pub looking: Looking,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Layer {
    Pooled,
    Logits,
}

#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    pub shell: Shell,
}
