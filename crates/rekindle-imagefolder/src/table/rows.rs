//! Lines of a table as pictures: files, parts, weights and groups.

use std::collections::{BTreeMap, HashMap};
use std::path::{Component, Path, PathBuf};

use rayon::prelude::*;
use rekindle_files::names::{show, unescape};

use super::columns::Columns;
use super::decimal::Decimal;
use super::read::{Cell, Records, fault};
use crate::error::Error;
use crate::part::{PartName, Role};

/// Lines that an error names.
const SHOWN: usize = 3;

/// One picture.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub line: u64,
    pub path: PathBuf,
    /// The part that it is of, where the table has parts.
    pub part: Option<Role>,
    pub weight: f32,
    /// The group, counted from 0.
    pub group: usize,
    /// Its class, where it has one.
    pub label: Option<usize>,
    /// Its targets, where it has no class.
    pub targets: Vec<f32>,
}

/// Reads everything but the labels.
pub(super) fn rows(
    path: &Path,
    root: &Path,
    records: &Records,
    columns: &Columns,
) -> Result<Vec<Row>, Error> {
    let mut groups: BTreeMap<String, usize> = BTreeMap::new();
    let of_weights = columns.weight.map(|at| Decimal::of(records, at));
    let mut rows = Vec::with_capacity(records.rows.len());
    let (mut nameless, mut unknown_parts) = (Faults::default(), Faults::default());
    for record in &records.rows {
        let text = |at: usize, what: &str| match &record.cells[at] {
            Cell::Text(text) => Ok(text.as_str()),
            Cell::Several(_) => {
                let reason = format!(
                    "a list stands in {}, the column of {what}",
                    records.columns[at]
                );
                Err(fault(path, record.line, reason))
            }
        };
        let name = text(columns.file, "files")?;
        if name.is_empty() {
            nameless.add(record.line, "");
        }
        let mut part = None;
        if let Some(at) = columns.split {
            let said = text(at, "parts")?;
            part = PartName::read(said).map(|found| found.role);
            if part.is_none() {
                unknown_parts.add(record.line, said);
            }
        }
        let weight = match columns.weight.zip(of_weights) {
            Some((at, decimal)) => weight(path, record.line, text(at, "weights")?, decimal)?,
            None => 1.0,
        };
        let group = match columns.group {
            Some(at) => {
                let said = text(at, "groups")?;
                let next = groups.len();
                match said.is_empty() {
                    // A picture without a group is one of its own.
                    true => *groups.entry(format!("\n{}", record.line)).or_insert(next),
                    false => *groups.entry(said.to_string()).or_insert(next),
                }
            }
            None => 0,
        };
        rows.push(Row {
            line: record.line,
            path: root.join(unescape(name)),
            part,
            weight,
            group,
            label: None,
            targets: Vec::new(),
        });
    }
    nameless.refuse(path, "no file is named", "name one, or remove the lines")?;
    unknown_parts.refuse(
        path,
        "the part of the data is not known",
        "write train, val or test",
    )?;
    twice(path, &rows)?;
    missing(path, root, &rows)?;
    if columns.weight.is_some() && rows.iter().all(|row| row.weight == 0.0) {
        return Err(Error::InvalidOption {
            option: "weight",
            reason: format!(
                "every weight in {} is 0; one at least must be above",
                show(path)
            ),
        });
    }
    Ok(rows)
}

fn weight(path: &Path, line: u64, said: &str, decimal: Decimal) -> Result<f32, Error> {
    match decimal.number(said) {
        Some(weight) if weight >= 0.0 => Ok(weight),
        _ => {
            let advice = decimal.advice(said);
            let reason = format!("the weight is {said:?}; expected a number of at least 0{advice}");
            Err(fault(path, line, reason))
        }
    }
}

/// Refuses a file that two lines name.
fn twice(path: &Path, rows: &[Row]) -> Result<(), Error> {
    let mut first: HashMap<PathBuf, u64> = HashMap::with_capacity(rows.len());
    let mut faults = Faults::default();
    for row in rows {
        // `./a.png` is `a.png`.
        let plain: PathBuf = row
            .path
            .components()
            .filter(|part| *part != Component::CurDir)
            .collect();
        if let Some(before) = first.get(&plain) {
            let found = format!("{}, as on line {before}", show(&row.path));
            faults.add(row.line, &found);
        } else {
            first.insert(plain, row.line);
        }
    }
    faults.refuse(
        path,
        "a file is listed again",
        "give each picture one line; several labels of one stand in one cell with ; between them",
    )
}

fn missing(path: &Path, root: &Path, rows: &[Row]) -> Result<(), Error> {
    let is_missing: Vec<bool> = rows.par_iter().map(|row| !row.path.is_file()).collect();
    let mut faults = Faults::default();
    for (row, _) in rows.iter().zip(is_missing).filter(|(_, missing)| *missing) {
        faults.add(row.line, &show(&row.path));
    }
    let advice = format!(
        "names are relative to {}; give the folder with the pictures if that is another",
        show(root)
    );
    faults.refuse(path, "there is no such file", &advice)
}

/// Lines with the same fault.
#[derive(Default)]
pub(super) struct Faults {
    first: Vec<(u64, String)>,
    total: usize,
}

impl Faults {
    pub fn add(&mut self, line: u64, found: &str) {
        if self.first.len() < SHOWN {
            self.first.push((line, found.to_string()));
        }
        self.total += 1;
    }

    /// The error, where there is one.
    pub fn refuse(self, path: &Path, what: &str, advice: &str) -> Result<(), Error> {
        if self.total == 0 {
            return Ok(());
        }
        Err(Error::TableContent {
            path: path.to_path_buf(),
            what: what.to_string(),
            lines: self.first,
            total: self.total,
            advice: advice.to_string(),
        })
    }
}
