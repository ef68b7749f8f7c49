//! How a file's network sees pictures, and what is assumed of that.

use std::path::Path;

use rekindle_nn::Graph;
use rekindle_preprocess::{Channels, Preprocess};
use rekindle_weights::{Checkpoint, Format, RemoteFile, Repository};

use crate::clip::{self, is_image_tower};
use crate::recognise::{BYTES, IMAGE_SIZE, TAKES, UNITS};
use crate::registry::{Model, Source, Weights, models};

/// The preprocessing of a file's network.
pub(super) struct Seen {
    pub preprocess: Preprocess,
    /// What the file doesn't say: one sentence each.
    pub assumptions: Vec<String>,
}

impl Seen {
    /// Takes what the file states, or finds out what fits its network.
    pub fn by(
        stated: Option<Preprocess>,
        checkpoint: &Checkpoint,
        architecture: &str,
        graph: &Graph,
    ) -> Self {
        let mut seen = match stated {
            Some(preprocess) => Self {
                preprocess,
                assumptions: Vec::new(),
            },
            None => Self::assumed(checkpoint, architecture, graph),
        };
        let channels = graph.in_channels();
        if seen.preprocess.num_channels() != channels {
            seen.assumptions.push(of_other_channels(channels));
            seen.preprocess.channels = Some(Channels {
                count: channels,
                white: None,
            });
        }
        seen
    }

    fn assumed(checkpoint: &Checkpoint, architecture: &str, graph: &Graph) -> Self {
        let (preprocess, doubt) = preprocessing(&checkpoint.path, architecture, graph);
        let is_onnx = checkpoint.format == Format::Onnx;
        let side = checkpoint.metadata.get(IMAGE_SIZE).filter(|_| is_onnx);
        let preprocess = match side.and_then(|side| side.parse().ok()) {
            Some(side) if side != preprocess.crop => preprocess.at_size(side),
            _ => preprocess,
        };
        let pixels = checkpoint.metadata.get(TAKES).filter(|_| is_onnx);
        match pixels.and_then(|pixels| RANGES.iter().find(|range| range.0 == pixels)) {
            Some((_, said, deviation)) => Self {
                preprocess: Preprocess {
                    mean: [0.0; 3],
                    std: [*deviation; 3],
                    ..preprocess
                },
                assumptions: vec![(*said).into()],
            },
            None => Self {
                preprocess,
                assumptions: doubt.into_iter().collect(),
            },
        }
    }
}

/// Returns what turns each channel of images in the one form into the other, as factor and summand; none where they agree.
pub(super) fn rescaling(from: &Preprocess, to: &Preprocess) -> Option<Vec<[f32; 2]>> {
    if (from.mean, from.std) == (to.mean, to.std) {
        return None;
    }
    let of_each = |rgb: [f32; 3]| (from.channels).map_or(Vec::from(rgb), |own| own.values(rgb));
    let [from_mean, from_std] = [from.mean, from.std].map(of_each);
    let [to_mean, to_std] = [to.mean, to.std].map(of_each);
    let channel = |at: usize| {
        let factor = from_std[at] / to_std[at];
        [factor, (from_mean[at] - to_mean[at]) / to_std[at]]
    };
    Some((0..from_mean.len()).map(channel).collect())
}

/// Said of a network that takes other channels than red, green and blue.
pub(super) fn of_other_channels(channels: usize) -> String {
    let plural = if channels == 1 { "" } else { "s" };
    format!(
        "it takes {channels} channel{plural}, so pictures are read with as many, at the depth of their files"
    )
}

/// Ranges of pixels that networks take which scale them themselves: their names, what is said, and what pixels from 0 to 1 are
/// divided by.
const RANGES: [(&str, &str, f32); 2] = [
    (
        BYTES,
        "it scales pixels itself, so that it is given numbers from 0 to 255",
        1.0 / 255.0,
    ),
    (
        UNITS,
        "it normalises pixels itself, so that it is given numbers from 0 to 1",
        1.0,
    ),
];

/// Finds the preprocessing of the published weights that have the file's name or are of its repository; or else that of
/// the first of the model, and says so.
fn preprocessing(path: &Path, architecture: &str, graph: &Graph) -> (Preprocess, Option<String>) {
    let name = path.file_name().map(|name| name.to_string_lossy());
    let of = Repository::of_cached(path).map(|of| format!("{}/{}", of.owner(), of.name()));
    let is_it = |weights: &&Weights| match (weights.source, &of) {
        (Source::HuggingFace { repository }, Some(of)) => repository == of,
        _ => {
            let file = RemoteFile::from(*weights).name;
            name.as_ref().is_some_and(|name| *name == file)
        }
    };
    let mut all = models().iter().flat_map(|model| model.weights);
    if let Some(weights) = all.find(is_it) {
        return (weights.preprocess.clone(), None);
    }
    let model = Model::named(architecture).ok();
    let first = model.and_then(|model| model.weights.first());
    let (preprocess, whose) = match first {
        Some(weights) => {
            let whose = format!("that of {architecture}.{}", weights.name);
            (weights.preprocess.clone(), whose)
        }
        None if is_image_tower(graph) => (clip::PREPROCESS, "CLIP's".to_string()),
        None => (Preprocess::default(), "ImageNet's".to_string()),
    };
    let preprocess = match graph.native_size() {
        Some([side, _]) if is_image_tower(graph) => Preprocess {
            resize: side,
            crop: side,
            ..preprocess
        },
        _ => preprocess,
    };
    let doubt = format!("its preprocessing is taken to be {whose}, since the file names none");
    (preprocess, Some(doubt))
}
