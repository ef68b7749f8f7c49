//! What is said of a model that training goes on from.

use rekindle::files::names::printable;
use rekindle::trainer::{Forgetting, KnownClasses};
use serde_json::{Value, json};

use crate::console::{percent, say};

/// Says which classes stay, come and go.
pub fn announce(known: &KnownClasses) {
    let listed = |names: &[String]| printable(&names.join(", "));
    let mut parts = vec![format!("known before: {}", listed(&known.kept))];
    if !known.new.is_empty() {
        parts.push(format!("new: {}", listed(&known.new)));
    }
    if !known.dropped.is_empty() {
        parts.push(format!("no longer known: {}", listed(&known.dropped)));
    }
    say(&format!("classes {}", parts.join("; ")));
}

/// Adds what became of the known classes to what is printed as JSON.
pub fn add(result: &mut Value, known: &KnownClasses, found: Option<&Forgetting>) {
    result["known_classes"] = json!({
        "kept": known.kept,
        "new": known.new,
        "dropped": known.dropped,
        "measured": found,
    });
}

/// The line of a run of `train`; none where nothing was measured.
pub fn said(result: &Value) -> Option<String> {
    let measured = &result["known_classes"]["measured"];
    let share = |key: &str| measured[key].as_f64();
    let (before, after) = (share("accuracy_before")?, share("accuracy_after")?);
    let count = |key: &str| result["known_classes"][key].as_array().map_or(0, Vec::len);
    let kept = count("kept");
    let advice = match after < before {
        true => "; a lower --lr or a strategy that freezes more keeps more of it",
        false => "",
    };
    Some(format!(
        "{}: of {} validation images of classes known before {} were recognised then, and {} are now, among {} classes{advice}",
        result["strategy"].as_str().unwrap_or_default(),
        measured["images"],
        percent(before),
        percent(after),
        kept + count("new")
    ))
}
