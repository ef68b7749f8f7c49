//! Animals without a single training image, known by their attributes.
//!
//! ```text
//! cargo run --release --example zero_shot -- --data animal_photos --attributes awa --weights resnet50.safetensors
//! ```

mod common;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use common::{Failure, Network};
use rekindle::transfer::features::{
    AttributeTable, ClassSplit, Conse, DirectAttributePrediction, Eszsl, Features,
    GeneralizedAccuracy, LogisticRegression, PrototypeRefinement, SimpleShot, argmax_rows,
    mean_class_accuracy,
};
use serde_json::json;

/// Zero-shot classification with a frozen network.
#[derive(Debug, Parser)]
struct Arguments {
    /// A folder with one folder a class, or a file that `extract_features` wrote
    #[arg(long)]
    data: PathBuf,
    /// The folder of Animals with Attributes' tables
    #[arg(long)]
    attributes: PathBuf,
    #[command(flatten)]
    network: Network,
    /// One JSON object a method
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let images = arguments.network.images(&arguments.data)?;
    let table = AttributeTable::read(&arguments.attributes)?;
    let split = ClassSplit::read(&arguments.attributes)?;
    let rows = table.rows_of(&images.classes)?;
    let is_unseen = |class: &usize| split.test.contains(&images.classes[*class]);
    let (unseen, seen): (Vec<usize>, Vec<usize>) = (0..rows.len()).partition(is_unseen);
    let (test, train): (Vec<usize>, Vec<usize>) =
        (0..images.labels.len()).partition(|row| is_unseen(&images.labels[*row]));
    let labels_of = |rows: &[usize]| rows.iter().map(|r| images.labels[*r]).collect::<Vec<_>>();
    let (train_labels, test_labels) = (labels_of(&train), labels_of(&test));

    let lengths = images.features.l2_normalized();
    let centre = SimpleShot::new(&lengths.select(&train))?;
    let features = centre.transform(&lengths)?;
    let (x, z) = (features.select(&train), features.select(&test));
    let signatures = table.strengths.select(&rows).l2_normalized();
    let binary = table.binary.select(&rows);

    let powers = [-2, -1, 0, 1, 2];
    let eszsl = Eszsl::choose(&x, &train_labels, &signatures, &powers, 5)?;
    let scores = eszsl
        .fit(&x, &train_labels, &signatures)?
        .scores(&z, &signatures.select(&unseen))?;
    let votes = votes(&scores, unseen.len());
    let refinement = PrototypeRefinement { steps: 5 };
    let refined = refinement.refine(&votes, unseen.len(), &z)?.labels;
    let learner = LogisticRegression::with_inverse_penalty(1.0, &x);
    let attributes = DirectAttributePrediction::fit(&x, &train_labels, &binary, &learner)?
        .predict(&z, &binary.select(&unseen))?;
    // A classifier of the seen classes, whose labels count them alone.
    let position = |label: &usize| seen.binary_search(label).unwrap_or(0);
    let seen_labels: Vec<usize> = train_labels.iter().map(position).collect();
    let head =
        LogisticRegression::with_inverse_penalty(10.0, &x).fit(&x, &seen_labels, seen.len())?;
    let means = SimpleShot::new(&signatures.select(&seen))?;
    let centred = means.transform(&signatures)?;
    let conse = Conse::default().predict(
        &head.probabilities(&z)?,
        &centred.select(&seen),
        &centred.select(&unseen),
    )?;
    let found = [
        ("ESZSL", argmax_rows(&scores, unseen.len())),
        ("ESZSL, then prototypes of the unlabelled images", refined),
        ("direct attribute prediction", attributes),
        ("ConSE from the seen classes", conse),
    ];
    for (name, predictions) in found {
        let predictions: Vec<usize> = predictions.into_iter().map(|at| unseen[at]).collect();
        let accuracy = mean_class_accuracy(&predictions, &test_labels)?;
        match arguments.json {
            true => println!(
                "{}",
                json!({"method": name, "mean_class_accuracy": accuracy})
            ),
            false => println!("{accuracy:.3}  {name}"),
        }
    }
    let generalized = generalized(&features, &images.labels, &signatures, &unseen)?;
    let harmonic = generalized.harmonic_mean();
    let (seen, unseen) = (generalized.seen, generalized.unseen);
    match arguments.json {
        true => println!(
            "{}",
            json!({"method": "ESZSL among all classes", "seen": seen, "unseen": unseen,
                   "harmonic_mean": harmonic})
        ),
        false => println!(
            "{harmonic:.3}  ESZSL among all classes: harmonic mean of seen {seen:.3}, unseen {unseen:.3}"
        ),
    }
    Ok(())
}

/// Scores of each image over their length, as shares that sum to 1.
fn votes(scores: &[f64], classes: usize) -> Vec<f64> {
    let of = |row: &[f64]| {
        let length = row.iter().map(|score| score * score).sum::<f64>().sqrt();
        let votes: Vec<f64> = row
            .iter()
            .map(|score| (5.0 * score / length.max(1e-12)).exp())
            .collect();
        let sum: f64 = votes.iter().sum();
        votes.into_iter().map(move |vote| vote / sum)
    };
    scores.chunks_exact(classes).flat_map(of).collect()
}

/// ESZSL with seen classes among the candidates; every fifth of their images is held out.
fn generalized(
    features: &Features,
    labels: &[usize],
    signatures: &Features,
    unseen: &[usize],
) -> Result<GeneralizedAccuracy, Failure> {
    let (new, known): (Vec<usize>, Vec<usize>) =
        (0..labels.len()).partition(|row| unseen.contains(&labels[*row]));
    let held_out: Vec<usize> = known.iter().copied().skip(4).step_by(5).collect();
    let train: Vec<usize> = known
        .into_iter()
        .filter(|row| !held_out.contains(row))
        .collect();
    let of = |rows: &[usize]| rows.iter().map(|row| labels[*row]).collect::<Vec<_>>();
    let x = features.select(&train);
    let chosen = Eszsl::choose(&x, &of(&train), signatures, &[-2, -1, 0, 1, 2], 5)?;
    let map = chosen.fit(&x, &of(&train), signatures)?;
    let accuracy = |rows: &[usize]| -> Result<f64, Failure> {
        let found = map.predict(&features.select(rows), signatures)?;
        Ok(mean_class_accuracy(&found, &of(rows))?)
    };
    Ok(GeneralizedAccuracy {
        seen: accuracy(&held_out)?,
        unseen: accuracy(&new)?,
    })
}
