//! Every model is recognised in a file by its names and shapes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use burn::prelude::*;
use rekindle_models::weights::{
    Error, LoadOptions, ModelInfo, TensorOut, named_tensors, read, state_dict, write_safetensors,
};
use rekindle_models::{Found, Model, Options, Pretrained, models};
use rekindle_nn::Network;

type Tensors = Vec<(String, Vec<usize>)>;

/// Writes safetensors whose numbers are zero and take no place on the disk.
fn sparse(path: &Path, tensors: &Tensors) {
    let mut header = serde_json::Map::new();
    let mut end = 0;
    for (name, shape) in tensors {
        let start = end;
        let (kind, size) = match name.ends_with("num_batches_tracked") {
            true => ("I64", 8),
            false => ("F16", 2),
        };
        end += size * shape.iter().product::<usize>();
        let entry =
            serde_json::json!({"dtype": kind, "shape": shape, "data_offsets": [start, end]});
        header.insert(name.clone(), entry);
    }
    let header = serde_json::to_vec(&header).unwrap();
    let mut file = File::create(path).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes())
        .unwrap();
    file.write_all(&header).unwrap();
    file.set_len((8 + header.len() + end) as u64).unwrap();
}

/// Names and shapes of a model with 7 classes.
fn tensors(name: &str, in_channels: usize) -> Tensors {
    let options = Options {
        in_channels,
        ..Options::with_classes(7)
    };
    let model = Model::named(name).unwrap();
    (model.describe)(&options).unwrap().state_dict()
}

fn find(tensors: &Tensors) -> Result<Found, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    sparse(&path, tensors);
    rekindle_models::find(&read(&path)?, &LoadOptions::default())
}

/// Gives every tensor the name that `rename` returns.
fn renamed(tensors: Tensors, rename: impl Fn(&str) -> String) -> Tensors {
    let tensors = tensors.into_iter();
    tensors
        .map(|(name, shape)| (rename(&name), shape))
        .collect()
}

#[test]
fn every_model_is_found_again_as_itself() {
    // DeiTs have the names and shapes of ViTs, and no tensor tells QuickGELU.
    let own = models()
        .iter()
        .filter(|model| !model.name.contains("/deit_") && !model.name.contains("quickgelu"));
    for model in own {
        for (in_channels, prefix) in [(3, ""), (1, "module."), (4, "state_dict.model.backbone.")] {
            let all = tensors(model.name, in_channels);
            let count = all.len();
            let found = find(&renamed(all, |name| format!("{prefix}{name}"))).unwrap();
            assert_eq!(found.name, model.short_name(), "{prefix}");
            let graph = &found.config;
            assert_eq!(graph.name(), model.bare_name());
            assert_eq!(
                (graph.head().classes, graph.in_channels()),
                (7, in_channels)
            );
            let source = &found.source;
            assert_eq!((source.prefix.as_str(), source.tensors), (prefix, count));
            assert_eq!(
                (&source.head, &source.headless),
                (&None, &None),
                "{}",
                model.name
            );
            assert!(source.left_out.is_empty(), "{}: {source:?}", model.name);
            let names: Vec<_> = graph
                .state_dict()
                .into_iter()
                .map(|(name, _)| name)
                .collect();
            assert!(
                names
                    .iter()
                    .all(|name| found.checkpoint.tensors.contains_key(name))
            );
        }
    }
}

/// torchvision's files of DenseNets are older than its code, which renames their tensors on loading.
#[test]
fn densenets_are_found_under_their_published_names() {
    let old = |name: &str| {
        let name = name
            .replace(".norm1.", ".norm.1.")
            .replace(".norm2.", ".norm.2.");
        name.replace(".conv1.", ".conv.1.")
            .replace(".conv2.", ".conv.2.")
    };
    for name in ["densenet121", "densenet161"] {
        let all = tensors(name, 3);
        let count = all.len();
        let renamed = renamed(all, old);
        let in_file = "features.denseblock1.denselayer1.norm.1.weight";
        assert!(renamed.iter().any(|(name, _)| name == in_file));
        let found = find(&renamed).unwrap();
        assert_eq!((found.name.as_str(), found.source.tensors), (name, count));
        let published = "features.denseblock1.denselayer1.norm1.weight";
        assert!(found.checkpoint.tensors.contains_key(published));
        assert!(found.source.left_out.is_empty());
    }
}

#[test]
fn heads_of_other_makes_are_used_or_left_out_with_a_reason() {
    let with_head = |name: &str, published: &'static str, to: &'static str| {
        let to = move |name: &str| match name.strip_prefix(published) {
            Some(field) => format!("{to}{field}"),
            None => name.to_string(),
        };
        find(&renamed(tensors(name, 3), to)).unwrap()
    };
    for (name, published, layer) in [
        ("mobilenet_v2", "classifier.1", "classifier"),
        ("mobilenet_v2", "classifier.1", "fc"),
        ("densenet121", "classifier", "last_linear"),
        ("regnet_y_400mf", "fc", "head"),
        ("mobilenet_v3_small", "classifier.3", "fc"),
    ] {
        let found = with_head(name, published, layer);
        assert_eq!(found.config.head().classes, 7, "{name}");
        assert_eq!(found.source.head.as_deref(), Some(layer), "{name}");
        // In the network it has the published name.
        let weight = format!("{published}.weight");
        assert!(found.checkpoint.tensors.contains_key(&weight), "{name}");
    }
    for (name, published, layer, said) in [
        (
            "mobilenet_v2",
            "classifier.1",
            "classifier.4",
            "`classifier.4.bias`",
        ),
        (
            "mobilenet_v2",
            "classifier.1",
            "projector",
            "(`classifier.1.weight`)",
        ),
        (
            "mobilenet_v3_small",
            "classifier.3",
            "projector",
            "(`classifier.3.weight`)",
        ),
    ] {
        let found = with_head(name, published, layer);
        assert_eq!(found.config.head().classes, 0, "{name}");
        let reason = found.source.headless.unwrap();
        assert!(reason.contains(said), "{name}: {reason}");
    }
}

#[test]
fn what_is_nearly_a_model_is_refused_with_its_names() {
    let cases = [
        ("efficientnet_b0", "features.3.0.block.1.0.weight"),
        (
            "regnet_y_400mf",
            "trunk_output.block2.block2-1.f.a.0.weight",
        ),
        ("mobilenetv4_conv_small", "blocks.1.0.conv.weight"),
    ];
    for (name, damaged) in cases {
        let model = Model::named(name).unwrap();
        for prefix in ["", "net."] {
            let mut all = renamed(tensors(name, 3), |name| format!("{prefix}{name}"));
            let tensor = all
                .iter_mut()
                .find(|(of, _)| *of == format!("{prefix}{damaged}"));
            let (_, shape) = tensor.unwrap_or_else(|| panic!("{name} has no {damaged}"));
            shape[0] += 1;
            let error = find(&all).unwrap_err();
            let Error::Mismatch(mismatch) = &error else {
                panic!("{error:?}");
            };
            assert_eq!(mismatch.misshapen.len(), 1, "{error}");
            assert!(
                mismatch.missing.is_empty() && mismatch.extra.is_empty(),
                "{error}"
            );
            let text = error.to_string();
            let whose = format!("They were compared with those of {}.", model.short_name());
            assert!(text.contains(damaged) && text.ends_with(&whose), "{text}");
            assert_eq!(
                text.contains("These are the names under `net`"),
                prefix == "net."
            );
        }
    }
    let mut more = tensors("mobilenet_v2", 3);
    more.push(("features.3.se.weight".into(), vec![1]));
    let error = find(&more).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("1 unknown to the model: `features.3.se.weight`"),
        "{error}"
    );

    let error = find(&vec![("encoder.block.0.weight".into(), vec![2])]).unwrap_err();
    assert!(matches!(error, Error::UnknownNetwork { .. }), "{error:?}");
    let text = error.to_string();
    for part in [
        "no ResNet, CLIP or known model",
        "64 models",
        "encoder.block.0.weight",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn several_models_are_listed_and_can_be_chosen() {
    let under = |prefix: &str, name| renamed(tensors(name, 3), |name| format!("{prefix}.{name}"));
    let mut both = under("teacher_net", "efficientnet_b0");
    both.extend(under("student_net", "mobilenet_v2"));
    let error = find(&both).unwrap_err();
    assert!(matches!(error, Error::AmbiguousNetwork { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("`student_net` (mobilenet_v2, "), "{text}");
    // A public convention about two of one kind.
    let mut both = under("model", "mobilenet_v2");
    both.extend(under("model_ema.module", "mobilenet_v2"));
    assert_eq!(find(&both).unwrap().source.prefix, "model_ema.module.");
}

/// Many prefixes, nested or side by side, each with a first tensor: refused in a moment.
#[test]
fn many_prefixes_take_no_more_time_than_their_names() {
    for nested in [true, false] {
        let all = (0..1000).map(|index| {
            let prefix = match nested {
                true => "features.".repeat(index),
                false => format!("{index}."),
            };
            (format!("{prefix}features.0.0.weight"), vec![32, 3, 3, 3])
        });
        let error = find(&all.collect()).unwrap_err();
        assert!(matches!(error, Error::UnknownNetwork { .. }), "{error:?}");
    }
}

#[test]
fn a_written_network_is_read_back_with_its_head_and_preprocessing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let device = Device::flex();
    let model = Model::named("shufflenet_v2_x0_5").unwrap();
    let graph = (model.describe)(&Options::with_classes(2)).unwrap();
    let network = Network::new(graph, 42, &device);
    let written = state_dict::collect(&network);
    let info = ModelInfo {
        classes: Some(vec!["ants".into(), "bees".into()]),
        ..ModelInfo::default()
    };
    let tensors = named_tensors(written.clone(), TensorOut::f32);
    write_safetensors(&path, tensors, &info.to_metadata()).unwrap();
    let opened = Pretrained::open(&path, &device).unwrap();
    assert_eq!(opened.architecture, model.short_name());
    assert_eq!(opened.classes, info.classes);
    assert_eq!(opened.preprocess, model.weights[0].preprocess);
    assert_eq!(opened.model.graph().head().name, "fc");
    assert_eq!(opened.found.note(), None);
    assert_eq!(state_dict::collect(&opened.model), written);
    // A value that is no number is named.
    let mut tensors = named_tensors(written, TensorOut::f32);
    tensors.retain(|tensor| tensor.name() != "fc.bias");
    tensors.push(TensorOut::f32("fc.bias", [2], &[0.0, f32::NAN]));
    write_safetensors(&path, tensors, &BTreeMap::new()).unwrap();
    let error = Pretrained::open(&path, &device).unwrap_err();
    assert!(error.to_string().contains("`fc.bias`"), "{error}");
}

/// Returns the name in `transformers` of one of timm's tensors.
fn in_transformers(name: &str) -> Vec<String> {
    let name = match name.contains("ls1.") || name.contains("ls2.") {
        true => name
            .replace("ls1.gamma", "layer_scale1.lambda1")
            .replace("ls2.gamma", "layer_scale2.lambda1"),
        false => name.to_string(),
    };
    let name = name
        .replace("blocks.", "encoder.layer.")
        .replace("attn.proj", "attention.output.dense")
        .replace("cls_token", "embeddings.cls_token")
        .replace("pos_embed", "embeddings.position_embeddings")
        .replace("patch_embed.proj", "embeddings.patch_embeddings.projection");
    let name = match name.strip_prefix("norm.") {
        Some(rest) => format!("layernorm.{rest}"),
        None => name,
    };
    match name.split_once("attn.qkv") {
        Some((block, kind)) => ["query", "key", "value"]
            .map(|part| format!("{block}attention.attention.{part}{kind}"))
            .to_vec(),
        None => vec![name],
    }
}

#[test]
fn vision_transformers_are_found_under_the_names_of_transformers() {
    let cases = [
        ("vit_tiny_patch16_224", "vit.", true),
        ("deit_tiny_patch16_224", "deit.", true),
        ("vit_small_patch14_dinov2", "", false),
    ];
    for (name, prefix, has_head) in cases {
        let all = tensors(name, 3)
            .into_iter()
            .flat_map(|(tensor, mut shape)| {
                if let Some(part) = tensor.strip_prefix("head.") {
                    return vec![(format!("classifier.{part}"), shape)];
                }
                let names = in_transformers(&tensor);
                shape[0] /= names.len();
                let inside = |named: String| match name.contains("dinov2") {
                    true => named,
                    false => named
                        .replace("norm1", "layernorm_before")
                        .replace("norm2", "layernorm_after")
                        .replace("mlp.fc1", "intermediate.dense")
                        .replace("mlp.fc2", "output.dense"),
                };
                let names = names.into_iter().map(inside);
                names
                    .map(|named| (format!("{prefix}{named}"), shape.clone()))
                    .collect()
            });
        let mut all: Tensors = all
            .filter(|(named, _)| has_head || !named.starts_with("classifier"))
            .collect();
        all.push((format!("{prefix}embeddings.mask_token"), vec![1, 1, 384]));
        all.push((format!("{prefix}pooler.dense.weight"), vec![8, 8]));
        let found = find(&all).unwrap();
        // A DeiT's tensors are a ViT's.
        assert_eq!(found.name, name.replace("deit", "vit"));
        let classes = if has_head { 7 } else { 0 };
        assert_eq!(found.config.head().classes, classes, "{name}");
        let expected: BTreeMap<String, Vec<usize>> =
            found.config.state_dict().into_iter().collect();
        for (tensor, shape) in expected {
            assert_eq!(
                found.checkpoint.shape(&tensor),
                Some(shape.as_slice()),
                "{tensor}"
            );
        }
    }
}
