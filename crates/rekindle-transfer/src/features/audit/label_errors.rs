//! Wrong labels among images, from features and labels alone.

use super::confident_learning::{ConfidentLearning, LabelIssue};
use super::held_out_ridge::{HeldOutAnswers, HeldOutRidge};
use crate::TransferError;
use crate::features::table::Features;

/// Finds labels that are probably wrong: [`ConfidentLearning`] on what a [`HeldOutRidge`] says of images that it didn't learn
/// from.
///
/// Labels that are wrong make the first probabilities less sure than they may be. So the temperature is fitted again to the
/// images that are not suspected, and the search repeated.
///
/// ```
/// use rekindle_transfer::features::{Features, LabelErrors};
///
/// let values = vec![1.0, 0.1, 0.9, 0.2, 1.0, 0.0, 0.1, 1.0, 0.2, 1.1, 0.0, 0.9, 0.9, 0.1];
/// let found = LabelErrors::default().find(&Features::new(values, 2)?, &[0, 0, 0, 1, 1, 1, 1], 2, &[])?;
/// assert_eq!((found.issues.len(), found.issues[0].index), (1, 6));
/// # Ok::<(), rekindle_transfer::TransferError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct LabelErrors {
    /// The probe.
    pub probe: HeldOutRidge,
    /// The choice among its answers.
    pub choice: ConfidentLearning,
    /// Times that the temperature is fitted again.
    pub rounds: usize,
    /// Images that a label needs to be judged: with fewer there is nothing to learn it from.
    pub least_images: usize,
}

/// Labels that are probably wrong, and what they were judged by.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundLabelErrors {
    /// The labels, the most surely wrong first.
    pub issues: Vec<LabelIssue>,
    /// What probes say that didn't learn from the image.
    pub answers: HeldOutAnswers,
}

impl Default for LabelErrors {
    fn default() -> Self {
        Self {
            probe: HeldOutRidge::default(),
            choice: ConfidentLearning::default(),
            rounds: 2,
            least_images: 3,
        }
    }
}

impl LabelErrors {
    /// Searches the labels `[n]` of images with features `[n, dim]`; `groups` are lists of images that look the same and
    /// must not vouch for each other.
    ///
    /// # Errors
    ///
    /// As [`HeldOutRidge::answers`].
    pub fn find(
        &self,
        features: &Features,
        labels: &[usize],
        classes: usize,
        groups: &[Vec<usize>],
    ) -> Result<FoundLabelErrors, TransferError> {
        let mut answers = self.probe.answers(features, labels, classes, groups)?;
        let mut issues = self
            .choice
            .find(&answers.probabilities(), labels, classes)?;
        for _ in 0..self.rounds {
            let mut is_suspected = vec![false; labels.len()];
            issues
                .iter()
                .for_each(|issue| is_suspected[issue.index] = true);
            answers = answers.recalibrated(labels, |index| !is_suspected[index]);
            issues = self
                .choice
                .find(&answers.probabilities(), labels, classes)?;
        }
        let mut images = vec![0; classes];
        labels.iter().for_each(|label| images[*label] += 1);
        issues.retain(|issue| images[issue.given] >= self.least_images);
        Ok(FoundLabelErrors { issues, answers })
    }
}
