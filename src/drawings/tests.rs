#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;

use super::*;

/// Computes the mean absolute difference of two pictures, in grey levels.
fn distance(a: &RgbImage, b: &RgbImage) -> f32 {
    let sum: u32 = a
        .as_raw()
        .iter()
        .zip(b.as_raw())
        .map(|(a, b)| u32::from(a.abs_diff(*b)))
        .sum();
    sum as f32 / a.as_raw().len() as f32
}

/// Returns for every class the pictures of a few indices in both splits.
fn gallery(task: &impl DrawingTask, indices: usize) -> Vec<RgbImage> {
    let mut pictures = Vec::new();
    for class in 0..task.class_names().len() {
        for split in [Split::Train, Split::Val] {
            pictures.extend((0..indices).map(|index| task.draw(class, split, index, 3)));
        }
    }
    pictures
}

#[test]
fn the_same_arguments_draw_the_same_picture() {
    assert_eq!(gallery(&SourceTask, 2), gallery(&SourceTask, 2));
    assert_eq!(gallery(&TargetTask, 8), gallery(&TargetTask, 8));
}

#[test]
fn indices_splits_classes_and_seeds_draw_different_pictures() {
    let distinct: HashSet<Vec<u8>> = gallery(&SourceTask, 4)
        .into_iter()
        .map(RgbImage::into_raw)
        .collect();
    assert_eq!(distinct.len(), 30 * 2 * 4);
    let distinct: HashSet<Vec<u8>> = gallery(&TargetTask, 50)
        .into_iter()
        .map(RgbImage::into_raw)
        .collect();
    assert_eq!(distinct.len(), 2 * 2 * 50);
    let of_seed = |seed| TargetTask.draw(0, Split::Train, 0, seed);
    assert_ne!(of_seed(1), of_seed(2));
}

#[test]
fn no_held_out_drawing_is_close_to_a_training_drawing() {
    let draw = |split| -> Vec<RgbImage> {
        (0..40)
            .map(|index| TargetTask.draw(index % 2, split, index / 2, 11))
            .collect()
    };
    let train = draw(Split::Train);
    for (index, held_out) in draw(Split::Val).iter().enumerate() {
        let nearest = train
            .iter()
            .map(|other| distance(held_out, other))
            .fold(f32::MAX, f32::min);
        assert!(
            nearest > 5.0,
            "held-out drawing {index} is {nearest} grey levels from one"
        );
    }
}

#[test]
fn every_picture_has_the_stated_size_and_shows_something() {
    for (index, picture) in gallery(&SourceTask, 2).iter().enumerate() {
        assert_eq!(picture.dimensions(), (PICTURE_SIZE, PICTURE_SIZE));
        let levels: HashSet<u8> = picture.as_raw().iter().copied().collect();
        assert!(
            levels.len() > 20,
            "picture {index} has {} levels",
            levels.len()
        );
    }
}

#[test]
fn class_names_are_sorted_and_the_target_is_not_in_the_source() {
    let sorted = |task: &dyn Fn() -> &'static [&'static str]| {
        task().windows(2).all(|pair| pair[0] < pair[1])
    };
    assert!(sorted(&|| SourceTask.class_names()));
    assert!(sorted(&|| TargetTask.class_names()));
    for name in SourceTask.class_names() {
        assert!(
            !["ant", "ants", "bee", "bees"].contains(name),
            "{name} belongs to the target"
        );
    }
}

/// Colour must not give the class away: the best threshold on the mean of any
/// channel, or on its spread, does little better than a coin.
#[test]
fn colour_does_not_tell_ants_from_bees() {
    let statistics = |class: usize| -> Vec<[f32; 6]> {
        let of = |picture: RgbImage| {
            let count = (PICTURE_SIZE * PICTURE_SIZE) as f32;
            std::array::from_fn(|at| {
                let values = || picture.pixels().map(|pixel| f32::from(pixel.0[at % 3]));
                let mean = values().sum::<f32>() / count;
                let spread = values().map(|value| (value - mean).powi(2)).sum::<f32>() / count;
                if at < 3 { mean } else { spread }
            })
        };
        (0..250)
            .map(|index| of(TargetTask.draw(class, Split::Val, index, 2)))
            .collect()
    };
    let (ants, bees) = (statistics(0), statistics(1));
    for at in 0..6 {
        let mut best: f32 = 0.0;
        for threshold in ants.iter().chain(&bees).map(|row| row[at]) {
            let below = ants.iter().filter(|row| row[at] < threshold).count();
            let above = bees.iter().filter(|row| row[at] >= threshold).count();
            let right = (below + above) as f32 / 500.0;
            best = best.max(right).max(1.0 - right);
        }
        assert!(best < 0.62, "statistic {at} alone reaches {best}");
    }
}

#[test]
fn folders_are_laid_out_by_split_and_class_and_are_balanced() {
    let dir = tempfile::tempdir().unwrap();
    TargetTask.write_folder(dir.path(), 3, 2, 5).unwrap();
    for (split, count) in [(Split::Train, 3), (Split::Val, 2)] {
        for (class, name) in TargetTask.class_names().iter().enumerate() {
            let class_dir = dir.path().join(split.folder()).join(name);
            let mut files: Vec<_> = fs::read_dir(&class_dir)
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .collect();
            files.sort();
            let expected: Vec<OsString> = (0..count)
                .map(|index| format!("{index:04}.png").into())
                .collect();
            assert_eq!(files, expected);
            let written = image::open(class_dir.join("0001.png")).unwrap().into_rgb8();
            assert_eq!(written, TargetTask.draw(class, split, 1, 5));
        }
    }
}

#[test]
fn writing_again_is_harmless_but_foreign_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    TargetTask.write_folder(dir.path(), 2, 1, 5).unwrap();
    TargetTask.write_folder(dir.path(), 2, 1, 5).unwrap();

    let stranger = dir.path().join("train/ants/holiday.jpg");
    fs::write(&stranger, b"not ours").unwrap();
    let error = TargetTask.write_folder(dir.path(), 2, 1, 5).unwrap_err();
    assert!(
        matches!(&error, DrawingsError::ForeignFile { path } if *path == stranger),
        "{error}"
    );
    fs::remove_file(&stranger).unwrap();

    let error = TargetTask.write_folder(dir.path(), 1, 1, 5).unwrap_err();
    assert!(error.to_string().contains("0001.png"), "{error}");
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    let error = TargetTask.write_folder(&file, 1, 1, 0).unwrap_err();
    assert!(matches!(error, DrawingsError::Folder { .. }), "{error}");
}
