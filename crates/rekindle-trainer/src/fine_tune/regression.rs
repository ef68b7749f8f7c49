//! The first stage where numbers are learned: ridge regression, with the penalty of the lowest error on images left out.

use rekindle_imagefolder::Task;
use rekindle_transfer::features::{
    Features, FoundProbe, FoundRidge, ProbeKind, ProbeSearch, RidgeRegression, ScoredProbe,
};

use super::levels::{are_ahead, equal_parts, first_part, of_one_part};
use super::probing::Probed;
use super::told::{described, reason};
use crate::TrainerError;
use crate::events::Trial;
use crate::metrics::RegressionEvaluation;
use crate::pooled::Pooled;

/// Fits a head to the first part of the features, and one to all where there are several; returns the better one, and whether it
/// is of all parts.
pub(super) fn probe(
    search: &ProbeSearch,
    seen: &Pooled,
) -> Result<(FoundRidge, bool), TrainerError> {
    let (features, numbers) = (&seen.features, &seen.targets);
    let own = first_part(search, features)?;
    let plain = fit(&of_one_part(search), &own, numbers)?;
    if search.parts.len() < 2 {
        return Ok((plain, false));
    }
    let all = fit(search, features, numbers)?;
    let answers = |found: &FoundRidge| -> Vec<f32> {
        found.held_out.iter().map(|answer| *answer as f32).collect()
    };
    let (of_all, of_own) = (answers(&all), answers(&plain));
    let images = seen.labels.len();
    match are_ahead(Task::Regression, &of_all, &of_own, numbers, images)? {
        true => Ok((all, true)),
        false => Ok((plain, false)),
    }
}

/// Fits the head, with the folds, weights and groups of `search`; parts of the features count alike.
pub(super) fn fit(
    search: &ProbeSearch,
    features: &Features,
    numbers: &[f32],
) -> Result<FoundRidge, TrainerError> {
    let ridge = RidgeRegression {
        folds: search.folds,
        seed: search.seed,
        weights: search.weights.clone(),
        groups: search.groups.clone(),
        ..RidgeRegression::default()
    };
    match equal_parts(search, features)? {
        None => Ok(ridge.fit(features, numbers)?),
        Some((equal, scale)) => {
            let found = ridge.fit(&equal, numbers)?;
            let head = found.head.clone().for_unscaled(&scale)?;
            Ok(FoundRidge { head, ..found })
        }
    }
}

/// What was found as a record of probes has it.
pub(super) fn as_probe(found: &FoundRidge) -> FoundProbe {
    FoundProbe {
        head: found.head.clone(),
        candidates: vec![ScoredProbe {
            kind: ProbeKind::Ridge,
            mirrored: false,
            penalty: found.chosen().alpha,
            temperature: 1.0,
            log_loss: f64::NAN,
            accuracy: f64::NAN,
        }],
        choice: 0,
        partners: Vec::new(),
        losses: Vec::new(),
        right: Vec::new(),
    }
}

/// What is told of it.
pub(super) fn trial(probed: &Probed<'_>, found: &FoundRidge, kept: bool) -> Trial {
    let answers: Vec<f32> = found.held_out.iter().map(|answer| *answer as f32).collect();
    let measured = RegressionEvaluation::from_numbers(&answers, &probed.seen.targets).ok();
    let scored = &probed.found.candidates[0];
    let deviation = probed
        .data
        .target_scale
        .map_or(1.0, |scale| f64::from(scale.deviation));
    Trial {
        what: described(scored, probed),
        why: reason(scored, probed).into(),
        images: answers.len(),
        loss: measured.map(|found| (found.rmse / deviation).powi(2)),
        mae: measured.map(|found| found.mae),
        kept,
        ..Trial::default()
    }
}
