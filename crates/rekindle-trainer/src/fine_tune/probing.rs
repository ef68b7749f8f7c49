//! The first stage: features of each candidate network, and the best linear head on them.

use std::sync::Arc;
use std::time::Duration;

use burn::prelude::*;
use rekindle_imagefolder::{ImageDataset, OnBadFile, Pipeline};
use rekindle_models::Pretrained;
use rekindle_nn::Network;
use rekindle_transfer::features::{FoundProbe, FoundRidge, LinearHead, ProbeKind, ProbeSearch};
use rekindle_transfer::{Backbone, Classifier};

use super::candidate::Candidate;
use super::heads::{Heads, may_mirror};
use super::run::Run;
use crate::TrainerError;
use crate::activations::{FrozenPart, Views};
use crate::adapt::with_fresh_head;
use crate::calibration::{calibration, prefix};
use crate::data::{TransferData, eval_pipeline};
use crate::events::Event;
use crate::inspect::{Inspection, is_sampled};
use crate::pooled::{Pooled, pooled, split};
use crate::recipe::Cache;

/// Share of the budget that mirrored views may take: they serve a choice that is small.
const FOR_MIRRORED: f64 = 0.1;

/// Share of the budget after which no further network is begun.
const FOR_NETWORKS: f64 = 0.3;

/// Share of the time before validation after which no further probe is begun.
const FOR_PROBES: f64 = 0.5;

/// Training images below which the cross-validation is repeated.
const FEW: usize = 150;

/// A network with the best head on its frozen features.
pub(super) struct Probed<'b> {
    pub candidate: &'b Candidate,
    /// The form of it that the head is for.
    pub pretrained: &'b Pretrained,
    /// The images as this network sees them.
    pub data: TransferData,
    pub seen: Pooled,
    pub mirrored: Option<Pooled>,
    pub source: Option<LinearHead>,
    pub search: ProbeSearch,
    pub found: FoundProbe,
    /// The threshold of each label, where images have several.
    pub thresholds: Option<Vec<f64>>,
    /// How the head was found, where numbers are learned.
    pub ridge: Option<FoundRidge>,
    /// The network with that head.
    pub classifier: Classifier<Network>,
    /// Frozen part that images are measured by: in `f32`, whatever they were learnt from.
    pub measured_by: FrozenPart<Network>,
    /// Says whether mirrored pictures speak of the same classes, as far as the folds know.
    pub may_mirror: bool,
    /// Seconds for an image to go through the network.
    pub seconds_per_image: f64,
    /// Seconds that its heads took.
    pub seconds_of_heads: f64,
}

/// What the probes have found.
pub(super) struct Best<'b> {
    /// The best network.
    pub single: Probed<'b>,
    /// Networks side by side, where they are better.
    pub joined: Option<Probed<'b>>,
}

impl<'b> Best<'b> {
    /// Returns the best of all.
    pub fn chosen(&self) -> &Probed<'b> {
        self.joined.as_ref().unwrap_or(&self.single)
    }
}

/// Features of the training images.
struct Looked {
    seen: Pooled,
    mirrored: Option<Pooled>,
    /// Seconds for an image to go through the network.
    seconds_per_image: f64,
}

impl<'a, 'b> Run<'a, 'b> {
    /// Probes one network after the other, as far as the budget goes, then several side by side.
    pub(super) fn probe_all(&mut self) -> Result<Best<'b>, TrainerError> {
        let (first, others) = self
            .candidates
            .single
            .split_first()
            .ok_or_else(no_network)?;
        let first = self.probe(first, None)?;
        self.tell_probes(&first, None)?;
        let (mut probed, mut best) = (vec![first], 0);
        // Where the time doesn't suffice for all, it does for more of the fast ones.
        let mut others: Vec<&Candidate> = others.iter().collect();
        others.sort_by_key(|candidate| candidate.multiply_adds());
        for candidate in others {
            if self.share_of_budget() > FOR_NETWORKS {
                let message = format!(
                    "{} was not tried: the budget is too short for another network",
                    candidate.plain.architecture
                );
                self.tell(&Event::Warning { message })?;
                continue;
            }
            let next = self.probe(candidate, None)?;
            best = self.rated(&mut probed, best, next)?;
        }
        let mut joined = None;
        if let Some(of_all) = self.probe_side_by_side(&probed)? {
            let at = self.rated(&mut probed, best, of_all)?;
            joined = probed.pop().filter(|_| at != best);
        }
        let single = probed.swap_remove(best);
        Ok(Best { single, joined })
    }

    /// Adds a network to those that were probed, and returns the position of the best one.
    fn rated(
        &mut self,
        probed: &mut Vec<Probed<'b>>,
        best: usize,
        next: Probed<'b>,
    ) -> Result<usize, TrainerError> {
        let rival = &probed[best];
        let is_better = match (next.held_out_loss(), rival.held_out_loss()) {
            (Some(next), Some(rival)) => next < rival,
            _ => false,
        };
        self.tell_probes(&next, Some((rival, is_better)))?;
        probed.push(next);
        Ok(if is_better { probed.len() - 1 } else { best })
    }

    /// Finds the best head for a network; `size` says of which pictures, where it is not the network's first probe.
    pub(super) fn probe(
        &mut self,
        candidate: &'b Candidate,
        size: Option<&str>,
    ) -> Result<Probed<'b>, TrainerError> {
        let mut data = self.data.seen_by(&candidate.plain.preprocess)?;
        let (_, source) = split(candidate.plain.model.clone());
        let multilevel = candidate.multilevel.as_ref().filter(|_| {
            let is_tried = self.choices.kinds().contains(&ProbeKind::Multilevel);
            !self.choices.quantize && is_tried
        });
        let widest = multilevel.map_or(&candidate.plain, |(widest, _)| widest);
        let (classes, device) = (data.classes.len(), self.choices.device.clone());
        let plain = eval_pipeline(&data.preprocess);
        let workers = self.choices.workers;
        let images = (self.choices.quantize)
            .then(|| calibration(&data.train, plain.clone(), workers, &device))
            .transpose()?;
        let part = |of: &Pretrained, images: Option<&[Tensor<4>]>| frozen(of, images, &device);
        // Others may ask for the network's own features later.
        let is_left = self.choices.shared.is_some() || matches!(self.choices.cache, Cache::Disk(_));
        let beginning = || match multilevel.filter(|_| is_left) {
            Some((_, parts)) => Ok(Some((part(&candidate.plain, None)?.prefix, parts[0]))),
            None => Ok::<_, TrainerError>(None),
        };
        let mut learnt_from = part(widest, images.as_deref())?;
        learnt_from.beginning = beginning()?;
        let name = |what: &str| match (size, self.candidates.single.len()) {
            (Some(size), _) => format!("{what} {size}"),
            (None, 1) => what.to_string(),
            (None, _) => format!("{what}, {}", candidate.plain.architecture),
        };
        if size.is_none() {
            self.choose_images(&learnt_from, &data, &plain)?;
        }
        if let Some(rows) = &self.chosen {
            data.train = Arc::new(data.train.subset(rows));
        }
        let Looked {
            mut seen,
            mut mirrored,
            seconds_per_image,
        } = self.look(&learnt_from, &data, &plain, &name)?;
        self.choices.interrupt.check()?;
        let mut search = ProbeSearch {
            seed: self.choices.seed,
            parts: multilevel.map_or(Vec::new(), |(_, parts)| parts.clone()),
            repeats: if seen.labels.len() < FEW { 3 } else { 1 },
            weights: seen.weights(&data.train),
            groups: seen.groups(&data.train),
            kinds: self.choices.kinds(),
            ..self.choices.probe.clone()
        };
        let rows = mirrored.as_ref().map(|mirrored| &mirrored.features);
        let look = seconds_per_image * data.val.len() as f64;
        let (clock, budget) = (self.clock(), self.choices.budget);
        // What an interrupted search had the time for must not be missing in the end.
        let had_time = self.before.is_some();
        let is_early = |budget: Duration| {
            had_time || clock.seconds() < FOR_PROBES * (budget.as_secs_f64() - look)
        };
        let goes_on = || budget.is_none_or(is_early);
        let source_rows = (source.as_ref(), rows);
        let heads = |_: &mut Self| Heads::find(&search, &seen, classes, source_rows, &goes_on);
        let (heads, seconds_of_heads) = self.phase(&name("heads on the features"), heads)?;
        let Heads {
            mut found,
            thresholds,
            ridge,
            is_of_all,
        } = heads;
        let mut pretrained = widest;
        if let Some((_, parts)) = multilevel
            && !is_of_all
        {
            let own = 0..parts[0];
            pretrained = &candidate.plain;
            search.parts.clear();
            seen.features = seen.features.columns(own.clone())?;
            if let Some(mirrored) = &mut mirrored {
                mirrored.features = mirrored.features.columns(own.clone())?;
            }
            if found.head.dim() > parts[0] {
                found.head = found.head.columns(own)?;
            }
        }
        let head = found.head.clone();
        let mut measured_by = part(pretrained, None)?;
        if !std::ptr::eq(pretrained, &candidate.plain) {
            measured_by.beginning = beginning()?;
        }
        Ok(Probed {
            classifier: with_fresh_head(pretrained, classes, self.choices.seed)
                .with_head(head.weight, head.bias)?,
            measured_by,
            candidate,
            pretrained,
            data,
            seen,
            mirrored,
            source,
            search,
            may_mirror: may_mirror(&found),
            found,
            thresholds,
            ridge,
            seconds_per_image,
            seconds_of_heads,
        })
    }

    /// Looks at the training images, and at their mirrored views where there is the time.
    fn look(
        &mut self,
        part: &FrozenPart<Network>,
        data: &TransferData,
        plain: &Pipeline,
        name: &dyn Fn(&str) -> String,
    ) -> Result<Looked, TrainerError> {
        let before = self.clock().seconds();
        let of_train = name("features of the training images");
        let seen = self.features(part, &data.train, plain, &of_train)?;
        let seconds = self.clock().seconds() - before;
        let mirrored = match self.choices.budget {
            Some(budget)
                if data.task().is_single_label()
                    && seconds < self.share_for_mirrored() * budget.as_secs_f64() =>
            {
                let of_mirrored = name("features of the training images mirrored");
                let found = self.features(part, &data.train, &plain.mirrored(), &of_mirrored)?;
                // A file that went away meanwhile would shift the rows.
                (found.indices == seen.indices).then_some(found)
            }
            _ => None,
        };
        Ok(Looked {
            seen,
            mirrored,
            seconds_per_image: seconds / data.train.len().max(1) as f64,
        })
    }

    /// Returns the share of the budget that mirrored views of one network may take: other networks are worth more.
    fn share_for_mirrored(&self) -> f64 {
        FOR_MIRRORED / self.candidates.single.len().max(1) as f64
    }

    /// Computes the pooled features of every readable image as `pipeline` shows it.
    pub(super) fn features(
        &mut self,
        part: &FrozenPart<Network>,
        dataset: &Arc<ImageDataset>,
        pipeline: &Pipeline,
        name: &str,
    ) -> Result<Pooled, TrainerError> {
        let interrupt = self.choices.interrupt.clone();
        let shared = self.choices.shared.clone();
        let views = Views {
            dataset,
            plain: pipeline.clone(),
            count: 1,
            seed: self.choices.seed,
            workers: self.choices.workers,
            on_bad_file: OnBadFile::Skip,
            interrupt: &interrupt,
            shared: shared.as_ref(),
        };
        let cache = self.choices.cache.clone();
        let mut told = Ok(());
        let found = pooled(part, &views, &cache, name, &mut |event| {
            if told.is_ok() {
                told = self.tell(event);
            }
        });
        told?;
        found
    }

    /// Looks at the validation images with the best head; nothing else does.
    pub(super) fn inspected(&mut self, probed: &Probed<'b>) -> Result<Inspection, TrainerError> {
        let dataset = &probed.data.val;
        let plain = eval_pipeline(&probed.data.preprocess);
        let name = "features of the validation images";
        let seen = self.features(&probed.measured_by, dataset, &plain, name)?;
        let is_kept = |at: &usize| is_sampled(seen.indices[*at], dataset.len());
        let kept: Vec<usize> = (0..seen.indices.len()).filter(is_kept).collect();
        let logits = probed.found.head.logits(&seen.features)?;
        Ok(Inspection {
            features: seen.features.select(&kept).values().to_vec(),
            kept,
            classes: logits.len() / seen.labels.len().max(1),
            logits: logits.into_iter().map(|logit| logit as f32).collect(),
            indices: seen.indices,
            skipped: Vec::new(),
        })
    }
}

impl Probed<'_> {
    /// Computes the mean log loss, or squared error of numbers, on held-out training images; none where nothing could be held
    /// out.
    pub fn held_out_loss(&self) -> Option<f64> {
        let loss = match &self.ridge {
            Some(ridge) => ridge.chosen().mean_squared_error,
            None => self.found.chosen().log_loss,
        };
        Some(loss).filter(|loss| loss.is_finite())
    }

    /// Returns a squared error of numbers as that of standardised ones; a log loss as it is.
    pub fn standardized(&self, loss: f64) -> f64 {
        let scale = self.data.target_scale;
        scale.map_or(loss, |scale| loss / f64::from(scale.deviation).powi(2))
    }
}

/// Returns the frozen part that gives a network's features.
pub(super) fn frozen(
    of: &Pretrained,
    images: Option<&[Tensor<4>]>,
    device: &Device,
) -> Result<FrozenPart<Network>, TrainerError> {
    let (network, _) = split(of.model.clone());
    let stages = network.stage_names().len();
    Ok(FrozenPart {
        beginning: None,
        prefix: prefix(&network, stages, images)?,
        device: device.clone(),
    })
}

pub(super) fn no_network() -> TrainerError {
    TrainerError::UnusableData {
        what: "weights".into(),
        found: "no network to choose from".into(),
        advice: "give at least one",
    }
}
