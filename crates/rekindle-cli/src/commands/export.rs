use std::path::Path;

use burn::tensor::Device;
use rekindle::device::DeviceName;
use rekindle::files::names::{escape, show};
use rekindle::imagefolder::Task;
use rekindle::models::{Pretrained, files};
use rekindle::trainer::{QuantizedModel, TrainerError, weights_file};
use serde_json::json;

use super::card::{Facts, card};
use super::quantized;
use crate::arguments::{Export, Format, Output};
use crate::checks;
use crate::console::counted;
use crate::failure::{Failure, Outcome};

pub fn run(command: &Export, output: Output) -> Result<Outcome, Failure> {
    let format = match command.format {
        Some(format) => format,
        None => by_ending(&command.out)?,
    };
    if command.with_preprocessing && format != Format::Onnx {
        return Err(Failure::Usage(format!(
            "--with-preprocessing is for ONNX files, and {} is to be {}; leave it out, or write ONNX with --format onnx",
            show(&command.out),
            format.name()
        )));
    }
    if command.quantize && format != Format::Onnx {
        return Err(Failure::Usage(format!(
            "--quantize is for ONNX files, and {} is to be {}; leave it out, or write ONNX with --format onnx",
            show(&command.out),
            format.name()
        )));
    }
    checks::file(&command.out)?;
    let images = match command.quantize {
        true => Some(quantized::images(command)?),
        false => None,
    };
    let page = command.out.with_file_name("README.md");
    if command.model_card && page.exists() {
        return Err(Failure::Usage(format!(
            "{} is there already, and the model card would replace it; move it, or export into a folder of its own",
            show(&page)
        )));
    }
    let weights = weights_file(&command.model)?;
    checks::different("the model itself", &command.out, &weights)?;
    let device: Device = DeviceName::Cpu.open()?;
    let options = command.part.options();
    let pretrained = Pretrained::open_with(weights, &options, &device)?;
    crate::weights::note(&pretrained.found, &output);
    if let (true, Some(reason)) = (
        pretrained.found.has_unusable_head,
        &pretrained.found.headless,
    ) {
        return Err(TrainerError::UnusableWeights {
            what: show(&command.model),
            found: reason.clone(),
            advice: "train a head with `rekindle train`, and export its run",
        }
        .into());
    }
    let gives_numbers = pretrained.task.as_deref() == Some(Task::Regression.name());
    if command.calibrated && gives_numbers {
        return Err(Failure::Usage(
            "--calibrated is for probabilities, and the model gives numbers; leave it out".into(),
        ));
    }
    let (model, info, out) = (&pretrained.model, pretrained.info(), &command.out);
    let in_eight_bits = match &images {
        Some(images) => Some(quantized::quantized(&pretrained, images, output)?),
        None => None,
    };
    match (format, &in_eight_bits) {
        (Format::Safetensors, _) => files::save(model, out, &info)?,
        (Format::SafetensorsF16, _) => files::save_f16(model, out, &info)?,
        (Format::Burnpack, _) => files::save_burnpack(model, out, &info)?,
        (Format::Onnx, Some(QuantizedModel { network, .. })) if command.with_preprocessing => {
            let calibrated = command.calibrated;
            files::save_onnx_quantized_with_preprocessing(network, out, &info, calibrated)?;
        }
        (Format::Onnx, Some(QuantizedModel { network, .. })) => {
            files::save_onnx_quantized(network, out, &info)?;
        }
        (Format::Onnx, None) if command.with_preprocessing => {
            files::save_onnx_with_preprocessing(model, out, &info, command.calibrated)?;
        }
        (Format::Onnx, None) => files::save_onnx(model, out, &info)?,
    }
    if command.model_card {
        let facts = Facts::of(&command.model)?;
        let text = card(command, format, &pretrained, facts.as_ref());
        std::fs::write(&page, text).map_err(|error| Failure::Unwritable {
            path: show(&page),
            reason: error.to_string(),
        })?;
    }
    let cost = match &in_eight_bits {
        Some(quantized) => Some(quantized::Cost::of(quantized, model, out)?),
        None => None,
    };
    let json = json!({
        "out": escape(out), "format": format.name(),
        "architecture": pretrained.architecture, "classes": pretrained.classes,
        "preprocess": pretrained.preprocess, "source_sha256": pretrained.sha256,
        "with_preprocessing": command.with_preprocessing, "calibrated": command.calibrated,
        "quantization": cost.as_ref().map(quantized::Cost::told),
        "model_card": command.model_card.then(|| escape(&page)),
    });
    output.result(&json, || {
        let classes = pretrained.classes.as_ref().map_or_else(
            || "no class names".to_string(),
            |names| counted(names.len(), "class", "classes"),
        );
        let takes = match (command.with_preprocessing, gives_numbers) {
            (true, true) => ", from pixels to a number",
            (true, false) => ", from pixels to probabilities",
            (false, _) => "",
        };
        let classes = match (gives_numbers, &pretrained.classes) {
            (true, Some(names)) => format!("the number {}", names.join(", ")),
            _ => classes,
        };
        let line = format!(
            "{}: {} with {classes}{takes}",
            show(out),
            pretrained.architecture
        );
        match &cost {
            Some(cost) => format!("{line}, in eight bits\n{}", cost.said()),
            None => line,
        }
    });
    let quantized = in_eight_bits.as_ref();
    Ok(
        match quantized.is_some_and(|quantized| !quantized.skipped.is_empty()) {
            true => Outcome::BadData,
            false => Outcome::Done,
        },
    )
}

fn by_ending(out: &Path) -> Result<Format, Failure> {
    match out.extension().and_then(|ending| ending.to_str()) {
        Some("safetensors") => Ok(Format::Safetensors),
        Some("bpk") => Ok(Format::Burnpack),
        Some("onnx") => Ok(Format::Onnx),
        _ => Err(Failure::Usage(format!(
            "{} does not end in .safetensors, .bpk or .onnx; choose a format with --format",
            show(out)
        ))),
    }
}
