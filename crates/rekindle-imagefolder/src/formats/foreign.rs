//! Formats of pictures that are not decoded here, by name: phones and cameras write them, and who has a folder of them should
//! hear more than that they are no pictures.

use std::path::Path;

use crate::peek::has_extension;

/// Extensions, in lower case, and the name of their format.
const EXTENSIONS: [(&str, &str); 18] = [
    ("heic", "HEIC"),
    ("heif", "HEIC"),
    ("hif", "HEIC"),
    ("avif", "AVIF"),
    ("jxl", "JPEG XL"),
    ("jp2", "JPEG 2000"),
    ("j2k", "JPEG 2000"),
    ("psd", "Photoshop"),
    ("svg", "SVG"),
    ("dng", "camera raw"),
    ("cr2", "camera raw"),
    ("cr3", "camera raw"),
    ("nef", "camera raw"),
    ("arw", "camera raw"),
    ("raf", "camera raw"),
    ("orf", "camera raw"),
    ("rw2", "camera raw"),
    ("dcm", "DICOM"),
];

/// Returns the format that a name's extension stands for, where pictures of it are not decoded.
///
/// ```
/// use std::path::Path;
///
/// let format = rekindle_imagefolder::undecoded_format(Path::new("IMG_0042.HEIC"));
/// assert_eq!(format, Some("HEIC"));
/// assert_eq!(rekindle_imagefolder::undecoded_format(Path::new("IMG_0042.JPG")), None);
/// ```
pub fn undecoded_format(path: &Path) -> Option<&'static str> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    let known = EXTENSIONS.iter().find(|(known, _)| *known == extension);
    known.map(|(_, format)| *format)
}

/// Returns the format that a name's extension stands for, where pictures of it are left out of folders: those that are
/// [not decoded](undecoded_format), and GIF. A GIF is decoded where it is named itself or in a table, but torchvision's
/// `ImageFolder` takes none from a folder.
///
/// ```
/// use std::path::Path;
///
/// let format = rekindle_imagefolder::unlisted_format(Path::new("ants/imageNotFound.gif"));
/// assert_eq!(format, Some("GIF"));
/// assert_eq!(rekindle_imagefolder::unlisted_format(Path::new("IMG_0042.HEIC")), Some("HEIC"));
/// ```
pub fn unlisted_format(path: &Path) -> Option<&'static str> {
    undecoded_format(path).or_else(|| has_extension(path, &["gif"]).then_some("GIF"))
}

/// Returns the format of a file's content, where it is one of these.
pub(crate) fn of_content(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [_, _, _, _, b'f', b't', b'y', b'p', rest @ ..] => of_brands(rest),
        [0xff, 0x0a, ..] => Some("JPEG XL"),
        [0, 0, 0, 12, b'J', b'X', b'L', b' ', ..] => Some("JPEG XL"),
        [0, 0, 0, 12, b'j', b'P', b' ', b' ', ..] => Some("JPEG 2000"),
        [b'8', b'B', b'P', b'S', ..] => Some("Photoshop"),
        _ if bytes.get(128..132) == Some(b"DICM") => Some("DICOM"),
        _ => None,
    }
}

/// Of the family of MP4, the brands tell: the first, and those that it is compatible with.
fn of_brands(brands: &[u8]) -> Option<&'static str> {
    let first = brands.get(..4)?;
    let others = brands.get(8..).unwrap_or_default();
    let mut all = std::iter::once(first).chain(others.chunks_exact(4).take(16));
    let is = |brand: &[u8], names: &[&[u8]]| names.contains(&brand);
    if all.clone().any(|brand| is(brand, &[b"avif", b"avis"])) {
        return Some("AVIF");
    }
    if first == b"crx " {
        return Some("camera raw");
    }
    let of_phones: [&[u8]; 8] = [
        b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1",
    ];
    all.any(|brand| is(brand, &of_phones)).then_some("HEIC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_tells_the_format_whatever_the_name() {
        // The first bytes of files by libheif, libavif, cjxl, OpenJPEG and GIMP.
        let cases: [(&[u8], Option<&str>); 8] = [
            (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", Some("HEIC")),
            (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heicmiaf", Some("HEIC")),
            (b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miafMA1B", Some("AVIF")),
            (b"\0\0\0\x20ftypmif1\0\0\0\0mif1avifmiaf", Some("AVIF")),
            (b"\xff\x0a\xfa\x1f", Some("JPEG XL")),
            (b"\0\0\0\x0cjP  \r\n\x87\n", Some("JPEG 2000")),
            (b"8BPS\0\x01", Some("Photoshop")),
            (b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41", None),
        ];
        for (bytes, expected) in cases {
            assert_eq!(of_content(bytes), expected, "{bytes:?}");
            for cut in 0..bytes.len() {
                of_content(&bytes[..cut]);
            }
        }
    }
}
