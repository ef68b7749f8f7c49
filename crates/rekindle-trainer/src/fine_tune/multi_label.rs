//! The first stage where pictures have several labels: a logistic regression of each label against the rest.

use rekindle_transfer::features::{
    FoundOneVsRest, FoundProbe, OneVsRest, ProbeKind, ProbeSearch, ScoredProbe,
};

use crate::TrainerError;
use crate::metrics::{MultiLabelEvaluation, best_threshold};
use crate::pooled::Pooled;

/// Fits the heads, and chooses the threshold of each label on answers to images that the heads did not see.
pub(super) fn probe(
    search: &ProbeSearch,
    seen: &Pooled,
    labels: usize,
    goes_on: &dyn Fn() -> bool,
) -> Result<(FoundProbe, Option<Vec<f64>>), TrainerError> {
    let search = OneVsRest {
        folds: search.folds,
        seed: search.seed,
        weights: search.weights.clone(),
        groups: search.groups.clone(),
        ..OneVsRest::default()
    };
    let found = search.fit_while(goes_on, &seen.features, &seen.targets, labels)?;
    let thresholds = thresholds(&found.held_out, &seen.targets, labels);
    Ok((as_probe(found, seen, labels)?, thresholds))
}

/// The threshold of the highest F1 for each label; none where nothing was held out.
fn thresholds(held_out: &[f32], targets: &[f32], labels: usize) -> Option<Vec<f64>> {
    if held_out.is_empty() {
        return None;
    }
    let of = |values: &[f32], label: usize| -> Vec<f32> {
        values.iter().skip(label).step_by(labels).copied().collect()
    };
    let threshold = |label| best_threshold(&of(held_out, label), &of(targets, label));
    Some((0..labels).map(threshold).collect())
}

/// What was found as a record of probes has it: accuracy is the share of right answers.
fn as_probe(
    found: FoundOneVsRest,
    seen: &Pooled,
    labels: usize,
) -> Result<FoundProbe, TrainerError> {
    let accuracy = match found.held_out.is_empty() {
        true => f64::NAN,
        false => {
            let (held_out, targets) = (&found.held_out, &seen.targets);
            MultiLabelEvaluation::from_probabilities(held_out, targets, labels, None)?.accuracy
        }
    };
    let scored = found
        .tried
        .iter()
        .enumerate()
        .map(|(at, tried)| ScoredProbe {
            kind: match tried.standardized {
                true => ProbeKind::Standardized,
                false => ProbeKind::Scaled,
            },
            mirrored: false,
            penalty: tried.penalty,
            temperature: 1.0,
            log_loss: tried.log_loss,
            accuracy: if at == found.choice {
                accuracy
            } else {
                f64::NAN
            },
        });
    Ok(FoundProbe {
        candidates: scored.collect(),
        head: found.head,
        choice: found.choice,
        partner: None,
        losses: Vec::new(),
        right: Vec::new(),
    })
}
