//! CLIP against open_clip: small towers by the numbers in `tests/reference`, and whole ones by those in `../shared`.

#[cfg(feature = "tokenizer")]
mod tokenizer;
mod towers;

use std::collections::BTreeMap;

use burn::prelude::*;
use burn::tensor::TensorData;
use rekindle_models::clip::{
    Activations, Clip, ImageTower, TextTower, encode_images, normalise, vit_b_16, vit_b_32,
};
use rekindle_models::weights::{TensorOut, read};
use rekindle_models::{Error, Options, Pretrained, clip};
use rekindle_nn::Activation;
use test_support::{Reference, images, reference, relative_error, shared};

use self::towers::{Tensors, as_transformers, state_dict_of, write};

/// Embeddings may be this far off.
const MOST: f64 = 1e-5;

/// The small towers of `tests/reference/clip.py`.
fn small(activation: Activation) -> (ImageTower, TextTower) {
    let image = ImageTower {
        patch: 8,
        width: 128,
        blocks: 5,
        embedding: Some(32),
        activation,
    };
    let text = TextTower {
        vocabulary: 700,
        context: 11,
        width: 64,
        blocks: 3,
        embedding: 32,
        activation,
    };
    (image, text)
}

/// Its prompts, two for each class.
fn prompts() -> Vec<Vec<u32>> {
    let rows: [&[u32]; 6] = [
        &[698, 5, 17, 320, 699],
        &[698, 9, 17, 320, 699],
        &[698, 5, 600, 44, 320, 12, 7, 8, 9, 10, 699],
        &[698, 9, 600, 44, 699],
        &[698, 699],
        &[698, 1, 699],
    ];
    rows.map(<[u32]>::to_vec).to_vec()
}

fn small_images(device: &Device) -> Tensor<4> {
    Tensor::from_data(TensorData::new(images(3, 32, 32), [3, 3, 32, 32]), device)
}

fn options() -> Options {
    Options {
        position_grid: Some([4, 4]),
        ..Options::with_classes(0)
    }
}

fn check(numbers: &Reference, key: &str, found: Tensor<2>) {
    let shape = found.dims();
    let found: Vec<f32> = found.into_data().iter().collect();
    let error = numbers.relative_error(key, &shape, &found);
    println!("{key}: {error:.1e}");
    assert!(error < MOST, "{key}: {error:.1e}");
}

#[test]
fn small_towers_and_zero_shot_logits_are_open_clips() {
    let (numbers, device) = (reference("clip.safetensors"), Device::flex());
    let activations = [
        ("gelu", Activation::Gelu),
        ("quick_gelu", Activation::QuickGelu),
    ];
    for (name, activation) in activations {
        let (image, text) = small(activation);
        let graph = image.graph(&options()).unwrap();
        let tensors = Tensors::new(&graph, &text);
        for has_kernels in [true, false] {
            let network = tensors.image(&graph, &device).with_kernels(has_kernels);
            let image = encode_images(&network, small_images(&device));
            check(&numbers, &format!("{name}.image"), image.clone());
            let encoder = tensors.text(text, &device).with_kernels(has_kernels);
            let text = encoder.encode(&prompts()).unwrap();
            check(&numbers, &format!("{name}.text"), text.clone());
            let classes = normalise(text.reshape([3, 2, 32]).mean_dim(1).squeeze_dim(1));
            let logits = image.matmul(classes.transpose()) / 0.07;
            check(&numbers, &format!("{name}.logits"), logits);
        }
    }
}

/// Everything at once would be 300 million numbers: both networks have one text tower.
#[test]
fn whole_towers_are_open_clips() {
    let files = ["zoo.json", "zoo.safetensors"].map(|name| shared(&format!("reference/{name}")));
    let [Some(json), Some(numbers)] = files else {
        return;
    };
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let tokens = read(&numbers).unwrap();
    let numbers = Reference::open(&numbers);
    let device = Device::flex();
    let (_, input) = numbers.values("input_224");
    let input = Tensor::<4>::from_data(TensorData::new(input, [2, 3, 224, 224]), &device);
    let towers = [
        ("ViT-B-32", vit_b_32 as fn(&Options) -> _),
        ("ViT-B-16", vit_b_16),
    ];
    for (name, describe) in towers {
        let key = format!("open_clip/{name}");
        let graph = describe(&Options::with_classes(0)).unwrap();
        let all = state_dict_of(&graph, &TextTower::BASE);
        let published = json[&key]["state_dict"].as_object().unwrap();
        let shapes: BTreeMap<String, serde_json::Value> = all
            .iter()
            .map(|(n, s)| (n.clone(), serde_json::json!(s)))
            .collect();
        assert!(published.iter().all(|(n, s)| shapes[n] == *s) && published.len() == all.len());
        let counted: usize = all.iter().map(|(_, s)| s.iter().product::<usize>()).sum();
        assert_eq!(json[&key]["parameters"], counted);

        let tensors = Tensors::new(&graph, &TextTower::BASE);
        let network = tensors.image(&graph, &device);
        for has_kernels in [true, false] {
            let network = network.clone().with_kernels(has_kernels);
            let found = encode_images(&network, input.clone());
            check(&numbers, &format!("{key}.image"), found);
        }
        if name == "ViT-B-32" {
            let ids = tokens
                .get(&format!("{key}.tokens"))
                .unwrap()
                .read_i64()
                .unwrap();
            let texts = ids
                .chunks(77)
                .map(|row| row.iter().map(|id| *id as u32).collect());
            let texts: Vec<Vec<u32>> = texts.collect();
            let encoder = tensors.text(TextTower::BASE, &device);
            for has_kernels in [true, false] {
                let encoder = encoder.clone().with_kernels(has_kernels);
                let found = encoder.encode(&texts).unwrap();
                check(&numbers, &format!("{key}.text"), found.clone());
                check(&numbers, "open_clip/ViT-B-16.text", found);
            }
        }
    }
}

#[test]
fn files_under_both_names_give_equal_bits() {
    let (device, folder) = (Device::flex(), tempfile::tempdir().unwrap());
    let (image, text) = small(Activation::QuickGelu);
    let graph = image.graph(&options()).unwrap();
    let tensors = Tensors::new(&graph, &text);
    let path = |name: &str| folder.path().join(name);
    let quick = [("architecture", "ViT-128x5-8-quickgelu")];
    tensors.write(&path("open_clip.safetensors"), &quick);
    tensors.write_as_transformers(&path("transformers.safetensors"), &quick);
    let open = |name: &str| Clip::open(path(name), &device).unwrap();
    let [a, b] = ["open_clip.safetensors", "transformers.safetensors"].map(open);
    assert!((a.logit_scale - 1.0 / 0.07).abs() < 1e-4);
    assert_eq!(a.image.architecture, "ViT-128x5-8-quickgelu");
    assert_eq!(a.image.preprocess.crop, 32);
    assert_eq!(a.image.preprocess.mean, clip::PREPROCESS.mean);
    let bits = |clip: &Clip| {
        assert_eq!(*clip.text.tower(), text);
        assert_eq!(clip.image.model.graph(), &graph);
        let images = clip.encode_images(small_images(&device));
        let texts = clip.text.encode(&prompts()).unwrap();
        let all = clip.logits(images.clone(), texts.clone());
        let all = [images, texts, all].map(|rows| rows.into_data().iter::<f32>().collect());
        all.map(|values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>())
    };
    assert!(bits(&a) == bits(&b));
    let numbers = reference("clip.safetensors");
    let found = a.encode_images(small_images(&device));
    check(&numbers, "quick_gelu.image", found);
    // What is left out of the image tower is the text's, and nothing else.
    let left = a.image.found.note().unwrap();
    assert!(
        left.contains("the network is under `visual`") && left.contains("transformer"),
        "{left}"
    );
}

#[test]
fn a_file_of_the_image_tower_alone_is_a_network() {
    let (device, folder) = (Device::flex(), tempfile::tempdir().unwrap());
    let (image, text) = small(Activation::Gelu);
    let graph = image.graph(&options()).unwrap();
    let tensors = Tensors::new(&graph, &text);
    let path = folder.path().join("a.safetensors");
    // As `CLIPVisionModelWithProjection` saves it, and without the projection.
    for projects in [true, false] {
        let vision = tensors
            .0
            .iter()
            .filter(|(name, _)| name.starts_with("visual."));
        let vision = vision.filter(|(name, _)| projects || *name != "visual.proj");
        let vision = vision
            .flat_map(|(name, (_, shape))| as_transformers(name, shape, tensors.values(name)));
        write(&path, vision.collect(), &[]);
        let found = Pretrained::open(&path, &device).unwrap();
        assert_eq!(found.architecture, "ViT-128x5-8");
        assert_eq!(found.model.num_features(), if projects { 32 } else { 128 });
        assert_eq!(found.model.num_classes(), 0);
        assert_eq!(found.found.left_out, []);
        let assumed = found.assumptions.join("; ");
        assert!(
            assumed.contains("taken to be GELU, as in open_clip"),
            "{assumed}"
        );
    }
    let error = Clip::open(&path, &device).unwrap_err();
    assert!(
        error.to_string().contains("text tower of a CLIP"),
        "{error}"
    );
    // Its own file, with a classifier.
    let network = tensors.image(&graph, &device).reset_classifier(7, 1);
    let info = rekindle_models::weights::ModelInfo {
        architecture: Some("ViT-128x5-8".into()),
        ..Default::default()
    };
    rekindle_models::files::save(&network, &path, &info).unwrap();
    let found = Pretrained::open(&path, &device).unwrap();
    assert_eq!(found.model.num_classes(), 7);
    assert_eq!(found.model.graph(), network.graph());
}

#[test]
fn the_activation_is_what_file_description_or_name_say() {
    let folder = tempfile::tempdir().unwrap();
    let of = |file: &str, tensor: &str, metadata: &[(&str, &str)]| {
        let path = folder.path().join(file);
        let names = ["input_resolution", "context_length", tensor];
        let tensors = names.map(|name| TensorOut::f32(name, [1], &[1.0]));
        write(&path, tensors.to_vec(), metadata);
        let found = Activations::of(&read(&path).unwrap());
        std::fs::remove_file(path).unwrap();
        (
            found.activation == Activation::QuickGelu,
            found.assumption.is_some(),
        )
    };
    let describe = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
    };
    assert_eq!(of("a.safetensors", "b", &[]), (false, true));
    assert_eq!(of("a.safetensors", "vocab_size", &[]), (true, true));
    assert_eq!(of("ViT-B-32-quickgelu.safetensors", "b", &[]), (true, true));
    assert_eq!(
        of("openai.safetensors", "b", &[("architecture", "ViT-B-32")]),
        (false, false)
    );
    let quick = [("architecture", "open_clip/ViT-B-32-quickgelu")];
    assert_eq!(of("a.safetensors", "b", &quick), (true, false));
    describe(
        "config.json",
        r#"{"model_type": "clip", "vision_config": {"hidden_act": "gelu"}}"#,
    );
    assert_eq!(of("openai.safetensors", "b", &[]), (false, false));
    describe(
        "config.json",
        r#"{"model_type": "clip", "vision_config": {}}"#,
    );
    assert_eq!(of("a.safetensors", "b", &[]), (true, false));
    describe("config.json", r#"{"model_type": "vit"}"#);
    assert_eq!(of("a.safetensors", "b", &[]), (false, true));
    describe(
        "open_clip_config.json",
        r#"{"model_cfg": {"quick_gelu": true}}"#,
    );
    assert_eq!(of("a.safetensors", "b", &[]), (true, false));
    describe("open_clip_config.json", r#"{"model_cfg": {}}"#);
    assert_eq!(of("openai.safetensors", "b", &[]), (false, false));
}

#[test]
fn texts_that_cannot_be_encoded_are_refused() {
    let device = Device::flex();
    let (image, text) = small(Activation::Gelu);
    let tensors = Tensors::new(&image.graph(&options()).unwrap(), &text);
    let encoder = tensors.text(text, &device);
    for texts in [
        vec![],
        vec![vec![]],
        vec![vec![700]],
        vec![(0..12).collect::<Vec<u32>>()],
    ] {
        let error = encoder.encode(&texts).unwrap_err();
        assert!(matches!(error, Error::Text { .. }), "{error}");
        assert!(error.is_invalid_option());
    }
    // Fillings are not looked at, and neither is the company of a text.
    let values = |texts: &[Vec<u32>]| -> Vec<f32> {
        encoder.encode(texts).unwrap().into_data().iter().collect()
    };
    let alone = values(&[vec![698, 4, 699]]);
    let filled = values(&[vec![698, 4, 699, 0, 3, 0], vec![698, 1, 2, 3, 4, 5, 6, 699]]);
    assert!(relative_error(&filled[..32], &alone) < 1e-6);
}
