//! WebP's metadata, read where they lie: a decoder that copies them trusts the size that a file claims for them.

use image::metadata::Orientation;

use crate::orientation::{of_exif, of_xmp};

/// Finds the orientation in the chunks `EXIF` and `XMP `; none where they are absent or cut off.
pub(crate) fn orientation(bytes: &[u8]) -> Orientation {
    let exif = chunk(bytes, b"EXIF").and_then(of_exif);
    exif.or_else(|| of_xmp(chunk(bytes, b"XMP ")?))
        .unwrap_or(Orientation::NoTransforms)
}

/// Returns the content of the first chunk of this name: chunks have a name, a size, and a content that is padded to
/// even length (RFC 9649).
fn chunk<'a>(bytes: &'a [u8], wanted: &[u8; 4]) -> Option<&'a [u8]> {
    let mut rest = bytes.get(12..)?;
    loop {
        let (name, after) = rest.split_first_chunk::<4>()?;
        let (size, content) = after.split_first_chunk::<4>()?;
        let size = usize::try_from(u32::from_le_bytes(*size)).ok()?;
        if name == wanted {
            return content.get(..size);
        }
        rest = content.get(size.checked_add(size % 2)?..)?;
    }
}
