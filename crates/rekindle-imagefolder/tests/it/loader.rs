//! Batches: the same whatever the number of workers, bounded, and never hanging.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use burn::data::dataset::Dataset;
use image::ImageFormat;
use rekindle_imagefolder::{
    DecodeOptions, Error, HostBatch, ImageDataset, ImageFolder, Interpolation, Loader, Mix,
    OnBadFile, Pipeline, Sampler, Transform,
};
use tempfile::{TempDir, tempdir};

use crate::made::{encode, picture, write, write_png};

fn small_pipeline() -> Pipeline {
    Pipeline::new([
        Transform::RandomResizedCrop {
            size: 6,
            scale: (0.08, 1.0),
            ratio: (0.75, 4.0 / 3.0),
            interpolation: Interpolation::Bilinear,
        },
        Transform::RandomHorizontalFlip { p: 0.5 },
        Transform::TrivialAugment,
        Transform::Normalize {
            mean: [0.5; 3],
            std: [0.25; 3],
        },
    ])
}

fn classes() -> Vec<String> {
    ["a", "b", "c"].map(String::from).to_vec()
}

/// `n` drawn pictures in three classes; counts how many were drawn.
fn drawn(n: usize, count: &Arc<AtomicUsize>) -> ImageDataset {
    let count = Arc::clone(count);
    let labels = (0..n).map(|i| Some(i % 3)).collect();
    ImageDataset::from_fn(labels, classes(), small_pipeline(), move |index| {
        count.fetch_add(1, Ordering::SeqCst);
        Ok(picture(20, 16, index as u32))
    })
    .unwrap()
}

fn all(loader: &Loader, epoch: u64) -> Vec<HostBatch> {
    loader.epoch(epoch).collect::<Result<_, _>>().unwrap()
}

#[test]
fn workers_change_nothing_and_epochs_everything() {
    let loader = Loader::new(drawn(53, &Arc::default()))
        .batch_size(8)
        .mix(Mix::Either {
            mixup_alpha: 0.2,
            cutmix_alpha: 1.0,
        })
        .shuffle(42);
    let alone = all(&loader.clone().workers(0), 3);
    assert_eq!(alone.len(), 7);
    assert_eq!(loader.batches(), 7);
    assert_eq!(alone[6].len(), 5);
    for (workers, prefetch) in [(1, 0), (2, 1), (7, 3)] {
        assert_eq!(
            all(&loader.clone().workers(workers).prefetch(prefetch), 3),
            alone
        );
    }
    let indices = |batches: &[HostBatch]| -> Vec<usize> {
        batches.iter().flat_map(|b| b.indices.clone()).collect()
    };
    assert_eq!(indices(&alone).iter().collect::<BTreeSet<_>>().len(), 53);
    assert_ne!(indices(&all(&loader, 4)), indices(&alone));
    assert_ne!(indices(&all(&loader.clone().seed(43), 3)), indices(&alone));

    // Another view: the same order, other pixels.
    let view = all(&loader.clone().view(1), 3);
    assert_eq!(indices(&view), indices(&alone));
    assert_ne!(view[0].images, alone[0].images);

    // Resumed in the middle of the epoch.
    let resumed: Vec<_> = loader
        .workers(2)
        .epoch_from(3, 4)
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(resumed, alone[4..]);
}

#[test]
fn augmentation_depends_on_the_image_and_not_on_its_place() {
    let sequential = Loader::new(drawn(12, &Arc::default()))
        .batch_size(4)
        .seed(9)
        .workers(0);
    let reversed = sequential
        .clone()
        .sampler(Sampler::Indices((0..12).rev().collect()));
    let image = |batches: &[HostBatch], index: usize| {
        let batch = batches.iter().find(|b| b.indices.contains(&index)).unwrap();
        let place = batch.indices.iter().position(|i| *i == index).unwrap();
        batch.images[place * 108..(place + 1) * 108].to_vec()
    };
    let (one, other) = (all(&sequential, 0), all(&reversed, 0));
    for index in 0..12 {
        assert_eq!(image(&one, index), image(&other, index));
        let alone = sequential.dataset().render(index, 9, 0, 0).unwrap();
        assert_eq!(alone.values, image(&one, index));
    }
    // Drawn twice in one epoch, it is augmented twice.
    let twice = all(&sequential.sampler(Sampler::Indices(vec![5, 5])), 0);
    assert_ne!(twice[0].images[..108], twice[0].images[108..]);
}

#[test]
fn no_more_than_the_bound_is_made_ahead_and_dropping_ends_the_workers() {
    let count = Arc::default();
    let loader = Loader::new(drawn(1000, &count))
        .batch_size(5)
        .workers(2)
        .prefetch(3);
    let mut epoch = loader.epoch(0);
    epoch.next().unwrap().unwrap();
    sleep(Duration::from_millis(300));
    // One handed out, and prefetch + workers = 5 ahead.
    assert_eq!(count.load(Ordering::SeqCst), 6 * 5);
    let start = Instant::now();
    drop(epoch);
    assert!(start.elapsed() < Duration::from_secs(2));
    let after = count.load(Ordering::SeqCst);
    sleep(Duration::from_millis(50));
    assert_eq!(count.load(Ordering::SeqCst), after);
    // Untouched epochs end as well.
    drop(loader.epoch(1));
}

#[test]
fn a_panic_becomes_the_error_of_its_batch() {
    for workers in [0, 1, 3] {
        let labels = vec![Some(0); 20];
        let dataset = ImageDataset::from_fn(labels, classes(), small_pipeline(), |index| {
            assert!(index != 9, "the artist fell asleep");
            Ok(picture(8, 8, index as u32))
        })
        .unwrap();
        let mut epoch = Loader::new(dataset).batch_size(4).workers(workers).epoch(0);
        assert!(epoch.next().unwrap().is_ok() && epoch.next().unwrap().is_ok());
        let error = epoch.next().unwrap().unwrap_err();
        assert!(
            matches!(&error, Error::WorkerPanicked { batch: 2, message } if message.contains("asleep")),
            "{error}"
        );
        assert!(epoch.next().is_none());
    }
}

/// Two classes of six; three files are bad, among them a whole batch of two.
fn folder_with_bad_files() -> (TempDir, ImageFolder) {
    let dir = tempdir().unwrap();
    for (class, salt) in [("a", 0), ("b", 10)] {
        for i in 0..6 {
            write_png(dir.path().join(format!("{class}/{i}.png")), salt + i);
        }
    }
    let png = encode(picture(30, 30, 1), ImageFormat::Png);
    write(dir.path().join("a/2.png"), &[]);
    write(dir.path().join("a/3.png"), &png[..png.len() / 2]);
    write(dir.path().join("b/5.png"), b"hello");
    let folder = ImageFolder::open(dir.path()).unwrap();
    (dir, folder)
}

#[test]
fn bad_files_fail_or_are_skipped_and_listed() {
    let (_dir, folder) = folder_with_bad_files();
    for workers in [0, 2] {
        let dataset = ImageDataset::new(&folder, small_pipeline()).unwrap();
        let loader = Loader::new(dataset).batch_size(2).workers(workers);
        let results: Vec<_> = loader.epoch(0).collect();
        assert_eq!(results.len(), 2);
        assert!(matches!(results[1], Err(Error::EmptyFile { .. })));

        let loader = loader.on_bad_file(OnBadFile::Skip);
        let batches = all(&loader, 0);
        let sizes: Vec<_> = batches.iter().map(HostBatch::len).collect();
        assert_eq!(sizes, [2, 2, 2, 2, 1]);
        assert!(batches.iter().all(|b| b.images.len() == b.len() * 108));
        assert_eq!(batches[4].indices, [10]);
        all(&loader, 1);
        let skipped = loader.skipped();
        assert_eq!(
            skipped.iter().map(|s| s.index).collect::<Vec<_>>(),
            [2, 3, 11]
        );
        assert!(skipped[0].reason.contains("empty") && skipped[0].path.ends_with("a/2.png"));
        assert!(skipped[1].reason.contains("truncated"));
    }
}

#[test]
fn a_gif_under_a_jpeg_name_is_read_and_options_reach_the_decoder() {
    let dir = tempdir().unwrap();
    write(
        dir.path().join("a/x.jpg"),
        &encode(picture(9, 9, 0), ImageFormat::Gif),
    );
    let folder = ImageFolder::open(dir.path()).unwrap();
    let dataset = ImageDataset::new(&folder, small_pipeline()).unwrap();
    assert_eq!(dataset.decoded(0).unwrap().dimensions(), (9, 9));
    let dataset = dataset.decode_options(DecodeOptions {
        max_pixels: 10,
        ..DecodeOptions::default()
    });
    assert!(matches!(dataset.decoded(0), Err(Error::TooLarge { .. })));
}

#[test]
fn the_cache_saves_work_changes_nothing_and_keeps_its_limit() {
    let count = Arc::default();
    let plain = Loader::new(drawn(10, &count))
        .batch_size(4)
        .workers(0)
        .shuffle(1);
    let expected = [all(&plain, 0), all(&plain, 1)];
    assert_eq!(count.swap(0, Ordering::SeqCst), 20);

    // 20 x 16 x 3 = 960 bytes each: room for six and a half.
    let cached = Loader::new(drawn(10, &count).cache_bytes(6240))
        .batch_size(4)
        .workers(2)
        .shuffle(1);
    assert_eq!([all(&cached, 0), all(&cached, 1)], expected);
    assert_eq!(count.load(Ordering::SeqCst), 10 + 4);
    assert_eq!(cached.dataset().cached_bytes(), 6 * 960);
}

#[test]
fn another_pipeline_shares_the_decoded_images_and_another_decoding_does_not() {
    let count = Arc::new(AtomicUsize::new(0));
    let dataset = drawn(4, &count).cache_bytes(1 << 20);
    let first: Vec<_> = (0..4).map(|i| dataset.decoded(i).unwrap()).collect();
    let other = dataset.with_pipeline(small_pipeline()).unwrap();
    for (index, image) in first.iter().enumerate() {
        assert_eq!(&other.decoded(index).unwrap(), image);
    }
    assert_eq!(count.load(Ordering::SeqCst), 4);

    let upright = other.decode_options(DecodeOptions::default());
    assert_eq!(upright.cached_bytes(), 0);
    assert_eq!(dataset.cached_bytes(), 4 * 960);
}

#[test]
fn a_balanced_sampler_draws_classes_equally_and_images_in_rounds() {
    let labels: Vec<_> = (0..1000)
        .map(|i| Some(if i < 900 { 0 } else { 1 + i % 2 }))
        .collect();
    let order = Sampler::Balanced {
        samples: Some(9000),
    }
    .order(&labels, 3, 0)
    .unwrap();
    let mut counts = [0; 3];
    let mut visits = vec![0; 1000];
    for index in &order {
        counts[labels[*index].unwrap()] += 1;
        visits[*index] += 1;
    }
    // Five standard deviations of a binomial with p = 1/3.
    assert!(
        counts.iter().all(|c| (2776..3224).contains(c)),
        "{counts:?}"
    );
    let (least, most) = (visits[..900].iter().min(), visits[..900].iter().max());
    assert!(most.unwrap() - least.unwrap() <= 1, "{least:?} {most:?}");
    assert_ne!(
        order,
        Sampler::Balanced {
            samples: Some(9000)
        }
        .order(&labels, 3, 1)
        .unwrap()
    );

    assert!(
        Sampler::Balanced { samples: None }
            .order(&[None], 0, 0)
            .is_err()
    );
    assert!(
        Sampler::Indices(vec![2])
            .order(&[None, None], 0, 0)
            .is_err()
    );
}

#[test]
fn bad_requests_are_errors_and_not_panics() {
    let loader = Loader::new(drawn(5, &Arc::default()));
    let first = |loader: Loader| loader.epoch(0).next().unwrap().unwrap_err();
    assert!(matches!(
        first(loader.clone().batch_size(0)),
        Error::InvalidOption { .. }
    ));
    assert!(matches!(
        first(loader.clone().mix(Mix::MixUp { alpha: 0.0 })),
        Error::InvalidOption { option: "mix", .. }
    ));
    assert!(
        loader
            .clone()
            .mix(Mix::CutMix { alpha: f64::NAN })
            .validate()
            .is_err()
    );
    let resize = Transform::Resize {
        size: 8,
        interpolation: Interpolation::Bilinear,
    };
    let variable = loader
        .dataset()
        .with_pipeline(Pipeline::new([resize]))
        .unwrap();
    assert!(matches!(first(Loader::new(variable)), Error::VariableSize));
    assert!(loader.validate().is_ok());

    let images = vec![picture(8, 8, 0); 2];
    let build = |labels| {
        ImageDataset::from_images(images.clone(), labels, classes(), small_pipeline()).map(|_| ())
    };
    assert!(build(vec![Some(0)]).is_err());
    assert!(build(vec![Some(0), Some(3)]).is_err());
    let unlabelled =
        ImageDataset::from_images(images.clone(), vec![None, None], vec![], small_pipeline())
            .unwrap();
    assert_eq!(
        all(&Loader::new(Arc::new(unlabelled)).workers(0), 0)[0].labels,
        [-1, -1]
    );
    let dataset = || drawn(2, &Arc::default());
    assert!(dataset().with_weights(vec![1.0]).is_err());
    assert!(dataset().with_weights(vec![1.0, f32::NAN]).is_err());

    // No images: no batches, no hanging.
    let none = ImageDataset::from_images(vec![], vec![], classes(), small_pipeline()).unwrap();
    assert_eq!(Loader::new(none).workers(2).epoch(0).count(), 0);
    assert_eq!(
        loader
            .batch_size(2)
            .drop_last(true)
            .workers(2)
            .epoch(0)
            .count(),
        2
    );
}

#[test]
fn mixup_blends_images_and_targets_by_one_beta_ratio() {
    // Pictures of one value each, so that a pixel tells the ratio.
    let values = [0u8, 100, 200, 250];
    let images = values.map(|v| image::RgbImage::from_pixel(8, 8, image::Rgb([v; 3])));
    let labels = vec![Some(0), Some(1), Some(2), Some(0)];
    let pipeline = Pipeline::new([Transform::CenterCrop { size: 8 }]);
    let dataset =
        Arc::new(ImageDataset::from_images(images.to_vec(), labels, classes(), pipeline).unwrap());
    let loader = Loader::new(dataset).batch_size(4).workers(0);
    let alpha = 0.4;
    let (mut sum, mut squares, n) = (0.0, 0.0, 4000);
    for epoch in 0..n {
        let batch = loader
            .clone()
            .mix(Mix::MixUp { alpha })
            .epoch(epoch)
            .next()
            .unwrap()
            .unwrap();
        let targets = batch.soft_targets.unwrap();
        let ratio = targets[3 + 1];
        // Each image's partner is the one before it, the first one's the last.
        let expected = [250.0, 0.0, 100.0, 200.0];
        for i in 0..4 {
            let pixel = batch.images[i * 192] * 255.0;
            let blend = ratio * f32::from(values[i]) + (1.0 - ratio) * expected[i];
            assert!((pixel - blend).abs() < 1e-2, "{pixel} {blend}");
            let total: f32 = targets[i * 3..i * 3 + 3].iter().sum();
            assert!((total - 1.0).abs() < 1e-6);
        }
        // Image 0 and its partner 3 are of one class.
        assert!((targets[0] - 1.0).abs() < 1e-6);
        sum += f64::from(ratio);
        squares += f64::from(ratio).powi(2);
    }
    let mean = sum / n as f64;
    let variance = squares / n as f64 - mean * mean;
    // Beta(a, a): mean 1/2, variance 1 / (4 (2 a + 1)).
    assert!((mean - 0.5).abs() < 0.025, "{mean}");
    assert!(
        (variance - 1.0 / (4.0 * (2.0 * alpha + 1.0))).abs() < 0.01,
        "{variance}"
    );
}

#[test]
fn cutmix_targets_follow_the_pasted_area() {
    let images: Vec<_> = (0..3)
        .map(|i| image::RgbImage::from_pixel(10, 10, image::Rgb([i * 100; 3])))
        .collect();
    let labels = vec![Some(0), Some(1), Some(2)];
    let pipeline = Pipeline::new([Transform::CenterCrop { size: 10 }]);
    let dataset = ImageDataset::from_images(images, labels, classes(), pipeline).unwrap();
    let loader = Loader::new(dataset)
        .batch_size(3)
        .workers(0)
        .mix(Mix::CutMix { alpha: 1.0 });
    let mut pasted_once = false;
    for epoch in 0..200 {
        let batch = loader.epoch(epoch).next().unwrap().unwrap();
        let targets = batch.soft_targets.unwrap();
        for i in 0..3 {
            let partner = (i + 2) % 3;
            let values = &batch.images[i * 300..(i + 1) * 300];
            let share = |class: usize| {
                let value = (class * 100) as f32 / 255.0;
                values.iter().filter(|v| (**v - value).abs() < 1e-6).count() as f32 / 300.0
            };
            assert!((share(i) - targets[i * 3 + i]).abs() < 1e-5);
            assert!((share(partner) - targets[i * 3 + partner]).abs() < 1e-5);
            pasted_once |= share(partner) > 0.3;
        }
    }
    assert!(pasted_once);
}

#[cfg(feature = "flex")]
#[test]
fn batches_become_tensors() {
    let dataset = drawn(4, &Arc::default())
        .with_weights(vec![0.5, 1.0, 2.0, 0.0])
        .unwrap();
    let loader = Loader::new(dataset)
        .batch_size(4)
        .workers(0)
        .mix(Mix::MixUp { alpha: 1.0 });
    let host = loader.epoch(0).next().unwrap().unwrap();
    let batch = host.clone().to_device(&burn::tensor::Device::flex());
    assert_eq!(batch.images.dims(), [4, 3, 6, 6]);
    assert_eq!(
        batch.images.into_data().try_to_vec::<f32>().unwrap(),
        host.images
    );
    let targets: Vec<i64> = batch.targets.into_data().iter::<i64>().collect();
    assert_eq!(targets, [0, 1, 2, 0]);
    assert_eq!(batch.soft_targets.unwrap().dims(), [4, 3]);
    assert_eq!(
        batch
            .weights
            .unwrap()
            .into_data()
            .try_to_vec::<f32>()
            .unwrap(),
        [0.5, 1.0, 2.0, 0.0]
    );
    assert_eq!(batch.indices, [0, 1, 2, 3]);
}

#[test]
fn it_is_a_dataset_of_burn() {
    let dataset = drawn(4, &Arc::default()).seed(5);
    dataset.set_epoch(2);
    let item = Dataset::get(&dataset, 3).unwrap();
    assert_eq!(
        (item.label, item.index, Dataset::len(&dataset)),
        (Some(0), 3, 4)
    );
    assert_eq!(item.image, dataset.render(3, 5, 2, 0).unwrap());
    let (_dir, folder) = folder_with_bad_files();
    let dataset = ImageDataset::new(&folder, small_pipeline()).unwrap();
    assert!(
        Dataset::get(&dataset, 2)
            .unwrap_err()
            .to_string()
            .contains("2.png")
    );
}

#[test]
fn a_subset_is_the_same_images_under_new_positions_and_shares_what_is_decoded() {
    let count = Arc::new(AtomicUsize::new(0));
    let all = drawn(9, &count).cache_bytes(1 << 20);
    for index in 0..9 {
        all.decoded(index).unwrap();
    }
    let some = all.subset(&[7, 2]);
    assert_eq!((some.len(), some.labels()), (2, &[Some(1), Some(2)][..]));
    assert_eq!(some.decoded(0).unwrap(), all.decoded(7).unwrap());
    assert_eq!(some.content(1).unwrap(), all.content(2).unwrap());
    // A subset of a subset; draws go by the new position.
    let last = some.subset(&[1]);
    assert_eq!(last.decoded(0).unwrap(), all.decoded(2).unwrap());
    assert_eq!(
        last.render(0, 1, 2, 3).unwrap(),
        all.subset(&[2]).render(0, 1, 2, 3).unwrap()
    );
    assert!(last.path(0).is_none() && last.path(5).is_none());
    // Content was asked for after decoding, which decodes once more to hash what it keeps.
    assert!(count.load(Ordering::SeqCst) <= 13);
    let weighted = all
        .with_weights((0..9).map(|i| i as f32).collect())
        .unwrap();
    assert_eq!(weighted.subset(&[7, 2]).weights(), Some(&[7.0, 2.0][..]));
}

#[test]
fn a_subset_of_files_knows_their_paths() {
    let folder = tempdir().unwrap();
    for (number, class) in ["a", "a", "b"].into_iter().enumerate() {
        std::fs::create_dir_all(folder.path().join(class)).unwrap();
        let path = folder.path().join(class).join(format!("{number}.png"));
        write_png(path, number as u32);
    }
    let files = ImageFolder::open(folder.path()).unwrap();
    let all = ImageDataset::new(&files, small_pipeline()).unwrap();
    let some = all.subset(&[2, 0]);
    assert_eq!(some.path(0), all.path(2));
    assert_eq!(some.relative_path(1), all.relative_path(0));
    assert!(some.path(2).is_none() && some.relative_path(2).is_none());
}
