//! The filter that weights ask for, against torchvision on Pillow (`tests/reference/make_interpolation.py`).

use image::RgbImage;
use rekindle_imagefolder::rng::{SampleRng, Stream};
use rekindle_imagefolder::{
    AugmentPolicy, Augmentation, Interpolation, Pipeline, Preprocess, ResizeMode, Transform,
};
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

/// A picture by a formula, so that Pillow can be asked about the same.
fn drawn(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let byte = |value: u32| (value % 256) as u8;
        image::Rgb([
            byte(x * 7 + y * 13),
            byte(x * x + 3 * y),
            byte((x * 5) ^ (y * 11)),
        ])
    })
}

#[test]
fn whole_pictures_are_squashed_or_letterboxed_as_pillow_does() {
    // Sums of all bytes of Pillow 13's `ImageOps.pad(image, (16, 16), method, color=(124, 116, 104))` and of
    // `image.resize((16, 16), method)`.
    let expected = [
        ((23, 9), "bilinear", 82_684, 73_708),
        ((23, 9), "bicubic", 82_657, 73_626),
        ((9, 23), "bilinear", 83_206, 75_142),
        ((9, 23), "bicubic", 83_229, 75_158),
        ((40, 40), "bilinear", 94_787, 94_787),
        ((7, 5), "bilinear", 44_020, 24_018),
        ((7, 5), "bicubic", 44_023, 23_998),
        ((200, 30), "bilinear", 89_068, 95_999),
    ];
    for ((width, height), filter, padded, squashed) in expected {
        let whole = |mode| Preprocess {
            mean: [0.485, 0.456, 0.406],
            ..preprocess(20, 16, filter).with_mode(mode)
        };
        let seen = |mode| {
            let mut rng = SampleRng::keyed(0, Stream::User, &[]);
            Pipeline::imagenet_eval(&whole(mode)).apply_to_pixels(&drawn(width, height), &mut rng)
        };
        let sum = |image: &RgbImage| {
            image
                .as_raw()
                .iter()
                .map(|byte| i64::from(*byte))
                .sum::<i64>()
        };
        let (letterboxed, squeezed) = (seen(ResizeMode::Letterbox), seen(ResizeMode::Squash));
        assert_eq!(
            (letterboxed.dimensions(), squeezed.dimensions()),
            ((16, 16), (16, 16))
        );
        // Some bytes may differ by one in their rounding.
        let what = format!("{width} x {height}, {filter}");
        assert!(
            (sum(&letterboxed) - padded).abs() <= 12,
            "{what}: {}",
            sum(&letterboxed)
        );
        assert!(
            (sum(&squeezed) - squashed).abs() <= 12,
            "{what}: {}",
            sum(&squeezed)
        );
        let is_filled = width != height;
        assert_eq!(
            letterboxed.get_pixel(0, 0).0 == [124, 116, 104],
            is_filled,
            "{what}"
        );
    }
}

#[test]
fn training_shows_parts_of_what_is_squashed_or_letterboxed() {
    for mode in [ResizeMode::Crop, ResizeMode::Squash, ResizeMode::Letterbox] {
        for policy in [
            AugmentPolicy::None,
            AugmentPolicy::Light,
            AugmentPolicy::Imagenet,
            AugmentPolicy::Trivial,
            AugmentPolicy::Rand,
        ] {
            let seen = preprocess(20, 16, "bilinear").with_mode(mode);
            let pipeline = Augmentation { policy, flip: 0.0 }.pipeline(&seen);
            pipeline.validate().unwrap();
            assert_eq!(pipeline.is_random(), policy != AugmentPolicy::None);
            let of = |seed| {
                let mut rng = SampleRng::keyed(seed, Stream::User, &[]);
                pipeline.apply_to_pixels(&drawn(50, 10), &mut rng)
            };
            assert_eq!(of(1).dimensions(), (16, 16), "{mode:?} {policy:?}");
            let mut rng = SampleRng::keyed(1, Stream::User, &[]);
            let plain = Pipeline::imagenet_eval(&seen).apply_to_pixels(&drawn(50, 10), &mut rng);
            assert_eq!(
                of(1) == plain,
                policy == AugmentPolicy::None,
                "{mode:?} {policy:?}"
            );
        }
    }
    assert!(
        Augmentation {
            flip: 1.5,
            ..Augmentation::default()
        }
        .validate()
        .is_err()
    );
}
