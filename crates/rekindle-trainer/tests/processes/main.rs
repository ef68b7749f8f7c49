//! Programs that are interrupted, killed or measured as a whole.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
#[cfg(unix)]
mod interrupt;
#[cfg(unix)]
mod killed;
#[cfg(target_os = "linux")]
mod memory;
