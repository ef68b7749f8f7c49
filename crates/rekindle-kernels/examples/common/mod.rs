//! Shared tools of both examples: options, times by kind, the layers of a ResNet, and the machine's own limit.
#![allow(dead_code)]

pub mod inference;
pub mod int8;
pub mod limit;
pub mod training;

use rekindle_kernels::{Conv2dParams, Isa};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub struct Options {
    pub arch: String,
    pub batch: usize,
    pub threads: usize,
    pub isa: Isa,
    pub seconds: f64,
    /// In eight bits.
    pub int8: bool,
    /// Times of single layers, not of kinds of them.
    pub layers: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            arch: "resnet18".to_string(),
            batch: 32,
            threads: 2,
            isa: Isa::detect(),
            seconds: 5.0,
            int8: false,
            layers: false,
        }
    }
}

impl Options {
    pub fn from_args() -> Self {
        let args: Vec<String> = std::env::args().collect();
        let value = |name: &str| {
            let at = args.iter().position(|a| a == name)?;
            args.get(at + 1).map(String::as_str)
        };
        let number =
            |name: &str, default: f64| value(name).and_then(|v| v.parse().ok()).unwrap_or(default);
        let isa = value("--isa").and_then(|v| {
            let mut isas = Isa::available().iter();
            isas.find(|isa| isa.to_string() == v).copied()
        });
        Self {
            arch: value("--arch").unwrap_or("resnet18").to_string(),
            batch: number("--batch", 32.0) as usize,
            threads: number("--threads", 2.0) as usize,
            isa: isa.unwrap_or_else(Isa::detect),
            seconds: number("--seconds", 5.0),
            int8: args.iter().any(|a| a == "--int8"),
            layers: args.iter().any(|a| a == "--layers"),
        }
    }

    /// Runs `step` until the time is over, on a pool of the threads asked for, and prints what it took.
    pub fn measure<E: std::fmt::Display + Send>(
        &self,
        what: &str,
        mut step: impl FnMut(&mut Times) -> Result<(), E> + Send,
    ) -> Result<(), E> {
        self.on_pool(|| self.measure_here(what, &mut step))
    }

    /// Runs `work` on a pool of the threads asked for, or says why there is none.
    pub fn on_pool<E: Send>(&self, work: impl FnOnce() -> Result<(), E> + Send) -> Result<(), E> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(self.threads);
        match pool.build() {
            Ok(pool) => pool.install(work),
            Err(e) => {
                eprintln!("cannot start {} threads: {e}", self.threads);
                Ok(())
            }
        }
    }

    fn measure_here<E>(
        &self,
        what: &str,
        step: &mut impl FnMut(&mut Times) -> Result<(), E>,
    ) -> Result<(), E> {
        step(&mut Times::default())?;
        let (mut best, mut runs, mut peak) = (Times::default(), Vec::new(), 0.0f64);
        let start = Instant::now();
        while start.elapsed().as_secs_f64() < self.seconds || runs.len() < 3 {
            // Measured in between, because other work on the machine slows both down.
            peak = peak.max(limit::gflops(self.threads));
            let mut times = Times::default();
            let begin = Instant::now();
            step(&mut times)?;
            runs.push(begin.elapsed());
            best.keep_best(&times);
        }
        runs.sort();
        let rate = |i: usize| self.batch as f64 / runs[i].as_secs_f64();
        println!(
            "{} {what}, batch {} on {}, {} threads: best {:.1} img/s, median {:.1}, worst {:.1} ({} runs); \
             {peak:.0} GFLOP/s limit{}",
            self.arch,
            self.batch,
            self.isa,
            self.threads,
            rate(0),
            rate(runs.len() / 2),
            rate(runs.len() - 1),
            runs.len(),
            most_memory().map_or(String::new(), |mb| format!(", {mb} MB at most"))
        );
        best.print(peak);
        Ok(())
    }
}

/// The most memory this process has held, in megabytes, where the system tells.
fn most_memory() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM"))?;
    let kilobytes: usize = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes >> 10)
}

/// Time and plain multiply-adds by kind.
#[derive(Default)]
pub struct Times(BTreeMap<String, (Duration, usize)>);

impl Times {
    pub fn run<T>(&mut self, kind: &str, multiply_adds: usize, f: impl FnOnce() -> T) -> T {
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

    fn print(&self, peak: f64) {
        println!(
            "{:<60} {:>9} {:>7} {:>9} {:>8}",
            "kind", "best ms", "share", "GFLOP/s", "of limit"
        );
        let total: f64 = self.0.values().map(|(t, _)| t.as_secs_f64()).sum();
        for (kind, (time, work)) in &self.0 {
            let seconds = time.as_secs_f64();
            let (ms, share) = (seconds * 1e3, 100.0 * seconds / total);
            print!("{kind:<60} {ms:>9.2} {share:>6.1}%");
            let gflops = 2e-9 * *work as f64 / seconds;
            match work {
                0 => println!(),
                _ => println!(" {gflops:>9.1} {:>7.0}%", 100.0 * gflops / peak),
            }
        }
    }
}

/// Convolutions of a residual block, with ReLU after each (after the sum where it is the last).
pub struct BlockPlan {
    pub convs: Vec<Conv2dParams>,
    pub downsample: Option<Conv2dParams>,
}

/// Blocks, and channels after the last.
pub fn blocks(arch: &str) -> (Vec<BlockPlan>, usize) {
    let (depths, groups, width, bottleneck) = match arch {
        "resnet50" => ([3, 4, 6, 3], 1, 64, true),
        "resnext50" => ([3, 4, 6, 3], 32, 4, true),
        _ => ([2, 2, 2, 2], 1, 64, false),
    };
    let (mut blocks, mut channels) = (Vec::new(), 64);
    for (stage, depth) in depths.into_iter().enumerate() {
        let planes = 64 << stage;
        for block in 0..depth {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let (convs, out) = if bottleneck {
                let inner = planes * width / 64 * groups;
                let middle = Conv2dParams::new(inner, inner, 3, stride).with_groups(groups);
                let first = Conv2dParams::new(channels, inner, 1, 1);
                let last = Conv2dParams::new(inner, planes * 4, 1, 1);
                (vec![first, middle, last], planes * 4)
            } else {
                let first = Conv2dParams::new(channels, planes, 3, stride);
                (vec![first, Conv2dParams::new(planes, planes, 3, 1)], planes)
            };
            let downsample = (stride > 1 || channels != out)
                .then(|| Conv2dParams::new(channels, out, 1, stride));
            blocks.push(BlockPlan { convs, downsample });
            channels = out;
        }
    }
    (blocks, channels)
}

/// A layer in words, for an input of `height` pixels.
pub fn describe(p: &Conv2dParams, height: usize) -> String {
    let groups = match p.groups {
        1 => String::new(),
        groups => format!(" g{groups}"),
    };
    format!(
        "{0}x{0}/{1}{groups} {2:>4} to {3:>4}, {height:>3} px",
        p.kernel[0], p.stride, p.in_channels, p.out_channels
    )
}

/// Uniform values in [-1, 1).
pub fn random(len: usize) -> Vec<f32> {
    let mut state = 0x2545_F491_4F6C_DD1Du64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// As [`random`], of a size that keeps the variance through a layer.
pub fn random_weight(params: &Conv2dParams) -> Vec<f32> {
    let shape = params.weight_shape();
    let scale = (2.0 / shape[1..].iter().product::<usize>() as f32).sqrt();
    let mut weight = random(shape.iter().product());
    weight.iter_mut().for_each(|w| *w *= scale);
    weight
}
