//! Decides which parameters learn, and how far they may move.

mod delta;
mod ensemble;
mod flat;
mod freeze;
#[cfg(feature = "flex")]
mod in_place;
mod l2_sp;
mod low_rank;
mod moving_average;
mod named;
mod soup;
mod strategy;

pub use delta::{channel_weights, feature_map_penalty};
pub use ensemble::{ensemble_probabilities, stacked_features, stacking};
pub use freeze::{StageParameters, apply, stage_parameters, trained_parameters};
#[cfg(feature = "flex")]
pub use in_place::{supports_in_place, update_in_place};
pub use l2_sp::L2Sp;
pub use low_rank::LowRank;
pub use moving_average::MovingAverage;
pub use named::STRATEGY_NAMES;
pub use soup::{Soup, average_weights, greedy_soup};
pub use strategy::{ParameterFilter, Plan, Strategy};
