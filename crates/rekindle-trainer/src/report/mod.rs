//! A run, or several side by side, as one HTML file for people.
//!
//! The file needs nothing but itself: pictures and curves are inside, no script, no network. It
//! reads in light and dark and prints.

mod axis;
mod build;
mod chart;
mod comparison;
mod confusion;
mod data;
mod examine;
mod gallery;
mod html;
mod images;
mod page;
mod rates;
mod reliability;
mod run;
mod scatter;
mod time;

pub use build::{augmented_grid, prediction_grid, run_directories};
pub use examine::{Examination, FeatureMap, MapPoint, Mistake, examine};

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::TrainerError;
use crate::events::{EpochMetrics, Event, RunOutcome, RunSummary, StageSummary};
use crate::metrics::{Evaluation, Temperature};
use crate::run_directory::{RunRecord, atomic_write};

/// What the report tells. Plain data: it can be kept as JSON and drawn again.
///
/// ```
/// use rekindle_trainer::report::{Report, RunReport};
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
    /// When it was made, RFC 3339.
    pub created: String,
    /// What a reader must know to do it again: seed, device, weights and their SHA-256, versions.
    pub facts: Vec<Fact>,
    /// What was trained and validated on.
    pub data: DataReport,
    /// One entry a strategy, in the order to compare them.
    pub runs: Vec<RunReport>,
    /// Pictures of the data, as a grid of augmented training images.
    pub pictures: Vec<Picture>,
}

/// A name and a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// What it is about.
    pub name: String,
    /// What is so.
    pub value: String,
}

/// The images of the runs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DataReport {
    /// The folder.
    pub source: String,
    /// The classes, in the order of the logits.
    pub classes: Vec<ClassCount>,
    /// Files that were left out.
    pub skipped: Vec<SkippedFile>,
}

/// How many images a class has.
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
    /// Why.
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

/// What one run, usually one strategy, did.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RunReport {
    /// The strategy's name.
    pub name: String,
    /// A sentence on what it does; may be empty.
    pub description: String,
    /// What it began with, where known.
    pub summary: Option<RunSummary>,
    /// Which parts were trained when.
    pub stages: Vec<StageSummary>,
    /// The epochs, in order.
    pub epochs: Vec<EpochMetrics>,
    /// Time spent around the epochs.
    pub phases: Vec<PhaseTime>,
    /// How it ended; none while it goes on.
    pub outcome: Option<RunOutcome>,
    /// What the best weights are worth on the validation images.
    pub evaluation: Option<Evaluation>,
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
    /// How long.
    pub seconds: f64,
}

impl Report {
    /// An empty report, dated now.
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

    /// The report as one HTML document.
    pub fn to_html(&self) -> String {
        page::draw(self)
    }

    /// Writes the HTML document to a file, replacing an older one at once.
    ///
    /// # Errors
    ///
    /// Those of [`atomic_write`].
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), TrainerError> {
        let html = self.to_html();
        atomic_write(path, |file| Ok(file.write_all(html.as_bytes())?))
    }
}

impl Picture {
    /// A PNG file's bytes with a line to go below.
    pub fn new(caption: impl Into<String>, png: Vec<u8>) -> Self {
        Self {
            caption: caption.into(),
            png,
        }
    }
}

impl RunReport {
    /// Gathers from a run's events what the report tells of it. Of an epoch that a resumed run did
    /// twice the later one counts.
    pub fn from_events(name: impl Into<String>, events: &[Event]) -> Self {
        let mut run = Self {
            name: name.into(),
            ..Self::default()
        };
        for event in events {
            match event {
                Event::RunStarted(summary) => run.summary = Some(summary.clone()),
                Event::StageStarted(stage) => {
                    run.stages
                        .retain(|other| other.first_epoch != stage.first_epoch);
                    run.stages.push(stage.clone());
                }
                Event::EpochEnded { metrics } => {
                    run.epochs.retain(|other| other.epoch < metrics.epoch);
                    run.epochs.push(metrics.clone());
                }
                Event::PhaseEnded { name, seconds } => run.add_phase(name, *seconds),
                Event::SkippedFile { path, reason } => run.skip(path, reason),
                Event::RunEnded(outcome) => run.outcome = Some(outcome.clone()),
                _ => {}
            }
        }
        run
    }

    /// The epoch with the best validation accuracy, the earliest of equal ones; without validation
    /// images there is none.
    pub fn best_epoch(&self) -> Option<&EpochMetrics> {
        let recorded = self.outcome.as_ref().and_then(|outcome| outcome.best_epoch);
        if let Some(epoch) = recorded {
            return self.epochs.iter().find(|metrics| metrics.epoch == epoch);
        }
        self.epochs
            .iter()
            .filter(|metrics| metrics.valid_accuracy.is_some_and(f64::is_finite))
            .reduce(|best, next| {
                if next.valid_accuracy > best.valid_accuracy {
                    next
                } else {
                    best
                }
            })
    }

    /// Best accuracy on the validation images, 0 to 1.
    pub fn best_accuracy(&self) -> Option<f64> {
        self.outcome
            .as_ref()
            .and_then(|outcome| outcome.best_accuracy)
            .or_else(|| self.best_epoch().and_then(|epoch| epoch.valid_accuracy))
            .or_else(|| self.evaluation.as_ref().map(|found| found.accuracy))
    }

    /// Seconds from start to end, or what is known of them.
    pub fn seconds(&self) -> f64 {
        let known: f64 = self.times().iter().map(|phase| phase.seconds).sum();
        self.outcome
            .as_ref()
            .map_or(known, |outcome| outcome.seconds.max(known))
    }

    /// The time by what it was spent on: phases, training, validation.
    fn times(&self) -> Vec<PhaseTime> {
        let mut times = self.phases.clone();
        let epochs = |seconds: fn(&EpochMetrics) -> f64| self.epochs.iter().map(seconds).sum();
        times.push(PhaseTime {
            name: "training".into(),
            seconds: epochs(|epoch| epoch.train_seconds),
        });
        times.push(PhaseTime {
            name: "validation".into(),
            seconds: epochs(|epoch| epoch.valid_seconds),
        });
        times.retain(|time| time.seconds.is_finite() && time.seconds > 0.0);
        times
    }

    /// Every epoch meets a bad file again; it is listed once.
    fn skip(&mut self, path: &Path, reason: &str) {
        if !self.skipped.iter().any(|file| file.path == path) {
            self.skipped.push(SkippedFile {
                path: path.to_path_buf(),
                reason: reason.to_string(),
            });
        }
    }

    fn add_phase(&mut self, name: &str, seconds: f64) {
        match self.phases.iter_mut().find(|phase| phase.name == name) {
            Some(phase) => phase.seconds += seconds,
            None => self.phases.push(PhaseTime {
                name: name.into(),
                seconds,
            }),
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
