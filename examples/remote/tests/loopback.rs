//! Steps of training on a device behind a connection, against the same on this process's own.
//!
//! In this folder: `cargo test --release`.
#![allow(clippy::unwrap_used)]

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::Duration;

use burn::remote::RemoteHost;
use burn::tensor::{Device, Tensor, TensorData};
use rekindle::drawings;
use rekindle::models::Pretrained;
use rekindle::weights::state_dict;
use rekindle::trainer::feed::Batch;
use rekindle::trainer::loss::Targets;
use rekindle::trainer::{Learner, Recipe};
use rekindle::transfer::{Backbone, Classifier, Entry, Strategy};

const IMAGES: usize = 4;
const SIZE: usize = 64;
const STEPS: usize = 3;

/// A server in a process of its own, which ends with the test.
struct Server {
    process: Child,
    port: u16,
}

impl Server {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let process = Command::new(env!("CARGO_BIN_EXE_rekindle-remote"))
            .args(["serve", &port.to_string()])
            .spawn()
            .unwrap();
        for _ in 0..100 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                break;
            }
            sleep(Duration::from_millis(100));
        }
        Self { process, port }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_remote_device_trains_to_the_bits_of_the_local_one() {
    let server = Server::start();
    let host = RemoteHost::websocket(&format!("ws://127.0.0.1:{}", server.port));
    let remote = Device::remote_options(&host).init().unwrap();
    let (losses, weights) = trained(&Device::flex());
    let (remote_losses, remote_weights) = trained(&remote);
    println!("losses {losses:?}");
    assert_eq!(remote_losses, losses);
    assert!(losses[STEPS - 1] < losses[0], "it learns");
    for (name, tensor) in &weights {
        assert!(remote_weights[name] == *tensor, "{name} has other bits");
    }
}

type Weights = std::collections::BTreeMap<String, state_dict::HostTensor>;

/// Losses and weights of some steps of fine-tuning on one batch.
fn trained(device: &Device) -> (Vec<f64>, Weights) {
    let weights = drawings::SOURCE_WEIGHTS.to_vec();
    let pretrained = Pretrained::from_safetensors("built in", weights, device).unwrap();
    let backbone = pretrained.model.reset_classifier(0, 0);
    let classifier = Classifier::new(backbone, 2, 0, device);
    let stages = classifier.backbone.stage_names();
    let plan = Strategy::fine_tuning().plan(&stages, 0).unwrap();
    let mut learner = Learner::new(classifier, plan, &Recipe::tutorial(), device).unwrap();
    let batch = batch(device);
    let losses = (0..STEPS).map(|_| learner.train_batch(&batch, 0.01).unwrap().loss);
    let losses = losses.collect();
    (losses, state_dict::collect(learner.classifier()))
}

fn batch(device: &Device) -> Batch {
    let shape = [IMAGES, 3, SIZE, SIZE];
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|i| (i as f32 * 0.013).sin()).collect();
    Batch {
        x: Tensor::from_data(TensorData::new(values, shape), device),
        start: Entry::IMAGES,
        targets: Targets {
            labels: (0..IMAGES).map(|image| image % 2).collect(),
            ..Targets::default()
        },
        indices: (0..IMAGES).collect(),
        number: 0,
        skipped: Vec::new(),
    }
}
