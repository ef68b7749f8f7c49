//! A writer of markup in which foreign text can't become markup.

use std::fmt::Write;

use rekindle_files::names::printable;

/// Markup under construction. Names of elements and attributes are literals, everything else is
/// escaped, and every element that is opened is closed, so the result is well-formed XML as well as
/// HTML.
#[derive(Debug, Default)]
pub(super) struct Html(String);

/// A name and a value.
pub(super) struct Attribute(&'static str, String);

/// An attribute; numbers are rounded to hundredths, which is enough for coordinates.
pub(super) fn at(name: &'static str, value: impl Value) -> Attribute {
    Attribute(name, value.into_value())
}

/// The attribute `class`.
pub(super) fn class(names: impl Value) -> Attribute {
    at("class", names)
}

/// What an attribute can hold.
pub(super) trait Value {
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
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }

    /// Markup that is part of the program.
    pub(super) fn raw(&mut self, markup: &'static str) {
        self.0.push_str(markup);
    }

    /// Text from anywhere.
    pub(super) fn text(&mut self, text: &str) {
        push_escaped(&mut self.0, text);
    }

    /// An element with content.
    pub(super) fn node(
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

    /// An element with text.
    pub(super) fn leaf(&mut self, name: &'static str, attributes: &[Attribute], text: &str) {
        self.node(name, attributes, |html| html.text(text));
    }

    /// An element without content.
    pub(super) fn void(&mut self, name: &'static str, attributes: &[Attribute]) {
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

/// A name no longer than `most` characters, cut in the middle: beginnings and endings tell names
/// apart.
pub(super) fn shortened(name: &str, most: usize) -> String {
    let characters: Vec<char> = name.chars().collect();
    if characters.len() <= most {
        return name.into();
    }
    let tail = (most - 1) / 3;
    let head: String = characters[..most - 1 - tail].iter().collect();
    let tail: String = characters[characters.len() - tail..].iter().collect();
    format!("{head}…{tail}")
}
