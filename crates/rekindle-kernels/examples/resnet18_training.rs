//! Speed of a ResNet-18 training step made of these kernels: forward, backward and SGD with momentum, random weights.
//!
//! `cargo run --release -p rekindle-kernels --example resnet18_training -- [batch 32] [threads 2] [seconds 10]`

use rayon::prelude::*;
use rekindle_kernels::{
    Activation, BatchNorm, Conv2dParams, Gate, Isa, KernelError, PackedConv2d, PackedInputGradient,
    PackedLinear, Statistics, global_average_pool, global_average_pool_gradient, linear_gradients,
    max_pool, max_pool_gradient, weight_gradient, weight_gradient_nchw,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn main() -> Result<(), KernelError> {
    let args: Vec<usize> = std::env::args()
        .skip(1)
        .filter_map(|a| a.parse().ok())
        .collect();
    let get = |i: usize, default| args.get(i).copied().unwrap_or(default);
    let (batch, threads, seconds) = (get(0, 32), get(1, 2), get(2, 10));
    match rayon::ThreadPoolBuilder::new().num_threads(threads).build() {
        Ok(pool) => pool.install(|| measure(batch, threads, seconds)),
        Err(e) => {
            eprintln!("cannot start {threads} threads: {e}");
            Ok(())
        }
    }
}

fn measure(batch: usize, threads: usize, seconds: usize) -> Result<(), KernelError> {
    let mut net = Network::new();
    let pictures = random(batch * 3 * 224 * 224);
    let (mut best, mut runs) = (BTreeMap::<&str, Duration>::new(), Vec::new());
    let start = Instant::now();
    while start.elapsed().as_secs() < seconds as u64 || runs.len() < 3 {
        let mut times = Times::default();
        let begin = Instant::now();
        net.step(&pictures, batch, &mut times)?;
        runs.push(begin.elapsed());
        for (kind, time) in times.0 {
            let entry = best.entry(kind).or_insert(time);
            *entry = time.min(*entry);
        }
    }
    runs.sort();
    let rate = |t: Duration| batch as f64 / t.as_secs_f64();
    println!(
        "resnet18 training step, batch {batch}, {threads} threads: best {:.1} img/s, median {:.1} img/s",
        rate(runs[0]),
        rate(runs[runs.len() / 2])
    );
    for (kind, time) in best {
        println!("{kind:<38} {:>9.2} ms", time.as_secs_f64() * 1e3);
    }
    Ok(())
}

#[derive(Default)]
struct Times(BTreeMap<&'static str, Duration>);

impl Times {
    fn run<T>(&mut self, kind: &'static str, f: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = f();
        *self.0.entry(kind).or_default() += start.elapsed();
        result
    }
}

/// A tensor that SGD moves.
struct Parameter {
    value: Vec<f32>,
    velocity: Vec<f32>,
}

impl Parameter {
    fn new(value: Vec<f32>) -> Self {
        Self {
            velocity: vec![0.0; value.len()],
            value,
        }
    }

    fn step(&mut self, gradient: &[f32]) {
        let values = self
            .value
            .par_chunks_mut(1 << 14)
            .zip(self.velocity.par_chunks_mut(1 << 14));
        values
            .zip(gradient.par_chunks(1 << 14))
            .for_each(|((value, velocity), gradient)| {
                for ((p, v), g) in value.iter_mut().zip(velocity).zip(gradient) {
                    *v = 0.9 * *v + g;
                    *p -= 1e-3 * *v;
                }
            });
    }
}

/// A convolution with its BatchNorm.
struct Unit {
    params: Conv2dParams,
    weight: Parameter,
    gamma: Parameter,
    beta: Parameter,
}

/// What the backward pass needs of the forward pass.
struct Saved {
    conv: Activation,
    statistics: Statistics,
}

impl Unit {
    fn new(params: Conv2dParams) -> Self {
        let mut weight = random(params.weight_shape().iter().product());
        let fan_in = weight.len() / params.out_channels;
        weight
            .iter_mut()
            .for_each(|w| *w *= (2.0 / fan_in as f32).sqrt());
        Self {
            params,
            weight: Parameter::new(weight),
            gamma: Parameter::new(vec![1.0; params.out_channels]),
            beta: Parameter::new(vec![0.0; params.out_channels]),
        }
    }

    fn norm(&self) -> BatchNorm<'_> {
        BatchNorm {
            gamma: &self.gamma.value,
            beta: &self.beta.value,
            eps: 1e-5,
        }
    }

    fn forward(
        &self,
        x: Input<'_>,
        residual: Option<&Activation>,
        relu: bool,
        times: &mut Times,
    ) -> Result<(Activation, Saved), KernelError> {
        let isa = Isa::detect();
        let packed = times.run("pack for forward", || {
            PackedConv2d::new(isa, &self.params, &self.weight.value, None)
        })?;
        let conv = times.run("convolution forward", || match x {
            Input::Blocked(x) => packed.forward(x, None, false),
            Input::Pictures(x, shape) => packed.forward_nchw(x, shape, false),
        })?;
        let statistics = times.run("batch statistics", || Statistics::of_batch(isa, &conv))?;
        let y = times.run("normalise", || {
            self.norm().forward(isa, &conv, &statistics, residual, relu)
        })?;
        Ok((y, Saved { conv, statistics }))
    }

    /// Gradients by input (unless the input is the pictures) and by residual; moves the parameters.
    #[allow(clippy::too_many_arguments)]
    fn backward(
        &mut self,
        x: Input<'_>,
        saved: &Saved,
        gate: Gate<'_>,
        dy: Activation,
        want_residual: bool,
        add: Option<&Activation>,
        times: &mut Times,
    ) -> Result<(Option<Activation>, Option<Activation>), KernelError> {
        let isa = Isa::detect();
        let back = times.run("batch norm backward", || {
            self.norm()
                .backward(isa, &saved.conv, &saved.statistics, gate, dy, want_residual)
        })?;
        let dw = times.run("gradient by weight", || match x {
            Input::Blocked(x) => weight_gradient(isa, &self.params, x, &back.x),
            Input::Pictures(x, shape) => weight_gradient_nchw(isa, &self.params, x, shape, &back.x),
        })?;
        let dx = match x {
            Input::Pictures(..) => None,
            Input::Blocked(x) => {
                let [_, _, h, w] = x.shape();
                let packed = times.run("pack for gradient by input", || {
                    PackedInputGradient::new(isa, &self.params, &self.weight.value)
                })?;
                Some(times.run("gradient by input", || {
                    packed.backward(&back.x, [h, w], add)
                })?)
            }
        };
        times.run("SGD", || {
            self.weight.step(&dw);
            self.gamma.step(&back.gamma);
            self.beta.step(&back.beta);
        });
        Ok((dx, back.residual))
    }
}

#[derive(Clone, Copy)]
enum Input<'a> {
    Blocked(&'a Activation),
    Pictures(&'a [f32], [usize; 4]),
}

struct Block {
    first: Unit,
    second: Unit,
    downsample: Option<Unit>,
}

struct BlockSaved {
    x: Arc<Activation>,
    first: (Activation, Saved),
    second: (Arc<Activation>, Saved),
    downsample: Option<Saved>,
}

struct Network {
    stem: Unit,
    blocks: Vec<Block>,
    weight: Parameter,
    bias: Parameter,
}

impl Network {
    fn new() -> Self {
        let mut blocks = Vec::new();
        let mut channels = 64;
        for stage in 0..4 {
            let planes = 64 << stage;
            for block in 0..2 {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                blocks.push(Block {
                    first: Unit::new(Conv2dParams::new(channels, planes, 3, stride)),
                    second: Unit::new(Conv2dParams::new(planes, planes, 3, 1)),
                    downsample: (channels != planes)
                        .then(|| Unit::new(Conv2dParams::new(channels, planes, 1, stride))),
                });
                channels = planes;
            }
        }
        let weight = random(1000 * 512).iter().map(|w| w * 0.05).collect();
        Self {
            stem: Unit::new(Conv2dParams::new(3, 64, 7, 2)),
            blocks,
            weight: Parameter::new(weight),
            bias: Parameter::new(vec![0.0; 1000]),
        }
    }

    fn step(&mut self, pictures: &[f32], n: usize, times: &mut Times) -> Result<(), KernelError> {
        let isa = Isa::detect();
        let shape = [n, 3, 224, 224];
        let pictures = Input::Pictures(pictures, shape);
        let (stem, stem_saved) = self.stem.forward(pictures, None, true, times)?;
        let mut x = Arc::new(times.run("max pool", || max_pool(isa, &stem, 3, 2, 1))?);
        let pooled = Arc::clone(&x);
        let mut saved = Vec::new();
        for block in &self.blocks {
            let first = block.first.forward(Input::Blocked(&x), None, true, times)?;
            let (identity, downsample) = match &block.downsample {
                Some(unit) => {
                    let (y, saved) = unit.forward(Input::Blocked(&x), None, false, times)?;
                    (Some(y), Some(saved))
                }
                None => (None, None),
            };
            let identity = identity.as_ref().unwrap_or(&x);
            let (y, second) =
                block
                    .second
                    .forward(Input::Blocked(&first.0), Some(identity), true, times)?;
            let y = Arc::new(y);
            saved.push(BlockSaved {
                x: std::mem::replace(&mut x, Arc::clone(&y)),
                first,
                second: (y, second),
                downsample,
            });
        }
        let features = global_average_pool(&x)?;
        let (logits, linear) = times.run("linear", || {
            let head =
                PackedLinear::new(isa, [1000, 512], &self.weight.value, Some(&self.bias.value))?;
            let logits = head.forward(&features, n)?;
            let dy = cross_entropy_gradient(&logits, n);
            let g = linear_gradients(isa, &features, &self.weight.value, &dy, [n, 1000, 512])?;
            Ok::<_, KernelError>((logits, g))
        })?;
        std::hint::black_box(&logits);
        times.run("SGD", || {
            self.weight.step(&linear.weight);
            self.bias.step(&linear.bias);
        });
        let mut dy = global_average_pool_gradient(&linear.x, x.shape())?;
        for (block, saved) in self.blocks.iter_mut().zip(saved).rev() {
            let (input, first) = (Input::Blocked(&saved.x), Input::Blocked(&saved.first.0));
            let gate = Gate::Output(&saved.second.0);
            let (d_first, d_identity) =
                block
                    .second
                    .backward(first, &saved.second.1, gate, dy, true, None, times)?;
            let (Some(d_first), Some(mut d_identity)) = (d_first, d_identity) else {
                return Ok(());
            };
            if let (Some(unit), Some(saved)) = (&mut block.downsample, &saved.downsample) {
                let (dx, _) =
                    unit.backward(input, saved, Gate::None, d_identity, false, None, times)?;
                let Some(dx) = dx else { return Ok(()) };
                d_identity = dx;
            }
            let add = Some(&d_identity);
            let gate = Gate::Relu;
            let (dx, _) =
                block
                    .first
                    .backward(input, &saved.first.1, gate, d_first, false, add, times)?;
            let Some(dx) = dx else { return Ok(()) };
            dy = dx;
        }
        let d_stem = times.run("max pool", || {
            max_pool_gradient(isa, &stem, &pooled, &dy, 3, 2, 1)
        })?;
        self.stem.backward(
            pictures,
            &stem_saved,
            Gate::Relu,
            d_stem,
            false,
            None,
            times,
        )?;
        Ok(())
    }
}

/// Of the mean over the batch, for class `row` in row `row`.
fn cross_entropy_gradient(logits: &[f32], n: usize) -> Vec<f32> {
    let classes = logits.len() / n;
    let mut out = logits.to_vec();
    for (i, row) in out.chunks_mut(classes).enumerate() {
        let max = row.iter().copied().fold(f32::MIN, f32::max);
        row.iter_mut().for_each(|v| *v = (*v - max).exp());
        let sum: f32 = row.iter().sum();
        row.iter_mut().for_each(|v| *v /= sum * n as f32);
        row[i % classes] -= 1.0 / n as f32;
    }
    out
}

fn random(len: usize) -> Vec<f32> {
    let mut state = 0x2545_F491_4F6C_DD1Du64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}
