//! Detects pointer files, which stand in for content that is stored elsewhere.

use std::fmt;
use std::fs;
use std::path::{Component, Path};

/// A Git LFS pointer is shorter than this, by its specification.
const LFS_BYTES: usize = 1024;

/// A link into git-annex's store is shorter than this.
const LINK_BYTES: usize = 512;

/// The first words of a Git LFS pointer, today's and those from before its release.
const LFS_VERSIONS: [&[u8]; 2] = [
    b"version https://git-lfs.github.com/spec/",
    b"version https://hawser.github.com/spec/",
];

/// A small file, or a link, in place of one that has not been fetched. Its text says which and what fetches the file.
///
/// ```
/// use rekindle_files::Pointer;
///
/// let bytes = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 104211\n";
/// assert_eq!(Pointer::in_bytes(bytes), Some(Pointer::GitLfs { size: Some(104_211) }));
/// assert_eq!(Pointer::in_bytes(b"\x89PNG"), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pointer {
    /// Pointer of [Git LFS](https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md).
    GitLfs {
        /// Bytes of the file, as the pointer says.
        size: Option<u64>,
    },
    /// Pointer of git-annex.
    GitAnnex,
}

impl Pointer {
    /// Recognises a pointer by a file's content, of which the first kilobyte is enough.
    pub fn in_bytes(bytes: &[u8]) -> Option<Self> {
        // The second is a link on a system without links.
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or(bytes);
        let line = &line[..line.len().min(LINK_BYTES)];
        let stored = b".git/annex/objects/";
        if bytes.starts_with(b"/annex/objects/")
            || (str::from_utf8(line).is_ok() && line.windows(stored.len()).any(|at| at == stored))
        {
            return Some(Self::GitAnnex);
        }
        let is_lfs = LFS_VERSIONS.iter().any(|start| bytes.starts_with(start));
        if !is_lfs {
            return None;
        }
        let size = bytes[..bytes.len().min(LFS_BYTES)]
            .split(|byte| *byte == b'\n')
            .find_map(|line| line.strip_prefix(b"size "))
            .and_then(|digits| str::from_utf8(digits).ok()?.trim().parse().ok());
        Some(Self::GitLfs { size })
    }

    /// Recognises the link that git-annex leaves: it leads into `.git/annex/objects`, where there is nothing yet.
    pub fn behind_link(path: &Path) -> Option<Self> {
        let target = fs::read_link(path).ok()?;
        let parts: Vec<Component<'_>> = target.components().collect();
        let is_annex = parts
            .windows(2)
            .any(|pair| pair[0].as_os_str() == "annex" && pair[1].as_os_str() == "objects");
        (is_annex && !path.exists()).then_some(Self::GitAnnex)
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GitLfs { size: Some(size) } => write!(
                f,
                "a Git LFS pointer in place of a file of {size} bytes; fetch it with `git lfs pull`"
            ),
            Self::GitLfs { size: None } => write!(
                f,
                "a Git LFS pointer in place of the file; fetch it with `git lfs pull`"
            ),
            Self::GitAnnex => write!(
                f,
                "a git-annex pointer in place of the file; fetch it with `git annex get`"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_told_from_files() {
        let windows = b"version https://git-lfs.github.com/spec/v1\r\noid sha256:00\r\nsize 7\r\n";
        let lfs = |size| Some(Pointer::GitLfs { size });
        assert_eq!(Pointer::in_bytes(windows), lfs(Some(7)));
        let extended =
            b"version https://git-lfs.github.com/spec/v1\next-0-foo sha256:1\noid sha256:2\nsize 9\n";
        assert_eq!(Pointer::in_bytes(extended), lfs(Some(9)));
        let old = b"version https://hawser.github.com/spec/v1\noid sha256:2\nsize many\n";
        assert_eq!(Pointer::in_bytes(old), lfs(None));
        let annex = b"/annex/objects/SHA256E-s46830571--0a1b2c.pth\n";
        assert_eq!(Pointer::in_bytes(annex), Some(Pointer::GitAnnex));
        let link = b"../.git/annex/objects/x/y/SHA256E-s1--0.jpg/SHA256E-s1--0.jpg";
        assert_eq!(Pointer::in_bytes(link), Some(Pointer::GitAnnex));
        for other in [
            &b""[..],
            b"version 1",
            b"see https://git-lfs.github.com/spec/v1",
        ] {
            assert_eq!(Pointer::in_bytes(other), None);
        }
    }
}
