//! Writes the example's results: pictures, a table, report.html, lines of JSON.

use std::path::{Path, PathBuf};

use rekindle::nn::Network;
use rekindle::report::{Report, RunReport, augmented_grid, prediction_grid};
use rekindle::trainer::{Event, Fitted, TransferData};
use rekindle::transfer::Strategy;
use serde_json::json;

use crate::Failure;
use crate::arguments::Arguments;
use crate::origin::Origin;

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
    pub fn create(
        folder: &Path,
        origin: &Origin,
        data: &TransferData,
        seed: u64,
    ) -> Result<Self, Failure> {
        std::fs::create_dir_all(folder)?;
        let mut report = Report::new("Ants and bees");
        report.fact("Network and data", &origin.description);
        report.describe_data(data, seed)?;
        eprintln!("{}", origin.description);
        Ok(Self {
            folder: folder.to_path_buf(),
            report,
            lines: Vec::new(),
        })
    }

    /// A grid of augmented training images, as a file.
    pub fn look_at_data(&self, data: &TransferData, seed: u64) -> Result<(), Failure> {
        if let Some(grid) = augmented_grid(data, seed)? {
            let path = self.folder.join("augmented.png");
            grid.save(&path)?;
            eprintln!("augmented training images: {}", path.display());
        }
        Ok(())
    }

    /// A grid of validation images with what the network calls them; wrong ones are marked and come first.
    pub fn look_at_predictions(
        &self,
        data: &TransferData,
        strategy: &Strategy,
        fitted: &Fitted<Network>,
    ) -> Result<(), Failure> {
        if let Some(grid) = prediction_grid(data, &fitted.predictions)? {
            let name = format!("predictions-{}.png", strategy.name());
            let path = self.folder.join(name);
            grid.save(&path)?;
            eprintln!("predictions: {}", path.display());
        }
        Ok(())
    }

    /// Takes a strategy's result into table and report.
    pub fn add(
        &mut self,
        data: &TransferData,
        strategy: &Strategy,
        fitted: Fitted<Network>,
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
        run.look(&fitted.classifier, data)?;
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

fn round(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}
