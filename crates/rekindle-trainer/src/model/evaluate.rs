//! What a model is worth on labelled pictures.

use std::path::Path;
use std::sync::Arc;

use rekindle_files::names::show;
use rekindle_imagefolder::{
    Ignored, ImageDataset, ImageFolder, ImageTable, Layout, Listing, ScanOptions, Skipped,
    TableOptions, Task,
};

use super::Model;
use super::held_out::Measured;
use crate::data::eval_pipeline;
use crate::inspect::{Inspection, inspect};
use crate::metrics::{OrdinalEvaluation, Temperature};
use crate::test_views::inspect_in_views;
use crate::{Evaluation, Predictions, TestViews, TrainerError, text};

/// Evaluation of a model on labelled images.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluated {
    /// The answer to each image.
    pub predictions: Predictions,
    /// Accuracy, per-class scores, calibration.
    pub evaluation: Evaluation,
    /// How far answers are from the true classes, where the model's are in an order.
    pub ordinal: Option<OrdinalEvaluation>,
    /// Effect that temperature scaling would have.
    pub temperature: Temperature,
    /// Files that can't be decoded.
    pub skipped: Vec<Skipped>,
    /// Files that the scan of the folder left out.
    pub ignored: Vec<Ignored>,
    /// Where the images were found; its text says so in one line.
    pub layout: Listing,
    /// Measured on the images alone that training had held out of these.
    pub is_held_out: bool,
    /// How many of the images training learned from, as far as the model's run directory knows; they flatter it.
    pub learned_from: usize,
    /// How unknown each image looks, in the order of the predictions; none for a model that doesn't
    /// [reject](Model::rejecting).
    pub unknown_scores: Option<Vec<f64>>,
}

/// Answers to the pictures of a table.
pub(super) struct OnTable {
    pub predictions: Predictions,
    pub skipped: Vec<Skipped>,
    pub layout: Listing,
    pub is_held_out: bool,
    pub learned_from: usize,
}

impl Model {
    /// Answers to the pictures of a table: those that training held out of it, else its validation part, else all.
    pub(super) fn on_table(
        &self,
        table: &Path,
        options: &TableOptions,
        progress: impl FnMut(usize),
    ) -> Result<OnTable, TrainerError> {
        let table = ImageTable::open_with(table, &self.table_options(options))?;
        let listing = Listing::Table(Box::new(table.clone()));
        let Measured {
            part,
            is_held_out,
            learned_from,
        } = self.to_measure(&listing, || Ok(table.open_evaluation()))?;
        let dataset = Arc::new(part.dataset(eval_pipeline(&self.preprocess))?);
        let inspection = self.inspected(&dataset, progress)?;
        let predictions = inspection.predictions(&dataset);
        if predictions.labels.is_empty() {
            return Err(TrainerError::UnusableData {
                what: show(table.path()),
                found: text::none_read(part.images.len()),
                advice: "run `rekindle verify` on the table: it lists every bad file and its reason",
            });
        }
        Ok(OnTable {
            predictions,
            skipped: inspection.skipped,
            layout: listing,
            is_held_out,
            learned_from,
        })
    }

    /// Measures the model on a table of pictures, on a folder with one folder a class, or on the validation part of a data set, as
    /// [`Layout::find`] finds it. Labels are matched by name; classes of the model without images are fine.
    ///
    /// Of images that the model was trained on, those that training held out are taken. The file knows them of a folder without
    /// parts, as long as there are as many as then; a run directory knows them by their content, wherever they are, and counts what it
    /// learned from where not all that it held out are there ([`Evaluated::learned_from`]).
    ///
    /// # Errors
    ///
    /// Those of scanning; class folders that the model doesn't know; [`TrainerError::UnusableData`] without one
    /// image that can be read.
    pub fn evaluate(
        &self,
        folder: impl AsRef<Path>,
        progress: impl FnMut(usize),
    ) -> Result<Evaluated, TrainerError> {
        if folder.as_ref().is_file() || self.task == Task::Ordinal {
            return self.evaluate_table(folder, &TableOptions::default(), progress);
        }
        self.require_task(Task::SingleLabel, "evaluate")?;
        let layout = Layout::find(folder)?;
        let listing = Listing::Folder(layout.clone());
        let part = || Ok(self.labelled(layout.evaluation_folder()?)?.into());
        let measured = self.to_measure(&listing, part)?;
        self.evaluate_part(measured, listing, progress)
    }

    /// As [`evaluate`](Self::evaluate), on the pictures of a table: its validation part, or all. Labels that the model
    /// doesn't know are an error.
    ///
    /// # Errors
    ///
    /// Those of [`ImageTable::open_with`], and [`TrainerError::UnusableData`] without one image that can be read.
    pub fn evaluate_table(
        &self,
        table: impl AsRef<Path>,
        options: &TableOptions,
        progress: impl FnMut(usize),
    ) -> Result<Evaluated, TrainerError> {
        if !self.task.is_single_label() {
            self.require_task(Task::SingleLabel, "evaluate")?;
        }
        let table = ImageTable::open_with(table, &self.table_options(options))?;
        let listing = Listing::Table(Box::new(table.clone()));
        let measured = self.to_measure(&listing, || Ok(table.open_evaluation()))?;
        self.evaluate_part(measured, listing, progress)
    }

    fn evaluate_part(
        &self,
        measured: Measured,
        layout: Listing,
        progress: impl FnMut(usize),
    ) -> Result<Evaluated, TrainerError> {
        let folder = measured.part.images;
        let dataset = ImageDataset::new(&folder, eval_pipeline(&self.preprocess))?;
        let dataset = Arc::new(match self.task {
            Task::Ordinal => dataset.with_ordered_classes(),
            _ => dataset,
        });
        self.require_plain_views()?;
        let mut inspection = self.inspected_unscaled(&dataset, progress)?;
        let unknown_scores = self.unknown_scores(&inspection, &dataset)?;
        inspection.scale(self.divisor);
        let predictions = inspection.predictions(&dataset);
        if predictions.labels.is_empty() {
            return Err(TrainerError::UnusableData {
                what: show(folder.root()),
                found: text::none_read(folder.len()),
                advice: "run `rekindle verify` on the folder: it lists every bad file and its reason",
            });
        }
        let Predictions {
            probabilities,
            labels,
            classes,
            ..
        } = &predictions;
        Ok(Evaluated {
            evaluation: Evaluation::from_probabilities(probabilities, labels, *classes)?,
            ordinal: match self.task {
                Task::Ordinal => Some(predictions.ordinal()?),
                _ => None,
            },
            temperature: Temperature::fit(probabilities, labels, *classes)?,
            predictions,
            skipped: inspection.skipped,
            ignored: folder.ignored().to_vec(),
            layout,
            is_held_out: measured.is_held_out,
            learned_from: measured.learned_from,
            unknown_scores,
        })
    }

    /// Every image's logits, in the model's views and at its temperature.
    pub(super) fn inspected(
        &self,
        dataset: &Arc<ImageDataset>,
        progress: impl FnMut(usize),
    ) -> Result<Inspection, TrainerError> {
        let mut inspection = self.inspected_unscaled(dataset, progress)?;
        inspection.scale(self.divisor);
        Ok(inspection)
    }

    pub(super) fn inspected_unscaled(
        &self,
        dataset: &Arc<ImageDataset>,
        progress: impl FnMut(usize),
    ) -> Result<Inspection, TrainerError> {
        let (network, interrupt) = (&self.classifier, &self.interrupt);
        let inspection = match self.views {
            TestViews::Plain => {
                let keep = self.needs_features();
                inspect(network, dataset, |_| keep, interrupt, progress)
            }
            views => {
                let pipelines = views.pipelines(&self.preprocess);
                inspect_in_views(network, dataset, &pipelines, interrupt, progress)
            }
        };
        inspection.map_err(|error| error.with_architecture(&self.architecture))
    }

    /// Returns the images of a folder with the model's own labels.
    pub(super) fn labelled(&self, folder: &Path) -> Result<ImageFolder, TrainerError> {
        let count = self.classifier.num_classes();
        if self.classes.is_some() {
            let options = ScanOptions {
                classes: self.classes.clone(),
                ..ScanOptions::default()
            };
            return Ok(ImageFolder::open_with(folder, &options)?);
        }
        let scanned = ImageFolder::open(folder)?;
        if scanned.classes().len() == count {
            return Ok(scanned);
        }
        Err(TrainerError::UnusableData {
            what: show(folder),
            found: format!(
                "{} class folders, but the model has {count} classes and its file names none",
                scanned.classes().len()
            ),
            advice: "give a folder with the classes that the model was trained on",
        })
    }
}
