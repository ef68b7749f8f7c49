//! Labelled pictures, however they are listed: by folders or by a table.

use std::fmt;
use std::path::Path;

use crate::error::Error;
use crate::folder::ImageFolder;
use crate::layout::Layout;
use crate::table::{ImageTable, TableOptions, TablePart};
use crate::task::Task;

/// Labelled pictures in a folder or in a table.
///
/// ```no_run
/// # fn main() -> Result<(), rekindle_imagefolder::Error> {
/// use rekindle_imagefolder::Listing;
///
/// for place in ["hymenoptera", "birds/labels.csv"] {
///     let listing = Listing::open(place)?;
///     let (train, val) = listing.open_split(0.2, 42)?;
///     println!("{listing}: {} and {}", train.images.len(), val.images.len());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Listing {
    /// A folder, whose sub-folders are the labels.
    Folder(Layout),
    /// A table.
    Table(Box<ImageTable>),
}

impl Listing {
    /// Finds the layout of a folder; a file is read as a table with the columns' usual names.
    ///
    /// # Errors
    ///
    /// Those of [`Layout::find`] and [`ImageTable::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        match path.as_ref().is_file() {
            true => Self::open_table(path, &TableOptions::default()),
            false => Layout::find(path).map(Self::Folder),
        }
    }

    /// Reads a table.
    ///
    /// # Errors
    ///
    /// As [`ImageTable::open_with`].
    pub fn open_table(path: impl AsRef<Path>, options: &TableOptions) -> Result<Self, Error> {
        ImageTable::open_with(path, options).map(|table| Self::Table(Box::new(table)))
    }

    /// The folder or the table that was asked for.
    pub fn given(&self) -> &Path {
        match self {
            Self::Folder(layout) => layout.given(),
            Self::Table(table) => table.path(),
        }
    }

    /// The table, where it is one.
    pub fn table(&self) -> Option<&ImageTable> {
        match self {
            Self::Folder(_) => None,
            Self::Table(table) => Some(table),
        }
    }

    /// What is to be learned: of a folder, one class a picture.
    pub fn task(&self) -> Task {
        self.table().map_or(Task::SingleLabel, ImageTable::task)
    }

    /// Whether nothing needs to be said about how it is laid out; see [`Layout::is_plain`].
    pub fn is_plain(&self) -> bool {
        match self {
            Self::Folder(layout) => layout.is_plain(),
            Self::Table(table) => table.hint().is_none(),
        }
    }

    /// Whether [`open_split`](Self::open_split) holds pictures out.
    pub fn holds_out(&self) -> bool {
        match self {
            Self::Folder(layout) => layout.holds_out(),
            Self::Table(table) => table.holds_out(),
        }
    }

    /// Opens the training and the validation part; where there is no validation part, `fraction` is held out by `seed`.
    ///
    /// # Errors
    ///
    /// Those of [`Layout::open_split`] and [`ImageTable::open_split`].
    pub fn open_split(&self, fraction: f64, seed: u64) -> Result<(TablePart, TablePart), Error> {
        match self {
            Self::Folder(layout) => {
                let (train, val) = layout.open_split(fraction, seed)?;
                Ok((train.into(), val.into()))
            }
            Self::Table(table) => table.open_split(fraction, seed),
        }
    }

    /// Opens the pictures to learn from: the training part, or all where there are no parts.
    ///
    /// # Errors
    ///
    /// Those of [`Layout::open_training`] and [`ImageTable::open_training`].
    pub fn open_training(&self) -> Result<TablePart, Error> {
        match self {
            Self::Folder(layout) => Ok(layout.open_training()?.into()),
            Self::Table(table) => table.open_training(),
        }
    }

    /// Opens everything by name: `train`, `val` and others, or `all`.
    ///
    /// # Errors
    ///
    /// Those of [`Layout::open_parts`].
    pub fn open_parts(&self) -> Result<Vec<(String, TablePart)>, Error> {
        match self {
            Self::Folder(layout) => {
                let parts = layout.open_parts()?.into_iter();
                Ok(parts.map(|(name, part)| (name, part.into())).collect())
            }
            Self::Table(table) => Ok(table.open_parts()),
        }
    }

    /// Opens everything as one folder.
    ///
    /// # Errors
    ///
    /// Those of [`Layout::open_all`].
    pub fn open_all(&self) -> Result<ImageFolder, Error> {
        match self {
            Self::Folder(layout) => layout.open_all(),
            Self::Table(table) => Ok(table.open_all().images),
        }
    }
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(layout) => layout.fmt(f),
            Self::Table(table) => table.fmt(f),
        }
    }
}
