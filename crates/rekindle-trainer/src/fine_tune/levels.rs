//! Heads on features of two levels, where images have several labels or numbers.

use rekindle_imagefolder::Task;
use rekindle_transfer::features::{Features, ProbeSearch};

use super::scores::Scored;
use crate::{Predictions, TrainerError};

/// Returns the first part of the features; all of them where they have a single one.
pub(super) fn first_part(
    search: &ProbeSearch,
    features: &Features,
) -> Result<Features, TrainerError> {
    match search.parts[..] {
        [first, _, ..] => Ok(features.columns(0..first)?),
        _ => Ok(features.clone()),
    }
}

/// Returns the same search for features of a single part.
pub(super) fn of_one_part(search: &ProbeSearch) -> ProbeSearch {
    ProbeSearch {
        parts: Vec::new(),
        ..search.clone()
    }
}

/// Returns features whose parts count alike, and what their columns were divided by; none where they have a single part.
pub(super) fn equal_parts(
    search: &ProbeSearch,
    features: &Features,
) -> Result<Option<(Features, Vec<f64>)>, TrainerError> {
    match search.parts.len() {
        0 | 1 => Ok(None),
        _ => Ok(Some(features.with_equal_parts(&search.parts)?)),
    }
}

/// Tells whether answers to images that were held out are better than `others` to the same images, by the rule of trials.
pub(super) fn are_ahead(
    task: Task,
    answers: &[f32],
    others: &[f32],
    targets: &[f32],
    images: usize,
) -> Result<bool, TrainerError> {
    if answers.is_empty() || answers.len() != others.len() {
        return Ok(false);
    }
    let scored = |answers: &[f32]| {
        Scored::of(&Predictions {
            task,
            classes: answers.len() / images.max(1),
            probabilities: answers.to_vec(),
            targets: targets.to_vec(),
            labels: vec![0; images],
            ..Predictions::default()
        })
    };
    Ok(scored(answers)?.lead_over(&scored(others)?).is_ahead())
}
