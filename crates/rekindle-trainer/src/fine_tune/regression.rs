//! The first stage where numbers are learned: ridge regression, with the penalty of the lowest error on images left out.

use rekindle_transfer::features::{
    Features, FoundProbe, FoundRidge, ProbeKind, ProbeSearch, RidgeRegression, ScoredProbe,
};

use super::probing::{Probed, described, reason};
use crate::TrainerError;
use crate::events::Trial;
use crate::metrics::RegressionEvaluation;

/// Fits the head, with the parts, weights and groups of `search`.
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
    Ok(ridge.fit(features, numbers)?)
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
        what: format!(
            "{} of {}",
            described(scored),
            probed.pretrained.architecture
        ),
        why: reason(scored).into(),
        images: answers.len(),
        loss: measured.map(|found| (found.rmse / deviation).powi(2)),
        mae: measured.map(|found| found.mae),
        kept,
        ..Trial::default()
    }
}
