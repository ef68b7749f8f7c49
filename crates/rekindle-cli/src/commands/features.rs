use std::path::Path;

use rekindle::files::names::{escape, show};
use rekindle::imagefolder::{ImageFolder, Shard};
use rekindle::models::Pretrained;
use rekindle::trainer::{FeatureExtractor, FeatureLayer, Interrupt};
use serde_json::json;

use crate::arguments::{Features, Layer, Output};
use crate::checks;
use crate::console::{counted, say_left_out};
use crate::failure::{Failure, Outcome};
use crate::tables::Images;

pub fn run(command: &Features, output: Output) -> Result<Outcome, Failure> {
    let images = Images::of(command.data.as_deref(), &command.table)?;
    images.check()?;
    if let Some(out) = &command.out {
        checks::file(out)?;
        if let Some(weights) = &command.weights.weights {
            checks::different("the file of weights", out, weights)?;
        }
    }
    if let Some(kept) = &command.looking.cache {
        images.outside("--cache", kept)?;
        checks::folder(kept)?;
    }
    let interrupt = Interrupt::on_ctrl_c()?;
    let device = command.looking.device.open()?;
    let pretrained = command.weights.open(&output, &device)?;
    let layout = images.listing()?;
    output.layout(&layout, "");
    let folder = layout.open_all()?;
    let mut extractor = FeatureExtractor::new(&device)
        .quantize(command.quantize)
        .workers(command.looking.workers)
        .interrupt(interrupt)
        .observer(output.observer());
    if let Some(kept) = &command.looking.cache {
        extractor = extractor.cache(kept);
    }
    if command.keep_architecture {
        extractor = extractor.keep_architecture();
    }
    match (command.shard, &command.looking.cache, &command.out) {
        (Some(shard), Some(cache), _) => {
            fill(extractor, &pretrained, &folder, shard, cache, output)
        }
        (_, _, Some(out)) => {
            let layer = match command.layer {
                None | Some(Layer::Pooled) => FeatureLayer::Pooled,
                Some(Layer::Logits) => FeatureLayer::Logits,
            };
            write(extractor.layer(layer), &pretrained, &folder, out, output)
        }
        (_, _, None) => Err(Failure::Usage(
            "name the file to write with --out, or --shard and --cache".into(),
        )),
    }
}

/// Writes a table of all images.
fn write(
    extractor: FeatureExtractor<'_>,
    pretrained: &Pretrained,
    folder: &ImageFolder,
    out: &Path,
    output: Output,
) -> Result<Outcome, Failure> {
    let table = extractor.run(pretrained, folder)?;
    table.save(out, pretrained)?;
    say_left_out(table.skipped.iter().map(|skipped| &skipped.reason));
    let images = table.labels.len();
    let json = json!({
        "out": escape(out), "images": images, "computed": table.computed, "width": table.width,
        "classes": table.classes, "skipped": table.skipped,
    });
    output.result(&json, || {
        format!(
            "{}: {} with {} each{}",
            show(out),
            counted(images, "image", "images"),
            counted(table.width, "number", "numbers"),
            match images - table.computed {
                0 => String::new(),
                found => format!(", {found} of them from the cache"),
            }
        )
    });
    Ok(outcome(table.skipped.is_empty()))
}

/// Leaves the features of a part of the images in the cache.
fn fill(
    extractor: FeatureExtractor<'_>,
    pretrained: &Pretrained,
    folder: &ImageFolder,
    shard: Shard,
    cache: &Path,
    output: Output,
) -> Result<Outcome, Failure> {
    let filled = extractor.fill_cache(pretrained, folder, shard)?;
    say_left_out(filled.skipped.iter().map(|skipped| &skipped.reason));
    let json = json!({
        "cache": escape(cache), "shard": shard.index(), "shards": shard.count(), "images": filled.images,
        "found": filled.found, "computed": filled.computed, "skipped": filled.skipped,
    });
    output.result(&json, || {
        format!(
            "shard {shard}: {} of {}; {} found in {}, {} computed",
            filled.images,
            counted(folder.len(), "image", "images"),
            filled.found,
            show(cache),
            filled.computed
        )
    });
    Ok(outcome(filled.skipped.is_empty()))
}

fn outcome(is_clean: bool) -> Outcome {
    match is_clean {
        true => Outcome::Done,
        false => Outcome::BadData,
    }
}
