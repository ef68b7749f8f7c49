//! A folder of images: which files belong to it, and which class each has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rekindle_files::names::{self, composed};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::layout::{Layout, LayoutKind};
use crate::part::VALIDATION_NAMES;
use crate::scan::Scan;

/// The extensions that torchvision's `ImageFolder` takes, in lower case and without the dot.
pub const EXTENSIONS: [&str; 9] = [
    "jpg", "jpeg", "png", "ppm", "bmp", "pgm", "tif", "tiff", "webp",
];

/// One image file of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// The file.
    #[serde(with = "names::path")]
    pub path: PathBuf,
    /// Index into [`ImageFolder::classes`]; `None` in a folder without classes.
    pub label: Option<usize>,
}

/// A file or folder that the scan left out, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ignored {
    /// The file or folder.
    #[serde(with = "names::path")]
    pub path: PathBuf,
    /// The reason, for people.
    pub reason: String,
}

/// Options for scanning a folder.
#[derive(Debug, Clone)]
pub struct ScanOptions {
    /// Accept class folders without images (default: they are an error, as in torchvision).
    pub allow_empty: bool,
    /// Take names that begin with a dot (default: no, since those are leftovers such as
    /// `.ipynb_checkpoints` and `._photo.jpg`; torchvision takes them).
    pub hidden: bool,
    /// Take what NAS and desktop systems leave behind, such as `@eaDir`, `#recycle`, `__MACOSX`, `lost+found` and
    /// `$RECYCLE.BIN` (default: no; torchvision takes them).
    pub leftovers: bool,
    /// The class names in label order (default: the folder's sub-folders, sorted). Sub-folders
    /// beyond the list are an error, missing ones are empty classes and always accepted.
    pub classes: Option<Vec<String>>,
    /// Accepted extensions without the dot; upper and lower case are the same.
    pub extensions: Vec<String>,
}

impl Default for ScanOptions {
    fn default() -> Self {
        Self {
            allow_empty: false,
            hidden: false,
            leftovers: false,
            classes: None,
            extensions: EXTENSIONS.iter().map(ToString::to_string).collect(),
        }
    }
}

/// The images below a folder, with torchvision's meaning: one sub-folder per class, classes
/// sorted by name, files at any depth below their class, sorted by folder and then by name.
///
/// A class is called as its folder. Where that name is no UTF-8, it is
/// [escaped](rekindle_files::names::escape), so that two folders are always two classes.
///
/// ```no_run
/// # fn main() -> Result<(), rekindle_imagefolder::Error> {
/// use rekindle_imagefolder::ImageFolder;
///
/// let train = ImageFolder::open("hymenoptera/train")?;
/// assert_eq!(train.classes(), ["ants", "bees"]);
/// for left_out in train.ignored() {
///     eprintln!("{}: {}", left_out.path.display(), left_out.reason);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageFolder {
    #[serde(with = "names::path")]
    root: PathBuf,
    classes: Vec<String>,
    samples: Vec<Sample>,
    ignored: Vec<Ignored>,
}

impl ImageFolder {
    /// Scans a folder that has one sub-folder per class.
    ///
    /// # Errors
    ///
    /// [`Error::FolderNotFound`], [`Error::NoClasses`], [`Error::EmptyClass`], [`Error::SameSpelling`],
    /// [`Error::Read`].
    pub fn open(root: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_with(root, &ScanOptions::default())
    }

    /// Scans as [`open`](Self::open), with options. Where these name the classes, a folder whose name composes letters
    /// and accents otherwise, as macOS does, is the class all the same.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and [`Error::UnknownClasses`] where the options name the classes.
    pub fn open_with(root: impl AsRef<Path>, options: &ScanOptions) -> Result<Self, Error> {
        let root = existing_folder(root.as_ref())?;
        let mut scan = Scan::new(options);
        let mut found = scan.class_folders(&root)?;
        if found.is_empty() {
            let images = Self::flat_with(&root, options).map_or(0, |flat| flat.len());
            if images > 0 || options.classes.is_none() {
                return Err(Error::NoClasses { path: root, images });
            }
        }
        let classes = match &options.classes {
            None => found.keys().cloned().collect(),
            Some(given) => {
                found = by_given_names(found, given);
                let unknown: Vec<String> = found
                    .keys()
                    .filter(|name| !given.contains(name))
                    .cloned()
                    .collect();
                if !unknown.is_empty() {
                    return Err(Error::UnknownClasses {
                        path: root,
                        unknown,
                        expected: given.clone(),
                    });
                }
                given.clone()
            }
        };

        let mut samples = Vec::new();
        let mut empty = Vec::new();
        for (label, name) in classes.iter().enumerate() {
            let files = match found.get(name) {
                Some(folder) => scan.images_below(folder)?,
                None => Vec::new(),
            };
            if files.is_empty() {
                empty.push(name.clone());
            }
            samples.extend(files.into_iter().map(|path| Sample {
                path,
                label: Some(label),
            }));
        }
        if samples.is_empty() {
            return Err(Error::NoImages {
                path: root,
                extensions: options.extensions.clone(),
                others: scan.unlisted(),
            });
        }
        if !empty.is_empty() && !options.allow_empty && options.classes.is_none() {
            return Err(Error::EmptyClass {
                path: root,
                classes: empty,
                extensions: options.extensions.clone(),
                others: scan.unlisted(),
            });
        }
        Ok(Self {
            root,
            classes,
            samples,
            ignored: scan.ignored,
        })
    }

    /// Scans a folder without classes: every image at any depth, in sorted order, no labels.
    ///
    /// # Errors
    ///
    /// [`Error::FolderNotFound`], [`Error::NoImages`], [`Error::Read`].
    pub fn flat(root: impl AsRef<Path>) -> Result<Self, Error> {
        Self::flat_with(root, &ScanOptions::default())
    }

    /// Scans as [`flat`](Self::flat), with options.
    ///
    /// # Errors
    ///
    /// As [`flat`](Self::flat).
    pub fn flat_with(root: impl AsRef<Path>, options: &ScanOptions) -> Result<Self, Error> {
        let root = existing_folder(root.as_ref())?;
        let mut scan = Scan::new(options);
        let files = scan.images_below(&root)?;
        if files.is_empty() {
            return Err(Error::NoImages {
                path: root,
                extensions: options.extensions.clone(),
                others: scan.unlisted(),
            });
        }
        let samples = files
            .into_iter()
            .map(|path| Sample { path, label: None })
            .collect();
        Ok(Self {
            root,
            classes: Vec::new(),
            samples,
            ignored: scan.ignored,
        })
    }

    /// Scans a folder with classes where sub-folders hold images (images beside them are then listed in
    /// [`ignored`](Self::ignored)), and a flat one otherwise. Empty classes are accepted.
    ///
    /// # Errors
    ///
    /// As [`flat`](Self::flat).
    pub fn open_any(root: impl AsRef<Path>) -> Result<Self, Error> {
        let flat = Self::flat(root.as_ref())?;
        if flat
            .samples
            .iter()
            .all(|sample| sample.path.parent() == Some(root.as_ref()))
        {
            return Ok(flat);
        }
        let options = ScanOptions {
            allow_empty: true,
            ..ScanOptions::default()
        };
        Self::open_with(root, &options)
    }

    /// Opens the two parts of a data set, wherever [`Layout::find`] finds them. Validation gets the training folder's
    /// class list.
    ///
    /// # Errors
    ///
    /// [`Error::NoSplit`] where one of them is missing, and those of [`Layout::open_split`].
    pub fn open_train_val(root: impl AsRef<Path>) -> Result<(Self, Self), Error> {
        let layout = Layout::find(root)?;
        match layout.kind() {
            LayoutKind::Parts { .. } | LayoutKind::Validation(_) | LayoutKind::Domains(_) => {
                layout.open_split(0.5, 0) // Nothing is held out here.
            }
            _ => Err(layout.no_split(&VALIDATION_NAMES)),
        }
    }

    /// Joins several folders into one, in that order: its classes are all of theirs, sorted by name.
    pub fn join(root: impl Into<PathBuf>, folders: &[Self]) -> Self {
        let classes: BTreeSet<&String> =
            folders.iter().flat_map(|folder| &folder.classes).collect();
        let classes: Vec<String> = classes.into_iter().cloned().collect();
        let labelled = |folder: &Self, sample: &Sample| Sample {
            path: sample.path.clone(),
            label: sample
                .label
                .and_then(|label| classes.binary_search(&folder.classes[label]).ok()),
        };
        let samples = folders
            .iter()
            .flat_map(|folder| folder.samples.iter().map(|s| labelled(folder, s)))
            .collect();
        let ignored = folders.iter().flat_map(|f| f.ignored.clone()).collect();
        Self {
            root: root.into(),
            classes,
            samples,
            ignored,
        }
    }

    /// Takes a list of files made elsewhere. Labels must be below the number of classes.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`] for a label beyond the classes.
    pub fn from_samples(
        root: impl Into<PathBuf>,
        classes: Vec<String>,
        samples: Vec<Sample>,
    ) -> Result<Self, Error> {
        for sample in &samples {
            if let Some(label) = sample.label
                && label >= classes.len()
            {
                return Err(Error::InvalidOption {
                    option: "label",
                    reason: format!(
                        "{}: label {label} with {} classes",
                        names::show(&sample.path),
                        classes.len()
                    ),
                });
            }
        }
        Ok(Self {
            root: root.into(),
            classes,
            samples,
            ignored: Vec::new(),
        })
    }

    /// A list of files whose labels are known to be among the classes.
    pub(crate) fn listed(root: PathBuf, classes: Vec<String>, samples: Vec<Sample>) -> Self {
        Self {
            root,
            classes,
            samples,
            ignored: Vec::new(),
        }
    }

    /// The folder that was scanned.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the class names; a label is an index into them. Empty for a flat folder.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Returns the images, in torchvision's order.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// Files and folders that were left out, each with its reason.
    pub fn ignored(&self) -> &[Ignored] {
        &self.ignored
    }

    /// Returns the same with what the scan of `other` left out.
    pub(crate) fn ignoring(self, other: &Self) -> Self {
        Self {
            ignored: other.ignored.clone(),
            ..self
        }
    }

    /// Returns the number of images.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Returns true if there are no images.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Images per class, in label order.
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for label in self.samples.iter().filter_map(|sample| sample.label) {
            counts[label] += 1;
        }
        counts
    }

    /// Returns the samples at `indices`, in that order, with the same classes. Indices beyond the end are left out.
    pub fn subset(&self, indices: &[usize]) -> Self {
        Self {
            root: self.root.clone(),
            classes: self.classes.clone(),
            samples: indices
                .iter()
                .filter_map(|i| self.samples.get(*i))
                .cloned()
                .collect(),
            ignored: Vec::new(),
        }
    }
}

/// Folders by the names that were given for them; those that none was given for keep their own.
fn by_given_names(found: BTreeMap<String, PathBuf>, given: &[String]) -> BTreeMap<String, PathBuf> {
    let known: BTreeMap<String, &String> =
        given.iter().map(|name| (composed(name), name)).collect();
    let name_of = |name: String| match known.get(&composed(&name)) {
        Some(twin) if !given.contains(&name) => (*twin).clone(),
        _ => name,
    };
    found
        .into_iter()
        .map(|(name, path)| (name_of(name), path))
        .collect()
}

pub(crate) fn existing_folder(path: &Path) -> Result<PathBuf, Error> {
    if path.is_dir() {
        Ok(path.to_path_buf())
    } else {
        Err(Error::FolderNotFound {
            path: path.to_path_buf(),
        })
    }
}
