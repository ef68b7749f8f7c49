//! Examines a trained classifier on the validation images for the report: scores, calibration, mistakes with
//! the regions that caused them, and a map of the images.

use std::collections::HashMap;
use std::io::Cursor;
use std::sync::Arc;

use burn::prelude::*;
use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, Rgb, RgbImage};
use rekindle_imagefolder::{ImageDataset, Skipped};
use rekindle_transfer::features::{Features, Pca};
use rekindle_transfer::{Backbone, Classifier};

use crate::contents::{FeatureMap, MapPoint, Miss, Mistake, NumbersReport, RunReport};
use rekindle_trainer::GradCam;
use rekindle_trainer::inspect::{Inspection, inspect, is_sampled};
use rekindle_trainer::metrics::{Evaluation, Temperature};
use rekindle_trainer::{Interrupt, Predictions, TrainerError};

/// Mistakes that are shown.
pub(crate) const MISTAKES: usize = 12;

const JPEG_QUALITY: u8 = 85;

/// Result of [`examine`].
#[derive(Debug, Clone, PartialEq)]
pub struct Examination {
    /// The answer to each image.
    pub predictions: Predictions,
    /// Accuracy, per-class scores, calibration.
    pub evaluation: Evaluation,
    /// Effect that temperature scaling would have.
    pub temperature: Temperature,
    /// The wrong answers that were given most confidently, the worst first.
    pub mistakes: Vec<Mistake>,
    /// The images by their features, in the plane; none with fewer than three images, or where all are alike.
    pub map: Option<FeatureMap>,
    /// Files that can't be decoded.
    pub skipped: Vec<Skipped>,
}

/// Runs `classifier` over labelled images, as they are seen in validation.
///
/// # Errors
///
/// Images that don't fit the network, and [`TrainerError::UnusableData`] where none has a label and can be read.
pub fn examine<B: Backbone>(
    classifier: &Classifier<B>,
    dataset: &Arc<ImageDataset>,
    progress: impl FnMut(usize),
) -> Result<Examination, TrainerError> {
    let is_on_map = |index: usize| is_sampled(index, dataset.len());
    let inspection = inspect(classifier, dataset, is_on_map, &Interrupt::new(), progress)?;
    examine_inspected(classifier, dataset, &inspection)
}

/// Examines what a pass of `classifier` over labelled images gave; only its mistakes are looked at once more.
///
/// # Errors
///
/// As [`examine`].
pub fn examine_inspected<B: Backbone>(
    classifier: &Classifier<B>,
    dataset: &Arc<ImageDataset>,
    inspection: &Inspection,
) -> Result<Examination, TrainerError> {
    let predictions = inspection.predictions(dataset);
    let Predictions {
        probabilities,
        labels,
        classes,
        ..
    } = &predictions;
    if labels.is_empty() {
        return Err(TrainerError::UnusableData {
            what: "validation images".into(),
            found: "not one with a class that can be read".into(),
            advice: "run `rekindle verify` on the folder: it lists every bad file and its reason",
        });
    }
    Ok(Examination {
        evaluation: Evaluation::from_probabilities(probabilities, labels, *classes)?,
        temperature: Temperature::fit(probabilities, labels, *classes)?,
        mistakes: mistakes(classifier, dataset, &predictions)?,
        map: feature_map(inspection, &predictions),
        skipped: inspection.skipped.clone(),
        predictions,
    })
}

/// Scores the answers to images with a number each.
pub(crate) fn scored_numbers(
    dataset: &ImageDataset,
    inspection: &Inspection,
) -> Result<NumbersReport, TrainerError> {
    let predictions = inspection.predictions(dataset);
    let evaluation = predictions.regression()?;
    let pair = |at: usize| {
        let (truth, answer) = (predictions.targets[at], predictions.probabilities[at]);
        [f64::from(truth), f64::from(answer)]
    };
    let error = |at: usize| {
        let [truth, answer] = pair(at);
        (answer - truth).abs()
    };
    let mut order: Vec<usize> = (0..evaluation.samples).collect();
    order.sort_by(|a, b| error(*b).total_cmp(&error(*a)).then(a.cmp(b)));
    order.truncate(MISTAKES);
    let miss = |at: usize| {
        let index = predictions.indices[at];
        let [truth, answer] = pair(at);
        Ok::<_, TrainerError>(Miss {
            file: dataset
                .path(index)
                .map_or_else(String::new, rekindle_files::names::escape),
            truth,
            answer,
            picture: jpeg(&dataset.render_pixels(index, 0, 0, 0)?)?,
        })
    };
    Ok(NumbersReport {
        name: dataset.classes().first().cloned().unwrap_or_default(),
        evaluation,
        points: (0..evaluation.samples)
            .filter(|at| is_sampled(*at, evaluation.samples))
            .map(pair)
            .collect(),
        worst: order.into_iter().map(miss).collect::<Result<_, _>>()?,
    })
}

impl RunReport {
    /// Takes over what an examination found, its predictions left out.
    pub fn examined(&mut self, examination: Examination) {
        self.ordinal = examination.predictions.ordinal().ok();
        self.evaluation = Some(examination.evaluation);
        self.temperature = Some(examination.temperature);
        self.mistakes = examination.mistakes;
        self.map = examination.map;
        for file in examination.skipped {
            self.skip(&file.path, &file.reason);
        }
    }
}

fn mistakes<B: Backbone>(
    classifier: &Classifier<B>,
    dataset: &ImageDataset,
    predictions: &Predictions,
) -> Result<Vec<Mistake>, TrainerError> {
    let top = predictions.top();
    let mut wrong: Vec<usize> = (0..top.len())
        .filter(|at| top[*at].0 != predictions.labels[*at])
        .collect();
    wrong.sort_by(|a, b| top[*b].1.total_cmp(&top[*a].1).then(a.cmp(b)));
    wrong.truncate(MISTAKES);

    let device = classifier.head.weight.lazy_device().without_autodiff();
    let mut found = Vec::new();
    for at in wrong {
        let (predicted, confidence) = top[at];
        let index = predictions.indices[at];
        let image = dataset.render(index, 0, 0, 0)?;
        let shape = [1, image.channels(), image.height, image.width];
        let input = Tensor::from_data(TensorData::new(image.values, shape), &device);
        let cams = GradCam::of(classifier, input, &[predicted])?;
        let picture = dataset.render_pixels(index, 0, 0, 0)?;
        let overlay = overlay(&picture, &cams[0]);
        found.push(Mistake {
            file: dataset
                .path(index)
                .map_or_else(String::new, rekindle_files::names::escape),
            truth: predictions.labels[at],
            predicted,
            confidence: f64::from(confidence),
            picture: jpeg(&picture)?,
            overlay: jpeg(&overlay)?,
        });
    }
    Ok(found)
}

/// Shows the picture in dim grey; the more a place speaks for the class, the more of its colour, and of orange, shows.
pub(crate) fn overlay(picture: &RgbImage, cam: &GradCam) -> RgbImage {
    const WARM: [f32; 3] = [255.0, 110.0, 20.0];
    let (width, height) = picture.dimensions();
    let strength = cam.over(width as usize, height as usize);
    RgbImage::from_fn(width, height, |x, y| {
        let Rgb(colour) = *picture.get_pixel(x, y);
        let colour = colour.map(f32::from);
        // Luminance as in Rec. 601.
        let grey = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2];
        let heat = strength[y as usize * width as usize + x as usize];
        Rgb(std::array::from_fn(|channel| {
            let base = 0.45 * grey + (colour[channel] - 0.45 * grey) * heat;
            let value = base + (WARM[channel] - base) * 0.5 * heat;
            value.round().clamp(0.0, 255.0) as u8
        }))
    })
}

pub(crate) fn jpeg(picture: &RgbImage) -> Result<Vec<u8>, TrainerError> {
    let mut bytes = Cursor::new(Vec::new());
    let (width, height) = picture.dimensions();
    JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY)
        .encode(picture.as_raw(), width, height, ExtendedColorType::Rgb8)
        .map_err(|error| TrainerError::UnusableData {
            what: "picture for the report".into(),
            found: error.to_string(),
            advice: "use pictures of less than 65,536 pixels in each direction",
        })?;
    Ok(bytes.into_inner())
}

/// None where there is no plane to speak of.
fn feature_map(inspection: &Inspection, predictions: &Predictions) -> Option<FeatureMap> {
    let width = inspection.features.len() / inspection.kept.len().max(1);
    // Places of the labelled images among the predictions.
    let places: HashMap<usize, usize> = predictions.indices.iter().copied().zip(0..).collect();
    let kept = inspection
        .kept
        .iter()
        .zip(inspection.features.chunks_exact(width.max(1)));
    let (mut chosen, mut values) = (Vec::new(), Vec::new());
    for (at, row) in kept {
        if let Some(place) = places.get(&inspection.indices[*at]) {
            chosen.push(*place);
            values.extend_from_slice(row);
        }
    }
    let features = Features::new(values, width).ok()?;
    let components = Pca { components: 2 }.fit(&features).ok()?;
    let plane = components.transform(&features).ok()?;
    let top = predictions.top();
    let points = chosen.iter().zip(plane.rows()).map(|(at, place)| MapPoint {
        x: f64::from(place[0]),
        // Images that lie on a line have one direction alone.
        y: place.get(1).copied().map_or(0.0, f64::from),
        truth: predictions.labels[*at],
        predicted: top[*at].0,
    });
    let share = |direction: usize| {
        let variance = components.variances.get(direction).copied().unwrap_or(0.0);
        variance / components.total_variance
    };
    Some(FeatureMap {
        points: points.collect(),
        images: predictions.labels.len(),
        explained: [share(0), share(1)],
    })
}
