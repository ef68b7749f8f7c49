//! Pictures of other channels and depths than RGB of 8 bits (`tests/reference/make_channels.py`).

mod decoding;
mod pipelines;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use rekindle_imagefolder::{
    Channels, DecodeOptions, Error, FloatImage, Interpolation, decode_channels,
};
use safetensors::SafeTensors;
use serde::Deserialize;

#[derive(Deserialize)]
struct Cases {
    /// Files and the number that is white in them.
    files: BTreeMap<String, f64>,
    /// File, filter, shorter side, side of the crop, tensor.
    resized: Vec<(String, Interpolation, u32, u32, String)>,
}

fn with_cases(check: impl Fn(&SafeTensors<'_>, &Cases)) {
    let file = include_bytes!("../../reference/channels.safetensors.gz");
    let mut bytes = Vec::new();
    GzDecoder::new(&file[..]).read_to_end(&mut bytes).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let cases = &metadata.metadata().clone().unwrap()["cases"];
    check(&tensors, &serde_json::from_str(cases).unwrap());
}

fn file<'a>(tensors: &SafeTensors<'a>, name: &str) -> &'a [u8] {
    tensors.tensor(&format!("file:{name}")).unwrap().data()
}

fn own(count: usize, white: Option<u32>) -> Channels {
    Channels { count, white }
}

fn decoded(name: &str, bytes: &[u8], channels: Channels) -> Result<FloatImage, Error> {
    decode_channels(Path::new(name), bytes, channels, &DecodeOptions::default())
}
