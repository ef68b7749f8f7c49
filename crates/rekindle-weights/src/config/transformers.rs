//! `config.json` and `preprocessor_config.json` as transformers writes them.

use rekindle_preprocess::{Interpolation, Preprocess, ResizeMode};
use serde_json::Value;

use super::Object;
use super::values::{channels, deviations, names, resized, share, side};

/// Below this side ConvNeXt's images are cut out of larger ones.
const UNCUT: usize = 384;

/// Returns the class names; none where they are the numbered ones of a model that was given no names.
pub(super) fn classes(config: &Object) -> Option<Vec<String>> {
    let names = names(config.get("id2label")?)?;
    let is_default = |(number, name): (usize, &String)| *name == format!("LABEL_{number}");
    (!names.iter().enumerate().all(is_default)).then_some(names)
}

/// Returns the preprocessing; none where no size is said.
pub(super) fn preprocess(config: &Object) -> Option<Preprocess> {
    let flag = |name: &str| config.get(name).and_then(Value::as_bool);
    let size = length(config.get("size")?)?;
    let is_cut = flag("do_center_crop");
    let (resize, crop) = match config.get("crop_pct").and_then(share) {
        Some(share) if size < UNCUT => (resized(size, share), size),
        Some(_) => (size, size),
        None => match config.get("crop_size").and_then(length) {
            Some(crop) if is_cut != Some(false) => (size.max(crop), crop),
            _ => (size, size),
        },
    };
    let is_scaled = flag("do_normalize") != Some(false);
    let get = |name: &str| config.get(name).filter(|_| is_scaled);
    let Preprocess { mean, std, .. } = match is_scaled {
        true => Preprocess::IMAGENET,
        false => Preprocess {
            mean: [0.0; 3],
            std: [1.0; 3],
            ..Preprocess::IMAGENET
        },
    };
    Some(Preprocess {
        resize,
        crop,
        mean: get("image_mean").and_then(channels).unwrap_or(mean),
        std: get("image_std").and_then(deviations).unwrap_or(std),
        // Pillow's numbers.
        interpolation: match config.get("resample").and_then(Value::as_u64) {
            Some(0) => Interpolation::Nearest,
            Some(1) => Interpolation::Lanczos,
            Some(3) => Interpolation::Bicubic,
            _ => Interpolation::Bilinear,
        },
        mode: match is_squashed(config, size) {
            true => ResizeMode::Squash,
            false => ResizeMode::Crop,
        },
        channels: None,
    })
}

/// Returns true where both sides are resized to the same length: where a height and a width are said, a number is said to a
/// processor that takes it for both, or ConvNeXt shows whole pictures.
fn is_squashed(config: &Object, size: usize) -> bool {
    let types = ["image_processor_type", "feature_extractor_type"];
    let processor = types
        .iter()
        .find_map(|key| config.get(*key)?.as_str())
        .unwrap_or_default();
    let takes_both = ["ViT", "DeiT", "Beit", "Siglip"];
    match config.get("size") {
        Some(Value::Object(sides)) if sides.contains_key("height") => true,
        Some(Value::Number(_)) if takes_both.iter().any(|name| processor.starts_with(name)) => true,
        _ => config.contains_key("crop_pct") && size >= UNCUT,
    }
}

/// Returns a length: a number, `{"shortest_edge": 256}`, or `{"height": 224, "width": 224}`.
fn length(size: &Value) -> Option<usize> {
    match size {
        Value::Object(sides) => match sides.get("shortest_edge") {
            Some(edge) => side(edge),
            None => {
                let height = side(sides.get("height")?)?;
                (side(sides.get("width")?) == Some(height)).then_some(height)
            }
        },
        number => side(number),
    }
}
