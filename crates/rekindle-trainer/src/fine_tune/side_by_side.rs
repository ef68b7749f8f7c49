//! One head on the features of several networks.

use rekindle_models::{Preprocess, Pretrained};
use rekindle_transfer::features::{Features, ProbeKind, ProbeSearch};

use super::candidate::Candidate;
use super::heads::Heads;
use super::probing::{Probed, frozen};
use super::run::Run;
use crate::TrainerError;
use crate::adapt::with_fresh_head;
use crate::data::eval_pipeline;
use crate::events::Event;
use crate::pooled::Pooled;

/// Networks in one at most.
const MOST: usize = 4;

impl<'b> Run<'_, 'b> {
    /// Probes the features of several networks together: of the best one, and of those after it by their loss on held-out
    /// images, as many as there is the time for. None where there is no time for two, or where their forms don't allow it.
    ///
    /// Pictures are as the best one sees them.
    pub(super) fn probe_side_by_side(
        &mut self,
        probed: &[Probed<'b>],
    ) -> Result<Option<Probed<'b>>, TrainerError> {
        let is_wanted = self.choices.kinds().contains(&ProbeKind::Multilevel);
        if !is_wanted || self.choices.quantize {
            return Ok(None);
        }
        let mut order: Vec<(&Probed<'b>, f64)> = probed
            .iter()
            .filter_map(|one| Some((one, one.held_out_loss()?)))
            .collect();
        order.sort_by(|(_, a), (_, b)| a.total_cmp(b));
        let Some((first, _)) = order.first().copied() else {
            return Ok(None);
        };
        let fits = |one: &&Probed<'b>| {
            let is_first = std::ptr::eq(*one, first);
            is_first || Pretrained::side_by_side(&[first.pretrained, one.pretrained]).is_some()
        };
        let joinable = order.iter().map(|(one, _)| *one).filter(fits);
        let members: Vec<&Probed<'b>> = joinable.take(MOST).collect();
        if members.len() < 2 {
            return Ok(None);
        }
        let most = (2..=members.len())
            .rev()
            .find(|count| self.is_time_for(&members[..*count]));
        let Some(most) = most else {
            let message = "networks side by side were not tried: the budget is too short".into();
            self.tell(&Event::Note { message })?;
            return Ok(None);
        };
        self.probe_members(&members[..most])
    }

    /// Tells whether features of all members as the first one sees pictures, heads, and the look at the validation images can be
    /// had in time.
    fn is_time_for(&self, members: &[&Probed<'b>]) -> bool {
        let all = members.iter().map(|one| one.seconds_per_image).sum();
        let Some(end) = self.end_of_training_at(all, members[0].data.val.len()) else {
            return true;
        };
        let first = &members[0].data.preprocess;
        let anew = members
            .iter()
            .filter(|one| seen_alike(first, &one.data.preprocess) != one.data.preprocess);
        let anew: f64 = anew.map(|one| one.seconds_per_image).sum();
        let passes = anew * members[0].data.train.len() as f64;
        let heads: f64 = members.iter().map(|one| one.seconds_of_heads).sum();
        self.clock().seconds() + passes + heads < end
    }

    fn probe_members(
        &mut self,
        members: &[&Probed<'b>],
    ) -> Result<Option<Probed<'b>>, TrainerError> {
        let first = members[0];
        let networks: Vec<&Pretrained> = members.iter().map(|one| one.pretrained).collect();
        let Some((joined, lengths)) = Pretrained::side_by_side(&networks) else {
            return Ok(None);
        };
        let mut features = first.seen.features.clone();
        let (mut parts, mut seconds_per_image) = (Vec::new(), 0.0);
        for (at, member) in members.iter().enumerate() {
            match member.search.parts.len() {
                0 | 1 => parts.push(lengths[at]),
                _ => parts.extend(&member.search.parts),
            }
            seconds_per_image += member.seconds_per_image;
            if at > 0 {
                let Some(own) = self.features_as(first, member)? else {
                    return Ok(None);
                };
                features = features.beside(&own)?;
            }
        }
        self.choices.interrupt.check()?;
        let seen = Pooled {
            features,
            labels: first.seen.labels.clone(),
            targets: first.seen.targets.clone(),
            indices: first.seen.indices.clone(),
            task: first.seen.task,
        };
        let search = ProbeSearch {
            parts,
            kinds: vec![ProbeKind::Multilevel, ProbeKind::Prior],
            ..first.search.clone()
        };
        let classes = first.data.classes.len();
        let source = (first.source.as_ref(), None);
        let heads = |_: &mut Self| Heads::find(&search, &seen, classes, source, &|| true);
        let (heads, seconds_of_heads) = self.phase("heads on the features side by side", heads)?;
        let Heads {
            found,
            thresholds,
            ridge,
            is_of_all,
        } = heads;
        if !is_of_all {
            return Ok(None);
        }
        let members = members.iter().map(|one| one.candidate.plain.clone());
        let members = members.collect();
        let joined = || Candidate::joined(joined, members);
        let candidate = self.candidates.joined.get_or_init(joined);
        let (pretrained, head) = (&candidate.plain, found.head.clone());
        Ok(Some(Probed {
            classifier: with_fresh_head(pretrained, classes, self.choices.seed)
                .with_head(head.weight, head.bias)?,
            measured_by: frozen(pretrained, None, &self.choices.device)?,
            candidate,
            pretrained,
            data: first.data.clone(),
            seen,
            mirrored: None,
            source: first.source.clone(),
            search,
            may_mirror: first.may_mirror,
            found,
            thresholds,
            ridge,
            seconds_per_image,
            seconds_of_heads,
        }))
    }

    /// Returns a network's features of pictures as another one sees them; none where a file went away meanwhile.
    fn features_as(
        &mut self,
        first: &Probed<'b>,
        other: &Probed<'b>,
    ) -> Result<Option<Features>, TrainerError> {
        let preprocess = seen_alike(&first.data.preprocess, &other.data.preprocess);
        let seen = if preprocess == other.data.preprocess {
            None
        } else {
            let data = other.data.seen_by(&preprocess)?;
            let part = frozen(other.pretrained, None, &self.choices.device)?;
            let name = format!(
                "features of the training images, {} on those of {}",
                other.candidate.plain.architecture, first.candidate.plain.architecture
            );
            let plain = eval_pipeline(&preprocess);
            Some(self.features(&part, &data.train, &plain, &name)?)
        };
        let seen = seen.as_ref().unwrap_or(&other.seen);
        Ok((seen.indices == first.seen.indices).then(|| seen.features.clone()))
    }
}

/// Returns the preprocessing that shows a network the same parts of pictures as another one sees, scaled as it wants them.
fn seen_alike(first: &Preprocess, own: &Preprocess) -> Preprocess {
    Preprocess {
        mean: own.mean,
        std: own.std,
        ..first.clone()
    }
}
