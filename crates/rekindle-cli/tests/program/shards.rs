//! Many pictures on several machines: shards, caches that are merged, and what comes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use image::{Rgb, RgbImage};
use serde_json::Value;

use crate::workshop::{Called, HOSTILE, program, rekindle, text, workshop};

/// Small pictures, all different, half of them brighter below: `count` in each class of each part.
fn pictures(folder: &Path, count: usize) {
    for (part, first) in [("train", 0), ("val", count)] {
        for (label, class) in ["bottom", "top"].iter().enumerate() {
            let folder = folder.join(part).join(class);
            fs::create_dir_all(&folder).unwrap();
            for index in first..first + count {
                let picture = RgbImage::from_fn(12, 12, |x, y| {
                    let is_bright = (y < 6) == (label == 1);
                    let noise = (x as usize * 31 + y as usize * 17 + index * 101) % 60;
                    let level = if is_bright { 120 } else { 60 } + noise;
                    Rgb([level as u8, (index % 256) as u8, (index / 256) as u8])
                });
                picture
                    .save(folder.join(format!("{index:05}.bmp")))
                    .unwrap();
            }
        }
    }
}

/// Every file below a folder, with its bytes.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => drop(found.insert(path.clone(), fs::read(&path).unwrap())),
        }
    }
    found
}

/// Whether a process that is still writing has left a whole file of both, the network's own features and those of two levels.
fn has_chunks(cache: &Path) -> bool {
    let inside = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let chunks = inside(cache).into_iter().flat_map(|key| inside(&key));
    let is_whole = |path: &PathBuf| path.extension().is_some_and(|end| end == "safetensors");
    chunks.filter(is_whole).count() > 1
}

fn features<'a>(data: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let fixed = [
        "features",
        text(data),
        "--weights",
        text(&workshop().weights),
        "--json",
    ];
    fixed.into_iter().chain(more.iter().copied()).collect()
}

fn number(told: &Value, name: &str) -> u64 {
    told[name].as_u64().unwrap()
}

fn accuracy_of_one_call(data: &Path, out: &Path, more: &[&str]) -> f64 {
    let fixed = [
        "train",
        text(data),
        "--weights",
        text(&workshop().weights),
        "--out",
        text(out),
    ];
    let options = ["--strategy", "one-call", "--json"];
    let called = rekindle(fixed.iter().chain(&options).chain(more)).ends_with(0);
    called.json()["runs"][0]["best_accuracy"].as_f64().unwrap()
}

#[test]
fn shards_that_were_killed_and_merged_have_the_bits_of_one_process() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    let data = at("data");
    pictures(&data, 700);
    let (alone, together) = (at("alone.safetensors"), at("together.safetensors"));
    let told = rekindle(features(&data, &["--out", text(&alone)]))
        .ends_with(0)
        .json();
    assert_eq!(
        (number(&told, "images"), number(&told, "computed")),
        (2800, 2800)
    );

    // The first is killed as soon as it has left something, and begun again.
    let (a, b) = (at("a"), at("b"));
    let first = features(&data, &["--shard", "0/2", "--cache", text(&a)]);
    let mut killed = program()
        .args(&first)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while !has_chunks(&a) {
        assert!(begun.elapsed() < Duration::from_secs(120));
        std::thread::sleep(Duration::from_millis(2));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let told = rekindle(&first).ends_with(0).json();
    let (found, computed) = (number(&told, "found"), number(&told, "computed"));
    assert!(found >= 1024 && computed > 0, "{told}");
    assert_eq!(found + computed, number(&told, "images"));
    let again = rekindle(&first).ends_with(0).json();
    assert_eq!(
        (number(&again, "found"), number(&again, "computed")),
        (found + computed, 0)
    );
    let second = features(&data, &["--shard", "1/2", "--cache", text(&b)]);
    let second = rekindle(second).ends_with(0).json();
    assert_eq!(number(&told, "images") + number(&second, "images"), 2800);

    let merged = at("merged");
    let merge = [
        "merge-caches",
        text(&a),
        text(&b),
        "--out",
        text(&merged),
        "--json",
    ];
    let told = rekindle(merge).ends_with(0).json();
    let rows = &told["features"][0];
    assert_eq!(
        (number(rows, "added"), number(rows, "total")),
        (2800, 2800),
        "{told}"
    );
    let kept = files(&merged);
    let told = rekindle(merge).ends_with(0).json();
    let rows = &told["features"][0];
    assert_eq!(
        (number(rows, "added"), number(rows, "present")),
        (0, 2800),
        "{told}"
    );

    let cached = ["--cache", text(&merged)];
    let call = features(&data, &["--out", text(&together), cached[0], cached[1]]);
    let told = rekindle(call).ends_with(0).json();
    assert_eq!(number(&told, "computed"), 0);
    assert_eq!(fs::read(&alone).unwrap(), fs::read(&together).unwrap());
    assert_eq!(
        accuracy_of_one_call(&data, &at("runs-alone"), &[]),
        accuracy_of_one_call(&data, &at("runs-together"), &cached)
    );
    let asked = data.join("val/top");
    let similar = [
        "similar",
        text(&data),
        text(&asked),
        "--weights",
        text(&workshop().weights),
    ];
    let similar = |more: &[&str]| rekindle(similar.iter().chain(more)).ends_with(0).stdout;
    assert_eq!(similar(&[]), similar(&cached));
    // Nobody computed anything that would have been kept.
    assert!(kept == files(&merged));
}

#[test]
fn processes_fill_one_folder_at_once_and_fit_goes_on_from_it() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    let (data, cache) = (&workshop().data, at("cache"));
    let shards: Vec<_> = (0..3)
        .map(|index| {
            let shard = format!("{index}/3");
            program()
                .args(features(
                    data,
                    &["--shard", &shard, "--cache", text(&cache)],
                ))
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let told: Vec<Called> = shards
        .into_iter()
        .map(|shard| shard.wait_with_output().unwrap().into())
        .collect();
    // Two files can't be read, each in one shard.
    let sum = |name: &str| {
        told.iter()
            .map(|called| number(&called.json(), name))
            .sum::<u64>()
    };
    assert_eq!((sum("images"), sum("computed")), (62, 60));
    assert!(told.iter().any(|called| called.code == 3));
    let kept = files(&cache);
    let (alone, together) = (at("alone.safetensors"), at("together.safetensors"));
    let cached = ["--cache", text(&cache)];
    for (out, more, computed) in [(&alone, &[][..], 60), (&together, &cached[..], 0)] {
        for layer in ["pooled", "logits"] {
            let options = ["--out", text(out), "--layer", layer];
            let call = [&options[..], more].concat();
            let told = rekindle(features(data, &call)).ends_with(3).json();
            assert_eq!(number(&told, "computed"), computed);
        }
    }
    assert_eq!(fs::read(&alone).unwrap(), fs::read(&together).unwrap());
    let run = at("run");
    let fixed = [
        "fit",
        text(data),
        "--weights",
        text(&workshop().weights),
        "--minutes",
        "0.1",
    ];
    let options = ["--out", text(&run), "--json"];
    rekindle(fixed.iter().chain(&options).chain(&cached)).ends_with(0);
    let after = files(&cache);
    assert!(
        kept.iter()
            .all(|(path, bytes)| after.get(path) == Some(bytes))
    );
    // The network's own features, and those of two levels: nothing was added to either.
    let folders: BTreeSet<_> = kept.keys().filter_map(|path| path.parent()).collect();
    assert_eq!(folders.len(), 2);
    let now: usize = folders.iter().map(|folder| files(folder).len()).sum();
    assert_eq!(now, kept.len());
}

#[test]
fn damaged_files_are_left_out_by_name_and_their_rows_are_computed_again() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    let data = workshop().data.join("val").join(HOSTILE);
    for shard in ["0", "1"] {
        let (cache, shard) = (at(shard), format!("{shard}/2"));
        rekindle(features(
            &data,
            &[
                "--shard",
                &shard,
                "--cache",
                text(&cache),
                "--keep-architecture",
            ],
        ))
        .ends_with(0);
    }
    let damaged = files(&at("1")).into_keys().next().unwrap();
    let mut bytes = fs::read(&damaged).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&damaged, bytes).unwrap();
    let merged = at("merged");
    let caches = [at("0"), at("1")];
    let merge = [
        "merge-caches",
        text(&caches[0]),
        text(&caches[1]),
        "--out",
        text(&merged),
        "--json",
    ];
    let called = rekindle(merge).ends_with(1);
    assert!(called.stderr.contains(text(&damaged)), "{}", called.stderr);
    let kept = number(&called.json()["features"][0], "total");
    assert!((1..20).contains(&kept));
    let out = at("out.safetensors");
    let call = features(&data, &["--out", text(&out), "--cache", text(&merged)]);
    let told = rekindle(call).ends_with(0).json();
    assert_eq!(number(&told, "computed"), 20 - kept);
}

#[test]
fn a_shard_may_be_empty_and_one_that_is_none_is_refused() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    let data = at("data");
    pictures(&data, 1);
    let cache = at("cache");
    let empty = (0..64)
        .map(|index| format!("{index}/64"))
        .map(|shard| {
            let call = features(&data, &["--shard", &shard, "--cache", text(&cache)]);
            number(&rekindle(call).ends_with(0).json(), "images")
        })
        .take(8)
        .filter(|images| *images == 0)
        .count();
    assert!(empty >= 4 && cache.is_dir());
    let out = at("out.safetensors");
    let (cache, out) = (text(&cache), text(&out));
    for (options, expected) in [
        (vec!["--shard", "2/2", "--cache", cache], "from 0 to 1"),
        (vec!["--shard", "one", "--cache", cache], "I/N"),
        (vec!["--shard", "0/2"], "--cache"),
        (
            vec!["--shard", "0/2", "--cache", cache, "--out", out],
            "--out",
        ),
        (
            vec!["--shard", "0/2", "--cache", cache, "--layer", "logits"],
            "--layer",
        ),
        (vec!["--cache", cache], "--out"),
    ] {
        let called = rekindle(features(&data, &options)).ends_with(2);
        assert!(called.stderr.contains(expected), "{}", called.stderr);
    }
    for (caches, expected) in [
        (vec!["nowhere"], "no feature cache"),
        (vec![text(&data)], "64 hexadecimal digits"),
        (vec![cache, "merged"], "among the caches"),
    ] {
        fs::create_dir_all(at("merged")).unwrap();
        let merged = at("merged");
        let caches = caches.iter().map(|cache| match *cache {
            "merged" => text(&merged),
            other => other,
        });
        let call = ["merge-caches", "--out", text(&merged)]
            .into_iter()
            .chain(caches);
        let called = rekindle(call).ends_with(2);
        assert!(called.stderr.contains(expected), "{}", called.stderr);
    }
}

/// The script for Slurm, as its array would call it.
#[cfg(unix)]
#[test]
fn the_script_for_slurm_fills_caches_that_merge() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    let data = &workshop().data;
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/cluster/features.slurm"
    );
    let own = Path::new(env!("CARGO_BIN_EXE_rekindle")).parent().unwrap();
    let paths = std::env::var("PATH").unwrap_or_default();
    for task in 0..4 {
        let called = std::process::Command::new("bash")
            .args([
                script,
                text(data),
                text(&workshop().weights),
                text(&at("kept")),
            ])
            .env("PATH", format!("{}:{paths}", text(own)))
            .env("SHARDS", "4")
            .env("SLURM_ARRAY_TASK_ID", task.to_string())
            .output()
            .unwrap();
        Called::from(called).ends_with(0);
    }
    let caches: Vec<PathBuf> = (0..4)
        .map(|task| at("kept").join(format!("shard-{task}")))
        .collect();
    let merged = at("merged");
    let call = ["merge-caches", "--out", text(&merged), "--json"];
    let called = rekindle(
        call.into_iter()
            .chain(caches.iter().map(|cache| text(cache))),
    );
    assert_eq!(
        number(&called.ends_with(0).json()["features"][0], "total"),
        60
    );
}
