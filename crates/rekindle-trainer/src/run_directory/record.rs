use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use rekindle_transfer::Strategy;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;

use super::atomic::atomic_write;
use crate::error::TrainerError;
use crate::identity::{DataIdentity, DataList};

/// Version of the run directory's layout. Readers refuse newer ones.
pub const FORMAT: u64 = 1;

/// Settings of a run: the content of `run.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Version of the layout, [`FORMAT`].
    pub format: u64,
    /// Version of rekindle that wrote the run.
    pub rekindle: String,
    /// Start of the run, RFC 3339 in UTC, as `2026-01-31T09:30:00Z`.
    pub created: String,
    /// Title of the run.
    pub title: String,
    /// Origin of the images, and their number.
    pub data: Value,
    /// Origin of the weights; none when training from scratch.
    pub weights: Option<WeightsRecord>,
    /// Origin of the weights of networks that stand beside that one, where there are any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<WeightsRecord>,
    /// The network's name, as `resnet18`.
    pub architecture: String,
    /// The strategy, as it serialises itself.
    pub strategy: Value,
    /// Optimiser, schedule, augmentation, epochs and so on, as the recipe serialises itself.
    pub recipe: Value,
    /// Seed of everything random.
    pub seed: u64,
    /// The device's name.
    pub device: String,
}

/// The weights that a run began with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightsRecord {
    /// File or catalogue entry.
    pub source: String,
    /// SHA-256 of the file's bytes, 64 hexadecimal digits; empty where whoever began the run named no file.
    pub sha256: String,
    /// SHA-256 of the backbone's tensors as the run began with them
    /// ([`weights_digest`](rekindle_transfer::backbone::weights_digest)); empty in runs before 0.2.
    #[serde(default)]
    pub tensors_sha256: String,
}

/// Meaning of the logits: the content of `classes.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassesRecord {
    /// Version of the layout, [`FORMAT`].
    pub format: u64,
    /// Class names, in the order of the logits.
    pub classes: Vec<String>,
    /// Preprocessing from a picture to the network's input.
    pub preprocessing: Value,
    /// Temperature that logits are divided by so that confidence agrees with accuracy, fitted on the
    /// validation images; none before the first best weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
}

impl RunRecord {
    /// Creates a record with the format, version and time filled in; set the other fields.
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            format: FORMAT,
            rekindle: env!("CARGO_PKG_VERSION").into(),
            created: now(),
            title: title.into(),
            data: Value::Null,
            weights: None,
            beside: Vec::new(),
            architecture: String::new(),
            strategy: Value::Null,
            recipe: Value::Null,
            seed: 0,
            device: String::new(),
        }
    }
}

impl RunRecord {
    /// Returns the identity of the pictures that the run is about; none in runs before 0.2.
    pub fn identity(&self) -> Option<DataIdentity> {
        DataIdentity::deserialize(self.data.get("identity")?).ok()
    }

    /// Makes the identity of `data` a part of the record.
    pub(super) fn set_identity(&mut self, data: &DataList) -> Result<(), TrainerError> {
        if self.data.is_null() {
            self.data = Value::Object(serde_json::Map::new());
        }
        let identity = serde_json::to_value(data.identity());
        let identity =
            identity.map_err(|error| TrainerError::writer(Path::new("run.json"), error.into()))?;
        match &mut self.data {
            Value::Object(fields) => {
                fields.insert("identity".into(), identity);
            }
            other => {
                *other = serde_json::json!({"description": other.take(), "identity": identity});
            }
        }
        Ok(())
    }

    /// Returns the strategy's name, as `train --strategy` takes it and as the run's folder is called; the title for a
    /// strategy that this version doesn't know.
    pub fn strategy_name(&self) -> String {
        if let Some(name) = closed_form(&self.strategy) {
            return name.into();
        }
        match Strategy::deserialize(&self.strategy) {
            Ok(strategy) => strategy.to_string(),
            Err(_) => self.title.clone(),
        }
    }

    /// Returns the strategy of a run in `directory`.
    pub(crate) fn parsed_strategy(&self, directory: &Path) -> Result<Strategy, TrainerError> {
        Strategy::deserialize(&self.strategy).map_err(|error| damaged(directory, &error))
    }

    /// Returns the recipe of a run in `directory`.
    pub(crate) fn parsed_recipe<T: DeserializeOwned>(
        &self,
        directory: &Path,
    ) -> Result<T, TrainerError> {
        T::deserialize(&self.recipe).map_err(|error| damaged(directory, &error))
    }
}

/// The name of [`Fit`](crate::Fit) without training: a probe on frozen features.
pub const ONE_CALL: &str = "one-call";

/// The name of [`Fit`](crate::Fit) within a budget.
pub const FIT: &str = "fit";

/// As a strategy serialises itself.
pub(crate) fn one_call() -> Value {
    serde_json::json!({"kind": "one_call"})
}

/// As a strategy serialises itself.
pub(crate) fn within_budget() -> Value {
    serde_json::json!({"kind": "fit"})
}

/// Returns the name of what is not a [`Strategy`].
fn closed_form(strategy: &Value) -> Option<&'static str> {
    let all = [(one_call(), ONE_CALL), (within_budget(), FIT)];
    let found = all.into_iter().find(|(value, _)| value == strategy);
    found.map(|(_, name)| name)
}

/// Refuses to resume a run with another recipe than the `recorded` one. Neither the length of a run nor what doesn't
/// touch its numbers counts: workers, and where features are kept.
pub(crate) fn refuse_other_recipe(
    directory: &Path,
    recorded: &Value,
    found: &Value,
) -> Result<(), TrainerError> {
    for (field, found) in found.as_object().into_iter().flatten() {
        let recorded = recorded.get(field).unwrap_or(&Value::Null);
        let is_free = match field.as_str() {
            "epochs" | "workers" => true,
            "budget_seconds" => recorded.is_number() && found.is_number(),
            "cache" => recorded != "off" && found != "off",
            _ => false,
        };
        if !is_free && !is_same(recorded, found) {
            return Err(TrainerError::OtherRecipe {
                path: directory.to_path_buf(),
                field: field.clone(),
                recorded: recorded.to_string(),
                found: found.to_string(),
            });
        }
    }
    Ok(())
}

/// Readers of JSON numbers may be off by the last bit.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => (a - b).abs() <= 1e-12 * a.abs().max(b.abs()),
        _ => a == b,
    }
}

fn damaged(directory: &Path, error: &serde_json::Error) -> TrainerError {
    TrainerError::DamagedFile {
        path: directory.join("run.json"),
        reason: error.to_string(),
    }
}

impl ClassesRecord {
    /// Names in the order of the logits, and preprocessing as it serialises itself.
    pub fn new(classes: Vec<String>, preprocessing: Value) -> Self {
        Self {
            format: FORMAT,
            classes,
            preprocessing,
            temperature: None,
        }
    }
}

pub(super) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), TrainerError> {
    atomic_write(path, |file| {
        serde_json::to_writer_pretty(&mut *file, value)?;
        file.write_all(b"\n")?;
        Ok(())
    })
}

/// Reads a JSON file, whose field `format` is looked at before all others, so that a newer layout
/// is called newer rather than damaged. `None` where there is no such file.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, TrainerError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(TrainerError::io("read", path, error)),
    };
    let damaged = |error: serde_json::Error| TrainerError::DamagedFile {
        path: path.to_path_buf(),
        reason: error.to_string(),
    };
    let value: Value = serde_json::from_slice(&bytes).map_err(damaged)?;
    match value.get("format").and_then(Value::as_u64) {
        Some(found) if found > FORMAT => Err(TrainerError::NewerFormat {
            path: path.to_path_buf(),
            found,
            supported: FORMAT,
            written_by: value
                .get("rekindle")
                .and_then(Value::as_str)
                .unwrap_or("unknown")
                .into(),
        }),
        _ => serde_json::from_value(value).map(Some).map_err(damaged),
    }
}

/// Returns the present as RFC 3339 in UTC, to the second.
pub(super) fn now() -> String {
    let now = OffsetDateTime::now_utc();
    format!(
        "{}T{:02}:{:02}:{:02}Z",
        today(),
        now.hour(),
        now.minute(),
        now.second()
    )
}

/// Returns the date in UTC, as `2026-01-31`.
pub(super) fn today() -> String {
    let now = OffsetDateTime::now_utc();
    format!(
        "{:04}-{:02}-{:02}",
        now.year(),
        u8::from(now.month()),
        now.day()
    )
}
