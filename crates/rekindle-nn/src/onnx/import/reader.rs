//! Walks through a file's nodes.

use std::collections::HashMap;

use super::attributes::Operator;
use super::constant::{Constant, External};
use super::draft::Draft;
use super::error::{Fault, ImportError, Outcome};
use super::fold::{FOLDED, fold};
use super::view::View;

/// Meaning of a name in the file.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Constant(Constant),
    View(View),
    /// Maps with zeros around them: above, to the left, below, to the right.
    Padded(View, [usize; 4]),
    Scores(Scores),
    /// A truth value that is never true: whether something computed is no number.
    Never,
}

/// Attention scores: the weight that each token gives to all others.
#[derive(Clone, Debug)]
pub(super) struct Scores {
    pub query: View,
    pub key: View,
    /// Factor that products are multiplied by.
    pub factor: f64,
    /// Shares that are 1 together, behind a softmax.
    pub is_softmax: bool,
    /// Keys come before queries.
    pub is_turned: bool,
}

/// Operators that are read on values of a network, besides those that are computed on known numbers.
pub(super) const OPERATORS: [&str; 35] = [
    "Attention",
    "AveragePool",
    "BatchNormalization",
    "Clip",
    "Constant",
    "ConstantOfShape",
    "Conv",
    "Elu",
    "Erf",
    "Gelu",
    "Gemm",
    "GlobalAveragePool",
    "GroupNormalization",
    "HardSigmoid",
    "HardSwish",
    "InstanceNormalization",
    "IsNaN",
    "LayerNormalization",
    "LeakyRelu",
    "MatMul",
    "MaxPool",
    "Mish",
    "Pad",
    "ReduceL2",
    "ReduceMean",
    "Relu",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Swish",
    "Tanh",
    "com.microsoft::Attention",
    "com.microsoft::FusedMatMul",
    "com.microsoft::MatMulNBits",
    "com.microsoft::MultiHeadAttention",
];

/// Tells whether an operator is known at all.
pub(super) fn is_known(kind: &str) -> bool {
    OPERATORS.contains(&kind) || FOLDED.contains(&kind)
}

/// The names that are known so far, and the network to be.
pub(super) struct Reader<'a> {
    pub items: HashMap<String, Item>,
    pub draft: Draft,
    pub external: External<'a>,
}

impl Reader<'_> {
    /// Reads a node.
    pub fn node(&mut self, operator: Operator<'_>) -> Result<(), ImportError> {
        self.draft.scope = scope(operator);
        let gives = self.operate(operator).map_err(|fault| match fault {
            Fault::Whole(error) => error,
            Fault::Reason(reason) => ImportError::Node {
                node: operator.name().to_string(),
                operator: operator.kind(),
                reason,
            },
        })?;
        for (name, item) in operator.node.output.iter().zip(gives) {
            self.items.insert(name.clone(), item);
        }
        Ok(())
    }

    fn operate(&mut self, operator: Operator<'_>) -> Outcome<Vec<Item>> {
        let kind = operator.kind();
        match kind.as_str() {
            "Constant" => {
                let name = operator.node.output.first();
                let constant = operator.constant(&mut self.external)?;
                let name = name.map(|name| name.as_str().into());
                return Ok(vec![Item::Constant(constant.named(name))]);
            }
            "ConstantOfShape" => return self.filled(operator),
            _ => {}
        }
        let inputs = self.inputs(operator)?;
        let constants: Vec<Option<&Constant>> = inputs
            .iter()
            .map(|item| match item {
                Some(Item::Constant(constant)) => Some(constant),
                _ => None,
            })
            .collect();
        let is_known = inputs
            .iter()
            .zip(&constants)
            .all(|(i, c)| i.is_some() == c.is_some());
        if is_known {
            let folded = fold(operator, &constants)?;
            let folded = folded.ok_or("it is not computed on known numbers")?;
            let named = folded.into_iter().zip(&operator.node.output);
            return Ok(named
                .map(|(constant, name)| match kind.as_str() {
                    // What several equal weights share has a name for each of them.
                    "Identity" => Item::Constant(constant.named(Some(name.as_str().into()))),
                    _ => Item::Constant(constant),
                })
                .collect());
        }
        match inputs.as_slice() {
            // What PyTorch puts behind a softmax, for rows that are masked as a whole.
            [Some(Item::View(_) | Item::Scores(_))] if kind == "IsNaN" => {
                return Ok(vec![Item::Never]);
            }
            [Some(Item::Never), _, Some(otherwise)] if kind == "Where" => {
                return Ok(vec![otherwise.clone()]);
            }
            _ => {}
        }
        let first = inputs[0].clone();
        match (kind.as_str(), first) {
            ("Identity" | "Cast" | "CastLike" | "Dropout", Some(item)) => Ok(vec![item]),
            ("QuantizeLinear" | "DequantizeLinear", Some(item)) => self
                .rounding(operator, item, &constants)
                .map(|item| vec![item]),
            ("Softmax", Some(Item::Scores(scores))) => softmax(operator, scores),
            ("Softmax", Some(Item::View(_))) => {
                Err("its shares are neither those of attention nor the last thing computed".into())
            }
            ("MatMul", _) => self.product(operator, &inputs),
            ("com.microsoft::FusedMatMul", _) => self.fused_product(operator, &inputs),
            (
                "Attention" | "com.microsoft::Attention" | "com.microsoft::MultiHeadAttention",
                Some(Item::View(_)),
            ) => self.whole_attention(operator, &inputs),
            ("Add" | "Sub" | "Mul" | "Div" | "Pow" | "Max" | "Min", _) => {
                self.arithmetic(operator, &inputs).map(|item| vec![item])
            }
            ("Concat", _) => self.concatenation(operator, &inputs),
            ("Transpose", Some(Item::Scores(scores))) => turned(operator, scores),
            ("Conv", Some(Item::Padded(view, zeros))) => {
                self.convolution(operator, &view, zeros, &constants)
            }
            (_, Some(Item::View(view))) => self.view(operator, &kind, &view, &constants),
            ("MaxPool" | "AveragePool", Some(Item::Padded(view, zeros))) => {
                let pooled = self.pooling(operator, &kind, &view, zeros)?;
                Ok(vec![Item::View(pooled)])
            }
            ("Transpose", Some(Item::Padded(view, zeros))) => {
                let turned = self.view(operator, &kind, &view, &constants)?;
                let around = |item| match item {
                    Item::View(view) => Item::Padded(view, zeros),
                    other => other,
                };
                Ok(turned.into_iter().map(around).collect())
            }
            (_, Some(Item::Padded(..))) => {
                Err("zeros around maps are for convolutions and poolings".into())
            }
            (_, Some(Item::Never)) => Err("it asks whether something is no number".into()),
            (_, Some(Item::Scores(_))) => Err("it is used on the scores of attention".into()),
            (_, Some(Item::Constant(_)) | None) => {
                Err("its first input is known and another is not".into())
            }
        }
    }

    /// Reads an operator whose first input is a value of the network.
    fn view(
        &mut self,
        operator: Operator<'_>,
        kind: &str,
        view: &View,
        constants: &[Option<&Constant>],
    ) -> Outcome<Vec<Item>> {
        let one = match kind {
            "Conv" => return self.convolution(operator, view, [0; 4], constants),
            "BatchNormalization" => self.batch_norm(operator, view, constants)?,
            "Gemm" => self.gemm(operator, view, constants)?,
            "com.microsoft::MatMulNBits" => self.product_of_bits(operator, view, constants)?,
            "LayerNormalization" => self.layer_norm(operator, view, constants)?,
            "GroupNormalization" | "InstanceNormalization" => {
                self.group_norm(operator, view, constants)?
            }
            "GlobalAveragePool" => self.global_average(view)?,
            "MaxPool" | "AveragePool" => self.pooling(operator, kind, view, [0; 4])?,
            "ReduceMean" | "ReduceL2" => self.reduction(operator, kind, view, constants)?,
            "Pad" => return self.padding(operator, view, constants),
            "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Transpose" | "Slice" | "Gather"
            | "Split" | "Shape" | "Size" | "Expand" => {
                return self.layout(operator, kind, view, constants);
            }
            _ => self.unary(operator, kind, view, constants)?,
        };
        Ok(vec![Item::View(one)])
    }

    fn inputs(&self, operator: Operator<'_>) -> Outcome<Vec<Option<Item>>> {
        let names = operator.node.input.iter();
        let items = names.map(|name| match self.items.get(name) {
            Some(item) => Ok(Some(item.clone())),
            None if name.is_empty() => Ok(None),
            None => Err(Fault::from(format!(
                "{name:?}, which it takes, is given by no node before it"
            ))),
        });
        let items: Vec<Option<Item>> = items.collect::<Outcome<_>>()?;
        match items.first() {
            Some(Some(_)) => Ok(items),
            _ => Err("it takes nothing".into()),
        }
    }

    fn filled(&mut self, operator: Operator<'_>) -> Outcome<Vec<Item>> {
        let shape = match self.items.get(operator.input(0)) {
            Some(Item::Constant(shape)) => super::fold::lengths(Some(shape))?,
            _ => return Err("its shape is not known before the network runs".into()),
        };
        let value = operator.tensor("value", &mut self.external)?;
        let value = value.unwrap_or_else(|| Constant::floats(vec![1], vec![0.0]));
        if value.elements() != 1 {
            return Err("its value is not one number".into());
        }
        let scalar = Constant {
            shape: Vec::new(),
            ..value
        };
        let filled = super::fold::expanded(&scalar, &shape)?;
        Ok(vec![Item::Constant(filled)])
    }
}

/// Returns the modules around a node, as PyTorch's exporters write them: `/layer1/layer1.0/conv1/Conv`, or a list of
/// scopes among the node's metadata.
fn scope(operator: Operator<'_>) -> String {
    let mut metadata = operator.node.metadata_props.iter();
    let scopes = metadata.find(|entry| entry.key.as_deref() == Some("pkg.torch.onnx.name_scopes"));
    if let Some(text) = scopes.and_then(|entry| entry.value.as_deref()) {
        let mut parts: Vec<&str> = text.split(['\'', '"']).skip(1).step_by(2).collect();
        // The last is the node itself.
        parts.pop();
        return parts.pop().unwrap_or_default().to_string();
    }
    let name = operator.node.name.as_deref().unwrap_or_default();
    let mut parts: Vec<&str> = name.split('/').collect();
    parts.pop();
    let mut scope = String::new();
    for part in parts.into_iter().filter(|part| !part.is_empty()) {
        match scope.is_empty() || part.starts_with(&format!("{scope}.")) {
            true => scope = part.to_string(),
            false => scope = format!("{scope}.{part}"),
        }
    }
    scope
}

fn softmax(operator: Operator<'_>, scores: Scores) -> Outcome<Vec<Item>> {
    let rank = scores.query.dims.len() as i64;
    let axis = operator
        .int("axis")
        .unwrap_or(if operator.opset < 13 { 1 } else { -1 });
    if (axis != -1 && axis != rank - 1) || scores.is_softmax || scores.is_turned {
        return Err("it is not over the keys".into());
    }
    Ok(vec![Item::Scores(Scores {
        is_softmax: true,
        ..scores
    })])
}

/// Exchanges queries and keys.
fn turned(operator: Operator<'_>, scores: Scores) -> Outcome<Vec<Item>> {
    let rank = scores.query.dims.len();
    let order = super::fold::order(operator, rank)?;
    let mut exchanged: Vec<usize> = (0..rank).collect();
    exchanged.swap(rank - 2, rank - 1);
    match order == exchanged {
        true => Ok(vec![Item::Scores(Scores {
            is_turned: !scores.is_turned,
            ..scores
        })]),
        false => Err("it turns heads of attention around".into()),
    }
}
