//! `config.json` as timm writes it.

use rekindle_preprocess::{Interpolation, Preprocess, ResizeMode};
use serde_json::Value;

use super::Object;
use super::values::{channels, deviations, list_of_others, names, resized, share, side};
use crate::ModelInfo;

/// Side of the input in pixels that timm uses by default; below it, the share of the resized picture that is cropped.
const SIDE: usize = 224;
const SHARE: f64 = 0.875;
/// Entries of which one at least makes a preprocessing.
const ENTRIES: [&str; 5] = ["input_size", "crop_pct", "interpolation", "mean", "std"];

/// Returns what a description says; none where it isn't timm's.
pub(super) fn info(config: &Object) -> Option<ModelInfo> {
    let pretrained = match config.get("pretrained_cfg") {
        Some(Value::Object(pretrained)) => pretrained,
        // As it was written before 2023: all on one level.
        _ if config.contains_key("architecture") => config,
        _ => return None,
    };
    let architecture = [config, pretrained]
        .iter()
        .find_map(|object| object.get("architecture")?.as_str());
    let classes = [
        config.get("label_names"),
        pretrained.get("label_names"),
        pretrained.get("labels"),
    ];
    Some(ModelInfo {
        // `resnet50.a1_in1k` names weights, of the architecture in front of the dot.
        architecture: architecture
            .map(|name| name.split('.').next().unwrap_or_default().to_string()),
        classes: classes.into_iter().flatten().find_map(names),
        preprocess: preprocess(pretrained),
        ..ModelInfo::default()
    })
}

/// Finds an entry of numbers for channels that no preprocessing can hold.
pub(super) fn unusable(config: &Object) -> Option<&str> {
    let pretrained = config.get("pretrained_cfg").and_then(Value::as_object);
    list_of_others(pretrained.unwrap_or(config), &["mean", "std"])
}

fn preprocess(pretrained: &Object) -> Option<Preprocess> {
    if !ENTRIES.iter().any(|entry| pretrained.contains_key(*entry)) {
        return None;
    }
    let get = |name: &str| pretrained.get(name);
    let crop = get("input_size").and_then(square).unwrap_or(SIDE);
    let interpolation = get("interpolation").and_then(Value::as_str);
    let Preprocess { mean, std, .. } = Preprocess::IMAGENET;
    Some(Preprocess {
        resize: resized(crop, get("crop_pct").and_then(share).unwrap_or(SHARE)),
        crop,
        mean: get("mean").and_then(channels).unwrap_or(mean),
        std: get("std").and_then(deviations).unwrap_or(std),
        interpolation: match interpolation {
            Some("nearest") => Interpolation::Nearest,
            Some("bilinear") => Interpolation::Bilinear,
            Some("lanczos") => Interpolation::Lanczos,
            _ => Interpolation::Bicubic,
        },
        mode: match get("crop_mode").and_then(Value::as_str) {
            Some("squash") => ResizeMode::Squash,
            Some("border") => ResizeMode::Letterbox,
            _ => ResizeMode::Crop,
        },
        channels: None,
    })
}

/// Returns the side of `[channels, side, side]`.
fn square(size: &Value) -> Option<usize> {
    match &size.as_array()?[..] {
        [_, height, width] => side(height).filter(|height| Some(*height) == side(width)),
        _ => None,
    }
}
