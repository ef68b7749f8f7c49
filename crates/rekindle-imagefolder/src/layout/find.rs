//! Finds out how a data set's folder is laid out.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{Layout, LayoutKind};
use crate::error::Error;
use crate::folder::existing_folder;
use crate::part::{PartName, Role, VALIDATION_NAMES};
use crate::peek::{Peek, holds_class_folders, holds_picture, name, names};
use crate::said::list;

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
pub(super) fn shared(folders: &[PathBuf]) -> BTreeSet<String> {
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
