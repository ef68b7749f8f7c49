//! Pictures and labels listed in a table.

mod columns;
mod decimal;
mod folders;
mod hold_out;
mod labels;
mod natural;
mod options;
mod order;
mod read;
mod rows;
mod write;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use rekindle_files::names::{printable, show};

pub use options::TableOptions;

use crate::dataset::ImageDataset;
use crate::error::Error;
use crate::folder::{ImageFolder, Sample};
use crate::part::Role;
use crate::said::{counted, list};
use crate::task::Task;
use crate::transform::Pipeline;
use columns::Columns;
use labels::Labelled;
use rows::Row;

/// A table that lists pictures and their labels: CSV, tab-separated values, or JSON lines.
///
/// The first line names the columns. The pictures' files stand in the one called `file`, `path`, `image` or
/// `filename`, relative to the table's folder or to [`TableOptions::root`]; the labels in `label`, `class` or `target`.
/// A column `split`, `set` or `subset` says which part of the data a picture is of, in any spelling that the folders of
/// a [`Layout`](crate::Layout) know; `weight` how much it counts in training; `group` which pictures belong together,
/// so that none is held out from its own group. The classes are those of the training part, in the order in which
/// people count: `2` before `10`.
///
/// Numbers are learned from a column that [`TableOptions::label`] names with [`Task::Regression`]; a table without a column of
/// labels whose one other column holds numbers, such as `file,age`, needs no option.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use rekindle_imagefolder::ImageTable;
///
/// # let folder = tempfile::tempdir()?;
/// # for name in ["1.png", "2.png", "3.png"] { std::fs::write(folder.path().join(name), "")?; }
/// # let path = folder.path().join("labels.csv");
/// std::fs::write(&path, "file,label,split\n1.png,ant,train\n2.png,bee,train\n3.png,ant,val\n")?;
/// let table = ImageTable::open(&path)?;
/// assert_eq!(table.classes(), ["ant", "bee"]);
/// let (train, val) = table.open_split(0.2, 42)?;
/// assert_eq!((train.images.len(), val.images.len()), (2, 1));
/// # Ok(())
/// # }
/// ```
///
/// Classes of [`Task::Ordinal`] are in the order of their numbers, or in that of [`TableOptions::order`].
///
/// A folder takes the place of a table for [`Task::MultiLabel`]: its sub-folders are the labels, as of a
/// [`Layout`](crate::Layout), and a picture that stands in several, by the same bytes, has all of these. For
/// [`Task::Ordinal`] its sub-folders are the classes.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageTable {
    path: PathBuf,
    root: PathBuf,
    options: TableOptions,
    task: Task,
    classes: Vec<String>,
    columns: Columns,
    columns_said: String,
    rows: Vec<Row>,
    hint: Option<String>,
}

/// Some of the pictures of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct TablePart {
    /// The files, with labels where each picture has one class.
    pub images: ImageFolder,
    /// What is to be learned.
    pub task: Task,
    /// Targets `[n, classes]`, row-major, where that is not one class: 0 or 1 for each label, or numbers.
    pub targets: Option<Vec<f32>>,
    /// How much each picture counts, where the table says so.
    pub weights: Option<Vec<f32>>,
    /// The group of each picture, counted from 0, where the table has groups.
    pub groups: Option<Vec<usize>>,
}

impl From<ImageFolder> for TablePart {
    fn from(images: ImageFolder) -> Self {
        Self {
            images,
            task: Task::SingleLabel,
            targets: None,
            weights: None,
            groups: None,
        }
    }
}

impl TablePart {
    /// Returns the pictures at `indices`, in that order, with what belongs to them. Indices must be below the number of
    /// pictures.
    pub fn subset(&self, indices: &[usize]) -> Self {
        let width = self.images.classes().len().max(1);
        let targets = self.targets.as_ref().map(|targets| {
            let row = |at: &usize| &targets[at * width..(at + 1) * width];
            indices.iter().flat_map(row).copied().collect()
        });
        let weights = self.weights.as_ref();
        let groups = self.groups.as_ref();
        Self {
            images: self.images.subset(indices),
            task: self.task,
            targets,
            weights: weights.map(|weights| indices.iter().map(|at| weights[*at]).collect()),
            groups: groups.map(|groups| indices.iter().map(|at| groups[*at]).collect()),
        }
    }

    /// Images per class, or with each label; of numbers to learn, how many images have one.
    pub fn class_counts(&self) -> Vec<usize> {
        let labels = self.images.samples().iter().map(|sample| sample.label);
        let classes = self.images.classes().len();
        self.task
            .class_counts(classes, labels, self.targets.as_deref())
    }

    /// Returns the pictures with their targets, weights and groups as a data set behind `pipeline`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidTransform`].
    pub fn dataset(&self, pipeline: Pipeline) -> Result<ImageDataset, Error> {
        let mut dataset = ImageDataset::new(&self.images, pipeline)?;
        if self.task == Task::Ordinal {
            dataset = dataset.with_ordered_classes();
        }
        if let Some(targets) = &self.targets {
            dataset = dataset.with_targets(self.task, targets.clone())?;
        }
        if let Some(weights) = &self.weights {
            dataset = dataset.with_weights(weights.clone())?;
        }
        match &self.groups {
            Some(groups) => dataset.with_groups(groups.clone()),
            None => Ok(dataset),
        }
    }
}

impl ImageTable {
    /// Reads a table and looks at every file that it lists.
    ///
    /// # Errors
    ///
    /// [`Error::Read`], [`Error::TableColumn`], [`Error::TableLine`], and [`Error::TableContent`] where files don't
    /// exist or are listed twice, labels are missing, or parts go by no name that is known. Those of
    /// [`Layout::find`](crate::Layout::find) for a folder.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_with(path, &TableOptions::default())
    }

    /// Reads as [`open`](Self::open), with options.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and [`Error::InvalidOption`] for options that contradict each other.
    pub fn open_with(path: impl AsRef<Path>, options: &TableOptions) -> Result<Self, Error> {
        let path = path.as_ref();
        if path.is_dir() {
            return folders::open(path, options);
        }
        let task = options.checked_task()?;
        let records = read::read(path)?;
        let (columns, task) = Columns::find(path, &records, options, task)?;
        let root = match &options.root {
            Some(root) => root.clone(),
            None => folder_of(path),
        };
        let mut rows = rows::rows(path, &root, &records, &columns)?;
        let labelled = Labelled {
            path,
            task,
            options,
        };
        let classes = labelled.read(&records, &columns, &mut rows)?;
        Ok(Self {
            path: path.to_path_buf(),
            root,
            options: options.clone(),
            task,
            hint: labelled.hint(&classes, &columns, &records, rows.len()),
            classes,
            columns_said: columns.describe(&records.columns, task),
            columns,
            rows,
        })
    }

    /// The table.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns true if it is a folder whose sub-folders are the labels.
    pub fn is_folder(&self) -> bool {
        self.path.is_dir()
    }

    /// The folder that files are relative to.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// How it was read.
    pub fn options(&self) -> &TableOptions {
        &self.options
    }

    /// What is to be learned.
    pub fn task(&self) -> Task {
        self.task
    }

    /// The names of classes, labels or quantities, in the order of the logits.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Number of pictures.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no pictures.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// What a reader may have meant otherwise, in one sentence.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Opens the training and the validation part. Validation takes the pictures of `val` and its like, without any
    /// those of `test`; without these either, `fraction` of every class is held out by `seed`, of groups whole ones.
    ///
    /// # Errors
    ///
    /// [`Error::TableContent`] without a training part, [`Error::InvalidOption`] for a fraction outside (0, 1) or too few
    /// pictures or groups to hold some out.
    pub fn open_split(&self, fraction: f64, seed: u64) -> Result<(TablePart, TablePart), Error> {
        let training = self.training_rows()?;
        if let Some(role) = self.measured() {
            return Ok((self.part(&training), self.part(&self.of(role))));
        }
        let (train, val) = hold_out::split(self, &training, fraction, seed)?;
        Ok((self.part(&train), self.part(&val)))
    }

    /// Whether [`open_split`](Self::open_split) holds pictures out.
    pub fn holds_out(&self) -> bool {
        self.measured().is_none()
    }

    /// Opens the pictures to learn from: the training part, or all where there are no parts.
    ///
    /// # Errors
    ///
    /// [`Error::TableContent`] without a training part.
    pub fn open_training(&self) -> Result<TablePart, Error> {
        Ok(self.part(&self.training_rows()?))
    }

    /// Opens the pictures to measure by: the validation part, or all where there is none.
    pub fn open_evaluation(&self) -> TablePart {
        match self.measured() {
            Some(role) => self.part(&self.of(role)),
            None => self.open_all(),
        }
    }

    /// Opens everything.
    pub fn open_all(&self) -> TablePart {
        self.part(&(0..self.len()).collect::<Vec<_>>())
    }

    /// Opens everything by name: `train`, `val` and `test` as far as there are such, or `all`.
    pub fn open_parts(&self) -> Vec<(String, TablePart)> {
        if self.columns.split.is_none() {
            return vec![("all".into(), self.open_all())];
        }
        let named = self.counts().into_keys();
        named
            .map(|role| (role.name().to_string(), self.part(&self.of(role))))
            .collect()
    }

    /// The part that validation takes, where the table has one.
    fn measured(&self) -> Option<Role> {
        let counts = self.counts();
        [Role::Validation, Role::Test]
            .into_iter()
            .find(|role| counts.contains_key(role))
    }

    fn counts(&self) -> BTreeMap<Role, usize> {
        let mut counts = BTreeMap::new();
        for role in self.rows.iter().filter_map(|row| row.part) {
            *counts.entry(role).or_default() += 1;
        }
        counts
    }

    fn of(&self, role: Role) -> Vec<usize> {
        let is_of = |at: &usize| self.rows[*at].part == Some(role);
        (0..self.len()).filter(is_of).collect()
    }

    fn training_rows(&self) -> Result<Vec<usize>, Error> {
        if self.columns.split.is_none() {
            return Ok((0..self.len()).collect());
        }
        let training = self.of(Role::Training);
        if training.is_empty() {
            let first = self.rows.first();
            let said = first.and_then(|row| Some((row.line, row.part?.name().to_string())));
            return Err(Error::TableContent {
                path: self.path.clone(),
                what: "no picture is of the training part".into(),
                lines: said.into_iter().collect(),
                total: self.len(),
                advice: "write train there for the pictures to learn from".into(),
            });
        }
        Ok(training)
    }

    fn part(&self, rows: &[usize]) -> TablePart {
        let rows: Vec<&Row> = rows.iter().map(|at| &self.rows[*at]).collect();
        let samples = rows.iter().map(|row| Sample {
            path: row.path.clone(),
            label: row.label,
        });
        let targets = || rows.iter().flat_map(|row| row.targets.clone()).collect();
        TablePart {
            images: ImageFolder::listed(self.root.clone(), self.classes.clone(), samples.collect()),
            task: self.task,
            targets: (!self.task.is_single_label()).then(targets),
            weights: self
                .columns
                .weight
                .map(|_| rows.iter().map(|row| row.weight).collect()),
            groups: self
                .columns
                .group
                .map(|_| rows.iter().map(|row| row.group).collect()),
        }
    }
}

impl fmt::Display for ImageTable {
    /// Writes in one line which columns were taken, and which parts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", show(&self.path), printable(&self.columns_said))?;
        let counts = self.counts();
        let taken = self.measured();
        if let Some(role) = taken {
            write!(f, "; validation images are those of {}", role.name())?;
        }
        let left = |role: &Role| *role == Role::Test && taken == Some(Role::Validation);
        if let Some((role, count)) = counts.iter().find(|(role, _)| left(role)) {
            let images = counted(*count, "image", "images");
            write!(f, "; left alone: {} ({images})", role.name())?;
        }
        if self.task == Task::Ordinal {
            write!(f, "; classes from the lowest: {}", list(&self.classes))?;
        }
        match &self.hint {
            Some(hint) => write!(f, "; {}", printable(hint)),
            None => Ok(()),
        }
    }
}

/// The folder that a file lies in.
fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
        _ => PathBuf::from("."),
    }
}
