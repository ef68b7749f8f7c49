//! Every objective of unsupervised domain adaptation on kept features: labels of one domain, pictures of another.
//!
//! ```text
//! cargo run --release --example domain_adaptation_objectives -- --weights resnet50.safetensors pacs/*
//! ```
//!
//! Each domain is a folder with one folder a class, or a file that `extract_features` wrote; all ordered pairs of
//! domains are tried, and the labels of a target are used for nothing but the table. `--json` prints it for a
//! program.

#[path = "../common/mod.rs"]
mod common;
mod domain;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use burn::tensor::Device;
use clap::Parser;
use rekindle::device::DeviceName;
use rekindle::transfer::features::{DomainStatistics, Features};
use rekindle::transfer::objective::{Adaptation, DomainObjective, LabelledRows, Scaling};
use rekindle::transfer::tuning::ensemble_probabilities;
use serde_json::json;

use common::Failure;
use domain::Domain;

/// Adapts a head to an unlabelled target by each objective in turn.
#[derive(Debug, Parser)]
struct Arguments {
    /// Two or more domains: folders of images, or files of features
    #[arg(required = true, num_args = 2..)]
    domains: Vec<PathBuf>,
    /// Weights of the network that makes features of images; features of several stand side by side
    #[arg(long, value_delimiter = ',')]
    weights: Vec<PathBuf>,
    /// Objectives to try, by name; all of them where none is given
    #[arg(long, value_delimiter = ',')]
    objectives: Vec<String>,
    /// Seeds to average over: 0, 1, ...
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// The same domains as other networks see them, in the same order: all views are used side by side
    #[arg(long, num_args = 2..)]
    beside: Vec<PathBuf>,
    /// Raise each feature to this power, its sign kept; 0.5 evens out a few large ones
    #[arg(long, default_value_t = 1.0)]
    power: f32,
    /// Leave each domain's mean in the features
    #[arg(long)]
    uncentred: bool,
    /// cpu, wgpu, cuda, cuda:N or ndarray
    #[arg(long, default_value_t = DeviceName::Cpu)]
    device: DeviceName,
    /// Print JSON in place of a table
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    common::outcome::exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let device = arguments.device.open()?;
    let domains = open(arguments, &device)?;
    let results = objectives(&arguments.objectives)?
        .into_iter()
        .map(|objective| try_objective(arguments, objective, &domains, &device))
        .collect::<Result<Vec<_>, _>>()?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&as_json(&results))?);
    } else {
        print_table(&results);
    }
    Ok(())
}

/// All domains, in one view or in several side by side, each view of length 1 and centred on the domain's mean.
fn open(arguments: &Arguments, device: &Device) -> Result<Vec<Domain>, Failure> {
    let first = arguments.weights.first().map(PathBuf::as_path);
    let mut domains = Domain::open_all(&arguments.domains, first, device)?;
    let mut others = Vec::new();
    for weights in arguments.weights.iter().skip(1) {
        others.push(Domain::open_all(&arguments.domains, Some(weights), device)?);
    }
    if !arguments.beside.len().is_multiple_of(domains.len()) {
        return Err(format!(
            "{} domains and {} of other views; give one for each",
            domains.len(),
            arguments.beside.len()
        )
        .into());
    }
    for view in arguments.beside.chunks(domains.len()) {
        others.push(Domain::open_all(view, first, device)?);
    }
    if others.is_empty() && arguments.power == 1.0 {
        return Ok(domains);
    }
    let view = |features: &Features| -> Result<Features, Failure> {
        let lengths = features.power_normalized(arguments.power)?.l2_normalized();
        if arguments.uncentred {
            return Ok(lengths);
        }
        let own = DomainStatistics::centering(&lengths)?;
        Ok(own.transform(&lengths)?.l2_normalized())
    };
    for domain in &mut domains {
        domain.features = view(&domain.features)?;
    }
    for other in others {
        for (domain, other) in domains.iter_mut().zip(&other) {
            if domain.labels != other.labels {
                let names = format!("{} and {}", domain.name, other.name);
                return Err(format!("{names} hold different images").into());
            }
            domain.features = domain.features.beside(&view(&other.features)?)?;
        }
    }
    Ok(domains)
}

fn objectives(names: &[String]) -> Result<Vec<DomainObjective>, Failure> {
    let all = DomainObjective::all();
    let known: Vec<&str> = all.iter().map(DomainObjective::name).collect();
    if let Some(name) = names.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("no objective {name}; there are {}", known.join(", ")).into());
    }
    let is_wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    Ok(all
        .into_iter()
        .filter(|objective| is_wanted(objective.name()))
        .collect())
}

/// Result of one objective.
struct Outcome {
    settings: Adaptation,
    pairs: Vec<Pair>,
    seconds: f64,
}

struct Pair {
    source: String,
    target: String,
    /// On the target, one a seed.
    accuracies: Vec<f64>,
    /// Of the mean of the seeds' probabilities.
    ensemble: f64,
}

impl Pair {
    fn mean(&self) -> f64 {
        self.accuracies.iter().sum::<f64>() / self.accuracies.len().max(1) as f64
    }
}

impl Outcome {
    fn mean(&self) -> f64 {
        self.over_pairs(Pair::mean)
    }

    fn over_pairs(&self, value: impl Fn(&Pair) -> f64) -> f64 {
        self.pairs.iter().map(value).sum::<f64>() / self.pairs.len().max(1) as f64
    }
}

fn try_objective(
    arguments: &Arguments,
    objective: DomainObjective,
    domains: &[Domain],
    device: &Device,
) -> Result<Outcome, Failure> {
    let begun = Instant::now();
    let mut settings = Adaptation::new(objective);
    if arguments.uncentred {
        settings.scaling = Scaling::Length;
    }
    let mut pairs = Vec::new();
    for source in domains {
        for target in domains.iter().filter(|target| target.name != source.name) {
            let (mut accuracies, mut members) = (Vec::new(), Vec::new());
            for seed in 0..arguments.seeds {
                let adaptation = Adaptation {
                    seed,
                    ..settings.clone()
                };
                let logits = adapt(&adaptation, source, target, device)?;
                accuracies.push(target.accuracy(&logits));
                members.push(logits);
            }
            let probabilities = ensemble_probabilities(&members, source.classes.len())?;
            pairs.push(Pair {
                ensemble: target.accuracy(&probabilities),
                source: source.name.clone(),
                target: target.name.clone(),
                accuracies,
            });
        }
    }
    Ok(Outcome {
        settings,
        pairs,
        seconds: begun.elapsed().as_secs_f64(),
    })
}

fn adapt(
    adaptation: &Adaptation,
    source: &Domain,
    target: &Domain,
    device: &Device,
) -> Result<Vec<f64>, Failure> {
    let labelled = LabelledRows {
        features: &source.features,
        labels: &source.labels,
        classes: source.classes.len(),
        weights: None,
    };
    let head = adaptation.fit(labelled, &target.features, device)?;
    Ok(head.logits(&target.features)?)
}

fn print_table(results: &[Outcome]) {
    let widest = results
        .iter()
        .flat_map(|result| &result.pairs)
        .map(|pair| pair.source.len() + pair.target.len() + 4)
        .chain([28])
        .max()
        .unwrap_or(0);
    print!("{:widest$}", "");
    for result in results {
        print!("  {}", result.settings.objective.name());
    }
    println!();
    let line = |name: &str, value: &dyn Fn(&Outcome) -> f64| {
        print!("{name:widest$}");
        for result in results {
            let width = result.settings.objective.name().len().max(5) + 2;
            print!("{:width$.3}", value(result));
        }
        println!();
    };
    for at in 0..results.first().map_or(0, |result| result.pairs.len()) {
        let pair = &results[0].pairs[at];
        let name = format!("{} -> {}", pair.source, pair.target);
        line(&name, &|result| result.pairs[at].mean());
    }
    line("mean", &Outcome::mean);
    line("mean, ensembles of the seeds", &|result| {
        result.over_pairs(|pair| pair.ensemble)
    });
    line("seconds", &|result| result.seconds);
}

fn as_json(results: &[Outcome]) -> serde_json::Value {
    let of_pair = |pair: &Pair| {
        json!({
            "source": pair.source,
            "target": pair.target,
            "accuracies": pair.accuracies,
            "mean": pair.mean(),
            "ensemble": pair.ensemble,
        })
    };
    let of_result = |result: &Outcome| {
        json!({
            "objective": result.settings.objective.name(),
            "settings": result.settings,
            "pairs": result.pairs.iter().map(of_pair).collect::<Vec<_>>(),
            "mean": result.mean(),
            "mean_of_ensembles": result.over_pairs(|pair| pair.ensemble),
            "seconds": result.seconds,
        })
    };
    json!(results.iter().map(of_result).collect::<Vec<_>>())
}
