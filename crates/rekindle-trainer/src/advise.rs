//! Advice on weights and strategy for a folder of images, before anything is trained.

use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::prelude::*;
use rekindle_files::names::{escape, show};
use rekindle_imagefolder::{
    DecodeOptions, ImageDataset, ImageFolder, Listing, Loader, OnBadFile, Pipeline,
};
use rekindle_models::{Preprocess, Pretrained};
use rekindle_transfer::advise::{Advice, Advisor, Candidate, Cost};
use rekindle_transfer::features::{Features, LinearHead};
use rekindle_weights::{LoadOptions, Repository};

use crate::data::{VALIDATION_SHARE, refuse_unreadable};
use crate::looking::{Looking, looking_options};
use crate::pooled::split;
use crate::recipe::{Cache, Recipe};
use crate::{Event, Interrupt, TrainerError, text};

/// Cells along each side of a picture whose colours make the baseline, and pixels along a cell.
const CELLS: usize = 8;
const CELL_SIZE: usize = 8;

/// Recommends one of the networks in `weights` for the images in `data`, a strategy to adapt it by, and says what accuracy
/// to expect, with the defaults of [`Advise`].
///
/// ```no_run
/// use rekindle_trainer::burn::tensor::Device;
///
/// let weights = ["resnet18-f37072fd.pth", "resnet50-11ad3fa6.pth"];
/// let advice = rekindle_trainer::advise("hymenoptera", &weights, &Device::flex())?;
/// println!("{advice}");
/// # Ok::<(), rekindle_trainer::TrainerError>(())
/// ```
///
/// # Errors
///
/// Those of reading the weights and the images, and [`TrainerError::UnusableData`] with fewer than two classes.
pub fn advise(
    data: impl AsRef<Path>,
    weights: &[impl AsRef<Path>],
    device: &Device,
) -> Result<Advice, TrainerError> {
    Advise::new(device).run(data, weights)
}

/// Advice on a folder of images with its few choices.
///
/// Every image goes through every network once. Of a folder with a training part, the images there alone are used,
/// so that its validation images stay fresh. The baseline is the mean and the standard deviation of each colour in
/// 8 x 8 cells.
pub struct Advise<'a> {
    advisor: Advisor,
    load_options: LoadOptions,
    looking: Looking<'a>,
}

looking_options!(Advise);

impl Advise<'_> {
    /// Begins with the defaults: features live in memory, seed 0.
    pub fn new(device: &Device) -> Self {
        Self {
            advisor: Advisor::default(),
            load_options: LoadOptions::default(),
            looking: Looking::new(device),
        }
    }

    /// Thresholds and the probe.
    pub fn advisor(self, advisor: Advisor) -> Self {
        Self { advisor, ..self }
    }

    /// Chooses a network in each file of weights, where files hold several.
    pub fn load_options(self, load_options: LoadOptions) -> Self {
        Self {
            load_options,
            ..self
        }
    }

    /// Sets the seed of the cross-validation.
    pub fn seed(mut self, seed: u64) -> Self {
        self.advisor.probe.seed = seed;
        self
    }

    /// Reads images and weights, and gives advice; backbones go by the names of their files.
    ///
    /// # Errors
    ///
    /// As [`advise`].
    pub fn run(
        self,
        data: impl AsRef<Path>,
        weights: &[impl AsRef<Path>],
    ) -> Result<Advice, TrainerError> {
        self.run_on(&Listing::open(data)?, weights)
    }

    /// The same with images that are listed already, such as by a table.
    ///
    /// # Errors
    ///
    /// As [`advise`].
    pub fn run_on(
        mut self,
        data: &Listing,
        weights: &[impl AsRef<Path>],
    ) -> Result<Advice, TrainerError> {
        let scored = self.score_listing(data, weights)?;
        let begun = Instant::now();
        let candidates: Vec<Candidate<'_>> = scored
            .backbones
            .iter()
            .map(ScoredBackbone::candidate)
            .collect();
        let mut advice = self.advisor.advise(
            &candidates,
            Some(&scored.colours),
            &scored.labels,
            scored.classes.len(),
        )?;
        // A probe for each backbone and one for the colours were fitted.
        let fit_seconds = begun.elapsed().as_secs_f64() / (candidates.len() + 1) as f64;
        let best = scored
            .backbones
            .iter()
            .find(|seen| seen.name == advice.backbone);
        if let Some(seconds_per_image) = best.and_then(|seen| seen.seconds_per_image) {
            let (train, val) = part_sizes(data, scored.labels.len());
            advice.cost = Some(cost(&advice, seconds_per_image, fit_seconds, train, val));
        }
        Ok(advice)
    }

    /// Computes the features of the images by each network, to score them in other ways.
    ///
    /// # Errors
    ///
    /// As [`advise`].
    pub fn score(
        &mut self,
        data: impl AsRef<Path>,
        weights: &[impl AsRef<Path>],
    ) -> Result<Scored, TrainerError> {
        self.score_listing(&Listing::open(data)?, weights)
    }

    fn score_listing(
        &mut self,
        data: &Listing,
        weights: &[impl AsRef<Path>],
    ) -> Result<Scored, TrainerError> {
        let folder = training_images(data)?;
        let weights: Vec<&Path> = weights.iter().map(AsRef::as_ref).collect();
        let mut backbones = Vec::new();
        let mut images = None;
        for path in &weights {
            let (backbone, labels, indices) = self.backbone(&folder, path, name(&weights, path))?;
            backbones.push(backbone);
            images.get_or_insert((labels, indices));
        }
        let Some((labels, indices)) = images else {
            return Err(TrainerError::UnusableWeights {
                what: "weights".into(),
                found: "none".into(),
                advice: "give at least one file of weights",
            });
        };
        let looking = &self.looking;
        Ok(Scored {
            backbones,
            colours: colours(&folder, &indices, looking.workers, &looking.interrupt)?,
            labels,
            classes: folder.classes().to_vec(),
        })
    }

    /// Returns the backbone's view of the images, their labels, and their positions in the folder.
    fn backbone(
        &mut self,
        folder: &ImageFolder,
        path: &Path,
        name: String,
    ) -> Result<(ScoredBackbone, Vec<usize>, Vec<usize>), TrainerError> {
        let pretrained = Pretrained::open_with(path, &self.load_options, &self.looking.device)?;
        let label_of = |index: usize| folder.samples()[index].label;
        let phase = format!("features of {name}");
        let mut seconds = 0.0;
        let mut hear = |event: &Event| {
            if let Event::PhaseEnded { seconds: all, .. } = event {
                seconds = *all;
            }
            true
        };
        let (features, indices) = self.looking.features(
            &pretrained,
            folder,
            &phase,
            &|index| label_of(index).is_some(),
            &mut hear,
        )?;
        let labels: Vec<usize> = indices
            .iter()
            .filter_map(|index| label_of(*index))
            .collect();
        // What a folder of kept features answers says nothing of the network's speed.
        let is_timed = self.looking.cache == Cache::Memory;
        let backbone = ScoredBackbone {
            name,
            seconds_per_image: is_timed.then(|| seconds / labels.len() as f64),
            features,
            source: split(pretrained.model).1,
        };
        Ok((backbone, labels, indices))
    }
}

/// Features of labelled images by several networks; rows of all features are the same images.
pub struct Scored {
    /// One per file of weights, in that order.
    pub backbones: Vec<ScoredBackbone>,
    /// Colours of the images `[n, 384]`, which no network made.
    pub colours: Features,
    /// Labels `[n]`.
    pub labels: Vec<usize>,
    /// Names of the classes.
    pub classes: Vec<String>,
}

/// A backbone and what it makes of the images.
pub struct ScoredBackbone {
    /// The name of its file.
    pub name: String,
    /// Pooled features `[n, dim]`.
    pub features: Features,
    /// The classifier that it came with.
    pub source: Option<LinearHead>,
    /// Seconds that an image took, reading and decoding included; none where features may come from a folder.
    pub seconds_per_image: Option<f64>,
}

impl ScoredBackbone {
    /// Returns the candidate as an advisor takes it.
    pub fn candidate(&self) -> Candidate<'_> {
        Candidate {
            name: &self.name,
            features: &self.features,
            source: self.source.as_ref(),
        }
    }
}

/// Numbers of training and validation images: where the folder has no parts, a fifth will be held out.
fn part_sizes(data: &Listing, scored: usize) -> (usize, usize) {
    match data.open_split(VALIDATION_SHARE, 0) {
        Ok((train, val)) => (train.images.len(), val.images.len()),
        // A folder that can only be scored, such as one without a validation image of some class.
        Err(_) => (scored, 0),
    }
}

fn cost(advice: &Advice, per_image: f64, fit: f64, train: usize, val: usize) -> Cost {
    // Plain and mirrored, and both at nine sevenths of the size.
    let views = 2.0 + 2.0 * (9.0_f64 / 7.0).powi(2);
    let (train, val) = (train as f64, val as f64);
    let strategy_epochs = Recipe::of(&advice.strategy).epochs;
    let epochs = strategy_epochs as f64;
    // A backward pass costs about two forward passes.
    let strategy_seconds = epochs * (3.0 * train + val) * per_image;
    Cost {
        one_call_seconds: (train + views * val) * per_image + fit,
        strategy_epochs,
        strategy_seconds: (!advice.keeps_features()).then_some(strategy_seconds),
        memory: peak_memory(),
    }
}

/// Returns the largest memory of this process so far in bytes, on Linux.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// The images to learn from.
fn training_images(data: &Listing) -> Result<ImageFolder, TrainerError> {
    let task = data.task();
    if !task.is_single_label() {
        return Err(TrainerError::UnusableData {
            what: show(data.given()),
            found: format!("the task is {task}"),
            advice: "advice is given for one label a picture; train on the others as they are",
        });
    }
    let folder = data.open_training()?.images;
    match folder.classes().len() {
        0 | 1 => Err(TrainerError::UnusableData {
            what: show(folder.root()),
            found: text::counted(folder.classes().len(), "class", "classes"),
            advice: "put the images into one folder per class, at least two",
        }),
        _ => {
            refuse_unreadable(&folder, &DecodeOptions::default())?;
            Ok(folder)
        }
    }
}

/// Returns a file's stem, or its path where another file has the same stem; of the Hugging Face hub the repository.
fn name(all: &[&Path], path: &Path) -> String {
    if let Some(repository) = Repository::of_cached(path) {
        return repository.to_string();
    }
    let stem = |path: &Path| path.file_stem().map(PathBuf::from);
    let is_unique = all.iter().filter(|other| stem(other) == stem(path)).count() == 1;
    match (is_unique, stem(path)) {
        (true, Some(stem)) => escape(&stem),
        _ => escape(path),
    }
}

/// Computes the mean and standard deviation of each channel in each cell of the pictures `indices`.
fn colours(
    folder: &ImageFolder,
    indices: &[usize],
    workers: usize,
    interrupt: &Interrupt,
) -> Result<Features, TrainerError> {
    let side = CELLS * CELL_SIZE;
    let pipeline = Pipeline::imagenet_eval(&Preprocess {
        resize: side * 8 / 7,
        crop: side,
        ..Preprocess::IMAGENET
    });
    let loader = Loader::new(ImageDataset::new(folder, pipeline)?)
        .batch_size(16)
        .workers(workers)
        .on_bad_file(OnBadFile::Skip);
    let mut values = Vec::new();
    for batch in loader.epoch(0) {
        interrupt.check()?;
        let batch = batch?;
        for (picture, index) in batch
            .images
            .chunks_exact(3 * side * side)
            .zip(&batch.indices)
        {
            if indices.binary_search(index).is_ok() {
                for channel in picture.chunks_exact(side * side) {
                    for cell in 0..CELLS * CELLS {
                        values.extend(mean_and_spread(channel, cell / CELLS, cell % CELLS));
                    }
                }
            }
        }
    }
    Ok(Features::new(values, 2 * 3 * CELLS * CELLS)?)
}

fn mean_and_spread(channel: &[f32], row: usize, column: usize) -> [f32; 2] {
    let side = CELLS * CELL_SIZE;
    let lines = (row * CELL_SIZE..(row + 1) * CELL_SIZE)
        .map(|y| &channel[y * side + column * CELL_SIZE..y * side + (column + 1) * CELL_SIZE]);
    let (mut sum, mut squares) = (0.0, 0.0);
    for value in lines.flatten() {
        sum += value;
        squares += value * value;
    }
    let count = (CELL_SIZE * CELL_SIZE) as f32;
    let mean = sum / count;
    [mean, (squares / count - mean * mean).max(0.0).sqrt()]
}
