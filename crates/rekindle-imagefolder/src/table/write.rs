//! Writes tables that are read back.

use std::path::Path;

use rekindle_files::names::escape;

use super::{ImageTable, TableOptions, TablePart};
use crate::error::Error;
use crate::task::Task;

/// Texts that may stand between several labels; the first that no label holds is taken.
const SEPARATORS: [&str; 4] = [";", "|", "&&", "##"];

impl ImageTable {
    /// Writes pictures of named parts (`train`, `val`, `test`) as a table in CSV and opens it, for instance to keep a
    /// split. The first part says the folder that files are relative to, the classes and their order.
    ///
    /// # Errors
    ///
    /// [`Error::Write`] where that fails, [`Error::InvalidOption`] without a part or where a class's name begins or ends
    /// with a space, which no table keeps, and those of [`open_with`](Self::open_with).
    pub fn create(path: impl AsRef<Path>, parts: &[(&str, &TablePart)]) -> Result<Self, Error> {
        let path = path.as_ref();
        let refuse = |reason: String| Error::InvalidOption {
            option: "parts",
            reason,
        };
        let Some((_, first)) = parts.first() else {
            return Err(refuse("there is none to write".into()));
        };
        let classes = first.images.classes().to_vec();
        if let Some(class) = classes.iter().find(|class| class.trim() != **class) {
            return Err(refuse(format!(
                "the class {class:?} begins or ends with a space; rename it"
            )));
        }
        let form = Form::new(first, &classes).ok_or_else(|| {
            refuse("the labels hold every separator that a table could use; rename some".into())
        })?;
        let root = first.images.root();
        let mut text = csv::Writer::from_writer(Vec::new());
        let has_weights = parts.iter().any(|(_, part)| part.weights.is_some());
        let has_groups = parts.iter().any(|(_, part)| part.groups.is_some());
        let columns = std::iter::once("file".to_string())
            .chain(form.columns())
            .chain(["split".to_string()])
            .chain(has_weights.then(|| "weight".to_string()))
            .chain(has_groups.then(|| "group".to_string()));
        let failed = |reason: String| Error::Write {
            path: path.to_path_buf(),
            reason,
        };
        let mut line = |cells: Vec<String>| {
            let written = text.write_record(cells);
            written.map_err(|error| failed(error.to_string()))
        };
        line(columns.collect())?;
        for (name, part) in parts {
            for (row, sample) in part.images.samples().iter().enumerate() {
                let file = sample.path.strip_prefix(root).unwrap_or(&sample.path);
                let cells = std::iter::once(kept(&escape(file)))
                    .chain(form.cells(part, row, &classes))
                    .chain([(*name).to_string()])
                    .chain(has_weights.then(|| number(part.weights.as_ref(), row, "1")))
                    .chain(has_groups.then(|| number(part.groups.as_ref(), row, "")));
                line(cells.collect())?;
            }
        }
        let bytes = text
            .into_inner()
            .map_err(|error| failed(error.to_string()))?;
        std::fs::write(path, bytes).map_err(|error| failed(error.to_string()))?;
        Self::open_with(path, &form.options(root, classes))
    }
}

/// A file's name whose outer spaces a reader keeps.
fn kept(name: &str) -> String {
    let inner = name.trim();
    match name.split_once(inner) {
        Some((before, after)) if inner != name => {
            let coded = |spaces: &str| {
                let bytes = spaces.bytes().map(|byte| format!("\\x{byte:02x}"));
                bytes.collect::<String>()
            };
            format!("{}{inner}{}", coded(before), coded(after))
        }
        _ => name.to_string(),
    }
}

fn number<T: ToString>(values: Option<&Vec<T>>, row: usize, missing: &str) -> String {
    values.map_or_else(|| missing.to_string(), |values| values[row].to_string())
}

/// The way in which labels are written.
enum Form {
    /// One class in one cell, of this task.
    Class(Task),
    /// Several labels in one cell with this between them.
    Labels(&'static str),
    /// Numbers, each in a column of that name.
    Numbers(Vec<String>),
}

impl Form {
    /// None where every separator stands in a label.
    fn new(part: &TablePart, classes: &[String]) -> Option<Self> {
        Some(match part.task {
            task @ (Task::SingleLabel | Task::Ordinal) => Self::Class(task),
            Task::MultiLabel => {
                let is_free = |text: &&str| classes.iter().all(|class| !class.contains(*text));
                Self::Labels(SEPARATORS.into_iter().find(is_free)?)
            }
            Task::Regression => Self::Numbers(classes.to_vec()),
        })
    }

    fn columns(&self) -> Vec<String> {
        match self {
            Self::Class(_) | Self::Labels(_) => vec!["label".into()],
            Self::Numbers(columns) => columns.clone(),
        }
    }

    fn cells(&self, part: &TablePart, row: usize, classes: &[String]) -> Vec<String> {
        let width = classes.len();
        let targets = part.targets.as_deref().unwrap_or_default();
        let targets = targets.get(row * width..(row + 1) * width);
        let targets = targets.unwrap_or_default();
        match self {
            Self::Class(_) => {
                let label = part.images.samples()[row].label;
                vec![label.map_or_else(String::new, |label| classes[label].clone())]
            }
            Self::Labels(separator) => {
                let named = classes.iter().zip(targets).filter(|(_, on)| **on > 0.5);
                let names: Vec<&str> = named.map(|(name, _)| name.as_str()).collect();
                vec![names.join(separator)]
            }
            Self::Numbers(_) => targets.iter().map(f32::to_string).collect(),
        }
    }

    fn options(&self, root: &Path, classes: Vec<String>) -> TableOptions {
        let columns = self.columns();
        let mut options = TableOptions {
            root: Some(root.to_path_buf()),
            ..TableOptions::default()
        };
        match self {
            Self::Class(task) => {
                options.task = (*task == Task::Ordinal).then_some(*task);
                options.classes = Some(classes);
            }
            Self::Labels(separator) => {
                options.classes = Some(classes);
                options.task = Some(Task::MultiLabel);
                options.separator = Some((*separator).to_string());
            }
            Self::Numbers(_) => {
                options.task = Some(Task::Regression);
                options.labels = columns;
            }
        }
        options
    }
}
