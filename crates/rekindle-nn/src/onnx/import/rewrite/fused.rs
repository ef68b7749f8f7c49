//! Operators of onnxruntime that are a few of ONNX's own in one.

use super::super::attributes::Operator;
use super::super::error::Outcome;
use super::{Instead, Rewritten, without};
use crate::onnx::parts::{attribute, float};
use crate::onnx::proto::{ATTRIBUTE_STRING, AttributeProto};

/// Factor of QuickGELU where a node doesn't say it.
const QUICK: f64 = 1.702;

/// Returns the nodes that an operator of onnxruntime stands for; none for all others.
pub(super) fn unfused(operator: Operator<'_>) -> Rewritten {
    let mut instead = Instead::new(operator.node);
    let [x, second] = [0, 1].map(|index| operator.input(index));
    let nodes = match operator.kind().as_str() {
        "Sum" => {
            let (last, others) = match operator.node.input.as_slice() {
                [] => return Ok(None),
                [only] => return Ok(Some(instead.end("Identity", &[only], Vec::new()))),
                [first, others @ .., last] => (last, (first, others)),
            };
            let mut sum = others.0.clone();
            for other in others.1 {
                sum = instead.add("Add", &[&sum, other], Vec::new());
            }
            instead.end("Add", &[&sum, last], Vec::new())
        }
        "com.microsoft::Gelu" => instead.end("Gelu", &[x], Vec::new()),
        "com.microsoft::BiasGelu" => {
            let sum = instead.add("Add", &[x, second], Vec::new());
            instead.end("Gelu", &[&sum], Vec::new())
        }
        "com.microsoft::FastGelu" => {
            let x = match second {
                "" => x.to_string(),
                bias => instead.add("Add", &[x, bias], Vec::new()),
            };
            let by_tanh = AttributeProto {
                s: Some(b"tanh".to_vec()),
                ..attribute("approximate", ATTRIBUTE_STRING)
            };
            instead.end("Gelu", &[&x], vec![by_tanh])
        }
        "com.microsoft::QuickGelu" => {
            let alpha = operator.float("alpha").unwrap_or(QUICK) as f32;
            instead.end("Swish", &[x], vec![float("alpha", alpha)])
        }
        "com.microsoft::FusedConv" => {
            let given = without(operator.node, &["activation", "activation_params"]);
            let params = operator.floats("activation_params").unwrap_or_default();
            let param = |index: usize| params.get(index).copied();
            let mut y = instead.add("Conv", &[x, second, operator.input(2)], given);
            if !operator.input(3).is_empty() {
                y = instead.add("Add", &[&y, operator.input(3)], Vec::new());
            }
            let (kind, given) = activation(operator, [param(0), param(1)])?;
            instead.end(kind, &[&y], given)
        }
        "com.microsoft::FusedGemm" => {
            let names = ["", "_alpha", "_beta", "_gamma"].map(|end| format!("activation{end}"));
            let given = without(operator.node, &names.each_ref().map(String::as_str));
            let param = |name: &str| operator.float(name).map(|value| value as f32);
            let y = instead.add("Gemm", &[x, second, operator.input(2)], given);
            let params = [param("activation_alpha"), param("activation_beta")];
            let (kind, given) = activation(operator, params)?;
            instead.end(kind, &[&y], given)
        }
        "com.microsoft::SkipLayerNormalization" => skip_layer_norm(operator, instead)?,
        _ => return Ok(None),
    };
    Ok(Some(nodes))
}

/// Returns the operator that a fused node computes at its end, with its settings.
fn activation(
    operator: Operator<'_>,
    params: [Option<f32>; 2],
) -> Outcome<(&'static str, Vec<AttributeProto>)> {
    let asked = operator.text("activation").unwrap_or_default();
    let named = |names: &[&str]| -> Vec<AttributeProto> {
        let both = names.iter().zip(params);
        both.filter_map(|(name, value)| Some(float(name, value?)))
            .collect()
    };
    Ok(match asked.as_str() {
        "" => ("Identity", Vec::new()),
        "Relu" => ("Relu", Vec::new()),
        "Sigmoid" => ("Sigmoid", Vec::new()),
        "Tanh" => ("Tanh", Vec::new()),
        "HardSwish" => ("HardSwish", Vec::new()),
        "LeakyRelu" => ("LeakyRelu", named(&["alpha"])),
        "HardSigmoid" => ("HardSigmoid", named(&["alpha", "beta"])),
        "Clip" => ("Clip", named(&["min", "max"])),
        _ => return Err(format!("its activation {asked:?} is not known").into()),
    })
}

/// Rewrites a layer normalisation of a sum, which may be an output too.
fn skip_layer_norm(
    operator: Operator<'_>,
    mut instead: Instead<'_>,
) -> Outcome<Vec<crate::onnx::proto::NodeProto>> {
    let outputs = &operator.node.output;
    let [x, skip, weight, bias, own_bias] = [0, 1, 2, 3, 4].map(|index| operator.input(index));
    let mut x = x.to_string();
    if !own_bias.is_empty() {
        x = instead.add("Add", &[&x, own_bias], Vec::new());
    }
    let sum = match outputs.get(3).map_or("", String::as_str) {
        "" => instead.add("Add", &[&x, skip], Vec::new()),
        sum => {
            instead.give("Add", &[&x, skip], Vec::new(), sum);
            sum.to_string()
        }
    };
    let epsilon = operator.float("epsilon").unwrap_or(1e-12) as f32;
    let given = vec![float("epsilon", epsilon)];
    Ok(instead.end("LayerNormalization", &[&sum, weight, bias], given))
}
