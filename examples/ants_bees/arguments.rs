//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use rekindle::device::DeviceName;
use rekindle::transfer::Strategy;

/// PyTorch's transfer-learning tutorial in Rust: tell ants from bees with a network trained on ImageNet.
#[derive(Debug, Parser)]
pub struct Arguments {
    /// Folder of images: `train` and `val` with one folder per class each, or one folder per class
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// Weights of a network: .pth, .safetensors or burnpack [default: torchvision's ResNet-18]
    #[arg(long)]
    pub weights: Option<PathBuf>,
    /// Strategies to train
    #[arg(long, value_enum, default_value_t = Choice::All)]
    pub strategy: Choice,
    /// Passes over the training images
    #[arg(long, default_value_t = 25, value_parser = at_least_one)]
    pub epochs: usize,
    /// Images per batch
    #[arg(long, default_value_t = 4, value_parser = at_least_one)]
    pub batch: usize,
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// cpu, wgpu, cuda, cuda:N or ndarray
    #[arg(long, default_value_t = DeviceName::Cpu)]
    pub device: DeviceName,
    /// Folder for pictures, runs and report.html [default: out/ants_bees, or the first of out/ants_bees-2,
    /// out/ants_bees-3, ... that is free]
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Goes on with the interrupted runs in --out
    #[arg(long, requires = "out")]
    pub resume: bool,
    /// Views of each image whose features are kept while they are frozen: 1 the plain image, more add
    /// augmented ones, 0 augments anew in every epoch
    #[arg(long, default_value_t = 1)]
    pub views: usize,
    /// Folder that keeps features for later runs [default: none, they live in memory]
    #[arg(long)]
    pub cache: Option<PathBuf>,
    /// Runs frozen stages in eight bits: faster on a CPU with VNNI, and a little off
    #[arg(long)]
    pub quantize: bool,
    /// Decay of the moving average of the weights that is validated and kept in their place, such as 0.99
    #[arg(long)]
    pub moving_average: Option<f64>,
    /// Threads that decode images
    #[arg(long, default_value_t = 2)]
    pub workers: usize,
    /// Ends standard output with one line of JSON per strategy
    #[arg(long)]
    pub json: bool,
    /// Shows no progress
    #[arg(long)]
    pub quiet: bool,
}

/// Ways to train, after the tutorial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    /// Everything but the head frozen
    Features,
    /// Everything learns
    Finetune,
    /// Fresh weights, for comparison
    Scratch,
    /// One after the other
    All,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".to_string()),
        Ok(number) => Ok(number),
        Err(_) => Err("must be a whole number".to_string()),
    }
}

impl Arguments {
    /// The folder of results: the one named, or the first default that isn't taken.
    pub fn folder(&self) -> PathBuf {
        let numbered = (2..).map(|number| PathBuf::from(format!("out/ants_bees-{number}")));
        let first = PathBuf::from("out/ants_bees");
        self.out.clone().unwrap_or_else(|| {
            let free = std::iter::once(first)
                .chain(numbered)
                .find(|folder| !folder.exists());
            free.unwrap_or_default()
        })
    }

    /// The strategies asked for, in order.
    pub fn strategies(&self) -> Vec<Strategy> {
        let chosen = |choice| self.strategy == Choice::All || self.strategy == choice;
        [
            (Choice::Features, Strategy::FeatureExtraction),
            (Choice::Finetune, Strategy::fine_tuning()),
            (Choice::Scratch, Strategy::FromScratch),
        ]
        .into_iter()
        .filter(|(choice, _)| chosen(*choice))
        .map(|(_, strategy)| strategy)
        .collect()
    }
}
