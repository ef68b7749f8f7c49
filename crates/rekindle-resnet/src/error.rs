//! Errors of weights and downloads, with what to do about them.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::weights::Candidate;

/// Everything that this crate refuses, in the reader's terms.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name that is none of torchvision's ResNets.
    #[error("there is no architecture `{found}`{}; known are {}", nearest(found), crate::Architecture::ALL.map(crate::Architecture::name).join(", "))]
    UnknownArchitecture {
        /// The name given.
        found: String,
    },
    /// A stage that a network doesn't have.
    #[error("there is no stage {found}: the stages of this network are 0 to {}", stages - 1)]
    UnknownStage {
        /// The index given.
        found: usize,
        /// Number of stages.
        stages: usize,
    },
    /// Stages that can't run in eight bits, or images that they can't take.
    #[error("cannot run the first {stages} stages in eight bits: {reason}")]
    NotQuantizable {
        /// Number of stages.
        stages: usize,
        /// The fault, and the remedy.
        reason: String,
    },
    /// The operating system could not read a file.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The operating system could not write a file: no space, no permission, no such folder.
    #[error("cannot write {}: {source}; nothing was left behind at that name", path.display())]
    Write {
        /// The file that was to be written.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A file of no bytes.
    #[error("{} is empty (0 bytes), probably an interrupted download: delete it and fetch it again", path.display())]
    EmptyFile {
        /// The file.
        path: PathBuf,
    },
    /// A web page where weights should be.
    #[error("{} is a web page (HTML), not weights: the download got a login, consent or error page. Open the address in a browser to see it, then fetch the file again", path.display())]
    HtmlInsteadOfWeights {
        /// The file.
        path: PathBuf,
    },
    /// A small text that git left in place of the file.
    #[error("{} is {found}, not the weights: run `{fetch}` in its folder, then try again", path.display())]
    GitPointer {
        /// The file.
        path: PathBuf,
        /// The kind of pointer, and the size of what it stands for.
        found: String,
        /// The command that fetches the file.
        fetch: &'static str,
    },
    /// A file of another kind.
    #[error("{} is {found}, not weights: {advice}", path.display())]
    NotWeights {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: String,
        /// What to do.
        advice: String,
    },
    /// The first bytes match no known format.
    #[error("{} is in no format known here, it starts with {found}; expected PyTorch .pth (zip or legacy), .safetensors or burnpack .bpk", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// Its first bytes, readable.
        found: String,
    },
    /// The file ends before its contents do.
    #[error("{} is cut off: {detail}. Fetch or copy it again", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// The missing part.
        detail: String,
    },
    /// The file contradicts itself.
    #[error("{} is damaged or not what it claims to be ({format}): {detail}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The format its first bytes announce.
        format: &'static str,
        /// The contradiction.
        detail: String,
    },
    /// A pickle that would run code when Python loads it. Nothing of it was run.
    #[error("{} needs `{global}` of Python, which has no place in a file of weights. Nothing was run. If you trust where it comes from, load it in Python and save only `model.state_dict()`", path.display())]
    ForeignCode {
        /// The file.
        path: PathBuf,
        /// The Python name that it refers to, as `module.name`.
        global: String,
    },
    /// A readable file that holds no tensor.
    #[error("{} holds no tensors; expected a state dict, plain or under any key", path.display())]
    NoTensors {
        /// The file.
        path: PathBuf,
    },
    /// Several networks in one file, of which none is clearly the one that is meant.
    #[error("{} holds {} networks: {}; {advice}", path.display(), candidates.len(), join(candidates))]
    AmbiguousNetwork {
        /// The file.
        path: PathBuf,
        /// The networks.
        candidates: Vec<Candidate>,
        /// How to choose one.
        advice: String,
    },
    /// A key or prefix under which a file holds no network.
    #[error("{} holds no network for `{asked}`; it has one under {}", path.display(), join(candidates))]
    NoSuchNetwork {
        /// The file.
        path: PathBuf,
        /// What was asked for.
        asked: String,
        /// The networks that are there.
        candidates: Vec<Candidate>,
    },
    /// Tensors that are no ResNet's under any prefix.
    #[error("{} holds {tensors} tensors but no ResNet: under no prefix are there `conv1.weight`, `bn1.weight` and `layer1.0.conv1.weight`. Its first names are {}{}", path.display(), first.join(", "), foreign_hint(foreign))]
    NoResNet {
        /// The file.
        path: PathBuf,
        /// How many tensors it has.
        tensors: usize,
        /// The first of their names.
        first: Vec<String>,
        /// A Python class in the file that nobody here knows.
        foreign: Option<String>,
    },
    /// Two tensors that have the same name.
    #[error("{} holds tensor `{name}` twice{}", path.display(), hint(detail))]
    DuplicateTensor {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
        /// The way in which two names came to be one, where that is known.
        detail: String,
    },
    /// A tensor that was asked for by name.
    #[error("{} has no tensor `{name}`", path.display())]
    MissingTensor {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// Names, shapes or element types differ from the model's.
    #[error("{0}")]
    Mismatch(Box<Mismatch>),
    /// A tensor of whole numbers or bits where real numbers are needed, or the reverse.
    #[error("tensor `{name}` in {} has element type {found}, expected {expected}", path.display())]
    WrongElementType {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The types that can be used there.
        expected: &'static str,
        /// The file's type.
        found: &'static str,
    },
    /// NaN or an infinity among the weights.
    #[error("tensor `{name}` in {} holds {value} at index {index} (flat, row-major); training that produced these weights diverged, use an earlier checkpoint", path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The first such element's place in row-major order.
        index: usize,
        /// `NaN`, `inf` or `-inf`, or a number too large for 32 bits.
        value: f64,
    },
    /// Metadata in a file of weights that cannot be understood.
    #[error("{}: its metadata entry `{key}` is not valid: {detail}", path.display())]
    InvalidMetadata {
        /// The file.
        path: PathBuf,
        /// The entry.
        key: &'static str,
        /// The fault.
        detail: String,
    },
    /// A catalogue entry that does not exist.
    #[error("the catalogue has no weights `{name}` for `{architecture}`; it has: {known}")]
    UnknownWeights {
        /// The architecture asked for.
        architecture: String,
        /// The entry asked for.
        name: String,
        /// The entries that there are.
        known: String,
    },
    /// No folder to keep downloads in.
    #[error(
        "this system names no cache directory for the user; set REKINDLE_HOME to a folder for downloads"
    )]
    NoCacheDirectory,
    /// The file is not in the cache, and downloads are off.
    #[error("offline: {} is not in the cache and downloads are off (REKINDLE_OFFLINE). Put the file there by hand, from {url}, or allow the download", path.display())]
    Offline {
        /// The address it would come from.
        url: String,
        /// The place where it would be kept.
        path: PathBuf,
    },
    /// No connection: name resolution, routing, TLS or a proxy.
    #[error("cannot reach {url}: {detail}. Check the network, or HTTPS_PROXY where a proxy is needed; a file downloaded by hand can be put at {}", path.display())]
    NoNetwork {
        /// The address.
        url: String,
        /// The place where the file would be kept.
        path: PathBuf,
        /// The failure.
        detail: String,
    },
    /// The server answered, but not with the file.
    #[error("{url} answered with HTTP status {status}{}", http_hint(*status))]
    HttpStatus {
        /// The address.
        url: String,
        /// For example 404.
        status: u16,
    },
    /// The server answered with a web page.
    #[error(
        "{url} answered with a web page (HTML) instead of a file{}: a login, consent or block page, often a proxy's. Open the address in a browser to see it",
        hint(landed)
    )]
    HtmlInsteadOfFile {
        /// The address.
        url: String,
        /// The end of a redirect, if there was one.
        landed: String,
    },
    /// The connection broke or stalled again and again.
    #[error("the download of {url} broke off at {received} of {} bytes after {attempts} attempts: {detail}. What arrived is kept; the next try continues from there", total(*expected))]
    Interrupted {
        /// The address.
        url: String,
        /// Bytes on disk.
        received: u64,
        /// Bytes in all, if the server said.
        expected: Option<u64>,
        /// Number of attempts.
        attempts: u32,
        /// The last failure.
        detail: String,
    },
    /// The download is complete, and is another file than expected.
    #[error(
        "{url} gave a file with SHA-256 {found}, expected one that begins with {expected}; it was deleted. Try again; if it happens again, the file at that address has changed or something on the way alters it"
    )]
    ChecksumMismatch {
        /// The address.
        url: String,
        /// The first hexadecimal digits that were expected.
        expected: String,
        /// The SHA-256 of what arrived, in full.
        found: String,
    },
    /// A file in the cache that is not what it should be, with downloads off.
    #[error("{} has SHA-256 {found}, expected one that begins with {expected}: it is damaged or another file, and downloads are off (REKINDLE_OFFLINE). Replace it, or allow the download", path.display())]
    DamagedCache {
        /// The file.
        path: PathBuf,
        /// The first hexadecimal digits that were expected.
        expected: String,
        /// Its SHA-256, in full.
        found: String,
    },
    /// A file name, address or checksum that a download cannot use.
    #[error("cannot download {what}: {detail}")]
    InvalidRequest {
        /// The address, file name or checksum.
        what: String,
        /// Why it is refused.
        detail: String,
    },
    /// An archive that would write outside its folder, or more than is allowed.
    #[error("{} was not unpacked: its entry `{entry}` {detail}", path.display())]
    UnsafeArchive {
        /// The archive.
        path: PathBuf,
        /// The entry's name in it.
        entry: String,
        /// Why it is refused.
        detail: String,
    },
}

impl Error {
    /// Returns true where a name or a combination of options was asked for that there is not, as opposed to a file, a
    /// download or a network that failed.
    pub fn is_invalid_option(&self) -> bool {
        match self {
            Self::UnknownArchitecture { .. }
            | Self::UnknownWeights { .. }
            | Self::UnknownStage { .. }
            | Self::AmbiguousNetwork { .. }
            | Self::NoSuchNetwork { .. }
            | Self::NotQuantizable { .. } => true,
            Self::Read { .. }
            | Self::Write { .. }
            | Self::EmptyFile { .. }
            | Self::HtmlInsteadOfWeights { .. }
            | Self::GitPointer { .. }
            | Self::NotWeights { .. }
            | Self::UnknownFormat { .. }
            | Self::Truncated { .. }
            | Self::Corrupt { .. }
            | Self::ForeignCode { .. }
            | Self::NoTensors { .. }
            | Self::NoResNet { .. }
            | Self::DuplicateTensor { .. }
            | Self::MissingTensor { .. }
            | Self::Mismatch(_)
            | Self::WrongElementType { .. }
            | Self::NotFinite { .. }
            | Self::InvalidMetadata { .. }
            | Self::NoCacheDirectory
            | Self::Offline { .. }
            | Self::NoNetwork { .. }
            | Self::HttpStatus { .. }
            | Self::HtmlInsteadOfFile { .. }
            | Self::Interrupted { .. }
            | Self::ChecksumMismatch { .. }
            | Self::DamagedCache { .. }
            | Self::InvalidRequest { .. }
            | Self::UnsafeArchive { .. } => false,
        }
    }

    pub(crate) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Read { path, source }
    }

    pub(crate) fn write(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Write { path, source }
    }

    pub(crate) fn corrupt(path: &Path, format: &'static str, detail: impl fmt::Display) -> Self {
        Self::Corrupt {
            path: path.to_path_buf(),
            format,
            detail: detail.to_string(),
        }
    }

    pub(crate) fn truncated(path: &Path, detail: impl fmt::Display) -> Self {
        Self::Truncated {
            path: path.to_path_buf(),
            detail: detail.to_string(),
        }
    }
}

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

fn join(candidates: &[Candidate]) -> String {
    const SHOWN: usize = 8;
    let shown = candidates.iter().take(SHOWN).map(Candidate::to_string);
    let more = candidates.len().saturating_sub(SHOWN);
    let more = (more > 0).then(|| format!("{more} more"));
    shown.chain(more).collect::<Vec<_>>().join(", ")
}

fn foreign_hint(class: &Option<String>) -> String {
    class.as_ref().map_or_else(String::new, |class| {
        format!("; objects of `{class}` were passed over")
    })
}

/// The architecture whose name is a slip of the keyboard away.
fn nearest(found: &str) -> String {
    let names = crate::Architecture::ALL.map(crate::Architecture::name);
    let mut near: Vec<(usize, &str)> = names
        .iter()
        .map(|name| {
            (
                strsim::damerau_levenshtein(&found.to_ascii_lowercase(), name),
                *name,
            )
        })
        .filter(|(distance, _)| *distance <= 2)
        .collect();
    let least = near.iter().map(|(distance, _)| *distance).min();
    near.retain(|(distance, _)| Some(*distance) == least);
    let near: Vec<&str> = near.into_iter().map(|(_, name)| name).collect();
    match near.is_empty() {
        true => String::new(),
        false => format!(", did you mean {}?", near.join(" or ")),
    }
}

fn hint(detail: &str) -> String {
    if detail.is_empty() {
        String::new()
    } else {
        format!(" ({detail})")
    }
}

fn total(expected: Option<u64>) -> String {
    expected.map_or_else(|| "an unknown number of".to_string(), |n| n.to_string())
}

fn http_hint(status: u16) -> &'static str {
    match status {
        401 | 403 => {
            ": access is refused, the address may need a login or a licence to be accepted"
        }
        404 | 410 => ": there is no such file, check the address",
        407 => ": a proxy wants a user name and password, put them into HTTPS_PROXY",
        429 => ": too many requests, wait a few minutes",
        500..=599 => ": the server has a problem of its own, try again later",
        _ => "",
    }
}
