//! What an interrupted search leaves of a trial, and takes up again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rekindle_weights::{TensorOut, named_tensors, write_safetensors};
use serde::{Deserialize, Serialize};

use super::methods::{Method, Scale};
use super::probing::Probed;
use super::reduced::Probes;
use super::run::Run;
use super::trial::Contender;
use crate::TrainerError;
use crate::checkpoint::{Weights, read_weights_with, weights_of};
use crate::events::Event;

const FILE: &str = "trial.safetensors";
const ABOUT: &str = "trial";

/// A network on its way, and the images that it has never seen.
pub(super) struct Interim {
    about: About,
    weights: Weights,
}

#[derive(Serialize, Deserialize)]
struct About {
    scale: Scale,
    size: usize,
    rate: f64,
    /// Positions in the training part.
    held_out: Vec<usize>,
}

fn path(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

impl Interim {
    /// Reads what a search left in the folder of its run; none where it left nothing.
    pub fn read(folder: &Path) -> Result<Option<Self>, TrainerError> {
        let path = path(folder);
        if !path.exists() {
            return Ok(None);
        }
        let (weights, metadata) = read_weights_with(&path)?;
        let about = metadata.get(ABOUT).map(|text| serde_json::from_str(text));
        match about {
            Some(Ok(about)) => Ok(Some(Self { about, weights })),
            _ => Err(TrainerError::DamagedFile {
                path,
                reason: "its metadata doesn't say of which trial it is".into(),
            }),
        }
    }

    /// Removes what is left in a folder.
    pub fn remove(folder: &Path) -> Result<(), TrainerError> {
        let path = path(folder);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(TrainerError::io("remove", &path, error))
            }
            _ => Ok(()),
        }
    }
}

impl<'b> Run<'_, 'b> {
    /// Keeps a network that has not seen the rows `held_out`, for a search that may be interrupted.
    pub(super) fn keep_trial(
        &self,
        probed: &Probed<'b>,
        method: Method,
        held_out: &[usize],
        weights: &Weights,
    ) -> Result<(), TrainerError> {
        let Some(writer) = &self.writer else {
            return Ok(());
        };
        let about = About {
            scale: method.scale,
            size: method.size,
            rate: method.rate,
            held_out: positions(probed, held_out),
        };
        let metadata = BTreeMap::from([(ABOUT.to_string(), serde_json::json!(about).to_string())]);
        let tensors = named_tensors(weights.clone(), TensorOut::f32);
        let path = path(writer.path());
        write_safetensors(&path, tensors, &metadata).map_err(TrainerError::of_writing)
    }

    /// Returns the way to train of an earlier trial and what it had learnt, where it held out the same images and is of the network
    /// that is chosen now.
    pub(super) fn take_up(
        &mut self,
        probes: &Probes<'_, 'b>,
        held_out: &[usize],
        per_image: f64,
        first: Method,
    ) -> Result<Option<(Contender, Weights)>, TrainerError> {
        let Some(Interim { about, weights }) = self.interim.take() else {
            return Ok(None);
        };
        let probed = probes.at(about.scale);
        let is_there = about.scale == Scale::Whole || probes.reduced.is_some();
        let expected = weights_of(&probed.classifier);
        let is_same = weights.len() == expected.len()
            && weights
                .iter()
                .zip(&expected)
                .all(|((name, tensor), (other, expected))| {
                    name == other && tensor.shape == expected.shape
                });
        let is_held_out = positions(probed, held_out) == about.held_out;
        if !(is_there && is_held_out && is_same) {
            let message = "what the interrupted search had trained is not taken up: its network or its images are not those of \
                           now"
            .to_string();
            self.tell(&Event::Note { message })?;
            return Ok(None);
        }
        let method = Method {
            scale: about.scale,
            size: about.size,
            rate: about.rate,
            why: "it was interrupted",
        };
        let contender = Contender {
            method,
            per_image: per_image * method.cost(first),
            trials: Vec::new(),
        };
        Ok(Some((contender, weights)))
    }
}

fn positions(probed: &Probed<'_>, rows: &[usize]) -> Vec<usize> {
    rows.iter().map(|row| probed.seen.indices[*row]).collect()
}
