//! Options that choose a network, and what of pictures it takes.

use std::path::PathBuf;

use clap::Args;

use crate::values::{count, white, words};

/// Choice of a network, where a file holds several.
#[derive(Clone, Debug, Default, Args)]
pub struct Part {
    /// Entry of the file of weights that holds the network, where several do: state_dict, teacher, model_ema
    #[arg(long, value_name = "KEY")]
    pub weights_key: Option<String>,
    /// Beginning of the network's names in the file, where several networks fit: module.encoder_k
    #[arg(long, value_name = "PREFIX")]
    pub weights_prefix: Option<String>,
    /// Node of an ONNX file whose output are the features; what is behind it is left out
    #[arg(long, value_name = "NODE")]
    pub features_from: Option<String>,
}

/// Weights that a run begins with.
#[derive(Clone, Debug, Args)]
pub struct Weights {
    /// Weights of a network: a file (.pth, .safetensors, burnpack, .onnx), or a repository of the Hugging Face hub as
    /// hf:OWNER/NAME, hf:OWNER/NAME@REVISION or hf:OWNER/NAME@REVISION:FILE, downloaded once (HF_TOKEN for private ones)
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// A published network, downloaded once: NAME or NAME.WEIGHTS, such as mobilenet_v3_large or resnet50.IMAGENET1K_V2
    #[arg(
        long,
        value_name = "NAME",
        default_value = "resnet18",
        value_parser = words,
        conflicts_with = "weights"
    )]
    pub arch: String,
    #[command(flatten)]
    pub part: Part,
    #[command(flatten)]
    pub depth: Depth,
}

/// Channels of pictures that are not red, green and blue of 8 bits.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Depth {
    /// Takes N channels of each picture at the depth of its file, in place of RGB of 8 bits: 1 for grey of 16 bits, 4 for colour
    /// with alpha or infrared. The network's first convolution is adapted; the file of the result says so, and predict follows it
    #[arg(long, value_name = "N", value_parser = count::<1, 256>, allow_negative_numbers = true)]
    pub channels: Option<usize>,
    /// The number in a file that counts as white, such as 4095 for 12 bits [default: the largest of its type: 255, 65535, or 1
    /// for floating point]
    #[arg(long, value_name = "NUMBER", value_parser = white, allow_negative_numbers = true)]
    pub white: Option<u32>,
}

/// Networks to choose from.
#[derive(Clone, Debug, Args)]
pub struct Candidates {
    /// Files of weights (.pth, .safetensors, burnpack), or repositories of the Hugging Face hub as hf:OWNER/NAME
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub weights: Vec<PathBuf>,
    /// Published networks, downloaded once: NAME or NAME.WEIGHTS [default without files: resnet18]
    #[arg(long, value_name = "NAME", num_args = 1.., value_parser = words)]
    pub arch: Vec<String>,
    #[command(flatten)]
    pub part: Part,
}

impl From<Weights> for Candidates {
    fn from(one: Weights) -> Self {
        Self {
            arch: match one.weights {
                Some(_) => Vec::new(),
                None => vec![one.arch],
            },
            weights: one.weights.into_iter().collect(),
            part: one.part,
        }
    }
}
