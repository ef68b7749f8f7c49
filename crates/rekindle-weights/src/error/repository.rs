//! Errors of repositories on the Hugging Face hub.

/// A text that names no repository of models.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RepositoryNameError {
    /// The text has another form.
    #[error(
        "{text:?} names no repository of the Hugging Face hub; expected hf:OWNER/NAME, hf:OWNER/NAME@REVISION, hf:OWNER/NAME@REVISION:FILE, or the address of a model's page"
    )]
    NotAName {
        /// The text.
        text: String,
    },
    /// A part of it that the hub would not take.
    #[error("{part:?} can't be the {role} in {text:?}: {detail}; expected hf:OWNER/NAME@REVISION")]
    InvalidPart {
        /// The text.
        text: String,
        /// Role of the part: owner, name, revision or file.
        role: &'static str,
        /// The part.
        part: String,
        /// The reason.
        detail: &'static str,
    },
    /// A repository of another kind.
    #[error("{text:?} is a {kind}, which holds no weights; give a repository of models")]
    NotAModel {
        /// The text.
        text: String,
        /// Kind of what the text names instead.
        kind: &'static str,
    },
}

/// Reason why the weights of a repository on the Hugging Face hub are unavailable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RepositoryError {
    /// Its owner wants terms to be accepted first.
    #[error("{repository} is gated (HTTP status {status}): accept its terms at {page}, {}", gate_hint(*has_token))]
    Gated {
        /// The repository.
        repository: String,
        /// Its page.
        page: String,
        /// 401 or 403.
        status: u16,
        /// True if a token was sent.
        has_token: bool,
    },
    /// Unknown or private: the hub does not say which.
    #[error("the hub refuses {repository} (HTTP status {status}): {}; its page would be {page}", refusal_hint(*has_token))]
    Refused {
        /// The repository.
        repository: String,
        /// Its page.
        page: String,
        /// 401 or 403.
        status: u16,
        /// True if a token was sent.
        has_token: bool,
    },
    /// There is none of this name.
    #[error("there is no {repository} (HTTP status 404): check the name; its page would be {page}")]
    NotFound {
        /// The repository.
        repository: String,
        /// Its page.
        page: String,
    },
    /// The repository is there, the revision is not.
    #[error(
        "{repository} has no revision {revision:?}: give a branch, a tag or a commit of {page}/commits"
    )]
    NoSuchRevision {
        /// The repository.
        repository: String,
        /// The revision asked for.
        revision: String,
        /// Its page.
        page: String,
    },
    /// A file that was named and is not in it.
    #[error("{repository} has no file {file:?}; it has {}", listed(known))]
    NoSuchFile {
        /// The repository.
        repository: String,
        /// The file asked for.
        file: String,
        /// Files that could hold weights, or all where none could.
        known: Vec<String>,
    },
    /// Nothing in it could hold weights.
    #[error(
        "{repository} holds no file of weights (.safetensors, .bin, .pth, .pt or .ckpt); it has {}",
        listed(files)
    )]
    NoWeights {
        /// The repository.
        repository: String,
        /// Its files.
        files: Vec<String>,
    },
    /// Several files of weights, none of which has the usual name.
    #[error(
        "{repository} holds several files of weights: {}; name one, such as {example}",
        listed(files)
    )]
    SeveralFiles {
        /// The repository.
        repository: String,
        /// The files.
        files: Vec<String>,
        /// One of them as it is named.
        example: String,
    },
    /// Weights that are spread over several files.
    #[error(
        "the weights of {repository} are in parts, such as {file}, which are not put together here: networks of that size are no backbones; give a repository with one file of weights"
    )]
    Sharded {
        /// The repository.
        repository: String,
        /// One of the parts.
        file: String,
    },
    /// Neither the cache nor the network has it.
    #[error(
        "{repository} is not in the cache ({cache}), and {reason}; a file downloaded by hand can be given by its path"
    )]
    NotCached {
        /// The repository.
        repository: String,
        /// The folder that would hold it.
        cache: String,
        /// The reason.
        reason: String,
    },
    /// The hub said something that can't be followed.
    #[error("{from} does not describe a repository: {detail}. Check HF_ENDPOINT where it is set")]
    InvalidAnswer {
        /// The address, or the file of the cache.
        from: String,
        /// The fault.
        detail: String,
    },
}

impl RepositoryError {
    /// Returns true where something was asked for that there is not.
    pub(super) fn is_invalid_option(&self) -> bool {
        match self {
            Self::NotFound { .. }
            | Self::NoSuchRevision { .. }
            | Self::NoSuchFile { .. }
            | Self::SeveralFiles { .. } => true,
            Self::Gated { .. }
            | Self::Refused { .. }
            | Self::NoWeights { .. }
            | Self::Sharded { .. }
            | Self::NotCached { .. }
            | Self::InvalidAnswer { .. } => false,
        }
    }
}

fn gate_hint(has_token: bool) -> &'static str {
    match has_token {
        true => "with the account that the token in HF_TOKEN belongs to",
        false => "then set HF_TOKEN to a token of that account",
    }
}

fn refusal_hint(has_token: bool) -> &'static str {
    match has_token {
        true => {
            "there is none of this name, or the token that was sent has expired or may not read it; check the name and HF_TOKEN"
        }
        false => {
            "there is none of this name, or it is private; check the name, and set HF_TOKEN to a token that may read a private one"
        }
    }
}

/// Lists the first of some names.
fn listed(names: &[String]) -> String {
    if names.is_empty() {
        return "no files".to_string();
    }
    let shown: Vec<&str> = names.iter().take(SHOWN).map(String::as_str).collect();
    let more = match names.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", shown.join(", "))
}

const SHOWN: usize = 12;
