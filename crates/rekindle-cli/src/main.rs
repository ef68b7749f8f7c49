//! Transfer learning from the command line. All that it does is done by the crates of `rekindle`; this one reads
//! arguments, shows progress and prints results.

mod arguments;
mod checks;
mod commands;
mod console;
mod failure;
mod values;
mod weights;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::Arguments;
use crate::failure::Outcome;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match commands::run(&arguments) {
        Ok(outcome) => outcome.into(),
        Err(failure) => {
            console::say(&format!("error: {failure}"));
            Outcome::from(&failure).into()
        }
    }
}
