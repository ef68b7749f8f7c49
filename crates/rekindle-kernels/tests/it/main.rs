//! Everything against something plain and independent.
#![allow(clippy::unwrap_used)]

mod batch_norm;
mod convolution;
mod errors;
mod functions;
mod instruction_sets;
mod int8;
mod linear;
mod network;
mod pooling;
mod reference;
mod shapes;
mod squeeze_excitation;
