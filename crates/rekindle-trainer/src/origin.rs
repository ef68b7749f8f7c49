//! Compares weights and pictures with those that a run began with.

use std::path::Path;

use serde_json::json;

use crate::TrainerError;
use crate::data::TransferData;
use crate::identity::{DataChanges, DataList};
use crate::run_directory::{RunRecord, RunWriter};
use crate::source::Source;
use crate::trainer::classes;

/// Weights and pictures that a run is to go on with.
pub(crate) struct Origin<'a> {
    pub data: &'a TransferData,
    pub source: &'a Source,
    /// Hashes the live weights; asked only where the record has such a hash.
    pub digest: &'a dyn Fn() -> String,
    pub accepts_changed_data: bool,
}

/// Differences that a run may go on with.
pub(crate) struct Compared {
    pub warning: Option<String>,
    /// True if the run measures by other validation images than before.
    pub is_val_changed: bool,
}

impl Origin<'_> {
    /// Compares, and makes pictures that were accepted part of the record.
    pub(crate) fn check(&self, writer: &mut RunWriter) -> Result<Compared, TrainerError> {
        let record = writer.directory().record().clone();
        self.refuse_other_weights(&record, writer.path())?;
        self.check_data(&record, writer)
    }

    fn refuse_other_weights(&self, record: &RunRecord, path: &Path) -> Result<(), TrainerError> {
        let Some(recorded) = &record.weights else {
            return Ok(());
        };
        let (found, expected) = match recorded.tensors_sha256.is_empty() {
            true => (self.source.sha256.clone(), &recorded.sha256),
            false => ((self.digest)(), &recorded.tensors_sha256),
        };
        if found == *expected {
            return Ok(());
        }
        let name = |file: &str, hash: &str| match file {
            "" => format!("SHA-256 {hash}"),
            file => format!("{file} (SHA-256 {hash})"),
        };
        let now = name(&self.source.weights, &found);
        let before = name(&recorded.source, expected);
        Err(TrainerError::OtherWeights {
            path: path.to_path_buf(),
            recorded: before,
            found: now,
        })
    }

    /// Compares the pictures with those that the run began with. What is to be said about them where it goes on.
    fn check_data(
        &self,
        record: &RunRecord,
        writer: &mut RunWriter,
    ) -> Result<Compared, TrainerError> {
        let now = self.data.description["classes"].as_array().map(Vec::len);
        let before = record.data["classes"].as_array().map(Vec::len);
        if before.is_some() && now != before {
            let of = |count: Option<usize>| count.unwrap_or_default();
            let (found, expected) = (&self.data.description["classes"], &record.data["classes"]);
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
            return Ok(Compared {
                warning: Some(self.compare_counts(record)?),
                is_val_changed: false,
            });
        };
        let data = DataList::of(self.data);
        if data.identity() == recorded {
            return Ok(Compared {
                warning: None,
                is_val_changed: false,
            });
        }
        let changes = match writer.directory().data_list()? {
            Some(before) => data.changes_since(&before),
            None => DataChanges::unknown(),
        };
        if changes.is_other_data() && !self.accepts_changed_data {
            return Err(TrainerError::ChangedData {
                path: writer.path().to_path_buf(),
                changes: Box::new(changes),
            });
        }
        let mut description = self.data.description.clone();
        let mut earlier = record.data["changes"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        earlier.push(json!({"from": recorded, "what": changes.to_string()}));
        description["changes"] = json!(earlier);
        writer.replace_data(description, &classes(self.data), &data)?;
        Ok(Compared {
            warning: Some(format!(
                "the pictures differ from those that the run began with: {changes}; it goes on with these"
            )),
            is_val_changed: changes.is_val_changed,
        })
    }

    /// Compares the counts in the record of a run that kept no list of its pictures.
    fn compare_counts(&self, record: &RunRecord) -> Result<String, TrainerError> {
        for field in ["classes", "train_images", "val_images"] {
            let (found, expected) = (&self.data.description[field], &record.data[field]);
            if found != expected && !self.accepts_changed_data {
                return Err(TrainerError::UnusableData {
                    what: "data".into(),
                    found: format!("{field} is {found}, but was {expected}"),
                    advice: "resume with what the run began with, begin a new run in another folder, or go on all the \
                             same with --accept-changed-data (`Trainer::accept_changed_data`)",
                });
            }
        }
        Ok(format!(
            "rekindle {} began this run and kept no list of its pictures, so it can't be told whether they have changed",
            record.rekindle
        ))
    }
}
