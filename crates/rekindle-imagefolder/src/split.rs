//! Splits one folder into training and validation.

use crate::error::Error;
use crate::folder::ImageFolder;
use crate::rng::{SampleRng, Stream};
use crate::said::{counted, list};

impl ImageFolder {
    /// Splits into training and validation, class by class.
    ///
    /// `val_fraction` in (0, 1) of every class, rounded, goes to validation; a class with two
    /// images or more keeps at least one on each side, a class with one stays in training. The
    /// result depends on `seed` and the folder's order alone; both halves keep the folder's order. What the scan left
    /// out is listed with training.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`] for a fraction outside (0, 1), [`Error::TooFewToSplit`] where a half would be empty.
    pub fn split(&self, val_fraction: f64, seed: u64) -> Result<(ImageFolder, ImageFolder), Error> {
        let (train, val) = self.split_indices(val_fraction, seed)?;
        Ok((self.subset(&train).ignoring(self), self.subset(&val)))
    }

    /// The positions of both halves, in rising order.
    pub(crate) fn split_indices(
        &self,
        val_fraction: f64,
        seed: u64,
    ) -> Result<(Vec<usize>, Vec<usize>), Error> {
        if !(val_fraction > 0.0 && val_fraction < 1.0) {
            return Err(Error::InvalidOption {
                option: "val_fraction",
                reason: format!("{val_fraction} is not between 0 and 1"),
            });
        }
        // One group per class, and one more for samples without a label.
        let mut groups = vec![Vec::new(); self.classes().len() + 1];
        for (index, sample) in self.samples().iter().enumerate() {
            groups[sample.label.map_or(0, |label| label + 1)].push(index);
        }
        let (mut train, mut val) = (Vec::new(), Vec::new());
        for (class, mut group) in groups.into_iter().enumerate() {
            SampleRng::keyed(seed, Stream::Split, &[class as u64]).shuffle(&mut group);
            let wanted = (group.len() as f64 * val_fraction).round() as usize;
            let taken = if group.len() < 2 {
                0
            } else {
                wanted.clamp(1, group.len() - 1)
            };
            val.extend_from_slice(&group[..taken]);
            train.extend_from_slice(&group[taken..]);
        }
        if train.is_empty() || val.is_empty() {
            return Err(Error::TooFewToSplit {
                path: self.root().to_path_buf(),
                found: self.told(),
                advice: "give two images or more of a class, or a validation part of your own (folders train and val, a column split)",
            });
        }
        train.sort_unstable();
        val.sort_unstable();
        Ok((train, val))
    }

    /// How many images there are, of which classes.
    fn told(&self) -> String {
        let images = counted(self.len(), "image", "images");
        let counts = self.class_counts().into_iter().zip(self.classes());
        let counts: Vec<String> = counts
            .filter(|(count, _)| *count > 0)
            .map(|(count, class)| format!("{class} {count}"))
            .collect();
        match counts.is_empty() {
            true => images,
            false => format!("{images} ({})", list(&counts)),
        }
    }
}
