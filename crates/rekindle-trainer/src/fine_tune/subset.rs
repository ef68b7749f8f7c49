//! Fewer training images, where the budget is too short to look at all of them.

use std::sync::Arc;

use rekindle_imagefolder::Pipeline;
use rekindle_nn::Network;
use rekindle_transfer::features::stratified_order;

use super::run::Run;
use crate::TrainerError;
use crate::activations::FrozenPart;
use crate::data::TransferData;
use crate::events::Event;

/// Training images up to which all are looked at.
const ALL: usize = 500;

/// Images that are looked at to know how long one takes.
const MEASURED: usize = 48;

/// Share of what the budget leaves that looking at the training images may take.
const FOR_LOOKING: f64 = 0.3;

impl<'b> Run<'_, 'b> {
    /// Chooses the training images that there is the time for, unless it was done before, or for all.
    pub(super) fn choose_images(
        &mut self,
        part: &FrozenPart<Network>,
        data: &TransferData,
        plain: &Pipeline,
    ) -> Result<(), TrainerError> {
        let images = data.train.len();
        let Some(budget) = self.choices.budget.filter(|_| images > ALL) else {
            return Ok(());
        };
        if self.chosen.is_some() {
            return Ok(());
        }
        let labels: Vec<usize> = (data.train.labels().iter())
            .map(|label| label.unwrap_or(0))
            .collect();
        let mut order = stratified_order(&labels, self.choices.seed);
        let some = Arc::new(data.train.subset(&order[..MEASURED]));
        let begun = self.clock().seconds();
        self.features(part, &some, plain, "the time for an image")?;
        let now = self.clock().seconds();
        let per_image = (now - begun) / MEASURED as f64;
        let left = budget.as_secs_f64() - now - per_image * data.val.len() as f64;
        let most = (FOR_LOOKING * left / per_image.max(1e-9)) as usize;
        if most >= images {
            return Ok(());
        }
        order.truncate(most.max(ALL));
        let message = format!(
            "the budget is long enough for {} of the {images} training images, and they are all that is learnt from; a longer \
             one takes more",
            order.len()
        );
        self.tell(&Event::Warning { message })?;
        order.sort_unstable();
        self.chosen = Some(order);
        Ok(())
    }
}
