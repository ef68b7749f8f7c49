//! Options that are given to a command that doesn't have them.

use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::Arguments;

/// Says which commands have an option that the one called has not, in the place of clap's tip to pass its name as a file.
pub fn pointed_out(mut error: clap::Error) -> clap::Error {
    let (ErrorKind::UnknownArgument, Some(ContextValue::String(given))) =
        (error.kind(), error.get(ContextKind::InvalidArg))
    else {
        return error;
    };
    let name = given.trim_start_matches('-');
    let name = name.split_once('=').map_or(name, |(name, _)| name);
    let program = Arguments::command();
    let owners: Vec<String> = program
        .get_subcommands()
        .filter(|command| command.get_arguments().any(|option| goes_by(option, name)))
        .map(|command| format!("rekindle {}", command.get_name()))
        .collect();
    let tip = format!("--{name} is an option of {}", owners.join(" and of "));
    error.remove(ContextKind::Suggested);
    if !owners.is_empty() {
        // What is spelled alike is not what was meant.
        error.remove(ContextKind::SuggestedArg);
        error.insert(
            ContextKind::Suggested,
            ContextValue::StyledStrs(vec![tip.into()]),
        );
    }
    error
}

fn goes_by(option: &clap::Arg, name: &str) -> bool {
    let aliases = option.get_all_aliases().unwrap_or_default();
    option.get_long() == Some(name) || aliases.contains(&name)
}
