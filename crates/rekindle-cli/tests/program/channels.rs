//! Pictures of other channels and depths than RGB of 8 bits, from the folder to the exported file.

use std::path::{Path, PathBuf};

use image::{ImageBuffer, Luma, Rgba};
use serde_json::Value;
use tempfile::TempDir;

use crate::workshop::{Called, rekindle, text, workshop};

/// Pictures in folders of two classes: `save` draws one at a path, of a class and with a number.
fn folder(save: impl Fn(&Path, u32, u32)) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    for at in 0..40 {
        let class = at % 2;
        let part = if at < 24 { "train" } else { "val" };
        let place = images.join(part).join(["left", "right"][class as usize]);
        std::fs::create_dir_all(&place).unwrap();
        save(&place.join(format!("{at}.png")), class, at);
    }
    (folder, images)
}

/// Colours are noise; what is bright in the fourth channel tells the class.
fn transparent() -> (TempDir, PathBuf) {
    folder(|path, class, at| {
        let picture = ImageBuffer::from_fn(48, 40, |x, y| {
            let noise = ((x * 31 + y * 17 + at * 101) % 60) as u8;
            let is_bright = (x < 24) == (class == 0);
            Rgba([
                noise,
                90 + noise,
                60,
                if is_bright { 190 + noise } else { noise },
            ])
        });
        picture.save(path).unwrap();
    })
}

/// Grey of 12 bits in 16.
fn dark() -> (TempDir, PathBuf) {
    folder(|path, class, at| {
        let picture = ImageBuffer::<Luma<u16>, Vec<u16>>::from_fn(48, 40, |x, y| {
            let noise = ((x * 131 + y * 177 + at * 101) % 900) as u16;
            let is_bright = (x < 24) == (class == 0);
            Luma([if is_bright { 3100 + noise } else { noise }])
        });
        picture.save(path).unwrap();
    })
}

fn train(images: &Path, out: &Path, options: &[&str]) -> Called {
    let mut arguments = vec!["train", text(images), "--out", text(out), "--seed", "1"];
    arguments.extend(["--weights", text(&workshop().weights), "--json"]);
    arguments.extend(options);
    rekindle(arguments)
}

fn accuracy(told: &Value) -> f64 {
    told["runs"][0]["best_accuracy"].as_f64().unwrap()
}

#[test]
fn a_fourth_channel_is_learnt_from_and_goes_into_every_file() {
    let (home, images) = transparent();
    let out = |name: &str| home.path().join(name);
    let one_call = ["--strategy", "one-call"];
    let blind = train(&images, &out("blind"), &one_call).ends_with(0).json();
    assert!(accuracy(&blind) < 0.8, "{blind}");
    let four = [&one_call[..], &["--channels", "4"]].concat();
    let told = train(&images, &out("four"), &four).ends_with(0).json();
    assert!(accuracy(&told) > 0.95, "{told}");
    let run = told["runs"][0]["directory"].as_str().unwrap();
    let record = std::fs::read(Path::new(run).join("classes.json")).unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    assert_eq!(record["preprocessing"]["channels"]["count"], 4);
    let picture = images.join("val/right/25.png");
    let answer = |model: &str| {
        let told = rekindle(["predict", model, text(&picture), "--json"]);
        told.ends_with(0).json()["predictions"].clone()
    };
    let expected = answer(run);
    assert_eq!(expected[0]["class"], "right");
    for extension in ["onnx", "safetensors", "bpk"] {
        let file = out("export").with_extension(extension);
        rekindle(["export", run, "--out", text(&file)]).ends_with(0);
        let found = answer(text(&file));
        let of = |told: &Value| told[0]["probability"].as_f64().unwrap();
        assert!((of(&found) - of(&expected)).abs() < 1e-4, "{extension}");
        let found = rekindle(["evaluate", text(&file), text(&images), "--json"]);
        let found = found.ends_with(0).json();
        assert_eq!(
            found["evaluation"]["accuracy"],
            told["runs"][0]["best_accuracy"]
        );
    }
    let onnx = out("pixels.onnx");
    let refused = ["export", run, "--with-preprocessing", "--out", text(&onnx)];
    let refused = rekindle(refused).ends_with(2);
    assert!(refused.stderr.contains("4 channels"), "{}", refused.stderr);
    // Other commands on the same pictures.
    let weights = text(&workshop().weights);
    let features = out("features.safetensors");
    let named = ["features", text(&images), "--weights", weights];
    let named = [&named[..], &["--channels", "4", "--out", text(&features)]].concat();
    rekindle(named).ends_with(0);
    let page = out("audit.html");
    let named = [
        "audit",
        text(&images),
        "--weights",
        weights,
        "--channels",
        "4",
    ];
    let audited = rekindle([&named[..], &["--out", text(&page), "--json"]].concat()).ends_with(0);
    assert_eq!(audited.json()["counts"]["unreadable"], 0);
}

#[test]
fn a_run_goes_on_with_the_channels_it_began_with() {
    let (home, images) = transparent();
    let out = home.path().join("runs");
    let begun = "--strategy discriminative-rates --channels 4 --batch 8 --epochs";
    let begun: Vec<&str> = begun.split(' ').chain(["1"]).collect();
    train(&images, &out, &begun).ends_with(0);
    let on = "--strategy discriminative-rates --batch 8 --resume --epochs 2";
    let on: Vec<&str> = on.split(' ').collect();
    let other = train(&images, &out, &[&on[..], &["--channels", "3"]].concat()).ends_with(2);
    assert!(other.stderr.contains("4 channels"), "{}", other.stderr);
    let told = train(&images, &out, &on).ends_with(0).json();
    assert_eq!(told["runs"][0]["epochs"], 2);
    let colours = [
        "--augment",
        "trivial",
        "--strategy",
        "finetune",
        "--channels",
        "4",
    ];
    let refused = train(&images, &home.path().join("trivial"), &colours).ends_with(2);
    let said = "--augment none, light or imagenet";
    assert!(refused.stderr.contains(said), "{}", refused.stderr);
}

#[test]
fn grey_of_12_bits_is_used_as_it_is() {
    let (home, images) = dark();
    let out = |name: &str| home.path().join(name);
    let one_call = ["--strategy", "one-call"];
    let refused = train(&images, &out("bytes"), &one_call).ends_with(3);
    let said = "--channels 1 --white 4095";
    assert!(refused.stderr.contains(said), "{}", refused.stderr);
    rekindle(["verify", text(&images)]).ends_with(3);
    rekindle(["verify", text(&images), "--channels", "1"]).ends_with(0);
    let dim = [&one_call[..], &["--channels", "1"]].concat();
    let dim = train(&images, &out("dim"), &dim).ends_with(0);
    let said = "the largest number in 24 training images is 0.06";
    assert!(dim.stderr.contains(said), "{}", dim.stderr);
    let whole = ["--channels", "1", "--white", "4095"];
    let whole = [&one_call[..], &whole].concat();
    let whole = train(&images, &out("whole"), &whole).ends_with(0);
    assert!(!whole.stderr.contains("of white"), "{}", whole.stderr);
    assert!(accuracy(&whole.json()) > 0.95);
    let fit = out("fit");
    let fitted = [
        "fit",
        text(&images),
        "--weights",
        text(&workshop().weights),
        "--minutes",
        "0.1",
        "--channels",
        "1",
        "--white",
        "4095",
        "--json",
        "--out",
        text(&fit),
    ];
    let told = rekindle(fitted).ends_with(0).json();
    assert!(told["accuracy"].as_f64().unwrap() > 0.95, "{told}");
    // The weights that come of it know their white.
    let run = out("whole").join("one-call/best.safetensors");
    let features = |name: &str, more: &[&str]| {
        let file = out(name);
        let named = [
            "features",
            text(&images),
            "--weights",
            text(&run),
            "--out",
            text(&file),
        ];
        rekindle([&named[..], more].concat()).ends_with(0);
        std::fs::read(file).unwrap()
    };
    let expected = features("a", &[]);
    assert_eq!(features("b", &["--channels", "1"]), expected);
    assert_ne!(features("c", &["--white", "60000"]), expected);
    let alone = rekindle(["verify", text(&images), "--white", "9"]).ends_with(2);
    assert!(alone.stderr.contains("--channels"), "{}", alone.stderr);
}
