//! Options of the commands that ask a model.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use rekindle::device::DeviceName;

use super::Part;
use crate::tables::Table;
use crate::values::{count, coverage, rejected, words};

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
