//! Learning from one or a few images per class.

mod episode;
mod matching;
mod prototypes;
mod simple_shot;

pub use episode::{Episode, EpisodeSampler, MeanAccuracy};
pub use matching::Matching;
pub use prototypes::{Distance, Prototypes};
pub use simple_shot::SimpleShot;
