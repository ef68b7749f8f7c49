//! Origin of a network's weights.

/// Origin of a classifier's weights.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Source {
    /// The network's name, such as `resnet18`.
    pub architecture: String,
    /// File, or repository of the Hugging Face hub with its commit; empty for fresh weights.
    pub weights: String,
    /// SHA-256 of the file, 64 hexadecimal digits; empty for fresh weights. A record, no identity: what decides whether
    /// weights are the same is computed from them ([`weights_digest`](rekindle_transfer::backbone::weights_digest)).
    pub sha256: String,
}

impl Source {
    /// Returns the origin of a network read from a file.
    pub fn of(pretrained: &rekindle_models::Pretrained) -> Self {
        Self {
            architecture: pretrained.architecture.clone(),
            weights: match &pretrained.repository {
                Some(repository) => repository.to_string(),
                None => rekindle_files::names::escape(&pretrained.path),
            },
            sha256: pretrained.sha256.clone(),
        }
    }
}
