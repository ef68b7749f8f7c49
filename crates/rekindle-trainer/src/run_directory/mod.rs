//! A run as a folder: what was asked, what happened, and all that is needed to go on.
//!
//! ```text
//! runs/2026-01-31-ants-bees-7f3a/
//! ├── run.json            what was asked: RunRecord
//! ├── classes.json        what the logits mean: ClassesRecord
//! ├── data.jsonl          the pictures, one per line: DataList
//! ├── metrics.jsonl       one event per line, appended
//! ├── metrics.csv         the figures of each epoch, one per line
//! ├── checkpoints/        epoch-0007/: the last and the best
//! ├── best.safetensors    the best weights
//! ├── report.html         for people
//! └── lock                one process at a time
//! ```
//!
//! A process may be killed at any moment: every file is either appended to line by line or written
//! under a temporary name, synced and renamed.

mod atomic;
mod checkpoint;
mod create;
mod data_list;
mod images;
mod lock;
mod metrics_csv;
mod metrics_log;
mod reader;
mod record;
mod writer;

pub use atomic::{WriteError, atomic_replace, atomic_write};
pub use checkpoint::{Checkpoint, Position};
pub use reader::RunDirectory;
pub use record::{ClassesRecord, FIT, FORMAT, ONE_CALL, RunRecord, WeightsRecord};
pub(crate) use record::{one_call, refuse_other_recipe, within_budget};
pub use writer::RunWriter;

const CLASSES: &str = "classes.json";
const DATA: &str = "data.jsonl";
const RUN: &str = "run.json";
