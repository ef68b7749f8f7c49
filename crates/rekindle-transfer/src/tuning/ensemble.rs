//! Combines several learners: mean probabilities, and a learner on top of them.

use crate::TransferError;
use crate::features::{Features, LinearHead, LogisticRegression};

/// Computes the mean over the members of their probabilities `[n, classes]`, row-major, from the logits `[n,
/// classes]` of each (a logit ensemble, or deep ensemble; Lakshminarayanan et al. 2017,
/// <https://arxiv.org/abs/1612.01474>).
///
/// Better than its mean member wherever their mistakes differ; it costs as many forward passes as there are members.
///
/// # Errors
///
/// [`TransferError`] without members or classes, for different lengths, or logits that are NaN or infinite.
pub fn ensemble_probabilities(
    members: &[Vec<f64>],
    classes: usize,
) -> Result<Vec<f64>, TransferError> {
    let probabilities = probabilities(members, classes)?;
    let count = probabilities.len() as f64;
    let mut mean = vec![0.0; members[0].len()];
    for member in &probabilities {
        for (mean, p) in mean.iter_mut().zip(member) {
            *mean += p / count;
        }
    }
    Ok(mean)
}

/// Fits a linear classifier on the members' log-probabilities side by side (stacking; Wolpert 1992): fitted on
/// labelled rows that no member was trained on, it learns whom to trust for what. The rows of its features are those
/// of [`stacked_features`].
///
/// With few labelled rows it is worse than the mean; `l2` is the penalty of [`LogisticRegression`].
///
/// # Errors
///
/// As [`ensemble_probabilities`] and [`LogisticRegression::fit`].
pub fn stacking(
    members: &[Vec<f64>],
    labels: &[usize],
    classes: usize,
    l2: f64,
) -> Result<LinearHead, TransferError> {
    LogisticRegression::new(l2).fit(&stacked_features(members, classes)?, labels, classes)
}

/// Computes the members' log-probabilities side by side, `[n, members * classes]`, none below `-20`: what a head of
/// [`stacking`] takes.
///
/// # Errors
///
/// As [`ensemble_probabilities`].
pub fn stacked_features(members: &[Vec<f64>], classes: usize) -> Result<Features, TransferError> {
    let probabilities = probabilities(members, classes)?;
    let rows = members[0].len() / classes;
    let mut values = Vec::with_capacity(rows * classes * members.len());
    for row in 0..rows {
        for member in &probabilities {
            let row = &member[row * classes..(row + 1) * classes];
            values.extend(row.iter().map(|p| p.ln().max(-20.0) as f32));
        }
    }
    Features::new(values, members.len() * classes)
}

fn probabilities(members: &[Vec<f64>], classes: usize) -> Result<Vec<Vec<f64>>, TransferError> {
    let degenerate = |reason: String| TransferError::Degenerate {
        method: "ensemble",
        reason,
    };
    let Some(first) = members.first() else {
        return Err(degenerate(
            "no member; give the logits of at least one".into(),
        ));
    };
    if classes == 0 || !first.len().is_multiple_of(classes) {
        return Err(TransferError::WrongLength {
            what: "logits, a whole number of rows",
            found: first.len(),
            expected: classes,
        });
    }
    for member in members {
        if member.len() != first.len() {
            return Err(TransferError::WrongLength {
                what: "logits of a member",
                found: member.len(),
                expected: first.len(),
            });
        }
        if member.iter().any(|logit| !logit.is_finite()) {
            return Err(degenerate(
                "a logit is NaN or infinite; check that member".into(),
            ));
        }
    }
    let softmax = |row: &[f64]| {
        let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let powers: Vec<f64> = row.iter().map(|logit| (logit - largest).exp()).collect();
        let sum: f64 = powers.iter().sum();
        powers
            .into_iter()
            .map(move |power| power / sum)
            .collect::<Vec<_>>()
    };
    Ok(members
        .iter()
        .map(|member| member.chunks_exact(classes).flat_map(softmax).collect())
        .collect())
}
