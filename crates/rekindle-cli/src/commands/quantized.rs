//! Exports in eight bits.

use std::collections::BTreeMap;
use std::path::Path;

use rekindle::files::names::show;
use rekindle::imagefolder::Listing;
use rekindle::models::Pretrained;
use rekindle::nn::{Network, RangeRule};
use rekindle::trainer::{Interrupt, Model, QuantizationLoss, QuantizedModel, RunDirectory};
use serde_json::{Value, json};

use crate::arguments::{Export, Output};
use crate::checks;
use crate::console::{counted, percent};
use crate::failure::Failure;

/// Finds the images to measure on: those that are given, or else those that the run was trained on.
pub fn images(command: &Export) -> Result<Listing, Failure> {
    let data = command.data.as_deref();
    if let Some(folder) = data.filter(|data| !data.is_file()) {
        checks::images(folder)?;
    }
    match (command.model.is_dir(), data) {
        (true, data) => Ok(RunDirectory::open(&command.model)?.listing(data)?),
        (false, Some(data)) => Ok(Listing::open(data)?),
        (false, None) => Err(Failure::Usage(format!(
            "--quantize measures the ranges of activations on training images, and {} does not say where they are; name \
             their folder or table with --data DATA",
            show(&command.model)
        ))),
    }
}

/// Rounds the model, and measures what that costs.
pub fn quantized(
    pretrained: &Pretrained,
    images: &Listing,
    output: Output,
) -> Result<QuantizedModel, Failure> {
    let interrupt = Interrupt::on_ctrl_c()?;
    let model = Model::from_pretrained(pretrained.clone())?.interrupt(interrupt);
    let bar = output.bar(0, "in f32 and in eight bits");
    bar.unset_length();
    let quantized = model.quantize(images, |count| bar.inc(count as u64))?;
    bar.finish_and_clear();
    output.measured(images, &quantized.skipped, quantized.is_held_out);
    Ok(quantized)
}

/// Accuracy and size, before and after.
pub struct Cost<'a> {
    quantized: &'a QuantizedModel,
    bytes: u64,
    bytes_in_f32: u64,
}

impl<'a> Cost<'a> {
    /// Weighs the file that was written against the same in `f32`.
    pub fn of(
        quantized: &'a QuantizedModel,
        network: &Network,
        out: &Path,
    ) -> Result<Self, Failure> {
        let written = std::fs::metadata(out).map_err(|error| Failure::Unwritable {
            path: show(out),
            reason: error.to_string(),
        })?;
        Ok(Self {
            quantized,
            bytes: written.len(),
            bytes_in_f32: network.to_onnx(&BTreeMap::new()).len() as u64,
        })
    }

    /// Returns it as JSON.
    pub fn told(&self) -> Value {
        let network = &self.quantized.network;
        let errors = RangeRule::ALL.map(|rule| (rule.name(), network.calibration_error(rule)));
        json!({
            "calibration_images": self.quantized.calibration_images,
            "ranges": network.range_rule().name(),
            "calibration_errors": BTreeMap::from(errors),
            "held_out": self.quantized.is_held_out,
            "measured": self.quantized.measured,
            "skipped": self.quantized.skipped,
            "bytes": self.bytes, "bytes_in_f32": self.bytes_in_f32,
        })
    }

    /// Returns it as two lines.
    pub fn said(&self) -> String {
        let measured = match &self.quantized.measured {
            Some(loss) => figures(loss),
            None => "the images have no classes to measure the accuracy by".to_string(),
        };
        let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
        let count = self.quantized.calibration_images;
        format!(
            "{measured}\nsize {} in f32, {} in eight bits; ranges of {} ({})",
            megabytes(self.bytes_in_f32),
            megabytes(self.bytes),
            counted(count, "training image", "training images"),
            self.quantized.network.range_rule().name()
        )
    }
}

fn figures(loss: &QuantizationLoss) -> String {
    let images = counted(loss.images, "validation image", "validation images");
    let agreement = loss.agreement.map(percent);
    let (float, quantized) = (loss.float, loss.quantized);
    match (loss.metric, agreement) {
        ("accuracy", Some(same)) => format!(
            "accuracy {} in f32, {} in eight bits on {images}, and the same answer to {same}",
            percent(float),
            percent(quantized)
        ),
        ("mean_average_precision", Some(same)) => format!(
            "mean average precision {float:.3} in f32, {quantized:.3} in eight bits on {images}, and {same} of the answers the same"
        ),
        _ => format!(
            "mean absolute error {float:.4} in f32, {quantized:.4} in eight bits on {images}"
        ),
    }
}
