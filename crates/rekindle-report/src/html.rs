//! A writer of markup in which foreign text can't become markup.

use std::fmt::Write;

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use rekindle_files::names::printable;

/// Markup under construction. Names of elements and attributes are literals, everything else is
/// escaped, and every element that is opened is closed, so the result is well-formed XML as well as
/// HTML.
#[derive(Debug, Default)]
pub(crate) struct Html(String);

/// A name and a value.
pub(crate) struct Attribute(&'static str, String);

/// Creates an attribute; numbers are rounded to hundredths, which is enough for coordinates.
pub(crate) fn at(name: &'static str, value: impl Value) -> Attribute {
    Attribute(name, value.into_value())
}

/// Creates the attribute `class`.
pub(crate) fn class(names: impl Value) -> Attribute {
    at("class", names)
}

/// Value that an attribute can hold.
pub(crate) trait Value {
    fn into_value(self) -> String;
}

impl Value for &str {
    fn into_value(self) -> String {
        self.into()
    }
}

impl Value for String {
    fn into_value(self) -> String {
        self
    }
}

impl Value for f64 {
    fn into_value(self) -> String {
        let mut text = format!("{self:.2}");
        while text.ends_with('0') {
            text.pop();
        }
        if text.ends_with('.') {
            text.pop();
        }
        if text == "-0" { "0".into() } else { text }
    }
}

impl Html {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }

    /// Writes markup that is part of the program.
    pub(crate) fn raw(&mut self, markup: &'static str) {
        self.0.push_str(markup);
    }

    /// Writes text from anywhere.
    pub(crate) fn text(&mut self, text: &str) {
        push_escaped(&mut self.0, text);
    }

    /// Writes an element with content.
    pub(crate) fn node(
        &mut self,
        name: &'static str,
        attributes: &[Attribute],
        content: impl FnOnce(&mut Self),
    ) {
        self.open(name, attributes);
        self.0.push('>');
        content(self);
        let _ = write!(self.0, "</{name}>");
    }

    /// Writes an element with text.
    pub(crate) fn leaf(&mut self, name: &'static str, attributes: &[Attribute], text: &str) {
        self.node(name, attributes, |html| html.text(text));
    }

    /// Writes a foreign name among other text, kept apart from it: one in Arabic or Hebrew leaves the numbers beside
    /// it in their places.
    pub(crate) fn name(&mut self, name: &str) {
        self.leaf("bdi", &[], name);
    }

    /// Writes a foreign name alone in an element.
    pub(crate) fn named(&mut self, element: &'static str, attributes: &[Attribute], name: &str) {
        self.node(element, attributes, |html| html.name(name));
    }

    /// Writes an element without content.
    pub(crate) fn void(&mut self, name: &'static str, attributes: &[Attribute]) {
        self.open(name, attributes);
        self.0.push_str("/>");
    }

    fn open(&mut self, name: &'static str, attributes: &[Attribute]) {
        self.0.push('<');
        self.0.push_str(name);
        for Attribute(name, value) in attributes {
            let _ = write!(self.0, " {name}=\"");
            push_escaped(&mut self.0, value);
            self.0.push('"');
        }
    }
}

fn push_escaped(out: &mut String, text: &str) {
    for c in printable(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
}

/// Shortens a name to at most `most` Latin letters, cut in the middle: beginnings and endings tell names apart.
/// Chinese characters and emoji are as wide as two letters, and what belongs to one character stays together.
pub(crate) fn shortened(name: &str, most: usize) -> String {
    // Cut as it will be shown.
    let name = printable(name);
    if name.width() <= most {
        return name;
    }
    let characters: Vec<&str> = name.graphemes(true).collect();
    let tail = fitting(characters.iter().rev(), (most - 1) / 3);
    let end: String = characters[characters.len() - tail..].concat();
    let head = fitting(characters.iter(), most - 1 - end.width());
    format!("{}…{end}", characters[..head].concat())
}

/// Returns how many of the characters fit into `most` columns.
fn fitting<'a>(characters: impl Iterator<Item = &'a &'a str>, most: usize) -> usize {
    let widths = characters.scan(0, |sum, character| {
        *sum += character.width();
        Some(*sum)
    });
    widths.take_while(|sum| *sum <= most).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut_between_characters() {
        assert_eq!(shortened("bees", 8), "bees");
        assert_eq!(shortened("golden retriever", 10), "golden…ver");
        // Two columns each.
        assert_eq!(shortened("金毛寻回猎犬金毛寻回猎犬", 10), "金毛寻…犬");
        let family = "👨\u{200d}👩\u{200d}👧";
        assert_eq!(
            shortened(&family.repeat(9), 8),
            format!("{family}{family}…{family}")
        );
        for most in 3..40 {
            for name in ["e\u{301}".repeat(50), "شجرة".repeat(12), family.repeat(30)] {
                assert!(shortened(&name, most).width() <= most, "{name} {most}");
            }
        }
    }
}
