//! A domain: features and labels of the images of a folder, or of a file that `extract_features` wrote.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use rekindle::transfer::features::Features;

use crate::common::{self, Failure, Images};

/// Pictures of one kind, as features.
pub struct Domain {
    /// The folder's or the file's name.
    pub name: String,
    pub features: Features,
    pub labels: Vec<usize>,
    pub classes: Vec<String>,
}

impl Domain {
    /// All of them, with the same classes.
    pub fn open_all(
        paths: &[PathBuf],
        weights: Option<&Path>,
        device: &Device,
    ) -> Result<Vec<Self>, Failure> {
        let mut domains: Vec<Domain> = Vec::new();
        for path in paths {
            let images = match path.is_dir() {
                true => {
                    let weights = weights.ok_or("folders of images need --weights")?;
                    common::compute(weights, path, device)?
                }
                false => common::read(path)?,
            };
            let domain = Self::new(path, images);
            if let Some(first) = domains.first()
                && first.classes != domain.classes
            {
                return Err(format!(
                    "{} has the classes {:?}, and {} has {:?}; domains must share them",
                    domain.name, domain.classes, first.name, first.classes
                )
                .into());
            }
            domains.push(domain);
        }
        Ok(domains)
    }

    fn new(path: &Path, images: Images) -> Self {
        let name = path.file_stem().unwrap_or(path.as_os_str());
        Self {
            name: name.to_string_lossy().into_owned(),
            features: images.features,
            labels: images.labels,
            classes: images.classes,
        }
    }

    /// Share of the rows whose largest score `[n, classes]` is that of their class.
    pub fn accuracy(&self, scores: &[f64]) -> f64 {
        let rows = scores.chunks_exact(self.classes.len()).zip(&self.labels);
        let is_largest = |(row, label): &(&[f64], &usize)| {
            row.iter()
                .enumerate()
                .all(|(class, score)| class == **label || *score < row[**label])
        };
        rows.filter(is_largest).count() as f64 / self.labels.len().max(1) as f64
    }
}
