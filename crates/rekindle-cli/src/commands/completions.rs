use std::io;

use clap::CommandFactory;

use crate::arguments::{Arguments, Completions};
use crate::failure::Outcome;

pub fn run(command: &Completions) -> Outcome {
    let mut program = Arguments::command();
    clap_complete::generate(command.shell, &mut program, "rekindle", &mut io::stdout());
    Outcome::Done
}
