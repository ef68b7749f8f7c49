//! Pictures that look like a given one.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use rekindle_files::names::show;
use rekindle_imagefolder::{Ignored, ImageFolder, Listing, Sample};
use rekindle_models::Pretrained;
use rekindle_transfer::features::{Neighbor, NeighborSearch};

use crate::looking::{Looking, looking_options};
use crate::pooled::{readable, rows};
use crate::{Event, TrainerError};

/// Images of the folder whose features are in memory at once, where a cache on disk keeps them.
const AT_ONCE: usize = 4096;

/// Finds the pictures of a folder that look most like others, by the cosine of their features. Every picture of the folder
/// is compared. With a [`cache`](Self::cache), the features of 4,096 of them are in memory at once.
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
    count: usize,
    looking: Looking<'a>,
}

looking_options!(Similar);

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

impl Similar<'_> {
    /// The defaults: five neighbours, features live in memory.
    pub fn new(device: &Device) -> Self {
        Self {
            count: 5,
            looking: Looking::new(device),
        }
    }

    /// Neighbours of each picture, at most.
    pub fn count(self, count: usize) -> Self {
        Self { count, ..self }
    }

    /// Compares the pictures `queries` with those of `folder` in all its parts, or of a table, whose files are relative to its own
    /// folder.
    ///
    /// # Errors
    ///
    /// Those of [`Listing::open`], [`TrainerError::UnusableData`] where not one picture of either can be read, and
    /// [`TrainerError::Interrupted`].
    pub fn run(
        mut self,
        pretrained: &Pretrained,
        folder: impl AsRef<Path>,
        queries: &[PathBuf],
    ) -> Result<FoundSimilar, TrainerError> {
        let folder = folder.as_ref();
        let index = Listing::open(folder)?.open_all()?;
        let asked = queries.iter().map(|path| Sample {
            path: path.clone(),
            label: None,
        });
        let asked = ImageFolder::from_samples("", Vec::new(), asked.collect())?;
        let mut skipped = Vec::new();
        let mut hear = |event: &Event| {
            let Event::SkippedFile { path, reason } = event else {
                return true;
            };
            skipped.push(Ignored {
                path: path.clone(),
                reason: reason.clone(),
            });
            false
        };
        let name = show(folder);
        let kept = self.looking.kept(pretrained, &index, &name, &mut hear)?;
        let indices = readable(&kept, &name, &|_| true)?;
        let name = "pictures asked about";
        let (of_queries, asked_indices) =
            self.looking
                .features(pretrained, &asked, name, &|_| true, &mut hear)?;
        let mut search = NeighborSearch::new(&of_queries, self.count + 1);
        for indices in indices.chunks(AT_ONCE) {
            self.looking.interrupt.check()?;
            search.add(&rows(&kept, indices)?)?;
        }
        let samples: Vec<&Sample> = indices.iter().map(|at| &index.samples()[*at]).collect();
        let paths: Vec<PathBuf> = samples.iter().map(|sample| sample.path.clone()).collect();
        let answers = asked_indices
            .into_iter()
            .zip(search.finish()?)
            .map(|(at, mut neighbors)| {
                let path = asked.samples()[at].path.clone();
                let place = path.canonicalize().ok();
                let is_itself = |other: &Neighbor| {
                    place.is_some() && paths[other.index].canonicalize().ok() == place
                };
                neighbors.retain(|other| !is_itself(other));
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
}
