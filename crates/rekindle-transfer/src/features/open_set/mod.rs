//! Scores that tell images of unknown classes from those of the known ones (open-set recognition).

mod auroc;
mod detector;
mod kept;
mod mahalanobis;
mod nearest_known;
mod score;
mod search;

pub use auroc::{auroc, false_positive_rate};
pub use detector::UnknownDetector;
pub use mahalanobis::Mahalanobis;
pub use nearest_known::NearestKnown;
pub use score::{UnknownScore, energy, max_probability};
pub use search::{FoundUnknownScore, OpenSetSearch, ScoredUnknown};
