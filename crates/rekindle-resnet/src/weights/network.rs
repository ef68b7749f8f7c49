//! Finds the ResNet in a file, whatever else a training program saved beside it.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use super::head::{self, Head};
use super::layout::Layout;
use super::{Checkpoint, NamedTensor};
use crate::{Architecture, Error, Mismatch, Misshapen, ResNetConfig};

/// Chooses a network where a file holds several. By default, the one that fits is taken.
///
/// ```
/// use rekindle_resnet::weights::LoadOptions;
///
/// let student = LoadOptions::default().key("student");
/// let query = LoadOptions::default().key("state_dict").prefix("module.encoder_q");
/// # let _ = (student, query);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// The entry of the file that is looked into: a key of its dictionary, or several joined by dots.
    pub key: Option<String>,
    /// What stands in front of the network's names, or the last parts of it.
    pub prefix: Option<String>,
}

impl LoadOptions {
    /// Looks into the entry `key` alone, such as `state_dict_ema`.
    pub fn key(self, key: impl Into<String>) -> Self {
        Self {
            key: Some(key.into()),
            ..self
        }
    }

    /// Takes the network whose names begin with `prefix`, such as `module.encoder_k`.
    pub fn prefix(self, prefix: impl Into<String>) -> Self {
        Self {
            prefix: Some(prefix.into()),
            ..self
        }
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    fn admits(&self, prefix: &str) -> bool {
        let key = self.key.as_deref().map(with_dot).unwrap_or_default();
        let Some(inner) = prefix.strip_prefix(&key) else {
            return false;
        };
        let Some(wanted) = self.prefix.as_deref().map(with_dot) else {
            return true;
        };
        match wanted.is_empty() {
            true => inner.is_empty(),
            false => {
                inner.starts_with(&wanted) || format!(".{inner}").ends_with(&format!(".{wanted}"))
            }
        }
    }

    /// The options as the program `rekindle` takes them.
    fn flags(&self) -> String {
        let flag = |name: &str, value: &Option<String>| {
            value
                .as_ref()
                .map(|value| format!("--weights-{name} {value}"))
        };
        let flags = [flag("key", &self.key), flag("prefix", &self.prefix)];
        flags.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

fn with_dot(part: &str) -> String {
    match part.trim_end_matches('.') {
        "" => String::new(),
        part => format!("{part}."),
    }
}

/// A ResNet found in a file.
#[derive(Debug, Clone)]
pub struct Network {
    /// The network's tensors under torchvision's names; its head, where one can be used, as `fc`.
    pub checkpoint: Checkpoint,
    /// What the network is built of, read off the tensors' shapes.
    pub config: ResNetConfig,
    /// Where it was, and what was left out.
    pub source: NetworkSource,
}

/// Where in its file a network was found, and what of the file was left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NetworkSource {
    /// What stands in front of the network's names, dot included: `state_dict.module.`; often nothing.
    pub prefix: String,
    /// Number of tensors that were taken.
    pub tensors: usize,
    /// Why this one was taken where several fit, and how to get another; empty where one fits.
    pub choice: String,
    /// The file's own name of the layer that became the head, where it has another than `fc`.
    pub head: Option<String>,
    /// Why the network has no head, where it has none.
    pub headless: Option<String>,
    /// Where the network has no head, whether the file has one that can't be used.
    pub has_unusable_head: bool,
    /// Tensors of the file that are not the network's, in groups.
    pub left_out: Vec<LeftOut>,
    /// Unknown Python classes whose objects were passed over.
    pub foreign: Vec<String>,
}

/// Tensors that were left out of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The name of the tensor, or what the names of several begin with.
    pub name: String,
    /// How many there are.
    pub tensors: usize,
}

/// A network that a file holds, beside others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// What stands in front of its names, dot included.
    pub prefix: String,
    /// Number of its tensors, without the head's.
    pub tensors: usize,
    /// torchvision's name, or a description of a network that is none of its ten.
    pub architecture: String,
}

impl NetworkSource {
    /// One line about what was taken and what was left out; `None` where the file is the network and nothing else.
    pub fn note(&self) -> Option<String> {
        let mut parts = Vec::new();
        if !self.prefix.is_empty() {
            let prefix = printable(self.prefix.trim_end_matches('.'));
            parts.push(format!(
                "the network is under `{prefix}` ({} tensors)",
                self.tensors
            ));
        }
        if !self.choice.is_empty() {
            parts.push(self.choice.clone());
        }
        if let Some(head) = &self.head {
            parts.push(format!("`{}` is its head", printable(head)));
        }
        if !self.left_out.is_empty() {
            let shown = self
                .left_out
                .iter()
                .take(SHOWN)
                .map(|group| match group.tensors {
                    1 => printable(&group.name),
                    count => format!("{} ({count} tensors)", printable(&group.name)),
                });
            let more = match self.left_out.len().saturating_sub(SHOWN) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let shown: Vec<String> = shown.collect();
            parts.push(format!("left out: {}{more}", shown.join(", ")));
        }
        if !self.foreign.is_empty() {
            let shown: Vec<String> = self
                .foreign
                .iter()
                .take(3)
                .map(|name| printable(name))
                .collect();
            parts.push(format!("passed over: objects of {}", shown.join(", ")));
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

/// A message of hundreds of names helps nobody.
const SHOWN: usize = 6;

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = match self.prefix.trim_end_matches('.') {
            "" => "no prefix".to_string(),
            prefix => format!("`{}`", printable(prefix)),
        };
        write!(
            f,
            "{prefix} ({}, {} tensors)",
            self.architecture, self.tensors
        )
    }
}

/// A foreign name that can't steer a terminal.
fn printable(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

impl Checkpoint {
    /// Finds the ResNet among the tensors: the set of names under one common prefix whose names and shapes are
    /// those of a ResNet in torchvision's layout, in that of `transformers`, or as `nn.Sequential` of its parts.
    ///
    /// Whatever lies beside it is left out and listed in [`NetworkSource`]. Where several networks fit and a public
    /// convention says which is meant, that one is taken: the query encoder of MoCo, the teacher of DINO, and the moving
    /// average that timm and torchvision keep as `state_dict_ema` and `model_ema`.
    ///
    /// # Errors
    ///
    /// [`Error::AmbiguousNetwork`] where several fit; [`Error::NoSuchNetwork`] where `options` name none of them;
    /// [`Error::Mismatch`] for what is nearly a ResNet, and [`Error::NoResNet`] for what is none; and
    /// [`Error::ForeignCode`] where the network is part of an object of an unknown Python class.
    pub fn network(&self, options: &LoadOptions) -> Result<Network, Error> {
        let all = Found::all(self);
        let (mut fits, nearly): (Vec<Found>, Vec<Found>) =
            all.into_iter().partition(|found| found.fits);
        let foreign = fits.iter().find_map(|found| found.inside(self));
        fits.retain(|found| found.inside(self).is_none());
        drop_twins(self, &mut fits);
        let known: Vec<Candidate> = fits.iter().map(Found::candidate).collect();
        fits.retain(|found| options.admits(&found.prefix));
        let choice = match fits.len() {
            1 => String::new(),
            0 => return Err(self.nothing_fits(options, known, nearly, foreign)),
            _ => choose(&mut fits),
        };
        match &fits[..] {
            [found] => Ok(self.take(found, choice)),
            _ => Err(Error::AmbiguousNetwork {
                path: self.path.clone(),
                candidates: fits.iter().map(Found::candidate).collect(),
                advice: advice(&fits),
            }),
        }
    }

    fn nothing_fits(
        &self,
        options: &LoadOptions,
        known: Vec<Candidate>,
        nearly: Vec<Found>,
        foreign: Option<String>,
    ) -> Error {
        if !options.is_default() && !known.is_empty() {
            return Error::NoSuchNetwork {
                path: self.path.clone(),
                asked: options.flags(),
                candidates: known,
            };
        }
        if let Some(global) = foreign {
            return Error::ForeignCode {
                path: self.path.clone(),
                global,
            };
        }
        let admitted = nearly
            .into_iter()
            .filter(|found| options.admits(&found.prefix));
        match admitted.max_by_key(|found| found.matched) {
            Some(found) => Error::Mismatch(Box::new(found.compare(self))),
            None => Error::NoResNet {
                path: self.path.clone(),
                tensors: self.tensors.len(),
                first: self
                    .tensors
                    .keys()
                    .take(4)
                    .map(|name| printable(name))
                    .collect(),
                foreign: self.foreign.first().map(|name| printable(name)),
            },
        }
    }

    fn take(&self, found: &Found, choice: String) -> Network {
        let mut config = found.config.clone();
        let mut tensors = BTreeMap::new();
        let mut taken: HashSet<&str> = HashSet::new();
        for (name, _) in &found.expected {
            if let Some((full, tensor)) = self.tensors.get_key_value(&found.full_name(name)) {
                tensors.insert(name.clone(), tensor.clone());
                taken.insert(full);
            }
            // A counter, which files older than PyTorch 0.4.1 lack.
            if let Some(layer) = name.strip_suffix("running_var") {
                let counter = format!("{layer}num_batches_tracked");
                if let Some((full, tensor)) = self.tensors.get_key_value(&found.full_name(&counter))
                {
                    tensors.insert(counter, tensor.clone());
                    taken.insert(full);
                }
            }
        }
        let head = match found.projection {
            Some(reason) => Err(Some(reason.to_string())),
            None => head::find(self, &found.prefix, found.layout, config.num_features()),
        };
        let mut has_unusable_head = false;
        let (head, headless) = match head {
            Ok(Head {
                layer,
                weight,
                bias,
            }) => {
                config.num_classes = weight.shape()[0];
                let names = [Some(weight), bias]
                    .into_iter()
                    .flatten()
                    .map(NamedTensor::name_in_file);
                let in_file = |name| {
                    self.tensors
                        .get_key_value(name)
                        .map(|(name, _)| name.as_str())
                };
                taken.extend(names.filter_map(in_file));
                let bias = bias.cloned().unwrap_or_else(|| {
                    NamedTensor::zeros("fc.bias".to_string(), vec![config.num_classes], weight)
                });
                tensors.insert("fc.weight".to_string(), weight.clone());
                tensors.insert("fc.bias".to_string(), bias);
                (
                    (layer != format!("{}fc", found.prefix)).then_some(layer),
                    None,
                )
            }
            Err(reason) => {
                has_unusable_head = reason.is_some();
                let absent = || "it has no classifier (`fc.weight`)".to_string();
                (None, Some(reason.unwrap_or_else(absent)))
            }
        };
        let source = NetworkSource {
            prefix: found.prefix.clone(),
            tensors: tensors.len(),
            choice,
            head,
            headless,
            has_unusable_head,
            left_out: self.left_out(&found.prefix, &taken),
            foreign: self.foreign.clone(),
        };
        let checkpoint = Self {
            tensors,
            ..self.without_tensors()
        };
        Network {
            checkpoint,
            config,
            source,
        }
    }

    fn without_tensors(&self) -> Self {
        Self {
            tensors: BTreeMap::new(),
            metadata: self.metadata.clone(),
            format: self.format,
            path: self.path.clone(),
            foreign: self.foreign.clone(),
        }
    }

    /// Tensors that were not taken, grouped by the first part of their names that leads away from `prefix`.
    fn left_out(&self, prefix: &str, taken: &HashSet<&str>) -> Vec<LeftOut> {
        let mut groups: BTreeMap<&str, (&str, usize)> = BTreeMap::new();
        for name in self.tensors.keys() {
            if taken.contains(name.as_str()) {
                continue;
            }
            let shared = name
                .split_inclusive('.')
                .zip(prefix.split_inclusive('.'))
                .take_while(|(a, b)| a == b)
                .map(|(part, _)| part.len())
                .sum::<usize>();
            let end = name[shared..]
                .find('.')
                .map_or(name.len(), |dot| shared + dot);
            groups.entry(&name[..end]).or_insert((name, 0)).1 += 1;
        }
        let group = |(group, (only, tensors)): (&str, (&str, usize))| LeftOut {
            name: if tensors == 1 { only } else { group }.to_string(),
            tensors,
        };
        groups.into_iter().map(group).collect()
    }
}

/// A set of names under one prefix that has a ResNet's stem and first block.
struct Found {
    prefix: String,
    layout: Layout,
    config: ResNetConfig,
    /// torchvision's names and the shapes that they must have.
    expected: Vec<(String, Vec<usize>)>,
    /// How many of them are there as they should be.
    matched: usize,
    /// All of them, and nothing unknown among them.
    fits: bool,
    /// Why the layer in the head's place is none, where the way it was trained says so.
    projection: Option<&'static str>,
}

impl Found {
    /// Looks at every name once: those that end as a stem's do say which prefixes there are.
    fn all(checkpoint: &Checkpoint) -> Vec<Self> {
        let mut found = Vec::new();
        for name in checkpoint.tensors.keys() {
            for layout in Layout::ALL {
                let prefix = name.strip_suffix(&layout.name_in_file("conv1.weight"));
                let Some(prefix) =
                    prefix.filter(|prefix| prefix.is_empty() || prefix.ends_with('.'))
                else {
                    continue;
                };
                let shape = |name: &str| {
                    checkpoint.shape(&format!("{prefix}{}", layout.name_in_file(name)))
                };
                let is_stem = shape("conv1.weight").is_some_and(|shape| shape.len() == 4);
                if is_stem
                    && shape("layer1.0.conv1.weight").is_some()
                    && shape("bn1.weight").is_some()
                {
                    let config = ResNetConfig::infer_from(shape);
                    found.push(Self::new(checkpoint, prefix, layout, config));
                }
            }
        }
        found
    }

    fn new(checkpoint: &Checkpoint, prefix: &str, layout: Layout, config: ResNetConfig) -> Self {
        let mut found = Self {
            prefix: prefix.to_string(),
            layout,
            expected: config.trunk_shapes(),
            config,
            matched: 0,
            fits: false,
            projection: None,
        };
        let mismatch = found.compare(checkpoint);
        let wrong = [
            mismatch.missing.len(),
            mismatch.misshapen.len(),
            mismatch.wrong_type.len(),
        ];
        found.matched = found.expected.len() - wrong.iter().sum::<usize>();
        found.fits = mismatch.is_empty();
        found
    }

    /// All in which the names under the prefix differ from a ResNet's.
    fn compare(&self, checkpoint: &Checkpoint) -> Mismatch {
        let mut mismatch = Mismatch::of(&checkpoint.path);
        let mut known = HashSet::new();
        for (name, shape) in &self.expected {
            let full = self.full_name(name);
            match checkpoint.tensors.get(&full) {
                None => mismatch.missing.push(full.clone()),
                Some(tensor) if tensor.shape() != shape => mismatch.misshapen.push(Misshapen {
                    name: full.clone(),
                    expected: shape.clone(),
                    found: tensor.shape().to_vec(),
                }),
                Some(tensor) if !tensor.element_type().is_float() => {
                    let element_type = tensor.element_type().name();
                    mismatch.wrong_type.push((full.clone(), element_type));
                }
                Some(_) => {}
            }
            known.insert(full);
        }
        let is_extra =
            |name: &String| !known.contains(name) && !name.ends_with(".num_batches_tracked");
        // Tensors and their counters are fewer; what stands among more is another network, however many there are.
        let limit = 2 * known.len();
        for part in self.layout.trunk() {
            let from = format!("{}{part}", self.prefix);
            let names = checkpoint
                .tensors
                .range(from.clone()..)
                .map(|(name, _)| name)
                .take_while(|name| name.starts_with(&from));
            for (count, name) in names.take(limit + 1).enumerate() {
                if count == limit || is_extra(name) {
                    mismatch.extra.push(name.clone());
                }
            }
        }
        if !mismatch.is_empty() && !self.prefix.is_empty() {
            let prefix = printable(self.prefix.trim_end_matches('.'));
            mismatch.advice = format!(
                "These are the names under `{prefix}`, the nearest to a ResNet in the file."
            );
        }
        mismatch
    }

    fn full_name(&self, name: &str) -> String {
        format!("{}{}", self.prefix, self.layout.name_in_file(name))
    }

    /// The Python class around it that nobody here knows.
    fn inside(&self, checkpoint: &Checkpoint) -> Option<String> {
        let stem = checkpoint.tensors.get(&self.full_name("conv1.weight"))?;
        stem.inside.as_deref().map(str::to_string)
    }

    fn candidate(&self) -> Candidate {
        let same = |architecture: &Architecture| architecture.config().is_same_trunk(&self.config);
        let named = Architecture::ALL.into_iter().find(same);
        Candidate {
            prefix: self.prefix.clone(),
            tensors: self.expected.len(),
            architecture: named
                .map_or_else(|| self.config.describe(), |found| found.name().to_string()),
        }
    }

    fn parts(&self) -> Vec<&str> {
        self.prefix.split_terminator('.').collect()
    }
}

/// Leaves one of several names for the same numbers: parts that a module has under two attributes.
fn drop_twins(checkpoint: &Checkpoint, fits: &mut Vec<Found>) {
    fits.sort_by_key(|found| (found.prefix.len(), found.prefix.clone()));
    let mut seen = HashSet::new();
    fits.retain(|found| {
        let places: Option<Vec<_>> = found
            .expected
            .iter()
            .map(|(name, _)| {
                checkpoint
                    .tensors
                    .get(&found.full_name(name))?
                    .identity
                    .clone()
            })
            .collect();
        places.is_none_or(|places| seen.insert(places))
    });
}

/// Keys under which training programs keep other things than the model.
const BESIDE: [&str; 8] = [
    "args",
    "callbacks",
    "cfg",
    "config",
    "hparams",
    "hyper_parameters",
    "optimizer",
    "optimizer_states",
];

/// A public convention about two networks in one file.
struct Convention {
    take: &'static str,
    over: &'static str,
    /// The two are keys of the file, and not parts of names.
    is_key: bool,
    why: &'static str,
    projection: Option<&'static str>,
}

const PROJECTION: Option<&str> =
    Some("the layer behind its trunk is the projection of contrastive learning, not a classifier");

const CONVENTIONS: [Convention; 5] = [
    Convention {
        take: "encoder_q",
        over: "encoder_k",
        is_key: false,
        why: "MoCo's query encoder",
        projection: PROJECTION,
    },
    Convention {
        take: "base_encoder",
        over: "momentum_encoder",
        is_key: false,
        why: "MoCo's base encoder",
        projection: PROJECTION,
    },
    Convention {
        take: "teacher",
        over: "student",
        is_key: true,
        why: "DINO's teacher",
        projection: None,
    },
    Convention {
        take: "state_dict_ema",
        over: "state_dict",
        is_key: true,
        why: "the moving average, as timm takes it",
        projection: None,
    },
    Convention {
        take: "model_ema",
        over: "model",
        is_key: true,
        why: "the moving average, as torchvision evaluates it",
        projection: None,
    },
];

/// Leaves the one network that is meant, where that is known, and says why; otherwise all.
fn choose(fits: &mut Vec<Found>) -> String {
    let is_beside = |found: &Found| {
        found
            .parts()
            .first()
            .is_some_and(|key| BESIDE.contains(key))
    };
    if fits.iter().any(|found| !is_beside(found)) {
        fits.retain(|found| !is_beside(found));
    }
    let [a, b] = &fits[..] else {
        return String::new();
    };
    if !a.config.is_same_trunk(&b.config) {
        return String::new();
    }
    let meant = CONVENTIONS.iter().find_map(|convention| {
        let first = convention.holds(a, b).then_some((convention, 0));
        first.or_else(|| convention.holds(b, a).then_some((convention, 1)))
    });
    let Some((convention, index)) = meant else {
        return String::new();
    };
    let mut taken = fits.swap_remove(index);
    taken.projection = convention.projection;
    *fits = vec![taken];
    let flag = if convention.is_key { "key" } else { "prefix" };
    format!(
        "{}; for the other: --weights-{flag} {}",
        convention.why, convention.over
    )
}

impl Convention {
    fn holds(&self, take: &Found, other: &Found) -> bool {
        let (take, other) = (take.parts(), other.parts());
        if self.is_key {
            return take.first() == Some(&self.take) && other.first() == Some(&self.over);
        }
        take.len() == other.len()
            && take.contains(&self.take)
            && take
                .iter()
                .zip(&other)
                .all(|(a, b)| a == b || (*a == self.take && *b == self.over))
    }
}

/// How to choose among networks: by the key, where the keys differ, or by the prefix.
fn advice(fits: &[Found]) -> String {
    let keys: HashSet<Option<&str>> = fits
        .iter()
        .map(|found| found.parts().first().copied())
        .collect();
    let example = fits.iter().rev().find(|found| !found.prefix.is_empty());
    let Some(example) = example else {
        return "choose one with --weights-prefix".to_string();
    };
    let (flag, value) = match example.parts().first() {
        Some(key) if keys.len() == fits.len() => ("--weights-key", (*key).to_string()),
        _ => (
            "--weights-prefix",
            example.prefix.trim_end_matches('.').to_string(),
        ),
    };
    format!("choose one, such as with {flag} {}", printable(&value))
}
