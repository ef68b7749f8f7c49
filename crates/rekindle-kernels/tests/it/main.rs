//! Everything against something plain and independent.
#![allow(clippy::unwrap_used)]

mod arithmetic;
mod attention;
mod batch_norm;
mod convolution;
mod errors;
mod functions;
mod group_norm;
mod instruction_sets;
mod int8;
mod layer_norm;
mod linear;
mod matrix;
mod network;
mod pooling;
mod reference;
mod response_norm;
mod shapes;
mod squeeze_excitation;
