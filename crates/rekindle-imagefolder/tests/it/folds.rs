//! Folds for cross-validation, and tables that are written.

use std::path::PathBuf;

use rekindle_imagefolder::{Error, ImageFolder, ImageTable, Sample, TablePart, Task};
use tempfile::tempdir;

use crate::made::write_png;

/// Pictures that exist by name alone, of classes `a`, `b` and so on.
fn part(labels: &[usize]) -> TablePart {
    let classes = (0..=*labels.iter().max().unwrap())
        .map(|class| format!("class {class}"))
        .collect();
    let samples = labels.iter().enumerate().map(|(at, label)| Sample {
        path: PathBuf::from(format!("pictures/{at}.png")),
        label: Some(*label),
    });
    ImageFolder::from_samples("pictures", classes, samples.collect())
        .unwrap()
        .into()
}

fn sizes(folds: &[usize], count: usize, of: impl Fn(usize) -> bool) -> Vec<usize> {
    let is_in = |at: &usize, fold| folds[*at] == fold && of(*at);
    let of_fold = |fold| (0..folds.len()).filter(|at| is_in(at, fold)).count();
    (0..count).map(of_fold).collect()
}

#[test]
fn every_class_and_the_whole_are_spread_evenly() {
    let labels: Vec<usize> = (0..97)
        .map(|at| usize::from(at % 9 == 0) + usize::from(at > 50))
        .collect();
    let part = part(&labels);
    for count in [2, 3, 5] {
        let folds = part.folds(count, None, 4).unwrap();
        let even = |sizes: Vec<usize>| {
            let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
            assert!(most - least <= 1, "{sizes:?}");
        };
        even(sizes(&folds, count, |_| true));
        for class in 0..3 {
            even(sizes(&folds, count, |at| labels[at] == class));
        }
        assert_eq!(part.folds(count, None, 4).unwrap(), folds);
        assert_ne!(part.folds(count, None, 5).unwrap(), folds);
    }
}

#[test]
fn groups_and_labels_stay_whole_and_even() {
    let labels: Vec<usize> = (0..90).map(|at| at / 3 % 2).collect();
    let groups: Vec<usize> = (0..90).map(|at| at / 3).collect();
    let grouped = part(&labels);
    let folds = grouped.folds(5, Some(&groups), 1).unwrap();
    assert!(
        folds
            .chunks(3)
            .all(|group| group.iter().all(|fold| *fold == group[0]))
    );
    assert_eq!(sizes(&folds, 5, |_| true), [18; 5]);
    assert_eq!(sizes(&folds, 5, |at| labels[at] == 0), [9; 5]);

    // Of two labels that stand together or alone each is spread.
    let targets: Vec<f32> = (0..60)
        .flat_map(|at| {
            [
                f32::from(u8::from(at % 3 < 2)),
                f32::from(u8::from(at % 4 == 0)),
            ]
        })
        .collect();
    let several = TablePart {
        task: Task::MultiLabel,
        targets: Some(targets.clone()),
        ..part(&(0..60).map(|at| at % 2).collect::<Vec<_>>())
    };
    let folds = several.folds(5, None, 0).unwrap();
    for label in 0..2 {
        let sizes = sizes(&folds, 5, |at| targets[2 * at + label] > 0.5);
        let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
        assert!(most - least <= 1, "{sizes:?}");
    }
}

#[test]
fn too_few_images_and_groups_are_refused_by_name() {
    let small = part(&[0, 0, 0, 0, 0, 0, 1, 1]);
    let said = |count, groups: Option<&[usize]>| {
        let error = small.folds(count, groups, 0).unwrap_err();
        assert!(matches!(error, Error::InvalidOption { .. }));
        error.to_string()
    };
    assert!(small.folds(2, None, 0).is_ok());
    assert!(
        said(3, None).contains("2 images of class 1"),
        "{}",
        said(3, None)
    );
    assert!(said(1, None).contains("at least 2"));
    let groups = [0, 1, 2, 3, 4, 5, 6, 6];
    assert!(said(2, Some(&groups)).contains("1 group of class 1"));
    assert!(said(2, Some(&groups[1..])).contains("7 groups for 8 images"));
}

#[test]
fn a_table_that_is_written_reads_back_as_it_was() {
    let dir = tempdir().unwrap();
    let names = [" a,b .png", "\"c\"\n.png", "x\\x41.png", "plain.png"];
    let mut samples = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let path = dir.path().join(name);
        write_png(&path, at as u32);
        samples.push(Sample {
            path,
            label: Some(at % 2),
        });
    }
    // Not the order in which a table would sort them.
    let classes = vec!["z; last".to_string(), "first, \"quoted\"".to_string()];
    let images = ImageFolder::from_samples(dir.path(), classes, samples).unwrap();
    let whole = TablePart {
        weights: Some(vec![1.0, 0.1, 2.5, 0.0]),
        groups: Some(vec![0, 1, 1, 0]),
        ..images.clone().into()
    };
    let several = TablePart {
        task: Task::MultiLabel,
        targets: Some(vec![1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0]),
        images: images.clone(),
        weights: None,
        groups: None,
    };
    let numbers = TablePart {
        task: Task::Regression,
        targets: Some(vec![0.1, -3.5e-12, 7.0, 1e30, 0.3, 2.0, 0.5, 0.25]),
        ..several.clone()
    };
    for (task, part) in [&whole, &several, &numbers].into_iter().enumerate() {
        let (train, val) = (part.subset(&[2, 0]), part.subset(&[3, 1]));
        let path = dir.path().join(format!("{task}.csv"));
        let table = ImageTable::create(&path, &[("train", &train), ("val", &val)]).unwrap();
        let (read_train, read_val) = table.open_split(0.2, 0).unwrap();
        for (read, written) in [(read_train, train), (read_val, val)] {
            assert_eq!(read.images.classes(), written.images.classes());
            assert_eq!(read.targets, written.targets);
            assert_eq!(read.weights, written.weights);
            let paths = |part: &TablePart| -> Vec<PathBuf> {
                let samples = part.images.samples().iter();
                samples.map(|sample| sample.path.clone()).collect()
            };
            assert_eq!(paths(&read), paths(&written));
            if part.task == Task::SingleLabel {
                assert_eq!(read.images.samples(), written.images.samples());
            }
        }
        let groups = table.open_all().groups;
        assert_eq!(groups.is_some(), part.groups.is_some());
        // 2 and 1 were of one group, 0 and 3 of another.
        groups.inspect(|groups| assert_eq!(groups[..], [0, 1, 1, 0]));
    }
    let spaced = vec!["a ".to_string(), "b".to_string()];
    let spaced = ImageFolder::from_samples(dir.path(), spaced, images.samples().to_vec()).unwrap();
    let error = ImageTable::create(dir.path().join("no.csv"), &[("train", &spaced.into())]);
    assert!(error.unwrap_err().to_string().contains("ends with a space"));
}
