//! The training and validation images of a data set: where they are, and opening them.

mod find;

use std::fmt;
use std::path::{Path, PathBuf};

use rekindle_files::names::{printable, show};

use crate::error::Error;
use crate::folder::{ImageFolder, ScanOptions};
use crate::part::TRAINING_NAMES;
use crate::peek::{Peek, name, names};
use crate::said::list;
use find::shared;

/// Layout of a data set's folder: found once, by one function, for everything that opens a folder.
///
/// The names of the parts count in any letter case and with what people put beside them: `train`, `Training`,
/// `TRAIN`, `train2017`, `Train_images`, `training_set`; `seg_train` beside `seg_test`. Validation takes the first of
/// [`VALIDATION_NAMES`](crate::VALIDATION_NAMES) that has class folders. A folder that is alone on the way is looked
/// into, as archives unpack into one. The text of a layout says in one line what was taken and what was left alone.
///
/// ```no_run
/// # fn main() -> Result<(), rekindle_imagefolder::Error> {
/// use rekindle_imagefolder::Layout;
///
/// let layout = Layout::find("archive")?;
/// println!("{layout}"); // archive/brains: training images in Training, validation images in Testing
/// let (train, val) = layout.open_split(0.2, 42)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    given: PathBuf,
    root: PathBuf,
    kind: LayoutKind,
    left_alone: Vec<String>,
    remark: Option<String>,
}

/// The kinds of folders.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayoutKind {
    /// A folder to learn from and one to measure by, with class folders in each.
    Parts {
        /// The training part.
        train: PathBuf,
        /// The validation part.
        val: PathBuf,
    },
    /// A training part alone.
    Training(PathBuf),
    /// A validation or test part alone.
    Validation(PathBuf),
    /// One folder per class.
    Classes,
    /// One folder per domain, and in each the same class folders.
    Domains(Vec<PathBuf>),
    /// Images without classes.
    Flat,
}

impl Layout {
    /// Returns the folder that was asked for.
    pub fn given(&self) -> &Path {
        &self.given
    }

    /// Returns the folder that holds the parts or the classes: the one asked for, or one that was alone below it.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the kind of layout that was found.
    pub fn kind(&self) -> &LayoutKind {
        &self.kind
    }

    /// Returns true if the folder is laid out as documented (`train` and `val`, or one folder per class) and
    /// nothing was left out, so that there is nothing to report.
    pub fn is_plain(&self) -> bool {
        self.root == self.given
            && self.left_alone.is_empty()
            && self.remark.is_none()
            && match &self.kind {
                LayoutKind::Parts { train, val } => name(train) == "train" && name(val) == "val",
                LayoutKind::Classes | LayoutKind::Flat => true,
                _ => false,
            }
    }

    /// Opens the training and the validation part; where there is no validation part, `fraction` of every class is held
    /// out by `seed` ([`ImageFolder::split`]). Validation gets the training part's class list.
    ///
    /// # Errors
    ///
    /// [`Error::Domains`], [`Error::NoSplit`] without a training part, and those of [`ImageFolder::open_with`] and
    /// [`ImageFolder::split`].
    pub fn open_split(
        &self,
        fraction: f64,
        seed: u64,
    ) -> Result<(ImageFolder, ImageFolder), Error> {
        let train = self.open_training()?;
        match &self.kind {
            LayoutKind::Parts { val, .. } => {
                let val = ImageFolder::open_with(val, &with_classes(&train))?;
                Ok((train, val))
            }
            _ => train.split(fraction, seed),
        }
    }

    /// Returns true if [`open_split`](Self::open_split) holds images out for validation.
    pub fn holds_out(&self) -> bool {
        !matches!(self.kind, LayoutKind::Parts { .. })
    }

    /// Opens the images to learn from: the training part, or all where there are no parts.
    ///
    /// # Errors
    ///
    /// As [`open_split`](Self::open_split).
    pub fn open_training(&self) -> Result<ImageFolder, Error> {
        match &self.kind {
            LayoutKind::Parts { train, .. } | LayoutKind::Training(train) => {
                ImageFolder::open(train)
            }
            LayoutKind::Validation(_) => Err(self.no_split(&TRAINING_NAMES)),
            LayoutKind::Domains(domains) => Err(self.domains(domains)),
            LayoutKind::Classes | LayoutKind::Flat => ImageFolder::open(&self.root),
        }
    }

    /// Returns the folder to measure by: the validation part, or the whole where there are no parts.
    ///
    /// # Errors
    ///
    /// [`Error::Domains`].
    pub fn evaluation_folder(&self) -> Result<&Path, Error> {
        match &self.kind {
            LayoutKind::Parts { val, .. } | LayoutKind::Validation(val) => Ok(val),
            LayoutKind::Training(train) => Ok(train),
            LayoutKind::Domains(domains) => Err(self.domains(domains)),
            LayoutKind::Classes | LayoutKind::Flat => Ok(&self.root),
        }
    }

    /// Opens everything by name: `train` and `val`, or each domain, or `all`. Classes without images are accepted.
    ///
    /// # Errors
    ///
    /// Those of [`ImageFolder::open_with`].
    pub fn open_parts(&self) -> Result<Vec<(String, ImageFolder)>, Error> {
        let options = ScanOptions {
            allow_empty: true,
            ..ScanOptions::default()
        };
        let open = |folder: &Path| ImageFolder::open_with(folder, &options);
        let named = |name: &str, folder| vec![(name.to_string(), folder)];
        Ok(match &self.kind {
            LayoutKind::Parts { train, val } => {
                let train = open(train)?;
                let val = ImageFolder::open_with(val, &with_classes(&train))?;
                vec![("train".to_string(), train), ("val".to_string(), val)]
            }
            LayoutKind::Training(train) => named("train", open(train)?),
            LayoutKind::Validation(val) => named("val", open(val)?),
            LayoutKind::Classes => named("all", open(&self.root)?),
            LayoutKind::Flat => named("all", ImageFolder::flat(&self.root)?),
            LayoutKind::Domains(domains) => domains
                .iter()
                .map(|domain| Ok((name(domain), open(domain)?)))
                .collect::<Result<_, Error>>()?,
        })
    }

    /// Opens everything as one folder, in the order of [`open_parts`](Self::open_parts), with the classes of all parts.
    ///
    /// # Errors
    ///
    /// As [`open_parts`](Self::open_parts).
    pub fn open_all(&self) -> Result<ImageFolder, Error> {
        let mut parts: Vec<ImageFolder> = self.open_parts()?.into_iter().map(|(_, p)| p).collect();
        if parts.len() == 1 {
            return Ok(parts.remove(0));
        }
        Ok(ImageFolder::join(&self.root, &parts))
    }

    /// Returns the error of a folder in which one of `expected` is missing.
    pub(crate) fn no_split(&self, expected: &[&str]) -> Error {
        Error::NoSplit {
            path: self.root.clone(),
            found: names(&Peek::into(&self.root).folders),
            expected: expected.iter().map(ToString::to_string).collect(),
        }
    }

    fn domains(&self, domains: &[PathBuf]) -> Error {
        Error::Domains {
            path: self.root.clone(),
            domains: names(domains),
            classes: shared(domains).into_iter().collect(),
        }
    }

    fn ambiguous(&self, folders: Vec<String>, reason: String) -> Error {
        Error::AmbiguousSplit {
            path: self.root.clone(),
            folders,
            reason,
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let within = |part: &Path| show(part.strip_prefix(&self.root).unwrap_or(part));
        write!(f, "{}: ", show(&self.root))?;
        match &self.kind {
            LayoutKind::Parts { train, val } => {
                let (train, val) = (within(train), within(val));
                write!(f, "training images in {train}, validation images in {val}")?;
            }
            LayoutKind::Training(train) => {
                write!(
                    f,
                    "training images in {}, no validation part",
                    within(train)
                )?;
            }
            LayoutKind::Validation(val) => {
                write!(f, "validation images in {}, no training part", within(val))?;
            }
            LayoutKind::Classes => f.write_str("one folder per class")?,
            LayoutKind::Domains(domains) => {
                let domains = list(&names(domains));
                write!(f, "the domains {domains}, each with one folder per class")?;
            }
            LayoutKind::Flat => f.write_str("images without classes")?,
        }
        if let Some(remark) = &self.remark {
            write!(f, "; {remark}")?;
        }
        if !self.left_alone.is_empty() {
            write!(
                f,
                "; left alone: {}",
                printable(&self.left_alone.join(", "))
            )?;
        }
        Ok(())
    }
}

/// Returns the options of a part that shares the classes of another.
fn with_classes(other: &ImageFolder) -> ScanOptions {
    ScanOptions {
        classes: Some(other.classes().to_vec()),
        ..ScanOptions::default()
    }
}
