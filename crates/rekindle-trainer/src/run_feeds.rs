//! Chooses the feeds that a run reads: images, or activations that are computed before it.

use std::sync::Arc;
use std::time::Instant;

use burn::prelude::*;
use rekindle_imagefolder::{Loader, Sampler};
use rekindle_transfer::Backbone;

use crate::TrainerError;
use crate::activations::{FrozenPart, Views};
use crate::announce::{emit, tell};
use crate::calibration::prefix;
use crate::data::{TransferData, eval_pipeline};
use crate::events::Event;
use crate::feed::{ActivationFeed, Feed};
use crate::recipe::Recipe;
use crate::run_directory::RunWriter;
use crate::trainer::Trainer;

/// Images that go through the network together in validation.
const VALIDATION_BATCH: usize = 32;

/// Loads training images as the recipe asks, not mixed.
pub(crate) fn train_loader(data: &TransferData, recipe: &Recipe) -> Loader {
    let loader = Loader::new(Arc::clone(&data.train))
        .batch_size(recipe.batch_size)
        .workers(recipe.workers)
        .shuffle(recipe.seed)
        .on_bad_file(recipe.on_bad_file);
    match recipe.balanced_sampler {
        true => loader.sampler(Sampler::Balanced { samples: None }),
        false => loader,
    }
}

/// Batches for training and validation, from activations where a prefix stays frozen and the recipe keeps
/// them; and the seconds that computing the training activations took. With `calibration`, these are computed in eight bits.
pub(crate) fn feeds<B: Backbone>(
    trainer: &mut Trainer<'_, B>,
    writer: &mut Option<RunWriter>,
    calibration: Option<&[Tensor<4>]>,
) -> Result<(Feed, Feed, f64), TrainerError> {
    let recipe = trainer.recipe.clone();
    let data = trainer.data.clone();
    let mut train_loader = train_loader(&data, &recipe);
    // The few images of a last batch would make a step of their own, with statistics of a few.
    if trainer.pace.is_some() && data.train.len() > recipe.batch_size {
        train_loader = train_loader.drop_last(true);
    }
    if let Some(mix) = recipe.mix {
        train_loader = train_loader.mix(mix);
    }
    let val_loader = Loader::new(Arc::clone(&data.val))
        .batch_size(VALIDATION_BATCH)
        .workers(recipe.workers)
        .on_bad_file(recipe.on_bad_file);
    let frozen = trainer.kept_stages()?;
    if frozen == 0 {
        return Ok((Feed::Images(train_loader), Feed::Images(val_loader), 0.0));
    }

    let part = |calibration| {
        Ok::<_, TrainerError>(FrozenPart {
            beginning: None,
            prefix: prefix(&trainer.classifier.backbone, frozen, calibration)?,
            device: trainer.device.clone(),
        })
    };
    // What is measured is the network that the run leaves, which is in f32.
    let to_learn_from = part(calibration)?;
    let in_f32 = calibration.map(|_| part(None)).transpose()?;
    let to_measure_by = in_f32.as_ref().unwrap_or(&to_learn_from);
    let (interrupt, shared) = (trainer.interrupt.clone(), trainer.shared.clone());
    let validates = trainer.validates;
    let mut keep = |part: &FrozenPart<B>, dataset, count: usize, phase: &str| {
        let views = Views {
            dataset,
            plain: eval_pipeline(&data.preprocess),
            count,
            seed: recipe.seed,
            workers: recipe.workers,
            on_bad_file: recipe.on_bad_file,
            interrupt: &interrupt,
            shared: shared.as_ref(),
        };
        let begun = Instant::now();
        let name = phase.to_string();
        let items = Some(views.dataset.len() * count);
        let started = Event::PhaseStarted {
            name: name.clone(),
            items,
        };
        tell(trainer, writer, &started)?;
        let mut done = 0;
        let activations = part.activations(&views, &recipe.cache, |count| {
            done += count;
            emit(trainer, &Event::PhaseAdvanced { done });
        })?;
        for file in activations.skipped() {
            let (path, reason) = (file.path.clone(), file.reason.clone());
            tell(trainer, writer, &Event::SkippedFile { path, reason })?;
        }
        let seconds = begun.elapsed().as_secs_f64();
        tell(trainer, writer, &Event::PhaseEnded { name, seconds })?;
        Ok::<_, TrainerError>((activations, seconds))
    };
    let phase = "features of the training images";
    let (train, seconds) = keep(&to_learn_from, &data.train, recipe.views, phase)?;
    let train = Feed::Activations(ActivationFeed::new(train, train_loader, recipe.batch_size));
    if !validates {
        return Ok((train, Feed::Images(val_loader), seconds));
    }
    let phase = "features of the validation images";
    let (val, _) = keep(to_measure_by, &data.val, 1, phase)?;
    let val = Feed::Activations(ActivationFeed::new(val, val_loader, VALIDATION_BATCH));
    Ok((train, val, seconds))
}
