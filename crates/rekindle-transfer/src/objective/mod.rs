//! Defines objectives to minimise: losses that transfer, as functions on tensors and as data.
//!
//! Each is usable in a loop of one's own. [`DomainObjective`] names those of unsupervised domain adaptation as plain
//! data, [`DomainAlignment`] computes them in any training step, and [`Adaptation`] trains a small head
//! on kept features with them.

mod adaptation;
mod alignment;
mod cdan;
mod check;
mod dann;
mod deep_coral;
mod distillation;
mod domain_confusion;
mod entropy;
mod gradient_reversal;
mod mcc;
mod mk_mmd;
mod multi_task;
mod multi_task_heads;
mod pcgrad;
mod prototypical;
mod rkd;
mod rows;
mod self_supervised;

pub use adaptation::{Adaptation, AdaptedHead, LabelledRows, Scaling};
pub use alignment::{DomainAlignment, DomainObjective, DomainView};
pub use cdan::{RandomizedMultilinearMap, certainty_weights, multilinear_map};
pub use dann::{DomainClassifier, domain_loss};
pub use deep_coral::deep_coral_loss;
pub use distillation::distillation_loss;
pub use domain_confusion::domain_confusion_loss;
pub use entropy::{information_maximisation, mean_entropy, pseudo_label_loss};
pub use gradient_reversal::reverse_gradient;
pub use mcc::minimum_class_confusion;
pub use mk_mmd::MkMmd;
pub use multi_task::{UncertaintyWeighting, weighted_sum};
pub use multi_task_heads::{
    MultiTask, MultiTaskHeads, TaskLabels, Weighting, masked_cross_entropy,
};
pub use pcgrad::pcgrad;
pub use prototypical::{prototype_logits, prototypes};
pub use rkd::{rkd_angle_loss, rkd_distance_loss};
pub use self_supervised::{barlow_twins_loss, simsiam_loss};
