//! Each class left out in turn: how well pictures of it are told from those of the classes that were learned.
//!
//! For each class, a head on frozen features is fitted to the training pictures of all others, and a score is chosen by
//! [`OpenSetSearch`] on these alone. Then validation pictures of the class have to be told from those of the others: the area
//! under the ROC curve of every score and of the chosen one, mean over the classes. The threshold is set by one half of
//! the known validation pictures and measured on the other half.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use burn::prelude::*;
use rekindle_imagefolder::{ImageFolder, Listing};
use rekindle_models::Pretrained;
use rekindle_trainer::{FeatureExtractor, Temperature, VALIDATION_SHARE};
use rekindle_transfer::features::{
    Features, LinearHead, OpenSetSearch, ProbeSearch, UnknownDetector, UnknownScore, auroc,
    false_positive_rate,
};

/// The share of known pictures that may be rejected.
const REJECTED: f64 = 0.1;

/// Features of a part with their classes.
struct Part {
    features: Features,
    labels: Vec<usize>,
}

impl Part {
    fn of(pretrained: &Pretrained, images: &ImageFolder) -> Result<Self, Box<dyn Error>> {
        let table = FeatureExtractor::new(&Device::flex()).run(pretrained, images)?;
        Ok(Self {
            features: Features::new(table.values, table.width)?,
            labels: table
                .labels
                .into_iter()
                .map(Option::unwrap_or_default)
                .collect(),
        })
    }

    /// The pictures of `class`, and all others with the other classes numbered anew.
    fn split(&self, class: usize) -> (Features, Self) {
        let (own, others): (Vec<usize>, Vec<usize>) =
            (0..self.labels.len()).partition(|row| self.labels[*row] == class);
        let number = |row: &usize| self.labels[*row] - usize::from(self.labels[*row] > class);
        let known = Self {
            labels: others.iter().map(number).collect(),
            features: self.features.select(&others),
        };
        (self.features.select(&own), known)
    }
}

/// What was measured, by name; each is a mean over classes in the end.
type Measured = BTreeMap<String, Vec<f64>>;

#[test]
#[ignore = "takes minutes, and wants the sets of ../shared/peers/make_sets.py (UNKNOWN_SETS) and weights (UNKNOWN_WEIGHTS)"]
fn classes_that_were_left_out_are_told() {
    let place = |name: &str| PathBuf::from(std::env::var(name).expect(name));
    let (sets, weights) = (place("UNKNOWN_SETS"), place("UNKNOWN_WEIGHTS"));
    let pretrained = Pretrained::open(&weights, &Device::flex()).unwrap();
    let mut means = Measured::new();
    for set in ["amazon", "animals", "photo"] {
        let found = measured(&pretrained, &sets.join(set)).unwrap();
        let mut shown = Vec::new();
        for (name, all) in &found {
            shown.push(format!("{name} {:.3}", mean(all)));
            means.entry(name.clone()).or_default().push(mean(all));
        }
        println!("{set}: {}", shown.join(", "));
    }
    let shown = means
        .iter()
        .map(|(name, all)| format!("{name} {:.3}", mean(all)));
    println!("mean: {}", shown.collect::<Vec<_>>().join(", "));
    let best = UnknownScore::ALL.map(|score| mean(&means[score.name()]));
    let best = best.into_iter().fold(0.0, f64::max);
    let chosen = mean(&means["chosen"]);
    assert!(chosen > best - 0.01, "chosen {chosen:.3}, best {best:.3}");
}

/// Leaves out each class of a folder.
fn measured(pretrained: &Pretrained, folder: &Path) -> Result<Measured, Box<dyn Error>> {
    let (train, val) = Listing::open(folder)?.open_split(VALIDATION_SHARE, 0)?;
    let classes = train.images.classes().len();
    let (train, val) = (
        Part::of(pretrained, &train.images)?,
        Part::of(pretrained, &val.images)?,
    );
    let mut found = Measured::new();
    for class in 0..classes {
        let (_, learned) = train.split(class);
        let (unknown, known) = val.split(class);
        let (count, features, labels) = (classes - 1, &learned.features, &learned.labels);
        let head = ProbeSearch::default()
            .fit(features, labels, count, None, None)?
            .head;
        // As in a run: fitted to the validation pictures of the classes that are known.
        let probabilities = head.probabilities(&known.features)?;
        let narrow: Vec<f32> = probabilities.iter().map(|p| *p as f32).collect();
        let temperature = Temperature::fit(&narrow, &known.labels, count)?.to_keep();
        let chosen = OpenSetSearch::default()
            .run(features, labels, count)?
            .chosen();
        for score in UnknownScore::ALL {
            let detector = UnknownDetector::fit(score, features, labels, count, temperature)?;
            let of_known = scores(&detector, &head, &known.features)?;
            let of_unknown = scores(&detector, &head, &unknown)?;
            let area = auroc(&of_unknown, &of_known).ok_or("a class without pictures")?;
            let mut note = |name: &str, value| found.entry(name.into()).or_default().push(value);
            note(score.name(), area);
            if score != chosen {
                continue;
            }
            note("chosen", area);
            let passed = false_positive_rate(&of_unknown, &of_known, 0.95);
            note("chosen FPR95", passed.ok_or("a class without pictures")?);
            // Pictures come class by class: every second one is a fair half.
            let half = |first: usize| of_known.iter().skip(first).step_by(2).copied();
            let threshold = detector.with_held_out(half(0)).threshold(REJECTED)?;
            let above = |scores: Vec<f64>| {
                let above = scores.iter().filter(|score| **score > threshold);
                above.count() as f64 / scores.len() as f64
            };
            note("known rejected", above(half(1).collect()));
            note("unknown rejected", above(of_unknown));
        }
    }
    Ok(found)
}

fn scores(
    detector: &UnknownDetector,
    head: &LinearHead,
    features: &Features,
) -> Result<Vec<f64>, Box<dyn Error>> {
    let logits: Vec<f32> = head.logits(features)?.iter().map(|z| *z as f32).collect();
    let rows = features.rows().zip(logits.chunks_exact(head.classes()));
    rows.map(|(row, logits)| Ok(detector.score(logits, row)?))
        .collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
