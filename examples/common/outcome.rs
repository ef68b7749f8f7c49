//! Ends a program with a status and a message.

use std::fmt::Display;
use std::process::ExitCode;

/// Success, or the error as one line and failure.
pub fn exit_code(outcome: Result<(), impl Display>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
