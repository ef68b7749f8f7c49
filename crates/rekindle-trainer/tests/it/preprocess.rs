//! The preprocessing of a file of weights reaches the pixels, in evaluation and in training.

use burn::prelude::*;
use image::RgbImage;
use rekindle_imagefolder::rng::{SampleRng, Stream};
use rekindle_imagefolder::{Interpolation, Transform};
use rekindle_models::files::save;
use rekindle_models::resnet::ResNetConfig;
use rekindle_models::{Preprocess, Pretrained};
use rekindle_trainer::{eval_pipeline, train_pipeline};
use rekindle_weights::ModelInfo;
use safetensors::SafeTensors;

/// Made by torchvision on Pillow.
const REFERENCE: &[u8] =
    include_bytes!("../../../rekindle-imagefolder/tests/reference/interpolation.safetensors");

fn reference(name: &str) -> RgbImage {
    let tensors = SafeTensors::deserialize(REFERENCE).unwrap();
    let tensor = tensors.tensor(name).unwrap();
    let (height, width) = (tensor.shape()[0] as u32, tensor.shape()[1] as u32);
    RgbImage::from_raw(width, height, tensor.data().to_vec()).unwrap()
}

#[test]
fn weights_that_ask_for_a_cubic_filter_get_it() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cubic.safetensors");
    let config = ResNetConfig::RESNET18.with_stem_width(8);
    let info = ModelInfo {
        preprocess: Some(Preprocess {
            resize: 20,
            crop: 16,
            interpolation: Interpolation::Bicubic,
            ..Preprocess::IMAGENET
        }),
        ..ModelInfo::default()
    };
    save(&config.network(0, &device).unwrap(), &path, &info).unwrap();
    let read = Pretrained::open(&path, &device).unwrap();

    let mut rng = SampleRng::keyed(0, Stream::User, &[]);
    let found = eval_pipeline(&read.preprocess).apply_to_pixels(&reference("picture"), &mut rng);
    let most = |expected: &RgbImage| {
        let both = found.as_raw().iter().zip(expected.as_raw());
        both.map(|(a, b)| a.abs_diff(*b)).max().unwrap()
    };
    assert!(most(&reference("bicubic.down")) <= 1);
    assert!(most(&reference("bilinear.down")) > 8);
    assert!(matches!(
        train_pipeline(&read.preprocess).0[0],
        Transform::RandomResizedCrop {
            size: 16,
            interpolation: Interpolation::Bicubic,
            ..
        }
    ));
}
