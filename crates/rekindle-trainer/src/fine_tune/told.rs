//! What is told of probes.

use rekindle_transfer::features::{ProbeKind, ScoredProbe};

use super::probing::Probed;
use super::regression;
use super::run::Run;
use crate::TrainerError;
use crate::events::{Event, Trial};

impl<'b> Run<'_, 'b> {
    /// Tells what each probe gained; `rival` is the network before and whether this one takes its place.
    pub(super) fn tell_probes(
        &mut self,
        probed: &Probed<'b>,
        rival: Option<(&Probed<'b>, bool)>,
    ) -> Result<(), TrainerError> {
        let found = &probed.found;
        if let Some(ridge) = &probed.ridge {
            let kept = rival.is_none_or(|(_, is_better)| is_better);
            return self.tell(&Event::Tried(regression::trial(probed, ridge, kept)));
        }
        let first = found.candidates[0];
        for (at, scored) in found.candidates.iter().enumerate() {
            let is_choice = at == found.choice || found.partners.contains(&at);
            let base = match rival {
                Some((rival, _)) if at == 0 => rival.found.chosen().accuracy,
                _ => first.accuracy,
            };
            let known = |value: f64| Some(value).filter(|value| value.is_finite());
            let is_first = at == 0 && rival.is_none();
            self.tell(&Event::Tried(Trial {
                what: described(scored, probed),
                why: reason(scored, probed).into(),
                images: probed.seen.labels.len(),
                accuracy: known(scored.accuracy),
                loss: known(scored.log_loss),
                mae: None,
                gain: known(scored.accuracy - base).filter(|_| !is_first),
                kept: is_choice && rival.is_none_or(|(_, is_better)| is_better),
                seconds: 0.0,
            }))?;
        }
        Ok(())
    }
}

/// What all parts of a network's features are, and why a head on them may be better than one on the first.
pub(super) fn all_parts(probed: &Probed<'_>) -> (&'static str, &'static str) {
    let candidate = probed.candidate;
    match (
        candidate.members.len(),
        candidate.plain.model.graph().tokens(),
    ) {
        (0, None) => (
            "features of two levels",
            "earlier layers may know what the last one forgot",
        ),
        (0, Some(_)) => (
            "the class token and the mean of all",
            "patches may show what the class token let go of",
        ),
        _ => ("features side by side", "networks err on different images"),
    }
}

/// Names a probe and the networks whose features it sees.
pub(super) fn described(scored: &ScoredProbe, probed: &Probed<'_>) -> String {
    let rows = if scored.mirrored {
        ", mirrored as well"
    } else {
        ""
    };
    let kind = match scored.kind {
        ProbeKind::Normalized => "a probe on features of one length",
        ProbeKind::Scaled => "a probe on features as they are",
        ProbeKind::Standardized => "a probe on standardised features",
        ProbeKind::Prior => "a probe that starts from the source's classes",
        ProbeKind::Multilevel => &format!("a probe on {}", all_parts(probed).0),
        ProbeKind::Ridge => match probed.search.parts.len() {
            0 | 1 => "ridge regression on features as they are",
            _ => &format!("ridge regression on {}", all_parts(probed).0),
        },
    };
    let is_of_first = !matches!(scored.kind, ProbeKind::Multilevel | ProbeKind::Ridge);
    let networks = match &probed.candidate.members[..] {
        [] => std::slice::from_ref(&probed.candidate.plain),
        [first, ..] if is_of_first => std::slice::from_ref(first),
        all => all,
    };
    let networks: Vec<&str> = networks
        .iter()
        .map(|one| one.architecture.as_str())
        .collect();
    format!("{kind}{rows} of {}", networks.join(", "))
}

pub(super) fn reason(scored: &ScoredProbe, probed: &Probed<'_>) -> &'static str {
    match (scored.mirrored, scored.kind) {
        (true, _) => "twice the rows where left and right don't matter",
        (false, ProbeKind::Normalized) => "the plain way",
        (false, ProbeKind::Scaled) => "lengths may mean something",
        (false, ProbeKind::Standardized) => "small features may mean much",
        (false, ProbeKind::Prior) => "the source may know the classes",
        (false, ProbeKind::Multilevel) => all_parts(probed).1,
        (false, ProbeKind::Ridge) => "in closed form, by its errors on images left out",
    }
}
