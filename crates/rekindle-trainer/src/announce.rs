//! Events that introduce a run, and the parts that learn where these change.

use rekindle_transfer::tuning::stage_parameters;
use rekindle_transfer::{Backbone, Classifier, Plan};

use crate::events::{Event, PartSummary, RunSummary, StageSummary};
use crate::run_directory::{Checkpoint, RunWriter};
use crate::trainer::Trainer;
use crate::{Recipe, TrainerError, text};

/// Tells every observer.
pub(crate) fn emit<B: Backbone>(trainer: &mut Trainer<'_, B>, event: &Event) {
    for observer in &mut trainer.observers {
        observer.on_event(event);
    }
}

/// Tells every observer, and the run directory.
pub(crate) fn tell<B: Backbone>(
    trainer: &mut Trainer<'_, B>,
    writer: &mut Option<RunWriter>,
    event: &Event,
) -> Result<(), TrainerError> {
    emit(trainer, event);
    match writer {
        Some(writer) => writer.log(event),
        None => Ok(()),
    }
}

/// Introduces the run, new or continued from a checkpoint.
pub(crate) fn announce<B: Backbone>(
    trainer: &mut Trainer<'_, B>,
    plan: &Plan,
    writer: &mut Option<RunWriter>,
    from: Option<&Checkpoint>,
) -> Result<(), TrainerError> {
    let parts = stage_parameters(&trainer.classifier, plan);
    let summary = RunSummary {
        title: trainer.title.clone(),
        strategy: trainer.strategy.name().to_string(),
        architecture: trainer.source.architecture.clone(),
        weights: trainer.source.weights.clone(),
        classes: trainer.data.classes.clone(),
        task: trainer.data.task(),
        train_images: trainer.data.train.len(),
        valid_images: trainer.data.val.len(),
        parameters: parts.iter().map(|part| part.parameters).sum(),
        trainable_parameters: parts.iter().map(|part| part.trained).sum(),
        epochs: trainer.recipe.epochs,
        batch_size: trainer.recipe.batch_size,
        augmented: Some(is_augmented(trainer)?),
        device: text::device(&trainer.device),
        seed: trainer.recipe.seed,
        directory: writer.as_ref().map(|writer| writer.path().to_path_buf()),
        resumed_after_epoch: from.map(|checkpoint| checkpoint.position().epochs),
    };
    tell(trainer, writer, &Event::RunStarted(summary))?;
    // Whoever opened the data has heard of these; the record keeps them.
    if let Some(writer) = writer {
        for message in trainer.data.warnings.clone() {
            writer.log(&Event::Warning { message })?;
        }
    }
    Ok(())
}

/// Every part of a network whose head alone is found.
pub(crate) fn whole_network<B: Backbone>(classifier: &Classifier<B>) -> Vec<PartSummary> {
    let stages = classifier.backbone.stage_names().len();
    stage_parameters(classifier, &Plan::frozen(stages, stages))
        .into_iter()
        .map(|part| PartSummary {
            name: part.stage,
            parameters: part.parameters,
            trainable: part.trained,
            learning_rate: None,
        })
        .collect()
}

/// Says whether training sees images varied at random: those that are decoded anew in each epoch as their pipeline says, kept
/// activations in every view after the first.
fn is_augmented<B: Backbone>(trainer: &Trainer<'_, B>) -> Result<bool, TrainerError> {
    let varied = trainer.data.train.pipeline().is_random();
    Ok(if trainer.kept_stages()? > 0 {
        varied && trainer.recipe.views > 1
    } else {
        varied || trainer.recipe.mix.is_some()
    })
}

/// Summarises the parts that learn in these epochs, with their rates.
pub(crate) fn stage_summary<B: Backbone>(
    trainer: &Trainer<'_, B>,
    plan: &Plan,
    first_epoch: usize,
    last_epoch: usize,
) -> StageSummary {
    let Recipe {
        learning_rate: rate,
        head_rate: head,
        ..
    } = trainer.recipe;
    let parts = stage_parameters(&trainer.classifier, plan)
        .into_iter()
        .enumerate()
        .map(|(index, part)| PartSummary {
            name: part.stage,
            parameters: part.parameters,
            trainable: part.trained,
            learning_rate: part
                .is_trained
                .then(|| rate * plan.stage_rates.get(index).copied().unwrap_or(head)),
        })
        .collect();
    StageSummary {
        name: trainer.strategy.name().to_string(),
        first_epoch,
        last_epoch,
        parts,
    }
}
