//! Descriptions beside a file of weights, as repositories of the Hugging Face hub have them.

mod timm;
mod transformers;
mod values;

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;

use serde_json::{Map, Value};

use self::values::list_of_others;
use crate::repository::{USUAL, USUAL_OF_PYTORCH, is_commit};
use crate::{Error, ModelInfo};

type Object = Map<String, Value>;

impl ModelInfo {
    /// Reads what the repository around a file of weights says about it: `config.json` as timm writes it
    /// (`architecture`, `pretrained_cfg`, `label_names`) or as transformers does (`id2label`), and there
    /// `preprocessor_config.json`. What is absent, unknown or out of range stays `None`, or takes the default of the
    /// library that wrote the file.
    ///
    /// A folder may hold more than one network, so the description counts where it can only be of this file: where it
    /// is called `model.safetensors` or `pytorch_model.bin`, where the folder is named after a commit, as in caches, or
    /// where no other file of weights is in it.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] for a description that is no JSON, and [`Error::Read`].
    pub fn beside(weights: impl AsRef<Path>) -> Result<Self, Error> {
        let weights = weights.as_ref();
        let read = |name: &str| description_beside(weights, name);
        let (config, preprocessor) = (read(CONFIG)?, read(PREPROCESSOR)?);
        let of_timm = config.as_ref().and_then(timm::info);
        let is_timms = of_timm.is_some();
        let unusable = match &config {
            Some(config) if is_timms => timm::unusable(config).map(|entry| (CONFIG, entry)),
            _ => (preprocessor.as_ref())
                .and_then(|found| list_of_others(found, &["image_mean", "image_std"]))
                .map(|entry| (PREPROCESSOR, entry)),
        };
        if let Some((name, entry)) = unusable {
            return Err(Error::InvalidConfig {
                path: weights.with_file_name(name),
                detail: format!(
                    "\"{entry}\" has a number of its own for each of more than three channels, and three in turn are what a \
                     preprocessing holds; scale the numbers into the first convolution, or leave the file away"
                ),
            });
        }
        let of_timm = of_timm.unwrap_or_default();
        Ok(Self {
            architecture: of_timm.architecture,
            classes: of_timm
                .classes
                .or_else(|| transformers::classes(config.as_ref()?)),
            preprocess: of_timm
                .preprocess
                .or_else(|| transformers::preprocess(preprocessor.as_ref()?)),
            ..Self::default()
        })
    }
}

/// Reads a description that a repository has beside a file of weights, such as `config.json`, where it can only be of this
/// file (see [`ModelInfo::beside`]); none where there is none, or no JSON object in it.
///
/// # Errors
/// [`Error::InvalidConfig`] for a description that is no JSON, and [`Error::Read`].
pub fn description_beside(weights: impl AsRef<Path>, name: &str) -> Result<Option<Object>, Error> {
    let weights = weights.as_ref();
    let folder = match weights.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let path = folder.join(name);
    match path.is_file() && is_of(folder, weights) {
        true => object(&path),
        false => Ok(None),
    }
}

pub(crate) const CONFIG: &str = "config.json";
pub(crate) const PREPROCESSOR: &str = "preprocessor_config.json";
/// Descriptions that are downloaded with a repository's weights.
#[cfg(feature = "hub")]
pub(crate) const BESIDE: [&str; 4] = [
    CONFIG,
    PREPROCESSOR,
    "open_clip_config.json",
    "tokenizer.json",
];
/// Bytes of a description; longer ones are of something else.
pub(crate) const LONGEST: u64 = 16 << 20;

/// Tells whether descriptions in a folder can only be of this file.
fn is_of(folder: &Path, weights: &Path) -> bool {
    let name = |path: &Path| {
        let name = path.file_name();
        name.map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default()
    };
    let own = name(weights);
    if [USUAL, USUAL_OF_PYTORCH].contains(&own.as_str()) || is_commit(&name(folder)) {
        return true;
    }
    let endings = ["safetensors", "bin", "pth", "pt", "ckpt", "tar", "bpk"];
    let could_be_weights = |name: &str| {
        let ending = name.rsplit_once('.').map(|(_, ending)| ending);
        ending.is_some_and(|ending| endings.contains(&ending))
    };
    let Ok(entries) = fs::read_dir(folder) else {
        return false;
    };
    let mut names = entries
        .flatten()
        .map(|entry| name(Path::new(&entry.file_name())));
    !names.any(|name| name != own && could_be_weights(&name))
}

/// Reads a file with a JSON object; none where it is absent or holds something else.
fn object(path: &Path) -> Result<Option<Object>, Error> {
    let invalid = |detail: String| Error::InvalidConfig {
        path: path.to_path_buf(),
        detail,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::read(path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(LONGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::read(path))?;
    if bytes.len() as u64 > LONGEST {
        return Err(invalid(format!("it is longer than {LONGEST} bytes")));
    }
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(object)) => Ok(Some(object)),
        Ok(_) => Ok(None),
        Err(error) => Err(invalid(format!("it is no JSON, {error}"))),
    }
}
