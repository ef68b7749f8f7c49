//! Heads on frozen features, of whatever the pictures are to say.

use rekindle_imagefolder::Task;
use rekindle_transfer::features::{Features, FoundProbe, FoundRidge, LinearHead, ProbeSearch};

use super::{multi_label, regression};
use crate::pooled::Pooled;
use crate::{Predictions, TrainerError};

/// The best head, and what goes with it.
pub(super) struct Heads {
    pub found: FoundProbe,
    /// The threshold of each label, where images have several.
    pub thresholds: Option<Vec<f64>>,
    /// How the head was found, where numbers are learned.
    pub ridge: Option<FoundRidge>,
    /// It looks at all parts of the features.
    pub is_of_all: bool,
}

impl Heads {
    /// Finds the best head. The classifier to start from and features of the images mirrored serve where each image has one
    /// class.
    pub fn find(
        search: &ProbeSearch,
        seen: &Pooled,
        classes: usize,
        (source, mirrored): (Option<&LinearHead>, Option<&Features>),
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Self, TrainerError> {
        let (mut thresholds, mut ridge) = (None, None);
        let (found, is_of_all) = match seen.task {
            Task::MultiLabel => {
                let (found, chosen, is_of_all) =
                    multi_label::probe(search, seen, classes, goes_on)?;
                thresholds = chosen;
                (found, is_of_all)
            }
            Task::Regression => {
                let (fitted, is_of_all) = regression::probe(search, seen)?;
                let found = regression::as_probe(&fitted);
                ridge = Some(fitted);
                (found, is_of_all)
            }
            Task::SingleLabel | Task::Ordinal => {
                let (rows, labels) = (&seen.features, &seen.labels);
                let found = search.fit_while(goes_on, rows, labels, classes, source, mirrored)?;
                let is_of_all = found.is_multilevel();
                (found, is_of_all)
            }
        };
        Ok(Self {
            found,
            thresholds,
            ridge,
            is_of_all,
        })
    }
}

/// Says whether mirrored pictures speak of the same classes, as far as the folds know.
pub(super) fn may_mirror(found: &FoundProbe) -> bool {
    let Some(mirrored) = found.candidates.iter().find(|scored| scored.mirrored) else {
        return false;
    };
    let plain = found
        .candidates
        .iter()
        .find(|scored| scored.kind == mirrored.kind && !scored.mirrored);
    plain.is_none_or(|plain| mirrored.log_loss <= plain.log_loss)
}

/// Returns a head's predictions for images whose features were computed.
pub(super) fn predictions(head: &LinearHead, seen: &Pooled) -> Result<Predictions, TrainerError> {
    let logits = head.logits(&seen.features)?;
    let images = seen.labels.len();
    let (classes, width) = (logits.len() / images, seen.targets.len() / images);
    let rows = logits.chunks_exact(classes).enumerate().map(|(at, row)| {
        let row: Vec<f32> = row.iter().map(|logit| *logit as f32).collect();
        let targets = &seen.targets[at * width..][..width];
        (row, seen.indices[at], seen.labels[at], targets)
    });
    Ok(Predictions::of_logits(seen.task, classes, rows))
}
