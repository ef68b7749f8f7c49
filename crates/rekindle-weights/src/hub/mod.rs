//! Downloads, verified and kept.
//!
//! ```no_run
//! use rekindle_weights::{RemoteFile, hub::{ConsoleProgress, Hub}};
//!
//! let url = "https://download.pytorch.org/models/mobilenet_v2-7ebf99e0.pth";
//! let file = RemoteFile::new(url).with_sha256("7ebf99e0");
//! let mut console = ConsoleProgress::new(&file.name);
//! let path = Hub::new()?.weights(file, &mut console.reporter())?;
//! let checkpoint = rekindle_weights::read(path)?;
//! # Ok::<(), rekindle_weights::Error>(())
//! ```
//!
//! [`Hub::repository`] does so for the weights of a [`Repository`](crate::Repository) on the Hugging Face hub.

mod answer;
mod archive;
mod checksum;
mod connection;
mod download;
mod hugging_face;
mod listing;
mod progress;
mod token;

use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{Error, RemoteFile, sha256};

pub use archive::unzip;
pub use hugging_face::RepositoryWeights;
pub use progress::{ConsoleProgress, Progress};

use checksum::Checksum;
use token::Token;

/// A cache of downloaded files.
///
/// A download goes to a temporary name in the cache, is verified against its SHA-256 and then
/// renamed, so a file under its own name is always whole. What a broken connection left behind is
/// continued by the next try. Processes that want the same file at the same time wait for each
/// other. A proxy is taken from `ALL_PROXY`, `HTTPS_PROXY` or `HTTP_PROXY`, except for the hosts
/// in `NO_PROXY` and this machine itself.
#[derive(Clone)]
pub struct Hub {
    folder: PathBuf,
    offline: bool,
    settings: Settings,
    /// Address of the Hugging Face hub, without a slash at its end.
    endpoint: String,
    token: Option<String>,
}

/// The Hugging Face hub's own address.
const HUGGING_FACE: &str = "https://huggingface.co";

/// A file that is to be in the cache.
struct Request<'a> {
    url: &'a str,
    path: &'a Path,
    sha256: Option<&'a str>,
    size: Option<u64>,
    token: Option<&'a Token>,
}

/// Time-outs and retries of a download.
#[derive(Clone)]
struct Settings {
    connect: Duration,
    stall: Duration,
    attempts: u32,
    pause: Duration,
    proxy: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            stall: Duration::from_secs(30),
            attempts: 4,
            pause: Duration::from_millis(500),
            proxy: None,
        }
    }
}

impl Hub {
    /// Opens the user's cache: the folder that `REKINDLE_HOME` names, else `rekindle` in the system's cache directory
    /// (`~/.cache` on Linux). Downloads are off if `REKINDLE_OFFLINE` is set to
    /// anything but `0` or nothing.
    ///
    /// The Hugging Face hub is at `HF_ENDPOINT` (by default <https://huggingface.co>); the token for it, and for nobody
    /// else, is taken from `HF_TOKEN`, else from the file that `HF_TOKEN_PATH` names, else from `token` in the folder
    /// `HF_HOME` (`~/.cache/huggingface`).
    ///
    /// # Errors
    /// [`Error::NoCacheDirectory`] if neither folder is known.
    pub fn new() -> Result<Self, Error> {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty());
        let folder = set("REKINDLE_HOME")
            .map(PathBuf::from)
            .or_else(|| dirs::cache_dir().map(|cache| cache.join("rekindle")))
            .ok_or(Error::NoCacheDirectory)?;
        let offline = set("REKINDLE_OFFLINE").is_some_and(|value| value != OsStr::new("0"));
        let mut hub = Self::at(folder).offline(offline);
        if let Ok(endpoint) = env::var("HF_ENDPOINT")
            && !endpoint.is_empty()
        {
            hub = hub.endpoint(endpoint);
        }
        hub.token = token::from_environment();
        Ok(hub)
    }

    /// Opens a cache in a folder of your choice, whatever the environment says. It is made when needed.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            offline: false,
            settings: Settings::default(),
            endpoint: HUGGING_FACE.to_string(),
            token: None,
        }
    }

    /// Sets the address of the Hugging Face hub, or of a server that speaks as it does (default
    /// <https://huggingface.co>).
    #[must_use]
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoint = url.into().trim_end_matches('/').to_string();
        self
    }

    /// Sets the token for private and gated repositories of the Hugging Face hub; by default there is none. It is sent
    /// to the endpoint alone, not to where that redirects.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Sets whether only what is in the cache is used; by default, it is not.
    #[must_use]
    pub fn offline(mut self, offline: bool) -> Self {
        self.offline = offline;
        self
    }

    /// Sets how often a download is tried when the connection breaks, at least once (default 4), and the pause
    /// before the second try, which doubles with each (default half a second).
    #[must_use]
    pub fn attempts(mut self, attempts: u32, pause: Duration) -> Self {
        self.settings.attempts = attempts.max(1);
        self.settings.pause = pause;
        self
    }

    /// Sets how long to wait for a connection (default 15 s), and for a server that has fallen silent
    /// (default 30 s).
    #[must_use]
    pub fn timeouts(mut self, connect: Duration, stall: Duration) -> Self {
        self.settings.connect = connect;
        self.settings.stall = stall;
        self
    }

    /// Sets a proxy to use instead of the environment's, such as `http://user:password@host:8080`.
    #[must_use]
    pub fn proxy(mut self, url: impl Into<String>) -> Self {
        self.settings.proxy = Some(url.into());
        self
    }

    /// Returns the folder that holds the cache.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the file of a catalogue's entry, or of any other description, downloaded if it is not in the cache.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn weights(
        &self,
        file: impl Into<RemoteFile>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<PathBuf, Error> {
        let file = file.into();
        let mut with_size = |step: Progress| match step {
            Progress::Receiving {
                received,
                total: None,
            } => progress(Progress::Receiving {
                received,
                total: file.size.filter(|size| received <= *size),
            }),
            step => progress(step),
        };
        self.fetch(
            &file.url,
            &file.name,
            file.sha256.as_deref(),
            &mut with_size,
        )
    }

    /// Returns the file at an address, downloaded if it is not in the cache under `file_name`.
    ///
    /// `sha256_prefix` holds the first hexadecimal digits of its SHA-256, as many as are known.
    /// Without it nothing tells a wrong file from the right one, and a download that another
    /// process left unfinished starts over.
    ///
    /// # Errors
    /// [`Error::Offline`], [`Error::NoNetwork`], [`Error::HttpStatus`],
    /// [`Error::HtmlInsteadOfFile`], [`Error::Interrupted`], [`Error::ChecksumMismatch`],
    /// [`Error::DamagedCache`], [`Error::InvalidRequest`], and [`Error::Read`] or
    /// [`Error::Write`] where the disk is the trouble.
    pub fn fetch(
        &self,
        url: &str,
        file_name: &str,
        sha256_prefix: Option<&str>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<PathBuf, Error> {
        check_request(url, file_name)?;
        self.obtain(
            &Request {
                url,
                path: &self.folder.join("downloads").join(file_name),
                sha256: sha256_prefix,
                size: None,
                token: None,
            },
            progress,
        )
    }

    /// Returns a file of the cache, downloaded if it is not there.
    fn obtain(
        &self,
        request: &Request,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<PathBuf, Error> {
        let Request {
            url,
            path,
            size,
            token,
            ..
        } = *request;
        let checksum = request.sha256.map(Checksum::new).transpose()?;
        if let Some(found) = self.cached(path, checksum.as_ref(), size)? {
            return Ok(found);
        }
        if self.offline {
            return Err(Error::Offline {
                url: url.to_string(),
                path: path.to_path_buf(),
            });
        }
        let _lock = lock(path, progress)?;
        // Whoever held the lock may have brought the file.
        if let Some(found) = self.cached(path, checksum.as_ref(), size)? {
            return Ok(found);
        }
        download::Download {
            url,
            path,
            checksum: checksum.as_ref(),
            size,
            limit: size.unwrap_or(u64::MAX),
            token,
            settings: &self.settings,
        }
        .run(progress)?;
        Ok(path.to_path_buf())
    }

    /// Returns the folder with the contents of a zip archive, downloaded and unpacked if it is not there.
    /// It is named after the archive, without its extension.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch) and [`unzip`]; `limit` bounds the unpacked bytes.
    pub fn fetch_archive(
        &self,
        url: &str,
        file_name: &str,
        sha256_prefix: Option<&str>,
        limit: u64,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<PathBuf, Error> {
        check_request(url, file_name)?;
        let stem = Path::new(file_name)
            .file_stem()
            .unwrap_or(OsStr::new("archive"));
        let folder = self.folder.join("unpacked").join(stem);
        if folder.is_dir() {
            return Ok(folder);
        }
        let archive = self.fetch(url, file_name, sha256_prefix, progress)?;
        let _lock = lock(&folder, progress)?;
        if !folder.is_dir() {
            progress(Progress::Unpacking);
            unzip(&archive, &folder, limit)?;
        }
        Ok(folder)
    }

    /// Returns the file, if it is there and is the right one. A damaged one is an error offline, and otherwise out of
    /// the way of a new download.
    fn cached(
        &self,
        path: &Path,
        checksum: Option<&Checksum>,
        size: Option<u64>,
    ) -> Result<Option<PathBuf>, Error> {
        let Some(there) = fs::metadata(path).ok().filter(fs::Metadata::is_file) else {
            return Ok(None);
        };
        let Some(checksum) = checksum else {
            let is_whole = size.is_none_or(|size| size == there.len());
            return Ok(is_whole.then(|| path.to_path_buf()));
        };
        let found = sha256(path)?;
        if checksum.matches(&found) {
            return Ok(Some(path.to_path_buf()));
        }
        if self.offline {
            return Err(Error::DamagedCache {
                path: path.to_path_buf(),
                expected: checksum.to_string(),
                found,
            });
        }
        Ok(None)
    }
}

/// Leaves out the proxy, whose address may hold a password, and the token.
impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("folder", &self.folder)
            .field("offline", &self.offline)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// A file name is one name, so that nothing lands outside the cache.
fn check_request(url: &str, file_name: &str) -> Result<(), Error> {
    let invalid = |what: &str, detail: &str| Error::InvalidRequest {
        what: format!("`{what}`"),
        detail: detail.to_string(),
    };
    if !url.starts_with("https://") && !url.starts_with("http://") {
        return Err(invalid(url, "an address starts with https:// or http://"));
    }
    let one_name = Path::new(file_name).file_name() == Some(OsStr::new(file_name));
    if !one_name || file_name.contains(['/', '\\', ':', '\0']) || file_name.starts_with('.') {
        return Err(invalid(
            file_name,
            "a file name has no folders in it and does not start with a dot",
        ));
    }
    Ok(())
}

/// Holds `PATH.lock` until dropped; the system lets go of it if the process dies.
fn lock(path: &Path, progress: &mut dyn FnMut(Progress)) -> Result<File, Error> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(Error::write(folder))?;
    let name = with_suffix(path, ".lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&name)
        .map_err(Error::write(&name))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            progress(Progress::Waiting);
            file.lock().map_err(Error::write(&name))?;
            Ok(file)
        }
        Err(TryLockError::Error(error)) => Err(Error::write(&name)(error)),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(suffix);
    PathBuf::from(name)
}
