//! The orientation of a picture, from every place where Pillow's `exif_transpose` looks for it.

use image::metadata::Orientation;

/// Returns the first `tiff:Orientation` of an XMP packet, as an attribute or an element.
pub(crate) fn of_xmp(xmp: &[u8]) -> Option<Orientation> {
    let name = b"tiff:Orientation";
    memchr::memmem::find_iter(xmp, name).find_map(|at| {
        let rest = &xmp[at + name.len()..];
        let value = rest.strip_prefix(b"=\"").or(rest.strip_prefix(b">"))?;
        let digit = value.first().filter(|digit| digit.is_ascii_digit())?;
        Orientation::from_exif(digit - b'0')
    })
}

/// Reads the orientation from an EXIF block, with or without the name that JPEG puts before it.
pub(crate) fn of_exif(exif: &[u8]) -> Option<Orientation> {
    Orientation::from_exif_chunk(exif.strip_prefix(b"Exif\0\0").unwrap_or(exif))
}

/// Reads the orientation from ImageMagick's "Raw profile type exif": a name, a length, and hexadecimal digits in lines.
pub(crate) fn of_raw_profile(text: &str) -> Option<Orientation> {
    let digits: Vec<u8> = text
        .lines()
        .skip(3)
        .flat_map(str::bytes)
        .filter_map(|digit| (digit as char).to_digit(16).map(|digit| digit as u8))
        .collect();
    let exif: Vec<u8> = digits
        .chunks_exact(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect();
    of_exif(&exif)
}
