//! What is wrong with a folder of images: labels, copies, outliers, pictures that can't be used.

mod copies;
mod finding;
mod pictures;

use std::collections::HashSet;
use std::path::Path;
use std::time::Instant;

use burn::tensor::Device;
use rekindle_files::names::show;
use rekindle_imagefolder::{DecodeOptions, ImageFolder, Layout, Looks, looks};
use rekindle_models::Pretrained;
use rekindle_transfer::features::{
    Features, LabelErrors, Neighbor, nearest_neighbors, outlier_scores,
};

use crate::events::Event;
use crate::looking::{Looking, looking_options};
use crate::{TrainerError, text};

pub use finding::{Audited, AuditedPart, Finding, FindingKind, Twin};

/// Neighbours whose mean distance tells outliers; one more is asked for, which is the picture itself.
const NEIGHBORS: usize = 10;

/// Pictures that are measured before Ctrl-C is looked for.
const CHUNK: usize = 256;

/// The name of the pass that measures the pictures.
const MEASURED: &str = "size, light and sharpness";

/// Looks for what is wrong with a folder of images. Nothing in it is changed.
///
/// All parts are looked at together. Every picture is decoded and measured, and sent through a network once. Labels are
/// judged by [`LabelErrors`] on its features, copies and outliers by the cosine of these. Thresholds for light and shape are
/// fixed; sizes, sharpness and outliers are compared with the rest of the folder.
///
/// ```no_run
/// use rekindle_models::Pretrained;
/// use rekindle_trainer::burn::tensor::Device;
/// use rekindle_trainer::{Audit, FindingKind};
///
/// let device = Device::flex();
/// let pretrained = Pretrained::open("resnet18-f37072fd.pth", &device)?;
/// let found = Audit::new(&device).run("photos", &pretrained)?;
/// for finding in found.of(FindingKind::WrongLabel) {
///     println!("{}: {:?}", finding.path.display(), finding.suggested);
/// }
/// # Ok::<(), rekindle_trainer::TrainerError>(())
/// ```
pub struct Audit<'a> {
    labels: LabelErrors,
    looking: Looking<'a>,
}

looking_options!(Audit);

impl Audit<'_> {
    /// The defaults: features live in memory.
    pub fn new(device: &Device) -> Self {
        Self {
            labels: LabelErrors::default(),
            looking: Looking::new(device),
        }
    }

    /// Judges labels in another way.
    pub fn labels(self, labels: LabelErrors) -> Self {
        Self { labels, ..self }
    }

    /// Looks at all parts of `data`, wherever [`Layout::find`] finds them, with the features of a network.
    ///
    /// # Errors
    ///
    /// Those of scanning, [`TrainerError::UnusableData`] where not one image can be read, and
    /// [`TrainerError::Interrupted`].
    pub fn run(
        mut self,
        data: impl AsRef<Path>,
        pretrained: &Pretrained,
    ) -> Result<Audited, TrainerError> {
        let layout = Layout::find(data)?;
        let parts = layout.open_parts()?;
        let folders: Vec<ImageFolder> = parts.iter().map(|(_, folder)| folder.clone()).collect();
        let all = ImageFolder::join(layout.given(), &folders);
        let mut part_of = Vec::with_capacity(all.len());
        for (at, folder) in folders.iter().enumerate() {
            part_of.extend(std::iter::repeat_n(at, folder.len()));
        }
        let pictures = Pictures {
            parts: parts.iter().map(|(name, _)| name.clone()).collect(),
            part_of,
            all,
        };
        let mut audited = Audited {
            parts: parts
                .iter()
                .map(|(name, folder)| AuditedPart {
                    name: name.clone(),
                    folder: folder.root().to_path_buf(),
                    images: folder.len(),
                })
                .collect(),
            classes: pictures.all.classes().to_vec(),
            architecture: pretrained.architecture.clone(),
            weights_sha256: pretrained.sha256.clone(),
            ignored: pictures.all.ignored().to_vec(),
            ..Audited::default()
        };
        let decode = DecodeOptions::from(&pretrained.preprocess);
        let looks = self.measure(&pictures, &decode, &mut audited)?;
        let readable: Vec<(usize, &Looks)> = looks
            .iter()
            .enumerate()
            .filter_map(|(index, looks)| Some((index, looks.as_ref()?)))
            .collect();
        for (index, kind, score) in pictures::stand_out(&readable) {
            audited.findings.push(pictures.finding(index, kind, score));
        }
        let (features, indices) = self.features(&pictures, &looks, pretrained)?;
        let of_features: Vec<&Looks> = indices
            .iter()
            .filter_map(|index| looks[*index].as_ref())
            .collect();
        let nearest = nearest_neighbors(&features, &features, NEIGHBORS + 1)?;
        self.looking.interrupt.check()?;
        outliers(&nearest, &indices, &pictures, &mut audited);
        let pairs = copies::copies(&features, &nearest, &of_features)?;
        self.looking.interrupt.check()?;
        // Of several copies of a picture, the one it is most like.
        let mut told = HashSet::new();
        for pair in &pairs {
            let (first, second) = (indices[pair.first], indices[pair.second]);
            let finding = pictures.copy(first, second, f64::from(pair.similarity));
            if told.insert((second, finding.kind)) {
                audited.findings.push(finding);
            }
        }
        let families = copies::families(&pairs, indices.len());
        self.judge(&features, &indices, &families, &pictures, &mut audited)?;
        self.looking.interrupt.check()?;
        audited.findings.sort_by(|a, b| {
            (a.kind.cmp(&b.kind))
                .then(b.score.total_cmp(&a.score))
                .then(a.path.cmp(&b.path))
        });
        Ok(audited)
    }

    /// Measures every picture; those that can't be decoded have nothing, and are told.
    fn measure(
        &mut self,
        pictures: &Pictures,
        options: &DecodeOptions,
        audited: &mut Audited,
    ) -> Result<Vec<Option<Looks>>, TrainerError> {
        let begun = Instant::now();
        self.looking.emit(&Event::PhaseStarted {
            name: MEASURED.into(),
            items: Some(pictures.all.len()),
        });
        let mut measured = Vec::with_capacity(pictures.all.len());
        let all: Vec<usize> = (0..pictures.all.len()).collect();
        for chunk in all.chunks(CHUNK) {
            self.looking.interrupt.check()?;
            let found = looks(&pictures.all.subset(chunk), options);
            for (index, found) in chunk.iter().zip(found) {
                measured.push(match found {
                    Ok(looks) => Some(looks),
                    Err(reason) => {
                        let finding = pictures.finding(*index, FindingKind::Unreadable, 1.0);
                        audited.findings.push(Finding {
                            detail: reason,
                            ..finding
                        });
                        None
                    }
                });
            }
            let done = measured.len();
            self.looking.emit(&Event::PhaseAdvanced { done });
        }
        self.looking.emit(&Event::PhaseEnded {
            name: MEASURED.into(),
            seconds: begun.elapsed().as_secs_f64(),
        });
        if measured.iter().all(Option::is_none) {
            return Err(TrainerError::UnusableData {
                what: show(pictures.all.root()),
                found: format!(
                    "none of its {} can be read",
                    text::counted(pictures.all.len(), "image", "images")
                ),
                advice: "run `rekindle verify` on the folder: it lists every bad file and its reason",
            });
        }
        Ok(measured)
    }

    /// Pooled features of the pictures that can be read, with their positions.
    fn features(
        &mut self,
        pictures: &Pictures,
        looks: &[Option<Looks>],
        pretrained: &Pretrained,
    ) -> Result<(Features, Vec<usize>), TrainerError> {
        let name = format!("features by {}", pretrained.architecture);
        let is_measured = |index: usize| looks[index].is_some();
        // Bad files have been told.
        let mut is_new = |event: &Event| !matches!(event, Event::SkippedFile { .. });
        let all = &pictures.all;
        self.looking
            .features(pretrained, all, &name, &is_measured, &mut is_new)
    }

    /// Finds wrong labels.
    fn judge(
        &self,
        features: &Features,
        indices: &[usize],
        families: &[Vec<usize>],
        pictures: &Pictures,
        audited: &mut Audited,
    ) -> Result<(), TrainerError> {
        let all = &pictures.all;
        let classes = all.classes().len();
        let labels: Option<Vec<usize>> = indices
            .iter()
            .map(|index| all.samples()[*index].label)
            .collect();
        let labels = match labels {
            Some(labels) if classes >= 2 && labels.len() >= 2 => labels,
            _ => {
                let why = match classes {
                    0 => "the folder has no classes",
                    1 => "there is a single class",
                    _ => "too few images can be read",
                };
                audited.notes.push(format!("labels weren't judged: {why}"));
                return Ok(());
            }
        };
        let found = self.labels.find(features, &labels, classes, families)?;
        audited.log_loss = Some(found.answers.log_loss);
        for issue in found.issues {
            let index = indices[issue.index];
            let finding = pictures.finding(index, FindingKind::WrongLabel, 1.0 - issue.quality);
            audited.findings.push(Finding {
                suggested: Some(all.classes()[issue.suggested].clone()),
                ..finding
            });
        }
        let mut counts = vec![0; classes];
        labels.iter().for_each(|label| counts[*label] += 1);
        let is_small =
            |(_, count): &(&String, usize)| (1..self.labels.least_images).contains(count);
        let small: Vec<&String> = all
            .classes()
            .iter()
            .zip(counts)
            .filter(is_small)
            .map(|(name, _)| name)
            .collect();
        if !small.is_empty() {
            audited.notes.push(format!(
                "labels of classes with fewer than {} images weren't judged: {}",
                self.labels.least_images,
                text::listed(&small, 10)
            ));
        }
        Ok(())
    }
}

/// The images of all parts.
struct Pictures {
    all: ImageFolder,
    /// Names of the parts.
    parts: Vec<String>,
    /// The part of each image.
    part_of: Vec<usize>,
}

impl Pictures {
    fn class(&self, index: usize) -> Option<String> {
        let label = self.all.samples()[index].label?;
        Some(self.all.classes()[label].clone())
    }

    fn finding(&self, index: usize, kind: FindingKind, score: f64) -> Finding {
        Finding {
            path: self.all.samples()[index].path.clone(),
            part: self.parts[self.part_of[index]].clone(),
            given: self.class(index),
            suggested: None,
            score,
            kind,
            twin: None,
            detail: String::new(),
        }
    }

    /// A pair of copies, told of the second: the first may stay.
    fn copy(&self, first: usize, second: usize, similarity: f64) -> Finding {
        let kind = if self.part_of[first] != self.part_of[second] {
            FindingKind::Leak
        } else if self.class(first) != self.class(second) {
            FindingKind::Contradiction
        } else {
            FindingKind::Duplicate
        };
        let first = self.finding(first, kind, similarity);
        Finding {
            twin: Some(Twin {
                path: first.path,
                part: first.part,
                class: first.given,
            }),
            ..self.finding(second, kind, similarity)
        }
    }
}

/// Tells the pictures whose nearest neighbours are far away.
fn outliers(
    nearest: &[Vec<Neighbor>],
    indices: &[usize],
    pictures: &Pictures,
    audited: &mut Audited,
) {
    let distances = outlier_scores(nearest, NEIGHBORS);
    for at in pictures::far_above(&distances) {
        let finding = pictures.finding(indices[at], FindingKind::Outlier, distances[at].min(1.0));
        audited.findings.push(finding);
    }
}
