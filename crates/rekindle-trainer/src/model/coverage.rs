//! Sets of classes by the scores in a model's file.

use rekindle_files::names::show;

use super::Model;
use crate::metrics::ConformalScores;
use crate::{TestViews, TrainerError};

impl Model {
    /// Returns the scores of the images that the model was validated on, for sets of classes that hold the right one as often as
    /// is asked for. The images also chose the best epoch, so that the promise is a little optimistic.
    ///
    /// # Errors
    ///
    /// [`TrainerError::ModelLacks`] where the file has none, and for more than one view or calibrated answers, since the
    /// scores are those of plain ones.
    pub fn conformal(&self) -> Result<ConformalScores, TrainerError> {
        let refuse = |found: String, advice| {
            Err(TrainerError::ModelLacks {
                what: format!("model {}", show(&self.path)),
                found,
                advice,
            })
        };
        if self.views != TestViews::Plain || self.divisor != 1.0 {
            return refuse(
                "its scores for sets are those of plain answers".into(),
                "ask for sets, or for calibrated answers or several views",
            );
        }
        match &self.conformal_scores {
            Some(kept) => ConformalScores::from_kept(kept.clone()),
            None => refuse(
                "its file holds no scores for sets of classes".into(),
                "train one class per picture with this version of rekindle, which leaves them in the file",
            ),
        }
    }
}
