//! Part of a data set that a folder's name stands for.

/// The parts, in the order in which they are preferred for validation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Training,
    Validation,
    Test,
}

impl Role {
    /// The part's plainest name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Training => "train",
            Self::Validation => "val",
            Self::Test => "test",
        }
    }
}

/// Words for the training part, in lower case.
pub const TRAINING_NAMES: [&str; 3] = ["train", "training", "trn"];

/// Words for the part that is validated on, the preferred ones first. Those from `test` on count only where no folder
/// has one of the others.
pub const VALIDATION_NAMES: [&str; 12] = [
    "val",
    "valid",
    "validation",
    "validate",
    "dev",
    "eval",
    "evaluation",
    "holdout",
    "test",
    "testing",
    "tests",
    "tst",
];

/// Index of the first word for a test part.
const FIRST_TEST: usize = 8;

/// Words that say nothing of their own beside one of those: `train_images`, `TestSet`.
const FILLERS: [&str; 24] = [
    "set", "sets", "data", "dataset", "image", "images", "img", "imgs", "photo", "photos",
    "picture", "pictures", "pic", "pics", "sample", "samples", "example", "examples", "split",
    "part", "subset", "folder", "dir", "files",
];

/// A folder's name that speaks of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartName {
    pub role: Role,
    /// The word's place in its list.
    pub rank: usize,
    /// The rest of the name: `seg` in `seg_train`, nothing in `train2017`.
    pub rest: Vec<String>,
}

impl PartName {
    /// Reads a name in any letter case; none where it speaks of no part, or of two (`trainval`).
    pub fn read(name: &str) -> Option<Self> {
        let mut found = None;
        let mut rest = Vec::new();
        for word in words(name) {
            match role(&word) {
                Some(role) if found.replace(role).is_some() => return None,
                Some(_) => {}
                None if FILLERS.contains(&word.as_str()) => {}
                None => rest.push(word),
            }
        }
        let (role, rank) = found?;
        Some(Self { role, rank, rest })
    }
}

/// Returns the part that a word stands for, alone or joined to a filler (`trainset`, `imagestest`).
fn role(word: &str) -> Option<(Role, usize)> {
    let known = |word: &str| {
        let place = |names: &[&str]| names.iter().position(|name| *name == word);
        place(&TRAINING_NAMES)
            .map(|rank| (Role::Training, rank))
            .or_else(|| {
                place(&VALIDATION_NAMES).map(|rank| match rank {
                    0..FIRST_TEST => (Role::Validation, rank),
                    _ => (Role::Test, rank),
                })
            })
    };
    known(word).or_else(|| {
        FILLERS.iter().find_map(|filler| {
            let rest = word
                .strip_suffix(filler)
                .or_else(|| word.strip_prefix(filler))?;
            known(rest)
        })
    })
}

/// Returns the words of a name in lower case: runs of letters, parted also where a capital follows a small letter.
fn words(name: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut after_small = false;
    for c in name.chars() {
        let begins = after_small && c.is_uppercase();
        if (!c.is_alphabetic() || begins) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if c.is_alphabetic() {
            word.extend(c.to_lowercase());
        }
        after_small = c.is_lowercase();
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parts_are_read_in_any_spelling() {
        use Role::{Test, Training, Validation};
        for (name, role) in [
            ("train", Training),
            ("Training", Training),
            ("TRAIN", Training),
            ("train2017", Training),
            ("Train_images", Training),
            ("trainSet", Training),
            ("training_set", Training),
            ("imagesTrain", Training),
            ("trn", Training),
            ("Val", Validation),
            ("VALID", Validation),
            ("validation", Validation),
            ("dev", Validation),
            ("eval-data", Validation),
            ("val 2017", Validation),
            ("Testing", Test),
            ("testset", Test),
            ("tst", Test),
        ] {
            let found = PartName::read(name);
            let rest = found.as_ref().map(|found| found.rest.len());
            assert_eq!(
                (found.map(|f| f.role), rest),
                (Some(role), Some(0)),
                "{name}"
            );
        }
        let read = |name| PartName::read(name).map(|found| (found.role, found.rest.concat()));
        assert_eq!(read("seg_train"), Some((Training, "seg".into())));
        assert_eq!(read("testA"), Some((Test, "a".into())));
        for name in [
            "trainval",
            "train-test",
            "ants",
            "strain",
            "trains",
            "invalid",
            "tester",
            "protest",
            "contest",
            "devil",
            "2017",
            "",
            "images",
        ] {
            assert_eq!(read(name), None, "{name}");
        }
    }
}
