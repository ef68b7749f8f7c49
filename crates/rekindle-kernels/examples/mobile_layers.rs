//! Times the depthwise layers of MobileNetV2, forward and both gradients, beside what the memory allows.
//!
//! `cargo run --release -p rekindle-kernels --example mobile_layers -- --batch 32 --threads 2 --isa avx2`
//!
//! Bytes are those that a layer must move once: its input and its output. The memory's own rate is that of a copy between
//! two maps of the largest layer's size, counted the same way.

#[path = "common/mod.rs"]
mod common;

use common::{Options, random};
use rekindle_kernels::{
    Activation, ActivationFn, BatchNorm, Conv2dParams, Gate, KernelError, PackedConv2d, Statistics,
    input_gradient, scale_channels, weight_gradient,
};
use std::time::Instant;

/// Channels, filter, stride and size of the input: MobileNetV2's layers, then others of EfficientNet and ConvNeXt.
const LAYERS: [(usize, usize, usize, usize); 14] = [
    (32, 3, 1, 112),
    (96, 3, 2, 112),
    (144, 3, 1, 56),
    (144, 3, 2, 56),
    (192, 3, 1, 28),
    (192, 3, 2, 28),
    (384, 3, 1, 14),
    (576, 3, 1, 14),
    (576, 3, 2, 14),
    (960, 3, 1, 7),
    (240, 5, 2, 28),
    (672, 5, 1, 14),
    (1152, 5, 1, 7),
    (96, 7, 1, 56),
];

fn main() -> Result<(), KernelError> {
    let options = Options::from_args();
    options.on_pool(|| run(&options))
}

fn run(options: &Options) -> Result<(), KernelError> {
    let &Options { isa, batch, .. } = options;
    let peak = common::limit::gflops(options.threads);
    let large = Activation::zeros([batch, 96, 112, 112]);
    let copied = gigabytes(&[&large, &large]) / best(options, || Ok(large.clone()))?;
    println!(
        "batch {batch} on {isa}, {} threads: {peak:.0} GFLOP/s limit, {copied:.1} GB/s copied",
        options.threads
    );
    println!(
        "{:<28} {:>21} {:>21} {:>21}",
        "GB/s, GFLOP/s", "forward", "by input", "by weight"
    );
    for (channels, kernel, stride, size) in LAYERS {
        layer(options, [channels, kernel, stride, size])?;
    }
    functions(options)
}

fn layer(
    options: &Options,
    [channels, kernel, stride, size]: [usize; 4],
) -> Result<(), KernelError> {
    let &Options { isa, batch, .. } = options;
    let params = Conv2dParams::depthwise(channels, kernel, stride);
    let shape = [batch, channels, size, size];
    let x = Activation::from_nchw(&random(shape.iter().product()), shape)?;
    let weight = random(channels * kernel * kernel);
    let ones = vec![1.0; channels];
    let conv = PackedConv2d::new(isa, &params, &weight, Some((&ones, &ones)))?;
    let y = conv.forward(&x, None, ActivationFn::Relu6)?;
    let bytes = gigabytes(&[&x, &y]);
    let operations = 2e-9 * params.multiply_adds(batch, [size; 2])? as f64;
    let times = [
        best(options, || conv.forward(&x, None, ActivationFn::Relu6))?,
        best(options, || {
            input_gradient(isa, &params, &weight, &y, [size; 2], None)
        })?,
        best(options, || weight_gradient(isa, &params, &x, &y))?,
    ];
    let name = format!("{kernel}x{kernel}/{stride} {channels:>4}, {size:>3} px");
    print!("{name:<28}");
    for time in times {
        print!(" {:>10.1} {:>10.1}", bytes / time, operations / time);
    }
    println!();
    Ok(())
}

/// BatchNorm with each function, forward and backward, on a map of EfficientNet.
fn functions(options: &Options) -> Result<(), KernelError> {
    let &Options { isa, batch, .. } = options;
    let x = Activation::from_nchw(&random(batch * 96 * 56 * 56), [batch, 96, 56, 56])?;
    let [gamma, beta] = [random(96), random(96)];
    let norm = BatchNorm {
        gamma: &gamma,
        beta: &beta,
        eps: 1e-3,
    };
    let statistics = Statistics::of_batch(isa, &x)?;
    println!(
        "{:<28} {:>10} {:>10}",
        "BatchNorm, GB/s", "forward", "backward"
    );
    for function in ActivationFn::ALL {
        let forward = best(options, || {
            norm.forward(isa, &x, &statistics, None, function)
        })?;
        let backward = best(options, || {
            norm.backward(
                isa,
                &x,
                &statistics,
                Gate::Function(function),
                x.clone(),
                false,
            )
            .map(|back| back.gamma)
        })?;
        let copy = best(options, || Ok(x.clone()))?;
        let (two, five) = (gigabytes(&[&x; 2]), gigabytes(&[&x; 5]));
        println!(
            "{:<28} {:>10.1} {:>10.1}",
            function.to_string(),
            two / forward,
            five / (backward - copy).max(1e-9)
        );
    }
    let scale = random(batch * 96);
    let time = best(options, || scale_channels(isa, &x, &scale))?;
    println!(
        "{:<28} {:>10.1}",
        "channels scaled",
        gigabytes(&[&x; 2]) / time
    );
    Ok(())
}

fn gigabytes(maps: &[&Activation]) -> f64 {
    let bytes = |map: &&Activation| size_of_val(map.as_blocked());
    1e-9 * maps.iter().map(bytes).sum::<usize>() as f64
}

/// The shortest time of a call in seconds.
fn best<T>(
    options: &Options,
    mut f: impl FnMut() -> Result<T, KernelError>,
) -> Result<f64, KernelError> {
    let (mut best, begin) = (f64::MAX, Instant::now());
    for run in 0.. {
        if run >= 5 && begin.elapsed().as_secs_f64() > options.seconds / 50.0 {
            break;
        }
        let start = Instant::now();
        std::hint::black_box(f()?);
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best)
}
