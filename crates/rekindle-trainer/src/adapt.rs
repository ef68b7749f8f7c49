//! A pretrained network under a strategy, ready to train.

use std::path::Path;

use burn::tensor::Device;
use rekindle_models::Pretrained;
use rekindle_nn::Network;
use rekindle_transfer::{Backbone, Classifier, Strategy};
use rekindle_weights::state_dict;

use crate::feed::Feed;
use crate::run_feeds::train_loader;
use crate::{Learner, LrCurve, LrFinder, Source, Trainer, TrainerError, TransferData};

impl Trainer<'_, Network> {
    /// Opens images and a network, and creates a trainer that fine-tunes the one for the others with seed 0.
    ///
    /// `data` is what [`TransferData::open`] takes; `weights` is a file, or with the feature `hub` (default) a name that
    /// `Pretrained::named` takes and downloads once.
    ///
    /// ```no_run
    /// use rekindle_trainer::Trainer;
    /// use rekindle_trainer::burn::tensor::Device;
    ///
    /// let trainer = Trainer::open("photos", "resnet50", &Device::flex())?;
    /// let fitted = trainer.run_directory("runs/photos").fit()?;
    /// println!("accuracy {:.3}", fitted.best_accuracy());
    /// # Ok::<(), rekindle_trainer::TrainerError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`TransferData::open`], and of [`Pretrained::open`] or `Pretrained::named`.
    pub fn open(
        data: impl AsRef<Path>,
        weights: impl AsRef<Path>,
        device: &Device,
    ) -> Result<Self, TrainerError> {
        let pretrained = opened(weights.as_ref(), device)?;
        let data = TransferData::open(data, &pretrained.preprocess, 0)?;
        Ok(Self::adapt(&pretrained, data, Strategy::fine_tuning(), 0))
    }

    /// Creates a trainer that adapts `pretrained` to the classes of `data`: its backbone with a fresh head. Under
    /// [`Strategy::FromScratch`], here or in a later call of [`strategy`](Self::strategy), the weights are fresh as
    /// well, and the network is the same. All that is fresh is a function of `seed`; `pretrained` itself is not
    /// touched, whatever the training does.
    pub fn adapt(
        pretrained: &Pretrained,
        data: TransferData,
        strategy: Strategy,
        seed: u64,
    ) -> Self {
        let classifier = with_fresh_head(pretrained, data.classes.len(), seed);
        let mut trainer = Trainer::new(classifier, data)
            .source(Source::of(pretrained))
            .strategy(strategy);
        trainer.fresh_seed = Some(seed);
        trainer
    }
}

/// Opens a file, or a name that is none.
#[cfg(feature = "hub")]
fn opened(weights: &Path, device: &Device) -> Result<Pretrained, rekindle_models::Error> {
    /// Endings of files; names of networks have others, as in `resnet50.IMAGENET1K_V2`.
    const ENDINGS: [&str; 6] = ["pth", "pt", "bin", "safetensors", "onnx", "bpk"];
    let ending = weights.extension().and_then(|ending| ending.to_str());
    let is_file = weights.exists() || ending.is_some_and(|ending| ENDINGS.contains(&ending));
    match weights.to_str() {
        Some(name) if !is_file => Pretrained::named(name, device),
        _ => Pretrained::open(weights, device),
    }
}

#[cfg(not(feature = "hub"))]
fn opened(weights: &Path, device: &Device) -> Result<Pretrained, rekindle_models::Error> {
    Pretrained::open(weights, device)
}

/// Returns the backbone of `pretrained` as a network of its own, with a fresh head.
pub(crate) fn with_fresh_head(
    pretrained: &Pretrained,
    classes: usize,
    seed: u64,
) -> Classifier<Network> {
    let device = pretrained.model.device();
    let graph = pretrained.model.graph().clone().with_classes(0);
    // A clone would share the running statistics.
    let mut values = state_dict::collect(&pretrained.model);
    let backbone = state_dict::assign(Network::new(graph, seed, &device), |name| {
        values.remove(name).map(|tensor| tensor.values)
    });
    Classifier::new(backbone, classes, seed, &device)
}

impl<B: Backbone> Trainer<'_, B> {
    /// Runs a learning-rate range test on the training images, under the strategy's first epoch, in place of
    /// training; `progress` hears how many batches are done.
    ///
    /// # Errors
    ///
    /// A recipe or strategy out of range, a range that is none, what reading the images brings, and
    /// [`TrainerError::Interrupted`] after a request on the trainer's [`interrupt`](Self::interrupt).
    pub fn find_learning_rate(
        mut self,
        finder: &LrFinder,
        progress: impl FnMut(usize),
    ) -> Result<LrCurve, TrainerError> {
        self.suit_task();
        self.recipe.validate()?;
        self.recipe.check_task(self.data.task())?;
        self.refresh()?;
        let stages = self.classifier.backbone.stage_names();
        let plan = self.strategy.plan(&stages, 0)?;
        let loader = train_loader(&self.data, &self.recipe);
        let mut learner = Learner::new(self.classifier, plan, &self.recipe, &self.device)?
            .with_target_scale(self.data.target_scale);
        if let Some(criterion) = self.criterion {
            learner = learner.with_criterion(criterion);
        }
        let feed = Feed::Images(loader);
        finder.run_with(learner, &feed, &self.device, &self.interrupt, progress)
    }
}
