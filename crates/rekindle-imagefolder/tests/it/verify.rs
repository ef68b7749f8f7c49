//! The scan before a run, and pictures for people.

use std::sync::Mutex;

use image::{ImageFormat, Rgb, RgbImage};
use rekindle_imagefolder::grid::{self, Tile};
use rekindle_imagefolder::{
    DecodeOptions, Error, ImageFolder, Pipeline, Preprocess, ScanOptions, verify,
};
use tempfile::tempdir;

use crate::made::{encode, picture, write, write_png};

#[test]
fn verify_lists_bad_files_duplicates_leaks_and_conflicts() {
    let dir = tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for i in 0..4 {
        write_png(at(&format!("train/ants/{i}.png")), i);
        write_png(at(&format!("train/bees/{i}.png")), 10 + i);
        write_png(at(&format!("val/bees/{i}.png")), 20 + i);
    }
    std::fs::create_dir_all(at("val/ants")).unwrap();
    // The same pixels in another format, across the splits; and one picture under both classes.
    write(
        at("val/bees/leak.bmp"),
        &encode(picture(12, 9, 2), ImageFormat::Bmp),
    );
    write_png(at("train/bees/conflict.png"), 1);
    write(at("train/bees/broken.jpg"), b"\xff\xd8\xff");
    write(at("train/bees/empty.jpg"), b"");
    write(at("train/bees/talk.gif"), b"GIF89a");

    let train = ImageFolder::open(at("train")).unwrap();
    let allow = ScanOptions {
        allow_empty: true,
        ..ScanOptions::default()
    };
    let val = ImageFolder::open_with(at("val"), &allow).unwrap();
    let heard = Mutex::new(Vec::new());
    let folders = [("train", &train), ("val", &val)];
    let report = verify(&folders, &DecodeOptions::default(), |done, total| {
        heard.lock().unwrap().push((done, total));
    });
    assert_eq!(report.checked, 16);
    let mut heard = heard.into_inner().unwrap();
    heard.sort_unstable();
    assert_eq!(heard, (1..=16).map(|done| (done, 16)).collect::<Vec<_>>());

    let bad: Vec<_> = report
        .bad
        .iter()
        .map(|b| b.path.file_name().unwrap().to_str().unwrap())
        .collect();
    assert_eq!(bad, ["broken.jpg", "empty.jpg"]);
    assert!(report.bad[1].reason.contains("empty"));
    assert_eq!(report.duplicates.len(), 2);
    let conflict = &report.duplicates[0];
    assert!(conflict.conflicting_labels && !conflict.across_splits);
    let leaks: Vec<_> = report.leaks().collect();
    assert_eq!(leaks.len(), 1);
    assert_eq!(leaks[0].files[0].class.as_deref(), Some("ants"));
    assert!(leaks[0].files[1].path.ends_with("leak.bmp"));
    assert_eq!(
        report.empty_classes,
        [("val".to_string(), "ants".to_string())]
    );
    assert_eq!(report.ignored.len(), 1);
    assert!(!report.is_clean());

    let clean = verify(&[("val", &val)], &DecodeOptions::default(), |_, _| {});
    assert!(clean.is_clean() && clean.duplicates.is_empty());
}

fn tile(size: u32, caption: &str, marked_wrong: bool) -> Tile {
    Tile {
        image: RgbImage::from_pixel(size, size, Rgb([0, 90, 0])),
        caption: caption.into(),
        marked_wrong,
    }
}

#[test]
fn a_grid_marks_wrong_tiles_and_takes_any_caption() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("grid.png");
    let long = "a very long caption that goes on and on ".repeat(9);
    let tiles = [
        tile(64, "ants", false),
        tile(64, "bees (ants) 0.51", true),
        tile(3, &long, false),
        tile(64, "蚂蚁 ñandú Ωmega 🐜\n\t\u{202e}", true),
        tile(64, "", false),
    ];
    grid::save(&path, &tiles, 3).unwrap();
    let sheet = image::open(&path).unwrap().into_rgb8();
    assert_eq!(sheet, grid::draw(&tiles, 3).unwrap());
    let red = Rgb([214, 39, 40]);
    // 8 of gap, 4 of frame, 64 of picture: the second tile starts at 8 + 72 + 8.
    assert_eq!(
        (sheet.width(), *sheet.get_pixel(9, 9)),
        (8 + 3 * 80, Rgb([255; 3]))
    );
    assert_eq!(*sheet.get_pixel(88, 8), red);
    assert_eq!(*sheet.get_pixel(92, 12), Rgb([0, 90, 0]));
    assert_eq!(*sheet.get_pixel(12, 12), Rgb([0, 90, 0]));
    // The small picture stands in the middle of its cell.
    assert_eq!(*sheet.get_pixel(168 + 4 + 32, 12 + 32), Rgb([0, 90, 0]));
    assert_eq!(*sheet.get_pixel(168 + 4, 12), Rgb([255; 3]));
    // There is a caption under the first tile, and none under the fifth.
    let ink = |left: u32, top: u32| {
        (0..64).any(|x| (0..20).any(|y| sheet.get_pixel(left + x, top + y).0[0] < 100))
    };
    let row = (sheet.height() - 8) / 2;
    assert!(ink(12, 8 + 72) && !ink(12 + 80, 8 + row + 72));

    assert!(matches!(
        grid::draw(&[], 3),
        Err(Error::InvalidOption { .. })
    ));
    assert!(matches!(
        grid::draw(&tiles, 0),
        Err(Error::InvalidOption { .. })
    ));
    assert!(matches!(
        grid::save(dir.path().join("no/grid.png"), &tiles, 2),
        Err(Error::Write { .. })
    ));
}

#[test]
fn denormalize_undoes_normalize() {
    let (mean, std) = ([0.4, 0.5, 0.6], [0.2, 0.3, 0.4]);
    let pipeline = Pipeline::imagenet_eval(&Preprocess {
        resize: 40,
        crop: 32,
        mean,
        std,
        ..Preprocess::IMAGENET
    });
    let mut rng = rekindle_imagefolder::rng::SampleRng::for_sample(0, 0, 0, 0);
    let mut values = Vec::new();
    let mut expected = Vec::new();
    for salt in 0..3 {
        let image = picture(50, 44, salt);
        values.extend(pipeline.apply(&image, &mut rng).unwrap().values);
        expected.push(pipeline.apply_to_pixels(&image, &mut rng));
    }
    assert_eq!(
        grid::denormalize(&values, 32, 32, mean, std).unwrap(),
        expected
    );
    assert!(grid::denormalize(&values[1..], 32, 32, mean, std).is_err());
}
