//! File names as text: reversible for machines, harmless for people.
//!
//! On Unix a name is any sequence of bytes without `/` and NUL. [`escape`] keeps what is UTF-8 and writes each other
//! byte as `\x` and two lower-case hexadecimal digits, so `caf\xe9.jpg` for Latin-1's `café.jpg`. Where a name holds
//! such four characters literally, its backslash is written `\x5c`. Therefore different names give different texts,
//! [`unescape`] reads every one back, and a name that is UTF-8 and holds no `\x` with two digits stays as it is.
//!
//! The modules [`path`], [`paths`] and [`optional_path`] do so for serde:
//!
//! ```
//! # use std::path::PathBuf;
//! # use serde::{Deserialize, Serialize};
//! #[derive(Serialize, Deserialize)]
//! struct Picture {
//!     #[serde(with = "rekindle_files::names::path")]
//!     path: PathBuf,
//! }
//! ```
//!
//! On Windows a name with an unpaired surrogate is told apart from others but not read back, and the separator before
//! a folder such as `xab` is escaped.

use std::ffi::{OsStr, OsString};
use std::fmt::Write;

use unicode_normalization::UnicodeNormalization;

/// Writes a name or a whole path as text that [`unescape`] reads back.
pub fn escape(name: impl AsRef<OsStr>) -> String {
    let bytes = name.as_ref().as_encoded_bytes();
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some(at) = rest.find("\\x") {
            let (before, from_here) = rest.split_at(at);
            text.push_str(before);
            text.push_str(match escaped_byte(from_here.as_bytes()) {
                Some(_) => "\\x5c",
                None => "\\",
            });
            rest = &from_here[1..];
        }
        text.push_str(rest);
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Reads back what [`escape`] wrote.
pub fn unescape(text: &str) -> OsString {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        match escaped_byte(rest) {
            Some(byte) => {
                bytes.push(byte);
                rest = &rest[4..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    from_bytes(bytes)
}

/// Writes a name or a path for people: [`escape`]d and [`printable`].
pub fn show(name: impl AsRef<OsStr>) -> String {
    printable(&escape(name))
}

/// Makes a foreign text harmless to look at: what would steer a terminal or turn the direction of the text around is
/// shown as its code. What joins letters of Persian or Hindi and the parts of an emoji stays behind such characters.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut before = ' ';
    for c in text.chars() {
        let joins = matches!(c, '\u{200c}' | '\u{200d}') && !before.is_ascii();
        let steers = !joins
            && (c.is_control()
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                    | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'));
        before = if steers || joins { ' ' } else { c };
        if steers {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Spells a name out in ASCII, so that names which look the same are seen to differ: `caf\u{e9}`, `cafe\u{301}`.
pub fn spell(name: &str) -> String {
    let mut spelled = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            ' '..='~' => spelled.push(c),
            _ => spelled.extend(c.escape_unicode()),
        }
    }
    spelled
}

/// Composes letters and accents (Unicode's NFC): equal for two spellings of one name, as Linux and macOS write it.
pub fn composed(name: &str) -> String {
    name.nfc().collect()
}

/// Returns the byte that `\x` and two lower-case hexadecimal digits at the beginning of `text` stand for.
fn escaped_byte(text: &[u8]) -> Option<u8> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    match text {
        [b'\\', b'x', high, low, ..] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    }
}

#[cfg(unix)]
fn from_bytes(bytes: Vec<u8>) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes)
}

#[cfg(not(unix))]
fn from_bytes(bytes: Vec<u8>) -> OsString {
    String::from_utf8_lossy(&bytes).into_owned().into()
}

/// A path in serde's data model, by [`escape`] and [`unescape`].
pub mod path {
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes the path as text.
    ///
    /// # Errors
    ///
    /// The serializer's.
    pub fn serialize<S: Serializer>(
        path: impl AsRef<Path>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::escape(path.as_ref()))
    }

    /// Reads the path back.
    ///
    /// # Errors
    ///
    /// The deserializer's.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
        Ok(super::unescape(&String::deserialize(deserializer)?).into())
    }
}

/// A list of paths, likewise.
pub mod paths {
    use std::path::PathBuf;

    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes the paths as a list of texts.
    ///
    /// # Errors
    ///
    /// The serializer's.
    pub fn serialize<S: Serializer>(paths: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(paths.iter().map(super::escape))
    }

    /// Reads the paths back.
    ///
    /// # Errors
    ///
    /// The deserializer's.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<PathBuf>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        Ok(texts
            .iter()
            .map(|text| super::unescape(text).into())
            .collect())
    }
}

/// A path that may be absent, likewise.
pub mod optional_path {
    use std::path::PathBuf;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Writes the path as text, or null.
    ///
    /// # Errors
    ///
    /// The serializer's.
    pub fn serialize<S: Serializer>(
        path: &Option<PathBuf>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        path.as_ref().map(super::escape).serialize(serializer)
    }

    /// Reads the path back.
    ///
    /// # Errors
    ///
    /// The deserializer's.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<PathBuf>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        Ok(text.map(|text| super::unescape(&text).into()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn ordinary_names_stay_as_they_are() {
        for name in [
            "",
            "bee.jpg",
            "été/蜂 1.jpg",
            "new\nline",
            "C:\\pictures\\xmas",
            "back\\slash",
            "a\\xg1",
            "\u{feff}",
            "quote\"'",
        ] {
            assert_eq!(escape(name), name);
            assert_eq!(unescape(name), name);
        }
    }

    #[test]
    fn a_literal_escape_is_told_apart_from_a_byte() {
        assert_eq!(escape(r"caf\xe9"), r"caf\x5cxe9");
        assert_eq!(unescape(r"caf\x5cxe9"), r"caf\xe9");
        // Upper case is none of our spellings, so it needs no escape.
        assert_eq!(escape(r"caf\xE9"), r"caf\xE9");
    }

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        assert_eq!(printable("bee\u{1b}[2J.jpg"), "bee\\u{1b}[2J.jpg");
        assert_eq!(printable("gpj\u{202e}exe"), "gpj\\u{202e}exe");
        assert_eq!(printable("ants\u{200d}"), "ants\\u{200d}");
        assert_eq!(printable("می\u{200c}خواهم"), "می\u{200c}خواهم");
        assert_eq!(printable("é\u{200d}\u{200d}"), "é\u{200d}\\u{200d}");
        assert_eq!(printable("fourmi é 蜂.jpg"), "fourmi é 蜂.jpg");
    }

    #[test]
    fn two_spellings_of_a_name_are_one_composed_and_two_spelled_out() {
        let (linux, mac) = ("caf\u{e9}", "cafe\u{301}");
        assert_eq!(composed(mac), linux);
        assert_eq!(
            (spell(linux).as_str(), spell(mac).as_str()),
            ("caf\\u{e9}", "cafe\\u{301}")
        );
    }

    #[cfg(unix)]
    mod bytes {
        use std::os::unix::ffi::OsStrExt;
        use std::path::PathBuf;

        use proptest::prelude::*;

        use super::*;

        #[test]
        fn bytes_that_are_no_text_are_written_in_hexadecimal() {
            assert_eq!(escape(OsStr::from_bytes(b"caf\xe9.png")), r"caf\xe9.png");
            assert_eq!(show(OsStr::from_bytes(b"\xff\x1b")), r"\xff\u{1b}");
        }

        #[test]
        fn json_holds_any_path() {
            #[derive(serde::Serialize, serde::Deserialize)]
            struct Record {
                #[serde(with = "path")]
                one: PathBuf,
                #[serde(with = "paths")]
                all: Vec<PathBuf>,
                #[serde(with = "optional_path")]
                none: Option<PathBuf>,
            }
            let path = PathBuf::from(OsStr::from_bytes(b"t\xe9/\xe8"));
            let record = Record {
                one: path.clone(),
                all: vec![path.clone(), "x".into()],
                none: None,
            };
            let json = serde_json::to_string(&record).unwrap();
            assert_eq!(
                json,
                r#"{"one":"t\\xe9/\\xe8","all":["t\\xe9/\\xe8","x"],"none":null}"#
            );
            let back: Record = serde_json::from_str(&json).unwrap();
            assert_eq!((back.one, back.all), (path.clone(), vec![path, "x".into()]));
        }

        proptest! {
            #[test]
            fn every_name_is_read_back(bytes in prop::collection::vec(
                prop_oneof![any::<u8>(), prop::sample::select(&b"\\x5ce9"[..])], 0..24)) {
                let name = OsStr::from_bytes(&bytes);
                prop_assert_eq!(unescape(&escape(name)), name);
            }
        }
    }
}
