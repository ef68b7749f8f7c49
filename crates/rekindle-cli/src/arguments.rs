//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use rekindle::device::DeviceName;
use rekindle::transfer::tuning::STRATEGY_NAMES;
use rekindle::transfer::{Strategy, TransferError};

mod recipe;

pub use recipe::{Augment, Figure, Optimizer, Recipe, Resize, ScheduleName, View};

use crate::tables::Table;
use crate::values::{count, coverage, minutes, rate, rejected, seed, words};

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
    /// Trains classifiers for a folder of images, one per strategy, and writes a report
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
    /// Names the pictures of a folder that look most like others
    Similar(Similar),
    /// Prints a completion script for a shell
    Completions(Completions),
}

/// Choice of a network, where a file holds several.
#[derive(Clone, Debug, Default, Args)]
pub struct Part {
    /// Entry of the file of weights that holds the network, where several do: state_dict, teacher, model_ema
    #[arg(long, value_name = "KEY")]
    pub weights_key: Option<String>,
    /// Beginning of the network's names in the file, where several networks fit: module.encoder_k
    #[arg(long, value_name = "PREFIX")]
    pub weights_prefix: Option<String>,
    /// Node of an ONNX file whose output are the features; what is behind it is left out
    #[arg(long, value_name = "NODE")]
    pub features_from: Option<String>,
}

/// Weights that a run begins with.
#[derive(Clone, Debug, Args)]
pub struct Weights {
    /// Weights of a network: a file (.pth, .safetensors, burnpack, .onnx), or a repository of the Hugging Face hub as
    /// hf:OWNER/NAME, hf:OWNER/NAME@REVISION or hf:OWNER/NAME@REVISION:FILE, downloaded once (HF_TOKEN for private ones)
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// A published network, downloaded once: NAME or NAME.WEIGHTS, such as mobilenet_v3_large or resnet50.IMAGENET1K_V2
    #[arg(
        long,
        value_name = "NAME",
        default_value = "resnet18",
        value_parser = words,
        conflicts_with = "weights"
    )]
    pub arch: String,
    #[command(flatten)]
    pub part: Part,
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

/// Networks to choose from.
#[derive(Clone, Debug, Args)]
pub struct Candidates {
    /// Files of weights (.pth, .safetensors, burnpack), or repositories of the Hugging Face hub as hf:OWNER/NAME
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub weights: Vec<PathBuf>,
    /// Published networks, downloaded once: NAME or NAME.WEIGHTS [default without files: resnet18]
    #[arg(long, value_name = "NAME", num_args = 1.., value_parser = words)]
    pub arch: Vec<String>,
    #[command(flatten)]
    pub part: Part,
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
pub struct Fit {
    /// Folder with a training and a validation part (train and val, Training and Testing, ...) and in each one folder per
    /// class, or with one folder per class; or a table of pictures and labels
    #[arg(required_unless_present = "table")]
    pub data: Option<PathBuf>,
    #[command(flatten)]
    pub table: Table,
    /// Time from the start to the saved file: probes on frozen features take seconds, the rest goes into training where
    /// held-out images show that it pays
    #[arg(long, value_name = "N", default_value_t = 2.0, value_parser = minutes, allow_negative_numbers = true)]
    pub minutes: f64,
    #[command(flatten)]
    pub weights: Candidates,
    #[command(flatten)]
    pub view: View,
    /// Folder that keeps features for later runs [default: none, they live in memory]
    #[arg(long, value_name = "FOLDER")]
    pub cache: Option<PathBuf>,
    /// Seed of everything random
    #[arg(long, default_value_t = 0, value_parser = seed, allow_negative_numbers = true)]
    pub seed: u64,
    /// Threads that decode images
    #[arg(long, default_value_t = 2, value_parser = count::<0, 256>, allow_negative_numbers = true)]
    pub workers: usize,
    /// cpu, wgpu, cuda, cuda:N or ndarray
    #[arg(long, default_value_t = DeviceName::Cpu)]
    pub device: DeviceName,
    /// Learns as well to tell pictures of none of the classes, for predict --reject; takes a pass over the images more than
    /// --minutes
    #[arg(long)]
    pub reject: bool,
    /// Folder for the run [default: runs/ and the data's name, or the first of NAME-2, NAME-3, ... that is free]
    #[arg(long, short)]
    pub out: Option<PathBuf>,
    /// Title of the run [default: the data's name]
    #[arg(long, value_parser = words)]
    pub title: Option<String>,
}

#[derive(Debug, Args)]
pub struct Train {
    /// Folder with a training and a validation part (train and val, Training and Testing, ...) and in each one folder per
    /// class, or with one folder per class; or a table of pictures and labels
    #[arg(required_unless_present = "table")]
    pub data: Option<PathBuf>,
    #[command(flatten)]
    pub table: Table,
    #[command(flatten)]
    pub weights: Weights,
    /// Goes on from a trained model: a run's folder or a file. Its head's rows are kept for the classes that DATA has too,
    /// and what became of these is measured
    #[arg(long, value_name = "MODEL", conflicts_with_all = ["weights", "arch", "weights_key", "weights_prefix", "features_from"])]
    pub from: Option<PathBuf>,
    /// Sets what is frozen and how fast the rest learns; one or several, with commas between: one-call, features,
    /// finetune[=RATE], freeze-up-to=STAGE, gradual-unfreezing[=EPOCHS], discriminative-rates[=DECAY], lp-ft[=EPOCHS],
    /// l2-sp[=STRENGTH], delta[=STRENGTH], bitfit[=RATE], batch-norm-only[=RATE], fixed-statistics[=RATE], scratch [default: features, or with
    /// --resume those of the runs in --out]
    #[arg(long, short, value_name = "NAME,..", value_delimiter = ',')]
    pub strategy: Vec<Method>,
    /// Cross-validates: splits the images to learn from into K folds, trains each strategy K times without one of them, and
    /// reports mean and spread. Classes are spread evenly; images of one group and near copies stay in one fold
    #[arg(long, value_name = "K", value_parser = count::<2, 100>, allow_negative_numbers = true)]
    pub folds: Option<usize>,
    /// Lets near copies of an image fall into other folds
    #[arg(long, requires = "folds")]
    pub split_copies: bool,
    #[command(flatten)]
    pub recipe: Recipe,
    #[command(flatten)]
    pub view: View,
    /// cpu, wgpu, cuda, cuda:N or ndarray
    #[arg(long, default_value_t = DeviceName::Cpu)]
    pub device: DeviceName,
    /// Folder for the runs and report.html [default: runs/ and the data's name, or the first of NAME-2, NAME-3, ...
    /// that is free]
    #[arg(long, short)]
    pub out: Option<PathBuf>,
    /// Goes on with the runs in --out that were interrupted, or with more --epochs with those that are done
    #[arg(long, requires = "out")]
    pub resume: bool,
    /// Resumes also where labels, classes or the list of pictures are not those that a run began with
    #[arg(long, requires = "resume")]
    pub accept_changed_data: bool,
    /// Writes figures of every epoch and batch for TensorBoard into the folder tensorboard beside the runs (tensorboard --logdir
    /// OUT/tensorboard)
    #[arg(long)]
    pub tensorboard: bool,
    /// Learns as well to tell pictures of none of the classes, for predict --reject; takes one more pass over the images
    #[arg(long, conflicts_with = "folds")]
    pub reject: bool,
    /// Title of the runs [default: the data's name]
    #[arg(long, value_parser = words)]
    pub title: Option<String>,
}

/// A value of `--strategy`.
#[derive(Clone, Debug, PartialEq)]
pub enum Method {
    /// The best of several cross-validated heads on frozen features, as `fit` begins: seconds.
    OneCall,
    /// Training by a strategy.
    Strategy(Strategy),
}

impl std::fmt::Display for Method {
    /// Writes the name of the run, from which it can be read back.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Method::OneCall => f.write_str("one-call"),
            Method::Strategy(strategy) => strategy.fmt(f),
        }
    }
}

impl std::str::FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "one-call" => Ok(Method::OneCall),
            _ => strategy(text, &["one-call"]).map(Method::Strategy),
        }
    }
}

/// Reads a strategy; where there is none of that name, `others` are listed before the known ones.
fn strategy(text: &str, others: &[&str]) -> Result<Strategy, String> {
    let error = match text.parse() {
        Ok(strategy) => return Ok(strategy),
        Err(error) => error,
    };
    let TransferError::UnknownStrategy { .. } = error else {
        return Err(error.to_string());
    };
    let known: Vec<&str> = others.iter().copied().chain(STRATEGY_NAMES).collect();
    let name = |form: &str| form.split(['[', '=']).next().unwrap_or(form).to_string();
    let wanted = name(text);
    let near = known
        .iter()
        .map(|form| name(form))
        .map(|known| (strsim::jaro_winkler(&known, &wanted), known))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness > 0.8);
    let hint = near.map_or_else(String::new, |(_, name)| format!("; did you mean {name}?"));
    Err(format!(
        "there is no such strategy{hint}\n  known: {}",
        known.join(", ")
    ))
}

/// Reads a strategy that trains with a learning rate.
fn trained_strategy(text: &str) -> Result<Strategy, String> {
    match text {
        "one-call" => Err("it trains without a learning rate, so there is none to find".into()),
        _ => strategy(text, &[]),
    }
}

/// What `--test-views` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Views {
    /// One, as the file's preprocessing says
    Plain,
    /// Two: plain and mirrored
    Flip,
    /// Four: plain and mirrored, each at two sizes; five times as slow
    FlipAndScale,
}

/// Values of `--views`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ViewsOrFile {
    /// One, as the file's preprocessing says
    Plain,
    /// Two: plain and mirrored
    Flip,
    /// Four: plain and mirrored, each at two sizes; five times as slow
    FlipAndScale,
    /// Those of `train --test-views`, which the file names; plain where it names none
    File,
}

/// Classes by words, of which no image has been seen.
#[derive(Clone, Debug, Args)]
pub struct Words {
    /// Classes as words or sentences, such as "a photo of an ant" "a photo of a bee": takes a CLIP in place of a model, and
    /// says which of them fits each image
    #[arg(
        long,
        value_name = "TEXT",
        num_args = 1..,
        conflicts_with_all = ["views", "calibrated", "coverage", "reject", "weights_key", "weights_prefix"]
    )]
    pub zero_shot: Vec<String>,
    /// Sentence around the words of --zero-shot, with {} in their place; of several, a class is the mean
    #[arg(long, value_name = "TEXT", requires = "zero_shot")]
    pub template: Vec<String>,
    /// The CLIP's weights: a file with both towers, or a repository of the Hugging Face hub as hf:OWNER/NAME
    #[arg(long, value_name = "FILE", requires = "zero_shot")]
    pub weights: Option<PathBuf>,
    /// A published CLIP, downloaded once; with --weights, a name that ends in -quickgelu says which activation the file needs
    #[arg(
        long,
        value_name = "NAME",
        default_value = "ViT-B-32",
        value_parser = words,
        requires = "zero_shot"
    )]
    pub arch: String,
    /// The CLIP's vocabulary: tokenizer.json, vocab.json beside merges.txt, or OpenAI's bpe_simple_vocab_16e6.txt.gz [default:
    /// the one beside the weights]
    #[arg(long, value_name = "FILE", requires = "zero_shot")]
    pub tokenizer: Option<PathBuf>,
}

/// Options for asking a model.
#[derive(Clone, Copy, Debug, Args)]
pub struct Asked {
    /// Views of each picture whose answers are averaged (test-time augmentation)
    #[arg(long, value_enum, value_name = "VIEWS", default_value_t = ViewsOrFile::Plain)]
    pub views: ViewsOrFile,
    /// Divides logits by the temperature that training fitted and left in the file, so that probabilities agree with
    /// the share of right answers; the most probable class stays
    #[arg(long)]
    pub calibrated: bool,
    /// Names a set of classes per image that holds the right one with this probability, such as 0.9: one class where the
    /// model is sure, several where it isn't, none where it fits no class as well as so many others do; of a number, an interval
    /// that holds it (conformal prediction, by the images that training validated on)
    #[arg(
        long,
        value_name = "SHARE",
        value_parser = coverage,
        allow_negative_numbers = true,
        conflicts_with = "calibrated"
    )]
    pub coverage: Option<f64>,
    /// Answers "unknown" where an image looks like none of the classes, by what `rekindle reject` left in the file. So many of the
    /// images of known classes may be rejected, 0.05 for 5 % [default with --reject alone: 0.05]
    #[arg(
        long,
        value_name = "SHARE",
        value_parser = rejected,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "0.05",
        allow_negative_numbers = true,
        conflicts_with = "coverage"
    )]
    pub reject: Option<f64>,
}

#[derive(Debug, Args)]
pub struct Predict {
    /// A run directory, or a file of weights with a classifier; left out with --zero-shot
    pub model: PathBuf,
    #[command(flatten)]
    pub part: Part,
    /// Images, or folders of images
    #[arg(required_unless_present = "zero_shot")]
    pub images: Vec<PathBuf>,
    #[command(flatten)]
    pub words: Words,
    /// Number of classes to name for each image [default: 1; of several labels, those that its thresholds give it]
    #[arg(
        long,
        value_parser = count::<1, 1_000_000>,
        allow_negative_numbers = true,
        conflicts_with = "coverage"
    )]
    pub top: Option<usize>,
    #[command(flatten)]
    pub asked: Asked,
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
    /// Folder with one folder per class, or one with a validation part, of which that is taken; or a table
    #[arg(required_unless_present = "table")]
    pub data: Option<PathBuf>,
    #[command(flatten)]
    pub table: Table,
    #[command(flatten)]
    pub asked: Asked,
    /// Folder of images of classes that the model doesn't know: measures how well --reject tells them
    #[arg(long, value_name = "FOLDER", requires = "reject")]
    pub unknown: Option<PathBuf>,
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

#[derive(Debug, Args)]
pub struct Similar {
    /// Folder to search, with one folder per class, with parts of these (all are taken), or with images
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
