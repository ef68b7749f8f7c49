//! Forward speed of a ResNet made of these kernels, with random weights, layer by layer beside the machine's own limit.
//!
//! `cargo run --release -p rekindle-kernels --example resnet_speed -- [--arch resnet18|resnet50|resnext50]
//! [--batch 32] [--threads 2] [--isa avx512] [--seconds 5]`

mod common;

use common::{Options, inference::Network, random};
use rekindle_kernels::KernelError;

fn main() -> Result<(), KernelError> {
    let options = Options::from_args();
    let net = Network::new(options.isa, &options.arch)?;
    let shape = [options.batch, 3, 224, 224];
    let pictures = random(shape.iter().product());
    options.measure("forward", |times| {
        net.forward(&pictures, shape, times).map(drop)
    })
}
