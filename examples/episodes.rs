//! Episodic training of a small network on characters, and few-shot tasks with characters that it never saw.
//!
//! ```text
//! cargo run --release --example episodes -- --train images_background.zip --test images_evaluation.zip
//! ```
//!
//! The archives are Omniglot's own (<https://github.com/brendenlake/omniglot>). The network is the prototypical network of
//! Snell et al. 2017: embeddings of 64 numbers, classes by the nearest mean of their examples, turned characters as classes
//! of their own in training; every drawing is slightly bent each time, and the network that is tested has the moving average of
//! the weights. `--json` prints the result for a program.

#[path = "common/outcome.rs"]
mod outcome;
#[path = "common/views.rs"]
mod views;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use clap::Parser;
use image::imageops::{self, FilterType};
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use rayon::prelude::*;
use rekindle::models::conv_net::ConvNetConfig;
use rekindle::nn::Network;
use rekindle::trainer::Schedule;
use rekindle::transfer::TransferError;
use rekindle::transfer::features::{Distance, EpisodeSampler, Features, MeanAccuracy, Prototypes};
use rekindle::transfer::objective::{prototype_logits, prototypes};
use rekindle::transfer::tuning::MovingAverage;
use serde_json::json;

use views::Views;

type Failure = Box<dyn std::error::Error>;

const SIZE: u32 = 28;
const PIXELS: usize = (SIZE * SIZE) as usize;

/// Of the drawings in training.
const BENT: Views = Views {
    shift: 2.0,
    distortion: 0.2,
    hidden: 0.0,
    shade: 0.0,
};

/// Trains a prototypical network on one set of characters and tests it on another.
#[derive(Debug, Parser)]
struct Arguments {
    /// Archive of the characters to train on
    #[arg(long)]
    train: PathBuf,
    /// Archive of the characters to test on
    #[arg(long)]
    test: PathBuf,
    /// Training episodes
    #[arg(long, default_value_t = 12_000)]
    episodes: u64,
    /// Classes of a training episode
    #[arg(long, default_value_t = 30)]
    ways: usize,
    /// Examples per class of a training episode
    #[arg(long, default_value_t = 1)]
    shots: usize,
    /// Questions per class of a training episode
    #[arg(long, default_value_t = 5)]
    queries: usize,
    /// At the start; falls to 0 by half a cosine
    #[arg(long, default_value_t = 2e-3)]
    rate: f64,
    /// Of the order of the episodes
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Test tasks of each kind
    #[arg(long, default_value_t = 1000)]
    tasks: u64,
    /// Print JSON in place of lines
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    outcome::exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let train = Characters::read(&arguments.train)?.with_rotations();
    let test = Characters::read(&arguments.test)?;
    let begun = Instant::now();
    let net = train_network(arguments, &train)?;
    let seconds = begun.elapsed().as_secs_f64();
    let embeddings = embed(&net, &test)?;
    let mut results = Vec::new();
    for (ways, shots) in [(5, 1), (5, 5), (20, 1), (20, 5)] {
        let found = accuracy(&embeddings, &test, [ways, shots], arguments.tasks)?;
        let MeanAccuracy { mean, interval, .. } = found;
        if !arguments.json {
            println!("{ways}-way {shots}-shot: {mean:.4} +- {interval:.4}");
        }
        results
            .push(json!({"ways": ways, "shots": shots, "accuracy": mean, "interval95": interval}));
    }
    if arguments.json {
        let report = json!({
            "seconds": seconds, "episodes": arguments.episodes, "ways": arguments.ways,
            "seed": arguments.seed, "results": results,
        });
        println!("{}", serde_json::to_string_pretty(&report)?);
    }
    Ok(())
}

/// Drawings of 28 x 28 pixels, ink 1 on paper 0.
struct Characters {
    pixels: Vec<f32>,
    labels: Vec<usize>,
}

impl Characters {
    /// An archive with a folder a character.
    fn read(path: &Path) -> Result<Self, Failure> {
        let file = std::fs::File::open(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let mut archive = zip::ZipArchive::new(file)?;
        let mut folders: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
        for index in 0..archive.len() {
            let mut entry = archive.by_index(index)?;
            let name = entry.name()?.into_owned();
            if let Some((folder, _)) = name.rsplit_once('/')
                && name.ends_with(".png")
            {
                let folder = folder.to_string();
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes)?;
                folders.entry(folder).or_default().push(bytes);
            }
        }
        let files: Vec<(usize, Vec<u8>)> = folders
            .into_values()
            .enumerate()
            .flat_map(|(label, files)| files.into_iter().map(move |file| (label, file)))
            .collect();
        let decode = |(_, bytes): &(usize, Vec<u8>)| {
            let drawing = image::load_from_memory(bytes)?.to_luma8();
            let small = imageops::resize(&drawing, SIZE, SIZE, FilterType::Triangle);
            let ink = small
                .pixels()
                .map(|pixel| 1.0 - f32::from(pixel.0[0]) / 255.0);
            Ok(ink.collect::<Vec<f32>>())
        };
        let decoded = files.par_iter().map(decode);
        let decoded = decoded.collect::<Result<Vec<_>, image::ImageError>>()?;
        Ok(Self {
            pixels: decoded.concat(),
            labels: files.iter().map(|(label, _)| *label).collect(),
        })
    }

    fn drawing(&self, row: usize) -> &[f32] {
        &self.pixels[row * PIXELS..(row + 1) * PIXELS]
    }

    /// Each character turned by 0, 90, 180 and 270 degrees: four times as many classes.
    fn with_rotations(self) -> Self {
        let classes = self.labels.iter().max().map_or(0, |largest| largest + 1);
        let size = SIZE as usize;
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for quarter in 0..4 {
            for (row, label) in self.labels.iter().enumerate() {
                let mut drawing = self.drawing(row).to_vec();
                for _ in 0..quarter {
                    let turned = |at: usize| drawing[(size - 1 - at % size) * size + at / size];
                    drawing = (0..PIXELS).map(turned).collect();
                }
                pixels.extend(drawing);
                labels.push(quarter * classes + label);
            }
        }
        Self { pixels, labels }
    }

    fn batch(&self, rows: &[usize], device: &Device) -> Tensor<4> {
        let values: Vec<f32> = rows
            .iter()
            .flat_map(|row| self.drawing(*row).to_vec())
            .collect();
        let shape = [rows.len(), 1, SIZE as usize, SIZE as usize];
        Tensor::from_data(TensorData::new(values, shape), device)
    }
}

fn train_network(arguments: &Arguments, train: &Characters) -> Result<Network, Failure> {
    let device = Device::flex().autodiff();
    device.seed(arguments.seed);
    let mut net = ConvNetConfig::default().network(arguments.seed, &device)?;
    let mut average = MovingAverage::new(&net, 0.999)?;
    let mut optimizer = AdamConfig::new().init();
    let mut draws = Xoshiro256PlusPlus::seed_from_u64(arguments.seed);
    let Arguments {
        ways,
        shots,
        queries,
        ..
    } = *arguments;
    let episodes = EpisodeSampler::new(&train.labels, ways, shots, queries)?.seed(arguments.seed);
    let mut recent = 0.0;
    for number in 0..arguments.episodes {
        let episode = episodes.episode(number);
        let rows = [episode.support.as_slice(), &episode.query].concat();
        let drawings = BENT.of(train.batch(&rows, &Device::flex()), &mut draws);
        let embedded = net.forward(Tensor::from_inner(drawings));
        let (support, width) = (episode.support.len(), embedded.dims()[1]);
        let prototypes = prototypes(
            embedded.clone().slice([0..support, 0..width]),
            arguments.ways,
        )?;
        let queries = embedded.slice([support..rows.len(), 0..width]);
        let logits = prototype_logits(queries, prototypes)?;
        let labels = episode.query_labels.iter().map(|label| *label as i64);
        let labels: Vec<i64> = labels.collect();
        let labels = TensorData::new(labels, [episode.query.len(), 1]);
        let labels = Tensor::<2, Int>::from_data(labels, &device);
        let loss = log_softmax(logits, 1).gather(1, labels).mean().neg();
        recent += f64::from(loss.clone().into_scalar::<f32>());
        let grads = GradientsParams::from_grads(loss.backward(), &net);
        let factor = Schedule::cosine().factor(number as usize, 1, arguments.episodes as usize);
        net = optimizer.step(arguments.rate * factor, net, grads);
        average.update(&net);
        if number % 100 == 99 {
            eprintln!("episode {}, loss {:.4}", number + 1, recent / 100.0);
            recent = 0.0;
        }
    }
    Ok(average.module().clone())
}

/// Embeddings `[n, 64]` of all drawings.
fn embed(net: &Network, characters: &Characters) -> Result<Features, TransferError> {
    let device = Device::flex();
    let rows: Vec<usize> = (0..characters.labels.len()).collect();
    let mut values: Vec<f32> = Vec::new();
    for rows in rows.chunks(256) {
        let embedded = net.forward(characters.batch(rows, &device));
        values.extend(embedded.into_data().iter::<f32>());
    }
    Features::new(values, net.num_features())
}

/// Measures nearest means over tasks of this size, 5 questions per class.
fn accuracy(
    embeddings: &Features,
    characters: &Characters,
    [ways, shots]: [usize; 2],
    tasks: u64,
) -> Result<MeanAccuracy, Failure> {
    let episodes = EpisodeSampler::new(&characters.labels, ways, shots, 5)?.seed(77);
    let of_task = |number: u64| {
        let episode = episodes.episode(number);
        let rows = |rows: &[usize]| {
            let values = rows.iter().flat_map(|row| embeddings.row(*row)).copied();
            Features::new(values.collect(), embeddings.dim())
        };
        let support = rows(&episode.support)?;
        let distance = Distance::SquaredEuclidean;
        let means = Prototypes::fit(&support, &episode.support_labels, ways, distance)?;
        let answers = means.predict(&rows(&episode.query)?)?;
        let pairs = answers.iter().zip(&episode.query_labels);
        let correct = pairs.filter(|(answer, label)| answer == label).count();
        Ok(correct as f64 / answers.len() as f64)
    };
    let found = (0..tasks).into_par_iter().map(of_task);
    let found = found.collect::<Result<Vec<_>, TransferError>>()?;
    Ok(MeanAccuracy::of(&found)?)
}
