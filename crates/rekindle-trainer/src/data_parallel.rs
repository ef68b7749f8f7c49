//! One batch on several devices at once.

use std::thread;

use burn::module::{ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::prelude::*;
use rekindle_transfer::Backbone;

use crate::TrainerError;
use crate::feed::Batch;
use crate::learner::StepOutcome;
use crate::loss::Targets;
use crate::replica::Replica;

/// Loss and gradients of `share` times the mean loss of a batch whose images are divided among `first`'s device and
/// `others`; the gradients lie on the first.
pub(crate) fn gradients<B: Backbone>(
    first: &Replica<B>,
    others: &[Device],
    batch: &Batch,
    share: f64,
) -> Result<(StepOutcome, GradientsParams), TrainerError> {
    let mut parts = split(batch, others.len() + 1).into_iter();
    let Some(own) = parts.next() else {
        return first.gradients(batch, share);
    };
    let whole = mass(&batch.targets);
    let part_of = |part: &Batch| mass(&part.targets) / whole;
    thread::scope(|scope| {
        let away: Vec<_> = parts
            .zip(others)
            .map(|(part, device)| {
                let replica = first.on(device);
                let device = device.clone().without_autodiff();
                let weight = part_of(&part);
                let x = part.x.clone().to_device(&device);
                let part = Batch { x, ..part };
                (
                    weight,
                    scope.spawn(move || replica.gradients(&part, share * weight)),
                )
            })
            .collect();
        let weight = part_of(&own);
        let (mut sum, mut grads) = first.gradients(&own, share * weight)?;
        sum.loss *= weight;
        for (weight, thread) in away {
            let (outcome, theirs) = thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            sum.loss += outcome.loss * weight;
            sum.correct += outcome.correct;
            sum.images += outcome.images;
            first.classifier.visit(&mut Add {
                sum: &mut grads,
                theirs,
            });
        }
        Ok((sum, grads))
    })
}

/// Returns the number that a loss over these images is divided by.
fn mass(targets: &Targets) -> f64 {
    match &targets.weights {
        Some(weights) => weights.iter().map(|weight| f64::from(*weight)).sum(),
        None => targets.labels.len() as f64,
    }
}

/// Splits a batch into `count` batches, whose sizes differ by one image at most; fewer where there are fewer images.
fn split(batch: &Batch, count: usize) -> Vec<Batch> {
    let images = batch.targets.labels.len();
    let count = count.min(images);
    let begin = |part: usize| part * images / count.max(1);
    let part = |number: usize| {
        let range = begin(number)..begin(number + 1);
        let soft = batch.targets.soft.as_ref();
        let classes = soft.map_or(0, |soft| soft.len() / images);
        Batch {
            x: batch.x.clone().narrow(0, range.start, range.len()),
            targets: Targets {
                labels: batch.targets.labels[range.clone()].to_vec(),
                soft: soft.map(|soft| soft[range.start * classes..range.end * classes].to_vec()),
                weights: batch
                    .targets
                    .weights
                    .as_ref()
                    .map(|weights| weights[range.clone()].to_vec()),
                ..batch.targets.clone()
            },
            indices: batch.indices[range].to_vec(),
            ..batch.clone()
        }
    };
    (0..count).map(part).collect()
}

/// Adds one device's gradients to another's.
struct Add<'a> {
    sum: &'a mut GradientsParams,
    theirs: GradientsParams,
}

impl ModuleVisitor for Add<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(theirs) = self.theirs.remove::<D>(param.id) {
            let sum = match self.sum.remove::<D>(param.id) {
                Some(own) => own.clone() + theirs.to_device(&own.device()),
                None => theirs.to_device(&param.lazy_device().without_autodiff()),
            };
            self.sum.register(param.id, sum);
        }
    }
}
