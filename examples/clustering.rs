//! Images sorted into groups without a single label, compared with the classes that were hidden.
//!
//! ```text
//! cargo run --release --example clustering -- --data webcam --weights resnet50.safetensors
//! ```
//!
//! Without `--data` it sorts drawn things.

mod common;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use common::table::Table;
use common::{Failure, Network};
use rekindle::transfer::features::{
    Features, KMeans, Pca, adjusted_rand_index, normalized_mutual_information,
};
use serde_json::json;

/// k-means on features of a pretrained network, plain and after PCA.
#[derive(Debug, Parser)]
struct Arguments {
    /// A folder with one folder a class, or a file that `extract_features` wrote; labels only measure
    #[arg(long)]
    data: Option<PathBuf>,
    #[command(flatten)]
    network: Network,
    /// Components of PCA to try
    #[arg(long, value_delimiter = ',', default_value = "10,30,50")]
    components: Vec<usize>,
    /// Seeds of the starts: 0, 1, ...
    #[arg(long, default_value_t = 3)]
    seeds: u64,
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
    let lengths = images.features.l2_normalized();
    let mut ways = vec![
        ("k-means".to_string(), images.features.clone()),
        ("k-means, rows of length 1".to_string(), lengths.clone()),
    ];
    for components in &arguments.components {
        let found = Pca {
            components: *components,
        }
        .fit(&lengths)?;
        ways.push((
            format!(
                "PCA to {components} ({:.0} % of the variance), then k-means",
                100.0 * found.explained()
            ),
            found.transform(&lengths)?,
        ));
    }
    let table = Table {
        json: arguments.json,
    };
    for (name, features) in ways {
        let scores = (0..arguments.seeds)
            .map(|seed| scores(&features, &images.labels, images.classes.len(), seed))
            .collect::<Result<Vec<_>, _>>()?;
        for (at, score) in ["NMI", "ARI"].into_iter().enumerate() {
            let values: Vec<f64> = scores.iter().map(|scores| scores[at]).collect();
            table.row(&name, &values, json!({"score": score}));
        }
    }
    Ok(())
}

fn scores(
    features: &Features,
    labels: &[usize],
    clusters: usize,
    seed: u64,
) -> Result<[f64; 2], Failure> {
    let groups = KMeans {
        seed,
        ..KMeans::new(clusters)
    }
    .fit(features)?;
    Ok([
        normalized_mutual_information(&groups.labels, labels)?,
        adjusted_rand_index(&groups.labels, labels)?,
    ])
}
