//! A domain: features and labels of the images of a folder, or of a file that `extract_features` wrote.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use rekindle::imagefolder::{ImageDataset, ImageFolder, Loader, OnBadFile};
use rekindle::resnet::Pretrained;
use rekindle::trainer::eval_pipeline;
use rekindle::trainer::feed::Feed;
use rekindle::transfer::features::Features;
use rekindle::transfer::{Backbone, FrozenPrefix};
use safetensors::SafeTensors;

use crate::Failure;

/// Pictures of one kind, as features.
pub struct Domain {
    /// The folder's or the file's name.
    pub name: String,
    pub features: Features,
    pub labels: Vec<usize>,
    pub classes: Vec<String>,
}

impl Domain {
    /// All of them; the weights are opened once, and only where there are folders.
    pub fn open_all(
        paths: &[PathBuf],
        weights: Option<&Path>,
        device: &Device,
    ) -> Result<Vec<Self>, Failure> {
        let mut network = None;
        let mut domains: Vec<Domain> = Vec::new();
        for path in paths {
            let domain = if path.is_dir() {
                if network.is_none() {
                    let weights = weights.ok_or("folders of images need --weights")?;
                    network = Some(Pretrained::open(weights, device)?);
                }
                match &network {
                    Some(network) => Self::from_images(path, network, device)?,
                    None => continue,
                }
            } else {
                Self::from_file(path)?
            };
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

    fn from_images(path: &Path, network: &Pretrained, device: &Device) -> Result<Self, Failure> {
        let folder = ImageFolder::open(path)?;
        let model = &network.model;
        let prefix = FrozenPrefix::new(model, model.stage_names().len());
        let dataset = ImageDataset::new(&folder, eval_pipeline(&network.preprocess))?;
        let loader = Loader::new(dataset)
            .batch_size(16)
            .on_bad_file(OnBadFile::Skip);
        let (mut values, mut labels) = (Vec::new(), Vec::new());
        for batch in Feed::Images(loader).epoch(0, device) {
            let batch = batch?;
            if !batch.indices.is_empty() {
                values.extend(prefix.forward(batch.x)?.into_data().iter::<f32>());
                labels.extend(batch.targets.labels);
            }
        }
        Ok(Self {
            name: name(path),
            features: Features::new(values, model.num_features())?,
            labels,
            classes: folder.classes().to_vec(),
        })
    }

    fn from_file(path: &Path) -> Result<Self, Failure> {
        let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let (_, metadata) = SafeTensors::read_metadata(&bytes)?;
        let classes = metadata
            .metadata()
            .as_ref()
            .and_then(|entries| entries.get("classes"))
            .ok_or("the file doesn't say its classes; write it with extract_features")?;
        let tensors = SafeTensors::deserialize(&bytes)?;
        let features = tensors.tensor("features")?;
        let dim = *features.shape().get(1).ok_or("features are no table")?;
        let number = |bytes: &[u8]| bytes.try_into().map(f32::from_le_bytes);
        let values = features.data().chunks_exact(4).map(number);
        let values = values.collect::<Result<Vec<f32>, _>>()?;
        let label = |bytes: &[u8]| bytes.try_into().map(i64::from_le_bytes);
        let labels = tensors.tensor("labels")?;
        let labels = labels.data().chunks_exact(8).map(label);
        let labels = labels.collect::<Result<Vec<i64>, _>>()?;
        Ok(Self {
            name: name(path),
            features: Features::new(values, dim)?,
            labels: labels
                .into_iter()
                .map(usize::try_from)
                .collect::<Result<_, _>>()?,
            classes: serde_json::from_str(classes)?,
        })
    }
}

fn name(path: &Path) -> String {
    let name = path.file_stem().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}
