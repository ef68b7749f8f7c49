//! A repository of the Hugging Face hub, by name.

use std::fmt;
use std::path::Path;
#[cfg(feature = "hub")]
use std::path::PathBuf;
use std::str::FromStr;

use crate::error::RepositoryNameError;

/// A repository of models on the Hugging Face hub, at a revision.
///
/// It is written `hf:owner/name`, `hf:owner/name@revision` or, where a repository holds several files of weights,
/// `hf:owner/name@revision:file` (`hf:owner/name:file` for the newest). The revision is a branch, a tag or a commit,
/// `main` without one. An address copied from the browser stands for the same.
///
/// ```
/// use rekindle_weights::Repository;
///
/// let repository: Repository = "hf:timm/resnet18.a1_in1k@v1:model.safetensors".parse()?;
/// assert_eq!((repository.owner(), repository.name()), ("timm", "resnet18.a1_in1k"));
/// assert_eq!((repository.revision(), repository.file()), ("v1", Some("model.safetensors")));
/// let same: Repository = "https://huggingface.co/timm/resnet18.a1_in1k/tree/v1".parse()?;
/// assert_eq!(same.to_string(), "hf:timm/resnet18.a1_in1k@v1");
/// # Ok::<(), rekindle_weights::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Repository {
    owner: String,
    name: String,
    revision: String,
    file: Option<String>,
}

/// The revision that is taken where none is named.
const MAIN: &str = "main";
/// The file that is taken wherever it is there.
pub(crate) const USUAL: &str = "model.safetensors";
/// The file that is taken where there is none of that name nor any other safetensors.
pub(crate) const USUAL_OF_PYTORCH: &str = "pytorch_model.bin";
/// The folder of all repositories in the cache.
const CACHE: &str = "huggingface";

/// Addresses of the hub's pages, as people copy them.
const SITES: [&str; 4] = [
    "https://huggingface.co/",
    "http://huggingface.co/",
    "https://hf.co/",
    "http://hf.co/",
];

impl Repository {
    /// Returns true for a text that is meant as a repository: it begins with `hf:` or with the hub's address.
    pub fn is_meant_by(text: &str) -> bool {
        text.starts_with("hf:") || SITES.iter().any(|site| text.starts_with(site))
    }

    /// Returns the user or organisation that it belongs to.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Returns its name below the owner's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the branch, tag or commit.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// Returns the path of the file of weights in it, where one was named.
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// Returns true where the revision is a whole commit, whose files never change.
    pub fn is_pinned(&self) -> bool {
        is_commit(&self.revision)
    }

    /// Returns the repository and the commit that a file in the cache is of, as its path tells them.
    pub fn of_cached(path: impl AsRef<Path>) -> Option<Self> {
        let path = path.as_ref();
        let name = |path: &Path| Some(path.file_name()?.to_str()?.to_string());
        path.ancestors().skip(1).find_map(|folder| {
            let commit = name(folder).filter(|commit| is_commit(commit))?;
            let above = folder.parent()?;
            let both = name(above)?;
            let both = both.split_once("--")?;
            if name(above.parent()?)? != CACHE {
                return None;
            }
            let parts = path.strip_prefix(folder).ok()?.iter();
            let file: Option<Vec<&str>> = parts.map(|part| part.to_str()).collect();
            let repository = Self::new("", [both.0, both.1], MAIN, None).ok()?;
            Some(repository.at_commit(&commit, &file?.join("/")))
        })
    }

    /// Returns the folder below the cache's that holds all commits of it.
    #[cfg(feature = "hub")]
    pub(crate) fn folder(&self) -> PathBuf {
        Path::new(CACHE).join(format!("{}--{}", self.owner, self.name))
    }

    /// Returns a file of the same repository at a commit.
    pub(crate) fn at_commit(&self, commit: &str, file: &str) -> Self {
        Self {
            revision: commit.to_string(),
            file: (file != USUAL).then(|| file.to_string()),
            ..self.clone()
        }
    }

    fn new(
        text: &str,
        [owner, name]: [&str; 2],
        revision: &str,
        file: Option<&str>,
    ) -> Result<Self, RepositoryNameError> {
        check(text, "owner", owner, fault_of_part(owner))?;
        check(text, "name", name, fault_of_part(name))?;
        check(text, "revision", revision, fault_of_revision(revision))?;
        if let Some(file) = file {
            check(text, "file", file, fault_of_file(file))?;
        }
        Ok(Self {
            owner: owner.to_string(),
            name: name.to_string(),
            revision: revision.to_string(),
            file: file.map(str::to_string),
        })
    }

    /// Reads what stands behind `hf:`.
    fn from_short(text: &str, short: &str) -> Result<Self, RepositoryNameError> {
        let end = short.find(['@', ':']).unwrap_or(short.len());
        let (path, rest) = short.split_at(end);
        let (revision, file) = match rest.strip_prefix('@') {
            Some(rest) => match rest.split_once(':') {
                Some((revision, file)) => (revision, Some(file)),
                None => (rest, None),
            },
            None => (MAIN, rest.strip_prefix(':')),
        };
        let parts: Vec<&str> = path.split('/').collect();
        match parts[..] {
            [kind @ ("datasets" | "spaces"), _, _] => Err(not_a_model(text, kind)),
            [owner, name] => Self::new(text, [owner, name], revision, file),
            _ => Err(not_a_name(text)),
        }
    }

    /// Reads the path of an address: `owner/name`, and `/tree/REVISION` or `/blob/REVISION/FILE` behind it.
    fn from_page(text: &str, page: &str) -> Result<Self, RepositoryNameError> {
        let page = page.split(['?', '#']).next().unwrap_or_default();
        let page = decoded(page.trim_end_matches('/')).ok_or_else(|| not_a_name(text))?;
        let parts: Vec<&str> = page.iter().map(String::as_str).collect();
        match parts[..] {
            [kind @ ("datasets" | "spaces"), ..] => Err(not_a_model(text, kind)),
            [owner, name] => Self::new(text, [owner, name], MAIN, None),
            [owner, name, "tree", revision] => Self::new(text, [owner, name], revision, None),
            [
                owner,
                name,
                "blob" | "resolve" | "raw",
                revision,
                ref file @ ..,
            ] if !file.is_empty() => {
                Self::new(text, [owner, name], revision, Some(&file.join("/")))
            }
            _ => Err(not_a_name(text)),
        }
    }
}

impl FromStr for Repository {
    type Err = RepositoryNameError;

    fn from_str(text: &str) -> Result<Self, RepositoryNameError> {
        if let Some(page) = SITES.iter().find_map(|site| text.strip_prefix(site)) {
            return Self::from_page(text, page);
        }
        match text.strip_prefix("hf:") {
            Some(short) => Self::from_short(text, short),
            None => Err(not_a_name(text)),
        }
    }
}

impl fmt::Display for Repository {
    /// Writes the short form, from which it can be read back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hf:{}/{}", self.owner, self.name)?;
        if self.revision != MAIN {
            write!(f, "@{}", self.revision)?;
        }
        match &self.file {
            Some(file) => write!(f, ":{file}"),
            None => Ok(()),
        }
    }
}

/// Returns true for the 40 hexadecimal digits of a commit.
pub(crate) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn not_a_name(text: &str) -> RepositoryNameError {
    RepositoryNameError::NotAName {
        text: text.to_string(),
    }
}

fn not_a_model(text: &str, kind: &str) -> RepositoryNameError {
    RepositoryNameError::NotAModel {
        text: text.to_string(),
        kind: match kind {
            "datasets" => "data set",
            _ => "space",
        },
    }
}

fn check(
    text: &str,
    role: &'static str,
    part: &str,
    fault: Option<&'static str>,
) -> Result<(), RepositoryNameError> {
    match fault {
        None => Ok(()),
        Some(detail) => Err(RepositoryNameError::InvalidPart {
            text: text.to_string(),
            role,
            part: part.to_string(),
            detail,
        }),
    }
}

/// Finds what the hub would refuse in an owner or a name. Both become names of folders.
fn fault_of_part(part: &str) -> Option<&'static str> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if part.is_empty() {
        Some("it is empty")
    } else if part.len() > 96 {
        Some("it is longer than 96 characters")
    } else if !part.chars().all(is_allowed) {
        Some("only letters, digits, `-`, `_` and `.` may be in it")
    } else if part.starts_with(['-', '.']) || part.ends_with(['-', '.']) {
        Some("it begins or ends with `-` or `.`")
    } else if part.contains("..") || part.contains("--") {
        Some("`..` and `--` can't be in it")
    } else {
        None
    }
}

/// Finds what git would refuse in a branch, a tag or a commit, and whatever would not survive in an address.
fn fault_of_revision(revision: &str) -> Option<&'static str> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_./+".contains(c);
    if revision.is_empty() {
        Some("it is empty")
    } else if revision.len() > 200 {
        Some("it is longer than 200 characters")
    } else if !revision.chars().all(is_allowed) {
        Some("only letters, digits, `-`, `_`, `.`, `+` and `/` may be in it")
    } else if revision.split('/').any(str::is_empty) {
        Some("a part between its slashes is empty")
    } else if revision.contains("..") || revision.starts_with('-') || revision.starts_with('.') {
        Some("it begins with `-` or `.`, or has `..` in it")
    } else {
        None
    }
}

/// Finds what would leave the repository's folder in a path.
pub(crate) fn fault_of_file(file: &str) -> Option<&'static str> {
    if file.len() > 500 {
        Some("it is longer than 500 characters")
    } else if file.split('/').any(str::is_empty) {
        Some("it is empty, or a part between its slashes is")
    } else if file.split('/').any(|part| part == "." || part == "..") {
        Some("`.` and `..` can't be in a path")
    } else if file.contains(['\\', ':']) || file.chars().any(char::is_control) {
        Some("`\\`, `:` and control characters can't be in it")
    } else {
        None
    }
}

/// Splits a path at its slashes, and decodes `%2F` and the like in its parts.
fn decoded(path: &str) -> Option<Vec<String>> {
    let part = |part: &str| {
        let mut bytes = Vec::with_capacity(part.len());
        let mut rest = part.as_bytes();
        while let Some((&first, behind)) = rest.split_first() {
            if first != b'%' {
                bytes.push(first);
                rest = behind;
                continue;
            }
            let digits = std::str::from_utf8(behind.get(..2)?).ok()?;
            let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| is_hex)?);
            rest = &behind[2..];
        }
        String::from_utf8(bytes).ok()
    };
    path.split('/').map(part).collect()
}
