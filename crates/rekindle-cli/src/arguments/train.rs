//! Options of the commands that train.

use std::path::PathBuf;

use clap::Args;
use rekindle::device::DeviceName;
use rekindle::transfer::tuning::STRATEGY_NAMES;
use rekindle::transfer::{Strategy, TransferError};

use super::{Candidates, Depth, Recipe, View, Weights};
use crate::tables::Table;
use crate::values::{count, minutes, seed, words};

/// Minutes of `fit`, where none are given.
pub const MINUTES: f64 = 2.0;

#[derive(Debug, Args)]
pub struct Fit {
    /// Folder with a training and a validation part (train and val, Training and Testing, ...) and in each one folder per
    /// class, or with one folder per class; or a table of pictures and labels
    #[arg(required_unless_present = "table")]
    pub data: Option<PathBuf>,
    #[command(flatten)]
    pub table: Table,
    /// Time from the start to the saved file: probes on frozen features take seconds, the rest goes into training where
    /// held-out images show that it pays [default: 2; with --resume what an interrupted search left]
    #[arg(long, value_name = "N", value_parser = minutes, allow_negative_numbers = true)]
    pub minutes: Option<f64>,
    #[command(flatten)]
    pub weights: Candidates,
    #[command(flatten)]
    pub depth: Depth,
    #[command(flatten)]
    pub view: View,
    /// Leaves the network as it is published but for its head's classes, so that its file is one of weights for torchvision or timm;
    /// else a convolutional network may get features of two levels, and several networks may stand side by side
    #[arg(long)]
    pub keep_architecture: bool,
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
    /// Goes on with the search in --out that was interrupted
    #[arg(long, requires = "out")]
    pub resume: bool,
    /// Resumes also where labels, classes or the list of pictures are not those that the search began with
    #[arg(long, requires = "resume")]
    pub accept_changed_data: bool,
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
    /// l2-sp[=STRENGTH], delta[=STRENGTH], bitfit[=RATE], batch-norm-only[=RATE], fixed-statistics[=RATE], scratch [default: what `fit`
    /// finds; with --resume those of the runs in --out; features with options of training, --from or --tensorboard; one-call with
    /// --folds alone]
    #[arg(long, short, value_name = "NAME,..", value_delimiter = ',')]
    pub strategy: Vec<Method>,
    /// Time from the start to the saved file, as of `fit` [default: 2]
    #[arg(long, value_name = "N", value_parser = minutes, conflicts_with_all = ["strategy", "folds", "resume", "from"], allow_negative_numbers = true)]
    pub minutes: Option<f64>,
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
    /// Leaves the network as it is published but for its head's classes, so that its file is one of weights for torchvision or timm;
    /// else a convolutional network may get features of two levels. For one-call and what `fit` finds
    #[arg(long)]
    pub keep_architecture: bool,
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
pub(super) fn trained_strategy(text: &str) -> Result<Strategy, String> {
    match text {
        "one-call" => Err("it trains without a learning rate, so there is none to find".into()),
        _ => strategy(text, &[]),
    }
}
