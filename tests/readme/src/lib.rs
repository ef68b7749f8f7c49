//! The code of README.md and of the guide: `cargo test -p readme --doc` compiles it in a crate that depends on nothing but
//! rekindle.

/// README.md.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
pub mod readme {}

/// The map of transfer learning.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/README.md")]
pub mod guide {}
