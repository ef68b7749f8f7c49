//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use rekindle::device::DeviceName;
use rekindle::transfer::Strategy;

const EXIT_STATUS: &str = "\
Exit status:
    0  everything asked for was done
    1  something failed; standard error says what
    2  the command line can't be followed
    3  the images have problems: unreadable files, leaks between training and validation, classes that don't fit
  130  interrupted by Ctrl-C; what is needed to go on was saved

Results go to standard output, everything else to standard error.";

/// Transfer learning for images: adapt a network trained on ImageNet to classes of your own.
#[derive(Debug, Parser)]
#[command(name = "rekindle", version, after_help = EXIT_STATUS, propagate_version = true)]
pub struct Arguments {
    #[command(flatten)]
    pub output: Output,
    #[command(subcommand)]
    pub command: Command,
}

/// How results and progress are shown.
#[derive(Clone, Copy, Debug, Args)]
pub struct Output {
    /// Prints results as JSON: one object, or one a line where there are many
    #[arg(long, global = true)]
    pub json: bool,
    /// Shows no progress
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Decodes every image of a folder and lists bad files, duplicates and leaks
    Verify(Verify),
    /// Says which weights suit a folder of images, how to adapt them, and what to expect
    Advise(Advise),
    /// Trains classifiers for a folder of images, one a strategy, and writes a report
    Train(Box<Train>),
    /// Names the class of images
    Predict(Predict),
    /// Measures a model on labelled images
    Evaluate(Evaluate),
    /// Finds a good learning rate by a range test
    LrFind(LrFind),
    /// Writes a model in another format
    Export(Export),
    /// Writes a report of one run, or of several side by side
    Report(Report),
    /// Writes what a network says of every image in a folder
    Features(Features),
    /// Prints a completion script for a shell
    Completions(Completions),
}

/// Which network of a file is meant, where the file holds several.
#[derive(Clone, Debug, Default, Args)]
pub struct Part {
    /// Entry of the file of weights that holds the network, where several do: state_dict, teacher, model_ema
    #[arg(long, value_name = "KEY")]
    pub weights_key: Option<String>,
    /// Beginning of the network's names in the file, where several networks fit: module.encoder_k
    #[arg(long, value_name = "PREFIX")]
    pub weights_prefix: Option<String>,
}

/// Where a run begins.
#[derive(Clone, Debug, Args)]
pub struct Weights {
    /// Weights of a ResNet: .pth, .safetensors or burnpack
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// One of torchvision's networks, downloaded once: NAME or NAME.ENTRY, such as resnet50.IMAGENET1K_V2
    #[arg(
        long,
        value_name = "NAME",
        default_value = "resnet18",
        conflicts_with = "weights"
    )]
    pub arch: String,
    #[command(flatten)]
    pub part: Part,
}

#[derive(Debug, Args)]
pub struct Verify {
    /// Folder with a training and a validation part under any usual names, or with one folder per class
    pub data: PathBuf,
}

/// Networks to choose from.
#[derive(Clone, Debug, Args)]
pub struct Candidates {
    /// Files of weights: .pth, .safetensors or burnpack
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub weights: Vec<PathBuf>,
    /// torchvision's networks, downloaded once: NAME or NAME.ENTRY [default without files: resnet18]
    #[arg(long, value_name = "NAME", num_args = 1..)]
    pub arch: Vec<String>,
    #[command(flatten)]
    pub part: Part,
}

#[derive(Debug, Args)]
pub struct Advise {
    /// Folder with one folder per class, or one with a training part, of which that is looked at
    pub data: PathBuf,
    #[command(flatten)]
    pub weights: Candidates,
    /// Folder that keeps features for later calls
    #[arg(long, value_name = "FOLDER")]
    pub cache: Option<PathBuf>,
    /// Seed of the cross-validation
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// cpu, wgpu, cuda, cuda:N or ndarray
    #[arg(long, default_value_t = DeviceName::Cpu)]
    pub device: DeviceName,
}

#[derive(Debug, Args)]
pub struct Train {
    /// Folder with a training and a validation part (train and val, Training and Testing, ...) and in each one folder per
    /// class, or with one folder per class
    pub data: PathBuf,
    #[command(flatten)]
    pub weights: Weights,
    /// What is frozen and how fast the rest learns, one or several: one-call, features, finetune[=RATE],
    /// freeze-up-to=STAGE, gradual-unfreezing[=EPOCHS], discriminative-rates[=DECAY], lp-ft[=EPOCHS],
    /// l2-sp[=STRENGTH], delta[=STRENGTH], bitfit[=RATE], batch-norm-only[=RATE], scratch
    #[arg(
        long,
        short,
        value_name = "NAME,..",
        value_delimiter = ',',
        default_value = "features"
    )]
    pub strategy: Vec<Way>,
    #[command(flatten)]
    pub recipe: Recipe,
    /// cpu, wgpu, cuda, cuda:N or ndarray
    #[arg(long, default_value_t = DeviceName::Cpu)]
    pub device: DeviceName,
    /// Folder for the runs and report.html [default: runs/ and the data's name, or the first of NAME-2, NAME-3, ...
    /// that is free]
    #[arg(long, short)]
    pub out: Option<PathBuf>,
    /// Goes on with the interrupted runs in --out
    #[arg(long, requires = "out")]
    pub resume: bool,
    /// What to call the runs
    #[arg(long)]
    pub title: Option<String>,
}

/// What `--strategy` takes.
#[derive(Clone, Debug, PartialEq)]
pub enum Way {
    /// A cross-validated head on cached features, which begins with the source's rows: seconds.
    OneCall,
    /// Training by a strategy.
    Strategy(Strategy),
}

impl std::str::FromStr for Way {
    type Err = rekindle::transfer::TransferError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "one-call" => Ok(Way::OneCall),
            _ => text.parse().map(Way::Strategy),
        }
    }
}

/// How to train. What is not given is as in the recipe's file, or as in PyTorch's tutorial.
#[derive(Clone, Debug, Args)]
pub struct Recipe {
    /// JSON file with a recipe, such as the `recipe` of a run.json; the options below go before it
    #[arg(long, value_name = "FILE")]
    pub recipe: Option<PathBuf>,
    /// Passes over the training images [default: 25]
    #[arg(long)]
    pub epochs: Option<usize>,
    /// Images a batch [default: 4]
    #[arg(long)]
    pub batch: Option<usize>,
    /// Base learning rate [default: 0.001]
    #[arg(long, value_name = "RATE")]
    pub learning_rate: Option<f64>,
    /// Seed of everything random [default: 0]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Views of each image whose features are kept while they are frozen: 1 the plain image, more add
    /// augmented ones, 0 augments anew in every epoch [default: 1]
    #[arg(long)]
    pub views: Option<usize>,
    /// Folder that keeps features for later runs [default: none, they live in memory]
    #[arg(long, value_name = "FOLDER")]
    pub cache: Option<PathBuf>,
    /// Share of the target that is spread over all classes [default: 0]
    #[arg(long, value_name = "SHARE")]
    pub label_smoothing: Option<f64>,
    /// Decay of the moving average of the weights that is validated and kept in their place, such as 0.99
    /// [default: none]
    #[arg(long, value_name = "DECAY")]
    pub moving_average: Option<f64>,
    /// Runs layers that stay frozen in eight bits: faster, and a little off
    #[arg(long)]
    pub quantize: bool,
    /// Stops after so many epochs without improvement
    #[arg(long, value_name = "EPOCHS")]
    pub patience: Option<usize>,
    /// Weighs each class by the inverse of its share
    #[arg(long)]
    pub balance_classes: bool,
    /// Threads that decode images [default: 2]
    #[arg(long)]
    pub workers: Option<usize>,
}

#[derive(Debug, Args)]
pub struct Predict {
    /// A run directory, or a file of weights with a classifier
    pub model: PathBuf,
    #[command(flatten)]
    pub part: Part,
    /// Images, or folders of images
    #[arg(required = true)]
    pub images: Vec<PathBuf>,
    /// How many classes to name for each image
    #[arg(long, default_value_t = 1)]
    pub top: usize,
    /// cpu, wgpu, cuda, cuda:N or ndarray
    #[arg(long, default_value_t = DeviceName::Cpu)]
    pub device: DeviceName,
}

#[derive(Debug, Args)]
pub struct Evaluate {
    /// A run directory, or a file of weights with a classifier
    pub model: PathBuf,
    #[command(flatten)]
    pub part: Part,
    /// Folder with one folder per class, or one with a validation part, of which that is taken
    pub data: PathBuf,
    /// cpu, wgpu, cuda, cuda:N or ndarray
    #[arg(long, default_value_t = DeviceName::Cpu)]
    pub device: DeviceName,
}

#[derive(Debug, Args)]
pub struct LrFind {
    /// Folder with a training and a validation part, or with one folder per class
    pub data: PathBuf,
    #[command(flatten)]
    pub weights: Weights,
    /// As of `train`, one
    #[arg(long, short, value_name = "NAME", default_value = "finetune")]
    pub strategy: Strategy,
    /// Lowest rate
    #[arg(long, default_value_t = 1e-6)]
    pub from: f64,
    /// Highest rate
    #[arg(long, default_value_t = 1.0)]
    pub to: f64,
    /// Batches at most
    #[arg(long, default_value_t = 100)]
    pub steps: usize,
    /// Images a batch
    #[arg(long, default_value_t = 16)]
    pub batch: usize,
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
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
}

/// What `export` writes; all carry class names, preprocessing and provenance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// torchvision's names, 32-bit floats; PyTorch loads it with strict=True
    Safetensors,
    /// The same in 16-bit floats
    SafetensorsF16,
    /// Burn's own format
    Burnpack,
    /// For onnxruntime and others, operator set 17
    Onnx,
}

#[derive(Debug, Args)]
pub struct Report {
    /// Run directories, or folders that hold some
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// The page to write
    #[arg(long, short, default_value = "report.html")]
    pub out: PathBuf,
    /// Folder for every figure as a file of its own (SVG, PNG, JPEG) and report.json
    #[arg(long, value_name = "FOLDER")]
    pub images: Option<PathBuf>,
    /// Where the images are, if they have moved since
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// cpu, wgpu, cuda, cuda:N or ndarray
    #[arg(long, default_value_t = DeviceName::Cpu)]
    pub device: DeviceName,
}

#[derive(Debug, Args)]
pub struct Features {
    /// Folder with one folder per class, with parts of these (all are taken), or with images
    pub data: PathBuf,
    #[command(flatten)]
    pub weights: Weights,
    /// The safetensors file to write
    #[arg(long, short)]
    pub out: PathBuf,
    /// Pooled features or the classifier's logits
    #[arg(long, value_enum, default_value_t = Layer::Pooled)]
    pub layer: Layer,
    /// Computes in eight bits: faster, and a little off
    #[arg(long)]
    pub quantize: bool,
    /// cpu, wgpu, cuda, cuda:N or ndarray
    #[arg(long, default_value_t = DeviceName::Cpu)]
    pub device: DeviceName,
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
