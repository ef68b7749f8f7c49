//! CLIP against open_clip: small towers by the numbers in `tests/reference`, and whole ones by those in `../shared`.

use std::collections::BTreeMap;
use std::path::Path;

use burn::prelude::*;
use burn::tensor::TensorData;
use rekindle_models::clip::{
    Activations, Clip, ImageTower, TextEncoder, TextTower, encode_images, normalise, vit_b_16,
    vit_b_32,
};
use rekindle_models::weights::{TensorOut, read, state_dict, write_safetensors};
use rekindle_models::{Error, Options, Pretrained, clip};
use rekindle_nn::{Activation, Graph, Network};
use test_support::{Reference, images, reference, relative_error, shared};

use crate::zoo::formula::values;

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

/// Names and shapes of open_clip's state dict, in its order.
fn state_dict_of(image: &Graph, text: &TextTower) -> Vec<(String, Vec<usize>)> {
    let mut behind = text.graph().unwrap().state_dict();
    let projection = behind.remove(0);
    let norm = behind.split_off(behind.len() - 2);
    let tables = text
        .tables()
        .map(|(name, shape)| (name.to_string(), shape.to_vec()));
    let [tokens, positions] = tables;
    let image = image.state_dict().into_iter();
    let image = image.map(|(name, shape)| (format!("visual.{name}"), shape));
    let mut all = vec![
        positions,
        projection,
        ("logit_scale".to_string(), Vec::new()),
    ];
    all.extend(image);
    all.extend(behind);
    all.push(tokens);
    all.extend(norm);
    all
}

/// The formula's tensors by open_clip's names.
struct Tensors(BTreeMap<String, (u64, Vec<usize>)>);

impl Tensors {
    fn new(image: &Graph, text: &TextTower) -> Self {
        let all = state_dict_of(image, text).into_iter().zip(0..);
        Self(
            all.map(|((name, shape), number)| (name, (number, shape)))
                .collect(),
        )
    }

    fn values(&self, name: &str) -> Vec<f32> {
        let (number, shape) = &self.0[name];
        if name == "logit_scale" {
            return vec![(1f32 / 0.07).ln()];
        }
        let values = values(name, *number, shape, 6.0).into_iter();
        values.map(|value| value as f32).collect()
    }

    fn image(&self, graph: &Graph, device: &Device) -> Network {
        let network = Network::new(graph.clone(), 0, device);
        state_dict::assign(network, |name| Some(self.values(&format!("visual.{name}"))))
    }

    fn text(&self, tower: TextTower, device: &Device) -> TextEncoder {
        let network = Network::new(tower.graph().unwrap(), 0, device);
        let network = state_dict::assign(network, |name| Some(self.values(name)));
        let tables = tower.tables().map(|(name, shape)| {
            Tensor::from_data(TensorData::new(self.values(name), shape), device)
        });
        let [tokens, positions] = tables;
        TextEncoder::new(tower, network, tokens, positions)
    }

    /// Writes them as open_clip does.
    fn write(&self, path: &Path, metadata: &[(&str, &str)]) {
        let tensors = self.0.iter().map(|(name, (_, shape))| {
            TensorOut::f32(name.clone(), shape.clone(), &self.values(name))
        });
        write(path, tensors.collect(), metadata);
    }

    /// Writes them as `transformers` does.
    fn write_as_transformers(&self, path: &Path, metadata: &[(&str, &str)]) {
        let tensors = self.0.iter();
        let tensors =
            tensors.flat_map(|(name, (_, shape))| as_transformers(name, shape, self.values(name)));
        write(path, tensors.collect(), metadata);
    }
}

fn write(path: &Path, tensors: Vec<TensorOut>, metadata: &[(&str, &str)]) {
    let metadata = metadata.iter().map(|(k, v)| (k.to_string(), v.to_string()));
    write_safetensors(path, tensors, &metadata.collect()).unwrap();
}

/// What `transformers` makes of one of OpenAI's tensors, in its converter's words.
fn as_transformers(name: &str, shape: &[usize], values: Vec<f32>) -> Vec<TensorOut> {
    let of = |name: String, shape: &[usize], values: &[f32]| {
        TensorOut::f32(name, shape.to_vec(), values)
    };
    if name == "logit_scale" {
        return vec![of(name.into(), shape, &values)];
    }
    let (tower, name) = match name.strip_prefix("visual.") {
        Some(name) => ("vision_model", name),
        None => ("text_model", name),
    };
    if name.ends_with("proj") || name == "text_projection" {
        let turned = (0..shape[1]).flat_map(|column| values[column..].iter().step_by(shape[1]));
        let turned: Vec<f32> = turned.copied().collect();
        let name = if tower == "vision_model" {
            "visual"
        } else {
            "text"
        };
        let name = format!("{name}_projection.weight");
        return vec![of(name, &[shape[1], shape[0]], &turned)];
    }
    let name = name
        .replace("transformer.resblocks", "encoder.layers")
        .replace("ln_1", "layer_norm1")
        .replace("ln_2", "layer_norm2")
        .replace("c_fc", "fc1")
        .replace("c_proj", "fc2")
        .replace("attn.", "self_attn.")
        .replace("class_embedding", "embeddings.class_embedding")
        .replace(
            "positional_embedding",
            "embeddings.position_embedding.weight",
        )
        .replace("token_embedding", "embeddings.token_embedding")
        .replace("conv1", "embeddings.patch_embedding")
        .replace("ln_pre", "pre_layrnorm")
        .replace("ln_post", "post_layernorm")
        .replace("ln_final", "final_layer_norm");
    let name = format!("{tower}.{name}");
    let Some((before, kind)) = name.split_once("in_proj_") else {
        return vec![of(name, shape, &values)];
    };
    let mut shape = shape.to_vec();
    shape[0] /= 3;
    let parts = values.chunks_exact(values.len() / 3).zip(["q", "k", "v"]);
    let parts =
        parts.map(|(values, part)| of(format!("{before}{part}_proj.{kind}"), &shape, values));
    parts.collect()
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

#[cfg(feature = "tokenizer")]
mod tokenizer {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use rekindle_models::clip::Tokenizer;
    use test_support::reference_path;

    #[derive(serde::Deserialize)]
    struct Text {
        text: String,
        tokens: Vec<u32>,
    }

    fn agrees(tokenizer: &Tokenizer) {
        let texts = std::fs::read(reference_path("clip/texts.json")).unwrap();
        let texts: Vec<Text> = serde_json::from_slice(&texts).unwrap();
        for Text { text, tokens } in texts {
            assert_eq!(tokenizer.encode(&text).unwrap(), tokens, "{text}");
        }
    }

    #[test]
    fn tokens_are_open_clips_by_either_file() {
        let file = |name: &str| reference_path(&format!("clip/{name}"));
        agrees(&Tokenizer::open(file("tokenizer.json")).unwrap());
        agrees(&Tokenizer::open(file("vocab.json")).unwrap());
        agrees(&Tokenizer::beside(file("model.safetensors")).unwrap());
        let folder = tempfile::tempdir().unwrap();
        for name in ["vocab.json", "merges.txt"] {
            std::fs::copy(file(name), folder.path().join(name)).unwrap();
        }
        let tokenizer = Tokenizer::open(folder.path()).unwrap();
        agrees(&tokenizer);
        let short = tokenizer
            .with_context(4)
            .encode("a photo of an ant")
            .unwrap();
        assert_eq!(short, [49406, 320, 1125, 49407]);
    }

    #[test]
    fn the_original_archive_numbers_tokens_by_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bpe_simple_vocab_16e6.txt.gz");
        let file = std::fs::File::create(&path).unwrap();
        let mut gz = GzEncoder::new(file, Compression::fast());
        gz.write_all(b"\"bpe_simple_vocab_16e6.txt#version: 0.2\na n\nan t</w>\n")
            .unwrap();
        gz.finish().unwrap();
        let tokenizer = Tokenizer::beside(folder.path().join("weights.pt")).unwrap();
        // `!` is the first of 256 bytes, which come once more as ends of words.
        let found = tokenizer.encode("ANT !a").unwrap();
        assert_eq!(found, [514, 513, 256, 256 + 64, 515]);
        std::fs::write(&path, b"no archive").unwrap();
        assert!(Tokenizer::open(&path).is_err());
    }

    #[test]
    fn what_is_looked_for_is_said_where_there_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let error = Tokenizer::beside(folder.path().join("a.pt"))
            .unwrap_err()
            .to_string();
        for name in [
            "tokenizer.json",
            "vocab.json with merges.txt",
            "bpe_simple_vocab_16e6.txt.gz",
        ] {
            assert!(error.contains(name), "{error}");
        }
        let path = folder.path().join("tokenizer.json");
        std::fs::write(&path, "{}").unwrap();
        let error = Tokenizer::open(&path).unwrap_err().to_string();
        assert!(error.contains("tokenizer.json: "), "{error}");
    }

    #[test]
    #[ignore = "REKINDLE_CLIP_VOCABULARY names OpenAI's bpe_simple_vocab_16e6.txt.gz"]
    fn tokens_are_open_clips_by_the_whole_vocabulary() {
        let path = std::env::var("REKINDLE_CLIP_VOCABULARY").expect("REKINDLE_CLIP_VOCABULARY");
        agrees(&Tokenizer::open(path).unwrap());
    }
}
