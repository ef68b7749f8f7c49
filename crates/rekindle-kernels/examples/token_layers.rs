//! Times the layers of vision transformers and ConvNeXt, forward and backward, beside what the machine allows.
//!
//! `cargo run --release -p rekindle-kernels --example token_layers -- --batch 32 --threads 2 --isa avx2`

#[path = "common/mod.rs"]
mod common;

use common::{Options, random, random_weight};
use rekindle_kernels::{
    Activation, ActivationFn, Attention, Conv2dParams, KernelError, LayerNorm, PackedConv2d,
    ResponseNorm, UnpackedConv2d, input_gradient, transpose, weight_gradient, weight_gradient_nchw,
};
use std::time::Instant;

/// Channels in and out of a block's layers, for a width of one.
const LINEAR: [(usize, usize); 4] = [(1, 3), (1, 1), (1, 4), (4, 1)];
/// Channels and size of ConvNeXt-T's depthwise layers.
const DEPTHWISE: [(usize, usize); 4] = [(96, 56), (192, 28), (384, 14), (768, 7)];
/// Channels in and out, and side and step of the window, of layers that cut images or maps into pieces, and the input's size.
const PIECES: [(usize, usize, usize, usize); 6] = [
    (3, 96, 4, 224),
    (3, 384, 16, 224),
    (3, 384, 14, 224),
    (96, 192, 2, 56),
    (192, 384, 2, 28),
    (384, 768, 2, 14),
];

fn main() -> Result<(), KernelError> {
    let options = Options::from_args();
    options.on_pool(|| run(&options))
}

/// The layers to time: all, or the kind that `--arch` names.
fn run(options: &Options) -> Result<(), KernelError> {
    let is_asked = |kind: &str| options.arch == "resnet18" || options.arch == kind;
    println!(
        "batch {} on {}, {} threads",
        options.batch, options.isa, options.threads
    );
    if is_asked("linear") {
        for (width, tokens) in [(192, 197), (384, 197), (384, 50), (768, 197)] {
            for (ins, outs) in LINEAR {
                linear(options, [ins * width, outs * width, tokens])?;
            }
        }
    }
    if is_asked("attention") {
        for (heads, tokens) in [(3, 197), (6, 197), (12, 197), (6, 50), (6, 257), (6, 1370)] {
            attention(options, heads, tokens)?;
        }
    }
    if is_asked("depthwise") {
        for (channels, size) in DEPTHWISE {
            depthwise(options, channels, size)?;
        }
    }
    if is_asked("pieces") {
        for (ins, outs, side, size) in PIECES {
            pieces(options, [ins, outs, side, size])?;
        }
    }
    if is_asked("norms") {
        norms(options)?;
    }
    Ok(())
}

fn linear(options: &Options, [ins, outs, tokens]: [usize; 3]) -> Result<(), KernelError> {
    let &Options { isa, batch, .. } = options;
    let params = Conv2dParams::new(ins, outs, 1, 1);
    let (weight, ones) = (random_weight(&params), vec![1.0; outs]);
    let shape = [batch, ins, 1, tokens];
    let x = Activation::from_nchw(&random(shape.iter().product()), shape)?;
    let once = UnpackedConv2d::new(isa, &params, &weight, Some((&ones, &ones)))?;
    let dy = once.forward(&x, None, false)?;
    let work = params.multiply_adds(batch, [1, tokens])?;
    let name = format!("{ins} to {outs}, {tokens} tokens");
    report(options, &format!("{name}, GELU"), work, || {
        once.forward(&x, None, ActivationFn::Gelu)
    })?;
    report(options, &format!("{name}, by input"), work, || {
        input_gradient(isa, &params, &weight, &dy, [1, tokens], None)
    })?;
    report(options, &format!("{name}, by weight"), work, || {
        weight_gradient(isa, &params, &x, &dy)
    })
}

fn attention(options: &Options, heads: usize, tokens: usize) -> Result<(), KernelError> {
    let &Options { isa, batch, .. } = options;
    let batch = if tokens > 1000 {
        batch.div_ceil(16)
    } else {
        batch
    };
    let attention = Attention {
        heads,
        head_dim: 64,
        is_causal: false,
    };
    let shape = [batch, 3 * heads * 64, 1, tokens];
    let qkv = Activation::from_nchw(&random(shape.iter().product()), shape)?;
    let (y, lse) = attention.forward(isa, &qkv)?;
    let product = batch * heads * tokens * tokens * 64;
    let name = format!("attention, {heads} heads, {tokens} tokens");
    report(options, &name, 2 * product, || attention.forward(isa, &qkv))?;
    report(options, &format!("{name}, backward"), 5 * product, || {
        attention.backward(isa, &qkv, &y, &lse, &y)
    })
}

fn depthwise(options: &Options, channels: usize, size: usize) -> Result<(), KernelError> {
    let &Options { isa, batch, .. } = options;
    let params = Conv2dParams::depthwise(channels, 7, 1);
    let (weight, ones) = (random_weight(&params), vec![1.0; channels]);
    let shape = [batch, channels, size, size];
    let x = Activation::from_nchw(&random(shape.iter().product()), shape)?;
    let conv = PackedConv2d::new(isa, &params, &weight, Some((&ones, &ones)))?;
    let work = params.multiply_adds(batch, [size; 2])?;
    let name = format!("7x7 on {channels}, {size} px");
    report(options, &name, work, || conv.forward(&x, None, false))?;
    report(options, &format!("{name}, by input"), work, || {
        input_gradient(isa, &params, &weight, &x, [size; 2], None)
    })?;
    report(options, &format!("{name}, by weight"), work, || {
        weight_gradient(isa, &params, &x, &x)
    })
}

fn pieces(options: &Options, [ins, outs, side, size]: [usize; 4]) -> Result<(), KernelError> {
    let &Options { isa, batch, .. } = options;
    let params = Conv2dParams::new(ins, outs, side, side).with_padding(0);
    let (weight, ones) = (random_weight(&params), vec![1.0; outs]);
    let shape = [batch, ins, size, size];
    let pictures = random(shape.iter().product());
    let conv = PackedConv2d::new(isa, &params, &weight, Some((&ones, &ones)))?;
    let work = params.multiply_adds(batch, [size; 2])?;
    let name = format!("{side}x{side}/{side} {ins} to {outs}, {size} px");
    if ins == 3 {
        let dy = conv.forward_nchw(&pictures, shape, false)?;
        report(options, &name, work, || {
            conv.forward_nchw(&pictures, shape, false)
        })?;
        return report(options, &format!("{name}, by weight"), work, || {
            weight_gradient_nchw(isa, &params, &pictures, shape, &dy)
        });
    }
    let x = Activation::from_nchw(&pictures, shape)?;
    let dy = conv.forward(&x, None, false)?;
    report(options, &name, work, || conv.forward(&x, None, false))?;
    report(options, &format!("{name}, by input"), work, || {
        input_gradient(isa, &params, &weight, &dy, [size; 2], None)
    })?;
    report(options, &format!("{name}, by weight"), work, || {
        weight_gradient(isa, &params, &x, &dy)
    })
}

/// Measures layers that memory bounds: gigabytes of maps read and written per second, beside those of a copy.
fn norms(options: &Options) -> Result<(), KernelError> {
    let &Options { isa, batch, .. } = options;
    for shape in [[batch, 384, 1, 197], [batch, 96, 56, 56]] {
        let [_, c, h, w] = shape;
        let x = Activation::from_nchw(&random(shape.iter().product()), shape)?;
        let [weight, bias] = [random(c), random(c)];
        let norm = LayerNorm {
            weight: &weight,
            bias: &bias,
            eps: 1e-6,
        };
        let response = ResponseNorm {
            weight: &weight,
            bias: &bias,
            eps: 1e-6,
        };
        let (_, statistics) = norm.forward(isa, &x)?;
        let (_, channel_norms) = response.forward(isa, &x)?;
        let matrix = x.to_nchw();
        let map = 1e-9 * size_of_val(x.as_blocked()) as f64;
        let print = |name: &str, maps: f64, seconds: f64| {
            println!(
                "{name:<44} {:>9.1} GB/s, {:.3} ms",
                maps * map / seconds,
                1e3 * seconds
            );
        };
        let copy = best(options, || Ok(x.clone()))?;
        println!("{c} channels, {h} x {w} px");
        print("copy", 2.0, copy);
        let time = best(options, || norm.forward(isa, &x))?;
        print("layer norm", 2.0, time);
        let time = best(options, || {
            norm.backward(isa, &x, &statistics, x.clone(), Some(&x))
        })?;
        print("layer norm backward, with add", 4.0, time - copy);
        let time = best(options, || response.forward(isa, &x))?;
        print("response norm", 3.0, time);
        let time = best(options, || {
            response.backward(isa, &x, &channel_norms, x.clone())
        })?;
        print("response norm backward", 5.0, time - copy);
        let time = best(options, || transpose(isa, &matrix, [matrix.len() / c, c]))?;
        print("transpose", 2.0, time);
    }
    Ok(())
}

/// Prints the best rate of `f`, beside the machine's limit at about the same time.
fn report<T>(
    options: &Options,
    name: &str,
    multiply_adds: usize,
    f: impl FnMut() -> Result<T, KernelError>,
) -> Result<(), KernelError> {
    let seconds = best(options, f)?;
    let limit = common::limit::gflops(options.threads);
    let rate = 2e-9 * multiply_adds as f64 / seconds;
    println!(
        "{name:<44} {rate:>9.1} GFLOP/s, {:>3.0} % of {limit:.0}, {:.3} ms",
        100.0 * rate / limit,
        1e3 * seconds
    );
    Ok(())
}

/// The shortest time of a call in seconds; on one thread, that for which the system let it run.
fn best<T>(
    options: &Options,
    mut f: impl FnMut() -> Result<T, KernelError>,
) -> Result<f64, KernelError> {
    let (mut best, begin) = (f64::MAX, Instant::now());
    let now = || match options.threads {
        1 => processor_seconds(),
        _ => None,
    };
    for run in 0.. {
        if run >= 5 && begin.elapsed().as_secs_f64() > options.seconds / 10.0 {
            break;
        }
        let (before, start) = (now(), Instant::now());
        std::hint::black_box(f()?);
        let elapsed = start.elapsed().as_secs_f64();
        let on_processor = before.and_then(|before| Some(now()? - before));
        best = best.min(on_processor.unwrap_or(elapsed));
    }
    Ok(best)
}

/// The time that this thread has run, where the system tells: other work on the machine does not count.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn processor_seconds() -> Option<f64> {
    #[repr(C)]
    struct Time {
        seconds: i64,
        nanoseconds: i64,
    }
    const OF_THIS_THREAD: i32 = 3;
    unsafe extern "C" {
        fn clock_gettime(clock: i32, time: *mut Time) -> i32;
    }
    let mut time = Time {
        seconds: 0,
        nanoseconds: 0,
    };
    // SAFETY: this is the C library's function and structure on such systems.
    let failed = unsafe { clock_gettime(OF_THIS_THREAD, &raw mut time) };
    (failed == 0).then_some(time.seconds as f64 + 1e-9 * time.nanoseconds as f64)
}

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
fn processor_seconds() -> Option<f64> {
    None
}
