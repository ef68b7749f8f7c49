//! Errors of files and downloads, with what to do about them.

mod candidate;
mod mismatch;
mod repository;
mod wording;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub use candidate::Candidate;
pub use mismatch::{Mismatch, Misshapen};
pub use repository::{RepositoryError, RepositoryNameError};
pub(crate) use wording::printable;

use candidate::join;
use wording::{foreign_hint, hint, http_hint, total};

/// Everything that this crate refuses, in the reader's terms.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
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
        /// Description of the file.
        found: String,
        /// Advice on what to do.
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
        /// Advice on how to choose one.
        advice: String,
    },
    /// A key or prefix under which a file holds no network.
    #[error("{} holds no network for `{asked}`; it has one under {}", path.display(), join(candidates))]
    NoSuchNetwork {
        /// The file.
        path: PathBuf,
        /// Name that was asked for.
        asked: String,
        /// The networks that are there.
        candidates: Vec<Candidate>,
    },
    /// Tensors that are no network's under any prefix.
    #[error("{} holds {tensors} tensors but no {sought}. Its first names are {}{}", path.display(), first.join(", "), foreign_hint(foreign))]
    UnknownNetwork {
        /// The file.
        path: PathBuf,
        /// Number of tensors in the file.
        tensors: usize,
        /// The kinds of network that were looked for, and the tensors that they would have.
        sought: String,
        /// The first of the file's names.
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
    /// A description beside a file of weights that can't be read.
    #[error("{} describes the weights beside it and can't be read: {detail}. Fetch it again, or take it away: the weights can do without", path.display())]
    InvalidConfig {
        /// The file.
        path: PathBuf,
        /// The fault.
        detail: String,
    },
    /// A name of a repository that can't be one.
    #[error(transparent)]
    RepositoryName(#[from] RepositoryNameError),
    /// A repository of the Hugging Face hub that can't be used.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
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
        /// HTTP status, for example 404.
        status: u16,
        /// The server's own name for the failure (`X-Error-Code`); mostly empty.
        code: String,
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
    /// The download has another size than the hub says.
    #[error(
        "{url} gave a file of {found} bytes, expected {expected}; it was deleted. Try again; if it happens again, something on the way alters it"
    )]
    WrongSize {
        /// The address.
        url: String,
        /// Bytes that were expected.
        expected: u64,
        /// Bytes that arrived, as far as they were counted.
        found: u64,
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
        /// The reason.
        detail: String,
    },
    /// An archive that would write outside its folder, or more than is allowed.
    #[error("{} was not unpacked: its entry `{entry}` {detail}", path.display())]
    UnsafeArchive {
        /// The archive.
        path: PathBuf,
        /// The entry's name in it.
        entry: String,
        /// The reason.
        detail: String,
    },
}

impl Error {
    /// Returns true where a name or a combination of options was asked for that there is not, as opposed to a file, a
    /// download or a network that failed.
    pub fn is_invalid_option(&self) -> bool {
        match self {
            Self::AmbiguousNetwork { .. }
            | Self::NoSuchNetwork { .. }
            | Self::RepositoryName(_) => true,
            Self::Repository(error) => error.is_invalid_option(),
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
            | Self::UnknownNetwork { .. }
            | Self::DuplicateTensor { .. }
            | Self::MissingTensor { .. }
            | Self::Mismatch(_)
            | Self::WrongElementType { .. }
            | Self::NotFinite { .. }
            | Self::InvalidMetadata { .. }
            | Self::InvalidConfig { .. }
            | Self::NoCacheDirectory
            | Self::Offline { .. }
            | Self::NoNetwork { .. }
            | Self::HttpStatus { .. }
            | Self::HtmlInsteadOfFile { .. }
            | Self::Interrupted { .. }
            | Self::ChecksumMismatch { .. }
            | Self::WrongSize { .. }
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
