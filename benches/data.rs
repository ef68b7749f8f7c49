//! The data path: decoding, the tutorial's augmentation, whole epochs of the loader.
//!
//! `cargo bench --bench data` takes the photographs of `REKINDLE_BENCH_DATA` (a folder of classes),
//! or drawings as JPEG where it is not set.

use std::hint::black_box;
use std::path::{Path, PathBuf};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rekindle::imagefolder::{
    DecodeOptions, ImageDataset, ImageFolder, Loader, Pipeline, Preprocess, decode_bytes,
};

fn data(criterion: &mut Criterion) {
    let drawn = tempfile::tempdir().expect("a temporary directory");
    let root = match std::env::var_os("REKINDLE_BENCH_DATA") {
        Some(folder) => PathBuf::from(folder),
        None => {
            draw(drawn.path());
            drawn.path().to_path_buf()
        }
    };
    let folder = ImageFolder::open(root).expect("a folder of images");
    let files: Vec<_> = folder
        .samples()
        .iter()
        .map(|sample| (&sample.path, std::fs::read(&sample.path).expect("a file")))
        .collect();
    let images = Throughput::Elements(files.len() as u64);
    let mut group = criterion.benchmark_group("data");
    group.sample_size(10).throughput(images);

    let options = DecodeOptions::default();
    group.bench_function("decode", |bencher| {
        bencher.iter(|| {
            for (path, bytes) in &files {
                black_box(decode_bytes(path, bytes, &options).expect("an image"));
            }
        });
    });

    let pipeline = Pipeline::imagenet_train(&Preprocess::IMAGENET);
    let kept = ImageDataset::new(&folder, pipeline.clone())
        .expect("a dataset")
        .cache_bytes(usize::MAX);
    let render = |dataset: &ImageDataset, epoch: u64| {
        for index in 0..dataset.len() {
            black_box(dataset.render(index, 0, epoch, 0).expect("an image"));
        }
    };
    render(&kept, 0);
    let mut epoch = 0;
    let mut next_epoch = || {
        epoch += 1;
        epoch
    };
    group.bench_function("transform", |bencher| {
        bencher.iter_batched(
            &mut next_epoch,
            |epoch| render(&kept, epoch),
            BatchSize::PerIteration,
        );
    });

    let plain = ImageDataset::new(&folder, pipeline).expect("a dataset");
    for (name, dataset) in [("load", plain), ("load_cached", kept)] {
        let loader = Loader::new(dataset).batch_size(32).workers(2).shuffle(0);
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                &mut next_epoch,
                |epoch| {
                    for batch in loader.epoch(epoch) {
                        black_box(batch.expect("a batch"));
                    }
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// 64 JPEGs of 500 x 375 with some texture.
fn draw(root: &Path) {
    for class in 0..2_u32 {
        let folder = root.join(class.to_string());
        std::fs::create_dir_all(&folder).expect("a folder");
        for number in 0..32 {
            let salt = 32 * class + number;
            let image = image::RgbImage::from_fn(500, 375, |x, y| {
                let grain = (x * 73 + y * 151 + salt * 977).wrapping_mul(2_654_435_761) >> 27;
                let wave = |v: u32| (v * (3 + salt % 5) / 4 % 192) as u8;
                image::Rgb([wave(x), wave(y), wave(x + y)].map(|v| v + grain as u8))
            });
            let path = folder.join(format!("{number}.jpg"));
            image.save(path).expect("a file");
        }
    }
}

criterion_group!(benches, data);
criterion_main!(benches);
