//! Speed of a ResNet's training step made of these kernels, with random weights.
//!
//! `cargo run --release -p rekindle-kernels --example resnet_training -- [--arch resnet18|resnet50|resnext50]
//! [--batch 32] [--threads 2] [--isa avx512] [--seconds 5] [--layers]`

mod common;

use common::{Options, random, training::Network};
use rekindle_kernels::KernelError;

fn main() -> Result<(), KernelError> {
    let options = Options::from_args();
    let mut net = Network::new(&options);
    let pictures = random(options.batch * 3 * 224 * 224);
    options.measure("training step", |times| {
        net.step(&pictures, options.batch, times)
    })
}
