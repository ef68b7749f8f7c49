//! Finds the training and validation images of a data set.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use rekindle_files::names::{printable, show};

use crate::error::{Error, list};
use crate::folder::{ImageFolder, ScanOptions, existing_folder};
use crate::part::{PartName, Role, TRAINING_NAMES, VALIDATION_NAMES};
use crate::peek::{Peek, holds_class_folders, holds_picture, name, names};

/// Folders on the way to the data, at most.
const DEPTH: usize = 16;

/// Number of sub-folders that folders must have in common, more than there are folders, to be taken for
/// domains and their sub-folders for classes.
const DOMAIN_CLASSES: usize = 5;

/// Folders that come with pictures and hold none of the data set's.
const COMPANIONS: [&str; 16] = [
    "annotation",
    "annotations",
    "label",
    "labels",
    "mask",
    "masks",
    "meta",
    "metadata",
    "doc",
    "docs",
    "attributes",
    "parts",
    "bbox",
    "xml",
    "csv",
    "json",
];

/// Layout of a data set's folder: found once, by one function, for everything that opens a folder.
///
/// The names of the parts count in any letter case and with what people put beside them: `train`, `Training`,
/// `TRAIN`, `train2017`, `Train_images`, `training_set`; `seg_train` beside `seg_test`. Validation takes the first of
/// [`VALIDATION_NAMES`] that has class folders. A folder that is alone on the way is looked into, as archives unpack
/// into one. The text of a layout says in one line what was taken and what was left alone.
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
    /// Finds out how the folder is laid out. Reads names only, and no more of them than needed.
    ///
    /// # Errors
    ///
    /// [`Error::FolderNotFound`]; [`Error::NoSplit`] and [`Error::AmbiguousSplit`] where folders are called like parts
    /// of a data set but it can't be told which is which.
    pub fn find(folder: impl AsRef<Path>) -> Result<Self, Error> {
        let mut layout = Self {
            given: existing_folder(folder.as_ref())?,
            root: folder.as_ref().to_path_buf(),
            kind: LayoutKind::Classes,
            left_alone: Vec::new(),
            remark: None,
        };
        for _ in 0..DEPTH {
            let peek = Peek::into(&layout.root);
            if let Some(kind) = layout.split(&peek)? {
                layout.kind = kind;
                break;
            }
            match lonely(&peek) {
                Some(folder) => {
                    layout.leave_beside(&peek, &folder);
                    layout.root = folder;
                }
                None => {
                    layout.kind = layout.without_parts(&peek);
                    break;
                }
            }
        }
        Ok(layout)
    }

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

    /// Returns the parts that sub-folders are called after; none where they are not called so.
    fn split(&mut self, peek: &Peek) -> Result<Option<LayoutKind>, Error> {
        let named: Vec<(PartName, &Path)> = peek
            .folders
            .iter()
            .filter_map(|folder| Some((PartName::read(&name(folder))?, folder.as_path())))
            .collect();
        let is_training = |part: &PartName| part.role == Role::Training;
        let partners = |rest: &[String]| {
            let partners = named
                .iter()
                .filter(|(p, _)| !is_training(p) && p.rest == rest);
            let mut partners: Vec<&(PartName, &Path)> = partners.collect();
            partners.sort_by_key(|(part, _)| (part.role, part.rank));
            partners
        };
        let mut trains: Vec<&(PartName, &Path)> = named
            .iter()
            .filter(|(part, _)| is_training(part) && !partners(&part.rest).is_empty())
            .collect();
        if trains.is_empty() {
            return self.half_a_split(peek, &named);
        }
        if trains.iter().any(|(part, _)| part.rest.is_empty()) {
            trains.retain(|(part, _)| part.rest.is_empty());
        }
        if trains.len() > 1 {
            trains.retain(|(_, folder)| holds_class_folders(folder));
        }
        let [(part, train)] = trains[..] else {
            let folders = names(named.iter().filter(|(p, _)| is_training(p)).map(|(_, f)| f));
            let reason = "each could be the training part; leave one of them, or give the folder that holds only one";
            return Err(self.ambiguous(folders, reason.to_string()));
        };
        let partners = partners(&part.rest);
        let usable = |folder: &Path| holds_class_folders(folder);
        let val = partners
            .iter()
            .find(|(_, folder)| usable(folder))
            // Opening it says what it lacks.
            .or_else(|| {
                partners
                    .iter()
                    .find(|(part, _)| part.role == Role::Validation)
            });
        for folder in &peek.folders {
            let is_partner = partners.iter().any(|(_, partner)| partner == folder);
            if folder == train || val.is_some_and(|(_, val)| val == folder) {
                continue;
            }
            if is_partner && !usable(folder) {
                let lack = format!("{} (no class folders)", name(folder));
                self.left_alone.push(lack);
            } else if is_partner || holds_picture(folder) {
                self.left_alone.push(name(folder));
            }
        }
        let train = inner(train);
        Ok(Some(match val {
            Some((_, val)) => LayoutKind::Parts {
                train,
                val: inner(val),
            },
            None => LayoutKind::Training(train),
        }))
    }

    /// Finds sub-folders of which only one kind of part is called like one.
    fn half_a_split(
        &mut self,
        peek: &Peek,
        named: &[(PartName, &Path)],
    ) -> Result<Option<LayoutKind>, Error> {
        let named: Vec<&(PartName, &Path)> = named
            .iter()
            .filter(|(part, folder)| part.rest.is_empty() && holds_picture(folder))
            .collect();
        let others: Vec<&Path> = peek
            .with_pictures()
            .into_iter()
            .filter(|folder| !named.iter().any(|(_, part)| part == folder))
            .collect();
        let (nested, loose): (Vec<_>, Vec<_>) = named
            .into_iter()
            .partition(|(_, folder)| holds_class_folders(folder));
        let inside = |folder: &Path| -> BTreeSet<String> {
            names(Peek::into(folder).with_pictures())
                .into_iter()
                .collect()
        };
        let is_training = nested.iter().any(|(part, _)| part.role == Role::Training);
        if is_training {
            // Called `train` and with class folders inside, but the validation part goes by no name that we know.
            let [(_, train)] = nested[..] else {
                let reason = "each could be the training part; leave one of them";
                return Err(self.ambiguous(names(nested.iter().map(|(_, f)| f)), reason.into()));
            };
            if others.is_empty() && loose.is_empty() {
                return Ok(Some(LayoutKind::Training(inner(train))));
            }
            // Kinds of trains beside kinds of buses are classes.
            let classes = inside(train);
            let are_classes = others.iter().all(|folder| {
                let other = inside(folder);
                !other.is_empty() && other.is_disjoint(&classes)
            });
            return match are_classes && loose.is_empty() {
                true => Ok(None),
                false => Err(self.no_split(&VALIDATION_NAMES)),
            };
        }
        if let Some((_, part)) = nested.first() {
            if others.is_empty() && loose.is_empty() {
                let mut nested = nested;
                nested.sort_by_key(|(part, _)| (part.role, part.rank));
                let rest = nested.iter().skip(1).map(|(_, folder)| name(folder));
                self.left_alone.extend(rest);
                return Ok(Some(LayoutKind::Validation(inner(nested[0].1))));
            }
            let classes: BTreeSet<String> = names(&others).into_iter().collect();
            if !inside(part).is_disjoint(&classes) {
                let reason = format!(
                    "{} holds folders of the same names as its neighbours; move the neighbours into a folder train beside it",
                    name(part)
                );
                return Err(self.ambiguous(names(&peek.folders), reason));
            }
        }
        let taken = names(nested.iter().chain(&loose).map(|(_, folder)| folder));
        if !taken.is_empty() {
            self.remark = Some(format!("{} taken for a class", list(&taken)));
        }
        Ok(None)
    }

    /// Classes, domains or loose images.
    fn without_parts(&mut self, peek: &Peek) -> LayoutKind {
        let folders: Vec<PathBuf> = peek
            .with_pictures()
            .into_iter()
            .map(Path::to_path_buf)
            .collect();
        if folders.is_empty() && peek.pictures > 0 {
            return LayoutKind::Flat;
        }
        if folders.len() < 2 {
            return LayoutKind::Classes;
        }
        let shared = shared(&folders);
        let has_no_digit = |name: &&String| !name.chars().any(|c| c.is_ascii_digit());
        let classes = shared.iter().filter(has_no_digit).count();
        if classes >= DOMAIN_CLASSES && classes > folders.len() {
            return LayoutKind::Domains(folders);
        }
        if shared.len() > 1 {
            let inner: Vec<String> = shared.into_iter().collect();
            self.remark = Some(format!(
                "each of them holds {}, which are no classes here",
                list(&inner)
            ));
        }
        LayoutKind::Classes
    }

    fn leave_beside(&mut self, peek: &Peek, taken: &Path) {
        let others = peek.folders.iter().filter(|folder| *folder != taken);
        self.left_alone.extend(others.map(|folder| name(folder)));
        match peek.pictures {
            0 => {}
            1 => self.left_alone.push("1 image".to_string()),
            count => self.left_alone.push(format!("{count} images")),
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

/// Returns the one sub-folder that holds pictures, in folders of its own, beside nothing but companions.
fn lonely(peek: &Peek) -> Option<PathBuf> {
    let with_pictures = peek.with_pictures();
    let [only] = with_pictures[..] else {
        return None;
    };
    let is_companion = |folder: &Path| {
        let name = name(folder).to_lowercase();
        COMPANIONS.contains(&name.as_str())
    };
    let has_company = peek
        .folders
        .iter()
        .any(|folder| folder != only && !is_companion(folder));
    let inside = Peek::into(only);
    let is_class = inside.pictures > 0 && !inside.folders.iter().any(|folder| is_training(folder));
    (!has_company && !is_class).then(|| only.to_path_buf())
}

fn is_training(folder: &Path) -> bool {
    PartName::read(&name(folder)).is_some_and(|part| part.role == Role::Training)
}

/// Returns a part, or the folder of the same part that is alone in it: archives have `training_set/training_set/cats`.
fn inner(part: &Path) -> PathBuf {
    let mut part = part.to_path_buf();
    for _ in 0..DEPTH {
        let peek = Peek::into(&part);
        let [only] = &peek.folders[..] else { break };
        let same_role = match (PartName::read(&name(&part)), PartName::read(&name(only))) {
            (Some(outer), Some(inner)) => outer.role == inner.role,
            _ => false,
        };
        if peek.pictures > 0 || !same_role || !holds_class_folders(only) {
            break;
        }
        part = only.clone();
    }
    part
}

/// Returns the names of the sub-folders that all these folders have; none where one of them holds pictures itself.
fn shared(folders: &[PathBuf]) -> BTreeSet<String> {
    let mut shared: Option<BTreeSet<String>> = None;
    for folder in folders {
        let peek = Peek::into(folder);
        if peek.pictures > 0 {
            return BTreeSet::new();
        }
        let inside: BTreeSet<String> = names(&peek.folders).into_iter().collect();
        shared = Some(match shared {
            None => inside,
            Some(before) => &before & &inside,
        });
        if shared.as_ref().is_some_and(BTreeSet::is_empty) {
            break;
        }
    }
    shared.unwrap_or_default()
}
