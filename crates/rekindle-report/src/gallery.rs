//! The most confident mistakes, each beside where the classifier looked.

use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::contents::Mistake;
use crate::html::{Html, at, class};
use crate::parts::unbroken;
use rekindle_trainer::text;

pub(crate) fn draw(html: &mut Html, mistakes: &[Mistake], classes: &[String]) {
    if mistakes.is_empty() {
        return;
    }
    html.leaf("h3", &[], "Most confident mistakes");
    html.leaf(
        "p",
        &[class("note")],
        "Left: what the network saw. Right: where its answer comes from (Grad-CAM of the last stage); the stronger \
         the colour, the more that place speaks for the class named, and against the others.",
    );
    html.node("div", &[class("gallery")], |html| {
        for mistake in mistakes {
            card(html, mistake, classes);
        }
    });
}

fn card(html: &mut Html, mistake: &Mistake, classes: &[String]) {
    let name = |class: usize| classes.get(class).map_or("?", String::as_str);
    let (truth, predicted) = (name(mistake.truth), name(mistake.predicted));
    html.node("figure", &[class("mistake")], |html| {
        html.node("div", &[class("twins")], |html| {
            let pictures = [
                (&mistake.picture, format!("{truth}, taken for {predicted}")),
                (&mistake.overlay, format!("What speaks for {predicted}")),
            ];
            for (jpeg, description) in pictures {
                let source = format!("data:image/jpeg;base64,{}", BASE64_STANDARD.encode(jpeg));
                html.void("img", &[at("src", source), at("alt", description)]);
            }
        });
        html.node("figcaption", &[], |html| {
            html.named("b", &[], predicted);
            let confidence = unbroken(&text::percent(mistake.confidence));
            html.text(&format!(" {confidence}, is "));
            html.named("b", &[], truth);
            if !mistake.file.is_empty() {
                html.void("br", &[]);
                let whole = [at("title", &*mistake.file)];
                html.named("code", &whole, &end_of(&mistake.file));
            }
        });
    });
}

/// The last three parts of a path: split, class and file.
pub(crate) fn end_of(file: &str) -> String {
    let parts: Vec<String> = Path::new(file)
        .components()
        .map(rekindle_files::names::escape)
        .collect();
    parts[parts.len().saturating_sub(3)..].join("/")
}
