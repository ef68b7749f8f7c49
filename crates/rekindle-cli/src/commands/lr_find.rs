use rekindle::trainer::{Interrupt, LrFinder, Trainer, TransferData};
use rekindle::transfer::Backbone;
use serde_json::json;

use crate::arguments::{LrFind, Output};
use crate::console::{counted, say};
use crate::failure::{Failure, Outcome};
use crate::tables::Images;

pub fn run(command: &LrFind, output: Output) -> Result<Outcome, Failure> {
    if command.from >= command.to {
        return Err(Failure::Usage(format!(
            "--from {} is not below --to {}",
            command.from, command.to
        )));
    }
    let images = Images::of(command.data.as_deref(), &command.table)?;
    images.check()?;
    let interrupt = Interrupt::on_ctrl_c()?;
    let device = command.device.open()?;
    let pretrained = command.weights.open(&output, &device)?;
    command.strategy.plan(&pretrained.model.stage_names(), 0)?;
    let data =
        TransferData::from_listing(&images.listing()?, &pretrained.preprocess, command.seed)?;
    output.data(&data);
    let finder = LrFinder {
        start: command.from,
        end: command.to,
        steps: command.steps,
        ..LrFinder::default()
    };
    let recipe = rekindle::trainer::Recipe {
        batch_size: command.batch,
        seed: command.seed,
        ..rekindle::trainer::Recipe::of(&command.strategy).for_task(data.task())
    };
    let bar = output.bar(command.steps, "batches");
    let curve = Trainer::adapt(&pretrained, data, command.strategy.clone(), command.seed)
        .recipe(recipe)
        .interrupt(interrupt)
        .find_learning_rate(&finder, |done| bar.set_position(done as u64))?;
    bar.finish_and_clear();
    if curve.is_short() {
        let steps = counted(curve.rates.len(), "step", "steps");
        let remedy = match command.steps.checked_sub(curve.rates.len()) {
            None | Some(0) => "--steps 100 tries more rates",
            // The loss had risen so far that there was nothing more to see.
            Some(_) => "a lower --to or more --steps try more rates before the loss rises",
        };
        say(&format!(
            "caution: the curve stands on {steps} alone, each with another batch, so its steepest rate may be luck; {remedy}"
        ));
    }
    let json = json!({
        "steepest": curve.steepest(), "rates": curve.rates, "losses": curve.losses,
    });
    output.result(&json, || {
        let mut lines: Vec<String> = curve
            .rates
            .iter()
            .zip(&curve.losses)
            .step_by((curve.rates.len() / 20).max(1))
            .map(|(rate, loss)| format!("{rate:>9.2e}  loss {loss:.4}"))
            .collect();
        lines.push(match curve.steepest() {
            Some(rate) => format!("The loss falls fastest at {rate:.1e}: a good base rate."),
            None => "The loss falls nowhere: no rate can be recommended.".into(),
        });
        lines.join("\n")
    });
    Ok(Outcome::Done)
}
