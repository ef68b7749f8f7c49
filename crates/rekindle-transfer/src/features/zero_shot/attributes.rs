//! Tables of classes by attributes.

use std::fs;
use std::path::{Path, PathBuf};

use crate::TransferError;
use crate::features::table::Features;

/// Attributes of classes, as in Animals with Attributes (Lampert et al. 2009): a strength for each class and
/// attribute, and whether the class has it.
#[derive(Clone, Debug, PartialEq)]
pub struct AttributeTable {
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Names of the attributes.
    pub attributes: Vec<String>,
    /// Strength in percent, `[classes, attributes]`; a missing value is replaced by the mean of those of its
    /// attribute.
    pub strengths: Features,
    /// Presence of each attribute, 0 or 1, `[classes, attributes]`.
    pub binary: Features,
}

/// Classes for training, and classes for testing only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassSplit {
    /// Names of the classes with images to learn from.
    pub train: Vec<String>,
    /// Names of the classes without.
    pub test: Vec<String>,
}

impl AttributeTable {
    /// Reads the files of Animals with Attributes: `classes.txt` and `predicates.txt` (a number and a name a
    /// line), `predicate-matrix-continuous.txt` and `predicate-matrix-binary.txt` (one row per class; a negative
    /// strength is missing).
    ///
    /// # Errors
    ///
    /// [`TransferError::Table`] with file and line for what is missing or malformed.
    pub fn read(folder: impl AsRef<Path>) -> Result<Self, TransferError> {
        let folder = folder.as_ref();
        let classes = names(&folder.join("classes.txt"))?;
        let attributes = names(&folder.join("predicates.txt"))?;
        let shape = [classes.len(), attributes.len()];
        let mut strengths = numbers(&folder.join("predicate-matrix-continuous.txt"), shape)?;
        let binary = numbers(&folder.join("predicate-matrix-binary.txt"), shape)?;
        fill_missing(&mut strengths, attributes.len());
        Ok(Self {
            strengths: Features::new(strengths, attributes.len())?,
            binary: Features::new(binary, attributes.len())?,
            classes,
            attributes,
        })
    }

    /// Rows of the table for classes by name, such as those of an image folder.
    ///
    /// # Errors
    ///
    /// [`TransferError::Degenerate`] with the first name that the table doesn't have.
    pub fn rows_of(&self, names: &[String]) -> Result<Vec<usize>, TransferError> {
        let find = |name: &String| {
            let found = self.classes.iter().position(|class| class == name);
            found.ok_or_else(|| TransferError::Degenerate {
                method: "attribute table",
                reason: format!(
                    "there is no class {name:?}; it has {} others, such as {:?}",
                    self.classes.len(),
                    self.classes.first().map_or("", String::as_str)
                ),
            })
        };
        names.iter().map(find).collect()
    }
}

impl ClassSplit {
    /// Reads `trainclasses.txt` and `testclasses.txt`, one name per line.
    ///
    /// # Errors
    ///
    /// [`TransferError::Table`] where a file can't be read.
    pub fn read(folder: impl AsRef<Path>) -> Result<Self, TransferError> {
        let list = |name: &str| -> Result<Vec<String>, TransferError> {
            let path = folder.as_ref().join(name);
            Ok(lines(&path)?.into_iter().map(|(_, line)| line).collect())
        };
        Ok(Self {
            train: list("trainclasses.txt")?,
            test: list("testclasses.txt")?,
        })
    }
}

/// Lines that hold anything, each with its number.
fn lines(path: &Path) -> Result<Vec<(usize, String)>, TransferError> {
    let text = fs::read_to_string(path).map_err(|error| table(path, 0, error.to_string()))?;
    let numbered = text.lines().enumerate();
    Ok(numbered
        .map(|(at, line)| (at + 1, line.trim().to_string()))
        .filter(|(_, line)| !line.is_empty())
        .collect())
}

fn names(path: &Path) -> Result<Vec<String>, TransferError> {
    let name = |(at, line): (usize, String)| match line.split_once(char::is_whitespace) {
        Some((_, name)) => Ok(name.trim().to_string()),
        None => Err(table(path, at, format!("{line:?} is no number and name"))),
    };
    lines(path)?.into_iter().map(name).collect()
}

fn numbers(path: &Path, [rows, columns]: [usize; 2]) -> Result<Vec<f32>, TransferError> {
    let found = lines(path)?;
    if found.len() != rows {
        let reason = format!(
            "{} rows, expected one for each of {rows} classes",
            found.len()
        );
        return Err(table(path, 0, reason));
    }
    let mut values = Vec::with_capacity(rows * columns);
    for (at, line) in found {
        let parsed: Result<Vec<f32>, _> = line.split_whitespace().map(str::parse).collect();
        match parsed {
            Ok(row) if row.len() == columns && row.iter().all(|v| v.is_finite()) => {
                values.extend(row);
            }
            Ok(row) => {
                let reason = format!(
                    "{} finite numbers expected, {} values found",
                    columns,
                    row.len()
                );
                return Err(table(path, at, reason));
            }
            Err(error) => return Err(table(path, at, error.to_string())),
        }
    }
    Ok(values)
}

fn fill_missing(strengths: &mut [f32], columns: usize) {
    for column in 0..columns {
        let values = strengths.iter().skip(column).step_by(columns);
        let known: Vec<f32> = values.copied().filter(|v| *v >= 0.0).collect();
        let mean = known.iter().sum::<f32>() / known.len().max(1) as f32;
        for value in strengths.iter_mut().skip(column).step_by(columns) {
            if *value < 0.0 {
                *value = mean;
            }
        }
    }
}

fn table(path: &Path, line: usize, reason: String) -> TransferError {
    TransferError::Table {
        path: PathBuf::from(path),
        line,
        reason,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn folder(continuous: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("classes.txt", "     1\tseal\n     2\tpolar+bear\n");
        write("predicates.txt", "1\tblack\n2\tbig ears\n3\tswims\n");
        write("predicate-matrix-binary.txt", "1 0 1\n0 0 1\n");
        write("predicate-matrix-continuous.txt", continuous);
        folder
    }

    #[test]
    fn reads_names_numbers_and_fills_what_is_missing() {
        let folder = folder("  70.00  -1.00  88.1 \n 0 12.5 -1\n\n");
        let table = AttributeTable::read(folder.path()).unwrap();
        assert_eq!(table.classes, ["seal", "polar+bear"]);
        assert_eq!(table.attributes[1], "big ears");
        assert_eq!(
            table.strengths.values(),
            [70.0, 12.5, 88.1, 0.0, 12.5, 88.1]
        );
        assert_eq!(table.binary.row(1), [0.0, 0.0, 1.0]);
        assert_eq!(table.rows_of(&["polar+bear".into()]).unwrap(), [1]);
        let error = table.rows_of(&["yeti".into()]).unwrap_err().to_string();
        assert!(error.contains("yeti"), "{error}");
    }

    #[test]
    fn malformed_files_are_named_with_the_line() {
        for (text, part) in [
            ("1 2 3\n4 5\n", "line 2"),
            ("1 2 3\n4 x 6", "line 2"),
            ("1 2 3\n", "1 rows"),
        ] {
            let folder = folder(text);
            let error = AttributeTable::read(folder.path()).unwrap_err().to_string();
            assert!(
                error.contains(part) && error.contains("continuous"),
                "{error}"
            );
        }
        assert!(ClassSplit::read(folder("").path()).is_err());
    }
}
