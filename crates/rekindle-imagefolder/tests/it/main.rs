//! One test program for the whole crate, so that Burn is linked once.
#![allow(clippy::unwrap_used)]

mod decode;
mod folder;
mod jpeg;
mod large;
mod layout;
mod loader;
mod made;
mod names;
mod reference;
mod transforms;
mod verify;
