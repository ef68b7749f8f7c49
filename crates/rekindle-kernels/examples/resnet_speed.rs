//! Forward speed of a ResNet made of these kernels, with random weights, beside the machine's own limit.
//!
//! `cargo run --release -p rekindle-kernels --example resnet_speed -- [--arch resnet18|resnet50|resnext50]
//! [--batch 32] [--threads 2] [--isa avx512] [--seconds 5]`

use rayon::prelude::*;
use rekindle_kernels::{
    Activation, Algorithm, Conv2dParams, Isa, KernelError, PackedConv2d, PackedLinear,
    global_average_pool, max_pool,
};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

fn main() -> Result<(), KernelError> {
    let options = Options::from_args();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads)
        .build();
    let Ok(pool) = pool else {
        eprintln!("cannot start {} threads", options.threads);
        return Ok(());
    };
    pool.install(|| measure(&options))
}

struct Options {
    arch: String,
    batch: usize,
    threads: usize,
    isa: Isa,
    seconds: f64,
}

impl Options {
    fn from_args() -> Self {
        let args: Vec<String> = std::env::args().collect();
        let value = |name: &str| {
            args.iter()
                .position(|a| a == name)
                .and_then(|i| args.get(i + 1))
        };
        let number =
            |name: &str, default: f64| value(name).and_then(|v| v.parse().ok()).unwrap_or(default);
        let isa = value("--isa").and_then(|v| {
            Isa::available()
                .iter()
                .find(|isa| isa.to_string() == *v)
                .copied()
        });
        Self {
            arch: value("--arch")
                .cloned()
                .unwrap_or_else(|| "resnet18".into()),
            batch: number("--batch", 32.0) as usize,
            threads: number("--threads", 2.0) as usize,
            isa: isa.unwrap_or_else(Isa::detect),
            seconds: number("--seconds", 5.0),
        }
    }
}

fn measure(options: &Options) -> Result<(), KernelError> {
    let net = Network::new(options.isa, &options.arch)?;
    let shape = [options.batch, 3, 224, 224];
    let pictures = random(shape.iter().product());
    let mut times = Times::default();
    net.forward(&pictures, shape, &mut times)?;
    let (mut best, mut runs) = (Times::default(), Vec::new());
    let start = Instant::now();
    let mut peak = 0.0f64;
    while start.elapsed().as_secs_f64() < options.seconds || runs.len() < 3 {
        // Measured in between, because other work on the machine slows both down.
        peak = peak.max(peak_gflops(options.threads));
        let mut times = Times::default();
        let begin = Instant::now();
        net.forward(&pictures, shape, &mut times)?;
        runs.push(begin.elapsed());
        best.keep_best(&times);
    }
    runs.sort();
    let rate = |t: Duration| options.batch as f64 / t.as_secs_f64();
    println!(
        "{} batch {} on {}, {} threads: best {:.1} img/s, median {:.1} img/s; {:.1} GFLOP/s multiply-add peak measured",
        options.arch,
        options.batch,
        options.isa,
        options.threads,
        rate(runs[0]),
        rate(runs[runs.len() / 2]),
        peak
    );
    println!(
        "{:<38} {:>9} {:>7} {:>9} {:>7}",
        "layers", "best ms", "share", "GFLOP/s", "of peak"
    );
    let total: f64 = best.0.values().map(|(t, _)| t.as_secs_f64()).sum();
    for (kind, (time, multiply_adds)) in &best.0 {
        let seconds = time.as_secs_f64();
        let gflops = 2e-9 * *multiply_adds as f64 / seconds;
        let (ms, share) = (seconds * 1e3, 100.0 * seconds / total);
        println!(
            "{kind:<38} {ms:>9.2} {share:>6.1}% {gflops:>9.1} {:>6.0}%",
            100.0 * gflops / peak
        );
    }
    Ok(())
}

/// Time and plain multiply-adds by kind of layer.
#[derive(Default)]
struct Times(BTreeMap<String, (Duration, usize)>);

impl Times {
    fn run<T>(&mut self, kind: &str, multiply_adds: usize, f: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = f();
        let entry = self.0.entry(kind.to_string()).or_default();
        entry.0 += start.elapsed();
        entry.1 += multiply_adds;
        result
    }

    fn keep_best(&mut self, other: &Self) {
        for (kind, &(time, work)) in &other.0 {
            let entry = self.0.entry(kind.clone()).or_insert((time, work));
            entry.0 = entry.0.min(time);
        }
    }
}

struct Network {
    isa: Isa,
    stem: PackedConv2d,
    blocks: Vec<Block>,
    head: PackedLinear,
}

struct Block {
    convs: Vec<PackedConv2d>,
    downsample: Option<PackedConv2d>,
}

impl Network {
    fn new(isa: Isa, arch: &str) -> Result<Self, KernelError> {
        let (depths, groups, width, bottleneck) = match arch {
            "resnet50" => ([3, 4, 6, 3], 1, 64, true),
            "resnext50" => ([3, 4, 6, 3], 32, 4, true),
            _ => ([2, 2, 2, 2], 1, 64, false),
        };
        let mut blocks = Vec::new();
        let mut channels = 64;
        for (stage, depth) in depths.into_iter().enumerate() {
            let planes = 64 << stage;
            for block in 0..depth {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let (shapes, out) = if bottleneck {
                    let inner = planes * width / 64 * groups;
                    let first = Conv2dParams::new(channels, inner, 1, 1);
                    let middle = Conv2dParams::new(inner, inner, 3, stride).with_groups(groups);
                    (
                        vec![first, middle, Conv2dParams::new(inner, planes * 4, 1, 1)],
                        planes * 4,
                    )
                } else {
                    let first = Conv2dParams::new(channels, planes, 3, stride);
                    (vec![first, Conv2dParams::new(planes, planes, 3, 1)], planes)
                };
                let downsample = (stride > 1 || channels != out)
                    .then(|| conv(isa, &Conv2dParams::new(channels, out, 1, stride)));
                blocks.push(Block {
                    convs: shapes
                        .iter()
                        .map(|p| conv(isa, p))
                        .collect::<Result<_, _>>()?,
                    downsample: downsample.transpose()?,
                });
                channels = out;
            }
        }
        Ok(Self {
            isa,
            stem: conv(isa, &Conv2dParams::new(3, 64, 7, 2))?,
            blocks,
            head: PackedLinear::new(isa, [1000, channels], &random(1000 * channels), None)?,
        })
    }

    fn forward(
        &self,
        x: &[f32],
        shape: [usize; 4],
        times: &mut Times,
    ) -> Result<Vec<f32>, KernelError> {
        let n = shape[0];
        let work = self.stem.params().multiply_adds(n, [shape[2], shape[3]])?;
        let x = times.run("stem 7x7", work, || self.stem.forward_nchw(x, shape, true))?;
        let mut x = times.run("max pool", 0, || max_pool(self.isa, &x, 3, 2, 1))?;
        for block in &self.blocks {
            let identity = match &block.downsample {
                Some(conv) => Some(timed(conv, &x, None, false, times)?),
                None => None,
            };
            let identity = identity.as_ref().unwrap_or(&x);
            let (last, first) = match block.convs.split_last() {
                Some(split) => split,
                None => continue,
            };
            let mut y: Option<Activation> = None;
            for conv in first {
                y = Some(timed(conv, y.as_ref().unwrap_or(&x), None, true, times)?);
            }
            x = timed(last, y.as_ref().unwrap_or(&x), Some(identity), true, times)?;
        }
        let pooled = times.run("average pool", 0, || global_average_pool(&x))?;
        let work = n * x.shape()[1] * 1000;
        times.run("linear", work, || self.head.forward(&pooled, n))
    }
}

fn timed(
    conv: &PackedConv2d,
    x: &Activation,
    residual: Option<&Activation>,
    relu: bool,
    times: &mut Times,
) -> Result<Activation, KernelError> {
    let p = conv.params();
    let [n, _, h, w] = x.shape();
    let algorithm = if conv.algorithm() == Algorithm::Winograd {
        " winograd"
    } else {
        ""
    };
    let [oh, _] = p.output_size([h, w])?;
    let groups = if p.groups > 1 {
        format!(" g{}", p.groups)
    } else {
        String::new()
    };
    let channels = format!("{:>4} to {:>4}", p.in_channels, p.out_channels);
    let residual_kind = if residual.is_some() { " +" } else { "" };
    let kind = format!(
        "{0}x{0}/{1}{groups} {channels}, {oh:>2} px{algorithm}{residual_kind}",
        p.kernel[0], p.stride
    );
    times.run(&kind, p.multiply_adds(n, [h, w])?, || {
        conv.forward(x, residual, relu)
    })
}

fn conv(isa: Isa, params: &Conv2dParams) -> Result<PackedConv2d, KernelError> {
    let weight = random(params.weight_shape().iter().product());
    let fan_in = (weight.len() / params.out_channels) as f32;
    let scale = vec![(1.0 / fan_in).sqrt(); params.out_channels];
    PackedConv2d::new(
        isa,
        params,
        &weight,
        Some((&scale, &vec![0.0; params.out_channels])),
    )
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

/// Multiply-adds that touch nothing but registers, on all threads.
fn peak_gflops(threads: usize) -> f64 {
    const STEPS: usize = 400_000;
    let once = || {
        let start = Instant::now();
        let operations: usize = (0..threads)
            .into_par_iter()
            .map(|_| std::hint::black_box(multiply_add_loop(STEPS)))
            .sum();
        operations as f64 / start.elapsed().as_secs_f64() * 1e-9
    };
    (0..5).map(|_| once()).fold(0.0, f64::max)
}

/// Runs the widest multiply-add of the machine and returns the operations done, two for each lane.
fn multiply_add_loop(steps: usize) -> usize {
    #[cfg(target_arch = "x86_64")]
    match Isa::detect() {
        // SAFETY: the instruction set has been detected.
        Isa::Avx512 => return unsafe { x86::avx512(steps) },
        // SAFETY: as above.
        Isa::Avx2 => return unsafe { x86::avx2(steps) },
        Isa::Portable => {}
    }
    let mut sums = [[1.0f32; 16]; 12];
    for _ in 0..steps {
        for sum in &mut sums {
            *sum = std::hint::black_box(sum.map(|s| s * 0.999 + 1e-6));
        }
    }
    steps * 12 * 16 * 2
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx512f")]
    pub fn avx512(steps: usize) -> usize {
        let (a, b) = (_mm512_set1_ps(0.999), _mm512_set1_ps(1e-6));
        let mut sums = [_mm512_set1_ps(1.0); 12];
        for _ in 0..steps {
            for s in &mut sums {
                *s = _mm512_fmadd_ps(*s, a, b);
            }
        }
        std::hint::black_box(sums);
        steps * 12 * 16 * 2
    }

    #[target_feature(enable = "avx2,fma")]
    pub fn avx2(steps: usize) -> usize {
        let (a, b) = (_mm256_set1_ps(0.999), _mm256_set1_ps(1e-6));
        let mut sums = [_mm256_set1_ps(1.0); 12];
        for _ in 0..steps {
            for s in &mut sums {
                *s = _mm256_fmadd_ps(*s, a, b);
            }
        }
        std::hint::black_box(sums);
        steps * 12 * 8 * 2
    }
}
