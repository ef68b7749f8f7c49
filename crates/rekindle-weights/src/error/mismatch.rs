//! Tensors that don't fit a model, all of them in one error.

use std::fmt;
use std::path::{Path, PathBuf};

/// Everything in which a file's tensors differ from what a model expects, in one error.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mismatch {
    /// The file.
    pub path: PathBuf,
    /// Tensors that the model needs and the file lacks.
    pub missing: Vec<String>,
    /// Tensors of the file that the model has no place for.
    pub extra: Vec<String>,
    /// Tensors of another shape.
    pub misshapen: Vec<Misshapen>,
    /// Tensors whose element type cannot become f32: name and type.
    pub wrong_type: Vec<(String, &'static str)>,
    /// The conclusion that names and shapes suggest, as a sentence; may be empty.
    pub advice: String,
}

/// A tensor whose shape is not the model's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misshapen {
    /// The tensor.
    pub name: String,
    /// The model's shape.
    pub expected: Vec<usize>,
    /// The file's shape.
    pub found: Vec<usize>,
}

impl Mismatch {
    pub(crate) fn of(path: &Path) -> Self {
        Self {
            path: path.to_path_buf(),
            missing: Vec::new(),
            extra: Vec::new(),
            misshapen: Vec::new(),
            wrong_type: Vec::new(),
            advice: String::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.missing.is_empty()
            && self.extra.is_empty()
            && self.misshapen.is_empty()
            && self.wrong_type.is_empty()
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} does not fit the model:", self.path.display())?;
        list(
            f,
            "missing",
            self.missing.iter().map(|name| format!("`{name}`")),
        )?;
        list(
            f,
            "unknown to the model",
            self.extra.iter().map(|name| format!("`{name}`")),
        )?;
        list(
            f,
            "of another shape",
            self.misshapen
                .iter()
                .map(|t| format!("`{}` expected {:?} found {:?}", t.name, t.expected, t.found)),
        )?;
        list(
            f,
            "of an element type that is no real number",
            self.wrong_type
                .iter()
                .map(|(name, found)| format!("`{name}` found {found}")),
        )?;
        if self.advice.is_empty() {
            Ok(())
        } else {
            write!(f, "\n{}", self.advice)
        }
    }
}

/// The fields hold everything; a message of hundreds of names helps nobody.
const SHOWN: usize = 12;

fn list(
    f: &mut fmt::Formatter<'_>,
    what: &str,
    items: impl ExactSizeIterator<Item = String>,
) -> fmt::Result {
    let count = items.len();
    if count == 0 {
        return Ok(());
    }
    write!(f, "\n  {count} {what}: ")?;
    let shown: Vec<String> = items.take(SHOWN).collect();
    f.write_str(&shown.join(", "))?;
    if count > SHOWN {
        write!(f, " and {} more", count - SHOWN)?;
    }
    Ok(())
}
