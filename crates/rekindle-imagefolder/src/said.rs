//! Names, numbers and lines as the sentences of errors have them.

use rekindle_files::names::printable;

/// A number of things: `1 image`, `25 images`.
pub(crate) fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// The end of a sentence about a folder that names the pictures left out of it by format; empty where there are none.
pub(crate) fn left_out(formats: &[(&str, usize)]) -> String {
    if formats.is_empty() {
        return String::new();
    }
    let formats = formats
        .iter()
        .map(|(format, count)| format!("{count} {format}"));
    format!(
        "; left out are pictures that are not taken from folders: {} (convert them to JPEG or PNG)",
        formats.collect::<Vec<_>>().join(", ")
    )
}

/// Bytes as pairs of digits.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    pairs.join(" ")
}

/// Names in a sentence: the first twelve, and how many more.
pub(crate) fn list(names: &[String]) -> String {
    const SHOWN: usize = 12;
    let mut shown: Vec<String> = names
        .iter()
        .take(SHOWN)
        .map(|name| printable(name))
        .collect();
    if names.len() > SHOWN {
        shown.push(format!("and {} more", names.len() - SHOWN));
    }
    shown.join(", ")
}

/// Lines of a table in a sentence.
pub(crate) fn lines_of(lines: &[(u64, String)], total: usize) -> String {
    let mut shown: Vec<String> = lines
        .iter()
        .map(|(line, found)| match found.is_empty() {
            true => format!("line {line}"),
            false => format!("line {line} ({})", printable(found)),
        })
        .collect();
    if total > lines.len() {
        shown.push(format!("and {} more", total - lines.len()));
    }
    shown.join(", ")
}
