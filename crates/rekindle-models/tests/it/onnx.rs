//! Every family as ONNX: the answers that onnxruntime gave, and its own where Python has it.

use std::collections::BTreeMap;

use burn::prelude::*;
use burn::tensor::TensorData;
use prost::Message;
use rekindle_models::clip::ImageTower;
use rekindle_models::files::save_onnx;
use rekindle_models::resnet::ResNetConfig;
use rekindle_models::vision_transformer::timm::vit_small_patch14_reg4_dinov2;
use rekindle_models::{Model, Options, Preprocess};
use rekindle_nn::onnx::proto::ModelProto;
use rekindle_nn::{Activation, Builder, Conv, Graph, Init, Network, Padding, Tokens};
use rekindle_weights::{Error, ModelInfo, state_dict};
use sha2::{Digest, Sha256};
use test_support::{OnnxRuntime, images, uniform, write_floats};

/// One model of every family, and so every operation.
pub const FAMILIES: [&str; 13] = [
    "resnet18",
    "resnext50_32x4d",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "mobilenetv4_conv_small",
    "efficientnet_b0",
    "tf_efficientnet_lite0",
    "regnet_y_400mf",
    "densenet121",
    "shufflenet_v2_x0_5",
    "convnext_femto",
    "convnextv2_atto",
    "deit_tiny_patch16_224",
];

#[test]
fn onnxruntime_gives_the_same_logits() {
    let Some(runtime) = OnnxRuntime::find() else {
        return;
    };
    for name in FAMILIES {
        for classes in [7, 0] {
            let model = Model::named(name).unwrap();
            let graph = (model.describe)(&Options::with_classes(classes)).unwrap();
            compare(&runtime, graph);
        }
    }
    compare(&runtime, activations());
    // Registers, layer scales, and a class token without a position; and an image that isn't square.
    let registers = Options {
        position_grid: Some([5, 7]),
        ..Options::with_classes(7)
    };
    compare(&runtime, vit_small_patch14_reg4_dinov2(&registers).unwrap());
    // A class token and positions without extents of 1, and a projection.
    let clip = ImageTower {
        patch: 16,
        width: 64,
        blocks: 3,
        embedding: Some(24),
        activation: Activation::QuickGelu,
    };
    compare(&runtime, clip.graph(&registers).unwrap());
    compare(&runtime, causal());
}

/// A row of patches of which none looks at those behind it.
fn causal() -> Graph {
    let mut b = Builder::new("causal", 3);
    let x = b.images();
    let x = b.stage("all", |b| {
        let class = b.parameter("class", &[1, 1, 32], Init::Constant(0.5));
        let positions = b.parameter("positions", &[1, 7, 32], Init::Constant(0.5));
        let tokens = Tokens {
            channels: 32,
            registers: 0,
            grid: [2, 3],
            has_class_position: true,
            lacks_class_token: false,
        };
        let conv = Conv::new(32, 8).stride(8).padding(Padding::all(0));
        let x = b.conv2d("conv", x, conv);
        let x = b.tokens(x, tokens, vec![class, positions]);
        let x = b.linear("qkv", x, 96);
        b.causal_attention(x, 2)
    });
    let x = b.token(x, 3);
    b.finish("fc", x, 3).unwrap()
}

/// Every activation on feature maps, and on rows.
fn activations() -> Graph {
    let all = Activation::ALL;
    let mut b = Builder::new("activations", 3);
    let x = b.images();
    let x = b.stage("all", |b| {
        let x = b.conv2d("conv", x, Conv::new(4, 3).dilation(2).bias());
        let parts = all.map(|activation| b.activation(x, activation));
        b.concat(&parts)
    });
    let x = b.global_pool(x);
    let x = all.iter().fold(x, |x, activation| {
        let y = b.activation(x, *activation);
        b.add(x, y)
    });
    b.finish("fc", x, 3).unwrap()
}

fn compare(runtime: &OnnxRuntime, graph: Graph) {
    let device = Device::flex();
    let (name, classes) = (graph.name().to_string(), graph.head().classes);
    let network = filled(graph);
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let metadata = BTreeMap::from([("classes".to_string(), "ant,bee".to_string())]);
    network.save_onnx(file("onnx"), &metadata).unwrap();
    let bytes = std::fs::read(file("onnx")).unwrap();
    assert!(
        bytes == network.to_onnx(&metadata),
        "equal input, other bytes"
    );
    // Odd sizes, so that "same" padding has a side to choose.
    let native = network.graph().native_size();
    let [height, width] = native.unwrap_or([75, 98]);
    let values = images(2, height, width);
    let shape = [2, 3, height, width];
    let condition = r#"metadata == {"classes": "ant,bee"}"#;
    let found = runtime.run(&file("onnx"), condition, &values, shape);
    let images = TensorData::new(values, shape);
    let expected = network.forward(Tensor::from_data(images, &device));
    let expected: Vec<f32> = expected.into_data().iter().collect();
    assert_eq!(found.len(), expected.len(), "{name}");
    let largest = |values: &mut dyn Iterator<Item = f32>| values.fold(0f32, |a, b| a.max(b.abs()));
    let scale = largest(&mut expected.iter().copied());
    let off = largest(&mut found.iter().zip(&expected).map(|(a, b)| a - b));
    println!("{name}, {classes} classes: {off:.1e} of {scale:.1e}");
    assert!(
        scale > 0.0 && off <= 1e-4 * scale,
        "{name}: {off} of {scale}"
    );
}

/// A network whose numbers are of one size from the images to the logits, as those of a trained one.
pub fn filled(graph: Graph) -> Network {
    let tensors = graph.tensors().iter().zip(0..);
    let tensors: BTreeMap<String, (u32, Vec<usize>)> = tensors
        .map(|(tensor, number)| (tensor.name.clone(), (number, tensor.shape.clone())))
        .collect();
    let network = Network::new(graph, 0, &Device::flex());
    state_dict::assign(network, |name| {
        let (number, shape) = &tensors[name];
        let count: usize = shape.iter().product();
        let scale = (6.0 / (count / shape[0]) as f32).sqrt();
        let value = |index| {
            let u = uniform(*number, index);
            match name {
                name if name.ends_with("running_var") => 1.0 + 0.5 * u * u,
                name if name.ends_with("running_mean") => 0.1 * u,
                name if shape.len() == 1 && name.ends_with("bias") => 0.1 * u,
                _ if shape.len() == 1 => 1.0 + 0.1 * u,
                _ => u * scale,
            }
        };
        Some((0..count).map(value).collect())
    })
}

#[test]
fn a_place_that_cannot_be_written_to_is_an_error_and_leaves_nothing() {
    let graph = (Model::named("shufflenet_v2_x0_5").unwrap().describe)(&Options::default());
    let network = Network::new(graph.unwrap(), 0, &Device::flex());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("no such folder").join("model.onnx");
    assert!(network.save_onnx(&path, &BTreeMap::new()).is_err());
    assert!(network.save_onnx(folder.path(), &BTreeMap::new()).is_err());
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
}

/// Networks that onnxruntime was asked about: each family, and torchvision's ResNets with few channels.
fn asked() -> Vec<(String, Network)> {
    let resnets = ResNetConfig::ALL.map(|(name, config)| {
        // ResNeXt's groups need as many channels.
        let width = if config.groups > 1 { 32 } else { 8 };
        let config = config.with_stem_width(width).with_num_classes(5);
        (format!("narrow_{name}"), config.graph().unwrap())
    });
    let families = FAMILIES.map(|name| {
        let model = Model::named(name).unwrap();
        let options = Options {
            // Of a transformer with patches of 16 pixels, on images of 64.
            position_grid: Some([4, 4]),
            ..Options::with_classes(5)
        };
        let graph = (model.describe)(&options).unwrap();
        (name.to_string(), graph)
    });
    let all = resnets.into_iter().chain(families);
    all.map(|(name, graph)| (name, filled(graph))).collect()
}

fn info() -> ModelInfo {
    ModelInfo {
        architecture: Some("resnet18".into()),
        classes: Some(vec!["ants".into(), "bees \"<&>\"".into(), "蜂".into()]),
        preprocess: Some(Preprocess {
            crop: 64,
            ..Preprocess::IMAGENET
        }),
        provenance: Some(r#"{"source":"x.pth"}"#.into()),
        temperature: Some(1.25),
        test_views: Some("flip".into()),
        task: Some("multi-label".into()),
        thresholds: Some(vec![0.25, 0.5]),
        conformal_scores: Some(vec![3, 9_000]),
        residuals: Some(vec![0.25, 1.0e-3]),
        unknown_detector: Some(r#"{"score":"energy"}"#.into()),
    }
}

/// SHA-256 of the graph, weights included and metadata not.
fn graph_digest(network: &Network) -> String {
    let model = ModelProto::decode(network.to_onnx(&BTreeMap::new()).as_slice()).unwrap();
    let graph = model.graph.unwrap().encode_to_vec();
    let digest = Sha256::digest(graph);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(serde::Deserialize)]
struct Kept {
    graph: String,
    logits: Vec<f32>,
}

/// The graph is, bit for bit, the one that onnxruntime was asked about, and the network gives its answer.
#[test]
fn the_logits_that_onnxruntime_gave_are_the_networks() {
    let kept = std::fs::read(test_support::reference_path("onnx.json")).unwrap();
    let kept: BTreeMap<String, Kept> = serde_json::from_slice(&kept).unwrap();
    for (name, network) in asked() {
        let kept = &kept[&name];
        assert_eq!(
            graph_digest(&network),
            kept.graph,
            "{name}: the graph has changed; ask onnxruntime again as tests/reference/onnxruntime_logits.py says"
        );
        let x = TensorData::new(images(2, 64, 64), [2, 3, 64, 64]);
        let found = network.forward(Tensor::from_data(x, &Device::flex()));
        let found: Vec<f32> = found.into_data().iter().collect();
        assert_eq!(found.len(), kept.logits.len());
        let scale = kept.logits.iter().fold(1f32, |most, v| most.max(v.abs()));
        let pairs = found.iter().zip(&kept.logits);
        let off = pairs.fold(0f32, |most, (a, b)| most.max((a - b).abs()));
        println!("{name}: logits differ by {off:.2e} of {scale:.2}");
        assert!(off <= 1e-4 * scale, "{name}: {off} of {scale}");
    }
}

/// Writes what `tests/reference/onnxruntime_logits.py` reads.
#[test]
#[ignore = "writes files for tests/reference/onnxruntime_logits.py"]
fn the_files_that_onnxruntime_is_asked_about() {
    let folder = std::env::var("REKINDLE_ONNX_OUT").expect("REKINDLE_ONNX_OUT names a folder");
    let folder = std::path::Path::new(&folder);
    std::fs::create_dir_all(folder).unwrap();
    for (name, network) in asked() {
        let file = |extension: &str| folder.join(format!("{name}.{extension}"));
        save_onnx(&network, file("onnx"), &info()).unwrap();
        std::fs::write(file("sha256"), graph_digest(&network)).unwrap();
        write_floats(&file("images"), &images(2, 64, 64));
    }
}

#[test]
fn names_are_the_state_dicts_and_the_metadata_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let network = filled(ResNetConfig::RESNET50.with_stem_width(8).graph().unwrap());
    save_onnx(&network, &path, &info()).unwrap();
    let read = ModelProto::decode(std::fs::read(&path).unwrap().as_slice()).unwrap();
    assert_eq!(read.opset_import[0].version, Some(17));
    let expected: BTreeMap<String, Vec<usize>> = state_dict::shapes(&network).into_iter().collect();
    let tensors = read.graph.unwrap().initializer.into_iter();
    let found: BTreeMap<String, Vec<usize>> = tensors
        .map(|tensor| {
            let shape = tensor.dims.iter().map(|extent| *extent as usize);
            (tensor.name.unwrap(), shape.collect())
        })
        .collect();
    assert_eq!(found, expected);
    let entries = read.metadata_props.into_iter();
    let metadata: BTreeMap<String, String> = entries
        .map(|entry| (entry.key.unwrap(), entry.value.unwrap()))
        .collect();
    let mut wanted = info().to_metadata();
    wanted.remove("format");
    assert_eq!(metadata, wanted);
    let nowhere = folder.path().join("no such folder").join("model.onnx");
    let error = save_onnx(&network, nowhere, &info()).unwrap_err();
    assert!(matches!(error, Error::Write { .. }), "{error:?}");
}
