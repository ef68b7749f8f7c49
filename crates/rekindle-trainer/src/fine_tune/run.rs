//! One call as a run: what it does, and what it tells of it.

use std::sync::Arc;
use std::time::Instant;

use rekindle_imagefolder::{ImageDataset, OnBadFile};
use rekindle_models::Pretrained;
use rekindle_nn::Network;
use rekindle_transfer::features::{FittedProbe, LinearHead, PriorProbe};
use rekindle_transfer::{Backbone, Classifier};
use rekindle_weights::ModelInfo;
use serde_json::json;

use super::{FineTune, FineTuned};
use crate::TrainerError;
use crate::activations::{FrozenPart, Views};
use crate::announce::whole_network;
use crate::calibration::{calibration, prefix};
use crate::checkpoint::weights_of;
use crate::data::{TransferData, eval_pipeline};
use crate::events::{EndReason, EpochMetrics, Event, RunOutcome, RunSummary, StageSummary};
use crate::fit::{not_begun, write_weights};
use crate::inspect::softmax;
use crate::pooled::{Pooled, pooled, split};
use crate::run_directory::{ONE_CALL, RunWriter};
use crate::trainer::Source;
use crate::{Monitor, Predictions};

/// Images that go through the network together.
const BATCH: usize = 16;

pub(super) struct Run<'a, 'b> {
    choices: FineTune<'a>,
    pretrained: &'b Pretrained,
    data: &'b TransferData,
    writer: Option<RunWriter>,
    begun: Instant,
}

impl<'a, 'b> Run<'a, 'b> {
    pub(super) fn new(
        choices: FineTune<'a>,
        pretrained: &'b Pretrained,
        data: &'b TransferData,
        writer: Option<RunWriter>,
        begun: Instant,
    ) -> Self {
        Self {
            choices,
            pretrained,
            data,
            writer,
            begun,
        }
    }

    pub(super) fn finish(mut self) -> Result<FineTuned, TrainerError> {
        match self.adapt() {
            Ok(tuned) => Ok(FineTuned {
                writer: self.writer,
                ..tuned
            }),
            Err(error) => {
                let seconds = self.begun.elapsed().as_secs_f64();
                let observers = &mut self.choices.observers;
                let error = not_begun(self.writer, error, seconds, |event| {
                    for observer in observers.iter_mut() {
                        observer.on_event(event);
                    }
                });
                Err(error.with_architecture(&self.pretrained.architecture))
            }
        }
    }

    fn adapt(&mut self) -> Result<FineTuned, TrainerError> {
        let (network, source) = split(self.pretrained.model.clone());
        let classes = self.data.classes.len();
        let device = self.choices.device.clone();
        let untrained = Classifier::new(network, classes, self.choices.seed, &device);
        self.introduce(&untrained)?;

        let backbone = &untrained.backbone;
        let stages = backbone.stage_names().len();
        let plain = eval_pipeline(&self.data.preprocess);
        let images = self
            .choices
            .quantize
            .then(|| calibration(&self.data.train, plain, self.choices.workers, &device))
            .transpose()?;
        let part = |images| {
            Ok::<_, TrainerError>(FrozenPart {
                prefix: prefix(backbone, stages, images)?,
                device: device.clone(),
            })
        };
        // What is measured is the network that is left, which is in f32.
        let to_learn_from = part(images.as_deref())?;
        let in_f32 = images.as_ref().map(|_| part(None)).transpose()?;
        let to_measure_by = in_f32.as_ref().unwrap_or(&to_learn_from);

        let (train, val) = (&self.data.train, &self.data.val);
        let seen = self.features(&to_learn_from, train, "features of the training images")?;
        let begun = Instant::now();
        let fitted = self.fit(&seen, source.as_ref())?;
        let train_seconds = begun.elapsed().as_secs_f64();
        let learnt = predictions(&fitted.head, &seen)?;

        let seen = self.features(to_measure_by, val, "features of the validation images")?;
        let begun = Instant::now();
        let found = predictions(&fitted.head, &seen)?;
        let metrics = EpochMetrics {
            epoch: 1,
            epochs: 1,
            train_loss: learnt.loss,
            train_accuracy: learnt.accuracy(),
            valid_loss: Some(found.loss),
            valid_accuracy: Some(found.accuracy()),
            learning_rate: 0.0,
            train_seconds,
            valid_seconds: begun.elapsed().as_secs_f64(),
            images_per_second: learnt.labels.len() as f64 / train_seconds.max(1e-9),
            best: true,
        };
        let head = fitted.head.clone();
        let classifier = untrained.with_head(head.weight, head.bias)?;
        self.leave(classifier, fitted, found, metrics)
    }

    fn introduce(&mut self, classifier: &Classifier<Network>) -> Result<(), TrainerError> {
        let parts = whole_network(classifier);
        let data = self.data;
        let started = Event::RunStarted(RunSummary {
            title: self.choices.title.clone(),
            strategy: ONE_CALL.into(),
            architecture: self.pretrained.architecture.clone(),
            weights: Source::of(self.pretrained).weights,
            classes: data.classes.clone(),
            train_images: data.train.len(),
            valid_images: data.val.len(),
            parameters: parts.iter().map(|part| part.parameters).sum(),
            trainable_parameters: parts.iter().map(|part| part.trainable).sum(),
            epochs: 1,
            batch_size: BATCH,
            device: crate::text::device(&self.choices.device),
            seed: self.choices.seed,
            directory: self.writer.as_ref().map(|writer| writer.path().into()),
            resumed_after_epoch: None,
            augmented: Some(false),
        });
        self.tell(&started)?;
        if let Some(message) = self.choices.warning.take() {
            self.tell(&Event::Warning { message })?;
        }
        self.tell(&Event::StageStarted(StageSummary {
            name: ONE_CALL.into(),
            first_epoch: 1,
            last_epoch: 1,
            parts,
        }))
    }

    /// Pooled features of every readable image.
    fn features(
        &mut self,
        part: &FrozenPart<Network>,
        dataset: &Arc<ImageDataset>,
        name: &str,
    ) -> Result<Pooled, TrainerError> {
        let interrupt = self.choices.interrupt.clone();
        let shared = self.choices.shared.clone();
        let views = Views {
            dataset,
            plain: eval_pipeline(&self.data.preprocess),
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

    fn fit(
        &mut self,
        seen: &Pooled,
        source: Option<&LinearHead>,
    ) -> Result<FittedProbe, TrainerError> {
        self.choices.interrupt.check()?;
        self.tell(&Event::EpochStarted {
            epoch: 1,
            epochs: 1,
            batches: 1,
            images: seen.labels.len(),
        })?;
        let probe = PriorProbe {
            seed: self.choices.seed,
            ..self.choices.probe.clone()
        };
        let classes = self.data.classes.len();
        Ok(probe.fit(&seen.features, &seen.labels, classes, source)?)
    }

    /// Writes what was found, and tells of it.
    fn leave(
        &mut self,
        classifier: Classifier<Network>,
        fitted: FittedProbe,
        found: Predictions,
        metrics: EpochMetrics,
    ) -> Result<FineTuned, TrainerError> {
        let accuracy = found.accuracy();
        let info = self.info(&fitted, &found)?;
        let mut best_weights = None;
        if let Some(writer) = &self.writer {
            let path = writer.directory().best_weights_path();
            write_weights(&path, &classifier, &weights_of(&classifier), &info)?;
            writer.keep_temperature(info.temperature)?;
            best_weights = Some(path);
        }
        self.tell(&Event::Validated {
            epoch: 1,
            loss: found.loss,
            accuracy,
        })?;
        self.tell(&Event::BestImproved {
            epoch: 1,
            monitor: Monitor::Accuracy,
            value: accuracy,
            previous: None,
        })?;
        self.tell(&Event::EpochEnded { metrics })?;
        let FineTune {
            test_views,
            interrupt,
            ..
        } = &self.choices;
        let in_views = test_views.predict_beside(&classifier, self.data, interrupt)?;
        let outcome = RunOutcome {
            reason: EndReason::Finished,
            epochs: 1,
            best_epoch: Some(1),
            best_accuracy: Some(accuracy),
            last_accuracy: Some(accuracy),
            seconds: self.begun.elapsed().as_secs_f64(),
            best_weights,
            directory: self.writer.as_ref().map(|writer| writer.path().into()),
        };
        self.tell(&Event::RunEnded(outcome.clone()))?;
        Ok(FineTuned {
            classifier,
            classes: self.data.classes.clone(),
            preprocess: self.data.preprocess.clone(),
            probe: fitted,
            predictions: found,
            in_views,
            seconds: outcome.seconds,
            outcome,
            info,
            writer: None,
        })
    }

    fn info(&self, fitted: &FittedProbe, found: &Predictions) -> Result<ModelInfo, TrainerError> {
        let (pretrained, data) = (self.pretrained, self.data);
        Ok(ModelInfo {
            architecture: Some(pretrained.architecture.clone()),
            classes: Some(data.classes.clone()),
            preprocess: Some(data.preprocess.clone()),
            provenance: Some(
                json!({
                    "source": Source::of(pretrained).weights,
                    "sha256": pretrained.sha256,
                    "strategy": crate::run_directory::one_call(),
                    "recipe": self.choices.recipe(),
                    "penalty": fitted.penalty,
                    "data": data.description,
                })
                .to_string(),
            ),
            temperature: Some(found.temperature()?),
            test_views: self.choices.test_views.in_file(),
        })
    }

    fn tell(&mut self, event: &Event) -> Result<(), TrainerError> {
        for observer in &mut self.choices.observers {
            observer.on_event(event);
        }
        match &mut self.writer {
            Some(writer) => writer.log(event),
            None => Ok(()),
        }
    }
}

fn predictions(head: &LinearHead, seen: &Pooled) -> Result<Predictions, TrainerError> {
    let logits = head.logits(&seen.features)?;
    let classes = logits.len() / seen.labels.len();
    let mut found = Predictions {
        classes,
        labels: seen.labels.clone(),
        indices: seen.indices.clone(),
        ..Predictions::default()
    };
    for (row, label) in logits.chunks_exact(classes).zip(&seen.labels) {
        let row: Vec<f32> = row.iter().map(|logit| *logit as f32).collect();
        let (probabilities, log_sum) = softmax(&row);
        found.loss += log_sum - f64::from(row[*label]);
        found.probabilities.extend(probabilities);
    }
    found.loss /= seen.labels.len() as f64;
    Ok(found)
}
