//! Losses against PyTorch's numbers, closed forms and limits; training on features that are made up; the contract of
//! backbones; degenerate data.
#![allow(clippy::unwrap_used, missing_docs)]

mod adaptation;
mod audit;
mod conformance;
mod degenerate;
mod limits;
mod losses;
mod multi_task;
mod open_set;
mod probe_search;
mod tuning;
