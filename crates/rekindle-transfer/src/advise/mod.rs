//! Scores of a source for a target, before anything is trained: what, when and how to transfer.
//!
//! All look at features or source probabilities of the target's images, once. [`LogMe`], [`HScore`],
//! [`leep`] and [`nce`] need labels and rank sources for one target; [`ProxyADistance`] needs none and says how
//! far two domains are apart. An [`Advisor`] puts them together into an [`Advice`]: which backbone, which strategy, and
//! what to expect.

mod advice;
mod advisor;
mod h_score;
mod leep;
mod log_me;
mod proxy_a_distance;

pub use advice::{Advice, BackboneScore, Cost, Domain, Estimate, MEANINGS, Sizes, Warning};
pub use advisor::{Advisor, Candidate};
pub use h_score::HScore;
pub use leep::{leep, nce};
pub use log_me::LogMe;
pub use proxy_a_distance::ProxyADistance;
