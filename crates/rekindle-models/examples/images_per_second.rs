//! Measures images per second of a model, in a forward pass or a step of training.
//!
//! `cargo run --release -p rekindle-models --example images_per_second -- torchvision/mobilenet_v2 --batch 32 --train`
//!
//! Options: `--batch 32`, `--side 224`, `--seconds 5`, `--train` (forward, backward and a step of SGD with momentum),
//! `--burn` (Burn's operations instead of the kernels). `RAYON_NUM_THREADS` sets the number of threads.

use std::time::Instant;

use burn::optim::SgdConfig;
use burn::optim::momentum::MomentumConfig;
use burn::prelude::*;
use burn::tensor::Distribution;
use burn::tensor::activation::log_softmax;
use rekindle_models::nn::Network;
use rekindle_models::{Model, Options};

type Failure = Box<dyn std::error::Error>;

struct Settings {
    model: String,
    batch: usize,
    side: usize,
    seconds: f64,
    is_training: bool,
    has_kernels: bool,
}

fn main() -> Result<(), Failure> {
    let mut settings = Settings {
        model: "torchvision/resnet18".into(),
        batch: 32,
        side: 224,
        seconds: 5.0,
        is_training: false,
        has_kernels: true,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--batch" => settings.batch = value()?.parse()?,
            "--side" => settings.side = value()?.parse()?,
            "--seconds" => settings.seconds = value()?.parse()?,
            "--train" => settings.is_training = true,
            "--burn" => settings.has_kernels = false,
            _ => settings.model = argument,
        }
    }
    run(&settings)
}

fn run(settings: &Settings) -> Result<(), Failure> {
    let graph = (Model::named(&settings.model)?.describe)(&Options::default())?;
    let device = match settings.is_training {
        true => Device::flex().autodiff(),
        false => Device::flex(),
    };
    let mut network = Network::new(graph, 0, &device).with_kernels(settings.has_kernels);
    let shape = [
        settings.batch,
        network.graph().in_channels(),
        settings.side,
        settings.side,
    ];
    let images = Tensor::<4>::random(shape, Distribution::Default, &device);
    let momentum = MomentumConfig::new().with_momentum(0.9);
    let mut sgd = SgdConfig::new().with_momentum(Some(momentum)).init();
    let mut times = Vec::new();
    let begun = Instant::now();
    while times.len() < 5 || begun.elapsed().as_secs_f64() < settings.seconds {
        let start = Instant::now();
        let logits = network.forward(images.clone());
        if settings.is_training {
            let loss = log_softmax(logits, 1).narrow(1, 0, 1).mean().neg();
            let gradients = burn::optim::GradientsParams::from_grads(loss.backward(), &network);
            network = sgd.step(1e-3, network, gradients);
        } else {
            drop(logits.into_data());
        }
        times.push(start.elapsed().as_secs_f64());
    }
    // The first run packs and fills the arena.
    times.remove(0);
    times.sort_by(f64::total_cmp);
    let rate = |time: f64| settings.batch as f64 / time;
    let quarter = times.len() / 4;
    println!(
        "{} batch {} {}{}: {:.1} images per second, half of the runs from {:.1} to {:.1}, best {:.1} of {} runs",
        settings.model,
        settings.batch,
        if settings.is_training {
            "training"
        } else {
            "forward"
        },
        if settings.has_kernels {
            ""
        } else {
            " by Burn's operations"
        },
        rate(times[times.len() / 2]),
        rate(times[times.len() - 1 - quarter]),
        rate(times[quarter]),
        rate(times[0]),
        times.len(),
    );
    Ok(())
}
