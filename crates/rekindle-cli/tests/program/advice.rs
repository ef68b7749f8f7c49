//! What can't be done is said with what can: options that exist, and files by what they are.

use std::fs;
use std::path::Path;

use rekindle::drawings::{DrawingTask, TargetTask};

use crate::workshop::{HOSTILE, program, rekindle, text, workshop};

/// Standard error of a call that ends with `code`.
#[track_caller]
fn said(arguments: &[&str], code: i32) -> String {
    rekindle(arguments).ends_with(code).stderr
}

#[track_caller]
fn contains(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn a_file_that_is_no_table_is_called_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        text(&path).to_string()
    };
    let zip = write(
        "photos.zip",
        b"PK\x03\x04\x14\0\0\0\x08\0\xff\xfe\xfd\xfcphotos/1.jpg",
    );
    let sheet = write(
        "photos.xlsx",
        b"PK\x03\x04\x14\0\0\0\x08\0\xff\xfe\xfd\xfc[Content_Types].xml",
    );
    let gzip = write("photos.tar.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xff\xff");
    let picture = workshop().data.join("val/ants/0000.png");
    let weights = text(&workshop().weights);
    for (file, found, advice) in [
        (
            text(&picture),
            "this is a picture, not a table",
            "give the folder that holds one sub-folder per class",
        ),
        (&*zip, "this is a ZIP archive", "unpack it"),
        (&*sheet, "this is a spreadsheet", "save it as CSV"),
        (&*gzip, "this is an archive or compressed", "unpack it"),
    ] {
        contains(
            &said(&["fit", file, "--weights", weights], 3),
            &[found, advice],
        );
        contains(&said(&["verify", file], 3), &[found, advice]);
    }
    let latin = write("latin.csv", b"file,label\n\xe4.png,a\n");
    contains(
        &said(&["verify", &latin], 3),
        &["line 2: the text is not UTF-8"],
    );
}

#[test]
fn one_picture_a_class_is_too_few_to_train_and_so_to_advise() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("single");
    for (at, class) in ["a", "b"].into_iter().enumerate() {
        fs::create_dir_all(data.join(class)).unwrap();
        let from = workshop().data.join(format!("val/ants/000{at}.png"));
        fs::copy(from, data.join(class).join("1.png")).unwrap();
    }
    let (data, out) = (text(&data).to_string(), folder.path().join("runs"));
    let weights = text(&workshop().weights);
    for arguments in [
        &["advise", &data, "--weights", weights][..],
        &["fit", &data, "--weights", weights, "--out", text(&out)],
        &[
            "train",
            &data,
            "--weights",
            weights,
            "--out",
            text(&out),
            "-s",
            "one-call",
        ],
    ] {
        contains(
            &said(arguments, 3),
            &[
                "2 images (a 1, b 1), too few to hold some out",
                "two images or more of a class",
            ],
        );
    }
    let folds = [
        "train",
        &data,
        "--weights",
        weights,
        "--out",
        text(&out),
        "--folds",
        "2",
    ];
    contains(
        &said(&folds, 2),
        &["1 image of a can't be spread over 2 folds; give more images"],
    );
    let table = folder.path().join("groups.csv");
    fs::write(&table, "file,label,group\na/1.png,a,x\nb/1.png,b,x\n").unwrap();
    let grouped = [
        "fit",
        &data,
        "--table",
        text(&table),
        "--weights",
        weights,
        "--out",
        text(&out),
    ];
    contains(
        &said(&grouped, 3),
        &["groups.csv", "2 images in 1 group, too few"],
    );
}

#[test]
fn a_taken_place_says_whether_what_is_there_can_be_resumed() {
    let workshop = workshop();
    let (data, weights) = (text(&workshop.data), text(&workshop.weights));
    let folder = tempfile::tempdir().unwrap();
    let done = folder.path().join("done");
    let fit = |out: &Path, code| {
        said(
            &[
                "fit",
                data,
                "--weights",
                weights,
                "--minutes",
                "0.05",
                "--out",
                text(out),
            ],
            code,
        )
    };
    fit(&done, 0);
    let refused = fit(&done, 2);
    contains(
        &refused,
        &["a search that is done", "choose another folder"],
    );
    assert!(!refused.contains("--resume"), "{refused}");
    let foreign = folder.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("notes.txt"), "mine").unwrap();
    contains(
        &fit(&foreign, 2),
        &[
            "holds no run that could be resumed",
            "choose another folder",
        ],
    );
    contains(
        &fit(&workshop.runs.join("features"), 2),
        &["resume that run (--resume)"],
    );
}

#[test]
fn a_folder_without_class_folders_is_not_called_empty() {
    let model = workshop().runs.join("features");
    let ants = workshop().data.join("val/ants");
    let evaluated = said(&["evaluate", text(&model), text(&ants)], 3);
    contains(
        &evaluated,
        &["but no class folders", "into a folder of their own"],
    );
}

#[test]
fn a_run_without_a_finished_epoch_says_how_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("features");
    fs::create_dir(&run).unwrap();
    for name in ["run.json", "classes.json"] {
        fs::copy(workshop().runs.join("features").join(name), run.join(name)).unwrap();
    }
    let picture = workshop().data.join("val/ants/0000.png");
    for arguments in [
        &["predict", text(&run), text(&picture)][..],
        &["evaluate", text(&run), text(&workshop().data)],
        &[
            "export",
            text(&run),
            "--out",
            text(&folder.path().join("m.onnx")),
        ],
    ] {
        contains(
            &said(arguments, 1),
            &["no epoch of it is finished", "--resume"],
        );
    }
}

#[test]
fn runs_at_any_depth_are_reported_together() {
    let folder = tempfile::tempdir().unwrap();
    let (top, deep) = (
        folder.path().join("runs/a"),
        folder.path().join("runs/b/c/d"),
    );
    for (from, to) in [("features", &top), ("scratch", &deep)] {
        fs::create_dir_all(to).unwrap();
        for file in [
            "run.json",
            "classes.json",
            "metrics.jsonl",
            "best.safetensors",
        ] {
            fs::copy(workshop().runs.join(from).join(file), to.join(file)).unwrap();
        }
    }
    let runs = folder.path().join("runs");
    let page = folder.path().join("report.html");
    let told = rekindle(["report", text(&runs), "--out", text(&page), "--json"])
        .ends_with(0)
        .json();
    let found: Vec<&str> = told["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| run["directory"].as_str().unwrap())
        .collect();
    assert_eq!(found, [text(&top), text(&deep)]);
}

#[test]
fn images_that_are_elsewhere_name_the_option_that_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("insects");
    TargetTask.write_folder(&data, 6, 4, 1).unwrap();
    let at = |place: &Path, arguments: &[&str]| {
        let output = program()
            .current_dir(place)
            .args(arguments)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), text)
    };
    let weights = text(&workshop().weights);
    let train = [
        "train",
        "insects",
        "--weights",
        weights,
        "--out",
        "runs",
        "-s",
        "one-call",
    ];
    assert_eq!(at(folder.path(), &train).0, Some(0));
    let run = folder.path().join("runs/one-call");
    let elsewhere = tempfile::tempdir().unwrap();
    let (code, report) = at(elsewhere.path(), &["report", text(&run)]);
    assert_eq!(code, Some(0));
    contains(
        &report,
        &[
            "insects, which is not there as seen from the working directory",
            "--data",
        ],
    );
    let export = ["export", text(&run), "--out", "m.onnx", "--quantize"];
    let (code, refused) = at(elsewhere.path(), &export);
    assert_eq!(code, Some(3));
    contains(&refused, &["insects, which is not there", "--data"]);
    let given = export.into_iter().chain(["--data", text(&data)]);
    assert_eq!(at(elsewhere.path(), &given.collect::<Vec<_>>()).0, Some(0));
}

#[test]
fn an_option_of_another_command_is_pointed_out() {
    let refused = said(&["fit", "photos", "--epochs", "3"], 2);
    contains(&refused, &["--epochs is an option of rekindle train"]);
    assert!(!refused.contains("-- --epochs"), "{refused}");
    contains(
        &said(&["predict", "m", "--lr=0.1"], 2),
        &["--lr is an option of rekindle train"],
    );
    let unknown = said(&["fit", "photos", "--magic"], 2);
    assert!(
        !unknown.contains("tip: to pass") && !unknown.contains("is an option of"),
        "{unknown}"
    );
    contains(
        &said(&["train", "photos", "--epoch", "3"], 2),
        &["similar argument exists: '--epochs'"],
    );
}

#[test]
fn a_weight_for_no_class_is_found_before_anything_is_computed() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("runs");
    let (data, weights) = (text(&workshop().data), text(&workshop().weights));
    let train = [
        "train",
        data,
        "--weights",
        weights,
        "--out",
        text(&out),
        "-s",
        "one-call,features",
    ];
    let refused = said(&[&train[..], &["--class-weights", "ant=5"]].concat(), 2);
    contains(
        &refused,
        &["a weight for ant, where the classes are", "ants", HOSTILE],
    );
    assert!(
        !out.exists() && !refused.contains("features of the"),
        "{refused}"
    );
}

#[test]
fn a_picture_that_is_not_there_is_named() {
    let called = said(
        &[
            "similar",
            text(&workshop().data),
            "nix.jpg",
            "--weights",
            text(&workshop().weights),
        ],
        3,
    );
    contains(&called, &["nix.jpg: cannot read", "`rekindle verify`"]);
}

#[test]
fn classes_without_images_are_said_beside_the_mean_of_all() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("val");
    fs::create_dir_all(data.join("ants")).unwrap();
    for name in ["0000.png", "0001.png"] {
        fs::copy(
            workshop().data.join("val/ants").join(name),
            data.join("ants").join(name),
        )
        .unwrap();
    }
    let model = workshop().runs.join("features");
    let evaluated = rekindle(["evaluate", text(&model), text(&data)])
        .ends_with(0)
        .stdout;
    contains(
        &evaluated,
        &[&format!("no images of {HOSTILE}: F1 is 0 there")],
    );
    let all = rekindle(["evaluate", text(&model), text(&workshop().data)])
        .ends_with(3)
        .stdout;
    assert!(!all.contains("no images of"), "{all}");
}
