use std::io::{self, Write};

use clap::CommandFactory;

use crate::arguments::{Arguments, Completions};
use crate::failure::Outcome;

pub fn run(command: &Completions) -> Outcome {
    let mut program = Arguments::command();
    // Generating right into a pipe panics where its reader has gone away.
    let mut script = Vec::new();
    clap_complete::generate(command.shell, &mut program, "rekindle", &mut script);
    let _ = io::stdout().lock().write_all(&script);
    Outcome::Done
}
