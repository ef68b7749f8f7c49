//! Models that give a picture a number.

use std::path::Path;

use image::RgbImage;
use rekindle_files::names::show;
use rekindle_imagefolder::{Listing, Skipped, TableOptions, Task};

use super::memory::{Images, no_pixels};
use super::{Answer, Model};
use crate::metrics::{ConformalResiduals, RegressionEvaluation};
use crate::{Predictions, TestViews, TrainerError};

/// What a model of numbers is worth on a table of pictures.
#[derive(Debug, Clone, PartialEq)]
pub struct EvaluatedNumbers {
    /// The answer to each image, in the numbers' own units.
    pub predictions: Predictions,
    /// Mean absolute error, R2 and the like.
    pub evaluation: RegressionEvaluation,
    /// Files that can't be decoded.
    pub skipped: Vec<Skipped>,
    /// The table; its text says in one line what was taken.
    pub layout: Listing,
    /// Measured on the images alone that training had held out of these.
    pub is_held_out: bool,
    /// How many of the images training learned from, as far as the model's run directory knows; they flatter it.
    pub learned_from: usize,
}

impl Answer {
    /// Returns the number that a model of the task [`Task::Regression`] gives the picture; none where the file couldn't be
    /// read.
    pub fn number(&self) -> Option<f32> {
        self.probabilities.as_ref().ok()?.first().copied()
    }
}

impl Model {
    /// Gives an image in memory a number, in the units of the training table.
    ///
    /// A model can be asked from several threads at once.
    ///
    /// ```no_run
    /// use rekindle_trainer::burn::tensor::Device;
    /// use rekindle_trainer::Model;
    ///
    /// let model = Model::open("ages.safetensors", &Device::flex())?;
    /// let age = model.number_of_bytes(&std::fs::read("photo.jpg")?)?;
    /// let reach = model.conformal_residuals()?.half_width(0.9)?;
    /// println!("{age:.1}, with 90 % probability within {reach:.1}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`TrainerError::ModelLacks`] for a model of another task, and as [`classify`](Self::classify).
    pub fn number_of(&self, image: RgbImage) -> Result<f32, TrainerError> {
        let numbers = self.numbers_of(vec![image])?;
        numbers.first().copied().ok_or_else(no_pixels)
    }

    /// Gives the bytes of an image file (JPEG, PNG, WebP, ...) a number; the image is turned upright as its EXIF data say.
    ///
    /// # Errors
    ///
    /// Why the bytes can't be decoded, and as [`number_of`](Self::number_of).
    pub fn number_of_bytes(&self, bytes: &[u8]) -> Result<f32, TrainerError> {
        let numbers = self.answered(Images::Files(&[bytes]))?;
        numbers.first().copied().ok_or_else(no_pixels)
    }

    /// Gives several images a number each, in their order.
    ///
    /// # Errors
    ///
    /// As [`number_of`](Self::number_of).
    pub fn numbers_of(&self, images: Vec<RgbImage>) -> Result<Vec<f32>, TrainerError> {
        self.answered(Images::Decoded(images))
    }

    fn answered(&self, images: Images<'_>) -> Result<Vec<f32>, TrainerError> {
        if self.task != Task::Regression {
            return Err(TrainerError::ModelLacks {
                what: format!("model {}", show(&self.path)),
                found: format!("it is for {}, and gives no numbers", self.task),
                advice: "ask for classes (`Model::classify`)",
            });
        }
        self.answers(images, |logits, _| logits[0])
    }

    /// Returns the errors of the images that the model was validated on, for intervals that hold the true number as often as
    /// is asked for. The images also chose the best epoch, so that the promise is a little optimistic.
    ///
    /// # Errors
    ///
    /// [`TrainerError::ModelLacks`] where the file has none, and for more than one view, since they are errors of plain
    /// answers.
    pub fn conformal_residuals(&self) -> Result<ConformalResiduals, TrainerError> {
        let refuse = |found: &str, advice| {
            Err(TrainerError::ModelLacks {
                what: format!("model {}", show(&self.path)),
                found: found.into(),
                advice,
            })
        };
        if self.views != TestViews::Plain {
            return refuse(
                "its errors for intervals are those of plain answers",
                "ask for intervals, or for several views",
            );
        }
        match &self.residuals {
            Some(kept) => ConformalResiduals::from_kept(kept.clone()),
            None => refuse(
                "its file holds no errors for intervals",
                "train a number per picture with this version of rekindle, which leaves them in the file",
            ),
        }
    }

    /// Measures a model of numbers on the pictures of a table: its validation part, or all; of the table that it was trained
    /// on, those that training held out.
    ///
    /// # Errors
    ///
    /// Those of [`ImageTable::open_with`](rekindle_imagefolder::ImageTable::open_with); [`TrainerError::UnusableData`] for a
    /// model of another task, and without one image that can be read.
    pub fn evaluate_numbers(
        &self,
        table: impl AsRef<Path>,
        options: &TableOptions,
        progress: impl FnMut(usize),
    ) -> Result<EvaluatedNumbers, TrainerError> {
        self.require_task(Task::Regression, "evaluate")?;
        let found = self.on_table(table.as_ref(), options, progress)?;
        Ok(EvaluatedNumbers {
            evaluation: found.predictions.regression()?,
            predictions: found.predictions,
            skipped: found.skipped,
            layout: found.layout,
            is_held_out: found.is_held_out,
            learned_from: found.learned_from,
        })
    }
}
