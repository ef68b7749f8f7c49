//! Models that give a picture any number of labels.

use std::path::Path;

use rekindle_files::names::show;
use rekindle_imagefolder::{Listing, Skipped, TableOptions, Task};

use super::{Answer, Model};
use crate::metrics::{MultiLabelEvaluation, THRESHOLD};
use crate::{Predictions, TrainerError};

/// What a model of several labels is worth on a table of pictures.
#[derive(Debug, Clone, PartialEq)]
pub struct EvaluatedLabels {
    /// The answer to each image.
    pub predictions: Predictions,
    /// Average precision and scores at the thresholds of the model's file.
    pub evaluation: MultiLabelEvaluation,
    /// Files that can't be decoded.
    pub skipped: Vec<Skipped>,
    /// The table; its text says in one line what was taken.
    pub layout: Listing,
    /// Measured on the images alone that training had held out of these.
    pub is_held_out: bool,
    /// How many of the images training learned from, as far as the model's run directory knows; they flatter it.
    pub learned_from: usize,
}

impl Model {
    /// The probability of a label from which on a picture is said to have it: the file's, or [`THRESHOLD`].
    pub fn threshold(&self, label: usize) -> f64 {
        let known = self.thresholds.as_ref().and_then(|all| all.get(label));
        known.copied().unwrap_or(THRESHOLD)
    }

    /// The labels that an answer gives its picture with their probabilities, the most probable first; none where the file
    /// couldn't be read.
    pub fn labels(&self, answer: &Answer) -> Vec<(usize, f32)> {
        let count = self.classifier.num_classes();
        let all = answer.top(count).into_iter();
        all.filter(|(label, p)| f64::from(*p) >= self.threshold(*label))
            .collect()
    }

    /// Measures a model of several labels on the pictures of a table: its validation part, or all; of images that it was
    /// trained on, those that training held out. Labels that the model doesn't know are an error.
    ///
    /// # Errors
    ///
    /// Those of [`ImageTable::open_with`](rekindle_imagefolder::ImageTable::open_with); [`TrainerError::UnusableData`] for a
    /// model of another task, and without one image that can be read.
    pub fn evaluate_labels(
        &self,
        table: impl AsRef<Path>,
        options: &TableOptions,
        progress: impl FnMut(usize),
    ) -> Result<EvaluatedLabels, TrainerError> {
        self.require_task(Task::MultiLabel, "evaluate")?;
        let found = self.on_table(table.as_ref(), options, progress)?;
        Ok(EvaluatedLabels {
            evaluation: found.predictions.multi_label(self.thresholds.as_deref())?,
            predictions: found.predictions,
            skipped: found.skipped,
            layout: found.layout,
            is_held_out: found.is_held_out,
            learned_from: found.learned_from,
        })
    }

    /// Options that read a table with the model's own task and labels.
    pub(super) fn table_options(&self, options: &TableOptions) -> TableOptions {
        TableOptions {
            classes: Some(self.class_names()),
            task: options.task.or(Some(self.task)),
            ..options.clone()
        }
    }

    pub(super) fn require_task(&self, task: Task, what: &str) -> Result<(), TrainerError> {
        if self.task == task {
            return Ok(());
        }
        Err(TrainerError::UnusableData {
            what: format!("model {} to {what} by these labels", show(&self.path)),
            found: format!("a model for {}, where the labels are for {task}", self.task),
            advice: "give a table of pictures with labels of its kind (--table), or another model",
        })
    }
}
