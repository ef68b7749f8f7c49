//! Numbers through transforms, to batches.

use std::fs;

use rekindle_imagefolder::rng::SampleRng;
use rekindle_imagefolder::{
    AugmentPolicy, Augmentation, Channels, ImageDataset, ImageFolder, Loader, Mix, Pipeline,
    Preprocess, Transform,
};

use super::{decoded, file, own, with_cases};
use crate::made::waves;

#[test]
fn resizing_is_pillows_in_floating_point() {
    with_cases(|tensors, cases| {
        assert_eq!(cases.resized.len(), 18);
        for (name, interpolation, size, crop, key) in &cases.resized {
            let expected = tensors.tensor(key).unwrap();
            let count = expected.shape()[0];
            let (values, _) = expected.data().as_chunks();
            let pipeline = Pipeline::new([
                Transform::Channels(own(count, None)),
                Transform::Resize {
                    size: *size,
                    interpolation: *interpolation,
                },
                Transform::CenterCrop { size: *crop },
            ]);
            let image = decoded(name, file(tensors, name), own(count, None)).unwrap();
            let dataset =
                ImageDataset::from_planes(vec![image], vec![None], vec![], pipeline).unwrap();
            let found = dataset.render(0, 0, 0, 0).unwrap();
            assert_eq!(found.values.len(), values.len(), "{key}");
            for (found, expected) in found.values.iter().zip(values) {
                let expected = f32::from_le_bytes(*expected);
                assert!((found - expected).abs() < 2e-6, "{key}: {found} {expected}");
            }
        }
    });
}

fn seen(channels: Option<Channels>) -> Preprocess {
    Preprocess {
        channels,
        ..Preprocess::IMAGENET.at_size(32)
    }
}

/// On colours of 8 bits, both ways draw the same and differ by rounding alone.
#[test]
fn augmentation_draws_as_for_eight_bits() {
    let mut spread = 0.0_f32;
    for policy in [
        AugmentPolicy::None,
        AugmentPolicy::Light,
        AugmentPolicy::Imagenet,
    ] {
        let augmentation = Augmentation { policy, flip: 0.5 };
        let render = |channels| {
            let images = vec![waves(64, 47), waves(40, 90)];
            let pipeline = augmentation.pipeline(&seen(channels));
            let dataset = ImageDataset::from_images(images, vec![None; 2], vec![], pipeline);
            let dataset = dataset.unwrap();
            let views = (0..2).flat_map(|image| (0..6).map(move |view| (image, view)));
            views
                .flat_map(|(image, view)| dataset.render(image, 7, 0, view).unwrap().values)
                .collect::<Vec<f32>>()
        };
        let (bytes, floats) = (render(None), render(Some(own(3, None))));
        assert_eq!(bytes.len(), floats.len());
        for (byte, float) in bytes.iter().zip(&floats) {
            // Two roundings of half a grey level and what the first is worth in the second, by 0.225.
            assert!((byte - float).abs() < 0.025, "{policy:?}: {byte} {float}");
            spread = spread.max((byte - float).abs());
        }
    }
    assert!(spread > 0.0);
}

#[test]
fn other_modes_are_those_of_eight_bits() {
    use rekindle_imagefolder::ResizeMode::{Letterbox, Squash};
    for mode in [Squash, Letterbox] {
        let render = |channels| {
            let pipeline = Pipeline::imagenet_eval(&seen(channels).with_mode(mode));
            let images = vec![waves(64, 47)];
            let dataset = ImageDataset::from_images(images, vec![None], vec![], pipeline);
            dataset.unwrap().render(0, 0, 0, 0).unwrap()
        };
        let (bytes, floats) = (render(None), render(Some(own(3, None))));
        assert_eq!((bytes.height, bytes.width), (floats.height, floats.width));
        for (byte, float) in bytes.values.iter().zip(&floats.values) {
            assert!((byte - float).abs() < 0.025, "{mode:?}: {byte} {float}");
        }
    }
}

#[test]
fn a_mirrored_pipeline_is_one_on_mirrored_pictures() {
    let image = waves(50, 34);
    for channels in [None, Some(own(3, None))] {
        let plain = Pipeline::imagenet_eval(&seen(channels));
        let mirrored = plain.mirrored();
        mirrored.validate().unwrap();
        let mut rng = SampleRng::for_sample(0, 0, 0, 0);
        let found = mirrored.apply(&image, &mut rng).unwrap();
        let turned = image::imageops::flip_horizontal(&image);
        assert_eq!(found, plain.apply(&turned, &mut rng).unwrap());
    }
}

/// From files to batches, with and without a cache.
#[test]
fn batches_have_the_channels() {
    with_cases(|tensors, _| {
        let folder = tempfile::tempdir().unwrap();
        for class in ["a", "b"] {
            let place = folder.path().join(class);
            fs::create_dir(&place).unwrap();
            fs::write(place.join("1.tif"), file(tensors, "five-16.tif")).unwrap();
            fs::write(place.join("2.tif"), file(tensors, "five-8.tif")).unwrap();
        }
        let images = ImageFolder::open(folder.path()).unwrap();
        let preprocess = seen(Some(own(5, None)));
        let batch = |bytes: usize| {
            let pipeline = Pipeline::imagenet_train(&preprocess);
            let dataset = ImageDataset::new(&images, pipeline)
                .unwrap()
                .cache_bytes(bytes);
            let loader = Loader::new(dataset)
                .batch_size(4)
                .mix(Mix::CutMix { alpha: 1.0 });
            let epochs = [0, 0].map(|epoch| loader.epoch(epoch).next().unwrap().unwrap());
            assert_eq!(epochs[0], epochs[1]);
            epochs.into_iter().next().unwrap()
        };
        let (plain, cached) = (batch(0), batch(1 << 20));
        assert_eq!(plain, cached);
        assert_eq!((plain.len(), plain.channels()), (4, 5));
        assert_eq!(plain.images.len(), 4 * 5 * 32 * 32);
        // The same images through another choice of channels are decoded again.
        let cached = ImageDataset::new(&images, Pipeline::imagenet_eval(&preprocess));
        let cached = cached.unwrap().cache_bytes(1 << 20);
        cached.render(0, 0, 0, 0).unwrap();
        assert!(cached.cached_bytes() > 0);
        let white = seen(Some(own(5, Some(4095))));
        let other = cached
            .with_pipeline(Pipeline::imagenet_eval(&white))
            .unwrap();
        assert_eq!(other.cached_bytes(), 0);
    });
}

#[test]
fn what_changes_colours_is_refused() {
    let mut rng = SampleRng::for_sample(0, 0, 0, 0);
    for policy in [AugmentPolicy::Trivial, AugmentPolicy::Rand] {
        let augmentation = Augmentation { policy, flip: 0.0 };
        let error = augmentation.pipeline(&seen(Some(own(4, None)))).validate();
        let said = error.unwrap_err().to_string();
        assert!(said.contains("--augment none, light or imagenet"), "{said}");
    }
    for (channels, said) in [
        (own(0, None), "expected 1 to 256"),
        (own(257, None), "expected 1 to 256"),
        (own(1, Some(0)), "white above 0"),
    ] {
        let error = Pipeline::new([Transform::Channels(channels)]).validate();
        assert!(error.unwrap_err().to_string().contains(said));
    }
    let late = Pipeline::new([
        Transform::CenterCrop { size: 8 },
        Transform::Channels(own(1, None)),
    ]);
    let error = late.validate().unwrap_err().to_string();
    assert!(error.contains("must come first"), "{error}");
    // Pixels of 8 bits that are given to such a pipeline.
    let pipeline = Pipeline::imagenet_eval(&seen(Some(own(1, None))));
    let grey = pipeline.apply(&waves(40, 40), &mut rng).unwrap();
    assert_eq!(grey.channels(), 1);
}
