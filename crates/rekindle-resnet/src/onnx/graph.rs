//! A ResNet as a graph of ONNX operations.

use burn::nn::conv::Conv2d;
use rekindle_nn::onnx::INPUT;
use rekindle_nn::onnx::parts::{self, fixed, float, int, ints, named, value, weight};
use rekindle_nn::onnx::proto::{AttributeProto, GraphProto, NodeProto, TensorProto};

use crate::batch_norm::EPSILON;
use crate::{Block, Downsample, ResNet, state_dict};

/// The network as it predicts: batch normalisation by its running statistics.
pub fn build(model: &ResNet) -> GraphProto {
    let mut graph = Graph::default();
    let x = graph.conv_norm("conv1", &model.conv1, "bn1", INPUT);
    let x = graph.relu("relu", &x);
    let pooling = vec![
        ints("kernel_shape", [3, 3]),
        ints("pads", [1, 1, 1, 1]),
        ints("strides", [2, 2]),
    ];
    let mut x = graph.node("MaxPool", "maxpool", &[&x], pooling);
    let stages = [&model.layer1, &model.layer2, &model.layer3, &model.layer4];
    for (stage, blocks) in stages.into_iter().enumerate() {
        for (position, block) in blocks.iter().enumerate() {
            x = graph.block(&format!("layer{}.{position}", stage + 1), block, &x);
        }
    }
    let x = graph.node("GlobalAveragePool", "avgpool", &[&x], Vec::new());
    let flatten = vec![int("axis", 1)];
    let (output, width) = match &model.fc {
        None => {
            graph.node_to("Flatten", "flatten", &[&x], "features", flatten);
            ("features", model.num_features())
        }
        Some(fc) => {
            let x = graph.node("Flatten", "flatten", &[&x], flatten);
            let mut inputs = vec![x.as_str(), "fc.weight"];
            inputs.extend(fc.bias.as_ref().map(|_| "fc.bias"));
            graph.node_to("Gemm", "fc", &inputs, "logits", vec![int("transB", 1)]);
            ("logits", model.num_classes())
        }
    };
    let channels = model.conv1.weight.dims()[1];
    GraphProto {
        node: graph.nodes,
        name: Some("resnet".into()),
        initializer: initializers(model),
        input: vec![value(
            INPUT,
            vec![
                named("batch"),
                fixed(channels),
                named("height"),
                named("width"),
            ],
        )],
        output: vec![value(output, vec![named("batch"), fixed(width)])],
    }
}

/// Every tensor under its name and in its layout in a state dict.
fn initializers(model: &ResNet) -> Vec<TensorProto> {
    state_dict::collect(model)
        .into_iter()
        .map(|(name, tensor)| weight(name, &tensor.shape, &tensor.values))
        .collect()
}

#[derive(Default)]
struct Graph {
    nodes: Vec<NodeProto>,
}

impl Graph {
    fn block(&mut self, name: &str, block: &Block, x: &str) -> String {
        let (layers, downsample) = match block {
            Block::Basic(block) => (vec![&block.conv1, &block.conv2], &block.downsample),
            Block::Bottleneck(block) => (
                vec![&block.conv1, &block.conv2, &block.conv3],
                &block.downsample,
            ),
        };
        let shortcut = self.shortcut(name, downsample, x);
        let mut y = x.to_string();
        let last = layers.len();
        for (number, conv) in (1..).zip(layers) {
            let (conv_name, norm_name) =
                (format!("{name}.conv{number}"), format!("{name}.bn{number}"));
            y = self.conv_norm(&conv_name, conv, &norm_name, &y);
            if number < last {
                y = self.relu(&format!("{name}.relu{number}"), &y);
            }
        }
        let sum = self.node("Add", &format!("{name}.add"), &[&y, &shortcut], Vec::new());
        self.relu(&format!("{name}.relu{last}"), &sum)
    }

    fn shortcut(&mut self, name: &str, downsample: &Option<Downsample>, x: &str) -> String {
        match downsample {
            None => x.to_string(),
            Some((conv, _)) => {
                let (conv_name, norm_name) = (
                    format!("{name}.downsample.0"),
                    format!("{name}.downsample.1"),
                );
                self.conv_norm(&conv_name, conv, &norm_name, x)
            }
        }
    }

    fn conv_norm(&mut self, conv_name: &str, conv: &Conv2d, norm_name: &str, x: &str) -> String {
        let weight = format!("{conv_name}.weight");
        let bias = conv.bias.as_ref().map(|_| format!("{conv_name}.bias"));
        let mut inputs = vec![x, &weight];
        inputs.extend(bias.as_deref());
        let y = self.node("Conv", conv_name, &inputs, convolution(conv));
        let tensors = ["weight", "bias", "running_mean", "running_var"]
            .map(|tensor| format!("{norm_name}.{tensor}"));
        let mut inputs = vec![y.as_str()];
        inputs.extend(tensors.iter().map(String::as_str));
        let epsilon = vec![float("epsilon", EPSILON as f32)];
        self.node("BatchNormalization", norm_name, &inputs, epsilon)
    }

    fn relu(&mut self, name: &str, x: &str) -> String {
        self.node("Relu", name, &[x], Vec::new())
    }

    /// Adds a node and returns its output's name, which is not one of a weight: those have a dot before their last
    /// part, and this ends in `:0`.
    fn node(
        &mut self,
        operation: &str,
        name: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> String {
        let output = format!("{name}:0");
        self.node_to(operation, name, inputs, &output, attributes);
        output
    }

    fn node_to(
        &mut self,
        operation: &str,
        name: &str,
        inputs: &[&str],
        output: &str,
        attributes: Vec<AttributeProto>,
    ) {
        let node = parts::node(operation, name, inputs, output, attributes);
        self.nodes.push(node);
    }
}

/// ResNets pad by half the kernel.
fn convolution(conv: &Conv2d) -> Vec<AttributeProto> {
    let [height, width] = conv.kernel_size;
    let [top, left] = [height / 2 * conv.dilation[0], width / 2 * conv.dilation[1]];
    vec![
        ints("dilations", conv.dilation),
        int("group", conv.groups),
        ints("kernel_shape", conv.kernel_size),
        ints("pads", [top, left, top, left]),
        ints("strides", conv.stride),
    ]
}
