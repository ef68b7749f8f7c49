//! PyTorch's transfer-learning tutorial, step by step, in Rust: 244 photographs of ants and bees, a network
//! trained on ImageNet, and a new head.
//!
//! ```text
//! cargo run --release --example ants_bees
//! cargo run --release --example ants_bees -- --data hymenoptera --weights resnet18-f37072fd.pth
//! ```
//!
//! Without `--data` and `--weights` both are downloaded into the cache; without a network the example draws
//! its own ants and bees and starts from a small network that was trained on other drawings.

mod arguments;
mod origin;
#[path = "../common/outcome.rs"]
mod outcome;
mod outputs;

use std::path::Path;
use std::process::ExitCode;

use arguments::Arguments;
use clap::Parser;
use origin::Origin;
use outputs::Outputs;
use rekindle::nn::Network;
use rekindle::trainer::events::EndReason;
use rekindle::trainer::{
    Cache, Event, Fitted, Interrupt, Progress, ProgressMode, Recipe, Trainer, TransferData,
};
use rekindle::transfer::Strategy;

/// An error whose message says what to do.
type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    outcome::exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let device = arguments.device.open()?;
    let interrupt = Interrupt::on_ctrl_c()?;

    // 1. The network and the data.
    let folder = arguments.folder();
    let origin = Origin::find(arguments, &folder, &device)?;
    let data = TransferData::open(&origin.data, &origin.pretrained.preprocess, arguments.seed)?;
    let mut outputs = Outputs::create(&folder, &origin, &data, arguments.seed)?;

    // 2. A look at what the network will see.
    outputs.look_at_data(&data, arguments.seed)?;

    // 3. to 8. Replace the head, train, step the rate, keep the best: once per strategy.
    for strategy in arguments.strategies() {
        if interrupt.requested() {
            break;
        }
        let directory = folder.join(strategy.name());
        let (fitted, events) = train(
            arguments,
            &origin,
            &data,
            strategy.clone(),
            &directory,
            &interrupt,
        )?;
        if fitted.predictions.labels.is_empty() {
            break; // Interrupted before there was anything to look at.
        }
        // 9. A look at what it says of pictures that it never saw.
        outputs.look_at_predictions(&data, &strategy, &fitted)?;
        outputs.add(&data, &strategy, fitted, events, arguments)?;
    }
    outputs.finish(arguments)
}

/// One strategy by the tutorial's recipe.
fn train(
    arguments: &Arguments,
    origin: &Origin,
    data: &TransferData,
    strategy: Strategy,
    directory: &Path,
    interrupt: &Interrupt,
) -> Result<(Fitted<Network>, Vec<Event>), Failure> {
    let recipe = Recipe {
        epochs: arguments.epochs,
        batch_size: arguments.batch,
        seed: arguments.seed,
        workers: arguments.workers,
        moving_average: arguments.moving_average,
        views: arguments.views.max(1),
        quantize_frozen: arguments.quantize && strategy == Strategy::FeatureExtraction,
        cache: match (arguments.views, arguments.cache.clone()) {
            (0, _) => Cache::Off,
            (_, Some(folder)) => Cache::Disk(folder),
            (_, None) => Cache::Memory,
        },
        ..Recipe::tutorial()
    };
    let mut events: Vec<Event> = Vec::new();
    let mode = if arguments.quiet {
        ProgressMode::Silent
    } else {
        ProgressMode::Auto
    };
    let title = format!("ants and bees, {}", strategy.name());
    // The backbone with a fresh head; from scratch, fresh weights as well.
    let trainer = Trainer::adapt(&origin.pretrained, data.clone(), strategy, arguments.seed)
        .title(title)
        .recipe(recipe)
        .observer(Progress::new(mode))
        .observer(&mut events)
        .interrupt(interrupt.clone());
    let fitted = if arguments.resume && directory.exists() {
        trainer.resume(directory)?
    } else {
        trainer.run_directory(directory).fit()?
    };
    if fitted.outcome.reason == EndReason::Interrupted {
        eprintln!(
            "interrupted; the same command with --out {} --resume goes on",
            directory.parent().unwrap_or(directory).display()
        );
    }
    Ok((fitted, events))
}
