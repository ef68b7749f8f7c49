//! Losses against PyTorch's numbers, closed forms and limits; training on features that are made up.

#![allow(clippy::unwrap_used, missing_docs)]

mod adaptation;
mod limits;
mod losses;
mod multi_task;
mod tuning;
