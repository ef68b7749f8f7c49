//! What is wrong with labelled images, read off their features.

mod confident_learning;
mod held_out_ridge;
mod label_errors;
mod nearest;
mod outliers;

pub use confident_learning::{ConfidentLearning, LabelIssue, PruneBy};
pub(super) use held_out_ridge::best_temperature;
pub use held_out_ridge::{HeldOutAnswers, HeldOutRidge};
pub use label_errors::{FoundLabelErrors, LabelErrors};
pub use nearest::{Neighbor, NeighborIndex, NeighborSearch, nearest_neighbors};
pub use outliers::outlier_scores;
