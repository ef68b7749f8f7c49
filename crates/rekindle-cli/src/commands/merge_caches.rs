use std::path::Path;

use rekindle::files::names::{escape, show};
use rekindle::transfer::features::{MergedRows, merge_caches};
use serde_json::{Value, json};

use crate::arguments::{MergeCaches, Output};
use crate::checks;
use crate::console::{counted, say};
use crate::failure::{Failure, Outcome};

pub fn run(command: &MergeCaches, output: Output) -> Result<Outcome, Failure> {
    checks::folder(&command.out)?;
    let out = command.out.canonicalize().ok();
    if let Some(cache) = command
        .caches
        .iter()
        .find(|cache| out.is_some() && cache.canonicalize().ok() == out)
    {
        return Err(Failure::Usage(format!(
            "{} is named by --out and among the caches to merge; leave it out there, what it holds stays",
            show(cache)
        )));
    }
    let bar = output.bar(0, "files");
    let merged = merge_caches(&command.out, &command.caches, |_| {
        bar.inc_length(1);
        bar.inc(1);
    })?;
    bar.finish_and_clear();
    for refused in &merged.refused {
        say(&format!(
            "left out: {}: {}; delete it, and run its shard again",
            show(&refused.path),
            refused.reason
        ));
    }
    let rows: Vec<Value> = merged.rows.iter().map(as_json).collect();
    let refused = merged
        .refused
        .iter()
        .map(|refused| json!({"path": escape(&refused.path), "reason": refused.reason}));
    let json = json!({
        "out": escape(&command.out), "features": rows, "refused": refused.collect::<Vec<Value>>(),
    });
    output.result(&json, || as_text(&command.out, &merged.rows));
    // A network's own features lie beside those of two levels, which are more.
    let is_alike = |rows: &MergedRows| {
        let alike = |other: &&MergedRows| other.row_shape == rows.row_shape;
        merged.rows.iter().filter(alike).count() > 1
    };
    if merged.rows.iter().any(is_alike) {
        output.note(
            "the features are of several kinds: other weights, preprocessing, instruction sets or versions of the program; each \
             command finds its own",
        );
    }
    Ok(match merged.refused.is_empty() {
        true => Outcome::Done,
        false => Outcome::Failed,
    })
}

fn as_json(rows: &MergedRows) -> Value {
    json!({
        "key": rows.key, "row_shape": rows.row_shape, "files": rows.files, "added": rows.added, "present": rows.present,
        "differing": rows.differing, "total": rows.total,
    })
}

fn as_text(out: &Path, merged: &[MergedRows]) -> String {
    let line = |rows: &MergedRows| {
        let differing = match rows.differing {
            0 => String::new(),
            rows => format!(", {rows} there with other values, which stay"),
        };
        format!(
            "{}: {} of {}; from {} {} added, {} there already{differing}",
            show(out.join(&rows.key)),
            counted(rows.total, "row", "rows"),
            counted(rows.row_shape.iter().product(), "number", "numbers"),
            counted(rows.files, "file", "files"),
            rows.added,
            rows.present
        )
    };
    match merged.is_empty() {
        true => format!("{}: nothing to merge, the caches are empty", show(out)),
        false => merged.iter().map(line).collect::<Vec<String>>().join("\n"),
    }
}
