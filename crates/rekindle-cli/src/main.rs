//! Transfer learning from the command line. All that it does is done by the crates of `rekindle`; this one reads
//! arguments, shows progress and prints results.

mod arguments;
mod checks;
mod commands;
mod console;
mod failure;
mod tables;
mod values;
mod view;
mod weights;

use std::process::ExitCode;

use clap::Parser;
use rekindle::files::names::printable;

use crate::arguments::Arguments;
use crate::failure::Outcome;

fn main() -> ExitCode {
    let arguments =
        Arguments::try_parse().unwrap_or_else(|error| arguments::pointed_out(error).exit());
    match commands::run(&arguments) {
        Ok(outcome) => outcome.into(),
        Err(failure) => {
            let lines = failure.to_string();
            let lines: Vec<String> = lines.lines().map(printable).collect();
            let outcome = Outcome::from(&failure);
            console::say(&match outcome {
                Outcome::Interrupted => lines.join("\n"),
                _ => format!("error: {}", lines.join("\n")),
            });
            outcome.into()
        }
    }
}
