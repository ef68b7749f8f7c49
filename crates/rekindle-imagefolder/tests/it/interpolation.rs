//! The filter that weights ask for, against torchvision on Pillow (`tests/reference/make_interpolation.py`).

use image::RgbImage;
use rekindle_imagefolder::rng::{SampleRng, Stream};
use rekindle_imagefolder::{Interpolation, Pipeline, Preprocess, Transform};
use safetensors::SafeTensors;

const REFERENCE: &[u8] = include_bytes!("../reference/interpolation.safetensors");

fn reference(name: &str) -> RgbImage {
    let tensors = SafeTensors::deserialize(REFERENCE).unwrap();
    let tensor = tensors.tensor(name).unwrap();
    let [height, width, 3] = tensor.shape()[..] else {
        panic!("{name}: {:?}", tensor.shape());
    };
    RgbImage::from_raw(width as u32, height as u32, tensor.data().to_vec()).unwrap()
}

/// As a file of weights has it.
fn preprocess(resize: usize, crop: usize, filter: &str) -> Preprocess {
    serde_json::from_str(&format!(
        r#"{{"resize":{resize},"crop":{crop},"mean":[0,0,0],"std":[1,1,1],"interpolation":"{filter}"}}"#
    ))
    .unwrap()
}

fn pixels(pipeline: &Pipeline) -> RgbImage {
    let mut rng = SampleRng::keyed(0, Stream::User, &[]);
    pipeline.apply_to_pixels(&reference("picture"), &mut rng)
}

fn most(a: &RgbImage, b: &RgbImage) -> u8 {
    assert_eq!(a.dimensions(), b.dimensions());
    let differences = a.as_raw().iter().zip(b.as_raw());
    differences.map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

#[test]
fn weights_are_served_with_the_filter_that_they_ask_for() {
    for filter in ["nearest", "bilinear", "bicubic", "lanczos"] {
        for (key, resize, crop) in [("down", 20, 16), ("up", 70, 24)] {
            let found = pixels(&Pipeline::imagenet_eval(&preprocess(resize, crop, filter)));
            let expected = reference(&format!("{filter}.{key}"));
            assert!(most(&found, &expected) <= 1, "{filter} {key}");
            if filter != "bilinear" {
                assert!(
                    most(&found, &reference(&format!("bilinear.{key}"))) > 8,
                    "{filter}"
                );
            }
        }
    }
}

#[test]
fn so_is_their_training() {
    for filter in ["nearest", "bilinear", "bicubic", "lanczos"] {
        let mut pipeline = Pipeline::imagenet_train(&preprocess(20, 16, filter));
        // A random crop that takes everything.
        if let Transform::RandomResizedCrop { scale, ratio, .. } = &mut pipeline.0[0] {
            (*scale, *ratio) = ((1.0, 1.0), (61.0 / 47.0, 61.0 / 47.0));
        }
        pipeline.0.remove(1);
        let expected = reference(&format!("{filter}.square"));
        assert!(most(&pixels(&pipeline), &expected) <= 1, "{filter}");
    }
}

#[test]
fn files_without_a_filter_mean_bilinear_and_unknown_ones_are_refused() {
    let json = r#"{"resize":20,"crop":16,"mean":[0,0,0],"std":[1,1,1]}"#;
    let read: Preprocess = serde_json::from_str(json).unwrap();
    assert_eq!(read.interpolation, Interpolation::Bilinear);
    let unknown = json.replace('}', r#","interpolation":"hamming"}"#);
    let error = serde_json::from_str::<Preprocess>(&unknown).unwrap_err();
    assert!(error.to_string().contains("hamming"), "{error}");
}
