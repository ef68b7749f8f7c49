//! Training on another machine's device, by Burn's remote protocol.
//!
//! ```text
//! cargo run --release -- serve 3000                             # on the machine that computes
//! cargo run --release -- train ws://127.0.0.1:3000              # on the one that has the images
//! ```
//!
//! Run in this folder. The images are decoded here, and every operation of the network runs there. Without `--data` and
//! `--weights` it learns the built-in drawings. The connection is neither encrypted nor authenticated: for a network
//! that you trust, or through a tunnel.

use std::path::PathBuf;
use std::process::ExitCode;

use burn::remote::RemoteHost;
use burn::server::{RemoteServer, WebSocketTransport};
use burn::tensor::Device;
use clap::{Parser, Subcommand};
use rekindle::drawings::{self, DrawingTask, TargetTask};
use rekindle::models::Pretrained;
use rekindle::trainer::{Progress, ProgressMode, Recipe, Trainer, TransferData};
use rekindle::transfer::Strategy;

type Failure = Box<dyn std::error::Error>;

/// Trains on another machine's device.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lends this machine's processor to whoever connects
    Serve {
        /// Port to listen at
        port: u16,
    },
    /// Fine-tunes a network on the device of a server
    Train {
        /// The server, such as ws://192.168.0.7:3000
        server: String,
        /// Folder with `train` and `val` [default: drawn ants and bees]
        #[arg(long, requires = "weights")]
        data: Option<PathBuf>,
        /// Weights of a network [default: a small network that knows other drawings]
        #[arg(long, requires = "data")]
        weights: Option<PathBuf>,
        /// Passes over the training images
        #[arg(long, default_value_t = 5)]
        epochs: usize,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve { port } => {
            let server = RemoteServer::new([Device::flex()]);
            Ok(server.serve(WebSocketTransport::new(port))?)
        }
        Command::Train {
            server,
            data,
            weights,
            epochs,
        } => {
            let device = Device::remote_options(&RemoteHost::websocket(&server)).init()?;
            let (data, pretrained) = match (data, weights) {
                (Some(data), Some(weights)) => (data, Pretrained::open(weights, &device)?),
                _ => drawn(&device)?,
            };
            train(
                &TransferData::open(data, &pretrained.preprocess, 0)?,
                &pretrained,
                epochs,
            )
        }
    }
}

/// A folder of drawings, twenty per class to learn from, and a narrow network that was trained on others.
fn drawn(device: &Device) -> Result<(PathBuf, Pretrained), Failure> {
    let folder = PathBuf::from("out/drawings");
    TargetTask.write_folder(&folder, 20, 200, 0)?;
    let weights = drawings::SOURCE_WEIGHTS.to_vec();
    let pretrained = Pretrained::from_safetensors("the built-in network", weights, device)?;
    Ok((folder, pretrained))
}

fn train(data: &TransferData, pretrained: &Pretrained, epochs: usize) -> Result<(), Failure> {
    let recipe = Recipe {
        epochs,
        ..Recipe::tutorial()
    };
    let fitted = Trainer::adapt(pretrained, data.clone(), Strategy::fine_tuning(), 0)
        .recipe(recipe)
        .observer(Progress::new(ProgressMode::Auto))
        .fit()?;
    println!("accuracy {:.3}", fitted.best_accuracy());
    Ok(())
}
