//! The numbers that PyTorch gave.

use std::collections::BTreeMap;
use std::path::Path;

use burn::prelude::*;
use burn::tensor::TensorData;
use rekindle_models::Interpolation;
use rekindle_models::Model;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use test_support::{Reference, images, reference_path, shared};

/// Known properties of a model.
#[derive(Deserialize)]
pub struct Entry {
    pub input: usize,
    pub parameters: usize,
    #[serde(deserialize_with = "in_order")]
    pub state_dict: Vec<(String, Vec<usize>)>,
    #[serde(default)]
    pub f32: BTreeMap<String, f64>,
    #[serde(default)]
    pub gain: f64,
    #[serde(default)]
    pub weights: BTreeMap<String, Facts>,
}

/// Published properties of a set of weights, by torchvision or by timm.
#[derive(Deserialize)]
pub struct Facts {
    pub file: Option<String>,
    pub hf_hub: Option<String>,
    pub num_classes: Option<usize>,
    pub top1: Option<f64>,
    pub license: Option<String>,
    pub resize: Option<usize>,
    pub crop: Option<usize>,
    pub input: Option<usize>,
    pub crop_pct: Option<f64>,
    pub interpolation: Interpolation,
    pub mean: [f32; 3],
    pub std: [f32; 3],
}

/// Reads an object's entries in the order of the file.
fn in_order<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(String, Vec<usize>)>, D::Error> {
    struct Entries;
    impl<'de> Visitor<'de> for Entries {
        type Value = Vec<(String, Vec<usize>)>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("names and shapes")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut entries = Vec::new();
            while let Some(entry) = map.next_entry()? {
                entries.push(entry);
            }
            Ok(entries)
        }
    }
    from.deserialize_map(Entries)
}

/// Models, and a file of their numbers.
pub struct Zoo {
    pub entries: BTreeMap<String, Entry>,
    pub numbers: Reference,
    pub is_shared: bool,
}

/// Returns the zoo that is kept with the tests and, if it is there, the shared one.
pub fn zoos() -> Vec<Zoo> {
    let kept = Zoo::open(
        &reference_path("families.json"),
        &reference_path("families.safetensors"),
    );
    let files = [
        shared("reference/zoo.json"),
        shared("reference/zoo.safetensors"),
    ];
    let [Some(json), Some(numbers)] = files else {
        return vec![kept];
    };
    let shared = Zoo {
        is_shared: true,
        ..Zoo::open(&json, &numbers)
    };
    vec![kept, shared]
}

impl Zoo {
    fn open(json: &Path, numbers: &Path) -> Self {
        let json = std::fs::read(json).unwrap();
        let mut entries: BTreeMap<String, Entry> = serde_json::from_slice(&json).unwrap();
        // Those of two towers are compared in `clip`.
        entries.retain(|name, entry| {
            let is_known = Model::named(name).is_ok_and(|model| model.name == name);
            is_known && !entry.f32.is_empty()
        });
        let numbers = Reference::open(numbers);
        Self {
            entries,
            numbers,
            is_shared: false,
        }
    }

    /// Two images.
    pub fn images(&self, entry: &Entry, device: &Device) -> Tensor<4> {
        let (side, name) = (entry.input, format!("input_{}", entry.input));
        let values = match self.numbers.names().contains(&name) {
            true => self.numbers.values(&name).1,
            false => images(2, side, side),
        };
        Tensor::from_data(TensorData::new(values, [2, 3, side, side]), device)
    }
}
