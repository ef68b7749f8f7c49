//! Networks and their files.
#![allow(clippy::unwrap_used)]

mod checkpoints;
mod clip;
mod common;
mod files;
#[cfg(feature = "hub")]
#[path = "../../../rekindle-weights/tests/hub/hugging_face.rs"]
mod hugging_face;
mod int8;
mod kernels;
mod lite;
mod multilevel;
#[cfg(feature = "hub")]
mod named;
mod onnx;
mod onnx_ends;
mod onnx_in;
mod onnx_pixels;
mod onnx_refused;
mod pretrained;
mod quantized;
mod recognise;
mod registry;
mod resnets;
#[cfg(feature = "hub")]
#[path = "../../../rekindle-weights/tests/hub/server.rs"]
mod server;
mod side_by_side;
mod small;
#[path = "../../../rekindle-nn/tests/common/step.rs"]
mod step;
mod zoo;

#[cfg(feature = "hub")]
use rekindle_weights::sha256_of;
