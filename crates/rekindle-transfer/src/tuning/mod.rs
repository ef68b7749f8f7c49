//! Which parameters move, and how far.

mod freeze;
mod strategy;

pub use freeze::{StageParameters, apply, stage_parameters};
pub use strategy::{Plan, Strategy};
