//! Features of a set of images: from a folder and a network, or from a file that `extract_features` wrote.

#![allow(dead_code)] // each program uses a part

pub mod drawn;
pub mod outcome;
pub mod table;

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use clap::Args;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rekindle::device::DeviceName;
use rekindle::imagefolder::{ImageDataset, ImageFolder, Loader, OnBadFile};
use rekindle::models::Pretrained;
use rekindle::trainer::eval_pipeline;
use rekindle::trainer::feed::Feed;
use rekindle::transfer::features::{Features, LinearHead};
use rekindle::transfer::{Backbone, FrozenPrefix};
use safetensors::SafeTensors;

pub type Failure = Box<dyn std::error::Error>;

/// Origin of features.
#[derive(Clone, Debug, Args)]
pub struct Network {
    /// Weights for folders of images: .pth, .safetensors or burnpack; files of features need none
    #[arg(long)]
    weights: Option<PathBuf>,
    /// cpu, wgpu, cuda, cuda:N or ndarray
    #[arg(long, default_value_t = DeviceName::Cpu)]
    device: DeviceName,
}

/// Pooled features of labelled images.
#[derive(Clone)]
pub struct Images {
    /// `[n, dim]`.
    pub features: Features,
    /// An index into `classes` for each.
    pub labels: Vec<usize>,
    pub classes: Vec<String>,
}

impl Images {
    /// These images.
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            features: self.features.select(rows),
            labels: rows.iter().map(|row| self.labels[*row]).collect(),
            classes: self.classes.clone(),
        }
    }

    /// So many images of each class, by `seed`, and all others; all of a class that has fewer.
    pub fn split(&self, images: usize, seed: u64) -> (Self, Self) {
        self.split_by(|_| images, seed)
    }

    /// Half of each class, by `seed`, and the other half.
    pub fn halves(&self, seed: u64) -> (Self, Self) {
        self.split_by(|count| count / 2, seed)
    }

    fn split_by(&self, images: impl Fn(usize) -> usize, seed: u64) -> (Self, Self) {
        let mut draws = StdRng::seed_from_u64(seed);
        let (mut taken, mut rest) = (Vec::new(), Vec::new());
        for class in 0..self.classes.len() {
            let mut rows: Vec<usize> = (0..self.labels.len())
                .filter(|row| self.labels[*row] == class)
                .collect();
            rows.shuffle(&mut draws);
            rest.extend(rows.split_off(images(rows.len()).min(rows.len())));
            taken.extend(rows);
        }
        (self.select(&taken), self.select(&rest))
    }
}

impl Network {
    /// As [`images`](Self::images), or drawn things and what the network that comes with the library makes of them.
    pub fn images_or_drawn(&self, path: Option<&Path>) -> Result<Images, Failure> {
        match path {
            Some(path) => self.images(path),
            None => {
                eprintln!("no --data: taking drawn things");
                drawn::things(40)
            }
        }
    }

    /// Features of a folder with one folder a class, or of a file of features.
    pub fn images(&self, path: &Path) -> Result<Images, Failure> {
        match path.is_file() {
            true => read(path),
            false => self.compute(path),
        }
    }

    /// The classifier that the weights come with, for pooled features.
    pub fn source_head(&self) -> Result<LinearHead, Failure> {
        let weights = self.weights.as_ref().ok_or("give --weights as well")?;
        source_head(weights)
    }

    fn compute(&self, path: &Path) -> Result<Images, Failure> {
        let weights = self
            .weights
            .as_ref()
            .ok_or_else(|| format!("{} is a folder: give --weights as well", path.display()))?;
        compute(weights, path, &self.device.open()?)
    }
}

/// Computes features of a folder's images by the network in `weights`.
pub fn compute(weights: &Path, path: &Path, device: &Device) -> Result<Images, Failure> {
    let pretrained = Pretrained::open(weights, device)?;
    let stages = pretrained.model.stage_names().len();
    let prefix = FrozenPrefix::new(&pretrained.model, stages)?;
    let folder = ImageFolder::open(path)?;
    let dataset = ImageDataset::new(&folder, eval_pipeline(&pretrained.preprocess))?;
    let loader = Loader::new(dataset)
        .batch_size(16)
        .on_bad_file(OnBadFile::Skip);
    let (mut values, mut labels) = (Vec::new(), Vec::new());
    for batch in Feed::Images(loader).epoch(0, device) {
        let batch = batch?;
        if batch.indices.is_empty() {
            continue;
        }
        let pooled = prefix.forward(batch.x)?.flatten::<2>(1, 3);
        values.extend(pooled.into_data().iter::<f32>());
        labels.extend(batch.targets.labels);
    }
    let dim = values.len() / labels.len().max(1);
    Ok(Images {
        features: Features::new(values, dim)?,
        labels,
        classes: folder.classes().to_vec(),
    })
}

/// The classifier in a file of weights, for pooled features.
pub fn source_head(weights: &Path) -> Result<LinearHead, Failure> {
    let model = Pretrained::open(weights, &Device::flex())?.model;
    let (_, head) = model.split_classifier();
    Ok(LinearHead::of(
        &head.ok_or("the weights have no classifier")?,
    ))
}

/// Reads a file that `extract_features` wrote.
pub fn read(path: &Path) -> Result<Images, Failure> {
    let broken = |what: &str| format!("{}: {what}; write it with extract_features", path.display());
    let bytes = std::fs::read(path)?;
    let (_, header) = SafeTensors::read_metadata(&bytes)?;
    let classes = header
        .metadata()
        .as_ref()
        .and_then(|metadata| metadata.get("classes"))
        .ok_or_else(|| broken("no list of classes"))?;
    let classes: Vec<String> = serde_json::from_str(classes)?;
    let file = SafeTensors::deserialize(&bytes)?;
    let features = file.tensor("features")?;
    let dim = *features
        .shape()
        .last()
        .ok_or_else(|| broken("no features"))?;
    let float = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    let values = features.data().chunks_exact(4).map(float).collect();
    let labels = file.tensor("labels")?;
    let label = |b: &[u8]| -> Result<usize, Failure> {
        let label = i64::from_le_bytes(b.try_into()?);
        let label = usize::try_from(label).map_err(|_| broken("an image without a class"))?;
        match label < classes.len() {
            true => Ok(label),
            false => Err(broken("a label without a class").into()),
        }
    };
    Ok(Images {
        labels: labels
            .data()
            .chunks_exact(8)
            .map(label)
            .collect::<Result<_, _>>()?,
        features: Features::new(values, dim)?,
        classes,
    })
}
