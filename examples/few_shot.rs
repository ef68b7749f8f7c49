//! Classifiers from one or five images per class, over many random episodes.
//!
//! ```text
//! cargo run --release --example few_shot -- --data webcam --weights resnet50.safetensors --ways 5 --shots 1
//! ```

mod common;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use common::{Failure, Network};
use rekindle::transfer::features::{
    Distance, EpisodeSampler, Matching, MeanAccuracy, Prototypes, SimpleShot, accuracy,
};
use serde_json::json;

/// Few-shot classification with a frozen network.
#[derive(Debug, Parser)]
struct Arguments {
    /// A folder with one folder a class, or a file that `extract_features` wrote; without it, drawn things
    #[arg(long)]
    data: Option<PathBuf>,
    #[command(flatten)]
    network: Network,
    /// Classes an episode
    #[arg(long, default_value_t = 5)]
    ways: usize,
    /// Labelled images per class
    #[arg(long, default_value_t = 1)]
    shots: usize,
    /// Images per class to measure by
    #[arg(long, default_value_t = 10)]
    queries: usize,
    #[arg(long, default_value_t = 600)]
    episodes: usize,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// One JSON object a method
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    common::outcome::exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let images = arguments
        .network
        .images_or_drawn(arguments.data.as_deref())?;
    eprintln!(
        "{} images of {} classes",
        images.labels.len(),
        images.classes.len()
    );
    let features = images.features.l2_normalized();
    // The mean of all images, none of whose labels is used.
    let shot = SimpleShot::new(&features)?;
    let sampler = EpisodeSampler::new(
        &images.labels,
        arguments.ways,
        arguments.shots,
        arguments.queries,
    )?
    .seed(arguments.seed);
    let mut found = [
        ("prototypes", vec![]),
        ("SimpleShot", vec![]),
        ("matching", vec![]),
    ];
    for index in 0..arguments.episodes {
        let episode = sampler.episode(index as u64);
        let support = features.select(&episode.support);
        let query = features.select(&episode.query);
        let labels = &episode.support_labels;
        let ways = arguments.ways;
        let plain = Prototypes::fit(&support, labels, ways, Distance::Cosine)?.predict(&query)?;
        let centred = shot.fit(&support, labels, ways)?;
        let centred = centred.predict(&shot.transform(&query)?)?;
        let matching = Matching::fit(&shot.transform(&support)?, labels, ways, 0.1)?;
        let matching = matching.predict(&shot.transform(&query)?)?;
        for ((_, all), predictions) in found.iter_mut().zip([plain, centred, matching]) {
            all.push(accuracy(&predictions, &episode.query_labels));
        }
    }
    for (name, accuracies) in found {
        let MeanAccuracy { mean, interval, .. } = MeanAccuracy::of(&accuracies)?;
        match arguments.json {
            true => println!(
                "{}",
                json!({"method": name, "accuracy": mean, "interval": interval,
                       "ways": arguments.ways, "shots": arguments.shots, "seed": arguments.seed})
            ),
            false => println!("{mean:.3} ± {interval:.3}  {name}"),
        }
    }
    Ok(())
}
