//! Published weights as files to download.

use rekindle_weights::RemoteFile;

use crate::registry::{Source, Weights};

/// Converts published weights to the download that `Hub::weights` takes. Those of the Hugging Face hub have
/// no checksum here; [`Pretrained::named`](crate::Pretrained::named) verifies them by the hub's own.
impl From<&Weights> for RemoteFile {
    fn from(weights: &Weights) -> Self {
        let file = match weights.source {
            Source::Torchvision { file } => {
                let remote = Self::new(format!("https://download.pytorch.org/models/{file}"));
                let stem = file.trim_end_matches(".pth");
                match stem.rsplit_once('-') {
                    Some((_, digits)) => remote.with_sha256(digits),
                    None => remote,
                }
            }
            Source::HuggingFace { repository } => {
                let name = repository.rsplit('/').next().unwrap_or(repository);
                Self::new(format!(
                    "https://huggingface.co/{repository}/resolve/main/model.safetensors"
                ))
                .with_name(format!("{name}.safetensors"))
            }
        };
        match weights.size_mib {
            Some(mib) => file.with_size((mib * f64::from(1 << 20)) as u64),
            None => file,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::models;

    #[test]
    fn every_file_has_a_name_of_its_own() {
        let mut names: Vec<String> = models()
            .iter()
            .flat_map(|model| model.weights)
            .map(|weights| RemoteFile::from(weights).name)
            .collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    #[allow(clippy::unwrap_used)]
    fn addresses_are_those_of_the_publishers() {
        let file = |model: &str| {
            let model = crate::Model::named(model).unwrap();
            RemoteFile::from(model.weights("DEFAULT").unwrap())
        };
        let shuffle = file("shufflenet_v2_x0_5");
        assert_eq!(
            shuffle.url,
            "https://download.pytorch.org/models/shufflenetv2_x0.5-f707e7126e.pth"
        );
        assert_eq!(shuffle.name, "shufflenetv2_x0.5-f707e7126e.pth");
        assert_eq!(shuffle.sha256.as_deref(), Some("f707e7126e"));
        let lite = file("tf_efficientnet_lite0");
        assert_eq!(
            lite.url,
            "https://huggingface.co/timm/tf_efficientnet_lite0.in1k/resolve/main/model.safetensors"
        );
        assert_eq!(lite.name, "tf_efficientnet_lite0.in1k.safetensors");
        assert_eq!(lite.sha256, None);
    }
}
