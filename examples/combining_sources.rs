//! Classifiers of several domains used together on one that none has seen.
//!
//! ```text
//! cargo run --release --example combining_sources -- --weights resnet50.safetensors pacs/*
//! ```
//!
//! Each domain in turn is the target, all others are sources; domains are folders with the same classes, or files that
//! `extract_features` wrote.

mod common;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use common::table::Table;
use common::{Failure, Images, Network};
use rekindle::transfer::features::{
    DomainStatistics, Features, LinearHead, LogisticRegression, accuracy, argmax_rows,
};
use rekindle::transfer::tuning::{ensemble_probabilities, stacked_features, stacking};
use serde_json::json;

/// Ensembles, averages and stacks of source classifiers, each domain in turn left out.
#[derive(Debug, Parser)]
struct Arguments {
    /// Three or more domains: folders of images, or files of features
    #[arg(required = true, num_args = 3..)]
    domains: Vec<PathBuf>,
    #[command(flatten)]
    network: Network,
    /// Labelled target images per class that stacking learns from
    #[arg(long, default_value_t = 3)]
    shots: usize,
    /// Seeds of the labelled target images: 0, 1, ...
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// One JSON object a method and target
    #[arg(long)]
    json: bool,
}

const METHODS: [&str; 8] = [
    "sources alone, mean",
    "sources alone, best",
    "all sources as one set",
    "mean of probabilities",
    "average of the heads",
    "stacking, some target labels",
    "the target labels alone",
    "all sources and the target labels as one set",
];

fn main() -> ExitCode {
    common::outcome::exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let domains = arguments
        .domains
        .iter()
        .map(|path| centred(arguments.network.images(path)?))
        .collect::<Result<Vec<_>, Failure>>()?;
    if domains
        .iter()
        .any(|domain| domain.classes != domains[0].classes)
    {
        return Err("domains have different classes".into());
    }
    let table = Table {
        json: arguments.json,
    };
    let mut means = vec![vec![0.0; arguments.seeds as usize]; METHODS.len()];
    for (left_out, path) in arguments.domains.iter().enumerate() {
        let sources: Vec<&Images> = (0..domains.len())
            .filter(|at| *at != left_out)
            .map(|at| &domains[at])
            .collect();
        let mut found = vec![Vec::new(); METHODS.len()];
        for seed in 0..arguments.seeds {
            let accuracies = combine(&sources, &domains[left_out], arguments.shots, seed)?;
            for (method, accuracy) in accuracies.into_iter().enumerate() {
                means[method][seed as usize] += accuracy / domains.len() as f64;
                found[method].push(accuracy);
            }
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        for (method, values) in METHODS.iter().zip(&found) {
            table.row(method, values, json!({"target": name}));
        }
    }
    for (method, values) in METHODS.iter().zip(&means) {
        table.row(method, values, json!({"target": "mean"}));
    }
    Ok(())
}

/// Rows of length 1, less the domain's own mean.
fn centred(domain: Images) -> Result<Images, Failure> {
    let lengths = domain.features.l2_normalized();
    let own = DomainStatistics::centering(&lengths)?;
    Ok(Images {
        features: own.transform(&lengths)?.l2_normalized(),
        ..domain
    })
}

/// Accuracies in the order of [`METHODS`], on target images without those whose labels stacking saw.
fn combine(
    sources: &[&Images],
    target: &Images,
    shots: usize,
    seed: u64,
) -> Result<Vec<f64>, Failure> {
    let classes = target.classes.len();
    let (few, test) = target.split(shots, seed);
    let fit = |features: &Features, labels: &[usize]| {
        LogisticRegression::with_inverse_penalty(10.0, features).fit(features, labels, classes)
    };
    let heads = sources
        .iter()
        .map(|source| fit(&source.features, &source.labels))
        .collect::<Result<Vec<_>, _>>()?;
    let logits = |features: &Features| {
        heads
            .iter()
            .map(|head| head.logits(features))
            .collect::<Result<Vec<_>, _>>()
    };
    let right = |found: Vec<usize>| accuracy(&found, &test.labels);
    let members = logits(&test.features)?;
    let alone: Vec<f64> = members
        .iter()
        .map(|logits| right(argmax_rows(logits, classes)))
        .collect();
    let mut pooled = sources[0].features.clone();
    let mut labels = sources[0].labels.clone();
    for source in &sources[1..] {
        pooled = pooled.stack(&source.features)?;
        labels.extend(&source.labels);
    }
    let ensemble = ensemble_probabilities(&members, classes)?;
    let stack = stacking(&logits(&few.features)?, &few.labels, classes, 1e-2)?;
    let both = pooled.stack(&few.features)?;
    let both_labels: Vec<usize> = labels.iter().chain(&few.labels).copied().collect();
    Ok(vec![
        alone.iter().sum::<f64>() / alone.len() as f64,
        alone.iter().copied().fold(0.0, f64::max),
        right(fit(&pooled, &labels)?.predict(&test.features)?),
        right(argmax_rows(&ensemble, classes)),
        right(average(&heads).predict(&test.features)?),
        right(stack.predict(&stacked_features(&members, classes)?)?),
        right(fit(&few.features, &few.labels)?.predict(&test.features)?),
        right(fit(&both, &both_labels)?.predict(&test.features)?),
    ])
}

fn average(heads: &[LinearHead]) -> LinearHead {
    let mean = |of: fn(&LinearHead) -> &Vec<f32>| {
        let mut mean = vec![0.0; of(&heads[0]).len()];
        for head in heads {
            for (mean, value) in mean.iter_mut().zip(of(head)) {
                *mean += value / heads.len() as f32;
            }
        }
        mean
    };
    LinearHead {
        weight: mean(|head| &head.weight),
        bias: mean(|head| &head.bias),
    }
}
