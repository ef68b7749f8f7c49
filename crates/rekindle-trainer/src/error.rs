//! Errors of training, as one enum.

mod sorted;

use std::io;
use std::path::PathBuf;

use rekindle_files::names::show;

use crate::{DataChanges, OutOfMemory};

/// An error of this crate; every message says what was found, what was expected, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainerError {
    /// A schedule's parameter lies outside its range.
    #[error("learning-rate schedule: {field} is {found}, but must be {expected}")]
    InvalidSchedule {
        /// The parameter.
        field: &'static str,
        /// Its value.
        found: String,
        /// The range that it must lie in.
        expected: &'static str,
    },

    /// Predictions and labels don't fit each other, so no metric can be computed from them.
    #[error("cannot compute metrics: {found}; expected {expected}")]
    InvalidPredictions {
        /// The predictions handed in.
        found: String,
        /// The predictions that would have been right.
        expected: String,
    },

    /// The folder exists but holds no `run.json`.
    #[error(
        "{} is not a run directory: {reason}. Give the folder that a training run printed as \"run directory\"",
        show(path)
    )]
    NotARunDirectory {
        /// The folder asked for.
        path: PathBuf,
        /// The part that is missing or unreadable.
        reason: String,
    },

    /// A new run was to be written where there already is something.
    #[error(
        "{} is there already{remark} choose another folder for the new run (--out)",
        show(path)
    )]
    RunDirectoryExists {
        /// The path asked for.
        path: PathBuf,
        /// What can be done with what is there, between two parts of the sentence.
        remark: &'static str,
    },

    /// Another process trains in this run directory.
    #[error("{} is in use by {}; wait for it to finish or stop it first (the lock goes away with the process)", show(path), process(*pid))]
    LockedByAnotherProcess {
        /// The run directory.
        path: PathBuf,
        /// The process that holds the lock, where the platform lets us read it.
        pid: Option<u32>,
    },

    /// The run directory was written by a newer version of this library.
    #[error(
        "{} has format version {found}, this rekindle reads up to {supported}; use the newer version that wrote it (run.json says which: {written_by})",
        show(path)
    )]
    NewerFormat {
        /// The file that holds the version.
        path: PathBuf,
        /// The version found.
        found: u64,
        /// The newest version that this library reads.
        supported: u64,
        /// The version of rekindle that wrote the file.
        written_by: String,
    },

    /// A file of the run directory can't be understood.
    #[error("{} is damaged: {reason}", show(path))]
    DamagedFile {
        /// The file.
        path: PathBuf,
        /// The fault, and its place.
        reason: String,
    },

    /// The run has no intact checkpoint to continue from.
    #[error(
        "{} holds no complete checkpoint; the run stopped before its first one was saved, so start it again",
        show(path)
    )]
    NoCheckpoint {
        /// The run directory.
        path: PathBuf,
    },

    /// A run is resumed with something else than it was begun with.
    #[error(
        "{} was begun with {field} {recorded}, not {found}; leave that out to resume it, or begin a new run in another folder",
        show(path)
    )]
    OtherRecipe {
        /// The run directory.
        path: PathBuf,
        /// The field of `run.json` that differs.
        field: String,
        /// Its value there.
        recorded: String,
        /// The value that was given.
        found: String,
    },

    /// No space left for a file.
    #[error(
        "no space left on the disk while writing {}; free some space, then resume the run: what was saved before is intact",
        show(path)
    )]
    DiskFull {
        /// The file being written.
        path: PathBuf,
    },

    /// The place can't be written to.
    #[error(
        "cannot write {}: {source}; choose a place that this user may write to",
        show(path)
    )]
    NotWritable {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },

    /// Any other failure of the file system.
    #[error("cannot {action} {}: {source}", show(path))]
    Io {
        /// The action tried, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },

    /// The function that fills a file or checkpoint failed.
    #[error("cannot write {}: {source}", show(path))]
    Writer {
        /// The file or folder that was to be written; it is unchanged.
        path: PathBuf,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// A recipe that can't be followed.
    #[error("recipe: {field} is {found}, but must be {expected}")]
    InvalidRecipe {
        /// The field's name.
        field: &'static str,
        /// Its value.
        found: String,
        /// The values that it may have.
        expected: &'static str,
    },

    /// A file with a recipe that can't be followed.
    #[error("{}: {problem}", show(path))]
    InvalidRecipeFile {
        /// The file.
        path: PathBuf,
        /// The key and what is wrong with it.
        problem: String,
    },

    /// Weights that can't do what is asked of them.
    #[error("{what}: {found}; {advice}")]
    UnusableWeights {
        /// The weights.
        what: String,
        /// The fault.
        found: String,
        /// The remedy.
        advice: &'static str,
    },

    /// Something asked of a model that it can't give: its file doesn't hold it, or it is for another task.
    #[error("{what}: {found}; {advice}")]
    ModelLacks {
        /// The model.
        what: String,
        /// What it hasn't, or is.
        found: String,
        /// The remedy.
        advice: &'static str,
    },

    /// A share of right answers that can't be promised.
    #[error("a coverage of {found}; expected {expected}")]
    InvalidCoverage {
        /// The share, with what stands behind it.
        found: String,
        /// The shares that can be.
        expected: String,
    },

    /// A search that is done is to go on.
    #[error(
        "{} is a search that is done; begin another one, with more time, in another folder",
        show(path)
    )]
    SearchDone {
        /// The run directory.
        path: PathBuf,
    },

    /// A run is resumed with other weights than it was begun with.
    #[error(
        "{} was begun with the weights {recorded}, not {found}; give those to resume it, or begin a new run in another folder",
        show(path)
    )]
    OtherWeights {
        /// The run directory.
        path: PathBuf,
        /// The weights of the record, with their hash.
        recorded: String,
        /// Those that were given.
        found: String,
    },

    /// A data set with nothing to learn from.
    #[error("{what}: {found}; {advice}")]
    UnusableData {
        /// The data.
        what: String,
        /// The fault.
        found: String,
        /// The remedy.
        advice: &'static str,
    },

    /// The pictures are not those that a run began with.
    #[error(
        "the pictures are not those that {} began with: {changes}; put them back, begin a new run in another folder, or \
         go on all the same with --accept-changed-data (`Trainer::accept_changed_data`)",
        path.display()
    )]
    ChangedData {
        /// The run directory.
        path: PathBuf,
        /// Differences between the data.
        changes: Box<DataChanges>,
    },

    /// The loss became NaN or infinite.
    #[error(
        "the loss became {loss} in batch {batch} of epoch {epoch} ({files}); lower the learning rate, or clip the gradient{kept}"
    )]
    Diverged {
        /// The epoch, from 1.
        epoch: usize,
        /// The batch, from 1.
        batch: usize,
        /// The loss.
        loss: f64,
        /// The batch's pictures.
        files: String,
        /// The place of the best weights and of the last checkpoint; empty without a run directory.
        kept: String,
    },

    /// A weight became NaN or infinite; no checkpoint is made of it.
    #[error(
        "a weight of {tensor} is {value} after epoch {epoch}; lower the learning rate, or clip the gradient{kept}"
    )]
    BrokenWeights {
        /// Epochs finished.
        epoch: usize,
        /// The tensor's name.
        tensor: String,
        /// The value.
        value: f32,
        /// The place of the best weights and of the last checkpoint; empty without a run directory.
        kept: String,
    },

    /// A device has too little memory for a step of training or a prediction. The weights in its memory are not to be
    /// relied on any more; what was saved is.
    #[error("{cause}{kept}")]
    OutOfDeviceMemory {
        /// The work and the device; its text says what needs less.
        cause: Box<OutOfMemory>,
        /// The place of the best weights and of the last checkpoint; empty without a run directory.
        kept: String,
    },

    /// A device failed, such as a graphics card whose driver was restarted.
    #[error("the device failed: {reason}; start the program again, or use the CPU device")]
    Device {
        /// The backend's reason.
        reason: String,
    },

    /// An optimiser state that can't be saved or read.
    #[error("optimiser state {}: {reason}", show(path))]
    OptimizerState {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },

    /// The pictures.
    #[error(transparent)]
    Images(#[from] rekindle_imagefolder::Error),

    /// The model and its weights.
    #[error(transparent)]
    Model(#[from] rekindle_models::Error),

    /// The transfer.
    #[error(transparent)]
    Transfer(#[from] rekindle_transfer::TransferError),

    /// The model can't be written in eight bits.
    #[error("the model can't be written in eight bits: {0}")]
    Quantization(#[from] rekindle_nn::QuantizationError),

    /// The work was asked to stop, by Ctrl-C or by a program's own button.
    #[error("interrupted{kept}")]
    Interrupted {
        /// End of the sentence that says what is kept of the run and how to go on; empty where it leaves nothing.
        kept: String,
    },

    /// Ctrl-C can't be caught.
    #[error(
        "cannot listen for Ctrl-C: {reason}; training works, but interrupting it won't save a checkpoint"
    )]
    NoInterruptHandler {
        /// The reason.
        reason: String,
    },
}

fn process(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".into(), |pid| format!("process {pid}"))
}
