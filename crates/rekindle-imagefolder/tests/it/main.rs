//! One test program for the whole crate, so that Burn is linked once.
#![allow(clippy::unwrap_used)]

mod channels;
mod decode;
mod folder;
mod folds;
mod interpolation;
mod jpeg;
mod large;
mod layout;
mod loader;
mod looks;
mod made;
mod names;
mod ordinal;
mod pictures;
mod reference;
mod spreadsheets;
mod table;
mod transforms;
mod verify;
mod webp;
