//! Classes in an order, of tables and of folders.

use std::fs;
use std::path::Path;

use rekindle_imagefolder::{
    Error, ErrorKind, ImageTable, Listing, Pipeline, TableOptions, TablePart, Task,
};
use tempfile::{TempDir, tempdir};

use crate::made::write_png;

fn graded() -> TableOptions {
    TableOptions {
        task: Some(Task::Ordinal),
        ..TableOptions::default()
    }
}

fn in_order(order: &[&str]) -> TableOptions {
    TableOptions {
        order: Some(order.iter().map(ToString::to_string).collect()),
        ..TableOptions::default()
    }
}

/// A table of pictures with these grades.
fn table(grades: &[&str]) -> (TempDir, std::path::PathBuf) {
    let dir = tempdir().unwrap();
    let mut text = String::from("file,label\n");
    for (at, grade) in grades.iter().enumerate() {
        write_png(dir.path().join(format!("{at}.png")), at as u32);
        text.push_str(&format!("{at}.png,{grade}\n"));
    }
    let path = dir.path().join("grades.csv");
    fs::write(&path, text).unwrap();
    (dir, path)
}

fn labels(part: &TablePart) -> Vec<usize> {
    let samples = part.images.samples().iter();
    samples.map(|sample| sample.label.unwrap()).collect()
}

#[test]
fn grades_of_a_table_are_in_the_order_of_their_numbers() {
    let (_dir, path) = table(&["10", "-1", "9", "0.5", "10"]);
    let table = ImageTable::open_with(&path, &graded()).unwrap();
    assert_eq!(table.task(), Task::Ordinal);
    assert_eq!(table.classes(), ["-1", "0.5", "9", "10"]);
    assert_eq!(labels(&table.open_all()), [3, 0, 2, 1, 3]);
    assert!(table.open_all().targets.is_none() && table.hint().is_none());
    let said = table.to_string();
    assert!(
        said.ends_with("classes from the lowest: -1, 0.5, 9, 10"),
        "{said}"
    );
    let dataset = table.open_all().dataset(Pipeline(Vec::new())).unwrap();
    assert_eq!(dataset.task(), Task::Ordinal);
    assert_eq!(dataset.subset(&[0]).task(), Task::Ordinal);
    assert_eq!(dataset.class_counts(), [1, 1, 1, 2]);
    // A table of its parts says the order again.
    let written = path.with_file_name("again.csv");
    let again = ImageTable::create(&written, &[("train", &table.open_all())]).unwrap();
    assert_eq!(
        (again.task(), again.classes()),
        (Task::Ordinal, table.classes())
    );
}

#[test]
fn words_are_in_the_order_that_is_given() {
    let (_dir, path) = table(&["ripe", "unripe", "half", "ripe"]);
    let order = ["unripe", "half", "ripe"];
    let table = ImageTable::open_with(&path, &in_order(&order)).unwrap();
    assert_eq!(
        (table.task(), table.classes()),
        (Task::Ordinal, &order.map(String::from)[..])
    );
    assert_eq!(labels(&table.open_all()), [2, 0, 1, 2]);
    assert!(table.hint().is_none());
    // Without one they are sorted by name, which is said.
    let by_name = ImageTable::open_with(&path, &graded()).unwrap();
    assert_eq!(by_name.classes(), ["half", "ripe", "unripe"]);
    assert!(by_name.hint().unwrap().contains("--ordinal="));
    for (options, said) in [
        (
            in_order(&["unripe", "ripe"]),
            "unripe, ripe is given, and the training pictures have half, ripe, unripe",
        ),
        (
            in_order(&["unripe", "half", "ripe", "ripe"]),
            "ripe is named twice",
        ),
        (
            TableOptions {
                task: Some(Task::SingleLabel),
                ..in_order(&order)
            },
            "ask for ordinal",
        ),
        (
            TableOptions {
                classes: Some(vec!["ripe".into()]),
                ..in_order(&order)
            },
            "it is unripe, half, ripe, and the model's is ripe",
        ),
        (
            TableOptions {
                labels: vec!["a".into()],
                ..graded()
            },
            "one column for each label",
        ),
        (
            TableOptions {
                separator: Some(";".into()),
                ..graded()
            },
            "parts several labels",
        ),
    ] {
        let error = ImageTable::open_with(&path, &options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidOption, "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
}

/// A picture of each grade and part.
fn folders(folder: &Path, places: &[&str]) {
    for (at, place) in places.iter().enumerate() {
        write_png(folder.join(place).join(format!("{at}.png")), at as u32);
    }
}

#[test]
fn folders_whose_names_are_grades_are_read_in_their_order() {
    let dir = tempdir().unwrap();
    folders(
        dir.path(),
        &["train/9", "train/10", "train/2", "val/10", "val/2"],
    );
    let listing = Listing::open_table(dir.path(), &graded()).unwrap();
    assert_eq!(listing.task(), Task::Ordinal);
    assert!(listing.table().unwrap().is_folder());
    let (train, val) = listing.open_split(0.2, 0).unwrap();
    assert_eq!(train.images.classes(), ["2", "9", "10"]);
    assert_eq!((labels(&train), labels(&val)), (vec![2, 0, 1], vec![2, 0]));
    // A model's classes are taken as they are.
    let known = |classes: &[&str]| TableOptions {
        classes: Some(classes.iter().map(ToString::to_string).collect()),
        ..graded()
    };
    let table = ImageTable::open_with(dir.path(), &known(&["1", "2", "9", "10"])).unwrap();
    assert_eq!(labels(&table.open_evaluation()), [3, 1]);
    let error = ImageTable::open_with(dir.path(), &known(&["2", "9"])).unwrap_err();
    assert!(matches!(error, Error::UnknownClasses { .. }), "{error}");
    let error = ImageTable::open_with(dir.path(), &in_order(&["2", "9"])).unwrap_err();
    assert!(error.to_string().contains("2, 9 is given"), "{error}");
    let column = TableOptions {
        label: Some("label".into()),
        ..graded()
    };
    let error = ImageTable::open_with(dir.path(), &column).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidOption, "{error}");
}

#[test]
fn a_part_of_every_grade_is_held_out() {
    let dir = tempdir().unwrap();
    let places: Vec<String> = (0..20).map(|at| format!("{}", at % 2 * 10)).collect();
    folders(
        dir.path(),
        &places.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    let table = ImageTable::open_with(dir.path(), &graded()).unwrap();
    let (train, val) = table.open_split(0.2, 3).unwrap();
    assert!(table.holds_out());
    let count = |part: &TablePart| part.images.class_counts();
    assert_eq!((count(&train), count(&val)), (vec![8, 8], vec![2, 2]));
}
