//! Compares a data set with the one that a run began with.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use rekindle_files::names::printable;
use rekindle_imagefolder::ContentHash;

use super::{DataList, ImageRecord};

/// Differences that are named; the others are counted.
const SHOWN: usize = 3;

/// Differences between two [`DataList`]s. As text, it names the first differences of each kind and counts the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataChanges {
    /// Classes that came, went, or changed their place among the logits.
    pub classes: Vec<String>,
    /// Pictures with another label than before.
    pub labels: Vec<String>,
    /// Pictures with another name, in another part or in another order.
    pub moved: Vec<String>,
    /// Pictures that were not there.
    pub added: Vec<String>,
    /// Pictures that are gone.
    pub removed: Vec<String>,
    /// Files with other content than before, under the same name and label.
    pub contents: Vec<String>,
    /// True if the validation images differ.
    pub is_val_changed: bool,
}

impl DataChanges {
    pub(super) fn between(before: &DataList, now: &DataList) -> Self {
        let mut changes = Self {
            classes: classes(&before.classes, &now.classes),
            is_val_changed: before.identity().val != now.identity().val,
            ..Self::default()
        };
        let was = Contents::of(before.images.iter());
        let (old, new) = (before.by_place(), now.by_place());
        let gone = old.iter().filter(|(place, _)| !new.contains_key(*place));
        let gone: Vec<&ImageRecord> = gone.map(|(_, image)| *image).collect();
        let mut lost = Contents::of(gone.iter().copied());
        let mut found = BTreeSet::new();
        for (place, image) in &new {
            if let Some(old) = old.get(place) {
                changes.compare(old, image, &was);
            } else if let Some(old) = lost.take(image) {
                found.insert(name(old));
                changes.move_from(old, image);
            } else {
                changes.added.push(name(image));
            }
        }
        let names = gone.into_iter().map(name);
        changes.removed = names.filter(|name| !found.contains(name)).collect();
        if changes.is_empty() && before.images != now.images {
            let order = "the same pictures in another order".to_string();
            changes.moved.push(order);
        }
        changes
    }

    /// Compares the image at one place before and now.
    fn compare(&mut self, old: &ImageRecord, new: &ImageRecord, was: &Contents<'_>) {
        if old.class == new.class && old.weight != new.weight {
            let (old, now) = (&old.weight, &new.weight);
            let text = |weight: &Option<String>| weight.clone().unwrap_or_else(|| "1".into());
            let weight = format!("{} weighed {}, weighs {}", name(new), text(old), text(now));
            self.labels.push(weight);
        } else if old.class != new.class {
            let label = format!("{} was {}, is {}", name(new), class(old), class(new));
            self.labels.push(label);
        } else if old.sha256 != new.sha256 {
            match (was.labelled_otherwise(new), new.sha256) {
                (Some(before), _) => self.labels.push(format!(
                    "{} holds what was {}, so it was {} and is {}",
                    name(new),
                    name(before),
                    class(before),
                    class(new)
                )),
                (None, Some(_)) => self.contents.push(name(new)),
                (None, None) => {
                    let unreadable = format!("{}, which can't be read", name(new));
                    self.contents.push(unreadable);
                }
            }
        }
    }

    fn move_from(&mut self, old: &ImageRecord, new: &ImageRecord) {
        let text = format!("{} is now {}", name(old), name(new));
        if old.class == new.class {
            self.moved.push(text);
        } else {
            let (old, new) = (class(old), class(new));
            self.labels.push(format!("{text}, was {old} and is {new}"));
        }
    }

    /// Returns the changes to a data set whose earlier list is lost.
    pub(crate) fn unknown() -> Self {
        let lost = "their list is missing, so it can't be said which".to_string();
        Self {
            moved: vec![lost],
            is_val_changed: true,
            ..Self::default()
        }
    }

    /// Returns true if nothing differs.
    pub fn is_empty(&self) -> bool {
        !self.is_other_data() && self.contents.is_empty()
    }

    /// Returns true if labels, classes or the list of pictures differ, and not only the content of some files.
    pub fn is_other_data(&self) -> bool {
        let lists = [
            &self.classes,
            &self.labels,
            &self.moved,
            &self.added,
            &self.removed,
        ];
        lists.iter().any(|list| !list.is_empty())
    }
}

impl fmt::Display for DataChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [
            ("class", "classes", "changed", &self.classes),
            ("label", "labels", "changed", &self.labels),
            ("picture", "pictures", "moved", &self.moved),
            ("picture", "pictures", "added", &self.added),
            ("picture", "pictures", "gone", &self.removed),
            ("picture", "pictures", "with other content", &self.contents),
        ];
        let mut is_first = true;
        for (one, many, what, list) in kinds {
            if list.is_empty() {
                continue;
            }
            let thing = if list.len() == 1 { one } else { many };
            let separator = if is_first { "" } else { "; " };
            write!(f, "{separator}{} {thing} {what} (", list.len())?;
            let shown: Vec<&str> = list.iter().take(SHOWN).map(String::as_str).collect();
            write!(f, "{}", shown.join("; "))?;
            if list.len() > SHOWN {
                write!(f, "; and {} more", list.len() - SHOWN)?;
            }
            write!(f, ")")?;
            is_first = false;
        }
        if is_first {
            write!(f, "nothing changed")?;
        }
        Ok(())
    }
}

/// Pictures by their content.
struct Contents<'a>(BTreeMap<ContentHash, Vec<&'a ImageRecord>>);

impl<'a> Contents<'a> {
    fn of(images: impl Iterator<Item = &'a ImageRecord>) -> Self {
        let mut by_content = BTreeMap::<_, Vec<_>>::new();
        for image in images {
            if let Some(content) = image.sha256 {
                by_content.entry(content).or_default().push(image);
            }
        }
        Self(by_content)
    }

    /// One of those with the content of `image`, of its class where there is one; not given out again.
    fn take(&mut self, image: &ImageRecord) -> Option<&'a ImageRecord> {
        let same = self.0.get_mut(&image.sha256?)?;
        let of_class = same.iter().position(|other| other.class == image.class);
        (!same.is_empty()).then(|| same.remove(of_class.unwrap_or(0)))
    }

    /// A picture with the content of `image`, where none of them had its label.
    fn labelled_otherwise(&self, image: &ImageRecord) -> Option<&'a ImageRecord> {
        let same = self.0.get(&image.sha256?)?;
        let is_known = same.iter().any(|other| other.class == image.class);
        same.first().copied().filter(|_| !is_known)
    }
}

fn classes(before: &[String], now: &[String]) -> Vec<String> {
    let missing = |from: &[String], what: &str, other: &[String]| -> Vec<String> {
        let names = other.iter().filter(|name| !from.contains(name));
        names
            .map(|name| format!("{} {what}", printable(name)))
            .collect()
    };
    let mut changes = missing(now, "is gone", before);
    changes.extend(missing(before, "is new", now));
    if changes.is_empty() {
        let moved = before.iter().zip(now).filter(|(old, new)| old != new);
        let text = |(old, new): (&String, &String)| {
            format!("{} stands where {} was", printable(new), printable(old))
        };
        changes = moved.map(text).collect();
    }
    changes
}

fn name(image: &ImageRecord) -> String {
    format!("{}/{}", image.part.name(), printable(&image.path))
}

fn class(image: &ImageRecord) -> String {
    match &image.class {
        Some(class) => printable(class),
        None => "without a label".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Part;

    fn image(part: Part, path: &str, content: &str) -> ImageRecord {
        ImageRecord {
            part,
            path: path.into(),
            class: path.split('/').next().map(String::from),
            weight: None,
            sha256: Some(ContentHash::of(content.as_bytes())),
        }
    }

    fn list(images: &[(&str, &str)]) -> DataList {
        let images = images.iter().map(|(path, content)| {
            let (part, path) = path.split_once('/').unwrap_or(("train", path));
            let part = if part == "val" {
                Part::Val
            } else {
                Part::Train
            };
            image(part, path, content)
        });
        let images: Vec<ImageRecord> = images.collect();
        let names: BTreeSet<String> = images.iter().filter_map(|i| i.class.clone()).collect();
        DataList {
            classes: names.into_iter().collect(),
            images,
        }
    }

    fn between(before: &[(&str, &str)], now: &[(&str, &str)]) -> String {
        let (before, now) = (list(before), list(now));
        let changes = now.changes_since(&before);
        assert_eq!(changes.is_empty(), before.identity() == now.identity());
        changes.to_string()
    }

    const BEFORE: [(&str, &str); 4] = [
        ("train/cat/0", "a"),
        ("train/cat/1", "b"),
        ("train/dog/0", "c"),
        ("val/dog/0", "d"),
    ];

    #[test]
    fn each_kind_of_change_is_named() {
        let with = |at: usize, image: (&'static str, &'static str)| {
            let mut now = BEFORE;
            now[at] = image;
            between(&BEFORE, &now)
        };
        assert_eq!(between(&BEFORE, &BEFORE), "nothing changed");
        assert_eq!(
            with(0, ("train/cat/0", "other")),
            "1 picture with other content (train/cat/0)"
        );
        assert_eq!(
            with(0, ("train/cat/9", "a")),
            "1 picture moved (train/cat/0 is now train/cat/9)"
        );
        assert_eq!(
            with(0, ("train/dog/9", "a")),
            "1 label changed (train/cat/0 is now train/dog/9, was cat and is dog)"
        );
        assert_eq!(
            with(0, ("train/cat/0", "c")),
            "1 label changed (train/cat/0 holds what was train/dog/0, so it was dog and is cat)"
        );
        assert_eq!(
            with(0, ("train/cat/9", "x")),
            "1 picture added (train/cat/9); 1 picture gone (train/cat/0)"
        );
        assert_eq!(
            with(3, ("val/cat/0", "d")),
            "1 label changed (val/dog/0 is now val/cat/0, was dog and is cat)"
        );
    }

    #[test]
    fn a_class_that_is_renamed_is_both_gone_and_new() {
        let now = [
            ("train/cat/0", "a"),
            ("train/cat/1", "b"),
            ("train/fox/0", "c"),
            ("val/fox/0", "d"),
        ];
        let text = between(&BEFORE, &now);
        assert!(text.starts_with("2 classes changed (dog is gone; fox is new); 2 labels"));
    }

    #[test]
    fn pictures_that_change_places_within_their_class_are_other_content() {
        let now = [BEFORE[0], BEFORE[1], BEFORE[2], BEFORE[3]];
        let swapped = [("train/cat/0", "b"), ("train/cat/1", "a"), now[2], now[3]];
        let text = between(&BEFORE, &swapped);
        assert!(text.starts_with("2 pictures with other content"), "{text}");
    }

    #[test]
    fn another_order_is_another_data_set() {
        let now = [BEFORE[1], BEFORE[0], BEFORE[2], BEFORE[3]];
        let text = between(&BEFORE, &now);
        assert!(text.contains("another order"), "{text}");
    }
}
