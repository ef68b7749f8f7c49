//! What `verify` says a part holds: images of each class or with each label, or the range of numbers.

use std::fs;
use std::path::Path;

use rekindle::drawings::{DrawingTask, TargetTask};
use serde_json::json;

use crate::workshop::{rekindle, text, workshop};

/// Writes pictures that all differ, as named.
fn pictures(folder: &Path, names: &[&str]) {
    for (at, name) in names.iter().enumerate() {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let shade = |x: u32, y: u32| image::Rgb([(at as u32 * 20 + x * 7 + y) as u8; 3]);
        image::RgbImage::from_fn(16, 16, shade).save(path).unwrap();
    }
}

#[test]
fn labels_are_counted_and_only_one_without_images_is_called_empty() {
    let folder = tempfile::tempdir().unwrap();
    pictures(folder.path(), &["0.png", "1.png", "2.png"]);
    let table = folder.path().join("labels.csv");
    fs::write(
        &table,
        "file,red,big,old\n0.png,1,1,0\n1.png,1,0,0\n2.png,0,0,0\n",
    )
    .unwrap();
    let verify = ["verify", text(&table), "--labels", "red,big,old"];
    let called = rekindle(verify).ends_with(0);
    assert!(
        called
            .stdout
            .contains("all: 3 images (red 2, big 1, old 0)"),
        "{}",
        called.stdout
    );
    assert!(
        called.stdout.contains("no images: class old of all"),
        "{}",
        called.stdout
    );
    assert_eq!(
        called.stdout.matches("no images:").count(),
        1,
        "{}",
        called.stdout
    );
    let found = rekindle(verify.into_iter().chain(["--json"]))
        .ends_with(0)
        .json();
    assert_eq!(found["folders"][0]["counts"], json!([2, 1, 0]));
    assert_eq!(found["folders"][0]["task"], "multi-label");
    assert_eq!(found["empty_classes"], json!([["all", "old"]]));
}

#[test]
fn folders_of_several_labels_are_counted_too() {
    let folder = tempfile::tempdir().unwrap();
    pictures(folder.path(), &["red/0.png", "red/1.png", "big/2.png"]);
    fs::copy(
        folder.path().join("red/0.png"),
        folder.path().join("big/0.png"),
    )
    .unwrap();
    let called = rekindle(["verify", text(folder.path()), "--task", "multi-label"]).ends_with(0);
    assert!(
        called.stdout.contains("all: 3 images (big 2, red 2)"),
        "{}",
        called.stdout
    );
    assert!(!called.stdout.contains("no images:"), "{}", called.stdout);
}

#[test]
fn of_numbers_the_range_and_the_mean_are_told() {
    let folder = tempfile::tempdir().unwrap();
    pictures(folder.path(), &["0.png", "1.png", "2.png"]);
    let table = folder.path().join("ages.csv");
    fs::write(&table, "file,age\n0.png,20\n1.png,25\n2.png,60\n").unwrap();
    let called = rekindle(["verify", text(&table)]).ends_with(0);
    assert!(
        called
            .stdout
            .contains("all: 3 images (age 20.00 to 60.00, mean 35.00)"),
        "{}",
        called.stdout
    );
    assert!(!called.stdout.contains("no images:"), "{}", called.stdout);
    let found = rekindle(["verify", text(&table), "--json"])
        .ends_with(0)
        .json();
    let numbers = json!([{"name": "age", "mean": 35.0, "min": 20.0, "max": 60.0}]);
    assert_eq!(found["folders"][0]["numbers"], numbers);
    assert_eq!(found["empty_classes"], json!([]));
}

/// torchvision's `ImageFolder` lists no GIF, and PyTorch's tutorial has one in its data: folders are read in the same way.
#[test]
fn a_gif_in_a_folder_is_left_out_by_name_and_answered_where_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    TargetTask.write_folder(folder.path(), 4, 4, 0).unwrap();
    let png = folder.path().join("train/ants/0000.png");
    let gif = folder.path().join("train/ants/extra.gif");
    image::open(png).unwrap().save(&gif).unwrap();
    let found = rekindle(["verify", text(folder.path()), "--json"])
        .ends_with(0)
        .json();
    let reason = found["ignored"][0]["reason"].as_str().unwrap();
    assert!(
        reason.contains("GIF") && reason.contains("convert"),
        "{reason}"
    );
    let weights = text(&workshop().weights);
    let out = folder.path().with_extension("runs");
    let train = [
        "train",
        text(folder.path()),
        "--weights",
        weights,
        "--strategy",
        "one-call",
    ];
    let said = rekindle(train.into_iter().chain(["--out", text(&out)]))
        .ends_with(0)
        .stderr;
    assert!(
        said.contains("1 picture is left out, since GIF is not taken from folders"),
        "{said}"
    );
    assert!(said.contains("extra.gif"), "{said}");
    rekindle(["predict", text(&out.join("one-call")), text(&gif)]).ends_with(0);
    // Nothing but GIFs.
    let only = folder.path().join("only");
    for class in ["a", "b"] {
        fs::create_dir_all(only.join(class)).unwrap();
        fs::copy(&gif, only.join(class).join("1.gif")).unwrap();
    }
    let said = rekindle(["fit", text(&only), "--weights", weights])
        .ends_with(3)
        .stderr;
    assert!(said.contains("not taken from folders: 2 GIF"), "{said}");
}
