//! The network on smaller pictures, which it learns several times as fast.

use rekindle_models::{Preprocess, Pretrained};

use super::methods::{Scale, side};
use super::probing::Probed;
use super::run::Run;
use super::scores::Scored;
use super::told::described;
use crate::TrainerError;
use crate::events::{Event, Trial};

/// Side of reduced pictures, as a share of the whole ones'.
const SHARE: f64 = 0.58;

/// What the probes say of a network: on whole pictures, and on reduced ones where these are worth a try.
pub(super) struct Probes<'p, 'b> {
    pub whole: &'p Probed<'b>,
    pub reduced: Option<&'p Probed<'b>>,
    /// Networks side by side, whose probe is then the one to beat.
    pub joined: Option<&'p Probed<'b>>,
}

impl<'p, 'b> Probes<'p, 'b> {
    /// Returns what is known of the network at this scale.
    pub fn at(&self, scale: Scale) -> &'p Probed<'b> {
        match scale {
            Scale::Whole => self.whole,
            Scale::Reduced => self.reduced.unwrap_or(self.whole),
        }
    }
}

/// Returns the network for smaller pictures, in training and in use; none where it takes one size alone.
pub(super) fn reduced(pretrained: &Pretrained) -> Option<Pretrained> {
    let seen = seen_reduced(pretrained)?;
    pretrained.clone().with_preprocess(seen).ok()
}

fn seen_reduced(pretrained: &Pretrained) -> Option<Preprocess> {
    let side = side(pretrained, SHARE)?;
    Some(pretrained.preprocess.clone().at_size(side))
}

impl<'a, 'b> Run<'a, 'b> {
    /// Probes the network on reduced pictures. They are worth a try where the probe names no fewer of the held-out images right
    /// there, at a log loss that is not clearly higher, by more than a standard error: else what tells the classes apart may be
    /// in the details.
    pub(super) fn probe_reduced(
        &mut self,
        whole: &Probed<'b>,
    ) -> Result<Option<Probed<'b>>, TrainerError> {
        let Some(candidate) = whole.candidate.reduced.as_deref() else {
            return Ok(None);
        };
        if whole.found.losses.is_empty() {
            return Ok(None);
        }
        let size = format!("at {} pixels", candidate.plain.preprocess.crop);
        let reduced = self.probe(candidate, Some(&size))?;
        if reduced.seen.indices != whole.seen.indices {
            // A file went away meanwhile.
            return Ok(None);
        }
        let scored = |probed: &Probed<'_>| Scored {
            right: probed.found.right.clone(),
            losses: probed.found.losses.clone(),
            ..Scored::default()
        };
        let found = scored(&reduced);
        let lead = found.lead_over(&scored(whole));
        let is_tried = lead.accuracy.0 >= 0.0 && !lead.is_far_behind();
        self.tell(&Event::Tried(Trial {
            what: format!("{} {size}", described(&reduced.found.chosen(), &reduced)),
            why: "smaller pictures are learnt from several times as fast".into(),
            images: reduced.seen.labels.len(),
            accuracy: found.accuracy(),
            loss: Some(found.loss()),
            mae: None,
            gain: Some(lead.accuracy.0),
            kept: false,
            seconds: 0.0,
        }))?;
        Ok(is_tried.then_some(reduced))
    }
}
