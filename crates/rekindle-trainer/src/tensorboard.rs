//! A run's figures for TensorBoard.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;
use rekindle_files::names::show;

use crate::TrainerError;
use crate::events::{EpochMetrics, Event, Observer};

/// Writes losses, accuracies and learning rates to an event file that TensorBoard shows while the run goes on.
///
/// A run that is resumed gets a file more; TensorBoard shows those of a folder as one run. Of an epoch that is done twice both
/// points are there.
///
/// ```no_run
/// use rekindle_models::Pretrained;
/// use rekindle_trainer::burn::tensor::Device;
/// use rekindle_trainer::{TensorBoard, Trainer, TransferData};
/// use rekindle_transfer::Strategy;
///
/// let pretrained = Pretrained::open("resnet18-f37072fd.pth", &Device::flex())?;
/// let data = TransferData::open("photos", &pretrained.preprocess, 0)?;
/// let fitted = Trainer::adapt(&pretrained, data, Strategy::fine_tuning(), 0)
///     .observer(TensorBoard::create("runs/tensorboard/finetune")?)
///     .fit()?;
/// # Ok::<(), rekindle_trainer::TrainerError>(())
/// ```
#[derive(Debug)]
pub struct TensorBoard {
    path: PathBuf,
    /// None once writing has failed, which is said once.
    file: Option<File>,
    /// Batches per epoch.
    batches: usize,
}

impl TensorBoard {
    /// Creates an event file in a folder, which is made where there is none.
    ///
    /// # Errors
    ///
    /// Those of creating and writing.
    pub fn create(folder: impl AsRef<Path>) -> Result<Self, TrainerError> {
        let folder = folder.as_ref();
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |error| TrainerError::io("create", &path, error)
        };
        fs::create_dir_all(folder).map_err(failed(folder))?;
        let seconds = now().floor() as u64;
        let id = std::process::id();
        // TensorBoard looks for `tfevents` in the name, and takes files in the order of their names.
        let path = folder.join(format!("events.out.tfevents.{seconds}.{id}.rekindle"));
        let file = File::create(&path).map_err(failed(&path))?;
        let mut board = Self {
            path,
            file: Some(file),
            batches: 0,
        };
        board.write(&Record {
            wall_time: now(),
            file_version: Some("brain.Event:2".into()),
            ..Record::default()
        });
        Ok(board)
    }

    /// Returns the event file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn scalars(&mut self, step: usize, values: &[(&str, Option<f64>)]) {
        let value = values
            .iter()
            .filter_map(|(tag, value)| {
                Some(Scalar {
                    tag: (*tag).to_string(),
                    simple_value: Some((*value)? as f32),
                })
            })
            .collect();
        self.write(&Record {
            wall_time: now(),
            step: i64::try_from(step).unwrap_or(i64::MAX),
            summary: Some(Summary { value }),
            ..Record::default()
        });
    }

    fn epoch(&mut self, metrics: &EpochMetrics) {
        let figure = |name: &str| metrics.figures.get(name).copied();
        self.scalars(
            metrics.epoch,
            &[
                ("loss/train", Some(metrics.train_loss)),
                ("loss/validation", metrics.valid_loss),
                (
                    "accuracy/train",
                    Some(metrics.train_accuracy).filter(|share| !share.is_nan()),
                ),
                ("accuracy/validation", metrics.valid_accuracy),
                ("mae/validation", figure("mae")),
                ("rmse/validation", figure("rmse")),
                ("r2/validation", figure("r2")),
                ("kappa/validation", figure("quadratic_weighted_kappa")),
                ("learning_rate", Some(metrics.learning_rate)),
                ("images_per_second", Some(metrics.images_per_second)),
            ],
        );
    }

    fn write(&mut self, record: &Record) {
        let Some(file) = &mut self.file else { return };
        if let Err(error) = file.write_all(&framed(&record.encode_to_vec())) {
            eprintln!(
                "warning: {}: nothing more is written for TensorBoard: {error}",
                show(&self.path)
            );
            self.file = None;
        }
    }
}

impl Observer for TensorBoard {
    fn on_event(&mut self, event: &Event) {
        match event {
            Event::EpochStarted { batches, .. } => self.batches = *batches,
            Event::BatchEnded {
                epoch, batch, loss, ..
            } => {
                let step = epoch.saturating_sub(1) * self.batches + batch;
                self.scalars(step, &[("batch/loss", Some(*loss))]);
            }
            Event::EpochEnded { metrics } => self.epoch(metrics),
            _ => {}
        }
    }
}

fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

/// `tensorflow.Event`, as far as it is written.
#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

/// `tensorflow.Summary`.
#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Scalar>,
}

/// `tensorflow.Summary.Value`.
#[derive(Clone, PartialEq, Message)]
struct Scalar {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

/// Frames a record as in a TFRecord file: its length and its content, each with a masked CRC-32C behind.
fn framed(content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u64).to_le_bytes();
    let mut frame = length.to_vec();
    frame.extend(masked(&length).to_le_bytes());
    frame.extend(content);
    frame.extend(masked(content).to_le_bytes());
    frame
}

/// Masked so that a checksum of content that holds checksums is none of its own.
fn masked(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32 with Castagnoli's polynomial (RFC 3720). Records are short: bit by bit is fast enough.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
    !bytes
        .iter()
        .fold(!0u32, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn checksums_are_those_of_their_standard() {
        // RFC 3720, B.4: 32 zeros, 32 ones, 0 to 31.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        let rising: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c(&rising), 0x46dd_794e);
    }

    /// The file that TensorBoard 2.21 wrote for `add_scalar("loss/train", 0.5, 3)` at the time 1.0 (`EventsWriter`), without its head.
    #[test]
    fn a_record_is_the_one_that_tensorboard_writes() {
        let record = Record {
            wall_time: 1.0,
            step: 3,
            file_version: None,
            summary: Some(Summary {
                value: vec![Scalar {
                    tag: "loss/train".into(),
                    simple_value: Some(0.5),
                }],
            }),
        };
        let found: String = framed(&record.encode_to_vec())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(found, EXPECTED);
    }

    const EXPECTED: &str = "200000000000000029eda95009000000000000f03f10032a130a110a0a6c6f73732f747261696e150000003f8ea448d7";
}
