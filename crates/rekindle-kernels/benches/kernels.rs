//! Every kind of kernel on the shapes of ResNet-18 and ResNet-50, eight pictures, in multiply-adds a second where that
//! means something.
//!
//! `cargo bench -p rekindle-kernels -- "3x3 64 to 64"`; `RAYON_NUM_THREADS` sets the threads. The machine's own limit and
//! whole networks: `cargo run --release -p rekindle-kernels --example resnet_speed`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rekindle_kernels::{
    Activation, Algorithm, BatchNorm, Conv2dParams, Gate, Isa, PackedConv2d, PackedInputGradient,
    Statistics, max_pool, max_pool_gradient, weight_gradient_by,
};
use std::hint::black_box;

const BATCH: usize = 8;

/// Channels in and out, filter, stride, and height of the input.
const SHAPES: [(usize, usize, usize, usize, usize); 10] = [
    (3, 64, 7, 2, 224),
    (64, 64, 3, 1, 56),
    (64, 128, 3, 2, 56),
    (128, 128, 3, 1, 28),
    (256, 256, 3, 1, 14),
    (512, 512, 3, 1, 7),
    (256, 512, 1, 2, 56),
    (64, 256, 1, 1, 56),
    (512, 128, 1, 1, 28),
    (512, 2048, 1, 1, 7),
];

fn convolutions(c: &mut Criterion) {
    let isa = Isa::detect();
    for (ic, oc, k, stride, size) in SHAPES {
        let params = Conv2dParams::new(ic, oc, k, stride);
        let shape = [BATCH, ic, size, size];
        let input = values(shape.iter().product());
        let weight = values(params.weight_shape().iter().product());
        let (Ok(x), Ok([oh, ow])) = (
            Activation::from_nchw(&input, shape),
            params.output_size([size, size]),
        ) else {
            continue;
        };
        let dy = values(BATCH * oc * oh * ow);
        let Ok(dy) = Activation::from_nchw(&dy, [BATCH, oc, oh, ow]) else {
            continue;
        };
        let mut group =
            c.benchmark_group(format!("{k}x{k} {ic} to {oc}, stride {stride}, {size} px"));
        if let Ok(work) = params.multiply_adds(BATCH, [size, size]) {
            group.throughput(Throughput::Elements(work as u64));
        }
        for algorithm in [Algorithm::Direct, Algorithm::Winograd] {
            let pack = || PackedConv2d::with_algorithm(isa, &params, &weight, None, algorithm);
            let Ok(conv) = pack() else { continue };
            group.bench_function(format!("{algorithm:?} forward"), |b| {
                // A stem reads planes.
                b.iter(|| {
                    black_box(match ic {
                        3 => conv.forward_nchw(&input, shape, true),
                        _ => conv.forward(&x, None, true),
                    })
                });
            });
            group.bench_function(format!("{algorithm:?} pack"), |b| {
                b.iter(|| black_box(pack()))
            });
            let by_weight = || weight_gradient_by(isa, &params, &x, &dy, algorithm);
            if by_weight().is_ok() {
                group.bench_function(format!("{algorithm:?} gradient by weight"), |b| {
                    b.iter(|| black_box(by_weight()));
                });
            }
        }
        if let Ok(packed) = PackedInputGradient::new(isa, &params, &weight) {
            group.bench_function("gradient by input", |b| {
                b.iter(|| black_box(packed.backward(&dy, [size, size], None)));
            });
        }
        group.finish();
    }
}

fn memory_bound(c: &mut Criterion) {
    let isa = Isa::detect();
    let shape = [BATCH, 64, 112, 112];
    let Ok(x) = Activation::from_nchw(&values(shape.iter().product()), shape) else {
        return;
    };
    let [gamma, beta] = [values(64), values(64)];
    let norm = BatchNorm {
        gamma: &gamma,
        beta: &beta,
        eps: 1e-5,
    };
    let (Ok(statistics), Ok(pooled)) = (Statistics::of_batch(isa, &x), max_pool(isa, &x, 3, 2, 1))
    else {
        return;
    };
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
            criterion::BatchSize::LargeInput,
        );
    });
    group.bench_function("max pool", |b| {
        b.iter(|| black_box(max_pool(isa, &x, 3, 2, 1)))
    });
    group.bench_function("max pool backward", |b| {
        b.iter(|| black_box(max_pool_gradient(isa, &x, &pooled, &pooled, 3, 2, 1)));
    });
    group.finish();
}

fn values(len: usize) -> Vec<f32> {
    (0..len)
        .map(|i| ((i * 7919) % 2003) as f32 / 1001.5 - 1.0)
        .collect()
}

criterion_group!(benches, convolutions, memory_bound);
criterion_main!(benches);
