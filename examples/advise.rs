//! Recommends weights and a strategy for a folder of images, with what to expect, before anything is trained.
//!
//! ```text
//! cargo run --release --example advise -- --data hymenoptera --weights resnet18-f37072fd.pth resnet50-11ad3fa6.pth
//! ```
//!
//! `--check 3` asks again with half of the images and compares what was said with what the other half shows, three times.
//! Without arguments it looks at the built-in drawings of ants and bees with the network that comes with them.

mod common;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use common::{Failure, drawn};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rekindle::device::DeviceName;
use rekindle::trainer::{Advise, Scored};
use rekindle::transfer::advise::{Advice, Advisor, Candidate};
use rekindle::transfer::features::{Features, accuracy};
use serde_json::json;

/// Scores networks on a folder of images and recommends one and a strategy.
#[derive(Debug, Parser)]
struct Arguments {
    /// A folder with one folder per class, or with train inside it
    #[arg(long, requires = "weights")]
    data: Option<PathBuf>,
    /// Weights to choose from: .pth, .safetensors or burnpack
    #[arg(long, num_args = 1.., requires = "data")]
    weights: Vec<PathBuf>,
    /// Keeps features in this folder for later runs
    #[arg(long)]
    cache: Option<PathBuf>,
    /// Times that the advice is checked on images that were held out
    #[arg(long, default_value_t = 0)]
    check: u64,
    /// Seed of the cross-validation
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// cpu, wgpu, cuda, cuda:N or ndarray
    #[arg(long, default_value_t = DeviceName::Cpu)]
    device: DeviceName,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    common::outcome::exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut advise = Advise::new(&arguments.device.open()?);
    if let Some(folder) = &arguments.cache {
        advise = advise.cache(folder);
    }
    let scored = match &arguments.data {
        Some(data) => advise.score(data, &arguments.weights)?,
        None => {
            eprintln!("no --data: looking at drawn ants and bees");
            let drawings = drawn::ants_and_bees(20, 0)?;
            advise.score(drawings.data(), &[drawings.weights()])?
        }
    };
    let all: Vec<usize> = (0..scored.labels.len()).collect();
    let advice = Choice::among(&scored, &all, arguments.seed)?.advice;
    let checks = (0..arguments.check)
        .map(|seed| Check::on_halves(&scored, seed))
        .collect::<Result<Vec<_>, _>>()?;
    if arguments.json {
        let checks: Vec<_> = checks.iter().map(Check::as_json).collect();
        println!("{}", json!({"advice": advice, "checks": checks}));
        return Ok(());
    }
    print!("{advice}");
    for check in &checks {
        println!("{}", check.as_text());
    }
    println!("({:.1} s)", begun.elapsed().as_secs_f64());
    Ok(())
}

/// Advice from some of the images.
struct Choice {
    advice: Advice,
    /// The probe of each backbone, in the order of the files.
    accuracies: Vec<f64>,
}

impl Choice {
    fn among(scored: &Scored, rows: &[usize], seed: u64) -> Result<Self, Failure> {
        let rest: Vec<usize> = (0..scored.labels.len())
            .filter(|row| !rows.contains(row))
            .collect();
        let of = |rows: &[usize]| rows.iter().map(|row| scored.labels[*row]).collect();
        let (labels, held_out): (Vec<usize>, Vec<usize>) = (of(rows), of(&rest));
        let mut advisor = Advisor::default();
        advisor.probe.seed = seed;
        let seen: Vec<Features> = scored
            .backbones
            .iter()
            .map(|backbone| backbone.features.select(rows))
            .collect();
        let candidates: Vec<Candidate<'_>> = scored
            .backbones
            .iter()
            .zip(&seen)
            .map(|(backbone, features)| Candidate {
                features,
                ..backbone.candidate()
            })
            .collect();
        let classes = scored.classes.len();
        let colours = scored.colours.select(rows);
        let advice = advisor.advise(&candidates, Some(&colours), &labels, classes)?;
        let mut accuracies = Vec::new();
        for (candidate, backbone) in candidates.iter().zip(&scored.backbones) {
            if !rest.is_empty() {
                let probe = &advisor.probe;
                let fitted = probe.fit(candidate.features, &labels, classes, candidate.source)?;
                let found = fitted.head.predict(&backbone.features.select(&rest))?;
                accuracies.push(accuracy(&found, &held_out));
            }
        }
        Ok(Self { advice, accuracies })
    }
}

/// Advice from half of the images, and what the other half says of it.
struct Check {
    choice: Choice,
    names: Vec<String>,
}

impl Check {
    fn on_halves(scored: &Scored, seed: u64) -> Result<Self, Failure> {
        let mut rows = Vec::new();
        for class in 0..scored.classes.len() {
            let mut of_class: Vec<usize> = (0..scored.labels.len())
                .filter(|row| scored.labels[*row] == class)
                .collect();
            of_class.shuffle(&mut StdRng::seed_from_u64(seed));
            of_class.truncate(of_class.len().div_ceil(2));
            rows.extend(of_class);
        }
        rows.sort_unstable();
        Ok(Self {
            choice: Choice::among(scored, &rows, seed)?,
            names: scored
                .backbones
                .iter()
                .map(|backbone| backbone.name.clone())
                .collect(),
        })
    }

    /// Accuracy of the backbone that was chosen, and of the best one, on images that neither saw.
    fn chosen_and_best(&self) -> (f64, f64) {
        let accuracies = &self.choice.accuracies;
        let at = self
            .names
            .iter()
            .position(|name| *name == self.choice.advice.backbone);
        let best = accuracies.iter().copied().fold(0.0, f64::max);
        (at.map_or(0.0, |at| accuracies[at]), best)
    }

    fn as_json(&self) -> serde_json::Value {
        let (chosen, best) = self.chosen_and_best();
        let advice = &self.choice.advice;
        json!({"backbone": advice.backbone, "strategy": advice.strategy.name(), "expected": advice.expected,
               "chosen": chosen, "best": best, "scores": advice.backbones, "backbones": self.names,
               "accuracies": self.choice.accuracies})
    }

    fn as_text(&self) -> String {
        let (chosen, best) = self.chosen_and_best();
        let advice = &self.choice.advice;
        let expected = advice.expected.map_or("nothing".into(), |e| e.to_string());
        format!(
            "check: from half of the images {} was advised, {expected} expected; the other half gave {chosen:.3}, the \
             best backbone {best:.3}",
            advice.backbone
        )
    }
}
