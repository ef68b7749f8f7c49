//! Cross-validation: every image is judged once, by a run that did not learn from it.

use std::fs;
use std::path::Path;

use rekindle_imagefolder::{DecodeOptions, Error, ImageTable, Listing, Looks, TablePart, looks};
use rekindle_transfer::features::{Features, nearest_neighbors};

use crate::TrainerError;
use crate::disjoint_sets::DisjointSets;

/// Correlation of two sketches from which on pictures count as copies: the same picture in another compression, size or
/// brightness, or the next of a burst. Pictures that are none, but come that close, only share a fold.
const SAME_SKETCH: f32 = 0.98;

/// Neighbours of each picture that are compared: larger families of copies hang together by chains of these.
const NEIGHBORS: usize = 8;

/// Splits labelled images into folds that are trained on and judged in turn.
///
/// The folds are made of the images to learn from: the training part, or all where there are no parts. Classes are
/// spread evenly ([`TablePart::folds`]); images of one group in a table and near copies of each other stay in one fold,
/// since an image whose copy was learnt from is no test.
///
/// ```no_run
/// use rekindle_imagefolder::Listing;
/// use rekindle_trainer::{CrossValidation, TransferData};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let preprocess = rekindle_models::Preprocess::default();
/// let folds = CrossValidation::new(5).write(&Listing::open("flowers")?, "runs/folds")?;
/// for fold in &folds {
///     let data = TransferData::from_listing(fold, &preprocess, 0)?;
///     println!("{} images to learn from", data.train.len()); // Train on them, and look at the mean and the spread.
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct CrossValidation {
    folds: usize,
    seed: u64,
    splits_copies: bool,
    decode: DecodeOptions,
}

impl CrossValidation {
    /// Asks for `folds` folds, at least 2. By default the seed is 0 and copies stay together.
    pub fn new(folds: usize) -> Self {
        Self {
            folds,
            seed: 0,
            splits_copies: false,
            decode: DecodeOptions::default(),
        }
    }

    /// Sets how images are decoded to look for copies, where they are not RGB of 8 bits.
    pub fn decode_options(mut self, options: DecodeOptions) -> Self {
        self.decode = options;
        self
    }

    /// Sets the seed by which images are assigned.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Lets near copies fall into different folds, which saves decoding every image once.
    pub fn split_copies(mut self, splits_copies: bool) -> Self {
        self.splits_copies = splits_copies;
        self
    }

    /// Writes a table for each fold, `fold-1.csv` and so on, with the fold as its validation part, into `folder`.
    ///
    /// # Errors
    ///
    /// Those of opening the images, of [`TablePart::folds`] and of writing.
    pub fn write(
        &self,
        listing: &Listing,
        folder: impl AsRef<Path>,
    ) -> Result<Vec<Listing>, TrainerError> {
        let folder = folder.as_ref();
        let part = listing.open_training()?;
        let groups = self.groups(&part)?;
        let assigned = part.folds(self.folds, groups.as_deref(), self.seed);
        let assigned = assigned.map_err(|error| match error {
            Error::InvalidOption { reason, .. } if groups.is_some() && !self.splits_copies => {
                TrainerError::UnusableData {
                    what: "images to cross-validate".into(),
                    found: reason,
                    advice: "near copies of an image stay in one fold; --split-copies lets them apart",
                }
            }
            error => error.into(),
        })?;
        fs::create_dir_all(folder).map_err(|error| TrainerError::io("create", folder, error))?;
        (0..self.folds)
            .map(|fold| {
                let (val, train): (Vec<usize>, Vec<usize>) =
                    (0..assigned.len()).partition(|at| assigned[*at] == fold);
                let (train, val) = (part.subset(&train), part.subset(&val));
                let path = folder.join(format!("fold-{}.csv", fold + 1));
                let table = ImageTable::create(path, &[("train", &train), ("val", &val)])?;
                Ok(Listing::Table(Box::new(table)))
            })
            .collect()
    }

    /// The groups of the table joined with the families of copies; none where each image is by itself.
    fn groups(&self, part: &TablePart) -> Result<Option<Vec<usize>>, TrainerError> {
        if self.splits_copies {
            return Ok(None);
        }
        let count = part.images.len();
        let mut sets = DisjointSets::new(count);
        if let Some(groups) = &part.groups {
            let mut first = vec![None; count];
            for (at, group) in groups.iter().enumerate() {
                sets.join(*first[*group].get_or_insert(at), at);
            }
        }
        for (a, b) in copies(part, &self.decode)? {
            sets.join(a, b);
        }
        let groups = sets.numbered();
        Ok((groups.iter().max() != count.checked_sub(1).as_ref()).then_some(groups))
    }
}

/// Pairs of near copies among the images that can be decoded.
fn copies(part: &TablePart, options: &DecodeOptions) -> Result<Vec<(usize, usize)>, TrainerError> {
    let found = looks(&part.images, options);
    let seen: Vec<(usize, &Looks)> = found
        .iter()
        .enumerate()
        .filter_map(|(at, looks)| Some((at, looks.as_ref().ok()?)))
        .collect();
    let Some((_, first)) = seen.first() else {
        return Ok(Vec::new());
    };
    let dim = first.sketch.len();
    let sketches = seen.iter().flat_map(|(_, looks)| looks.sketch.clone());
    let sketches = Features::new(sketches.collect(), dim)?;
    let neighbors = nearest_neighbors(&sketches, &sketches, NEIGHBORS)?;
    let mut pairs = Vec::new();
    for ((own, looks), neighbors) in seen.iter().zip(neighbors) {
        for neighbor in neighbors {
            let (other, others) = seen[neighbor.index];
            if other > *own && looks.correlation(others) >= SAME_SKETCH {
                pairs.push((*own, other));
            }
        }
    }
    Ok(pairs)
}
