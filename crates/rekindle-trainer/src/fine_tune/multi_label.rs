//! The first stage where pictures have several labels: a logistic regression of each label against the rest.

use rekindle_imagefolder::Task;
use rekindle_transfer::features::{
    FoundOneVsRest, FoundProbe, LinearHead, OneVsRest, ProbeKind, ProbeSearch, ScoredProbe,
    TriedPenalty,
};

use super::levels::{are_ahead, equal_parts, first_part};
use crate::TrainerError;
use crate::metrics::best_threshold;
use crate::pooled::Pooled;

/// Heads, the threshold of each label, and whether they are of all parts of the features.
pub(super) type Found = (FoundProbe, Option<Vec<f64>>, bool);

/// Fits heads to the first part of the features, and some to all where there are several; chooses the better ones, and the
/// threshold of each label, on answers to images that the heads did not see.
pub(super) fn probe(
    search: &ProbeSearch,
    seen: &Pooled,
    labels: usize,
    goes_on: &dyn Fn() -> bool,
) -> Result<Found, TrainerError> {
    let (search_one, targets) = (one_vs_rest(search), &seen.targets);
    let own = first_part(search, &seen.features)?;
    let mut found = search_one.fit_while(goes_on, &own, targets, labels)?;
    let mut is_of_all = false;
    if goes_on()
        && let Some((equal, scale)) = equal_parts(search, &seen.features)?
    {
        let all = search_one.fit_while(goes_on, &equal, targets, labels)?;
        let (answers, others) = (&all.held_out, &found.held_out);
        let images = seen.labels.len();
        is_of_all = are_ahead(Task::MultiLabel, answers, others, targets, images)?;
        if is_of_all {
            let head = all.head.clone().for_unscaled(&scale)?;
            found = FoundOneVsRest { head, ..all };
        }
    }
    let thresholds = thresholds(&found.held_out, targets, labels);
    Ok((as_probe(found), thresholds, is_of_all))
}

/// Fits a head as the one that was found, to some of the images.
pub(super) fn fit_as(
    search: &ProbeSearch,
    found: &FoundProbe,
    seen: &Pooled,
    labels: usize,
) -> Result<LinearHead, TrainerError> {
    let chosen = found.chosen();
    let tried = TriedPenalty {
        standardized: chosen.kind == ProbeKind::Standardized,
        penalty: chosen.penalty,
        log_loss: chosen.log_loss,
        accuracy: chosen.accuracy,
    };
    let one_vs_rest = one_vs_rest(search);
    match equal_parts(search, &seen.features)? {
        None => Ok(one_vs_rest.fit_as(&tried, &seen.features, &seen.targets, labels)?),
        Some((equal, scale)) => {
            let head = one_vs_rest.fit_as(&tried, &equal, &seen.targets, labels)?;
            Ok(head.for_unscaled(&scale)?)
        }
    }
}

fn one_vs_rest(search: &ProbeSearch) -> OneVsRest {
    OneVsRest {
        folds: search.folds,
        seed: search.seed,
        weights: search.weights.clone(),
        groups: search.groups.clone(),
        ..OneVsRest::default()
    }
}

/// The threshold of the highest F1 for each label; none where nothing was held out.
pub(super) fn thresholds(held_out: &[f32], targets: &[f32], labels: usize) -> Option<Vec<f64>> {
    if held_out.is_empty() {
        return None;
    }
    let of = |values: &[f32], label: usize| -> Vec<f32> {
        values.iter().skip(label).step_by(labels).copied().collect()
    };
    let threshold = |label| best_threshold(&of(held_out, label), &of(targets, label));
    Some((0..labels).map(threshold).collect())
}

/// What was found as a record of probes has it, with the best penalty of each kind: accuracy is the share of right answers.
fn as_probe(found: FoundOneVsRest) -> FoundProbe {
    let chosen = found.tried[found.choice];
    let mut candidates = Vec::new();
    for (standardized, kind) in [(false, ProbeKind::Scaled), (true, ProbeKind::Standardized)] {
        let of_kind = found
            .tried
            .iter()
            .filter(|tried| tried.standardized == standardized);
        let best = of_kind.min_by(|a, b| a.log_loss.total_cmp(&b.log_loss));
        candidates.extend(best.map(|best| ScoredProbe {
            kind,
            mirrored: false,
            penalty: best.penalty,
            temperature: 1.0,
            log_loss: best.log_loss,
            accuracy: best.accuracy,
        }));
    }
    FoundProbe {
        // Plain features come first where there are two.
        choice: usize::from(chosen.standardized).min(candidates.len().saturating_sub(1)),
        candidates,
        head: found.head,
        partners: Vec::new(),
        losses: Vec::new(),
        right: Vec::new(),
    }
}
