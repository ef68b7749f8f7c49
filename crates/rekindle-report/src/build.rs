//! Fills a report: from data, from a run that has just ended, and from run directories.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use burn::prelude::*;
use image::{ImageFormat, RgbImage};
use rekindle_files::names;
use rekindle_imagefolder::Augmentation;
use rekindle_imagefolder::Task;
use rekindle_imagefolder::grid::{self, Tile};
use rekindle_nn::Network;
use rekindle_transfer::Classifier;
use serde::Deserialize;
use serde_json::Value;

use crate::contents::{
    ClassCount, DataReport, Fact, NumberSpread, Picture, Report, RunReport, SkippedFile,
};
use crate::examine::{examine_inspected, scored_numbers};
use rekindle_trainer::inspect::{Inspection, inspect, is_sampled};
use rekindle_trainer::run_directory::RunRecord;
use rekindle_trainer::{
    Interrupt, Model, Predictions, RunDirectory, TrainerError, TransferData, text,
};

/// Pictures in a grid and how many stand side by side.
const TILES: usize = 16;
const COLUMNS: usize = 4;

impl Report {
    /// Reads runs back from their directories, to see them side by side. What a run wrote down is enough for its
    /// curves; where its images and best weights can still be read, it is examined again ([`examine`](crate::examine)), otherwise
    /// its description says why not. `data` is where the images are, should they have moved. `progress` hears what
    /// is being done.
    ///
    /// # Errors
    ///
    /// A folder that is no run directory, or a damaged one.
    pub fn from_runs(
        paths: &[PathBuf],
        data: Option<&Path>,
        device: &Device,
        mut progress: impl FnMut(&str),
    ) -> Result<Self, TrainerError> {
        let mut report = Report::new("");
        let (mut titles, mut records) = (Vec::new(), Vec::new());
        for path in paths {
            let directory = RunDirectory::open(path)?;
            let record = directory.record().clone();
            progress(&format!("reading {}", names::show(path)));
            let mut run = RunReport::from_events(record.strategy_name(), &directory.events()?);
            if let Err(error) = report.examine_again(&mut run, &directory, data, device) {
                progress(&format!(
                    "{}: no more than its curves, since {error}",
                    names::show(path)
                ));
                run.description = format!(
                    "Only what the run wrote down is shown: its images or its best weights can't be read again \
                     ({error})."
                );
            }
            titles.push(record.title.clone());
            records.push(record);
            report.runs.push(run);
        }
        report.title = titles.first().cloned().unwrap_or_default();
        if titles.len() > 1 {
            report.title = format!("{} runs: {}", titles.len(), common_start(&titles));
        }
        tell_apart(&mut report.runs, paths);
        let names: Vec<String> = report.runs.iter().map(|run| run.name.clone()).collect();
        report.describe_records(&names, &records);
        Ok(report)
    }

    fn examine_again(
        &mut self,
        run: &mut RunReport,
        directory: &RunDirectory,
        data: Option<&Path>,
        device: &Device,
    ) -> Result<(), TrainerError> {
        let record = directory.record();
        let listing = directory.listing(data)?;
        let model = Model::open(directory.path(), device)?;
        let data = TransferData::from_listing(&listing, &model.preprocess, record.seed)?;
        let augmentation = Augmentation::deserialize(&record.recipe["augment"]);
        let data = match augmentation {
            Ok(augmentation) => data.augmented(&augmentation)?,
            Err(_) => data,
        };
        let source = names::escape(listing.given());
        if self.data.classes.is_empty() {
            self.describe_data(&data, record.seed)?;
        } else if self.data.source != source {
            run.description = format!("Trained on {source}.");
        }
        run.look_at(&model.classifier, &data, model.thresholds.as_deref())
    }

    /// Tells of the data: its classes and how many images each has, what was left out, and a grid of augmented
    /// training images.
    ///
    /// # Errors
    ///
    /// [`TrainerError::UnusableData`] for pictures that can't be drawn.
    pub fn describe_data(&mut self, data: &TransferData, seed: u64) -> Result<(), TrainerError> {
        let counts = data
            .train
            .class_counts()
            .into_iter()
            .zip(data.val.class_counts());
        self.data = DataReport {
            source: source(&data.description),
            images: Some([data.train.len(), data.val.len()]),
            classes: data
                .classes
                .iter()
                .zip(counts)
                .map(|(name, (train, valid))| ClassCount {
                    name: name.clone(),
                    train,
                    valid,
                })
                .collect(),
            numbers: (data.task() == Task::Regression)
                .then(|| [&data.train, &data.val].map(|part| spread(part.targets()))),
            skipped: data
                .left_out
                .iter()
                .map(|file| SkippedFile {
                    path: file.path.clone(),
                    reason: file.reason.clone(),
                })
                .collect(),
        };
        if let Some(grid) = augmented_grid(data, seed)? {
            let caption = "Training images, augmented; runs on features kept in one view see them as they are";
            self.pictures.push(Picture::new(caption, png(&grid)?));
        }
        Ok(())
    }

    /// Adds what a reader must know to do a run again.
    pub fn describe_record(&mut self, record: &RunRecord) {
        self.facts.extend(facts(record));
    }

    /// The same of several runs: what they share once, what they don't with their names.
    fn describe_records(&mut self, names: &[String], records: &[RunRecord]) {
        let facts: Vec<Vec<Fact>> = records.iter().map(facts).collect();
        let mut told: Vec<&str> = Vec::new();
        for fact in facts.iter().flatten() {
            if told.contains(&fact.name.as_str()) {
                continue;
            }
            told.push(&fact.name);
            let mut values: Vec<(&str, Vec<&str>)> = Vec::new();
            for (name, facts) in names.iter().zip(&facts) {
                let found = facts.iter().find(|other| other.name == fact.name);
                let value = found.map_or("none", |fact| fact.value.as_str());
                match values.iter_mut().find(|(other, _)| *other == value) {
                    Some((_, runs)) => runs.push(name),
                    None => values.push((value, vec![name])),
                }
            }
            match &values[..] {
                [(value, _)] => self.fact(&fact.name, value),
                several => {
                    let several = several
                        .iter()
                        .map(|(value, runs)| format!("{}: {value}", runs.join(", ")));
                    self.fact(&fact.name, several.collect::<Vec<_>>().join("\n"))
                }
            };
        }
    }
}

/// The folder or the table that the images come from.
fn source(description: &Value) -> String {
    let folder = description["folder"].as_str();
    let place = folder.or_else(|| description["table"]["file"].as_str());
    place.unwrap_or_default().into()
}

fn facts(record: &RunRecord) -> Vec<Fact> {
    let fact = |name: &str, value: &dyn std::fmt::Display| Fact {
        name: name.into(),
        value: value.to_string(),
    };
    let mut facts = vec![fact("Network", &record.architecture)];
    match &record.weights {
        Some(weights) => {
            let all = || std::iter::once(weights).chain(&record.beside);
            let sources: Vec<&str> = all().map(|one| one.source.as_str()).collect();
            let digests: Vec<&str> = all().map(|one| one.sha256.as_str()).collect();
            facts.push(fact("Source weights", &sources.join("\n")));
            facts.push(fact("SHA-256 of the source weights", &digests.join("\n")));
        }
        None => facts.push(fact("Source weights", &"none")),
    }
    facts.push(fact("Recipe", &record.recipe));
    facts.push(fact("Seed", &record.seed));
    facts.push(fact("Device", &record.device));
    facts.push(fact("rekindle", &record.rekindle));
    facts
}

impl RunReport {
    /// Examines the run's best classifier on the validation images.
    ///
    /// # Errors
    ///
    /// As [`examine`](crate::examine).
    pub fn look(
        &mut self,
        classifier: &Classifier<Network>,
        data: &TransferData,
    ) -> Result<(), TrainerError> {
        self.look_at(classifier, data, None)
    }

    /// The same with the threshold of each label, where pictures have several.
    ///
    /// # Errors
    ///
    /// As [`examine`](crate::examine), and [`TrainerError::InvalidPredictions`] where no image can be read.
    pub fn look_at(
        &mut self,
        classifier: &Classifier<Network>,
        data: &TransferData,
        thresholds: Option<&[f64]>,
    ) -> Result<(), TrainerError> {
        let (task, images) = (data.task(), data.val.len());
        let is_kept = |index| task.is_single_label() && is_sampled(index, images);
        let inspection = inspect(classifier, &data.val, is_kept, &Interrupt::new(), |_| ())?;
        self.look_at_inspected(classifier, data, &inspection, thresholds)
    }

    /// Adds what a pass over the validation images gave, as [`look_at`](Self::look_at) makes one.
    ///
    /// # Errors
    ///
    /// As [`look_at`](Self::look_at).
    pub fn look_at_inspected(
        &mut self,
        classifier: &Classifier<Network>,
        data: &TransferData,
        inspection: &Inspection,
        thresholds: Option<&[f64]>,
    ) -> Result<(), TrainerError> {
        match data.task() {
            Task::SingleLabel | Task::Ordinal => {
                self.examined(examine_inspected(classifier, &data.val, inspection)?);
                return Ok(());
            }
            Task::MultiLabel => {
                let found = inspection.predictions(&data.val);
                self.labels = Some(found.multi_label(thresholds)?);
                // A search chooses them on training images that it held out.
                let chosen = thresholds.filter(|_| !self.is_search());
                self.thresholds = match chosen {
                    Some(_) => Some(found.label_thresholds()?),
                    None => None,
                };
            }
            Task::Regression => self.numbers = Some(scored_numbers(&data.val, inspection)?),
        }
        for file in &inspection.skipped {
            self.skip(&file.path, &file.reason);
        }
        Ok(())
    }
}

/// Lowest, mean and highest of numbers.
fn spread(numbers: Option<&[f32]>) -> NumberSpread {
    let all = || numbers.unwrap_or_default().iter().map(|n| f64::from(*n));
    NumberSpread {
        low: all().fold(f64::INFINITY, f64::min),
        mean: all().sum::<f64>() / all().count().max(1) as f64,
        high: all().fold(f64::NEG_INFINITY, f64::max),
    }
}

/// Draws a grid of augmented training images, as in the first epoch of a run with this seed; none where none can be read.
///
/// # Errors
///
/// Pictures too large to draw.
pub fn augmented_grid(data: &TransferData, seed: u64) -> Result<Option<RgbImage>, TrainerError> {
    let count = data.train.len();
    let mut tiles = Vec::new();
    for position in 0..TILES.min(count) {
        let index = position * count / TILES.min(count);
        let Ok(image) = data.train.render_pixels(index, seed, 0, 0) else {
            continue; // Training lists the files that can't be decoded.
        };
        let label = data.train.labels()[index];
        tiles.push(Tile {
            image,
            caption: match data.train.targets_of(index) {
                Some(targets) if data.task() == Task::Regression => numbered(targets),
                Some(targets) => marked(&data.classes, targets),
                None => label.map_or_else(String::new, |label| on_one_line(&data.classes[label])),
            },
            marked_wrong: false,
        });
    }
    drawn(&tiles)
}

/// Draws a grid of validation images with the class that each was taken for and its probability; where that is wrong, the
/// true class stands below. Wrong answers are framed, come first, and fill at most half of the grid.
///
/// # Errors
///
/// Images that can't be read any more, and pictures too large to draw.
pub fn prediction_grid(
    data: &TransferData,
    predictions: &Predictions,
) -> Result<Option<RgbImage>, TrainerError> {
    let top = predictions.top();
    let is_wrong = |at: &usize| top[*at].0 != predictions.labels[*at];
    let (wrong, right): (Vec<usize>, Vec<usize>) = (0..top.len()).partition(is_wrong);
    let wrong = &wrong[..wrong.len().min(TILES / 2)];
    let step = (right.len() / (TILES - wrong.len())).max(1);
    let mut tiles = Vec::new();
    for at in wrong.iter().chain(right.iter().step_by(step)).take(TILES) {
        let (class, probability) = top[*at];
        let name = |class: usize| on_one_line(&data.classes[class]);
        let caption = match predictions.labels[*at] {
            truth if truth == class => format!("{} {probability:.2}", name(class)),
            truth => format!("said {} {probability:.2}\nis {}", name(class), name(truth)),
        };
        tiles.push(Tile {
            image: data.val.render_pixels(predictions.indices[*at], 0, 0, 0)?,
            caption,
            marked_wrong: is_wrong(at),
        });
    }
    drawn(&tiles)
}

/// The number of a picture.
fn numbered(targets: &[f32]) -> String {
    let shown = targets
        .iter()
        .map(|number| text::figure(f64::from(*number)));
    shown.collect::<Vec<_>>().join(", ")
}

/// The first labels that a picture has, and how many more.
fn marked(names: &[String], targets: &[f32]) -> String {
    const SHOWN: usize = 2;
    let marked = names
        .iter()
        .zip(targets)
        .filter(|(_, target)| **target > 0.5);
    let marked: Vec<String> = marked.map(|(name, _)| on_one_line(name)).collect();
    let more = match marked.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" +{more}"),
    };
    marked[..marked.len().min(SHOWN)].join(", ") + &more
}

/// A folder's name may hold line breaks, which would be lines of a caption.
fn on_one_line(name: &str) -> String {
    name.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn drawn(tiles: &[Tile]) -> Result<Option<RgbImage>, TrainerError> {
    if tiles.is_empty() {
        return Ok(None);
    }
    Ok(Some(grid::draw(tiles, COLUMNS)?))
}

fn png(picture: &RgbImage) -> Result<Vec<u8>, TrainerError> {
    let mut bytes = Cursor::new(Vec::new());
    picture
        .write_to(&mut bytes, ImageFormat::Png)
        .map_err(|error| TrainerError::UnusableData {
            what: "picture for the report".into(),
            found: error.to_string(),
            advice: "use smaller pictures",
        })?;
    Ok(bytes.into_inner())
}

/// Runs of one strategy are called by their folders as well.
fn tell_apart(runs: &mut [RunReport], paths: &[PathBuf]) {
    let names: Vec<String> = runs.iter().map(|run| run.name.clone()).collect();
    for (at, run) in runs.iter_mut().enumerate() {
        let is_shared = names.iter().filter(|name| **name == names[at]).count() > 1;
        if let (true, Some(folder)) = (is_shared, paths[at].file_name()) {
            let mut folder = names::escape(folder);
            let of_this_name = |path: &&PathBuf| path.file_name() == paths[at].file_name();
            if paths.iter().filter(of_this_name).count() > 1 {
                folder = names::escape(&paths[at]);
            }
            run.name = format!("{} ({folder})", names[at]);
        }
    }
}

/// Returns the common start of all titles, up to a whole word, or the first title where there is none.
fn common_start(titles: &[String]) -> String {
    let first: Vec<&str> = titles[0].split_whitespace().collect();
    let shared = (0..first.len()).take_while(|at| {
        titles
            .iter()
            .all(|title| title.split_whitespace().nth(*at) == Some(first[*at]))
    });
    match shared.count() {
        0 => titles[0].clone(),
        words => first[..words].join(" ").trim_end_matches(',').to_string(),
    }
}
