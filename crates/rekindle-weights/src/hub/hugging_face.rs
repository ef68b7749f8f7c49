//! Repositories of the Hugging Face hub, in the cache.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::PathBuf;

use super::download::Download;
use super::listing::{self, Listing};
use super::token::Token;
use super::{Hub, Progress, Request, lock, with_suffix};
use crate::error::RepositoryError;
use crate::{Error, Repository, config, write_atomically};

/// Size limit in bytes for the hub's answer about a repository.
const LONGEST_ANSWER: u64 = 64 << 20;

/// The weights of a repository, in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepositoryWeights {
    /// The file. The repository's `config.json` and `preprocessor_config.json` are beside it, where it has them.
    pub path: PathBuf,
    /// The repository at the commit that the file is of: `hf:owner/name@commit`, and the file where it is not the usual
    /// one.
    pub repository: Repository,
    /// Says where the hub could not be asked, and the cache answered in its place.
    pub note: Option<String>,
}

impl Hub {
    /// Returns the weights of a repository, downloaded if they are not in the cache.
    ///
    /// The hub is asked for the commit and the files of the revision, then the one file of weights is downloaded, which
    /// must have the size and the SHA-256 that the hub says: `model.safetensors`, else the only other safetensors, else
    /// `pytorch_model.bin`, else the only `.bin`, `.pth`, `.pt` or `.ckpt`; [`Repository::file`] names another. Where the
    /// hub can't be reached, the last answer in the cache stands.
    ///
    /// ```no_run
    /// use rekindle_weights::hub::Hub;
    ///
    /// let repository = "hf:timm/tf_efficientnet_lite0.in1k".parse()?;
    /// let weights = Hub::new()?.repository(&repository, &mut |_| ())?;
    /// println!("{} in {}", weights.repository, weights.path.display());
    /// # Ok::<(), rekindle_weights::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Repository`], [`Error::WrongSize`], and as [`fetch`](Self::fetch).
    pub fn repository(
        &self,
        repository: &Repository,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<RepositoryWeights, Error> {
        let client = Client::new(self, repository)?;
        let Asked {
            listing,
            answer,
            note,
        } = client.ask(progress)?;
        let file = listing.weights(repository)?;
        for name in config::BESIDE {
            let described = listing.beside(file, name);
            if let Some(found) = described.filter(|found| found.size <= Some(config::LONGEST)) {
                client.fetch(&listing, found, &mut essential(progress))?;
            }
        }
        let path = client.fetch(&listing, file, progress)?;
        if let Some(answer) = answer {
            // Not before all is there: what the cache answers must be in it.
            write_atomically(&client.kept_answer(), |mut file| file.write_all(&answer))?;
        }
        Ok(RepositoryWeights {
            path,
            repository: repository.at_commit(&listing.commit, &file.path),
            note,
        })
    }
}

/// One repository of one hub.
struct Client<'a> {
    hub: &'a Hub,
    repository: &'a Repository,
    token: Option<Token>,
    /// The folder of the repository in the cache.
    folder: PathBuf,
}

/// Information about the repository.
struct Asked {
    listing: Listing,
    /// The answer as it came, where it is new.
    answer: Option<Vec<u8>>,
    note: Option<String>,
}

impl<'a> Client<'a> {
    fn new(hub: &'a Hub, repository: &'a Repository) -> Result<Self, Error> {
        let endpoint = &hub.endpoint;
        let authority = endpoint.split_once("://").map(|(scheme, rest)| {
            let is_known = scheme == "https" || scheme == "http";
            is_known && !rest.is_empty() && !rest.contains(['@', '?', '#', ' '])
        });
        if authority != Some(true) {
            return Err(Error::InvalidRequest {
                what: "from the address in HF_ENDPOINT".to_string(),
                detail: "it is no plain address, such as https://huggingface.co (a token belongs into HF_TOKEN)"
                    .to_string(),
            });
        }
        let token = hub.token.as_deref().map(str::trim);
        let token = token.filter(|token| !token.is_empty());
        Ok(Self {
            hub,
            repository,
            token: token.map(|token| Token::new(token, endpoint)).transpose()?,
            folder: hub.folder.join(repository.folder()),
        })
    }

    /// Asks the hub, or the cache where it knows the answer or the hub can't be reached.
    fn ask(&self, progress: &mut dyn FnMut(Progress)) -> Result<Asked, Error> {
        let kept = self.kept_answer();
        let from_cache = |note: Option<String>| -> Result<Option<Asked>, Error> {
            let Ok(answer) = fs::read(&kept) else {
                return Ok(None);
            };
            let listing = Listing::read(&answer, &kept.display().to_string())?;
            let note = note.map(|why| {
                let (repository, commit) = (self.repository, &listing.commit);
                format!("{why}; {repository} as it was when last asked for, commit {commit}")
            });
            Ok(Some(Asked {
                listing,
                answer: None,
                note,
            }))
        };
        // What a commit holds doesn't change.
        if self.repository.is_pinned()
            && let Ok(Some(asked)) = from_cache(None)
        {
            return Ok(asked);
        }
        if self.hub.offline {
            let note = "downloads are off (REKINDLE_OFFLINE)".to_string();
            let found = from_cache(Some(note.clone()))?;
            return found.ok_or_else(|| self.not_cached(note));
        }
        let url = self.api_url();
        let error = match self.download_answer(&url, progress) {
            Ok(answer) => {
                let listing = Listing::read(&answer, &url)?;
                self.check_commit(&listing, &url)?;
                return Ok(Asked {
                    listing,
                    answer: Some(answer),
                    note: None,
                });
            }
            Err(error) => error,
        };
        let Some(reason) = absence(&error) else {
            return Err(self.explained(error));
        };
        match from_cache(Some(reason.clone())) {
            Ok(Some(asked)) => Ok(asked),
            _ if matches!(error, Error::NoNetwork { .. }) => Err(self.not_cached(format!(
                "{reason}: check the network, or HTTPS_PROXY where a proxy is needed"
            ))),
            _ => Err(error),
        }
    }

    fn download_answer(
        &self,
        url: &str,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<u8>, Error> {
        let path = with_suffix(&self.kept_answer(), ".new");
        let _lock = lock(&path, progress)?;
        Download {
            url,
            path: &path,
            checksum: None,
            size: None,
            limit: LONGEST_ANSWER,
            token: self.token.as_ref(),
            settings: &self.hub.settings,
        }
        .run(&mut essential(progress))?;
        let mut answer = Vec::new();
        File::open(&path)
            .and_then(|mut file| file.read_to_end(&mut answer))
            .map_err(Error::read(&path))?;
        fs::remove_file(&path).map_err(Error::write(&path))?;
        Ok(answer)
    }

    /// Downloads a file of the commit that a listing is of.
    fn fetch(
        &self,
        listing: &Listing,
        file: &listing::File,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<PathBuf, Error> {
        let (owner, name) = (self.repository.owner(), self.repository.name());
        let (endpoint, commit) = (&self.hub.endpoint, &listing.commit);
        let path = encoded(&file.path, "/");
        let folder = self.folder.join(commit);
        let request = Request {
            url: &format!("{endpoint}/{owner}/{name}/resolve/{commit}/{path}"),
            path: &file.path.split('/').fold(folder, |at, part| at.join(part)),
            sha256: file.sha256.as_deref(),
            size: file.size,
            token: self.token.as_ref(),
        };
        let fetched = self.hub.obtain(&request, progress);
        fetched.map_err(|error| match &error {
            // The server that the file is on says nothing about the repository.
            Error::HttpStatus { code, .. } if code.is_empty() => error,
            _ => self.explained(error),
        })
    }

    /// Refuses another commit than the one that was asked for.
    fn check_commit(&self, listing: &Listing, url: &str) -> Result<(), RepositoryError> {
        let asked = self.repository.revision();
        if !self.repository.is_pinned() || listing.commit.eq_ignore_ascii_case(asked) {
            return Ok(());
        }
        Err(RepositoryError::InvalidAnswer {
            from: url.to_string(),
            detail: format!("it is about commit {}, not {asked}", listing.commit),
        })
    }

    fn api_url(&self) -> String {
        let (owner, name) = (self.repository.owner(), self.repository.name());
        let revision = encoded(self.repository.revision(), "");
        let endpoint = &self.hub.endpoint;
        format!("{endpoint}/api/models/{owner}/{name}/revision/{revision}?blobs=true")
    }

    /// Returns the file that keeps what the hub said about the revision.
    fn kept_answer(&self) -> PathBuf {
        let name = encoded(self.repository.revision(), "");
        self.folder.join("revisions").join(format!("{name}.json"))
    }

    fn not_cached(&self, reason: String) -> Error {
        let error = RepositoryError::NotCached {
            repository: self.repository.to_string(),
            cache: self.folder.display().to_string(),
            reason,
        };
        error.into()
    }

    /// Says what a refusal of the hub means for who asked.
    fn explained(&self, error: Error) -> Error {
        let Error::HttpStatus { status, code, .. } = &error else {
            return error;
        };
        let (status, has_token) = (*status, self.token.is_some());
        let (owner, name) = (self.repository.owner(), self.repository.name());
        let page = format!("{}/{owner}/{name}", self.hub.endpoint);
        let repository = self.repository.to_string();
        let explained = match (status, code.as_str()) {
            (401 | 403, "GatedRepo") => RepositoryError::Gated {
                repository,
                page,
                status,
                has_token,
            },
            (401 | 403, _) => RepositoryError::Refused {
                repository,
                page,
                status,
                has_token,
            },
            (404, "RevisionNotFound") => RepositoryError::NoSuchRevision {
                repository: format!("hf:{owner}/{name}"),
                revision: self.repository.revision().to_string(),
                page,
            },
            (404, "EntryNotFound") => return error,
            (404, _) => RepositoryError::NotFound { repository, page },
            _ => return error,
        };
        explained.into()
    }
}

/// Says in short why the hub gave no answer; none where it answered.
fn absence(error: &Error) -> Option<String> {
    match error {
        Error::NoNetwork { url, detail, .. } => Some(format!("cannot reach {url} ({detail})")),
        Error::Interrupted { url, detail, .. } => {
            Some(format!("no whole answer from {url} ({detail})"))
        }
        Error::HtmlInsteadOfFile { url, .. } => {
            Some(format!("{url} answered with a web page, often a proxy's"))
        }
        Error::HttpStatus { url, status, .. } if *status >= 500 || *status == 429 => {
            Some(format!("{url} answered with HTTP status {status}"))
        }
        _ => None,
    }
}

/// Passes on what is worth saying about a small download.
fn essential(progress: &mut dyn FnMut(Progress)) -> impl FnMut(Progress) + '_ {
    |step| {
        if matches!(step, Progress::Waiting | Progress::Retrying { .. }) {
            progress(step);
        }
    }
}

/// Writes a text for an address: `%2F` and the like for what is no letter, digit or one of `-_.~` and `kept`.
fn encoded(text: &str, kept: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match char::from(byte) {
            c if c.is_ascii_alphanumeric() || "-_.~".contains(c) || kept.contains(c) => {
                encoded.push(c);
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
