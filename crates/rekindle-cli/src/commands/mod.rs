//! One module per command.

mod advise;
mod asked;
mod audit;
mod card;
mod completions;
mod evaluate;
mod export;
mod features;
mod fit;
mod lr_find;
mod merge_caches;
mod models;
mod predict;
mod quantized;
mod reject;
mod report;
mod similar;
mod train;
mod verify;
mod zero_shot;

use crate::arguments::{Arguments, Command};
use crate::failure::{Failure, Outcome};

pub fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let output = arguments.output;
    match &arguments.command {
        Command::Audit(command) => audit::run(command, output),
        Command::Advise(command) => advise::run(command, output),
        Command::Verify(command) => verify::run(command, output),
        Command::Train(command) => train::run(command, output),
        Command::Fit(command) => fit::run(command, output),
        Command::Predict(command) => predict::run(command, output),
        Command::Evaluate(command) => evaluate::run(command, output),
        Command::LrFind(command) => lr_find::run(command, output),
        Command::Models(command) => models::run(command, output),
        Command::Export(command) => export::run(command, output),
        Command::Reject(command) => reject::run(command, output),
        Command::Report(command) => report::run(command, output),
        Command::Features(command) => features::run(command, output),
        Command::MergeCaches(command) => merge_caches::run(command, output),
        Command::Similar(command) => similar::run(command, output),
        Command::Completions(command) => Ok(completions::run(command)),
    }
}
