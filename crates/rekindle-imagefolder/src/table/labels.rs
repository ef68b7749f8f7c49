//! Labels of a table: one class, several labels or numbers for each picture.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::TableOptions;
use super::columns::{Columns, Labels};
use super::decimal::{Decimal, no_number};
use super::natural::natural;
use super::options::SEPARATOR;
use super::order;
use super::read::{Cell, Record, Records, fault};
use super::rows::{Faults, Row};
use crate::error::Error;
use crate::part::Role;
use crate::task::Task;

/// Pictures from which on classes that are whole numbers, and hardly come twice, look like something measured.
const MEASURED: usize = 20;

/// How labels are read.
pub(super) struct Labelled<'a> {
    pub path: &'a Path,
    pub task: Task,
    pub options: &'a TableOptions,
}

impl Labelled<'_> {
    /// Gives each row its label or its targets; returns the names of these.
    pub fn read(
        &self,
        records: &Records,
        columns: &Columns,
        rows: &mut [Row],
    ) -> Result<Vec<String>, Error> {
        match (self.task, &columns.labels) {
            (Task::Regression, labels) => self.numbers(records, labels, rows),
            (Task::MultiLabel, Labels::Each(columns)) => self.marked(records, columns, rows),
            (_, Labels::One(at)) => self.named(records, *at, rows),
            // Refused with the options.
            (Task::SingleLabel | Task::Ordinal, Labels::Each(_)) => Ok(Vec::new()),
        }
    }

    /// Says when one class a picture is asked for, and many classes look like lists or like numbers that are measured.
    pub fn hint(
        &self,
        classes: &[String],
        columns: &Columns,
        records: &Records,
        pictures: usize,
    ) -> Option<String> {
        let Labels::One(column) = columns.labels else {
            return None;
        };
        let decimal = Decimal::of(records, column);
        if self.task == Task::Ordinal {
            return order::hint(classes, self.options, decimal);
        }
        if self.task != Task::SingleLabel {
            return None;
        }
        let lists = classes.iter().filter(|name| name.contains(SEPARATOR));
        if 2 * lists.count() > classes.len() {
            return Some(format!(
                "the classes look like lists with {SEPARATOR} between labels; several labels a picture are asked for \
                 with --task multi-label"
            ));
        }
        let is_number = |name: &String| decimal.number::<f32>(name).is_some();
        let are_numbers = classes.iter().all(is_number);
        let are_measured = classes.iter().any(|name| name.contains(['.', ',']))
            || (pictures >= MEASURED && 3 * classes.len() > pictures);
        (are_numbers && are_measured && classes.len() > 2).then(|| {
            format!(
                "the classes look like numbers; a number a picture is asked for with --target {}",
                records.columns[column]
            )
        })
    }

    /// Names of classes or labels in one column.
    fn named(&self, records: &Records, at: usize, rows: &mut [Row]) -> Result<Vec<String>, Error> {
        let several = self.task == Task::MultiLabel;
        let mut empty = Faults::default();
        let mut names: Vec<Vec<&str>> = Vec::with_capacity(rows.len());
        for record in &records.rows {
            let found = self.names(record, at)?;
            if found.is_empty() && !several {
                empty.add(record.line, "");
            }
            names.push(found);
        }
        empty.refuse(
            self.path,
            "there is no label",
            "write one, or remove the lines",
        )?;
        let classes = match &self.options.classes {
            Some(classes) => classes.clone(),
            None => {
                let learnt = |row: &Row| row.part.is_none_or(|part| part == Role::Training);
                let is_split = rows.iter().any(learnt);
                let taken = rows
                    .iter()
                    .zip(&names)
                    .filter(|(row, _)| learnt(row) || !is_split);
                let names: HashSet<&str> = taken.flat_map(|(_, names)| names.clone()).collect();
                let mut names: Vec<String> = names.into_iter().map(String::from).collect();
                match self.task {
                    Task::Ordinal => order::ordered(names, self.options, Decimal::of(records, at))?,
                    _ => {
                        names.sort_by(|a, b| natural(a, b));
                        names
                    }
                }
            }
        };
        let place: HashMap<&str, usize> = (0..)
            .zip(&classes)
            .map(|(at, name)| (name.as_str(), at))
            .collect();
        let mut unknown = Faults::default();
        for (row, names) in rows.iter_mut().zip(&names) {
            let mut targets = vec![0.0; if several { classes.len() } else { 0 }];
            for name in names {
                match place.get(name) {
                    Some(at) if several => targets[*at] = 1.0,
                    Some(at) => row.label = Some(*at),
                    None => unknown.add(row.line, name),
                }
            }
            row.targets = targets;
        }
        let advice = match self.options.classes {
            Some(_) => "the model doesn't know them; it knows the labels that it was trained with",
            None => "no picture of the training part has them",
        };
        unknown.refuse(self.path, "labels are not known", advice)?;
        Ok(classes)
    }

    /// The labels in one cell, each once.
    fn names<'r>(&self, record: &'r Record, at: usize) -> Result<Vec<&'r str>, Error> {
        let separator = self.options.separator.as_deref().unwrap_or(SEPARATOR);
        let mut names: Vec<&str> = match (&record.cells[at], self.task) {
            (Cell::Text(text), Task::MultiLabel) => text.split(separator).map(str::trim).collect(),
            (Cell::Text(text), _) => vec![text],
            (Cell::Several(names), Task::MultiLabel) => names.iter().map(String::as_str).collect(),
            (Cell::Several(names), _) if names.len() < 2 => {
                names.iter().map(String::as_str).collect()
            }
            (Cell::Several(names), _) => {
                let reason = format!(
                    "there are {} labels where one is expected; several are asked for with --task multi-label",
                    names.len()
                );
                return Err(fault(self.path, record.line, reason));
            }
        };
        names.retain(|name| !name.is_empty());
        let mut seen = HashSet::new();
        names.retain(|name| seen.insert(*name));
        Ok(names)
    }

    /// One column of 0 and 1 for each label.
    fn marked(
        &self,
        records: &Records,
        columns: &[usize],
        rows: &mut [Row],
    ) -> Result<Vec<String>, Error> {
        let (classes, places) = self.places(records, columns)?;
        let decimals = decimals(records, columns);
        for (row, record) in rows.iter_mut().zip(&records.rows) {
            let mut targets = vec![0.0; classes.len()];
            for ((at, place), decimal) in columns.iter().zip(&places).zip(&decimals) {
                let Cell::Text(said) = &record.cells[*at] else {
                    return Err(self.not_marked(record, "a list", &records.columns[*at]));
                };
                targets[*place] = match said.to_lowercase().as_str() {
                    "true" | "yes" => 1.0,
                    "false" | "no" => 0.0,
                    said if decimal.number(said) == Some(1.0f32) => 1.0,
                    said if decimal.number(said) == Some(0.0f32) => 0.0,
                    _ => {
                        let said = format!("{said:?}");
                        return Err(self.not_marked(record, &said, &records.columns[*at]));
                    }
                };
            }
            row.targets = targets;
        }
        Ok(classes)
    }

    fn not_marked(&self, record: &Record, said: &str, column: &str) -> Error {
        let reason = format!(
            "{said} stands in {column}; expected 1 for a picture with that label, and 0 otherwise"
        );
        fault(self.path, record.line, reason)
    }

    /// Numbers in one column or in several.
    fn numbers(
        &self,
        records: &Records,
        labels: &Labels,
        rows: &mut [Row],
    ) -> Result<Vec<String>, Error> {
        let columns = match labels {
            Labels::One(at) => vec![*at],
            Labels::Each(all) => all.clone(),
        };
        let (classes, places) = self.places(records, &columns)?;
        let decimals = decimals(records, &columns);
        for (row, record) in rows.iter_mut().zip(&records.rows) {
            let mut targets = vec![0.0; classes.len()];
            for ((at, place), decimal) in columns.iter().zip(&places).zip(&decimals) {
                let cell = &record.cells[*at];
                let number = match cell {
                    Cell::Text(said) => decimal.number(said),
                    Cell::Several(_) => None,
                };
                targets[*place] = number.ok_or_else(|| {
                    no_number(self.path, record, &records.columns[*at], cell, *decimal)
                })?;
            }
            row.targets = targets;
        }
        Ok(classes)
    }

    /// The names of these columns, or the model's, and where each column stands among them.
    fn places(
        &self,
        records: &Records,
        columns: &[usize],
    ) -> Result<(Vec<String>, Vec<usize>), Error> {
        let names: Vec<String> = columns
            .iter()
            .map(|at| records.columns[*at].clone())
            .collect();
        let Some(classes) = &self.options.classes else {
            let places = (0..names.len()).collect();
            return Ok((names, places));
        };
        // A single number needs no name.
        if classes.len() == 1 && names.len() == 1 && self.task == Task::Regression {
            return Ok((classes.clone(), vec![0]));
        }
        let place = |name: &String| classes.iter().position(|class| class == name);
        let places: Option<Vec<usize>> = names.iter().map(place).collect();
        match places {
            Some(places) if places.len() == classes.len() => Ok((classes.clone(), places)),
            _ => Err(Error::TableColumn {
                path: self.path.to_path_buf(),
                wanted: format!(
                    "the model's labels are {}, each of which needs a column",
                    crate::said::list(classes)
                ),
                found: records.columns.clone(),
                option: "--labels",
            }),
        }
    }
}

fn decimals(records: &Records, columns: &[usize]) -> Vec<Decimal> {
    let columns = columns.iter();
    columns.map(|at| Decimal::of(records, *at)).collect()
}
