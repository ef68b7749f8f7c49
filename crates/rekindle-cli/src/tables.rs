//! Where the pictures of a command are listed: in a folder, or in a table with options of its own.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::Args;
use rekindle::imagefolder::{self, Listing, TableOptions, Task};

use crate::checks;
use crate::failure::Failure;

/// A table of pictures.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Tables of pictures")]
pub struct Table {
    /// Table with one picture a line: CSV, tab-separated values or JSON lines, with the columns' names in the first line.
    /// Files are relative to the table, or to DATA where that is given as well
    #[arg(long, value_name = "FILE")]
    pub table: Option<PathBuf>,
    /// Column of the pictures' files [default: file, path, image or filename]
    #[arg(long, value_name = "COLUMN")]
    pub file_column: Option<String>,
    /// Column of the labels [default: label, class or target]
    #[arg(long, value_name = "COLUMN")]
    pub label_column: Option<String>,
    /// Columns of several labels, each of 0 and 1; with commas between
    #[arg(
        long,
        value_name = "COLUMN,..",
        value_delimiter = ',',
        conflicts_with = "label_column"
    )]
    pub labels: Vec<String>,
    /// Column of a number to learn of each picture, such as an age (--task regression) [default: the only column that is left,
    /// if no column is called as one of labels and it holds numbers]
    #[arg(
        long,
        value_name = "COLUMN",
        conflicts_with_all = ["label_column", "labels", "label_separator"]
    )]
    pub target: Option<String>,
    /// What stands between several labels of a picture in one cell [default: ;]
    #[arg(long, value_name = "TEXT", conflicts_with = "labels")]
    pub label_separator: Option<String>,
    /// Column that says which part of the data a picture is of [default: split, set or subset]
    #[arg(long, value_name = "COLUMN")]
    pub split_column: Option<String>,
    /// Column that says how much a picture counts in training [default: weight]
    #[arg(long, value_name = "COLUMN")]
    pub weight_column: Option<String>,
    /// Column that says which pictures belong together, so that they are held out together [default: group]
    #[arg(long, value_name = "COLUMN")]
    pub group_column: Option<String>,
    /// Take the classes as grades, of which a wrong one is the worse the further off it is: from the lowest to the highest as
    /// named here (--ordinal=unripe,half,ripe), else by number, else by name. The same as --task ordinal
    #[arg(
        long,
        value_name = "CLASS,..",
        value_delimiter = ',',
        num_args = 0..=1,
        require_equals = true,
        conflicts_with_all = ["labels", "target", "label_separator"]
    )]
    pub ordinal: Option<Vec<String>>,
    /// What is to be learned: single-label, ordinal, multi-label where a picture may have several (of a folder: stands in several of its
    /// sub-folders), or regression for a number of each [default: single-label, with --labels or --label-separator multi-label, with --target regression, with --ordinal ordinal]
    #[arg(long, value_name = "TASK", value_parser = task)]
    pub task: Option<Task>,
}

fn task(text: &str) -> Result<Task, String> {
    let named = Task::ALL.into_iter().find(|task| task.name() == text);
    named.ok_or_else(|| "single-label, ordinal, multi-label and regression are known".into())
}

impl Table {
    /// The options that were given beside `--table`, with their values. They have no effect without a table.
    pub fn given(&self) -> Vec<(&'static str, String)> {
        let labels = (!self.labels.is_empty()).then(|| self.labels.join(","));
        [
            ("--file-column", self.file_column.clone()),
            ("--label-column", self.label_column.clone()),
            ("--labels", labels),
            ("--target", self.target.clone()),
            ("--label-separator", self.label_separator.clone()),
            ("--split-column", self.split_column.clone()),
            ("--weight-column", self.weight_column.clone()),
            ("--group-column", self.group_column.clone()),
            (
                "--ordinal",
                self.ordinal.as_ref().map(|order| order.join(",")),
            ),
            ("--task", self.task.map(|task| task.to_string())),
        ]
        .into_iter()
        .filter_map(|(option, value)| Some((option, value?)))
        .collect()
    }

    fn options(&self, root: Option<PathBuf>) -> TableOptions {
        TableOptions {
            root,
            file: self.file_column.clone(),
            label: self.target.clone().or_else(|| self.label_column.clone()),
            labels: self.labels.clone(),
            separator: self.label_separator.clone(),
            split: self.split_column.clone(),
            weight: self.weight_column.clone(),
            group: self.group_column.clone(),
            task: match (&self.target, &self.ordinal) {
                (Some(_), _) => Some(Task::Regression),
                (None, Some(_)) => Some(Task::Ordinal),
                (None, None) => self.task,
            },
            classes: None,
            order: self.ordinal.clone().filter(|order| !order.is_empty()),
        }
    }
}

/// Whether a table or a folder is asked to be read as one of classes in an order.
pub fn is_ordinal(options: &TableOptions) -> bool {
    options.task == Some(Task::Ordinal)
}

/// The pictures of a command.
#[derive(Clone, Debug, PartialEq)]
pub struct Images {
    /// The folder or the table.
    pub place: PathBuf,
    /// How the table is read, where it is one, or a folder whose pictures have several labels or classes in an order.
    pub table: Option<TableOptions>,
}

impl Images {
    /// Those that DATA and the options of tables name. DATA may be a table itself.
    pub fn of(data: Option<&Path>, table: &Table) -> Result<Self, Failure> {
        let (place, root) = match (data, &table.table) {
            (Some(data), Some(_)) if data.is_file() => {
                return Err(Failure::Usage(format!(
                    "{} and --table are two tables; give one of them, or the pictures' folder beside --table",
                    rekindle::files::names::show(data)
                )));
            }
            (root, Some(table)) => (table.clone(), root.map(Path::to_path_buf)),
            (Some(data), None) => (data.to_path_buf(), None),
            (None, None) => {
                return Err(Failure::Usage(
                    "name the folder of the pictures, or a table of them with --table".into(),
                ));
            }
        };
        if let (Some(_), Some(task)) = (&table.ordinal, table.task)
            && task != Task::Ordinal
        {
            return Err(Failure::Usage(format!(
                "--ordinal asks for one class per picture and an order of the classes, and --task is {task}; leave one of them \
                 out"
            )));
        }
        if let (Some(column), Some(task)) = (&table.target, table.task)
            && task != Task::Regression
        {
            return Err(Failure::Usage(format!(
                "--target {column} names a number to learn, and --task {task} asks for labels; leave one of them out"
            )));
        }
        let is_file = table.table.is_some() || place.is_file();
        let options = table.options(root);
        let is_table = is_file || matches!(options.task, Some(Task::MultiLabel | Task::Ordinal));
        let mut given = table.given();
        given.retain(|(option, _)| !is_table || !["--task", "--ordinal"].contains(option));
        match given.first() {
            Some((option, _)) if !is_file => Err(Failure::Usage(format!(
                "{option} has no effect on a folder; give a table with --table, or leave it out"
            ))),
            _ => Ok(Self {
                place,
                table: is_table.then_some(options),
            }),
        }
    }

    /// How the table is read, where it is a file.
    fn file_options(&self) -> Option<&TableOptions> {
        self.table.as_ref().filter(|_| !self.place.is_dir())
    }

    /// Checks that there is such a folder or table, before weights are read or even downloaded for it.
    pub fn check(&self) -> Result<(), Failure> {
        let Some(options) = self.file_options() else {
            return checks::images(&self.place);
        };
        if let Some(root) = &options.root {
            checks::images(root)?;
        }
        match std::fs::File::open(&self.place) {
            Ok(_) => Ok(()),
            Err(source) => Err(imagefolder::Error::Read {
                path: self.place.clone(),
                source,
            }
            .into()),
        }
    }

    /// Checks that `path` lies outside of the images' folder, where a later run could take it for images. A table names
    /// its files one by one.
    pub fn outside(&self, option: &str, path: &Path) -> Result<(), Failure> {
        match self.file_options() {
            None => checks::outside(option, path, &self.place),
            Some(_) => Ok(()),
        }
    }

    /// Looks at the folder, or reads the table.
    pub fn listing(&self) -> Result<Listing, Failure> {
        Ok(match &self.table {
            None => Listing::open(&self.place)?,
            Some(options) => Listing::open_table(&self.place, options)?,
        })
    }

    /// The name of the folder, or of the table without its ending.
    pub fn name(&self) -> OsString {
        match self.file_options() {
            Some(_) => self.place.file_stem().unwrap_or_default().to_os_string(),
            None => name_of(&self.place),
        }
    }
}

/// The name of a folder, wherever it is seen from.
pub fn name_of(folder: &Path) -> OsString {
    let absolute = folder
        .canonicalize()
        .unwrap_or_else(|_| folder.to_path_buf());
    let name = absolute.file_name();
    name.map_or_else(|| "data".into(), OsStr::to_os_string)
}
