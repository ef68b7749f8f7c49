//! Saving and restoring a learner.

use std::collections::BTreeMap;
use std::path::Path;

use rekindle_transfer::tuning::MovingAverage;
use rekindle_transfer::{Backbone, Classifier};
use rekindle_weights::state_dict::{self, HostTensor};
use rekindle_weights::{Checkpoint, TensorOut, named_tensors, write_safetensors};
use serde::{Deserialize, Serialize};

use crate::events::EpochMetrics;
use crate::learner::Learner;
use crate::optimizer::Optimizer;
use crate::run_directory::WriteError;
use crate::{BestEpoch, TrainerError};

const MODEL: &str = "model.safetensors";
const AVERAGE: &str = "average.safetensors";
const AVERAGE_UPDATES: &str = "updates";
const OPTIMIZER: &str = "optimizer.bpk";
const STATE: &str = "state.json";

/// State of a run beside its weights: everything the loop needs to go on as if it had never stopped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LoopState {
    pub best: BestEpoch,
    /// Best epoch by the figure that early stopping watches, which may be another one.
    #[serde(default)]
    pub stopping: Option<BestEpoch>,
    pub history: Vec<EpochMetrics>,
    /// Sums of the epoch that is under way.
    pub partial: Partial,
    pub seconds_train: f64,
    pub seconds_total: f64,
}

/// Sums over the training batches of an epoch so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Partial {
    pub loss: f64,
    pub correct: f64,
    pub images: usize,
    pub seconds: f64,
}

/// A state dict under the names of [`Classifier`]: `backbone.` and `head.` in front.
pub(crate) type Weights = BTreeMap<String, HostTensor>;

/// Collects every tensor of a classifier, on the host.
pub(crate) fn weights_of<B: Backbone>(classifier: &Classifier<B>) -> Weights {
    state_dict::collect(classifier)
}

/// Returns the classifier with these weights.
pub(crate) fn with_weights<B: Backbone>(
    classifier: Classifier<B>,
    weights: &Weights,
) -> Classifier<B> {
    state_dict::assign(classifier, |name| {
        weights.get(name).map(|tensor| tensor.values.clone())
    })
}

/// The names of a plain network: `backbone.layer1.0.conv1.weight` as `layer1.0.conv1.weight`,
/// `head.weight` as `fc.weight`.
pub(crate) fn plain_names<B: Backbone>(classifier: &Classifier<B>, weights: Weights) -> Weights {
    let head = classifier.backbone.head_name();
    weights
        .into_iter()
        .map(|(name, tensor)| {
            let plain = match name.strip_prefix("backbone.") {
                Some(rest) => rest.to_string(),
                None => name.replacen("head", head, 1),
            };
            (plain, tensor)
        })
        .collect()
}

/// Writes a learner's `weights`, its optimiser's state and the loop's into `folder`.
pub(crate) fn save<B: Backbone>(
    folder: &Path,
    weights: Weights,
    learner: &Learner<B>,
    state: &LoopState,
) -> Result<(), WriteError> {
    write_safetensors(
        folder.join(MODEL),
        named_tensors(weights, TensorOut::f32),
        &BTreeMap::new(),
    )?;
    if let Some(average) = learner.moving_average() {
        let weights = named_tensors(weights_of(average.module()), TensorOut::f32);
        let updates = BTreeMap::from([(AVERAGE_UPDATES.into(), average.updates().to_string())]);
        write_safetensors(folder.join(AVERAGE), weights, &updates)?;
    }
    learner
        .optimizer()
        .save(folder.join(OPTIMIZER))
        .map_err(|error| error.to_string())?;
    std::fs::write(folder.join(STATE), serde_json::to_vec_pretty(state)?)?;
    Ok(())
}

/// Brings a learner and the loop to where [`save`] was called.
pub(crate) fn restore<B: Backbone>(
    folder: &Path,
    learner: &mut Learner<B>,
    optimizer: &Optimizer,
) -> Result<LoopState, TrainerError> {
    let path = folder.join(STATE);
    let text = std::fs::read(&path).map_err(|error| TrainerError::io("read", &path, error))?;
    let state = serde_json::from_slice(&text).map_err(|error| TrainerError::DamagedFile {
        path,
        reason: error.to_string(),
    })?;
    let weights = read_weights(&folder.join(MODEL))?;
    learner.set_classifier(with_weights(learner.classifier().clone(), &weights));
    let path = folder.join(OPTIMIZER);
    let saved = optimizer
        .init()
        .load(&path)
        .map_err(|error| TrainerError::OptimizerState {
            path,
            reason: error.to_string(),
        })?;
    learner.set_optimizer(saved);
    Ok(state)
}

/// Brings the moving average of the weights to where [`save`] was called.
pub(crate) fn restore_average<B: Backbone>(
    folder: &Path,
    learner: &mut Learner<B>,
    decay: f64,
) -> Result<(), TrainerError> {
    let path = folder.join(AVERAGE);
    let checkpoint = rekindle_weights::read(&path)?;
    let updates = checkpoint
        .metadata
        .get(AVERAGE_UPDATES)
        .and_then(|updates| updates.parse().ok())
        .ok_or_else(|| TrainerError::DamagedFile {
            path: path.clone(),
            reason: format!("its metadata has no number of {AVERAGE_UPDATES}"),
        })?;
    let average = with_weights(learner.averaged(), &weights_in(&checkpoint)?);
    learner.set_moving_average(MovingAverage::resume(&average, decay, updates)?);
    Ok(())
}

/// Reads every tensor of a safetensors file, under its own names.
fn read_weights(path: &Path) -> Result<Weights, TrainerError> {
    read_weights_with(path).map(|(weights, _)| weights)
}

/// Reads every tensor of a safetensors file, under its own names, and what the file says beside them.
pub(crate) fn read_weights_with(
    path: &Path,
) -> Result<(Weights, BTreeMap<String, String>), TrainerError> {
    let checkpoint = rekindle_weights::read(path)?;
    Ok((weights_in(&checkpoint)?, checkpoint.metadata))
}

fn weights_in(checkpoint: &Checkpoint) -> Result<Weights, TrainerError> {
    let mut found = Weights::new();
    for tensor in checkpoint.tensors.values() {
        if !tensor.element_type().is_float() {
            continue; // PyTorch's counters of batches.
        }
        let values = HostTensor {
            shape: tensor.shape().to_vec(),
            values: tensor.read_f32()?,
        };
        found.insert(tensor.name_in_file().to_string(), values);
    }
    Ok(found)
}

/// Weights saved under a plain network's names, back under those of a [`Classifier`].
pub(crate) fn read_plain<B: Backbone>(
    path: &Path,
    classifier: &Classifier<B>,
) -> Result<Weights, TrainerError> {
    let head = format!("{}.", classifier.backbone.head_name());
    let weights = read_weights(path)?.into_iter().map(|(name, tensor)| {
        let full = match name.strip_prefix(&head) {
            Some(rest) => format!("head.{rest}"),
            None => format!("backbone.{name}"),
        };
        (full, tensor)
    });
    Ok(weights.collect())
}
