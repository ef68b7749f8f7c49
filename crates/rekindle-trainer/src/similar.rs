//! Pictures that look like a given one.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use rekindle_files::names::show;
use rekindle_imagefolder::{Ignored, ImageFolder, Layout, Sample};
use rekindle_models::Pretrained;
use rekindle_transfer::features::{Features, Neighbor, NeighborIndex};

use crate::pooled::Looking;
use crate::recipe::Cache;
use crate::{Event, Interrupt, Observer, TrainerError};

/// Finds the pictures of a folder that look most like others, by the cosine of their features. Every picture of the folder
/// is compared.
///
/// ```no_run
/// use rekindle_models::Pretrained;
/// use rekindle_trainer::Similar;
/// use rekindle_trainer::burn::tensor::Device;
///
/// let device = Device::flex();
/// let pretrained = Pretrained::open("resnet18-f37072fd.pth", &device)?;
/// let found = Similar::new(&device).count(3).run(&pretrained, "photos", &["bee.jpg".into()])?;
/// for neighbor in &found.answers[0].neighbors {
///     println!("{} {:.3}", found.paths[neighbor.index].display(), neighbor.similarity);
/// }
/// # Ok::<(), rekindle_trainer::TrainerError>(())
/// ```
pub struct Similar<'a> {
    device: Device,
    count: usize,
    cache: Cache,
    workers: usize,
    observers: Vec<Box<dyn Observer + 'a>>,
    interrupt: Interrupt,
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundSimilar {
    /// The folder's pictures that can be read, in its order.
    pub paths: Vec<PathBuf>,
    /// Their classes; none in a folder without.
    pub labels: Vec<Option<usize>>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// One for each picture that was asked about and can be read, in their order.
    pub answers: Vec<SimilarAnswer>,
    /// Files of either that can't be read.
    pub skipped: Vec<Ignored>,
}

/// The pictures most like one.
#[derive(Clone, Debug, PartialEq)]
pub struct SimilarAnswer {
    /// The picture that was asked about.
    pub path: PathBuf,
    /// The most similar ones, as positions in [`FoundSimilar::paths`], the most similar first. The picture itself is not among
    /// them, wherever it lies.
    pub neighbors: Vec<Neighbor>,
}

impl<'a> Similar<'a> {
    /// The defaults: five neighbours, features live in memory.
    pub fn new(device: &Device) -> Self {
        Self {
            device: device.clone().without_autodiff(),
            count: 5,
            cache: Cache::Memory,
            workers: 2,
            observers: Vec::new(),
            interrupt: Interrupt::new(),
        }
    }

    /// Neighbours of each picture, at most.
    pub fn count(self, count: usize) -> Self {
        Self { count, ..self }
    }

    /// Keeps features in a folder for later runs.
    pub fn cache(self, folder: impl AsRef<Path>) -> Self {
        Self {
            cache: Cache::Disk(folder.as_ref().to_path_buf()),
            ..self
        }
    }

    /// Threads that decode images.
    pub fn workers(self, workers: usize) -> Self {
        Self { workers, ..self }
    }

    /// Lets `observer` hear how far the work is.
    pub fn observer(mut self, observer: impl Observer + 'a) -> Self {
        self.observers.push(Box::new(observer));
        self
    }

    /// Ends the work after a batch with [`TrainerError::Interrupted`] when `interrupt` is requested; a cache keeps the
    /// features so far.
    pub fn interrupt(self, interrupt: Interrupt) -> Self {
        Self { interrupt, ..self }
    }

    /// Compares the pictures `queries` with those of `folder` in all its parts.
    ///
    /// # Errors
    ///
    /// Those of scanning, [`TrainerError::UnusableData`] where not one picture of either can be read, and
    /// [`TrainerError::Interrupted`].
    pub fn run(
        mut self,
        pretrained: &Pretrained,
        folder: impl AsRef<Path>,
        queries: &[PathBuf],
    ) -> Result<FoundSimilar, TrainerError> {
        let index = Layout::find(folder)?.open_all()?;
        let asked = queries.iter().map(|path| Sample {
            path: path.clone(),
            label: None,
        });
        let asked = ImageFolder::from_samples("", Vec::new(), asked.collect())?;
        let mut skipped = Vec::new();
        let (features, indices) = self.features(pretrained, &index, &mut skipped)?;
        let (of_queries, asked_indices) = self.features(pretrained, &asked, &mut skipped)?;
        let samples: Vec<&Sample> = indices.iter().map(|at| &index.samples()[*at]).collect();
        let paths: Vec<PathBuf> = samples.iter().map(|sample| sample.path.clone()).collect();
        let places: Vec<Option<PathBuf>> =
            paths.iter().map(|path| path.canonicalize().ok()).collect();
        let found = NeighborIndex::new(&features).nearest(&of_queries, self.count + 1)?;
        let answers = asked_indices
            .into_iter()
            .zip(found)
            .map(|(at, mut neighbors)| {
                let path = asked.samples()[at].path.clone();
                let place = path.canonicalize().ok();
                neighbors.retain(|other| place.is_none() || places[other.index] != place);
                neighbors.truncate(self.count);
                SimilarAnswer { path, neighbors }
            });
        Ok(FoundSimilar {
            answers: answers.collect(),
            labels: samples.iter().map(|sample| sample.label).collect(),
            classes: index.classes().to_vec(),
            paths,
            skipped,
        })
    }

    fn features(
        &mut self,
        pretrained: &Pretrained,
        folder: &ImageFolder,
        skipped: &mut Vec<Ignored>,
    ) -> Result<(Features, Vec<usize>), TrainerError> {
        let looking = Looking {
            device: &self.device,
            cache: &self.cache,
            workers: self.workers,
            interrupt: &self.interrupt,
        };
        let name = match folder.root().as_os_str().is_empty() {
            true => "pictures asked about".to_string(),
            false => show(folder.root()),
        };
        let observers = &mut self.observers;
        let everything = |_: usize| true;
        looking.features(pretrained, folder, &name, &everything, &mut |event| {
            if let Event::SkippedFile { path, reason } = event {
                skipped.push(Ignored {
                    path: path.clone(),
                    reason: reason.clone(),
                });
                return;
            }
            observers
                .iter_mut()
                .for_each(|observer| observer.on_event(event));
        })
    }
}
