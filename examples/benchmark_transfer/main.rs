//! The table of docs/benchmarks.md on transfer: every kind of it that works on kept features, on real photographs.
//!
//! ```text
//! cargo run --release --example benchmark_transfer -- --data ../shared/data
//! ```
//!
//! `--data` is a folder with the sets named in `jobs.rs` and `weights/resnet{18,50}-standin.*`. Features are computed
//! once, by `extract_features`, into `--work`; then the other examples run on them, each with `--json`, and this program
//! gathers what they print. `--only` takes the parts whose names contain a word.

mod gather;
mod jobs;
mod kept;
#[path = "../common/outcome.rs"]
mod outcome;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use gather::{Examples, Row};
use serde_json::json;

type Failure = Box<dyn std::error::Error>;

/// Runs the examples of transfer on kept features and gathers their results in a table.
#[derive(Debug, Parser)]
struct Arguments {
    /// Folder with the sets and the weights
    #[arg(long)]
    data: PathBuf,
    /// Folder that features are kept in
    #[arg(long, default_value = "target/benchmark_transfer")]
    work: PathBuf,
    /// Parts to run, by a word of their names; all of them where none is given
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Use the examples that lie beside this program (`cargo build --release --examples`) as they are
    #[arg(long)]
    built: bool,
    /// One JSON object a part in place of Markdown
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    outcome::exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let examples = match arguments.built {
        true => Examples::beside_this()?,
        false => Examples::by_cargo(),
    };
    let kept = kept::Kept::new(&arguments.data, &arguments.work)?;
    for part in jobs::parts(&kept) {
        let is_wanted = |word: &String| part.name.contains(word.as_str());
        if !(arguments.only.is_empty() || arguments.only.iter().any(is_wanted)) {
            continue;
        }
        let begun = Instant::now();
        for (set, network) in &part.sets {
            kept.ensure(set, *network, &examples)?;
        }
        let mut rows: Vec<Row> = Vec::new();
        for call in &part.calls {
            let printed = examples.run(part.example, call)?;
            gather::merge(&mut rows, (part.read)(&printed)?);
        }
        let seconds = begun.elapsed().as_secs_f64();
        if arguments.json {
            let rows: Vec<_> = rows.iter().map(Row::as_json).collect();
            println!(
                "{}",
                json!({"part": part.name, "rows": rows, "seconds": seconds})
            );
            continue;
        }
        println!(
            "\n### {}\n\n| | mean | spread | runs |\n|---|---|---|---|",
            part.name
        );
        rows.iter()
            .for_each(|row| println!("{}", row.as_markdown()));
        println!("\n`{}` ({seconds:.0} s)", part.command());
    }
    Ok(())
}
