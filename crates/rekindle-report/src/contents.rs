//! Describes the contents of a report as plain data.

use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::folds::FoldReport;
use rekindle_trainer::events::{
    EpochMetrics, Forecast, RunOutcome, RunSummary, StageSummary, Trial,
};
use rekindle_trainer::metrics::{
    Evaluation, LabelThresholds, MultiLabelEvaluation, OrdinalEvaluation, RegressionEvaluation,
    Temperature,
};
use rekindle_trainer::run_directory::RunRecord;

/// Contents of a report. Plain data: it can be kept as JSON and drawn again.
///
/// ```
/// use rekindle_report::{Report, RunReport};
///
/// let mut report = Report::new("ants and bees");
/// report.fact("device", "cpu");
/// report.runs.push(RunReport::from_events("fine-tuning", &[]));
/// let html = report.to_html();
/// assert!(html.contains("ants and bees"));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The heading.
    pub title: String,
    /// Time of creation, RFC 3339.
    pub created: String,
    /// Facts that a reader needs to reproduce it: seed, device, weights and their SHA-256, versions.
    pub facts: Vec<Fact>,
    /// Data that was trained and validated on.
    pub data: DataReport,
    /// One entry per strategy, in the order to compare them.
    pub runs: Vec<RunReport>,
    /// Pictures of the data, as a grid of augmented training images.
    pub pictures: Vec<Picture>,
}

/// A name and a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// Name of the fact.
    pub name: String,
    /// Value of the fact.
    pub value: String,
}

/// The images of the runs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct DataReport {
    /// The folder.
    pub source: String,
    /// Training and validation images. Where they may have several labels, the classes' add up to more.
    #[serde(default)]
    pub images: Option<[usize; 2]>,
    /// The classes, in the order of the logits.
    pub classes: Vec<ClassCount>,
    /// The spread of the number that is learned, in the training and in the validation images; none where classes are.
    #[serde(default)]
    pub numbers: Option<[NumberSpread; 2]>,
    /// Files that were left out.
    pub skipped: Vec<SkippedFile>,
}

/// The spread of some numbers.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct NumberSpread {
    /// The lowest.
    pub low: f64,
    /// Their mean.
    pub mean: f64,
    /// The highest.
    pub high: f64,
}

/// Number of images of a class.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ClassCount {
    /// The class.
    pub name: String,
    /// Training images.
    pub train: usize,
    /// Validation images.
    pub valid: usize,
}

/// A file that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedFile {
    /// The file.
    #[serde(with = "rekindle_files::names::path")]
    pub path: PathBuf,
    /// Reason why it was skipped.
    pub reason: String,
}

/// A picture to show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// One line below the picture.
    pub caption: String,
    /// The bytes of a PNG file; base64 in JSON.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub png: Vec<u8>,
}

/// Results of one run, usually one strategy.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RunReport {
    /// The strategy's name.
    pub name: String,
    /// A sentence on what it does; may be empty.
    pub description: String,
    /// Settings that it began with, where known.
    pub summary: Option<RunSummary>,
    /// Stages: which parts were trained when.
    pub stages: Vec<StageSummary>,
    /// The epochs, in order.
    pub epochs: Vec<EpochMetrics>,
    /// Time spent around the epochs.
    pub phases: Vec<PhaseTime>,
    /// What was tried on held-out training images, in order.
    #[serde(default)]
    pub trials: Vec<Trial>,
    /// What was expected before the validation images were looked at.
    #[serde(default)]
    pub forecast: Option<Forecast>,
    /// The runs on the folds, where it was cross-validated.
    #[serde(default)]
    pub folds: Vec<FoldReport>,
    /// How it ended; none while it goes on.
    pub outcome: Option<RunOutcome>,
    /// Evaluation of the best weights on the validation images.
    pub evaluation: Option<Evaluation>,
    /// Distances of answers and true classes, where the classes are in an order.
    #[serde(default)]
    pub ordinal: Option<OrdinalEvaluation>,
    /// The same where pictures have several labels.
    #[serde(default)]
    pub labels: Option<MultiLabelEvaluation>,
    /// What the labels' thresholds are worth, where the validation images chose them.
    #[serde(default)]
    pub thresholds: Option<LabelThresholds>,
    /// The same where a number of each picture is learned.
    #[serde(default)]
    pub numbers: Option<NumbersReport>,
    /// What temperature scaling would do to its confidence.
    #[serde(default)]
    pub temperature: Option<Temperature>,
    /// The wrong answers that were given most confidently.
    #[serde(default)]
    pub mistakes: Vec<Mistake>,
    /// The validation images by their features.
    #[serde(default)]
    pub map: Option<FeatureMap>,
    /// Files that were left out in training or validation.
    #[serde(default)]
    pub skipped: Vec<SkippedFile>,
    /// Pictures of this run, as a grid of predictions.
    pub pictures: Vec<Picture>,
}

/// Time spent on something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseTime {
    /// On what.
    pub name: String,
    /// Duration in seconds.
    pub seconds: f64,
}

/// A wrong answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mistake {
    /// The image's file; empty for one that never was a file.
    pub file: String,
    /// Its class.
    pub truth: usize,
    /// The class it was taken for.
    pub predicted: usize,
    /// Probability of that, 0 to 1.
    pub confidence: f64,
    /// The image as the network saw it: the bytes of a JPEG file.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub picture: Vec<u8>,
    /// The same in grey, coloured where [`GradCam`](rekindle_trainer::GradCam) says that the answer comes from.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub overlay: Vec<u8>,
}

/// What numbers that a model gives are worth on the validation images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NumbersReport {
    /// Name of the number, such as `age`.
    pub name: String,
    /// Mean absolute error, R2 and the like.
    pub evaluation: RegressionEvaluation,
    /// The true number of an image and the answer; of many images, as many evenly.
    pub points: Vec<[f64; 2]>,
    /// The images with the largest errors, the worst first.
    pub worst: Vec<Miss>,
}

/// An image whose number was missed by much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Miss {
    /// The image's file; empty for one that never was a file.
    pub file: String,
    /// Its number.
    pub truth: f64,
    /// The number that the model gave.
    pub answer: f64,
    /// The image as the network saw it: the bytes of a JPEG file.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub picture: Vec<u8>,
}

/// Images as points: their pooled features along the two directions of largest variance (PCA).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureMap {
    /// One point per image.
    pub points: Vec<MapPoint>,
    /// Images that there are; the points may be a sample of them.
    pub images: usize,
    /// Share of the features' variance along the first and the second direction, 0 to 1.
    pub explained: [f64; 2],
}

/// An image on a [`FeatureMap`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MapPoint {
    /// Along the first direction.
    pub x: f64,
    /// Along the second one.
    pub y: f64,
    /// The image's class.
    pub truth: usize,
    /// The class it was taken for.
    pub predicted: usize,
}

impl Report {
    /// Returns an empty report, dated now.
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            created: RunRecord::new("").created,
            title: title.into(),
            facts: Vec::new(),
            data: DataReport::default(),
            runs: Vec::new(),
            pictures: Vec::new(),
        }
    }

    /// Adds a line to the facts.
    pub fn fact(&mut self, name: impl Into<String>, value: impl ToString) -> &mut Self {
        self.facts.push(Fact {
            name: name.into(),
            value: value.to_string(),
        });
        self
    }
}

impl Picture {
    /// Returns a PNG file's bytes with a line to go below.
    pub fn new(caption: impl Into<String>, png: Vec<u8>) -> Self {
        Self {
            caption: caption.into(),
            png,
        }
    }
}

fn to_base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    BASE64_STANDARD
        .decode(text)
        .map_err(serde::de::Error::custom)
}
