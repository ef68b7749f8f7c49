//! One benchmark for each kernel on a typical shape, and one for each network, two minutes in all.
//!
//! `cargo bench -p rekindle-kernels -- "3x3 64"`; `RAYON_NUM_THREADS` sets the threads. Layer by layer beside the machine's
//! own limit: `cargo run --release -p rekindle-kernels --example resnet_speed` and `--example resnet_training`.

#[path = "../examples/common/mod.rs"]
mod common;

use common::{Options, Times, inference, random, training};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rekindle_kernels::{
    Activation, BatchNorm, Conv2dParams, Gate, Isa, KernelError, PackedConv2d, PackedLinear,
    Quantization, QuantizedActivation, QuantizedConv2d, Statistics, UnpackedConv2d, input_gradient,
    linear_gradients, max_pool, max_pool_gradient, weight_gradient, weight_gradient_nchw,
};
use std::hint::black_box;
use std::time::Duration;

const BATCH: usize = 8;

/// Channels in and out, filter, stride, and height of the input.
const SHAPES: [(usize, usize, usize, usize, usize); 5] = [
    (3, 64, 7, 2, 224),
    (64, 64, 3, 1, 56),
    (512, 512, 3, 1, 7),
    (128, 256, 3, 2, 28),
    (1024, 256, 1, 1, 14),
];

fn kernels(c: &mut Criterion) {
    let isa = Isa::detect();
    for shape in SHAPES {
        report(convolution(c, isa, shape));
    }
    report(memory_bound(c, isa));
    report(linear(c, isa));
}

fn networks(c: &mut Criterion) {
    report(network(c, "resnet18"));
    report(network(c, "resnet50"));
}

fn report(result: Result<(), KernelError>) {
    if let Err(e) = result {
        eprintln!("{e}");
    }
}

fn convolution(
    c: &mut Criterion,
    isa: Isa,
    (ic, oc, kernel, stride, size): (usize, usize, usize, usize, usize),
) -> Result<(), KernelError> {
    let params = Conv2dParams::new(ic, oc, kernel, stride);
    let shape = [BATCH, ic, size, size];
    let (input, weight) = (
        random(shape.iter().product()),
        common::random_weight(&params),
    );
    let x = Activation::from_nchw(&input, shape)?;
    let pack = || PackedConv2d::new(isa, &params, &weight, None);
    let conv = pack()?;
    let dy = conv.forward(&x, None, false)?;
    let name = format!("{kernel}x{kernel} {ic} to {oc}, stride {stride}, {size} px");
    let mut group = c.benchmark_group(name);
    group.bench_function("pack", |b| b.iter(|| black_box(pack())));
    group.throughput(Throughput::Elements(
        params.multiply_adds(BATCH, [size, size])? as u64,
    ));
    let range = Quantization::of_range(-1.0, 1.0)?;
    let quantized = QuantizedConv2d::new(isa, &params, &weight, None)?;
    if ic == 3 {
        group.bench_function("forward in eight bits", |b| {
            b.iter(|| black_box(quantized.forward_nchw(&input, shape, range, true, range)));
        });
        // A stem reads planes, and nobody asks for its gradient by the input.
        group.bench_function("forward", |b| {
            b.iter(|| black_box(conv.forward_nchw(&input, shape, true)));
        });
        group.bench_function("gradient by weight", |b| {
            b.iter(|| black_box(weight_gradient_nchw(isa, &params, &input, shape, &dy)));
        });
    } else {
        let bytes = QuantizedActivation::from_activation(&x, range);
        group.bench_function("forward in eight bits", |b| {
            b.iter(|| black_box(quantized.forward(&bytes, None, true, range)));
        });
        group.bench_function("forward", |b| {
            b.iter(|| black_box(conv.forward(&x, None, true)));
        });
        let once = UnpackedConv2d::new(isa, &params, &weight, None)?;
        group.bench_function("forward by weights used once", |b| {
            b.iter(|| black_box(once.forward(&x, None, true)));
        });
        group.bench_function("gradient by weight", |b| {
            b.iter(|| black_box(weight_gradient(isa, &params, &x, &dy)));
        });
        group.bench_function("gradient by input", |b| {
            b.iter(|| {
                black_box(input_gradient(
                    isa,
                    &params,
                    &weight,
                    &dy,
                    [size, size],
                    None,
                ))
            });
        });
    }
    group.finish();
    Ok(())
}

fn memory_bound(c: &mut Criterion, isa: Isa) -> Result<(), KernelError> {
    let shape = [BATCH, 64, 112, 112];
    let x = Activation::from_nchw(&random(shape.iter().product()), shape)?;
    let [gamma, beta] = [random(64), random(64)];
    let norm = BatchNorm {
        gamma: &gamma,
        beta: &beta,
        eps: 1e-5,
    };
    let statistics = Statistics::of_batch(isa, &x)?;
    let pooled = max_pool(isa, &x, 3, 2, 1)?;
    let mut group = c.benchmark_group("64 channels, 112 px");
    group.throughput(Throughput::Bytes(
        (shape.iter().product::<usize>() * 4) as u64,
    ));
    group.bench_function("batch statistics", |b| {
        b.iter(|| black_box(Statistics::of_batch(isa, &x)));
    });
    group.bench_function("normalise and ReLU", |b| {
        b.iter(|| black_box(norm.forward(isa, &x, &statistics, None, true)));
    });
    group.bench_function("batch norm backward", |b| {
        b.iter_batched(
            || x.clone(),
            |dy| black_box(norm.backward(isa, &x, &statistics, Gate::Relu, dy, false)),
            BatchSize::LargeInput,
        );
    });
    group.bench_function("max pool", |b| {
        b.iter(|| black_box(max_pool(isa, &x, 3, 2, 1)));
    });
    group.bench_function("max pool backward", |b| {
        b.iter(|| black_box(max_pool_gradient(isa, &x, &pooled, &pooled, 3, 2, 1)));
    });
    group.finish();
    Ok(())
}

fn linear(c: &mut Criterion, isa: Isa) -> Result<(), KernelError> {
    let [x, weight, dy] = [BATCH * 512, 1000 * 512, BATCH * 1000].map(random);
    let layer = PackedLinear::new(isa, [1000, 512], &weight, None)?;
    let mut group = c.benchmark_group("linear, 512 to 1000");
    group.bench_function("forward", |b| {
        b.iter(|| black_box(layer.forward(&x, BATCH)));
    });
    group.bench_function("gradients", |b| {
        let shape = [BATCH, 1000, 512];
        b.iter(|| black_box(linear_gradients(isa, &x, &weight, &dy, shape)));
    });
    group.finish();
    Ok(())
}

fn network(c: &mut Criterion, arch: &str) -> Result<(), KernelError> {
    let options = Options {
        arch: arch.to_string(),
        batch: BATCH,
        ..Options::default()
    };
    let shape = [BATCH, 3, 224, 224];
    let pictures = random(shape.iter().product());
    let net = inference::Network::new(options.isa, arch)?;
    let mut trained = training::Network::new(&options);
    let mut group = c.benchmark_group(format!("{arch}, {BATCH} pictures"));
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("forward", |b| {
        b.iter(|| black_box(net.forward(&pictures, shape, &mut Times::default())));
    });
    group.bench_function("training step", |b| {
        b.iter(|| black_box(trained.step(&pictures, BATCH, &mut Times::default())));
    });
    group.finish();
    Ok(())
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2));
    targets = kernels, networks
}
criterion_main!(benches);
