//! torchvision's ImageNet weights: where they are, how good they are, what pictures they want.
//!
//! Facts from torchvision's `models/resnet.py` (BSD-3-Clause). The weights have terms of their own:
//! they were trained on ImageNet, whose pictures are for non-commercial research.

use std::fmt;

use rekindle_weights::RemoteFile;

use crate::{Architecture, Error, Preprocess};

/// One set of published weights.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Entry {
    /// torchvision's name of the architecture, such as `resnet50`.
    pub architecture: &'static str,
    /// `IMAGENET1K_V1`, or `IMAGENET1K_V2` for the newer training recipe.
    pub name: &'static str,
    /// The file's name, which holds the first eight digits of its SHA-256.
    pub file: &'static str,
    /// The first eight hexadecimal digits of the file's SHA-256.
    pub sha256_prefix: &'static str,
    /// Number of classes: 1000.
    pub classes: usize,
    /// Share of ImageNet's validation pictures whose class comes first, in percent.
    pub top1: f64,
    /// Share of them whose class is among the first five, in percent.
    pub top5: f64,
    /// What pictures went through when `top1` was measured.
    pub preprocess: Preprocess,
    /// Size of the file in MiB.
    pub size_mib: f64,
}

impl Entry {
    /// The address of the file.
    pub fn url(&self) -> String {
        format!("https://download.pytorch.org/models/{}", self.file)
    }
}

/// What a download needs to know: `Hub::weights` takes an entry.
impl From<&Entry> for RemoteFile {
    fn from(entry: &Entry) -> Self {
        RemoteFile::new(entry.url())
            .with_sha256(entry.sha256_prefix)
            .with_size((entry.size_mib * f64::from(1 << 20)) as u64)
    }
}

/// As torchvision writes it: `ResNet50_Weights.IMAGENET1K_V2` is `resnet50.IMAGENET1K_V2` here.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.architecture, self.name)
    }
}

/// Every entry, by architecture and age.
pub fn entries() -> &'static [Entry] {
    &ENTRIES
}

/// The entry of an architecture and a name. The name `DEFAULT`, in any case, is the best there is.
///
/// ```
/// let entry = rekindle_resnet::catalogue::find("resnet50", "DEFAULT")?;
/// assert_eq!(entry.name, "IMAGENET1K_V2");
/// assert_eq!((entry.preprocess.resize, entry.preprocess.crop), (232, 224));
/// # Ok::<(), rekindle_resnet::Error>(())
/// ```
///
/// # Errors
/// [`Error::UnknownArchitecture`] and [`Error::UnknownWeights`], which list what there is.
pub fn find(architecture: &str, name: &str) -> Result<&'static Entry, Error> {
    let mut candidates = ENTRIES
        .iter()
        .filter(|entry| entry.architecture.eq_ignore_ascii_case(architecture));
    let found = if name.eq_ignore_ascii_case("default") {
        candidates.next_back()
    } else {
        candidates.find(|entry| entry.name.eq_ignore_ascii_case(name))
    };
    if let Some(entry) = found {
        return Ok(entry);
    }
    let architecture = architecture.parse::<Architecture>()?;
    let known = ENTRIES
        .iter()
        .filter(|entry| entry.architecture == architecture.name());
    let known: Vec<&str> = known.map(|entry| entry.name).collect();
    Err(Error::UnknownWeights {
        architecture: architecture.to_string(),
        name: name.to_string(),
        known: known.join(", "),
    })
}

const fn entry(
    architecture: &'static str,
    name: &'static str,
    file: &'static str,
    sha256_prefix: &'static str,
    (top1, top5): (f64, f64),
    preprocess: Preprocess,
    size_mib: f64,
) -> Entry {
    Entry {
        architecture,
        name,
        file,
        sha256_prefix,
        classes: 1000,
        top1,
        top5,
        preprocess,
        size_mib,
    }
}

/// Oldest first within an architecture. The V1 files of the wide networks are in f16.
#[rustfmt::skip]
static ENTRIES: [Entry; 17] = [
    entry("resnet18", "IMAGENET1K_V1", "resnet18-f37072fd.pth", "f37072fd", (69.758, 89.078), Preprocess::IMAGENET, 44.661),
    entry("resnet34", "IMAGENET1K_V1", "resnet34-b627a593.pth", "b627a593", (73.314, 91.42), Preprocess::IMAGENET, 83.275),
    entry("resnet50", "IMAGENET1K_V1", "resnet50-0676ba61.pth", "0676ba61", (76.13, 92.862), Preprocess::IMAGENET, 97.781),
    entry("resnet50", "IMAGENET1K_V2", "resnet50-11ad3fa6.pth", "11ad3fa6", (80.858, 95.434), Preprocess::IMAGENET_V2, 97.79),
    entry("resnet101", "IMAGENET1K_V1", "resnet101-63fe2227.pth", "63fe2227", (77.374, 93.546), Preprocess::IMAGENET, 170.511),
    entry("resnet101", "IMAGENET1K_V2", "resnet101-cd907fc2.pth", "cd907fc2", (81.886, 95.78), Preprocess::IMAGENET_V2, 170.53),
    entry("resnet152", "IMAGENET1K_V1", "resnet152-394f9c45.pth", "394f9c45", (78.312, 94.046), Preprocess::IMAGENET, 230.434),
    entry("resnet152", "IMAGENET1K_V2", "resnet152-f82ba261.pth", "f82ba261", (82.284, 96.002), Preprocess::IMAGENET_V2, 230.474),
    entry("resnext50_32x4d", "IMAGENET1K_V1", "resnext50_32x4d-7cdf4587.pth", "7cdf4587", (77.618, 93.698), Preprocess::IMAGENET, 95.789),
    entry("resnext50_32x4d", "IMAGENET1K_V2", "resnext50_32x4d-1a0047aa.pth", "1a0047aa", (81.198, 95.34), Preprocess::IMAGENET_V2, 95.833),
    entry("resnext101_32x8d", "IMAGENET1K_V1", "resnext101_32x8d-8ba56ff5.pth", "8ba56ff5", (79.312, 94.526), Preprocess::IMAGENET, 339.586),
    entry("resnext101_32x8d", "IMAGENET1K_V2", "resnext101_32x8d-110c445d.pth", "110c445d", (82.834, 96.228), Preprocess::IMAGENET_V2, 339.673),
    entry("resnext101_64x4d", "IMAGENET1K_V1", "resnext101_64x4d-173b62eb.pth", "173b62eb", (83.246, 96.454), Preprocess::IMAGENET_V2, 319.318),
    entry("wide_resnet50_2", "IMAGENET1K_V1", "wide_resnet50_2-95faca4d.pth", "95faca4d", (78.468, 94.086), Preprocess::IMAGENET, 131.82),
    entry("wide_resnet50_2", "IMAGENET1K_V2", "wide_resnet50_2-9ba9bcbe.pth", "9ba9bcbe", (81.602, 95.758), Preprocess::IMAGENET_V2, 263.124),
    entry("wide_resnet101_2", "IMAGENET1K_V1", "wide_resnet101_2-32ee1156.pth", "32ee1156", (78.848, 94.284), Preprocess::IMAGENET, 242.896),
    entry("wide_resnet101_2", "IMAGENET1K_V2", "wide_resnet101_2-d733dc28.pth", "d733dc28", (82.51, 96.02), Preprocess::IMAGENET_V2, 484.747),
];
