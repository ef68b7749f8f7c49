//! Classes by words.

use std::path::{Path, PathBuf};

use rekindle::burn::tensor::{Device, Distribution, Tensor};
use rekindle::models::Options;
use rekindle::models::clip::{Clip, ImageTower, TextTower, Tokenizer};
use rekindle::nn::{Activation, Network};
use rekindle::trainer::ZeroShot;
use rekindle::transfer::features::Features;
use rekindle::weights::{TensorOut, state_dict, write_safetensors};
use test_support::{reference_path, uniform};

use crate::workshop::{rekindle, text};

/// Writes a small CLIP with the whole vocabulary's numbers.
fn write(path: &Path) {
    let image = ImageTower {
        patch: 8,
        width: 64,
        blocks: 2,
        embedding: Some(16),
        activation: Activation::Gelu,
    };
    let text = TextTower {
        width: 64,
        blocks: 2,
        embedding: 16,
        ..TextTower::BASE
    };
    let options = Options {
        position_grid: Some([4, 4]),
        ..Options::with_classes(0)
    };
    let network = |graph, prefix: &str| {
        let network = Network::new(graph, 1, &Device::flex());
        let tensors = state_dict::collect(&network).into_iter();
        let prefix = prefix.to_string();
        tensors.map(move |(name, tensor)| {
            TensorOut::f32(format!("{prefix}{name}"), tensor.shape, &tensor.values)
        })
    };
    let tables = text
        .tables()
        .into_iter()
        .zip(0..)
        .map(|((name, shape), number)| {
            let count = shape[0] * shape[1];
            let values: Vec<f32> = (0..count).map(|index| uniform(number, index)).collect();
            TensorOut::f32(name, shape, &values)
        });
    let tensors = network(image.graph(&options).unwrap(), "visual.")
        .chain(network(text.graph().unwrap(), ""))
        .chain(tables)
        .chain([TensorOut::f32("logit_scale", [], &[3.0])]);
    write_safetensors(path, tensors.collect(), &Default::default()).unwrap();
}

fn picture() -> PathBuf {
    reference_path("pictures/420.jpg")
}

#[test]
fn the_program_says_what_the_library_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.safetensors");
    write(&path);
    let vocabulary = reference_path("clip");
    let templates = ["a photo of a {}", "a bad photo of a {}"];
    let mut arguments = vec![
        "predict",
        "--zero-shot",
        "ant",
        "bee",
        "--weights",
        text(&path),
    ];
    arguments.extend(["--tokenizer", text(&vocabulary), "--json", "--top", "2"]);
    arguments.extend(
        templates
            .iter()
            .flat_map(|template| ["--template", template]),
    );
    let picture = picture();
    arguments.push(text(&picture));
    let told = rekindle(arguments).ends_with(0);
    assert!(told.stderr.contains("taken to be GELU"), "{}", told.stderr);
    let told = told.json();

    let clip = Clip::open(&path, &Device::flex()).unwrap();
    assert!((clip.logit_scale - 3f32.exp()).abs() < 1e-4);
    let tokenizer = Tokenizer::open(&vocabulary).unwrap();
    let classes = ["ant", "bee"].map(|class| {
        let sentences = templates
            .iter()
            .map(|template| template.replace("{}", class));
        let tokens = sentences.map(|text| tokenizer.encode(&text).unwrap());
        (class.to_string(), tokens.collect())
    });
    let model = ZeroShot::new(clip, classes.to_vec()).unwrap();
    let mut count = 0;
    let answered = model.predict(&[picture], |answer| {
        count += 1;
        for (given, (class, probability)) in told["predictions"]
            .as_array()
            .unwrap()
            .iter()
            .zip(answer.top(2))
        {
            assert_eq!(given["class"], model.classes[class]);
            let found = given["probability"].as_f64().unwrap();
            assert!((found - f64::from(probability)).abs() < 1e-6);
        }
    });
    answered.unwrap();
    assert_eq!(count, 1);
    // The head that training starts from gives the same logits where an image has the mean length.
    let images = Tensor::<4>::random([1, 3, 32, 32], Distribution::Default, &Device::flex());
    let unit = model
        .head()
        .logits(&model.features(&images).unwrap())
        .unwrap();
    let raw = model.network.forward(images.clone());
    let raw = Features::new(raw.into_data().iter().collect(), 16).unwrap();
    let classifier = model.into_classifier(&raw).unwrap();
    let logits = classifier
        .forward(images)
        .into_data()
        .iter::<f64>()
        .collect::<Vec<_>>();
    assert!(
        logits.iter().zip(&unit).all(|(a, b)| (a - b).abs() < 1e-4),
        "{logits:?} {unit:?}"
    );
    // Without templates the words are the sentences.
    let listed = rekindle([
        "predict",
        text(&reference_path("pictures/420.jpg")),
        "--tokenizer",
        text(&vocabulary),
        "--weights",
        text(&path),
        "--arch",
        "ViT-B-32-quickgelu",
        "--zero-shot",
        "a photo of an ant",
        "a photo of a bee",
    ])
    .ends_with(0);
    assert!(listed.stdout.contains("a photo of a"), "{}", listed.stdout);
    assert!(
        listed.stderr.contains("-quickgelu from"),
        "{}",
        listed.stderr
    );
}

#[test]
fn what_is_missing_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.safetensors");
    write(&path);
    let picture = picture();
    let ask = |more: &[&str]| {
        let asked = ["predict", text(&picture), "--weights", text(&path)];
        rekindle(asked.iter().chain(more))
    };
    let told = ask(&["--zero-shot", "ant", "bee"]).ends_with(1);
    for name in [
        "tokenizer.json",
        "vocab.json with merges.txt",
        "bpe_simple_vocab_16e6.txt.gz",
    ] {
        assert!(told.stderr.contains(name), "{}", told.stderr);
    }
    let told = ask(&["--template", "a photo", "--zero-shot", "ant"]).ends_with(2);
    assert!(told.stderr.contains("has no {}"), "{}", told.stderr);
    let told = ask(&["--zero-shot", "ant", "bee", "ant"]).ends_with(2);
    assert!(told.stderr.contains("twice"), "{}", told.stderr);
    ask(&["--zero-shot", "ant", "--calibrated"]).ends_with(2);
    ask(&[]).ends_with(2);
}
