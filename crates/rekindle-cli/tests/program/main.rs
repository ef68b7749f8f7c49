//! The program from outside: what it prints, what it leaves, and what it ends with.
#![allow(clippy::unwrap_used)]

mod browser;
mod commands;
mod folders;
mod messages;
mod outcomes;
mod runs;
mod weights;
mod workshop;
