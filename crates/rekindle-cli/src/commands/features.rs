use rekindle::files::names::{escape, show};
use rekindle::trainer::{FeatureLayer, FeatureTable, Interrupt};
use serde_json::json;

use crate::arguments::{Features, Layer, Output};
use crate::checks;
use crate::console::{counted, say_left_out};
use crate::failure::{Failure, Outcome};
use crate::tables::Images;

pub fn run(command: &Features, output: Output) -> Result<Outcome, Failure> {
    let images = Images::of(command.data.as_deref(), &command.table)?;
    images.check()?;
    checks::file(&command.out)?;
    if let Some(weights) = &command.weights.weights {
        checks::different("the file of weights", &command.out, weights)?;
    }
    let interrupt = Interrupt::on_ctrl_c()?;
    let pretrained = command.weights.open(&output, &command.device.open()?)?;
    let layout = images.listing()?;
    output.layout(&layout, "");
    let folder = layout.open_all()?;
    let bar = output.bar(folder.len(), "images");
    let layer = match command.layer {
        Layer::Pooled => FeatureLayer::Pooled,
        Layer::Logits => FeatureLayer::Logits,
    };
    let table = FeatureTable::compute_until(
        &pretrained,
        &folder,
        layer,
        command.quantize,
        &interrupt,
        |count| bar.inc(count as u64),
    )?;
    bar.finish_and_clear();
    table.save(&command.out, &pretrained)?;
    say_left_out(table.skipped.iter().map(|skipped| &skipped.reason));
    let json = json!({
        "out": escape(&command.out), "images": table.labels.len(), "width": table.width,
        "classes": table.classes, "skipped": table.skipped,
    });
    output.result(&json, || {
        format!(
            "{}: {} with {} each",
            show(&command.out),
            counted(table.labels.len(), "image", "images"),
            counted(table.width, "number", "numbers")
        )
    });
    Ok(if table.skipped.is_empty() {
        Outcome::Done
    } else {
        Outcome::BadData
    })
}
