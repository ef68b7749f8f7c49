//! A classifier of one domain used on another, whose labels only measure the result.
//!
//! ```text
//! cargo run --release --example domain_adaptation_features -- --source amazon --target webcam --weights resnet50.safetensors
//! ```
//!
//! `--source` and `--target` are folders with the same classes, or files that `extract_features` wrote.

mod common;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use common::{Failure, Network};
use rekindle::transfer::features::{
    Coral, DomainStatistics, Features, LabelPropagation, LogisticRegression, NeighborGraph,
    PrototypeRefinement, SubspaceAlignment, Tca, accuracy, argmax_rows,
};
use serde_json::json;

/// Compares ways from a source domain to a target domain on cached features.
#[derive(Debug, Parser)]
struct Arguments {
    /// Labelled images
    #[arg(long)]
    source: PathBuf,
    /// Images of another domain; labels only measure
    #[arg(long)]
    target: PathBuf,
    #[command(flatten)]
    network: Network,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    common::outcome::exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let source = arguments.network.images(&arguments.source)?;
    let target = arguments.network.images(&arguments.target)?;
    if source.classes != target.classes {
        return Err("source and target have different classes".into());
    }
    let pair = Pair {
        source: source.features.l2_normalized(),
        target: target.features.l2_normalized(),
        labels: &source.labels,
        classes: source.classes.len(),
    };
    let found = [
        ("source only", pair.source_only()?),
        ("CORAL", pair.coral()?),
        ("subspace alignment", pair.subspace_alignment()?),
        ("TCA", pair.tca()?),
        ("prototypes", pair.prototypes()?),
        (
            "centred prototypes and label propagation",
            pair.propagation()?,
        ),
    ];
    for (name, predictions) in &found {
        let accuracy = accuracy(predictions, &target.labels);
        match arguments.json {
            true => println!("{}", json!({"method": name, "accuracy": accuracy})),
            false => println!("{accuracy:.3}  {name}"),
        }
    }
    Ok(())
}

struct Pair<'a> {
    source: Features,
    target: Features,
    labels: &'a [usize],
    classes: usize,
}

impl Pair<'_> {
    fn source_only(&self) -> Result<Vec<usize>, Failure> {
        self.classify(&self.source, &self.target)
    }

    fn coral(&self) -> Result<Vec<usize>, Failure> {
        let coral = Coral {
            regularization: 1e-3,
        };
        let map = coral.fit(&self.source, &self.target)?;
        self.classify(&map.transform(&self.source)?, &self.target)
    }

    fn subspace_alignment(&self) -> Result<Vec<usize>, Failure> {
        let maps = SubspaceAlignment::default().fit(&self.source, &self.target)?;
        let source = maps.transform_source(&self.source)?;
        self.classify(&source, &maps.transform_target(&self.target)?)
    }

    fn tca(&self) -> Result<Vec<usize>, Failure> {
        let shared = Tca::default().fit(&self.source, &self.target)?;
        self.classify(&shared.source, &shared.target)
    }

    fn prototypes(&self) -> Result<Vec<usize>, Failure> {
        let head = LogisticRegression::with_inverse_penalty(10.0, &self.source).fit(
            &self.source,
            self.labels,
            self.classes,
        )?;
        let probabilities = head.probabilities(&self.target)?;
        let refinement = PrototypeRefinement::default();
        Ok(refinement
            .refine(&probabilities, self.classes, &self.target)?
            .labels)
    }

    /// Each domain centred on its own mean, one step of prototypes, and their soft votes spread over the
    /// target's neighbour graph.
    fn propagation(&self) -> Result<Vec<usize>, Failure> {
        let centre = |domain: &Features| -> Result<Features, Failure> {
            let own = DomainStatistics::centering(domain)?;
            Ok(own.transform(domain)?.l2_normalized())
        };
        let (source, target) = (centre(&self.source)?, centre(&self.target)?);
        let head = LogisticRegression::with_inverse_penalty(10.0, &source).fit(
            &source,
            self.labels,
            self.classes,
        )?;
        let refined = PrototypeRefinement::default().refine(
            &head.probabilities(&target)?,
            self.classes,
            &target,
        )?;
        let votes: Vec<f64> = refined
            .cosines
            .chunks_exact(self.classes)
            .flat_map(|row| {
                let votes: Vec<f64> = row.iter().map(|cosine| (cosine / 0.1).exp()).collect();
                let sum: f64 = votes.iter().sum();
                votes.into_iter().map(move |vote| vote / sum)
            })
            .collect();
        let graph = NeighborGraph::new(&target, 5)?;
        let scores = LabelPropagation { alpha: 0.9 }.propagate(&graph, &votes, self.classes)?;
        Ok(argmax_rows(&scores, self.classes))
    }

    fn classify(&self, source: &Features, target: &Features) -> Result<Vec<usize>, Failure> {
        let learner = LogisticRegression::with_inverse_penalty(10.0, source);
        let head = learner.fit(source, self.labels, self.classes)?;
        Ok(head.predict(target)?)
    }
}
