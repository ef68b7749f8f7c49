//! What is told of probes.

use rekindle_models::Pretrained;
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
                what: named(scored, probed),
                why: match (&probed.candidate.members[..], scored.kind) {
                    ([_, ..], ProbeKind::Multilevel) => "networks err on different images".into(),
                    _ => reason(scored).into(),
                },
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

/// Names a probe and the networks whose features it sees.
fn named(scored: &ScoredProbe, probed: &Probed<'_>) -> String {
    let networks = &probed.candidate.members;
    let names = |some: &[Pretrained]| {
        let names: Vec<&str> = some.iter().map(|one| one.architecture.as_str()).collect();
        names.join(", ")
    };
    match (&networks[..], scored.kind) {
        ([], _) => format!(
            "{} of {}",
            described(scored),
            probed.candidate.plain.architecture
        ),
        (all, ProbeKind::Multilevel) => {
            format!("a probe on features side by side of {}", names(all))
        }
        (all, _) => format!("{} of {}", described(scored), names(&all[..1])),
    }
}

pub(super) fn described(scored: &ScoredProbe) -> String {
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
        ProbeKind::Multilevel => "a probe on features of two levels",
        ProbeKind::Ridge => "ridge regression on features as they are",
    };
    format!("{kind}{rows}")
}

pub(super) fn reason(scored: &ScoredProbe) -> &'static str {
    match (scored.mirrored, scored.kind) {
        (true, _) => "twice the rows where left and right don't matter",
        (false, ProbeKind::Normalized) => "the plain way",
        (false, ProbeKind::Scaled) => "lengths may mean something",
        (false, ProbeKind::Standardized) => "small features may mean much",
        (false, ProbeKind::Prior) => "the source may know the classes",
        (false, ProbeKind::Multilevel) => "earlier layers may know what the last one forgot",
        (false, ProbeKind::Ridge) => "in closed form, by its errors on images left out",
    }
}
