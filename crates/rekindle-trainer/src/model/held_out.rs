//! Which images a model is measured on: those that training held out, where they can be told.

use std::collections::HashSet;

use rekindle_imagefolder::{ContentHash, Listing, TablePart};
use serde::Deserialize;
use serde_json::Value;

use super::Model;
use crate::data::{HeldOut, VALIDATION_SHARE, eval_pipeline, held_out};
use crate::identity::{DataList, Part};
use crate::{RunDirectory, TrainerError};

/// Images to measure a model on.
pub(super) struct Measured {
    pub part: TablePart,
    /// They are what training held out of these very images, the others being left alone.
    pub is_held_out: bool,
    /// How many of them training learned from, as far as is known.
    pub learned_from: usize,
}

impl Model {
    /// Returns the images of `listing` to measure the model on: what training held out of them, or else what `part` opens.
    ///
    /// The model's file says what was held out of a folder or a table by a seed. Its run directory knows every picture by its
    /// content, and so also what a fold held out, or a folder that has moved since or has got more pictures: where all that the run held out is
    /// there, beside pictures that it learned from, it is taken.
    pub(super) fn to_measure(
        &self,
        listing: &Listing,
        part: impl FnOnce() -> Result<TablePart, TrainerError>,
    ) -> Result<Measured, TrainerError> {
        let held_out = |part| Measured {
            part,
            is_held_out: true,
            learned_from: 0,
        };
        if let Some(part) = self.held_out(listing)? {
            return Ok(held_out(part));
        }
        let mut measured = Measured {
            part: part()?,
            is_held_out: false,
            learned_from: 0,
        };
        let Some(list) = self.pictures_of_run()? else {
            return Ok(measured);
        };
        let of = |part: Part| -> HashSet<ContentHash> {
            let images = list.images.iter().filter(|image| image.part == part);
            images.filter_map(|image| image.sha256).collect()
        };
        let (learned, held) = (of(Part::Train), of(Part::Val));
        let dataset = measured.part.dataset(eval_pipeline(&self.preprocess))?;
        let contents: Vec<Option<ContentHash>> =
            dataset.contents().into_iter().map(Result::ok).collect();
        // A copy of a picture that was held out is no worse than that.
        let is_learned =
            |content: &&ContentHash| learned.contains(content) && !held.contains(content);
        measured.learned_from = contents.iter().flatten().filter(is_learned).count();
        if measured.learned_from == 0 {
            return Ok(measured);
        }
        let is_held = |at: &usize| contents[*at].is_some_and(|content| held.contains(&content));
        let kept: Vec<usize> = (0..contents.len()).filter(is_held).collect();
        let found: HashSet<_> = kept.iter().map(|at| contents[*at]).collect();
        Ok(match !kept.is_empty() && found.len() == held.len() {
            true => held_out(measured.part.subset(&kept)),
            false => measured,
        })
    }

    /// Of the folder that the model was trained on, the images that training held out, where it held out some: the others
    /// would flatter it.
    pub(super) fn held_out(&self, listing: &Listing) -> Result<Option<TablePart>, TrainerError> {
        let Some(recorded) = self.held_out_by().filter(|_| listing.holds_out()) else {
            return Ok(None);
        };
        if recorded != held_out(listing.given(), recorded.seed) {
            return Ok(None);
        }
        let (_, part) = listing.open_split(VALIDATION_SHARE, recorded.seed)?;
        let is_same = self.recorded_data()["val_images"] == part.images.len()
            && self.classes.as_deref() == Some(part.images.classes());
        Ok(is_same.then_some(part))
    }

    /// Of what the model was trained on, what was held out of it and by which seed, where its file says so.
    pub(super) fn held_out_by(&self) -> Option<HeldOut> {
        HeldOut::deserialize(&self.recorded_data()["held_out"]).ok()
    }

    /// What the file says of the data that the model was trained on.
    fn recorded_data(&self) -> Value {
        let provenance = self.provenance.as_deref().unwrap_or_default();
        let provenance: Value = serde_json::from_str(provenance).unwrap_or_default();
        provenance["data"].clone()
    }

    /// The pictures of the run whose best weights the model is; none for a file that lies elsewhere, and for runs without a list.
    fn pictures_of_run(&self) -> Result<Option<DataList>, TrainerError> {
        let directory = self.path.parent().map(RunDirectory::open);
        match directory {
            Some(Ok(run)) if run.best_weights_path() == self.path => run.data_list(),
            _ => Ok(None),
        }
    }
}
