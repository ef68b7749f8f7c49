//! Tables as text: CSV, tab-separated values and JSON lines, with the line of each record.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use crate::error::Error;
use crate::formats::foreign::of_content;

/// The byte order mark that Windows programs write first.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// A table as it is written, before any column has a meaning.
pub(super) struct Records {
    /// Names of the columns.
    pub columns: Vec<String>,
    pub rows: Vec<Record>,
    /// Whether `;` stands between cells.
    pub has_semicolons: bool,
}

/// One line.
pub(super) struct Record {
    /// Counted from 1.
    pub line: u64,
    /// As many as there are columns.
    pub cells: Vec<Cell>,
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    /// Without spaces around it; empty where there is none.
    Text(String),
    /// A list, of which JSON has some.
    Several(Vec<String>),
}

/// The ways in which a table is written.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// Cells with this character between them.
    Separated(u8),
    /// One JSON object a line.
    JsonLines,
}

/// Reads a table in the form that its name, or of `.csv` and others its first line, speaks of.
pub(super) fn read(path: &Path) -> Result<Records, Error> {
    let bytes = fs::read(path).map_err(|source| Error::Read {
        path: path.to_path_buf(),
        source,
    })?;
    let bytes = bytes.strip_prefix(BOM).unwrap_or(&bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| {
        if let Some((found, advice)) = other_content(bytes) {
            return Error::NotATable {
                path: path.to_path_buf(),
                found,
                advice,
            };
        }
        let before = &bytes[..error.valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count() as u64;
        fault(
            path,
            line,
            "the text is not UTF-8; save the table as UTF-8".into(),
        )
    })?;
    let records = match form(path, text) {
        Form::JsonLines => json_lines(path, text)?,
        Form::Separated(separator) => separated(path, text, separator)?,
    };
    match records.rows.is_empty() {
        false => Ok(records),
        true => Err(fault(
            path,
            1,
            "the table has no picture; expected a first line with the names of the columns, and one line for each \
             picture"
                .into(),
        )),
    }
}

/// Tells what a file is that is no text, and what to give in its place.
fn other_content(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    const UNPACK: &str = "unpack it and give the folder with one sub-folder per class";
    const SAVE: &str = "save it as CSV with one line per picture";
    match bytes {
        // Office writes its documents as ZIP archives that begin with this member.
        [b'P', b'K', 3, 4, ..] if holds(bytes, b"[Content_Types].xml") => {
            Some(("a spreadsheet or another document", SAVE))
        }
        [0xd0, 0xcf, 0x11, 0xe0, ..] => Some(("a spreadsheet or another document", SAVE)),
        [b'P', b'A', b'R', b'1', ..] => Some(("a Parquet file", SAVE)),
        [b'P', b'K', 3, 4, ..] => Some(("a ZIP archive", UNPACK)),
        [b'R', b'a', b'r', b'!', ..]
        | [b'7', b'z', 0xbc, 0xaf, ..]
        | [0x1f, 0x8b, ..]
        | [b'B', b'Z', b'h', ..]
        | [0xfd, b'7', b'z', b'X', b'Z', ..]
        | [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(("an archive or compressed", UNPACK)),
        _ if bytes.get(257..262) == Some(b"ustar") => Some(("a TAR archive", UNPACK)),
        _ if image::guess_format(bytes).is_ok() || of_content(bytes).is_some() => Some((
            "a picture",
            "give the folder that holds one sub-folder per class, or a table of pictures (CSV with columns file and label)",
        )),
        _ => None,
    }
}

/// Whether the name of a first member stands at the beginning.
fn holds(bytes: &[u8], name: &[u8]) -> bool {
    let beginning = &bytes[..bytes.len().min(4096)];
    beginning.windows(name.len()).any(|found| found == name)
}

pub(super) fn fault(path: &Path, line: u64, reason: String) -> Error {
    Error::TableLine {
        path: path.to_path_buf(),
        line,
        reason,
    }
}

fn form(path: &Path, text: &str) -> Form {
    let ending = path
        .extension()
        .map(|ending| ending.to_string_lossy().to_lowercase());
    match ending.as_deref() {
        Some("jsonl" | "ndjson" | "jsonlines") => Form::JsonLines,
        Some("tsv" | "tab") => Form::Separated(b'\t'),
        _ => {
            let first = text.lines().next().unwrap_or_default();
            if first.trim_start().starts_with('{') {
                return Form::JsonLines;
            }
            let separators = [b',', b'\t', b';'];
            let used = separators
                .into_iter()
                .find(|s| first.contains(char::from(*s)));
            Form::Separated(used.unwrap_or(b','))
        }
    }
}

fn separated(path: &Path, text: &str, separator: u8) -> Result<Records, Error> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(separator)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let unreadable = |error: csv::Error| {
        let line = error.position().map_or(1, csv::Position::line);
        fault(path, line, error.to_string())
    };
    let columns: Vec<String> = reader
        .headers()
        .map_err(unreadable)?
        .iter()
        .map(String::from)
        .collect();
    let mut seen = BTreeSet::new();
    if let Some(twice) = columns
        .iter()
        .find(|name| !name.is_empty() && !seen.insert(*name))
    {
        let reason = format!("two columns are called {twice}; rename one");
        return Err(fault(path, 1, reason));
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(unreadable)?;
        let line = record.position().map_or(0, csv::Position::line);
        if record.len() != columns.len() {
            return Err(fault(
                path,
                line,
                format!(
                    "{} cells where the first line names {} columns; put quotes around cells that hold the separator",
                    record.len(),
                    columns.len()
                ),
            ));
        }
        let cells = record.iter().map(|cell| Cell::Text(cell.into())).collect();
        rows.push(Record { line, cells });
    }
    Ok(Records {
        columns,
        rows,
        has_semicolons: separator == b';',
    })
}

fn json_lines(path: &Path, text: &str) -> Result<Records, Error> {
    let mut objects: Vec<(u64, Map<String, Value>)> = Vec::new();
    let mut columns: Vec<String> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        let object: Map<String, Value> = serde_json::from_str(line).map_err(|error| {
            let reason = format!("expected one JSON object a line ({error})");
            fault(path, number, reason)
        })?;
        for name in object.keys() {
            if !columns.contains(name) {
                columns.push(name.clone());
            }
        }
        objects.push((number, object));
    }
    let rows = objects
        .into_iter()
        .map(|(line, mut object)| {
            let cells = columns
                .iter()
                .map(|name| {
                    cell(object.remove(name).unwrap_or_default()).ok_or_else(|| {
                        let reason = format!(
                            "the value of {name} is neither text, a number nor a list of these"
                        );
                        fault(path, line, reason)
                    })
                })
                .collect::<Result<_, _>>()?;
            Ok(Record { line, cells })
        })
        .collect::<Result<_, Error>>()?;
    Ok(Records {
        columns,
        rows,
        has_semicolons: false,
    })
}

/// A JSON value as a cell; none for objects and nested lists.
fn cell(value: Value) -> Option<Cell> {
    match value {
        Value::Array(values) => values
            .into_iter()
            .map(|value| match cell(value)? {
                Cell::Text(text) => Some(text),
                Cell::Several(_) => None,
            })
            .collect::<Option<_>>()
            .map(Cell::Several),
        Value::String(text) => Some(Cell::Text(text.trim().into())),
        Value::Null => Some(Cell::Text(String::new())),
        Value::Number(number) => Some(Cell::Text(number.to_string())),
        Value::Bool(value) => Some(Cell::Text(value.to_string())),
        Value::Object(_) => None,
    }
}
