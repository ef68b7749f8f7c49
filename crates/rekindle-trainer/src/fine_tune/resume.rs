//! Takes up a run that was interrupted.

use std::path::Path;
use std::time::Duration;

use rekindle_models::Pretrained;
use rekindle_weights::state_dict;
use serde_json::json;

use super::candidate::Candidates;
use super::interim::Interim;
use super::probing::Probed;
use super::probing::no_network;
use super::record::digest;
use super::run::Run;
use super::tuning::Tuned;
use super::{FineTuned, Fit};
use crate::adapt::with_fresh_head;
use crate::data::TransferData;
use crate::events::{EndReason, Event, Trial};
use crate::origin::Origin;
use crate::pooled::split;
use crate::run_directory::{Position, RunDirectory, WeightsRecord, refuse_other_recipe};
use crate::{Source, TrainerError};

impl Fit<'_> {
    /// Takes up a run that was interrupted. Its choices must be those of the record, except for workers, the place of the cache and the
    /// budget, which is the time from here on ([`time_left`](Self::time_left)).
    ///
    /// A run [without training](Self::without_training), also one that is done, begins again with the features that a cache
    /// in a folder kept, and ends with the same bits. A search fits its probes again, and goes on with the network that its trial had trained, which the
    /// same images are held out from; its best so far stays until there is a better result.
    ///
    /// # Errors
    ///
    /// As [`fit`](Self::fit), [`TrainerError::OtherRecipe`] for other choices, [`TrainerError::SearchDone`] for a search that is done, and as
    /// [`Trainer::resume`](crate::Trainer::resume) for other weights and pictures than those of the record.
    pub fn resume(
        self,
        path: impl AsRef<Path>,
        pretrained: &Pretrained,
        data: &TransferData,
    ) -> Result<FineTuned, TrainerError> {
        self.resume_best_of(path, std::slice::from_ref(pretrained), data)
    }

    /// Takes up a run as [`resume`](Self::resume) does, with that of several networks that it had chosen.
    ///
    /// # Errors
    ///
    /// As [`resume`](Self::resume); [`TrainerError::UnusableData`] without a network.
    pub fn resume_best_of(
        mut self,
        path: impl AsRef<Path>,
        networks: &[Pretrained],
        data: &TransferData,
    ) -> Result<FineTuned, TrainerError> {
        let path = path.as_ref();
        let interrupted = interrupted(path)?;
        let mut writer = RunDirectory::resume(path)?;
        let mut record = writer.directory().record().clone();
        let digests: Vec<String> = networks.iter().map(digest).collect();
        let of = |recorded: &WeightsRecord| {
            let at = digests
                .iter()
                .position(|own| *own == recorded.tensors_sha256);
            at.map(|at| networks[at].clone())
        };
        let found = record.weights.as_ref().and_then(of);
        let first = found.or(networks.first().cloned()).ok_or_else(no_network)?;
        let mut chosen = vec![first];
        for recorded in &record.beside {
            chosen.push(of(recorded).ok_or_else(|| missing(path, recorded))?);
        }
        let pretrained = &chosen[0];
        self.device = pretrained.model.device().without_autodiff();
        refuse_other_recipe(path, &record.recipe, &self.recipe())?;
        let compared = Origin {
            data,
            source: &Source::of(pretrained),
            digest: &|| digest(pretrained),
            accepts_changed_data: self.accepts_changed_data,
        }
        .check(&mut writer)?;
        self.title = record.title.clone();
        let (mut interim, mut before) = (None, None);
        if let (Some((left, best_so_far)), Some(budget)) = (interrupted, self.budget) {
            record = writer.directory().record().clone();
            let whole = record.recipe["budget_seconds"].as_f64().unwrap_or_default();
            let used = whole - left.as_secs_f64();
            record.recipe["budget_seconds"] = (used + budget.as_secs_f64()).into();
            writer.replace_record(record)?;
            interim = Interim::read(path)?;
            before = best_so_far;
        }
        writer.rewind(Position::default())?;
        self.warning = compared.warning;
        let is_reducible = self.budget.is_some() && !self.keeps_size;
        let candidates = Candidates::new(&chosen, is_reducible);
        let mut run = Run::new(self, &candidates, data, Some(writer));
        (run.interim, run.before) = (interim, before);
        run.finish()
    }

    /// Returns the time that an interrupted search left of its budget: all of it where its process was killed and nothing says
    /// how long it ran. None for a run without a budget.
    ///
    /// # Errors
    ///
    /// Those of [`RunDirectory::open`], and [`TrainerError::SearchDone`] for a search that is done.
    pub fn time_left(path: impl AsRef<Path>) -> Result<Option<Duration>, TrainerError> {
        Ok(interrupted(path.as_ref())?.map(|(left, _)| left))
    }
}

/// Returns the time that a search left of its budget, and the trial that its best so far came from; none for a run without a
/// budget.
fn interrupted(path: &Path) -> Result<Option<(Duration, Option<Trial>)>, TrainerError> {
    let directory = RunDirectory::open(path)?;
    let Some(budget) = directory.record().recipe["budget_seconds"].as_f64() else {
        return Ok(None);
    };
    let (mut ended, mut best_so_far) = (None, None);
    for event in directory.events()? {
        match event {
            Event::RunEnded(outcome) => ended = Some(outcome),
            Event::Tried(trial) if trial.kept => best_so_far = Some(trial),
            _ => {}
        }
    }
    let used = match ended {
        Some(outcome) if outcome.reason == EndReason::Finished => {
            return Err(TrainerError::SearchDone {
                path: path.to_path_buf(),
            });
        }
        Some(outcome) => outcome.seconds,
        None => 0.0,
    };
    let left = Duration::from_secs_f64((budget - used).max(0.0));
    Ok(Some((left, best_so_far)))
}

impl<'b> Run<'_, 'b> {
    /// Returns the network that an interrupted search had trained and left as the best so far: it is better than `probed`, which it
    /// had been compared with.
    pub(super) fn trained_before(
        &mut self,
        probed: &Probed<'b>,
    ) -> Result<Option<Tuned>, TrainerError> {
        let (Some(before), Some(writer)) = (&self.before, &self.writer) else {
            return Ok(None);
        };
        let (gain, images) = (before.gain.unwrap_or_default(), before.images.max(1));
        let path = writer.directory().best_weights_path();
        let left = Pretrained::open(&path, &self.choices.device)?;
        let (_, Some(head)) = split(left.model.clone()) else {
            return Ok(None);
        };
        let classes = probed.data.classes.len();
        let classifier =
            with_fresh_head(&left, classes, self.choices.seed).with_head(head.weight, head.bias)?;
        if state_dict::collect(&classifier.backbone)
            == state_dict::collect(&probed.classifier.backbone)
        {
            return Ok(None);
        }
        let message = "there was no time to train on: the network that the interrupted search had trained stays".to_string();
        self.tell(&Event::Note { message })?;
        Ok(Some(Tuned {
            classifier,
            data: self.data.seen_by(&left.preprocess)?,
            gain,
            // Of a share of so many images at most.
            spread: 0.5 / (images as f64).sqrt(),
            thresholds: left.thresholds,
            decided: json!({ "of_the_interrupted_search": true }),
        }))
    }
}

fn missing(path: &Path, recorded: &WeightsRecord) -> TrainerError {
    TrainerError::OtherWeights {
        path: path.to_path_buf(),
        recorded: format!(
            "{} among others (SHA-256 of its tensors {})",
            recorded.source, recorded.tensors_sha256
        ),
        found: "those of other networks alone".into(),
    }
}
