//! Names of files as text that can be read back, and pointers that stand in place of files.
//!
//! [`names`] writes any file name as text, reversibly, for JSON, tables, messages and reports. [`Pointer`] recognises
//! what Git LFS and git-annex leave where the content has not been fetched.
//!
//! ```
//! use rekindle_files::names;
//!
//! let name = names::unescape(r"caf\xe9.jpg"); // four bytes of Latin-1 and an ending, on Unix
//! assert_eq!(names::escape(&name), r"caf\xe9.jpg");
//! assert_eq!(names::escape("café.jpg"), "café.jpg");
//! ```

pub mod names;
mod pointer;

pub use pointer::Pointer;

/// Compiles the README's code.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
