//! One name for one tensor: torchvision's, whatever wrapped the model when it was saved.

use std::collections::BTreeMap;
use std::path::Path;

use super::NamedTensor;
use crate::Error;

/// Renames tensors to torchvision's names, and leaves out what a training state keeps beside them.
///
/// timm names plain ResNets as torchvision does. Handled are state dicts under a key
/// ([`CONTAINERS`]), prefixes that wrappers add ([`WRAPPERS`]), and the names of Hugging Face
/// `transformers` (`resnet.encoder.stages.0.layers.0.layer.0.convolution.weight`). Other names stay
/// as they are, for [`check`](super::check) to report.
pub(super) fn standardise(
    path: &Path,
    tensors: BTreeMap<String, NamedTensor>,
) -> Result<BTreeMap<String, NamedTensor>, Error> {
    let container = CONTAINERS
        .iter()
        .find(|key| tensors.keys().any(|name| strip_key(name, key).is_some()));
    let mut renamed = BTreeMap::new();
    for (name, tensor) in tensors {
        let inner = match container {
            None => name.as_str(),
            Some(key) => match strip_key(&name, key) {
                Some(inner) => inner,
                None if is_training_state(&name) => continue,
                None => name.as_str(),
            },
        };
        let standard = standard_name(inner);
        if standard == "n_averaged" {
            continue;
        }
        if let Some(other) = renamed.insert(standard.clone(), tensor) {
            return Err(Error::DuplicateTensor {
                path: path.to_path_buf(),
                name: standard,
                detail: format!("as `{}` and `{name}`", other.name_in_file()),
            });
        }
    }
    Ok(renamed)
}

/// Keys under which training scripts keep the model; the first that is there counts.
const CONTAINERS: &[&str] = &["state_dict", "model_state_dict", "model", "net"];

/// What `DataParallel`, `torch.compile`, Lightning modules and detectors put before a name.
const WRAPPERS: &[&str] = &[
    "module.",
    "_orig_mod.",
    "model.",
    "net.",
    "backbone.body.",
    "backbone.",
];

/// What stands beside the model in a training checkpoint.
const TRAINING_STATE: &[&str] = &[
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "state_dict_ema",
    "model_ema",
    "ema",
    "ema_state_dict",
    "optimizer",
    "optimizer_state_dict",
    "optimizer_states",
    "optim",
    "scheduler",
    "lr_scheduler",
    "lr_schedulers",
    "scheduler_state_dict",
    "scaler",
    "amp_scaler",
    "amp",
    "callbacks",
    "loops",
    "rng_state",
    "cuda_rng_state",
    "epoch",
    "best_acc1",
    "best_acc",
    "criterion",
    "loss",
    "hparams",
    "hyper_parameters",
    "args",
];

fn is_training_state(name: &str) -> bool {
    let key = name.split_once('.').map_or(name, |(key, _)| key);
    TRAINING_STATE.contains(&key)
}

fn strip_key<'a>(name: &'a str, key: &str) -> Option<&'a str> {
    name.strip_prefix(key)?.strip_prefix('.')
}

fn standard_name(name: &str) -> String {
    let mut name = name;
    while let Some(inner) = WRAPPERS
        .iter()
        .find_map(|wrapper| name.strip_prefix(wrapper))
    {
        name = inner;
    }
    from_transformers(name).unwrap_or_else(|| name.to_string())
}

/// Hugging Face `transformers` counts stages and layers from zero and has no short names.
fn from_transformers(name: &str) -> Option<String> {
    if let Some(field) = name.strip_prefix("classifier.1.") {
        return Some(format!("fc.{field}"));
    }
    let name = name.strip_prefix("resnet.").unwrap_or(name);
    if let Some(stem) = name.strip_prefix("embedder.embedder.") {
        return layer_name(stem, "conv1", "bn1");
    }
    let (stage, rest) = name
        .strip_prefix("encoder.stages.")?
        .split_once(".layers.")?;
    let (block, rest) = rest.split_once('.')?;
    let block = format!("layer{}.{block}", stage.parse::<usize>().ok()? + 1);
    if let Some(shortcut) = rest.strip_prefix("shortcut.") {
        return layer_name(
            shortcut,
            &format!("{block}.downsample.0"),
            &format!("{block}.downsample.1"),
        );
    }
    let (layer, rest) = rest.strip_prefix("layer.")?.split_once('.')?;
    let layer = layer.parse::<usize>().ok()? + 1;
    layer_name(
        rest,
        &format!("{block}.conv{layer}"),
        &format!("{block}.bn{layer}"),
    )
}

fn layer_name(field: &str, convolution: &str, normalisation: &str) -> Option<String> {
    if let Some(field) = field.strip_prefix("convolution.") {
        return Some(format!("{convolution}.{field}"));
    }
    let field = field.strip_prefix("normalization.")?;
    Some(format!("{normalisation}.{field}"))
}

#[cfg(test)]
mod tests {
    use super::standard_name;

    #[test]
    fn every_wrapping_leads_to_torchvisions_name() {
        for (given, expected) in [
            ("layer1.0.conv1.weight", "layer1.0.conv1.weight"),
            ("module.conv1.weight", "conv1.weight"),
            ("_orig_mod.module.fc.bias", "fc.bias"),
            (
                "backbone.body.layer4.2.bn3.running_var",
                "layer4.2.bn3.running_var",
            ),
            (
                "resnet.embedder.embedder.convolution.weight",
                "conv1.weight",
            ),
            (
                "resnet.embedder.embedder.normalization.running_mean",
                "bn1.running_mean",
            ),
            (
                "resnet.encoder.stages.1.layers.0.shortcut.convolution.weight",
                "layer2.0.downsample.0.weight",
            ),
            (
                "resnet.encoder.stages.1.layers.0.shortcut.normalization.bias",
                "layer2.0.downsample.1.bias",
            ),
            (
                "encoder.stages.3.layers.2.layer.1.normalization.weight",
                "layer4.2.bn2.weight",
            ),
            ("classifier.1.weight", "fc.weight"),
            ("head.weight", "head.weight"),
        ] {
            assert_eq!(standard_name(given), expected);
        }
    }
}
