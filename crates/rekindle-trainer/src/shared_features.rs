//! Features in memory that outlive a run.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rekindle_imagefolder::ImageDataset;

use crate::feed::KeptView;

/// Features in memory that several runs of a process share, so that their common passes over the images are made once.
///
/// Runs find each other's plain views: of the same images, however these are augmented beside, by the same frozen stages with the
/// same weights. Clones share what they hold, which lives as long as one of them.
///
/// ```no_run
/// use burn::tensor::Device;
/// use rekindle_models::Pretrained;
/// use rekindle_trainer::{Cache, Fit, Recipe, SharedFeatures, Trainer, TransferData};
/// use rekindle_transfer::Strategy;
///
/// let device = Device::flex();
/// let pretrained = Pretrained::open("resnet18-f37072fd.pth", &device)?;
/// let data = TransferData::open("hymenoptera", &pretrained.preprocess, 0)?;
/// let shared = SharedFeatures::default();
/// Fit::new(&device).share_features(&shared).fit(&pretrained, &data)?;
/// Trainer::adapt(&pretrained, data, Strategy::FeatureExtraction, 0)
///     .recipe(Recipe { cache: Cache::Memory, ..Recipe::tutorial() })
///     .share_features(&shared) // reads no image again
///     .fit()?;
/// # Ok::<(), rekindle_trainer::TrainerError>(())
/// ```
#[derive(Clone, Default)]
pub struct SharedFeatures(Arc<Mutex<Vec<Entry>>>);

struct Entry {
    /// Held, so that the addresses of its images stay their own.
    dataset: Arc<ImageDataset>,
    key: String,
    view: Arc<KeptView>,
}

impl SharedFeatures {
    pub(crate) fn find(&self, dataset: &Arc<ImageDataset>, key: &str) -> Option<Arc<KeptView>> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = entries
            .iter()
            .find(|entry| entry.key == key && entry.dataset.has_images_of(dataset));
        found.map(|entry| Arc::clone(&entry.view))
    }

    pub(crate) fn keep(&self, dataset: &Arc<ImageDataset>, key: String, view: &Arc<KeptView>) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.push(Entry {
            dataset: Arc::clone(dataset),
            key,
            view: Arc::clone(view),
        });
    }
}

impl fmt::Debug for SharedFeatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        write!(f, "SharedFeatures({} views)", entries.len())
    }
}
