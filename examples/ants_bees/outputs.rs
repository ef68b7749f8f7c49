//! What the example leaves: pictures, a table, report.html, lines of JSON.

use std::path::{Path, PathBuf};

use rekindle::imagefolder::grid::{self, Tile};
use rekindle::resnet::ResNet;
use rekindle::trainer::report::{ClassCount, Picture, Report, RunReport};
use rekindle::trainer::{Evaluation, Event, Fitted, TransferData};
use rekindle::transfer::Strategy;
use serde_json::json;

use crate::Failure;
use crate::arguments::Arguments;
use crate::origin::Origin;

/// Pictures in a grid and how many stand side by side.
const TILES: usize = 16;
const COLUMNS: usize = 4;

/// The folder of results, and what is known so far.
pub struct Outputs {
    folder: PathBuf,
    report: Report,
    lines: Vec<Line>,
}

/// One strategy's result.
struct Line {
    strategy: String,
    best_accuracy: f64,
    last_accuracy: f64,
    seconds_train: f64,
    seconds_total: f64,
    json: String,
}

impl Outputs {
    pub fn create(folder: &Path, origin: &Origin, data: &TransferData) -> Result<Self, Failure> {
        std::fs::create_dir_all(folder)?;
        let mut report = Report::new("Ants and bees");
        report.fact("Network and data", &origin.description);
        report.data.source = origin.data.display().to_string();
        let counts = data
            .train
            .class_counts()
            .into_iter()
            .zip(data.val.class_counts());
        report.data.classes = data
            .classes
            .iter()
            .zip(counts)
            .map(|(name, (train, valid))| ClassCount {
                name: name.clone(),
                train,
                valid,
            })
            .collect();
        eprintln!("{}", origin.description);
        Ok(Self {
            folder: folder.to_path_buf(),
            report,
            lines: Vec::new(),
        })
    }

    /// A grid of augmented training images.
    pub fn look_at_data(&mut self, data: &TransferData, seed: u64) -> Result<(), Failure> {
        let count = data.train.len();
        let mut tiles = Vec::new();
        for position in 0..TILES.min(count) {
            let index = position * count / TILES.min(count);
            let Ok(image) = data.train.render_pixels(index, seed, 0, 0) else {
                continue; // Training lists the files that can't be decoded.
            };
            tiles.push(Tile {
                image,
                caption: name_of(data, data.train.labels()[index]),
                marked_wrong: false,
            });
        }
        let path = self.folder.join("augmented.png");
        grid::save(&path, &tiles, COLUMNS)?;
        eprintln!("augmented training images: {}", path.display());
        let png = std::fs::read(path)?;
        self.report.pictures.push(Picture::new(
            "Training images as the network sees them",
            png,
        ));
        Ok(())
    }

    /// A grid of validation images with what the network calls them; wrong ones are marked and come first.
    pub fn look_at_predictions(
        &mut self,
        data: &TransferData,
        strategy: &Strategy,
        fitted: &Fitted<ResNet>,
    ) -> Result<(), Failure> {
        let top = fitted.predictions.top();
        let mut order: Vec<usize> = (0..top.len()).collect();
        let is_wrong = |at: usize| top[at].0 != fitted.predictions.labels[at];
        order.sort_by_key(|at| (!is_wrong(*at), *at));
        let mut tiles = Vec::new();
        let wrong = order
            .iter()
            .filter(|at| is_wrong(**at))
            .count()
            .min(TILES / 2);
        let right = order.iter().filter(|at| !is_wrong(**at));
        let right: Vec<usize> = right.copied().collect();
        let step = (right.len() / (TILES - wrong)).max(1);
        let shown = order[..wrong]
            .iter()
            .chain(right.iter().step_by(step))
            .take(TILES);
        for at in shown {
            let (class, probability) = top[*at];
            let image = data
                .val
                .render_pixels(fitted.predictions.indices[*at], 0, 0, 0)?;
            tiles.push(Tile {
                image,
                caption: format!("{} {:.0}%", data.classes[class], probability * 100.0),
                marked_wrong: is_wrong(*at),
            });
        }
        let path = self
            .folder
            .join(format!("predictions-{}.png", strategy.name()));
        grid::save(&path, &tiles, COLUMNS)?;
        eprintln!("predictions: {}", path.display());
        Ok(())
    }

    /// Takes a strategy's result into table and report.
    pub fn add(
        &mut self,
        strategy: &Strategy,
        fitted: Fitted<ResNet>,
        events: Vec<Event>,
        arguments: &Arguments,
    ) -> Result<(), Failure> {
        let name = strategy.name().to_string();
        let images: usize = fitted.history.len() * count_trained(&events);
        let json = json!({
            "strategy": name,
            "seed": arguments.seed,
            "epochs": fitted.history.len(),
            "batch": arguments.batch,
            "device": arguments.device.to_string(),
            "train_images": count_trained(&events),
            "val_images": fitted.predictions.labels.len(),
            "seconds_train": round(fitted.seconds_train, 3),
            "seconds_total": round(fitted.seconds_total, 3),
            "best_accuracy": round(fitted.best_accuracy(), 4),
            "last_accuracy": round(fitted.last_accuracy(), 4),
            "img_per_s_train": round(images as f64 / fitted.seconds_train.max(1e-9), 1),
        });
        self.lines.push(Line {
            strategy: name.clone(),
            best_accuracy: fitted.best_accuracy(),
            last_accuracy: fitted.last_accuracy(),
            seconds_train: fitted.seconds_train,
            seconds_total: fitted.seconds_total,
            json: json.to_string(),
        });
        let mut run = RunReport::from_events(&name, &events);
        let predictions = &fitted.predictions;
        run.evaluation = Some(Evaluation::from_probabilities(
            &predictions.probabilities,
            &predictions.labels,
            predictions.classes,
        )?);
        let png = std::fs::read(self.folder.join(format!("predictions-{name}.png")))?;
        run.pictures.push(Picture::new(
            "Validation images and what the network calls them",
            png,
        ));
        self.report.runs.push(run);
        Ok(())
    }

    /// Prints the table, writes report.html, and ends with the lines of JSON where they are asked for.
    pub fn finish(self, arguments: &Arguments) -> Result<(), Failure> {
        let path = self.folder.join("report.html");
        self.report.write(&path)?;
        println!(
            "{:<10} {:>8} {:>8} {:>10} {:>10}",
            "strategy", "best", "last", "train", "total"
        );
        for line in &self.lines {
            println!(
                "{:<10} {:>8.3} {:>8.3} {:>8.1} s {:>8.1} s",
                line.strategy,
                line.best_accuracy,
                line.last_accuracy,
                line.seconds_train,
                line.seconds_total
            );
        }
        println!("report: {}", path.display());
        if arguments.json {
            for line in &self.lines {
                println!("{}", line.json);
            }
        }
        Ok(())
    }
}

/// Training images of an epoch, bad files left out.
fn count_trained(events: &[Event]) -> usize {
    events
        .iter()
        .find_map(|event| match event {
            Event::EpochStarted { images, .. } => Some(*images),
            _ => None,
        })
        .unwrap_or(0)
}

fn name_of(data: &TransferData, label: Option<usize>) -> String {
    label.map_or_else(String::new, |label| data.classes[label].clone())
}

fn round(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}
