//! Tables as pandas, R and spreadsheets write them. Texts and numbers are those of pandas 3.1.1: `to_csv()` for the index,
//! `to_csv(sep=";", decimal=",", encoding="utf-8-sig")` for a spreadsheet's, and `read_csv` with the same for what they mean.

use rekindle_imagefolder::{TableOptions, Task};

use crate::table::{open, opened};

#[test]
fn a_column_that_numbers_the_lines_is_left_alone_and_said() {
    let plain = ",file,age\n0,img/0.png,31.5\n1,img/1.png,4.25\n2,img/2.png,1000.0\n";
    let read_again = plain.replacen(",file", "Unnamed: 0,file", 1);
    // A part of a larger table, and R's numbers from 1 with its quotes.
    let of_a_part = ",file,age\n17,img/0.png,31.5\n3,img/1.png,4.25\n240,img/2.png,1000.0\n";
    let of_r = "\"\",\"file\",\"age\"\n\"1\",\"img/0.png\",31.5\n\"2\",\"img/1.png\",4.25\n\"3\",\"img/2.png\",1000\n";
    for (text, name) in [
        (plain, "column 1"),
        (&read_again, "Unnamed: 0"),
        (of_a_part, "column 1"),
        (of_r, "column 1"),
    ] {
        let (_dir, table) = open("a.csv", text).unwrap();
        assert_eq!(
            (table.task(), table.classes()),
            (Task::Regression, &["age".to_string()][..])
        );
        assert_eq!(table.open_all().targets, Some(vec![31.5, 4.25, 1000.0]));
        let said = format!("numbers in age; {name} numbers the lines and is left alone");
        assert!(table.to_string().ends_with(&said), "{table}");
    }
    // Beside labels it never was in the way, and now is told.
    let (_dir, table) = open("a.csv", ",file,label\n0,img/0.png,a\n1,img/1.png,b\n").unwrap();
    assert_eq!(table.classes(), ["a", "b"]);
    assert!(table.to_string().contains("column 1 numbers"), "{table}");
    // What was asked for is taken, and what isn't an index is none.
    let named = TableOptions {
        label: Some("Unnamed: 0".into()),
        task: Some(Task::Regression),
        ..TableOptions::default()
    };
    let (_dir, table) = opened("a.csv", &read_again, &named).unwrap();
    assert_eq!(table.open_all().targets, Some(vec![0.0, 1.0, 2.0]));
    assert!(!table.to_string().contains("left alone"), "{table}");
    for text in [
        ",file,age\n0,img/0.png,31.5\n0,img/1.png,4.25\n2,img/2.png,1000.0\n",
        ",file,age\nx,img/0.png,31.5\ny,img/1.png,4.25\nz,img/2.png,1000.0\n",
    ] {
        let error = open("a.csv", text).unwrap_err().to_string();
        assert!(error.contains("column 1 has no name: write one"), "{error}");
    }
    // The files themselves as pandas' index.
    let error = open("a.csv", ",label\nimg/0.png,a\nimg/1.png,b\n").unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("no column for the pictures' files"),
        "{error}"
    );
    assert!(error.contains("column 1 has no name: write one"), "{error}");
}

#[test]
fn a_comma_before_the_fraction_is_read_where_semicolons_separate_cells() {
    // As a spreadsheet saves it on Windows, byte order mark and all.
    let text = "\u{feff}file;age\r\nimg/0.png;31,5\r\nimg/1.png;4,25\r\nimg/2.png;1000,0\r\n";
    let (_dir, table) = open("a.csv", text).unwrap();
    assert_eq!(table.task(), Task::Regression);
    assert_eq!(table.open_all().targets, Some(vec![31.5, 4.25, 1000.0]));
    let text = "file;age\nimg/0.png;-3,5\nimg/1.png;1,5e2\nimg/2.png;4\n";
    let (_dir, table) = open("a.csv", text).unwrap();
    assert_eq!(table.open_all().targets, Some(vec![-3.5, 150.0, 4.0]));
    // Weights, labels of 0 and 1, and grades.
    let text = "file;label;weight\nimg/0.png;a;0,5\nimg/1.png;b;2\n";
    let (_dir, table) = open("a.csv", text).unwrap();
    assert_eq!(table.open_all().weights, Some(vec![0.5, 2.0]));
    let marked = TableOptions {
        labels: vec!["sea".into(), "sky".into()],
        ..TableOptions::default()
    };
    let text = "file;sea;sky\nimg/0.png;1,0;0,0\nimg/1.png;0;1\n";
    let (_dir, table) = opened("a.csv", text, &marked).unwrap();
    assert_eq!(table.open_all().targets, Some(vec![1.0, 0.0, 0.0, 1.0]));
    let grades = TableOptions {
        task: Some(Task::Ordinal),
        ..TableOptions::default()
    };
    let text = "file;label\nimg/0.png;1,5\nimg/1.png;10\nimg/2.png;1,25\n";
    let (_dir, table) = opened("a.csv", text, &grades).unwrap();
    assert_eq!(
        (table.classes(), table.hint()),
        (&["1,25", "1,5", "10"].map(String::from)[..], None)
    );
    // A comma in names is none of numbers.
    let (_dir, table) = open("a.csv", "file;label\nimg/0.png;red, ripe\nimg/1.png;b\n").unwrap();
    assert_eq!(table.classes(), ["b", "red, ripe"]);
}

#[test]
fn numbers_that_may_be_meant_in_two_ways_are_refused_with_what_to_do() {
    let point = "; write fractions behind a point and nothing between thousands, or save the table with ; between cells, where \
                 commas before fractions are read";
    let alike = "; other numbers of the column have a comma before their fraction: write all alike, and nothing between thousands";
    for (name, text, said, line, advice) in [
        (
            "a.csv",
            "file,age\nimg/0.png,1\nimg/1.png,\"3,5\"\nimg/2.png,7\n",
            "3,5",
            3,
            point,
        ),
        (
            "a.tsv",
            "file\tage\nimg/0.png\t1,234\nimg/1.png\t3\nimg/2.png\t7\n",
            "1,234",
            2,
            point,
        ),
        (
            "a.csv",
            "file;age\nimg/0.png;3,5\nimg/1.png;4.5\nimg/2.png;7\n",
            "4.5",
            3,
            alike,
        ),
        // pandas takes neither for a number.
        (
            "a.csv",
            "file;age\nimg/0.png;1\nimg/1.png;1.000,5\nimg/2.png;7\n",
            "1.000,5",
            3,
            alike,
        ),
        (
            "a.csv",
            "file,age\nimg/0.png,1\nimg/1.png,\"1,000.5\"\nimg/2.png,7\n",
            "1,000.5",
            3,
            point,
        ),
    ] {
        for options in [
            TableOptions::default(),
            TableOptions {
                label: Some("age".into()),
                task: Some(Task::Regression),
                ..TableOptions::default()
            },
        ] {
            let error = opened(name, text, &options).unwrap_err().to_string();
            let expected =
                format!("line {line}: \"{said}\" stands in age; expected a number{advice}");
            assert!(error.ends_with(&expected), "{error}");
        }
    }
    let error = open("a.csv", "file,label,weight\nimg/0.png,a,\"0,5\"\n").unwrap_err();
    assert!(error.to_string().ends_with(point), "{error}");
}
