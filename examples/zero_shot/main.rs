//! Animals without a single training image, known by their attributes.
//!
//! ```text
//! cargo run --release --example zero_shot -- --data animal_photos --attributes awa --weights resnet50.safetensors
//! ```

#[path = "../common/mod.rs"]
mod common;
mod imagenet;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use common::{Failure, Images, Network};
use rekindle::transfer::features::{
    AttributeTable, CalibratedStacking, ClassSplit, Conse, DirectAttributePrediction, Eszsl,
    Features, GeneralizedScores, LogisticRegression, PrototypeRefinement, SimpleShot,
    VisualExemplars, argmax_rows, mean_class_accuracy,
};
use serde_json::json;

/// Zero-shot classification with a frozen network.
#[derive(Debug, Parser)]
struct Arguments {
    /// A folder with one folder a class, or a file that `extract_features` wrote; with `--weights` of an ImageNet
    /// classifier its own animals are tried as well
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

/// Penalties to choose from on left-out seen classes.
const PENALTIES: [f64; 5] = [0.01, 0.03, 0.1, 0.3, 1.0];
const POWERS: [i32; 5] = [-2, -1, 0, 1, 2];

fn main() -> ExitCode {
    common::outcome::exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let images = arguments.network.images(&arguments.data)?;
    let table = AttributeTable::read(&arguments.attributes)?;
    let split = ClassSplit::read(&arguments.attributes)?;
    let task = Task::new(&images, &table, &split)?;
    let mut found = task.inductive()?;
    if let Ok(head) = arguments.network.source_head()
        && head.classes() == 1000
    {
        let probabilities = head.probabilities(&images.features.select(&task.test))?;
        found.push((
            "ConSE from ImageNet's animals",
            task.conse_from_imagenet(&probabilities, &table)?,
        ));
    }
    for (name, predictions) in found {
        let predictions: Vec<usize> = predictions.into_iter().map(|at| task.unseen[at]).collect();
        let accuracy = mean_class_accuracy(&predictions, &task.labels_of(&task.test))?;
        match arguments.json {
            true => println!(
                "{}",
                json!({"method": name, "mean_class_accuracy": accuracy})
            ),
            false => println!("{accuracy:.3}  {name}"),
        }
    }
    for (name, is_exemplar) in [("ESZSL", false), ("visual exemplars", true)] {
        for calibration in [false, true] {
            task.report_generalized(name, is_exemplar, calibration, arguments.json)?;
        }
    }
    Ok(())
}

/// Images of seen classes to learn from, images of unseen classes, and what is known of all classes.
struct Task<'a> {
    images: &'a Images,
    /// Of length 1, centred on the seen images, and of length 1 again.
    features: Features,
    /// Square roots, of length 1.
    roots: Features,
    /// Continuous and of length 1.
    signatures: Features,
    binary: Features,
    seen: Vec<usize>,
    unseen: Vec<usize>,
    train: Vec<usize>,
    test: Vec<usize>,
}

impl<'a> Task<'a> {
    fn new(
        images: &'a Images,
        table: &AttributeTable,
        split: &ClassSplit,
    ) -> Result<Self, Failure> {
        let rows = table.rows_of(&images.classes)?;
        let is_unseen = |class: &usize| split.test.contains(&images.classes[*class]);
        let (unseen, seen) = (0..rows.len()).partition(is_unseen);
        let (test, train): (Vec<usize>, Vec<usize>) =
            (0..images.labels.len()).partition(|row| is_unseen(&images.labels[*row]));
        let lengths = images.features.l2_normalized();
        let centre = SimpleShot::new(&lengths.select(&train))?;
        Ok(Self {
            features: centre.transform(&lengths)?,
            roots: images.features.power_normalized(0.5)?.l2_normalized(),
            signatures: table.strengths.select(&rows).l2_normalized(),
            binary: table.binary.select(&rows),
            images,
            seen,
            unseen,
            train,
            test,
        })
    }

    fn labels_of(&self, rows: &[usize]) -> Vec<usize> {
        rows.iter().map(|row| self.images.labels[*row]).collect()
    }

    /// Predictions of each method as places among the unseen classes.
    fn inductive(&self) -> Result<Vec<(&'static str, Vec<usize>)>, Failure> {
        let labels = self.labels_of(&self.train);
        let (x, z) = (
            self.features.select(&self.train),
            self.features.select(&self.test),
        );
        let unseen = self.signatures.select(&self.unseen);
        let roots = self.roots.select(&self.train);

        let exemplars = VisualExemplars::choose(&roots, &labels, &self.signatures, &PENALTIES, 5)?
            .fit(&roots, &labels, &self.signatures)?
            .scores(&self.roots.select(&self.test), &unseen)?;
        let eszsl = Eszsl::choose(&x, &labels, &self.signatures, &POWERS, 5)?
            .fit(&x, &labels, &self.signatures)?
            .scores(&z, &unseen)?;
        let learner = LogisticRegression::with_inverse_penalty(1.0, &x);
        let attributes = DirectAttributePrediction::fit(&x, &labels, &self.binary, &learner)?
            .predict(&z, &self.binary.select(&self.unseen))?;
        // A classifier of the seen classes, whose labels count them alone.
        let position = |label: &usize| self.seen.binary_search(label).unwrap_or(0);
        let seen_labels: Vec<usize> = labels.iter().map(position).collect();
        let head = LogisticRegression::with_inverse_penalty(10.0, &x).fit(
            &x,
            &seen_labels,
            self.seen.len(),
        )?;
        let means = SimpleShot::new(&self.signatures.select(&self.seen))?;
        let centred = means.transform(&self.signatures)?;
        let conse = Conse::default().predict(
            &head.probabilities(&z)?,
            &centred.select(&self.seen),
            &centred.select(&self.unseen),
        )?;
        let count = self.unseen.len();
        let refine = |scores: &[f64]| -> Result<Vec<usize>, Failure> {
            let refinement = PrototypeRefinement { steps: 5 };
            Ok(refinement.refine(&votes(scores, count), count, &z)?.labels)
        };
        Ok(vec![
            ("visual exemplars", argmax_rows(&exemplars, count)),
            ("ESZSL", argmax_rows(&eszsl, count)),
            ("direct attribute prediction", attributes),
            ("ConSE from the seen classes", conse),
            (
                "visual exemplars, then prototypes of the unlabelled images",
                refine(&exemplars)?,
            ),
            (
                "ESZSL, then prototypes of the unlabelled images",
                refine(&eszsl)?,
            ),
        ])
    }

    /// Nothing is learnt: the network's own classes that are kinds of a described animal, unseen ones left out, say what
    /// an image has of each.
    fn conse_from_imagenet(
        &self,
        probabilities: &[f64],
        table: &AttributeTable,
    ) -> Result<Vec<usize>, Failure> {
        let (mut places, mut animals) = (Vec::new(), Vec::new());
        for (animal, kinds) in imagenet::ANIMALS {
            for kind in kinds {
                places.push(*kind);
                animals.push(animal.to_string());
            }
        }
        let shares: Vec<f64> = probabilities
            .chunks_exact(1000)
            .flat_map(|row| places.iter().map(|place| row[*place]))
            .collect();
        let known = table
            .strengths
            .select(&table.rows_of(&animals)?)
            .l2_normalized();
        let means = SimpleShot::new(&known)?;
        Ok(Conse::default().predict(
            &shares,
            &means.transform(&known)?,
            &means.transform(&self.signatures.select(&self.unseen))?,
        )?)
    }

    /// All classes as candidates; every fifth image of the seen ones is held out. The offset is chosen with a fourth of
    /// the seen classes in turn as the unseen ones.
    fn report_generalized(
        &self,
        name: &str,
        is_exemplar: bool,
        is_calibrated: bool,
        json: bool,
    ) -> Result<(), Failure> {
        let stacking = if is_calibrated {
            let tasks = (0..4)
                .map(|part| {
                    let away: Vec<usize> =
                        self.seen.iter().copied().skip(part).step_by(4).collect();
                    self.generalized(&self.train, &away, is_exemplar)
                })
                .collect::<Result<Vec<_>, _>>()?;
            CalibratedStacking::choose(&tasks)?
        } else {
            CalibratedStacking::default()
        };
        let all: Vec<usize> = (0..self.images.labels.len()).collect();
        let found = stacking.accuracy(&self.generalized(&all, &self.unseen, is_exemplar)?)?;
        let (harmonic, seen, unseen) = (found.harmonic_mean(), found.seen, found.unseen);
        let how = if is_calibrated { ", calibrated" } else { "" };
        match json {
            true => println!(
                "{}",
                json!({"method": format!("{name} among all classes{how}"), "seen": seen, "unseen": unseen,
                       "harmonic_mean": harmonic, "offset": stacking.offset})
            ),
            false => println!(
                "{harmonic:.3}  {name} among all classes{how}: harmonic mean of seen {seen:.3}, unseen {unseen:.3}"
            ),
        }
        Ok(())
    }

    /// Scores of held-out images `rows` among the classes that these have, learnt without the classes `away`.
    fn generalized(
        &self,
        rows: &[usize],
        away: &[usize],
        is_exemplar: bool,
    ) -> Result<GeneralizedScores, Failure> {
        let (new, known): (Vec<usize>, Vec<usize>) = rows
            .iter()
            .partition(|row| away.contains(&self.images.labels[**row]));
        let held_out: Vec<usize> = known.iter().copied().skip(4).step_by(5).collect();
        let train: Vec<usize> = known
            .into_iter()
            .filter(|row| !held_out.contains(row))
            .collect();
        let test: Vec<usize> = held_out.into_iter().chain(new).collect();
        let mut classes = self.labels_of(rows);
        classes.sort_unstable();
        classes.dedup();
        let (labels, candidates) = (self.labels_of(&train), self.signatures.select(&classes));
        let scores = if is_exemplar {
            let x = self.roots.select(&train);
            VisualExemplars::choose(&x, &labels, &self.signatures, &PENALTIES, 5)?
                .fit(&x, &labels, &self.signatures)?
                .scores(&self.roots.select(&test), &candidates)?
        } else {
            let x = self.features.select(&train);
            Eszsl::choose(&x, &labels, &self.signatures, &POWERS, 5)?
                .fit(&x, &labels, &self.signatures)?
                .scores(&self.features.select(&test), &candidates)?
        };
        let place = |label: &usize| classes.binary_search(label).unwrap_or(0);
        // Penalties differ from task to task, and the scale of the scores with them.
        let squares: f64 = scores.iter().map(|score| score * score).sum();
        let scale = (squares / scores.len() as f64)
            .sqrt()
            .max(f64::MIN_POSITIVE);
        Ok(GeneralizedScores {
            scores: scores.into_iter().map(|score| score / scale).collect(),
            labels: self.labels_of(&test).iter().map(place).collect(),
            is_seen: classes.iter().map(|class| !away.contains(class)).collect(),
        })
    }
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
