//! Which column holds what.

use std::path::Path;

use super::TableOptions;
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
        let finder = Finder {
            path,
            columns: &records.columns,
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
        let taken = [found_file, split, weight, group];
        let (labels, task) = match options.labels.is_empty() {
            false => {
                let named = options.labels.iter();
                let found = named.map(|name| finder.named(name, "--labels"));
                (Labels::Each(found.collect::<Result<_, _>>()?), task)
            }
            true => match number(records, options, task, &taken) {
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
        let columns = Self {
            file: finder.required(options.file.as_deref(), &file)?,
            labels,
            split,
            weight,
            group,
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
        said
    }
}

/// The column of a number to learn where none is named: the one that a model's number is called like, or where no column is
/// called like one of labels, the only one that isn't `taken`, if it holds numbers.
fn number(
    records: &Records,
    options: &TableOptions,
    task: Task,
    taken: &[Option<usize>],
) -> Option<usize> {
    let is_possible = task == Task::Regression || options.task.is_none();
    if !is_possible || matches!(task, Task::MultiLabel | Task::Ordinal) || options.label.is_some() {
        return None;
    }
    if let (Task::Regression, Some([name])) = (task, options.classes.as_deref())
        && let Some(at) = records.columns.iter().position(|column| column == name)
    {
        return Some(at);
    }
    let is_label = |name: &String| LABEL.contains(&name.to_lowercase().as_str());
    if records.columns.iter().any(is_label) {
        return None;
    }
    let mut others = (0..records.columns.len()).filter(|at| !taken.contains(&Some(*at)));
    let (Some(only), None) = (others.next(), others.next()) else {
        return None;
    };
    let numbers: Option<Vec<f32>> = records
        .rows
        .iter()
        .map(|record| match &record.cells[only] {
            Cell::Text(text) => text.parse().ok().filter(|number: &f32| number.is_finite()),
            Cell::Several(_) => None,
        })
        .collect();
    let mut numbers = numbers?;
    numbers.sort_by(f32::total_cmp);
    numbers.dedup();
    let is_clear = task == Task::Regression || numbers.len() >= LEAST_NUMBERS;
    is_clear.then_some(only)
}

struct Finder<'a> {
    path: &'a Path,
    columns: &'a [String],
}

impl Finder<'_> {
    fn required(&self, given: Option<&str>, kind: &Kind) -> Result<usize, Error> {
        self.optional(given, kind)?
            .ok_or_else(|| Error::TableColumn {
                path: self.path.to_path_buf(),
                wanted: format!(
                    "no column for {}; it would be called {}",
                    kind.what,
                    kind.names[..4.min(kind.names.len())].join(", ")
                ),
                found: self.columns.to_vec(),
                option: kind.option,
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
