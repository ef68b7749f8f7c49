//! Pictures and labels listed in a table.

use std::fs;

use rekindle_imagefolder::{Error, ErrorKind, ImageTable, Pipeline, TableOptions, Task};
use tempfile::{TempDir, tempdir};

use crate::made::write_png;

/// A folder with twelve pictures in `img` and this table.
pub(crate) fn made(name: &str, text: &str) -> TempDir {
    let dir = tempdir().unwrap();
    for seed in 0..12 {
        write_png(dir.path().join(format!("img/{seed}.png")), seed);
    }
    fs::write(dir.path().join(name), text).unwrap();
    dir
}

pub(crate) fn open(name: &str, text: &str) -> Result<(TempDir, ImageTable), Error> {
    opened(name, text, &TableOptions::default())
}

pub(crate) fn opened(
    name: &str,
    text: &str,
    options: &TableOptions,
) -> Result<(TempDir, ImageTable), Error> {
    let dir = made(name, text);
    let table = ImageTable::open_with(dir.path().join(name), options)?;
    Ok((dir, table))
}

/// Files and classes of the whole table, as text.
fn listed(table: &ImageTable) -> Vec<String> {
    let part = table.open_all();
    let samples = part.images.samples().iter();
    samples
        .map(|sample| {
            let file = sample.path.file_name().unwrap().to_str().unwrap();
            let class = sample.label.map_or("", |label| &table.classes()[label]);
            format!("{file} {class}")
        })
        .collect()
}

#[test]
fn the_same_table_is_read_in_every_form() {
    let expected = ["0.png 2", "1.png 10", "2.png 2"];
    for (name, text) in [
        (
            "a.csv",
            "file,label\nimg/0.png,2\nimg/1.png,10\nimg/2.png,2\n",
        ),
        (
            "a.csv",
            "\u{feff}Class;Image\r\n2;./img/0.png\r\n10;img/1.png\r\n2;img/2.png\r\n",
        ),
        (
            "a.csv",
            "\"path\",\"target\",\"note\"\nimg/0.png,2,\"a,\nb\"\nimg/1.png,10,\n img/2.png , 2 ,x",
        ),
        (
            "a.tsv",
            "filename\tlabel\nimg/0.png\t2\nimg/1.png\t10\nimg/2.png\t2\n",
        ),
        (
            "a.txt",
            "filename\tlabel\nimg/0.png\t2\nimg/1.png\t10\nimg/2.png\t2\n",
        ),
        (
            "a.jsonl",
            "{\"image\": \"img/0.png\", \"label\": 2}\n\n{\"label\": \"10\", \"image\": \"img/1.png\"}\n\
             {\"image\": \"img/2.png\", \"label\": [\"2\"], \"x\": null}",
        ),
    ] {
        let (_dir, table) = open(name, text).unwrap();
        assert_eq!(listed(&table), expected, "{text}");
        // As people count.
        assert_eq!(table.classes(), ["2", "10"]);
        assert_eq!(table.task(), Task::SingleLabel);
    }
}

#[test]
fn parts_weights_and_groups_are_taken_from_their_columns() {
    let text = "path,label,Split,weight,group\n\
                img/0.png,a,Training,1,p\nimg/1.png,b,train,0.5,p\nimg/2.png,a,TRAIN2017,2,q\n\
                img/3.png,a,valid,1,r\nimg/4.png,b,Testing,1,\nimg/5.png,b,test,1,\n";
    let (_dir, table) = open("a.csv", text).unwrap();
    let (train, val) = table.open_split(0.2, 0).unwrap();
    assert_eq!((train.images.len(), val.images.len()), (3, 1));
    assert_eq!(train.weights, Some(vec![1.0, 0.5, 2.0]));
    assert_eq!(train.groups, Some(vec![0, 0, 1]));
    let names: Vec<String> = table
        .open_parts()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["train", "val", "test"]);
    let said = table.to_string();
    assert!(
        said.ends_with(
            "files in path, labels in label, parts in Split, weights in weight, groups in group; validation images are \
             those of val; left alone: test (2 images)"
        ),
        "{said}"
    );
    let dataset = train.dataset(Pipeline(Vec::new())).unwrap().subset(&[2, 1]);
    assert_eq!(dataset.weights(), Some(&[2.0, 0.5][..]));
    assert_eq!(dataset.groups(), Some(&[1, 0][..]));
    // Without a validation part, the test part is what there is to measure by.
    let (_dir, table) = open("a.csv", &text.replace("valid", "test")).unwrap();
    assert_eq!(table.open_split(0.2, 0).unwrap().1.images.len(), 3);
}

#[test]
fn groups_are_held_out_whole_and_leave_every_class_to_learn_from() {
    let row = |at: usize| format!("img/{at}.png,{},{}\n", ["a", "b"][at % 2], at / 3);
    let rows: String = (0..12).map(row).collect();
    let (_dir, table) = open("a.csv", &format!("file,label,group\n{rows}")).unwrap();
    for seed in 0..5 {
        let (train, val) = table.open_split(0.25, seed).unwrap();
        assert_eq!(train.images.len() + val.images.len(), 12);
        assert!(val.images.len() >= 3);
        let of_val = val.groups.unwrap();
        assert!(
            train
                .groups
                .unwrap()
                .iter()
                .all(|group| !of_val.contains(group))
        );
        assert!(train.images.class_counts().iter().all(|count| *count > 0));
        assert_eq!(table.open_split(0.25, seed).unwrap().1.images, val.images);
    }
}

#[test]
fn several_labels_stand_in_one_cell_or_in_columns_of_their_own() {
    let multi = TableOptions {
        task: Some(Task::MultiLabel),
        ..TableOptions::default()
    };
    let (_dir, table) = opened(
        "a.csv",
        "file,label\nimg/0.png,sea; sky\nimg/1.png,\nimg/2.png,sky;sky",
        &multi,
    )
    .unwrap();
    assert_eq!(table.classes(), ["sea", "sky"]);
    let part = table.open_all();
    assert_eq!(part.targets, Some(vec![1.0, 1.0, 0.0, 0.0, 0.0, 1.0]));
    let columns = TableOptions {
        labels: vec!["sky".into(), "sea".into()],
        ..TableOptions::default()
    };
    let text = "file,sea,sky\nimg/0.png,1,True\nimg/1.png,0,0\nimg/2.png,0.0,1.0\n";
    let (_dir, table) = opened("a.csv", text, &columns).unwrap();
    assert_eq!(
        (table.task(), table.classes()),
        (Task::MultiLabel, &["sky".to_string(), "sea".into()][..])
    );
    assert_eq!(
        table.open_all().targets,
        Some(vec![1.0, 1.0, 0.0, 0.0, 1.0, 0.0])
    );
    // A model's order of labels holds.
    let of_model = TableOptions {
        classes: Some(vec!["sea".into(), "sky".into()]),
        ..columns
    };
    let (_dir, table) = opened("a.csv", text, &of_model).unwrap();
    assert_eq!(table.open_all().targets, part.targets);
    let (_dir, table) = opened(
        "a.jsonl",
        "{\"file\": \"img/0.png\", \"label\": [\"b\", \"a\"]}",
        &multi,
    )
    .unwrap();
    assert_eq!(table.classes(), ["a", "b"]);
    let numbers = TableOptions {
        task: Some(Task::Regression),
        label: Some("age".into()),
        ..TableOptions::default()
    };
    let (_dir, table) = opened(
        "a.csv",
        "file,age\nimg/0.png,-1.5\nimg/1.png,3e2\n",
        &numbers,
    )
    .unwrap();
    assert_eq!(table.open_all().targets, Some(vec![-1.5, 300.0]));
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    for (text, expected, kind) in [
        (
            "id,breed\nimg/0.png,a\n",
            "no column for the labels; it would be called label, class, target, labels; the columns are id, breed; name \
             one of them with --label-column",
            ErrorKind::InvalidOption,
        ),
        (
            "file,label\nimg/0.png,a\nimg/99.png,b\nimg/98.png,b\n",
            "there is no such file: line 3 (",
            ErrorKind::BadImages,
        ),
        (
            "file,label\nimg/0.png,a\nimg/1.png,\n",
            "there is no label: line 3; write one, or remove the lines",
            ErrorKind::BadImages,
        ),
        (
            "file,label\nimg/0.png,a\nimg/1.png,b\n./img/0.png,b\n",
            "a file is listed again: line 4 (",
            ErrorKind::BadImages,
        ),
        (
            "file,label,split\nimg/0.png,a,train\nimg/1.png,b,trainval\n",
            "the part of the data is not known: line 3 (trainval); write train, val or test",
            ErrorKind::BadImages,
        ),
        (
            "file,label,split\nimg/0.png,a,train\nimg/1.png,b,val\n",
            "labels are not known: line 3 (b); no picture of the training part has them",
            ErrorKind::BadImages,
        ),
        (
            "file,label,weight\nimg/0.png,a,1\nimg/1.png,b,-1\n",
            "a.csv, line 3: the weight is \"-1\"; expected a number of at least 0",
            ErrorKind::BadImages,
        ),
        (
            "file,label\nimg/0.png,a,b\n",
            "a.csv, line 2: 3 cells where the first line names 2 columns",
            ErrorKind::BadImages,
        ),
        (
            "file,label\n",
            "the table has no picture",
            ErrorKind::BadImages,
        ),
        ("", "the table has no picture", ErrorKind::BadImages),
    ] {
        let error = open("a.csv", text).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(error.kind(), kind, "{error}");
    }
    let dir = made("a.csv", "");
    fs::write(dir.path().join("a.csv"), b"file,label\nimg/0.png,\xff\n").unwrap();
    let error = ImageTable::open(dir.path().join("a.csv")).unwrap_err();
    assert!(
        error.to_string().contains("line 2: the text is not UTF-8"),
        "{error}"
    );
    let options = TableOptions {
        split: Some("fold".into()),
        ..TableOptions::default()
    };
    let error = opened("a.csv", "file,label\nimg/0.png,a\n", &options).unwrap_err();
    assert!(
        error.to_string().ends_with(
            "no column called fold; the columns are file, label; name one of them with --split-column"
        ),
        "{error}"
    );
}

#[test]
fn a_number_to_learn_is_found_where_nothing_else_could_be_meant() {
    let ages = "file,age,split\nimg/0.png,31,train\nimg/1.png,4.5,train\nimg/2.png,77,val\n";
    let (_dir, table) = opened("a.csv", ages, &TableOptions::default()).unwrap();
    assert_eq!(table.task(), Task::Regression);
    assert_eq!(table.classes(), ["age"]);
    assert!(table.to_string().contains("numbers in age"), "{table}");
    let (train, val) = table.open_split(0.2, 0).unwrap();
    assert_eq!(train.targets, Some(vec![31.0, 4.5]));
    assert_eq!(val.targets, Some(vec![77.0]));
    // Two numbers may be classes, and of two columns one has to be named.
    for text in [
        "file,sick\nimg/0.png,0\nimg/1.png,1\nimg/2.png,1\n",
        "file,age,height\nimg/0.png,1,2\nimg/1.png,3,5\nimg/2.png,7,8\n",
        "file,name\nimg/0.png,a\nimg/1.png,b\nimg/2.png,c\n",
    ] {
        let error = open("a.csv", text).unwrap_err().to_string();
        assert!(error.contains("no column for the labels"), "{error}");
    }
    // What a model learned is found by its name, among others and beside labels.
    let of_model = TableOptions {
        task: Some(Task::Regression),
        classes: Some(vec!["age".into()]),
        ..TableOptions::default()
    };
    let text = "file,label,age,height\nimg/0.png,a,1,2\nimg/1.png,b,3,5\n";
    let (_dir, table) = opened("a.csv", text, &of_model).unwrap();
    assert_eq!(table.open_all().targets, Some(vec![1.0, 3.0]));
    let named = TableOptions {
        task: Some(Task::Regression),
        ..TableOptions::default()
    };
    let error = opened("a.csv", "file,a,b\nimg/0.png,1,2\n", &named).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("name one of them with --target"),
        "{error}"
    );
    // Labels that are measured numbers are pointed out.
    let text = "file,label\nimg/0.png,1.5\nimg/1.png,2.25\nimg/2.png,3\n";
    let (_dir, table) = opened("a.csv", text, &TableOptions::default()).unwrap();
    assert_eq!(table.task(), Task::SingleLabel);
    let hint = table.hint().unwrap();
    assert!(hint.contains("--target label"), "{hint}");
}

#[test]
fn a_picture_in_several_folders_has_all_their_labels() {
    let dir = tempdir().unwrap();
    let places = [
        ("train", "cat", 0),
        ("train", "dog", 0),
        ("train", "dog", 1),
        ("train", "cat", 2),
        ("train", "old", 2),
        ("train", "dog", 2),
        ("val", "old", 3),
        ("val", "cat", 3),
        // The same picture in another part is another row.
        ("val", "dog", 1),
    ];
    for (at, (part, label, seed)) in places.iter().enumerate() {
        write_png(dir.path().join(format!("{part}/{label}/{at}.png")), *seed);
    }
    let options = TableOptions {
        task: Some(Task::MultiLabel),
        ..TableOptions::default()
    };
    let table = ImageTable::open_with(dir.path(), &options).unwrap();
    assert!(table.is_folder());
    assert_eq!(table.classes(), ["cat", "dog", "old"]);
    let (train, val) = table.open_split(0.2, 0).unwrap();
    let targets = [[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 0.0]];
    assert_eq!(train.targets.unwrap(), targets.concat());
    assert_eq!(
        val.targets.unwrap(),
        [[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]].concat()
    );
    let said = table.to_string();
    assert!(
        said.contains("one folder per label, 3 of 5 pictures in several"),
        "{said}"
    );
    // A model's labels in its own order; one that it doesn't know is refused.
    let known = |names: &[&str]| TableOptions {
        classes: Some(names.iter().map(ToString::to_string).collect()),
        ..options.clone()
    };
    let table = ImageTable::open_with(dir.path(), &known(&["old", "dog", "cat"])).unwrap();
    assert_eq!(
        table.open_evaluation().targets.unwrap(),
        [[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]].concat()
    );
    let error = ImageTable::open_with(dir.path(), &known(&["old", "dog"])).unwrap_err();
    assert!(matches!(error, Error::UnknownClasses { .. }), "{error}");
    let column = TableOptions {
        label: Some("label".into()),
        ..options
    };
    for options in [TableOptions::default(), column] {
        let error = ImageTable::open_with(dir.path(), &options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidOption, "{error}");
    }
}
