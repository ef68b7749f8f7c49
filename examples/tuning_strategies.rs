//! Ways of moving a pretrained network a little: L2-SP, DELTA, BitFit, batch normalisation alone, LoRA, and soups of nets.
//!
//! ```text
//! cargo run --release --example tuning_strategies -- --weights resnet18-f37072fd.pth --data office/amazon --shots 5
//! ```
//!
//! A few pictures per class are learnt from, all others are the test; every way has the same pictures, steps and seed. `--json`
//! prints the table for a program.

#[path = "common/outcome.rs"]
mod outcome;

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::Device;
use clap::Parser;
use rekindle::imagefolder::{ImageDataset, ImageFolder, Loader, OnBadFile, Sampler};
use rekindle::models::Pretrained;
use rekindle::nn::Network;
use rekindle::trainer::feed::{Batch, Feed};
use rekindle::trainer::{Learner, Optimizer, Predictions, Predictor, Recipe, eval_pipeline};
use rekindle::transfer::tuning::{
    LowRank, average_weights, ensemble_probabilities, trained_parameters,
};
use rekindle::transfer::{Backbone, Classifier, Plan, Strategy};
use serde_json::json;

type Failure = Box<dyn std::error::Error>;

/// Compares ways of fine-tuning on a few pictures per class.
#[derive(Debug, Parser)]
struct Arguments {
    /// Weights of a network
    #[arg(long)]
    weights: PathBuf,
    /// Folder with one folder per class
    #[arg(long)]
    data: PathBuf,
    /// Pictures per class to learn from
    #[arg(long, default_value_t = 5)]
    shots: usize,
    /// Pictures per class to test on, at most
    #[arg(long, default_value_t = 25)]
    tests: usize,
    /// Passes over the pictures
    #[arg(long, default_value_t = 12)]
    epochs: usize,
    /// Seeds to average over: 0, 1, ...
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Ways to try, by name; all of them where none is given
    #[arg(long, value_delimiter = ',')]
    methods: Vec<String>,
    /// Nets in the soup, fine-tuned with seeds of their own; 0 for none
    #[arg(long, default_value_t = 0)]
    soup: u64,
    /// Print JSON in place of a table
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    outcome::exit_code(run(&Arguments::parse()))
}

/// A way of tuning: a strategy's plan, or low-rank adapters.
enum Method {
    Strategy(Strategy),
    LowRank(LowRank),
}

impl Method {
    fn all() -> Vec<Self> {
        let backbone_rate = 1.0;
        vec![
            Method::Strategy(Strategy::FeatureExtraction),
            Method::Strategy(Strategy::fine_tuning()),
            Method::Strategy(Strategy::L2Sp {
                strength: 10.0,
                backbone_rate,
            }),
            Method::Strategy(Strategy::Delta {
                strength: 0.01,
                backbone_rate,
            }),
            Method::Strategy(Strategy::BitFit { backbone_rate }),
            Method::Strategy(Strategy::BatchNormOnly { backbone_rate }),
            Method::LowRank(LowRank::new(4)),
        ]
    }

    fn name(&self) -> &'static str {
        match self {
            Method::Strategy(strategy) => strategy.name(),
            Method::LowRank(_) => "lora",
        }
    }

    fn learner(
        &self,
        mut classifier: Classifier<Network>,
        recipe: &Recipe,
        device: &Device,
    ) -> Result<Learner<Network>, Failure> {
        let plan = match self {
            Method::Strategy(strategy) => strategy.plan(&classifier.backbone.stage_names(), 0)?,
            Method::LowRank(low_rank) => {
                classifier.backbone = low_rank.attach(classifier.backbone)?;
                Plan::adapters(classifier.backbone.stage_names().len())
            }
        };
        Ok(Learner::new(classifier, plan, recipe, device)?)
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let device = Device::flex();
    let data = Data::open(arguments, &device)?;
    let mut rows = Vec::new();
    for method in Method::all() {
        if !(arguments.methods.is_empty()
            || arguments.methods.iter().any(|name| name == method.name()))
        {
            continue;
        }
        let begun = Instant::now();
        let mut accuracies = Vec::new();
        let mut parameters = 0;
        for seed in 0..arguments.seeds {
            let learner = data.tune(&method, arguments.epochs, [seed, seed], &device)?;
            parameters = trained_parameters(learner.classifier());
            accuracies.push(data.test(learner.classifier(), &device)?.accuracy());
        }
        let mean = accuracies.iter().sum::<f64>() / accuracies.len().max(1) as f64;
        let seconds = begun.elapsed().as_secs_f64();
        if !arguments.json {
            println!(
                "{:18} {mean:.3}  {parameters:>9} parameters learn  {seconds:.0} s  {accuracies:.3?}",
                method.name()
            );
        }
        rows.push(json!({
            "way": method.name(), "mean": mean, "accuracies": accuracies,
            "parameters": parameters, "seconds": seconds,
        }));
    }
    if arguments.soup > 0 {
        rows.push(data.soup(arguments, &device)?);
        if !arguments.json {
            println!("{}", rows[rows.len() - 1]);
        }
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    }
    Ok(())
}

struct Data {
    pretrained: Pretrained,
    classes: usize,
    train: Arc<ImageDataset>,
    test: Arc<ImageDataset>,
}

impl Data {
    fn open(arguments: &Arguments, device: &Device) -> Result<Self, Failure> {
        let pretrained = Pretrained::open(&arguments.weights, device)?;
        let folder = ImageFolder::open(&arguments.data)?;
        let mut seen: HashMap<Option<usize>, usize> = HashMap::new();
        let (mut train, mut test) = (Vec::new(), Vec::new());
        for (index, sample) in folder.samples().iter().enumerate() {
            let count = seen.entry(sample.label).or_default();
            if *count < arguments.shots {
                train.push(index);
            } else if *count < arguments.shots + arguments.tests {
                test.push(index);
            }
            *count += 1;
        }
        let pipeline = eval_pipeline(&pretrained.preprocess);
        let dataset = |indices: Vec<usize>| {
            ImageDataset::new(&folder.subset(&indices), pipeline.clone()).map(Arc::new)
        };
        Ok(Self {
            classes: folder.classes().len(),
            train: dataset(train)?,
            test: dataset(test)?,
            pretrained,
        })
    }

    fn feed(dataset: &Arc<ImageDataset>, seed: u64, shuffle: bool) -> Feed {
        let loader = Loader::new(Arc::clone(dataset))
            .batch_size(10)
            .seed(seed)
            .on_bad_file(OnBadFile::Skip);
        Feed::Images(if shuffle {
            loader.sampler(Sampler::Shuffled)
        } else {
            loader
        })
    }

    /// Seeds are those of the head and of the order; nets that are to be averaged start from one head.
    fn tune(
        &self,
        method: &Method,
        epochs: usize,
        [head, order]: [u64; 2],
        device: &Device,
    ) -> Result<Learner<Network>, Failure> {
        let backbone = self.pretrained.model.clone().reset_classifier(0, 0);
        let classifier = Classifier::new(backbone, self.classes, head, device);
        let recipe = Recipe {
            optimizer: Optimizer::Sgd {
                momentum: 0.9,
                nesterov: false,
                weight_decay: 0.0,
            },
            ..Recipe::tutorial()
        };
        let mut learner = method.learner(classifier, &recipe, device)?;
        let feed = Self::feed(&self.train, order, true);
        for epoch in 0..epochs {
            let progress = epoch as f64 / epochs as f64;
            let rate = 0.005 * (1.0 + (std::f64::consts::PI * progress).cos());
            for batch in feed.epoch(epoch, device) {
                let batch: Batch = batch?;
                learner.train_batch(&batch, rate)?;
            }
        }
        Ok(learner)
    }

    fn test(
        &self,
        classifier: &Classifier<Network>,
        device: &Device,
    ) -> Result<Predictions, Failure> {
        let feed = Self::feed(&self.test, 0, false);
        let predictor = Predictor::new(&LowRank::merge(classifier.valid()));
        Ok(predictor.predict(feed.epoch(0, device), |_| ())?)
    }

    /// Nets fine-tuned from the same weights and head in other orders: alone, averaged, and asked together.
    fn soup(&self, arguments: &Arguments, device: &Device) -> Result<serde_json::Value, Failure> {
        let mut nets = Vec::new();
        let (mut accuracies, mut members) = (Vec::new(), Vec::new());
        for seed in 0..arguments.soup {
            let method = Method::Strategy(Strategy::fine_tuning());
            let learner = self.tune(&method, arguments.epochs, [0, seed], device)?;
            let net = learner.classifier().valid();
            let found = self.test(&net, device)?;
            accuracies.push(found.accuracy());
            let logits = found
                .probabilities
                .iter()
                .map(|p| f64::from(p.max(1e-30).ln()));
            members.push(logits.collect::<Vec<_>>());
            nets.push(net);
        }
        let soup = average_weights(&nets)?;
        let uniform = self.test(&soup, device)?;
        let probabilities = ensemble_probabilities(&members, self.classes)?;
        let probabilities = probabilities.iter().map(|p| *p as f32).collect();
        let ensemble = Predictions {
            probabilities,
            ..uniform.clone()
        };
        Ok(json!({
            "way": "soup",
            "members": accuracies,
            "mean_of_members": accuracies.iter().sum::<f64>() / accuracies.len() as f64,
            "uniform_soup": uniform.accuracy(),
            "ensemble": ensemble.accuracy(),
        }))
    }
}
