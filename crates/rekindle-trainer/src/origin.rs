//! Whether a run that is resumed has the weights and the pictures that it began with.

use serde_json::json;

use crate::data::TransferData;
use crate::identity::{DataChanges, DataList};
use crate::run_directory::{RunRecord, RunWriter};
use crate::trainer::classes;
use crate::{Source, TrainerError};

/// Pictures that a run may go on with.
#[derive(Default)]
pub(crate) struct Checked {
    /// What is to be said about them.
    pub warning: Option<String>,
    /// Whether it measures by other images than before.
    pub is_val_changed: bool,
}

/// Refuses to resume a run with other weights than it began with; `digest` hashes the stages of the present ones.
pub(crate) fn refuse_other_weights(
    record: &RunRecord,
    source: &Source,
    digest: impl FnOnce() -> String,
) -> Result<(), TrainerError> {
    let Some(recorded) = &record.weights else {
        return Ok(());
    };
    let (found, expected) = match recorded.tensors_sha256.is_empty() {
        true => (source.sha256.clone(), &recorded.sha256),
        false => (digest(), &recorded.tensors_sha256),
    };
    if found == *expected {
        return Ok(());
    }
    let name = |file: &str, hash: &str| match file {
        "" => format!("SHA-256 {hash}"),
        file => format!("{file} (SHA-256 {hash})"),
    };
    let now = name(&source.weights, &found);
    let before = name(&recorded.source, expected);
    Err(TrainerError::UnusableData {
        what: "weights".into(),
        found: format!("{now}, but the run began with {before}"),
        advice: "resume with what the run began with, or begin a new run in another folder",
    })
}

/// Compares the pictures with those that a run began with, and puts them into its record where it is to go on with others.
pub(crate) fn check_data(
    data: &TransferData,
    writer: &mut RunWriter,
    accepts_changed_data: bool,
) -> Result<Checked, TrainerError> {
    let record = writer.directory().record().clone();
    let now = data.description["classes"].as_array().map(Vec::len);
    let before = record.data["classes"].as_array().map(Vec::len);
    if before.is_some() && now != before {
        let of = |count: Option<usize>| count.unwrap_or_default();
        let (found, expected) = (&data.description["classes"], &record.data["classes"]);
        return Err(TrainerError::UnusableData {
            what: "data".into(),
            found: format!(
                "{} classes ({found}), but the run began with {} ({expected})",
                of(now),
                of(before)
            ),
            advice: "the head has one output per class: resume with the classes that the run began with, or begin a \
                     new run in another folder",
        });
    }
    let Some(recorded) = record.identity() else {
        return compare_counts(data, &record, accepts_changed_data);
    };
    let list = DataList::of(data);
    if list.identity() == recorded {
        return Ok(Checked::default());
    }
    let changes = match writer.directory().data_list()? {
        Some(before) => list.changes_since(&before),
        None => DataChanges::unknown(),
    };
    if changes.is_other_data() && !accepts_changed_data {
        return Err(TrainerError::ChangedData {
            path: writer.path().to_path_buf(),
            changes: Box::new(changes),
        });
    }
    let mut description = data.description.clone();
    let mut earlier = record.data["changes"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    earlier.push(json!({"from": recorded, "what": changes.to_string()}));
    description["changes"] = json!(earlier);
    writer.replace_data(description, &classes(data), &list)?;
    Ok(Checked {
        warning: Some(format!(
            "the pictures differ from those that the run began with: {changes}; it goes on with these"
        )),
        is_val_changed: changes.is_val_changed,
    })
}

/// What can be told of the data of a run that kept no list of its pictures.
fn compare_counts(
    data: &TransferData,
    record: &RunRecord,
    accepts_changed_data: bool,
) -> Result<Checked, TrainerError> {
    for field in ["classes", "train_images", "val_images"] {
        let (found, expected) = (&data.description[field], &record.data[field]);
        if found != expected && !accepts_changed_data {
            return Err(TrainerError::UnusableData {
                what: "data".into(),
                found: format!("{field} is {found}, but was {expected}"),
                advice: "resume with what the run began with, begin a new run in another folder, or go on all the \
                         same with --accept-changed-data (`Trainer::accept_changed_data`)",
            });
        }
    }
    Ok(Checked {
        warning: Some(format!(
            "rekindle {} began this run and kept no list of its pictures, so it can't be told whether they have changed",
            record.rekindle
        )),
        is_val_changed: false,
    })
}
