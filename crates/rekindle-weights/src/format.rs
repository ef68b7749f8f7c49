//! Detects the format of a file from its contents.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::checkpoint::Format;
use crate::html::is_html;
use crate::{Error, other_content, pytorch};

/// Reads the beginning of a file and names its format. The extension plays no part: checkpoints
/// are renamed often, and `.pt`, `.pth` and `.bin` say nothing.
///
/// # Errors
/// [`Error::Read`], [`Error::EmptyFile`], [`Error::HtmlInsteadOfWeights`], [`Error::GitPointer`], [`Error::NotWeights`],
/// [`Error::ForeignCode`] and [`Error::UnknownFormat`].
pub fn detect(path: &Path) -> Result<Format, Error> {
    let mut file = File::open(path).map_err(|error| {
        other_content::annexed_link(path).unwrap_or_else(|| Error::read(path)(error))
    })?;
    if file.metadata().is_ok_and(|data| data.is_dir()) {
        return Err(Error::NotWeights {
            path: path.to_path_buf(),
            found: "a folder".to_string(),
            advice: "give a file inside it".to_string(),
        });
    }
    let mut head = Vec::with_capacity(HEAD);
    file.by_ref()
        .take(HEAD as u64)
        .read_to_end(&mut head)
        .map_err(Error::read(path))?;

    if head.is_empty() {
        return Err(Error::EmptyFile {
            path: path.to_path_buf(),
        });
    }
    if is_html(&head) {
        return Err(Error::HtmlInsteadOfWeights {
            path: path.to_path_buf(),
        });
    }
    if let Some(error) = other_content::git_pointer(path, &head) {
        return Err(error);
    }
    if let Some(error) = other_content::named(path, &head) {
        return Err(error);
    }
    if let Some(format) = by_magic(&head) {
        return Ok(format);
    }
    // A pickle of protocol 0 has no magic: it is one if it reads as one to its end.
    if let Some(global) = pytorch::foreign_name_in(&head) {
        return Err(Error::ForeignCode {
            path: path.to_path_buf(),
            global,
        });
    }
    Err(Error::UnknownFormat {
        path: path.to_path_buf(),
        found: describe(&head),
    })
}

const HEAD: usize = 1024;
/// A number of PyTorch's, behind what the protocol puts in front of it.
const LEGACY_MAGIC: &[u8] = &[
    0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19,
];

fn by_magic(head: &[u8]) -> Option<Format> {
    if head.starts_with(b"PK\x03\x04") {
        return Some(Format::PytorchZip);
    }
    if head.starts_with(&burn_pack::MAGIC_NUMBER.to_le_bytes()) {
        return Some(Format::Burnpack);
    }
    // Before the pickles: a header length may begin with their first byte.
    if is_safetensors(head) {
        return Some(Format::Safetensors);
    }
    if is_onnx(head) {
        return Some(Format::Onnx);
    }
    if head.first() == Some(&0x80) {
        return Some(
            if head[..head.len().min(24)]
                .windows(LEGACY_MAGIC.len())
                .any(|window| window == LEGACY_MAGIC)
            {
                Format::PytorchLegacy
            } else {
                Format::PytorchPickle
            },
        );
    }
    None
}

/// A message of protocol buffers whose first field is a small version of ONNX's format, and whose second is one of those
/// that follow it: producer, domain, model version, documentation, graph, operator sets.
fn is_onnx(head: &[u8]) -> bool {
    matches!(
        head,
        [
            0x08,
            1..=0x40,
            0x12 | 0x1a | 0x22 | 0x28 | 0x32 | 0x3a | 0x42,
            ..
        ]
    )
}

/// Eight bytes of header length, then a JSON object. A length beyond the end of the file is for the
/// reader to complain about, as a cut file.
fn is_safetensors(head: &[u8]) -> bool {
    let Some(json) = head.get(8..) else {
        return false;
    };
    match json.trim_ascii_start().strip_prefix(b"{") {
        None => false,
        Some(rest) => matches!(rest.trim_ascii_start().first(), None | Some(b'"' | b'}')),
    }
}

/// Returns the first bytes, as text where they are text.
fn describe(head: &[u8]) -> String {
    let start = &head[..head.len().min(16)];
    if start
        .iter()
        .all(|byte| byte.is_ascii_graphic() || *byte == b' ')
    {
        format!("{:?}", String::from_utf8_lossy(start))
    } else {
        let bytes: Vec<String> = start.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("the bytes {}", bytes.join(" "))
    }
}
