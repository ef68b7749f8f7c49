//! Files that are no weights, told from their first bytes.

use std::fs;
use std::path::Path;

use crate::Error;

/// A text that stands for a file which git keeps elsewhere.
///
/// Git LFS: <https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>; git-annex:
/// <https://git-annex.branchable.com/internals/pointer_file/>.
pub(crate) fn git_pointer(path: &Path, head: &[u8]) -> Option<Error> {
    let text = std::str::from_utf8(head).ok()?;
    let lines = || text.lines().map(str::trim);
    let is_lfs = lines().next().is_some_and(|line| {
        line.starts_with("version https://git-lfs.github.com/spec/")
            || line.starts_with("version https://hawser.github.com/spec/")
    });
    if is_lfs {
        let size = lines().find_map(|line| line.strip_prefix("size ")?.parse().ok());
        return Some(Error::GitPointer {
            path: path.to_path_buf(),
            found: match size {
                Some(size) => format!("a Git LFS pointer to {}", bytes(size)),
                None => "a Git LFS pointer".to_string(),
            },
            fetch: "git lfs pull",
        });
    }
    let is_annex = text.starts_with("/annex/objects/") || text.contains(".git/annex/objects/");
    is_annex.then(|| annexed(path))
}

/// A link that leads nowhere, into git-annex's store.
pub(crate) fn annexed_link(path: &Path) -> Option<Error> {
    let target = fs::read_link(path).ok()?;
    target
        .to_string_lossy()
        .contains("annex/objects")
        .then(|| annexed(path))
}

fn annexed(path: &Path) -> Error {
    Error::GitPointer {
        path: path.to_path_buf(),
        found: "a git-annex link".to_string(),
        fetch: "git annex get",
    }
}

fn bytes(count: u64) -> String {
    if count < 1 << 20 {
        format!("{count} bytes")
    } else {
        format!("{:.1} MiB", count as f64 / f64::from(1 << 20))
    }
}

/// Another kind of file by its magic number, and what to do.
pub(crate) fn named(path: &Path, head: &[u8]) -> Option<Error> {
    const MAGIC: &[(&[u8], &str, &str)] = &[
        (
            b"\x1f\x8b",
            "a gzip archive",
            "unpack it and give the file inside",
        ),
        (
            b"BZh",
            "a bzip2 archive",
            "unpack it and give the file inside",
        ),
        (
            b"\xfd7zXZ\0",
            "an xz archive",
            "unpack it and give the file inside",
        ),
        (
            b"\x28\xb5\x2f\xfd",
            "a zstd archive",
            "unpack it and give the file inside",
        ),
        (
            b"7z\xbc\xaf\x27\x1c",
            "a 7-Zip archive",
            "unpack it and give the file inside",
        ),
        (
            b"Rar!",
            "a RAR archive",
            "unpack it and give the file inside",
        ),
        (
            b"\x89HDF\r\n",
            "an HDF5 file (Keras)",
            "weights of PyTorch, safetensors or burnpack are needed",
        ),
        (
            b"\x93NUMPY",
            "a NumPy array",
            "weights of PyTorch, safetensors or burnpack are needed",
        ),
        (
            b"GGUF",
            "a GGUF file",
            "weights of PyTorch, safetensors or burnpack are needed",
        ),
        (b"\x89PNG", "a picture (PNG)", "give a file of weights"),
        (
            b"\xff\xd8\xff",
            "a picture (JPEG)",
            "give a file of weights",
        ),
        (b"%PDF", "a PDF document", "give a file of weights"),
    ];
    let refuse = |found: &str, advice: &str| {
        Some(Error::NotWeights {
            path: path.to_path_buf(),
            found: found.to_string(),
            advice: advice.to_string(),
        })
    };
    if let Some((_, found, advice)) = MAGIC.iter().find(|(magic, ..)| head.starts_with(magic)) {
        return refuse(found, advice);
    }
    if head.get(257..262) == Some(b"ustar") {
        return match head.starts_with(b"sys_info\0") {
            true => refuse(
                "a checkpoint of PyTorch before 0.1.10 (a tar archive)",
                "load it in a newer PyTorch and save it again",
            ),
            false => refuse("a tar archive", "unpack it and give the file inside"),
        };
    }
    if is_json(head) {
        return match contains(head, b"weight_map") {
            true => refuse(
                "the index of weights in several files (JSON)",
                "give one file that holds the whole network",
            ),
            false => refuse("a JSON text", "give a file of weights"),
        };
    }
    None
}

fn contains(head: &[u8], part: &[u8]) -> bool {
    head.windows(part.len()).any(|window| window == part)
}

/// Text from the first bytes on that opens an object or a list; a safetensors' header begins with its length, whose
/// bytes are no text.
fn is_json(head: &[u8]) -> bool {
    let text = head.trim_ascii_start();
    let opens = matches!(text.first(), Some(b'{' | b'['));
    let start = &head[..head.len().min(32)];
    let is_text = start
        .iter()
        .all(|byte| !byte.is_ascii_control() || byte.is_ascii_whitespace());
    opens && is_text
}
