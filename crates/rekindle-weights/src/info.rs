//! Describes the metadata of a file of weights.

use std::collections::BTreeMap;

use rekindle_preprocess::Preprocess;
use serde::de::DeserializeOwned;

use crate::Error;
use crate::checkpoint::Checkpoint;

/// Key of [`ModelInfo::unknown_detector`] in the metadata of a file.
pub const UNKNOWN_DETECTOR: &str = "unknown_detector";

/// The facts without which weights are not usable, kept in the metadata of the file.
///
/// ```
/// use rekindle_preprocess::Preprocess;
/// use rekindle_weights::ModelInfo;
///
/// let info = ModelInfo {
///     architecture: Some("resnet18".into()),
///     classes: Some(vec!["ants".into(), "bees".into()]),
///     preprocess: Some(Preprocess::IMAGENET),
///     ..ModelInfo::default()
/// };
/// assert_eq!(info.to_metadata()["classes"], r#"["ants","bees"]"#);
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelInfo {
    /// The network's published name, such as `resnet18`, or a description of one that has none.
    pub architecture: Option<String>,
    /// Class names in the order of the logits.
    pub classes: Option<Vec<String>>,
    /// Preprocessing of pictures before the network sees them.
    pub preprocess: Option<Preprocess>,
    /// Origin of the weights: source weights, data, recipe. Free text or JSON.
    pub provenance: Option<String>,
    /// Temperature that logits are divided by so that confidence agrees with accuracy, fitted on validation
    /// images; above 0.
    pub temperature: Option<f64>,
    /// The views of a picture whose answers the maker of the file would average, by name; readers are free to take one.
    pub test_views: Option<String>,
    /// What the outputs mean, by name: `multi-label` where each is yes or no, `regression` where they are numbers, `ordinal`
    /// where they are classes from the lowest to the highest, none for other classes, of which a picture has one.
    pub task: Option<String>,
    /// The probability of each label from which on a picture is said to have it, in the order of the logits.
    pub thresholds: Option<Vec<f64>>,
    /// One minus the probability of the right class of each validation image in ten thousandths, in ascending order: what
    /// sets of classes with a promised coverage are made by.
    pub conformal_scores: Option<Vec<u16>>,
    /// Absolute error of the number of each validation image, in ascending order: what intervals with a promised coverage
    /// are made by.
    pub residuals: Option<Vec<f32>>,
    /// How pictures of unknown classes are told, as JSON of `rekindle_transfer`'s `UnknownDetector`.
    pub unknown_detector: Option<String>,
}

impl ModelInfo {
    /// Returns it as entries for a file: `architecture`, `classes` (JSON list), `preprocess` (JSON object),
    /// `provenance`, `temperature`, `test_views`, `task`, `thresholds`, `conformal_scores` and `residuals` (JSON lists),
    /// `unknown_detector` (JSON object); and `format` = `pt`, which Python readers look for.
    pub fn to_metadata(&self) -> BTreeMap<String, String> {
        let json = |value: serde_json::Result<String>| value.unwrap_or_default();
        let entries = [
            ("format", Some("pt".to_string())),
            ("architecture", self.architecture.clone()),
            (
                "classes",
                self.classes
                    .as_ref()
                    .map(|value| json(serde_json::to_string(value))),
            ),
            (
                "preprocess",
                self.preprocess
                    .as_ref()
                    .map(|value| json(serde_json::to_string(value))),
            ),
            ("provenance", self.provenance.clone()),
            (
                "temperature",
                self.temperature.map(|value| value.to_string()),
            ),
            ("test_views", self.test_views.clone()),
            ("task", self.task.clone()),
            (
                "thresholds",
                self.thresholds
                    .as_ref()
                    .map(|value| json(serde_json::to_string(value))),
            ),
            (
                "conformal_scores",
                self.conformal_scores
                    .as_ref()
                    .map(|value| json(serde_json::to_string(value))),
            ),
            (
                "residuals",
                self.residuals
                    .as_ref()
                    .map(|value| json(serde_json::to_string(value))),
            ),
            (UNKNOWN_DETECTOR, self.unknown_detector.clone()),
        ];
        entries
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_string(), value?)))
            .collect()
    }
}

impl Checkpoint {
    /// Reads what the file says about itself; entries that are absent are `None`.
    ///
    /// # Errors
    /// [`Error::InvalidMetadata`] if `classes`, `preprocess`, `temperature`, `thresholds`, `conformal_scores` or `residuals` is there and
    /// not valid.
    pub fn info(&self) -> Result<ModelInfo, Error> {
        Ok(ModelInfo {
            architecture: self.metadata.get("architecture").cloned(),
            classes: self.json_entry("classes")?,
            preprocess: self.json_entry("preprocess")?,
            provenance: self.metadata.get("provenance").cloned(),
            temperature: self.temperature()?,
            test_views: self.metadata.get("test_views").cloned(),
            task: self.metadata.get("task").cloned(),
            thresholds: self.json_entry("thresholds")?,
            conformal_scores: self.json_entry("conformal_scores")?,
            residuals: self.json_entry("residuals")?,
            unknown_detector: self.metadata.get(UNKNOWN_DETECTOR).cloned(),
        })
    }

    fn temperature(&self) -> Result<Option<f64>, Error> {
        let Some(text) = self.metadata.get("temperature") else {
            return Ok(None);
        };
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() && value > 0.0 => Ok(Some(value)),
            _ => Err(Error::InvalidMetadata {
                path: self.path.clone(),
                key: "temperature",
                detail: format!("{text:?} is no finite number above 0"),
            }),
        }
    }

    fn json_entry<T: DeserializeOwned>(&self, key: &'static str) -> Result<Option<T>, Error> {
        self.metadata
            .get(key)
            .map(|text| {
                serde_json::from_str(text).map_err(|error| Error::InvalidMetadata {
                    path: self.path.clone(),
                    key,
                    detail: error.to_string(),
                })
            })
            .transpose()
    }
}
