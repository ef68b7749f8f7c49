use std::borrow::Cow;
use std::path::{Path, PathBuf};

use rekindle::device::DeviceName;
use rekindle::files::names::escape;
use rekindle::trainer::{Interrupt, VALIDATION_SHARE};
use rekindle::transfer::advise::{Advice, Cost, MEANINGS};
use rekindle::weights::Repository;
use serde_json::{Map, json};

use crate::arguments::{Advise, Output};
use crate::checks;
use crate::console::print;
use crate::failure::{Failure, Outcome};
use crate::tables::{Images, Table};

pub fn run(command: &Advise, output: Output) -> Result<Outcome, Failure> {
    let images = Images::of(command.data.as_deref(), &command.table)?;
    images.check()?;
    if let Some(kept) = &command.cache {
        images.outside("--cache", kept)?;
        checks::folder(kept)?;
    }
    let interrupt = Interrupt::on_ctrl_c()?;
    let device = command.device.open()?;
    let listing = images.listing()?;
    output.layout(&listing, "");
    // What can't be held out for validation can't be trained on afterwards.
    listing.open_split(VALIDATION_SHARE, command.seed)?;
    let weights = command.weights.paths(&output)?;
    let mut advise = rekindle::trainer::Advise::new(&device)
        .seed(command.seed)
        .load_options(command.weights.part.options())
        .interrupt(interrupt)
        .observer(output.observer());
    if let Some(folder) = &command.cache {
        advise = advise.cache(folder);
    }
    let advice = advise.run_on(&listing, &weights)?;
    let next = train_command(command, &advice, &weights);
    if output.json {
        let mut told = json!(advice);
        told["command"] = json!(next);
        told["meanings"] = MEANINGS
            .iter()
            .map(|(score, meaning)| (score.to_string(), json!(meaning)))
            .collect::<Map<_, _>>()
            .into();
        print(&told.to_string());
    } else {
        print(advice.to_string().trim_end());
        print(&format!("\nto do so, run\n  {next}"));
        if let Some(cost) = &advice.cost {
            print(&format!("  {}", costs(cost)));
        }
    }
    Ok(Outcome::Done)
}

/// Returns the command that follows the advice, quoted for a shell.
fn train_command(command: &Advise, advice: &Advice, weights: &[PathBuf]) -> String {
    let chosen = weights
        .iter()
        .find(|path| match Repository::of_cached(path) {
            Some(repository) => advice.backbone == repository.to_string(),
            None => advice.backbone == escape(path),
        })
        .or_else(|| {
            let is_it = |path: &&PathBuf| {
                path.file_stem()
                    .is_some_and(|stem| escape(stem) == advice.backbone)
            };
            weights.iter().find(is_it)
        });
    let mut words = vec!["rekindle".to_string(), "train".into()];
    words.extend(command.data.iter().map(|data| path(data)));
    words.extend(table_options(&command.table));
    if let Some(chosen) = chosen {
        let name = match Repository::of_cached(chosen) {
            Some(repository) => word(&repository.to_string()),
            None => path(chosen),
        };
        words.extend(["--weights".to_string(), name]);
    }
    let part = &command.weights.part;
    for (option, value) in [
        ("--weights-key", &part.weights_key),
        ("--weights-prefix", &part.weights_prefix),
        ("--features-from", &part.features_from),
    ] {
        if let Some(value) = value {
            words.extend([option.to_string(), word(value)]);
        }
    }
    words.extend(["--strategy".to_string(), word(&advice.strategy_argument())]);
    if command.device != DeviceName::default() {
        words.extend(["--device".to_string(), command.device.to_string()]);
    }
    if let Some(folder) = &command.cache {
        words.extend(["--cache".to_string(), path(folder)]);
    }
    if command.seed != 0 {
        words.extend(["--seed".to_string(), command.seed.to_string()]);
    }
    words.join(" ")
}

/// The options of a table, as they were given.
fn table_options(table: &Table) -> Vec<String> {
    let mut words = Vec::new();
    if let Some(file) = &table.table {
        words.extend(["--table".to_string(), path(file)]);
    }
    for (option, value) in table.given() {
        match (option, value.is_empty()) {
            ("--ordinal", true) => words.push(option.to_string()),
            ("--ordinal", false) => words.push(word(&format!("{option}={value}"))),
            _ => words.extend([option.to_string(), word(&value)]),
        }
    }
    words
}

/// A word, quoted where a shell would read more into it.
fn word(text: &str) -> String {
    shlex::try_quote(text).map_or_else(|_| text.to_string(), Cow::into_owned)
}

/// Formats a path as an argument. One that begins with a dash would be taken for an option; bytes that can't be
/// printed are written as bash and zsh read them.
fn path(path: &Path) -> String {
    let name = path.as_os_str().as_encoded_bytes();
    let here = if name.starts_with(b"-") { "./" } else { "" };
    match path.to_str() {
        Some(text) if !text.chars().any(char::is_control) => word(&format!("{here}{text}")),
        _ => {
            let mut quoted = format!("$'{here}");
            for byte in name {
                match byte {
                    b'\\' | b'\'' => quoted.extend(['\\', char::from(*byte)]),
                    b' '..=b'~' => quoted.push(char::from(*byte)),
                    _ => quoted.push_str(&format!("\\x{byte:02x}")),
                }
            }
            quoted + "'"
        }
    }
}

fn costs(cost: &Cost) -> String {
    let mut parts = vec![format!(
        "one-call takes about {}",
        duration(cost.one_call_seconds)
    )];
    if let Some(seconds) = cost.strategy_seconds {
        parts.push(format!(
            "{} epochs of the other about {}",
            cost.strategy_epochs,
            duration(seconds)
        ));
    }
    if let Some(bytes) = cost.memory {
        let more = match cost.strategy_seconds {
            Some(_) => ", training more with every image of --batch",
            None => "",
        };
        parts.push(format!("{:.0} MB of memory{more}", bytes as f64 / 1e6));
    }
    format!("on this machine {}", parts.join(", "))
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{:.0} s", s.max(1.0)),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}
