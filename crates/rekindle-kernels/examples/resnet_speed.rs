//! Forward speed of a ResNet made of these kernels, with random weights, layer by layer beside the machine's own limit.
//!
//! `cargo run --release -p rekindle-kernels --example resnet_speed -- [--arch resnet18|resnet50|resnext50]
//! [--batch 32] [--threads 2] [--isa avx512] [--seconds 5] [--int8]`

mod common;

use common::{Options, inference, int8, random};
use rekindle_kernels::KernelError;

fn main() -> Result<(), KernelError> {
    let options = Options::from_args();
    let shape = [options.batch, 3, 224, 224];
    let pictures = random(shape.iter().product());
    if options.int8 {
        let net = int8::Network::new(options.isa, &options.arch)?;
        return options.measure("forward in eight bits", |times| {
            net.forward(&pictures, shape, times).map(drop)
        });
    }
    let net = inference::Network::new(options.isa, &options.arch)?;
    options.measure("forward", |times| {
        net.forward(&pictures, shape, times).map(drop)
    })
}
