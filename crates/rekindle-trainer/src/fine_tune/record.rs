//! Writes a fit's part of its run's record.

use rekindle_models::Pretrained;
use rekindle_transfer::Backbone;
use rekindle_transfer::backbone::weights_digest;
use rekindle_transfer::features::ProbeKind;
use serde_json::{Value, json};

use super::Fit;
use crate::data::TransferData;
use crate::run_directory::{FIT, ONE_CALL, RunRecord, WeightsRecord, one_call, within_budget};
use crate::{Source, text};

impl Fit<'_> {
    /// Returns all choices, for the record.
    pub(super) fn recipe(&self) -> Value {
        json!({
            "budget_seconds": self.budget.map(|budget| budget.as_secs_f64()),
            "kinds": self.kinds(),
            "penalties": self.probe.penalties,
            "folds": self.probe.folds,
            "mixing_steps": self.probe.relationship.steps,
            "mixing_rate": self.probe.relationship.rate,
            "cache": self.cache,
            "quantize_frozen": self.quantize,
            "workers": self.workers,
            "seed": self.seed,
            "test_views": self.test_views,
        })
    }

    /// Returns the kinds of heads that are tried.
    pub(super) fn kinds(&self) -> Vec<ProbeKind> {
        let is_tried =
            |kind: &ProbeKind| !self.keeps_architecture || *kind != ProbeKind::Multilevel;
        self.probe.kinds.iter().copied().filter(is_tried).collect()
    }

    /// Returns the name of the strategy.
    pub(super) fn name(&self) -> &'static str {
        match self.budget {
            Some(_) => FIT,
            None => ONE_CALL,
        }
    }

    /// Returns the strategy, for the record.
    pub(super) fn strategy(&self) -> Value {
        match self.budget {
            Some(_) => within_budget(),
            None => one_call(),
        }
    }

    pub(super) fn record(&self, pretrained: &Pretrained, data: &TransferData) -> RunRecord {
        RunRecord {
            data: data.description.clone(),
            weights: Some(weights_record(pretrained)),
            architecture: pretrained.architecture.clone(),
            strategy: self.strategy(),
            recipe: self.recipe(),
            seed: self.seed,
            device: text::device(&self.device),
            ..RunRecord::new(self.title.clone())
        }
    }
}

pub(super) fn weights_record(pretrained: &Pretrained) -> WeightsRecord {
    WeightsRecord {
        source: Source::of(pretrained).weights,
        sha256: pretrained.sha256.clone(),
        tensors_sha256: digest(pretrained),
    }
}

/// Hashes the backbone's live weights.
pub(super) fn digest(pretrained: &Pretrained) -> String {
    let model = &pretrained.model;
    weights_digest(model, model.stage_names().len())
}
