//! Probes of the best penalty against each other.

use super::prepared::Prepared;
use super::{ProbeKind, ScoredProbe};
use crate::TransferError;
use crate::features::held_out::{HeldOut, excess};
use crate::features::table::LinearHead;

/// Returns the head that is a share of the way from `head` to `other`.
pub(super) fn averaged(mut head: LinearHead, other: &LinearHead, share: f64) -> LinearHead {
    let values = head.weight.iter_mut().chain(&mut head.bias);
    for (value, other) in values.zip(other.weight.iter().chain(&other.bias)) {
        *value += share as f32 * (other - *value);
    }
    head
}

pub(super) fn move_towards(values: &mut [f64], others: &[f64], share: f64) {
    for (value, other) in values.iter_mut().zip(others) {
        *value += share * (other - *value);
    }
}

/// A kind with the penalty that suits it best.
pub(super) struct Tried<'a> {
    pub prepared: Prepared<'a>,
    pub held_out: HeldOut,
}

impl<'a> Tried<'a> {
    pub fn new(prepared: Prepared<'a>, held_out: HeldOut) -> Self {
        Self { prepared, held_out }
    }

    pub fn is_better_than(&self, other: &Self) -> bool {
        let (gain, error) = excess(&other.held_out.losses, &self.held_out.losses);
        gain > error && self.held_out.accuracy() >= other.held_out.accuracy()
    }

    pub fn scored(&self) -> ScoredProbe {
        ScoredProbe {
            kind: self.prepared.kind,
            mirrored: self.prepared.contest.views > 1,
            penalty: self.held_out.penalty,
            temperature: self.held_out.temperature,
            log_loss: self.held_out.log_loss(),
            accuracy: self.held_out.accuracy(),
        }
    }
}

/// Returns the one of the lowest loss among those that are clearly better than the first; the first where none is.
pub(super) fn winner(tried: &[Tried<'_>]) -> usize {
    (1..tried.len())
        .filter(|at| tried[*at].is_better_than(&tried[0]))
        .min_by(|a, b| {
            let loss = |at: &usize| tried[*at].held_out.log_loss();
            loss(a).total_cmp(&loss(b))
        })
        .unwrap_or(0)
}

/// Returns those that are averaged with the chosen one.
pub(super) fn partners(tried: &[Tried<'_>], choice: usize) -> Vec<usize> {
    let is_other = |at: &usize| {
        let kind = tried[*at].prepared.kind;
        *at != choice && matches!(kind, ProbeKind::Prior | ProbeKind::Multilevel)
    };
    let equals = |at: &usize| !tried[choice].is_better_than(&tried[*at]);
    (0..tried.len()).filter(is_other).filter(equals).collect()
}

/// Returns the penalty that classifies most images correctly among those whose log loss is within one
/// standard error of the lowest; of equal ones the strongest.
pub(super) fn best(held_out: Vec<HeldOut>) -> Result<HeldOut, TransferError> {
    let by_loss = |a: &HeldOut, b: &HeldOut| a.log_loss().total_cmp(&b.log_loss());
    let lowest = held_out.iter().min_by(|a, b| by_loss(a, b)).cloned();
    let lowest = lowest.ok_or(TransferError::Degenerate {
        method: "probe search",
        reason: "no penalty to choose from; give at least one".into(),
    })?;
    let is_close = |other: &HeldOut| {
        let (more, error) = excess(&other.losses, &lowest.losses);
        more <= error
    };
    let close = held_out.into_iter().filter(is_close);
    let better = |a: &HeldOut, b: &HeldOut| {
        (a.accuracy().total_cmp(&b.accuracy())).then(a.penalty.total_cmp(&b.penalty))
    };
    Ok(close.max_by(better).unwrap_or(lowest))
}

/// Returns a penalty and its neighbours.
pub(super) fn near(penalties: &[f64], penalty: f64) -> &[f64] {
    let at = penalties.iter().position(|p| *p == penalty).unwrap_or(0);
    &penalties[at.saturating_sub(1)..(at + 2).min(penalties.len())]
}
