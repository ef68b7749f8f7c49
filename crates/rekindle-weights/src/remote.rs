//! A file that can be downloaded.

/// A file to download: what a catalogue says about it, whatever it holds.
///
/// ```
/// use rekindle_weights::RemoteFile;
///
/// let file = RemoteFile::new("https://download.pytorch.org/models/mobilenet_v2-7ebf99e0.pth")
///     .with_sha256("7ebf99e0");
/// assert_eq!(file.name, "mobilenet_v2-7ebf99e0.pth");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RemoteFile {
    /// Its address.
    pub url: String,
    /// The name under which it is kept.
    pub name: String,
    /// The first hexadecimal digits of its SHA-256, as many as are known.
    pub sha256: Option<String>,
    /// Its size in bytes, where that is known: what a progress bar goes by where the server doesn't say.
    pub size: Option<u64>,
}

impl RemoteFile {
    /// Returns the file at an address, which is kept under the last part of it.
    pub fn new(url: impl Into<String>) -> Self {
        let url = url.into();
        let path = url.split(['?', '#']).next().unwrap_or_default();
        let name = path.rsplit('/').next().unwrap_or_default().to_string();
        Self {
            url,
            name,
            sha256: None,
            size: None,
        }
    }

    /// Sets the name under which it is kept.
    pub fn with_name(self, name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..self
        }
    }

    /// Sets the first hexadecimal digits of its SHA-256, as many as are known.
    pub fn with_sha256(self, prefix: impl Into<String>) -> Self {
        Self {
            sha256: Some(prefix.into()),
            ..self
        }
    }

    /// Sets its size in bytes.
    pub fn with_size(self, bytes: u64) -> Self {
        Self {
            size: Some(bytes),
            ..self
        }
    }
}
