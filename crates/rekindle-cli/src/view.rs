//! How a network is to see pictures, where that isn't as its weights ask for.

use std::path::Path;

use rekindle::imagefolder::{Channels, Preprocess, ResizeMode};
use rekindle::trainer::{RunDirectory, TrainerError};

use crate::arguments::{Resize, View};
use crate::console::counted;
use crate::failure::Failure;

impl View {
    /// Returns the preprocessing of weights, changed by the options that are given.
    pub fn of(self, preprocess: &Preprocess) -> Preprocess {
        let seen = preprocess.clone();
        let seen = match self.image_size {
            Some(side) => seen.at_size(side),
            None => seen,
        };
        match self.resize {
            Some(how) => seen.with_mode(how.into()),
            None => seen,
        }
    }

    /// Returns the preprocessing that a run began with, where the options that are given don't say otherwise.
    pub fn resumed(self, run: &Path, preprocess: &Preprocess) -> Result<Preprocess, Failure> {
        let recorded = RunDirectory::open(run)?.classes()?.preprocessing;
        let recorded: Preprocess = serde_json::from_value(recorded).unwrap_or(preprocess.clone());
        let asked_for = preprocess.channels.or(recorded.channels);
        let same = |channels: &Channels| {
            recorded
                .channels
                .is_some_and(|own| own.count == channels.count)
        };
        let asked = Preprocess {
            // A white that isn't given is the one that it began with.
            channels: match asked_for.filter(same) {
                Some(Channels { white: None, .. }) => recorded.channels,
                _ => asked_for,
            },
            ..self.of(&recorded)
        };
        if asked == recorded {
            return Ok(recorded);
        }
        let channels = |count| counted(count, "channel", "channels");
        let shown = |preprocess: &Preprocess| {
            let depth = match preprocess.channels {
                None => String::new(),
                Some(Channels { count, white: None }) => format!(", {}", channels(count)),
                Some(Channels {
                    count,
                    white: Some(white),
                }) => format!(", {} with white at {white}", channels(count)),
            };
            format!("{:?} at {} pixels{depth}", preprocess.mode, preprocess.crop)
        };
        Err(TrainerError::OtherRecipe {
            path: run.to_path_buf(),
            field: "preprocessing".into(),
            recorded: shown(&recorded).to_lowercase(),
            found: shown(&asked).to_lowercase(),
        }
        .into())
    }
}

impl From<Resize> for ResizeMode {
    fn from(resize: Resize) -> Self {
        match resize {
            Resize::Crop => ResizeMode::Crop,
            Resize::Squash => ResizeMode::Squash,
            Resize::Letterbox => ResizeMode::Letterbox,
        }
    }
}
