//! A model in eight bits, for files that other programs run, and what the rounding costs.

use std::sync::Arc;

use rekindle_files::names::show;
use rekindle_imagefolder::{
    ImageDataset, ImageFolder, LayoutKind, Listing, Skipped, TableOptions, TablePart, Task,
};
use rekindle_nn::{Network, QuantizedNetwork};
use rekindle_transfer::Classifier;
use serde::Serialize;

use super::Model;
use crate::calibration::calibration;
use crate::data::{VALIDATION_SHARE, eval_pipeline};
use crate::inspect::{Inspection, inspect};
use crate::{Predictions, TrainerError, text};

/// Threads that decode.
const WORKERS: usize = 2;

/// A model in eight bits, made by [`Model::quantize`].
#[derive(Debug)]
pub struct QuantizedModel {
    /// The network, to write it out.
    pub network: QuantizedNetwork,
    /// Training images that ranges were measured on.
    pub calibration_images: usize,
    /// The cost of rounding; none where the images have no labels to measure it by.
    pub measured: Option<QuantizationLoss>,
    /// Validation files that can't be decoded.
    pub skipped: Vec<Skipped>,
    /// Measured on the images alone that training had held out of this very folder or table.
    pub is_held_out: bool,
}

/// A model in `f32` and in eight bits on the same validation images.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QuantizationLoss {
    /// Images measured on.
    pub images: usize,
    /// The figure: `accuracy`, `mean_average_precision` of several labels, or `mae` of numbers.
    pub metric: &'static str,
    /// The figure of the model in `f32`.
    pub float: f64,
    /// The figure of the model in eight bits.
    pub quantized: f64,
    /// Share of images with the same answer; of several labels, share of same answers, each label of each image being one.
    /// None for numbers.
    pub agreement: Option<f64>,
    /// Root of the mean squared difference of the outputs, relative to those in `f32`.
    pub relative_error: f64,
}

impl Model {
    /// Rounds the model to eight bits ([`Network::quantize_static`](rekindle_nn::Network::quantize_static)), with ranges
    /// measured on up to 64 training images of a listing, spread evenly over it, and measures what that costs on its
    /// validation part: by the network that [`simulates`](QuantizedNetwork::simulated) the file.
    ///
    /// Where there is no validation part, it is a fifth of each class; of the folder or the table that the model was trained on,
    /// the images that training held out. Images without classes are taken to measure ranges on, and cost nothing is said of.
    ///
    /// # Errors
    ///
    /// Those of scanning; [`TrainerError::UnusableData`] for labels that the model doesn't know, and without one image that can
    /// be read; [`TrainerError::Quantization`].
    pub fn quantize(
        &self,
        listing: &Listing,
        mut progress: impl FnMut(usize),
    ) -> Result<QuantizedModel, TrainerError> {
        let (train, val) = self.quantization_parts(listing)?;
        let pipeline = eval_pipeline(&self.preprocess);
        let dataset = Arc::new(train.dataset(pipeline.clone())?);
        let images = calibration(&dataset, pipeline.clone(), WORKERS, &self.device)?;
        if images.is_empty() {
            return Err(nothing_read(listing, train.images.len()));
        }
        let network = self.network().map_err(rekindle_models::Error::from)?;
        let network = network.quantize_static(&images)?;
        let mut quantized = QuantizedModel {
            network,
            calibration_images: images.iter().map(|images| images.dims()[0]).sum(),
            measured: None,
            skipped: Vec::new(),
            is_held_out: false,
        };
        let Some(val) = val else {
            return Ok(quantized);
        };
        let dataset = Arc::new(val.dataset(pipeline)?);
        let simulated = Classifier::from_network(quantized.network.simulated().clone());
        let mut answers = |classifier: &Classifier<Network>| {
            inspect(
                classifier,
                &dataset,
                |_| false,
                &self.interrupt,
                &mut progress,
            )
            .map_err(|error| error.with_architecture(&self.architecture))
        };
        let float = answers(&self.classifier)?;
        let rounded = match &simulated {
            Some(simulated) => answers(simulated)?,
            None => float.clone(),
        };
        if float.indices.is_empty() {
            return Err(nothing_read(listing, val.images.len()));
        }
        quantized.measured = Some(self.loss(&dataset, &float, &rounded)?);
        quantized.skipped = float.skipped;
        quantized.is_held_out = self.held_out(listing)?.is_some();
        Ok(quantized)
    }

    /// Opens the images to measure ranges on, and those to measure the model by with its own labels.
    fn quantization_parts(
        &self,
        listing: &Listing,
    ) -> Result<(TablePart, Option<TablePart>), TrainerError> {
        let seed = self.held_out_by().map_or(0, |held_out| held_out.seed);
        let as_table;
        let listing = match listing {
            Listing::Folder(layout)
                if self.task == Task::Ordinal && *layout.kind() != LayoutKind::Flat =>
            {
                let options = self.table_options(&TableOptions::default());
                as_table = Listing::open_table(layout.given(), &options)?;
                &as_table
            }
            listing => listing,
        };
        let layout = match listing {
            Listing::Table(table) => {
                let options = self.table_options(table.options());
                let listing = Listing::open_table(table.path(), &options)?;
                self.require_task(listing.task(), "quantize")?;
                let (train, val) = listing.open_split(VALIDATION_SHARE, seed)?;
                return Ok((train, Some(val)));
            }
            Listing::Folder(layout) => layout,
        };
        match layout.kind() {
            LayoutKind::Flat => Ok((layout.open_all()?.into(), None)),
            LayoutKind::Parts { train, val } => {
                self.require_task(Task::SingleLabel, "quantize")?;
                let val = self.labelled(val)?;
                Ok((ImageFolder::open(train)?.into(), Some(val.into())))
            }
            LayoutKind::Classes | LayoutKind::Training(_) => {
                self.require_task(Task::SingleLabel, "quantize")?;
                let all = self.labelled(layout.evaluation_folder()?)?;
                let (train, val) = all.split(VALIDATION_SHARE, seed)?;
                Ok((train.into(), Some(val.into())))
            }
            // Says what is missing.
            _ => {
                let (train, val) = listing.open_split(VALIDATION_SHARE, seed)?;
                Ok((train, Some(val)))
            }
        }
    }

    fn loss(
        &self,
        dataset: &ImageDataset,
        float: &Inspection,
        rounded: &Inspection,
    ) -> Result<QuantizationLoss, TrainerError> {
        let [a, b] = [float, rounded].map(|answers| answers.predictions(dataset));
        let thresholds = self.thresholds.as_deref();
        let figure = |answers: &Predictions| {
            Ok::<f64, TrainerError>(match self.task {
                Task::SingleLabel | Task::Ordinal => answers.accuracy(),
                Task::MultiLabel => answers.multi_label(thresholds)?.mean_average_precision,
                Task::Regression => answers.regression()?.mae,
            })
        };
        let same = match self.task {
            Task::SingleLabel | Task::Ordinal => {
                let pairs: Vec<bool> = a
                    .top()
                    .iter()
                    .zip(&b.top())
                    .map(|(a, b)| a.0 == b.0)
                    .collect();
                Some(pairs)
            }
            Task::MultiLabel => {
                let pairs = a.probabilities.iter().zip(&b.probabilities).enumerate();
                let pairs = pairs.map(|(place, (a, b))| {
                    let threshold = self.threshold(place % self.classifier.num_classes());
                    (f64::from(*a) >= threshold) == (f64::from(*b) >= threshold)
                });
                Some(pairs.collect())
            }
            Task::Regression => None,
        };
        Ok(QuantizationLoss {
            images: a.labels.len(),
            metric: match self.task {
                Task::SingleLabel | Task::Ordinal => "accuracy",
                Task::MultiLabel => "mean_average_precision",
                Task::Regression => "mae",
            },
            float: figure(&a)?,
            quantized: figure(&b)?,
            agreement: same.map(|same| {
                let count = same.iter().filter(|is_same| **is_same).count();
                count as f64 / same.len().max(1) as f64
            }),
            relative_error: relative_error(&float.logits, &rounded.logits),
        })
    }
}

fn relative_error(exact: &[f32], found: &[f32]) -> f64 {
    let pairs = exact.iter().zip(found);
    let error: f64 = pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum();
    let scale: f64 = exact.iter().map(|a| f64::from(*a).powi(2)).sum();
    (error / scale.max(f64::MIN_POSITIVE)).sqrt()
}

fn nothing_read(listing: &Listing, images: usize) -> TrainerError {
    TrainerError::UnusableData {
        what: show(listing.given()),
        found: text::none_read(images),
        advice: "run `rekindle verify` on it: that lists every bad file and its reason",
    }
}
