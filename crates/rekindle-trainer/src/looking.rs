//! The pass over images whose features are compared, with the options that all who compare them take.

use std::sync::Arc;

use burn::tensor::Device;
use rekindle_imagefolder::{ImageDataset, ImageFolder, OnBadFile};
use rekindle_models::Pretrained;
use rekindle_nn::Network;
use rekindle_transfer::features::Features;
use rekindle_transfer::{Backbone, FrozenPrefix};

use crate::activations::{FrozenPart, Views};
use crate::data::eval_pipeline;
use crate::events::Event;
use crate::feed::Activations;
use crate::pooled::{kept, readable, rows, split};
use crate::recipe::Cache;
use crate::{Interrupt, Observer, TrainerError};

/// How images go through a network, and who hears of it.
pub(crate) struct Looking<'a> {
    pub device: Device,
    pub cache: Cache,
    pub workers: usize,
    pub observers: Vec<Box<dyn Observer + 'a>>,
    pub interrupt: Interrupt,
}

impl Looking<'_> {
    /// Returns the defaults: features live in memory, two threads decode.
    pub fn new(device: &Device) -> Self {
        Self {
            device: device.clone().without_autodiff(),
            cache: Cache::Memory,
            workers: 2,
            observers: Vec::new(),
            interrupt: Interrupt::new(),
        }
    }

    pub fn emit(&mut self, event: &Event) {
        for observer in &mut self.observers {
            observer.on_event(event);
        }
    }

    /// Returns pooled features of the images of `folder` for which `keep` says so, with their positions. Observers are told
    /// what `hear` returns true for.
    pub fn features(
        &mut self,
        pretrained: &Pretrained,
        folder: &ImageFolder,
        name: &str,
        keep: &dyn Fn(usize) -> bool,
        hear: &mut dyn FnMut(&Event) -> bool,
    ) -> Result<(Features, Vec<usize>), TrainerError> {
        let kept = self.kept(pretrained, folder, name, hear)?;
        let indices = readable(&kept, name, keep)?;
        Ok((rows(&kept, &indices)?, indices))
    }

    /// Runs the images of `folder` through the network, where the cache doesn't have their features. Observers are told what
    /// `hear` returns true for.
    pub fn kept(
        &mut self,
        pretrained: &Pretrained,
        folder: &ImageFolder,
        name: &str,
        hear: &mut dyn FnMut(&Event) -> bool,
    ) -> Result<Activations, TrainerError> {
        let (model, _) = split(pretrained.model.clone());
        let part = FrozenPart {
            beginning: None,
            prefix: FrozenPrefix::new(&model, model.stage_names().len())?,
            device: self.device.clone(),
        };
        let plain = eval_pipeline(&pretrained.preprocess);
        let dataset = Arc::new(ImageDataset::new(folder, plain)?);
        self.kept_by(&part, &dataset, name, hear)
    }

    /// As [`kept`](Self::kept), of a data set whose pipeline draws nothing at random, by a part that is made already.
    pub fn kept_by(
        &mut self,
        part: &FrozenPart<Network>,
        dataset: &Arc<ImageDataset>,
        name: &str,
        hear: &mut dyn FnMut(&Event) -> bool,
    ) -> Result<Activations, TrainerError> {
        let views = Views {
            dataset,
            plain: dataset.pipeline().clone(),
            count: 1,
            seed: 0,
            workers: self.workers,
            on_bad_file: OnBadFile::Skip,
            interrupt: &self.interrupt,
            shared: None,
        };
        let observers = &mut self.observers;
        kept(part, &views, &self.cache, name, &mut |event| {
            if hear(event) {
                observers
                    .iter_mut()
                    .for_each(|observer| observer.on_event(event));
            }
        })
    }
}

/// Gives a builder with a field `looking` the options of its pass.
macro_rules! looking_options {
    ($builder:ident) => {
        impl<'a> $builder<'a> {
            /// Keeps features in a folder for later runs.
            pub fn cache(mut self, folder: impl AsRef<std::path::Path>) -> Self {
                self.looking.cache = $crate::Cache::Disk(folder.as_ref().to_path_buf());
                self
            }

            /// Sets the number of threads that decode images for the network.
            pub fn workers(mut self, workers: usize) -> Self {
                self.looking.workers = workers;
                self
            }

            /// Lets `observer` hear how far the work is.
            pub fn observer(mut self, observer: impl $crate::Observer + 'a) -> Self {
                self.looking.observers.push(Box::new(observer));
                self
            }

            /// Ends the work after a batch with [`TrainerError::Interrupted`](crate::TrainerError::Interrupted) when
            /// `interrupt` is requested; a cache keeps the features so far.
            pub fn interrupt(mut self, interrupt: $crate::Interrupt) -> Self {
                self.looking.interrupt = interrupt;
                self
            }
        }
    };
}
pub(crate) use looking_options;
