//! Which column holds what.

use std::collections::HashSet;
use std::path::Path;

use super::TableOptions;
use super::decimal::{Decimal, no_number};
use super::read::{Cell, Records};
use crate::error::Error;
use crate::task::Task;

/// Names that a column of each kind goes by, in any letter case, the preferred ones first.
const FILE: [&str; 8] = [
    "file",
    "path",
    "image",
    "filename",
    "file_name",
    "filepath",
    "image_path",
    "img",
];
const LABEL: [&str; 6] = ["label", "class", "target", "labels", "classes", "category"];
const SPLIT: [&str; 4] = ["split", "set", "subset", "partition"];
const WEIGHT: [&str; 3] = ["weight", "sample_weight", "weights"];
const GROUP: [&str; 3] = ["group", "groups", "group_id"];

/// Different numbers that a column holds at least, so that a number is what is to be learned: fewer are names of classes.
const LEAST_NUMBERS: usize = 3;

/// Positions of the columns in use.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Columns {
    pub file: usize,
    pub labels: Labels,
    pub split: Option<usize>,
    pub weight: Option<usize>,
    pub group: Option<usize>,
    /// Columns that number the lines, which hold nothing.
    pub index: Vec<usize>,
}

/// Where the labels are.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Labels {
    /// One column of names or numbers.
    One(usize),
    /// One column of 0 and 1 for each label, or of numbers for each quantity.
    Each(Vec<usize>),
}

/// A kind of column: the option that names it, and the names it is found by.
struct Kind {
    option: &'static str,
    what: &'static str,
    names: &'static [&'static str],
}

impl Columns {
    /// Finds the columns, and what is to be learned: `task`, or a number where the table has no column of labels and one
    /// other column, of numbers.
    pub fn find(
        path: &Path,
        records: &Records,
        options: &TableOptions,
        task: Task,
    ) -> Result<(Self, Task), Error> {
        let mut index = indices(records);
        let finder = Finder {
            path,
            columns: &records.columns,
            index: index.clone(),
        };
        let file = Kind {
            option: "--file-column",
            what: "the pictures' files",
            names: &FILE,
        };
        let label = Kind {
            option: "--label-column",
            what: "the labels",
            names: &LABEL,
        };
        let target = Kind {
            option: "--target",
            what: "the numbers",
            names: &LABEL,
        };
        let optional = |option, names| Kind {
            option,
            what: "",
            names,
        };
        let found_file = finder.optional(options.file.as_deref(), &file)?;
        let split = finder.optional(
            options.split.as_deref(),
            &optional("--split-column", &SPLIT),
        )?;
        let weight = finder.optional(
            options.weight.as_deref(),
            &optional("--weight-column", &WEIGHT),
        )?;
        let group = finder.optional(
            options.group.as_deref(),
            &optional("--group-column", &GROUP),
        )?;
        let mut taken = index.clone();
        taken.extend([found_file, split, weight, group].into_iter().flatten());
        let (labels, task) = match options.labels.is_empty() {
            false => {
                let named = options.labels.iter();
                let found = named.map(|name| finder.named(name, "--labels"));
                (Labels::Each(found.collect::<Result<_, _>>()?), task)
            }
            true => match number(path, records, options, task, &taken)? {
                Some(at) => (Labels::One(at), Task::Regression),
                None => {
                    let kind = if task == Task::Regression {
                        &target
                    } else {
                        &label
                    };
                    let at = finder.required(options.label.as_deref(), kind)?;
                    (Labels::One(at), task)
                }
            },
        };
        let file = finder.required(options.file.as_deref(), &file)?;
        let named = [Some(file), split, weight, group];
        index.retain(|at| !named.contains(&Some(*at)) && !labels.are_in(*at));
        let columns = Self {
            file,
            labels,
            split,
            weight,
            group,
            index,
        };
        Ok((columns, task))
    }

    /// Says which columns are in use.
    pub fn describe(&self, columns: &[String], task: Task) -> String {
        let name = |at: usize| columns[at].as_str();
        let labels = match (&self.labels, task) {
            (Labels::One(at), Task::Regression) => format!("numbers in {}", name(*at)),
            (Labels::One(at), _) => format!("labels in {}", name(*at)),
            (Labels::Each(all), Task::Regression) => format!("numbers in {} columns", all.len()),
            (Labels::Each(all), _) => format!("{} columns of labels", all.len()),
        };
        let mut said = format!("files in {}, {labels}", name(self.file));
        for (what, at) in [
            ("parts", self.split),
            ("weights", self.weight),
            ("groups", self.group),
        ] {
            if let Some(at) = at {
                said.push_str(&format!(", {what} in {}", name(at)));
            }
        }
        for at in &self.index {
            let name = match name(*at) {
                "" => format!("column {}", at + 1),
                name => name.to_string(),
            };
            said.push_str(&format!("; {name} numbers the lines and is left alone"));
        }
        said
    }
}

impl Labels {
    fn are_in(&self, column: usize) -> bool {
        match self {
            Self::One(at) => *at == column,
            Self::Each(all) => all.contains(&column),
        }
    }
}

/// The columns that number the lines, as pandas and R write them where nobody asks for it: without a name, or with the one that
/// pandas gives these when it reads them, and of different whole numbers.
fn indices(records: &Records) -> Vec<usize> {
    let is_unnamed = |at: &usize| {
        let name = &records.columns[*at];
        name.is_empty() || name.starts_with("Unnamed: ")
    };
    let numbers_lines = |at: &usize| {
        let mut seen = HashSet::new();
        records.rows.iter().all(|record| match &record.cells[*at] {
            Cell::Text(said) => said.parse().is_ok_and(|number: u64| seen.insert(number)),
            Cell::Several(_) => false,
        })
    };
    (0..records.columns.len())
        .filter(is_unnamed)
        .filter(numbers_lines)
        .collect()
}

/// The column of a number to learn where none is named: the one that a model's number is called like, or where no column is
/// called like one of labels, the only one that isn't `taken`, if it holds numbers.
///
/// Numbers that are not written as those of this table are an error.
fn number(
    path: &Path,
    records: &Records,
    options: &TableOptions,
    task: Task,
    taken: &[usize],
) -> Result<Option<usize>, Error> {
    let is_possible = task == Task::Regression || options.task.is_none();
    if !is_possible || matches!(task, Task::MultiLabel | Task::Ordinal) || options.label.is_some() {
        return Ok(None);
    }
    if let (Task::Regression, Some([name])) = (task, options.classes.as_deref())
        && let Some(at) = records.columns.iter().position(|column| column == name)
    {
        return Ok(Some(at));
    }
    let is_label = |name: &String| LABEL.contains(&name.to_lowercase().as_str());
    if records.columns.iter().any(is_label) {
        return Ok(None);
    }
    let mut others = (0..records.columns.len()).filter(|at| !taken.contains(at));
    let (Some(only), None) = (others.next(), others.next()) else {
        return Ok(None);
    };
    let decimal = Decimal::of(records, only);
    let (mut numbers, mut otherwise): (Vec<f32>, _) = (Vec::new(), None);
    for record in &records.rows {
        let cell = &record.cells[only];
        let Cell::Text(said) = cell else {
            return Ok(None);
        };
        match decimal.number(said) {
            Some(number) => numbers.push(number),
            None if decimal.advice(said).is_empty() => return Ok(None),
            None => otherwise = otherwise.or(Some((record, cell))),
        }
    }
    if let Some((record, cell)) = otherwise {
        let name = &records.columns[only];
        return Err(no_number(path, record, name, cell, decimal));
    }
    numbers.sort_by(f32::total_cmp);
    numbers.dedup();
    let is_clear = task == Task::Regression || numbers.len() >= LEAST_NUMBERS;
    Ok(is_clear.then_some(only))
}

struct Finder<'a> {
    path: &'a Path,
    columns: &'a [String],
    index: Vec<usize>,
}

impl Finder<'_> {
    fn required(&self, given: Option<&str>, kind: &Kind) -> Result<usize, Error> {
        self.optional(given, kind)?
            .ok_or_else(|| Error::TableColumn {
                path: self.path.to_path_buf(),
                wanted: format!(
                    "no column for {}; it would be called {}{}",
                    kind.what,
                    kind.names[..4.min(kind.names.len())].join(", "),
                    self.nameless()
                ),
                found: self.columns.to_vec(),
                option: kind.option,
            })
    }

    /// Says which column has no name to be found by.
    fn nameless(&self) -> String {
        let is_nameless = |at: &usize| self.columns[*at].is_empty() && !self.index.contains(at);
        let at = (0..self.columns.len()).find(is_nameless);
        at.map_or_else(String::new, |at| {
            format!(
                ", and column {} has no name: write one in the first line",
                at + 1
            )
        })
    }

    /// The column that was named, or the first that is called like one of its kind.
    fn optional(&self, given: Option<&str>, kind: &Kind) -> Result<Option<usize>, Error> {
        if let Some(name) = given {
            return self.named(name, kind.option).map(Some);
        }
        let place = |wanted: &&str| {
            self.columns
                .iter()
                .position(|c| c.to_lowercase() == *wanted)
        };
        Ok(kind.names.iter().find_map(place))
    }

    fn named(&self, name: &str, option: &'static str) -> Result<usize, Error> {
        let exact = self.columns.iter().position(|column| column == name);
        exact.ok_or_else(|| Error::TableColumn {
            path: self.path.to_path_buf(),
            wanted: format!("no column called {name}"),
            found: self.columns.to_vec(),
            option,
        })
    }
}
