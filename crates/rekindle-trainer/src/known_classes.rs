//! Goes on from a trained model when classes come and go.

use std::sync::Arc;

use rekindle_imagefolder::Task;
use rekindle_models::Pretrained;
use rekindle_nn::Network;
use rekindle_transfer::features::LinearHead;
use rekindle_transfer::{Classifier, Strategy};
use serde::Serialize;

use crate::adapt::with_fresh_head;
use crate::inspect::inspect;
use crate::pooled::split;
use crate::{Interrupt, Predictions, Source, Trainer, TrainerError, TransferData, text};

/// Class names shown in an error.
const SHOWN: usize = 10;

/// The classes of a trained model beside those of new data, matched by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownClasses {
    /// Positions of a class among the model's and among the data's.
    pairs: Vec<(usize, usize)>,
    /// Number of the model's classes.
    of_model: usize,
    /// Names of the classes that both have, in the data's order.
    pub kept: Vec<String>,
    /// Names of the classes that the data alone has.
    pub new: Vec<String>,
    /// Names of the classes that the model alone has.
    pub dropped: Vec<String>,
}

/// How well the classes that a model knew before are recognised before and after it learnt others.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Forgetting {
    /// Number of validation images of these classes.
    pub images: usize,
    /// Share that the model recognised before, among its own classes, 0 to 1.
    pub accuracy_before: f64,
    /// Share that it recognises now, among all classes of the data, 0 to 1.
    pub accuracy_after: f64,
}

impl KnownClasses {
    /// Matches the classes of `model` with those of `data`.
    ///
    /// # Errors
    ///
    /// [`TrainerError::ModelLacks`] where the model's file has no head or no class names, or images have several labels or numbers;
    /// [`TrainerError::UnusableData`] where no class is known to it.
    pub fn of(model: &Pretrained, data: &TransferData) -> Result<Self, TrainerError> {
        let what = || "model to go on from".to_string();
        let lacks = |found: &str, advice| {
            Err(TrainerError::ModelLacks {
                what: what(),
                found: found.into(),
                advice,
            })
        };
        if data.task() != Task::SingleLabel || model.task.is_some() {
            return lacks(
                "the task is not to name one of classes without an order",
                "train its classes anew: only heads of one class per image are carried over",
            );
        }
        let names = model.classes.as_ref();
        let Some(names) = names.filter(|names| names.len() == model.model.num_classes()) else {
            return lacks(
                "it doesn't say which class each of its outputs is",
                "give a file or a run that rekindle trained, or begin with --weights",
            );
        };
        let place = |name: &String| data.classes.iter().position(|class| class == name);
        let mut pairs: Vec<(usize, usize)> = names
            .iter()
            .enumerate()
            .filter_map(|(own, name)| Some((own, place(name)?)))
            .collect();
        pairs.sort_by_key(|(_, class)| *class);
        if pairs.is_empty() {
            return Err(TrainerError::UnusableData {
                what: what(),
                found: format!(
                    "it knows {}, none of the data's classes",
                    text::listed(names, SHOWN)
                ),
                advice: "name the classes' folders as in its training, or begin with --weights",
            });
        }
        let kept: Vec<String> = pairs.iter().map(|(own, _)| names[*own].clone()).collect();
        let without = |names: &[String]| -> Vec<String> {
            let others = names.iter().filter(|name| !kept.contains(name));
            others.cloned().collect()
        };
        Ok(Self {
            of_model: names.len(),
            new: without(&data.classes),
            dropped: without(names),
            pairs,
            kept,
        })
    }

    /// Puts the rows that the model has for known classes into the head of `fresh`, whose other rows stay.
    fn head_into(
        &self,
        model: &Pretrained,
        fresh: Classifier<Network>,
    ) -> Result<Classifier<Network>, TrainerError> {
        let (_, known) = known(model)?;
        let mut head = LinearHead::of(&fresh.head);
        let dim = head.dim();
        for (own, class) in &self.pairs {
            let row = &known.weight[own * dim..(own + 1) * dim];
            head.weight[class * dim..(class + 1) * dim].copy_from_slice(row);
            head.bias[*class] = known.bias[*own];
        }
        Ok(fresh.with_head(head.weight, head.bias)?)
    }

    /// Measures on the validation images of known classes what `model` knew and what `after`, the answers of the network that
    /// went on from it, still has right; none where there is no such image.
    ///
    /// # Errors
    ///
    /// Images that don't fit the network, and [`TrainerError::Interrupted`].
    pub fn forgetting(
        &self,
        model: &Pretrained,
        data: &TransferData,
        after: &Predictions,
        interrupt: &Interrupt,
    ) -> Result<Option<Forgetting>, TrainerError> {
        let own_place = |class: usize| {
            let pair = self.pairs.iter().find(|(_, found)| *found == class);
            pair.map(|(own, _)| *own)
        };
        // Of the images that both could read.
        let judged: Vec<(usize, bool)> = after
            .indices
            .iter()
            .zip(&after.labels)
            .zip(after.top())
            .filter(|((_, label), _)| own_place(**label).is_some())
            .map(|((index, label), (class, _))| (*index, class == *label))
            .collect();
        if judged.is_empty() {
            return Ok(None);
        }
        let (backbone, known) = known(model)?;
        let device = model.model.device();
        let before = Classifier::new(backbone, self.of_model, 0, &device)
            .with_head(known.weight, known.bias)?;
        let places: Vec<usize> = judged.iter().map(|(index, _)| *index).collect();
        let images = Arc::new(data.val.subset(&places));
        let found = inspect(&before, &images, |_| false, interrupt, |_| ())?;
        let rows = found.logits.chunks_exact(self.of_model);
        let right_before = rows.zip(&found.indices).filter(|(row, index)| {
            let answer = (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b]));
            let label = images.labels()[**index];
            label.and_then(own_place) == answer
        });
        let count = judged.len() as f64;
        Ok(Some(Forgetting {
            images: judged.len(),
            accuracy_before: right_before.count() as f64 / count,
            accuracy_after: judged.iter().filter(|(_, right)| *right).count() as f64 / count,
        }))
    }
}

/// Splits the model into its features and its head.
fn known(model: &Pretrained) -> Result<(Network, LinearHead), TrainerError> {
    let (backbone, head) = split(model.model.clone());
    let head = head.ok_or_else(|| TrainerError::ModelLacks {
        what: "model to go on from".into(),
        found: "a network without a head".into(),
        advice: "begin with --weights",
    })?;
    Ok((backbone, head))
}

impl Trainer<'_, Network> {
    /// Creates a trainer that goes on from a trained `model` with the classes of `data`: as [`adapt`](Self::adapt), but the
    /// head begins with the model's rows for the classes that both have. [`KnownClasses::forgetting`] measures what became
    /// of these.
    ///
    /// # Errors
    ///
    /// As [`KnownClasses::of`]; [`TrainerError::UnusableData`] under [`Strategy::FromScratch`], which keeps nothing.
    pub fn extend(
        model: &Pretrained,
        data: TransferData,
        strategy: Strategy,
        seed: u64,
    ) -> Result<Self, TrainerError> {
        if strategy == Strategy::FromScratch {
            return Err(TrainerError::UnusableData {
                what: "model to go on from".into(),
                found: "the strategy scratch, which begins with fresh weights".into(),
                advice: "take another strategy, such as features or finetune",
            });
        }
        let known = KnownClasses::of(model, &data)?;
        let fresh = with_fresh_head(model, data.classes.len(), seed);
        let classifier = known.head_into(model, fresh)?;
        Ok(Trainer::new(classifier, data)
            .source(Source::of(model))
            .strategy(strategy))
    }
}
