//! Values that waited: what is made of them.

use super::draft::{Draft, Part, Product, State, Weight, layer_names};
use super::error::Outcome;
use crate::graph::{TensorKind, Value};
use crate::init::{ConvInit, Init, LinearInit};
use crate::op::{Conv2d, GroupNorm, LayerNorm, Linear, Op, Tokens};

impl Draft {
    /// Returns a value, computed now if it was still open.
    pub fn value(&mut self, base: usize) -> Outcome<Value> {
        let value = match self.state(base).clone() {
            State::Ready(value) => return Ok(value),
            State::Layer {
                of,
                product,
                weight,
                bias,
                node,
            } => self.layer(of, &product, weight, bias, &node)?,
            State::Function { .. } => self.function(base)?,
            State::LayerNorm {
                of,
                epsilon,
                weight,
                bias,
            } => {
                let norm = LayerNorm {
                    channels: self.channels(of),
                    epsilon,
                };
                let x = self.value(of)?;
                let (name, parts) = self.affine("norm", norm.channels, weight, bias);
                self.emit(&name, Op::LayerNorm(norm), vec![x], parts)?
            }
            State::GroupNorm {
                of,
                groups,
                epsilon,
                weight,
                bias,
            } => {
                let norm = GroupNorm {
                    channels: self.channels(of),
                    groups,
                    epsilon,
                };
                let x = self.value(of)?;
                let (name, parts) = self.affine("norm", norm.channels, weight, bias);
                self.emit(&name, Op::GroupNorm(norm), vec![x], parts)?
            }
            State::Affine { of, weight, bias } => self.scaled(of, weight, bias)?,
            State::GlobalResponse {
                of,
                epsilon,
                weight,
                bias,
            } => self.respond(of, epsilon, weight, bias)?,
            State::Tokens {
                of,
                prefix,
                positions,
                has_class_position,
            } => self.tokens(of, prefix, positions, has_class_position)?,
            State::Placed { .. } | State::InRow(_) => {
                return Err("patches with positions are no row of tokens here".into());
            }
            State::ChannelMean { .. }
            | State::Centered { .. }
            | State::Squared { .. }
            | State::Variance { .. }
            | State::Above { .. }
            | State::Deviation { .. }
            | State::InverseDeviation { .. } => {
                return Err("a part of a layer normalisation is used by itself".into());
            }
            State::Norms { .. }
            | State::MeanOfNorms { .. }
            | State::AboveNorms { .. }
            | State::Response { .. }
            | State::Responded { .. } => {
                return Err("a part of a global response normalisation is used by itself".into());
            }
        };
        self.bases[base].state = State::Ready(value);
        Ok(value)
    }

    fn layer(
        &mut self,
        of: usize,
        product: &Product,
        weight: Weight,
        bias: Option<Weight>,
        node: &str,
    ) -> Outcome<Value> {
        let x = self.value(of)?;
        let [module, weight_name, bias_name] = layer_names(&weight, bias.as_ref(), node);
        let has_bias = bias.is_some();
        let (op, shape, kind, [init, bias_init]) = match product {
            Product::Conv(conv) => {
                let [height, width] = conv.kernel;
                let shape = [
                    conv.out_channels,
                    conv.in_channels / conv.groups,
                    height,
                    width,
                ];
                let init = ConvInit::PyTorch.choose(shape, conv.groups);
                let op = Op::Conv2d(Conv2d {
                    has_bias,
                    ..conv.clone()
                });
                (op, shape.to_vec(), TensorKind::Kernel, init)
            }
            Product::Linear { inputs, outputs } => {
                let linear = Linear {
                    in_features: *inputs,
                    out_features: *outputs,
                    has_bias,
                };
                let init = LinearInit::PyTorch.choose(*inputs, *outputs);
                (
                    Op::Linear(linear),
                    vec![*outputs, *inputs],
                    TensorKind::Matrix,
                    init,
                )
            }
        };
        let outputs = shape[0];
        let mut parts = vec![Part {
            name: weight_name,
            shape,
            kind,
            init,
            values: weight.values,
        }];
        parts.extend(bias.map(|bias| Part {
            name: bias_name,
            shape: vec![outputs],
            kind: TensorKind::Vector,
            init: bias_init,
            values: bias.values,
        }));
        self.emit(&module, op, vec![x], parts)
    }

    /// Names and lists weight and bias of a normalisation, ones and zeros where there are none.
    fn affine(
        &self,
        kind: &str,
        channels: usize,
        weight: Option<Weight>,
        bias: Option<Weight>,
    ) -> (String, Vec<Part>) {
        let constant = |value: f32| Weight {
            values: vec![value; channels],
            name: None,
        };
        let weight = weight.unwrap_or_else(|| constant(1.0));
        let bias = bias.unwrap_or_else(|| constant(0.0));
        let [module, weight_name, bias_name] = layer_names(&weight, Some(&bias), &self.call(kind));
        let part = |name: String, values: Vec<f32>, init: f32| Part {
            name,
            shape: vec![channels],
            kind: TensorKind::Vector,
            init: Init::Constant(init),
            values,
        };
        let parts = vec![
            part(weight_name, weight.values, 1.0),
            part(bias_name, bias.values, 0.0),
        ];
        (module, parts)
    }

    /// Multiplies channels by factors, and adds to them.
    pub(super) fn scaled(
        &mut self,
        of: usize,
        weight: Option<Weight>,
        bias: Option<Weight>,
    ) -> Outcome<Value> {
        let x = self.value(of)?;
        let channels = self.channels(of);
        let (Some(weight), None) = (&weight, &bias) else {
            let (name, mut parts) = self.affine("affine", channels, weight, bias);
            parts[0].shape = vec![channels, 1, 1, 1];
            parts[0].kind = TensorKind::Kernel;
            let conv = Conv2d::of_pixels([channels; 2], channels, true);
            return self.emit(&name, Op::Conv2d(conv), vec![x], parts);
        };
        let name = self.call("scale");
        let own = weight.name.as_deref().map(str::to_string);
        let part = Part {
            name: own.unwrap_or_else(|| format!("{name}.gamma")),
            shape: vec![channels],
            kind: TensorKind::Vector,
            init: Init::Constant(1.0),
            values: weight.values.clone(),
        };
        self.emit(&name, Op::LayerScale { channels }, vec![x], vec![part])
    }

    fn respond(
        &mut self,
        of: usize,
        epsilon: f64,
        weight: Option<Weight>,
        bias: Option<Weight>,
    ) -> Outcome<Value> {
        let channels = self.channels(of);
        let x = self.value(of)?;
        let (name, mut parts) = self.affine("grn", channels, weight, bias);
        parts[0].init = Init::Constant(0.0);
        let norm = LayerNorm { channels, epsilon };
        self.emit(&name, Op::GlobalResponseNorm(norm), vec![x], parts)
    }

    /// Makes a row of tokens of patches and their positions alone.
    pub(super) fn patches(&mut self, of: usize, positions: Weight) -> Outcome<Value> {
        let x = self.value(of)?;
        let [_, channels, rows, columns] = self.extents(of);
        let tokens = Tokens {
            channels,
            registers: 0,
            grid: [rows, columns],
            has_class_position: false,
            lacks_class_token: true,
        };
        let name = self.call("tokens");
        let own = positions.name.map(|name| name.to_string());
        let part = Part {
            name: own.unwrap_or_else(|| format!("{name}.pos_embed")),
            shape: vec![1, positions.values.len() / channels, channels],
            kind: TensorKind::Table,
            init: Init::TruncatedNormal { std: 0.02 },
            values: positions.values,
        };
        self.emit(&name, Op::Tokens(tokens), vec![x], vec![part])
    }

    fn tokens(
        &mut self,
        of: usize,
        prefix: Vec<Weight>,
        positions: Option<Weight>,
        mut has_class_position: bool,
    ) -> Outcome<Value> {
        let (of, mut positions) = match self.state(of).clone() {
            State::Placed { of, positions } => (of, Some(positions)),
            _ => (of, positions),
        };
        let x = self.value(of)?;
        let [_, channels, rows, columns] = self.extents(of);
        let patches = rows * columns;
        // The first token is the class token, whichever weight it is in.
        let mut class_name = prefix
            .first()
            .ok_or("there is no class token")?
            .name
            .clone();
        let register_name = prefix.get(1).and_then(|weight| weight.name.clone());
        let mut front: Vec<f32> = prefix
            .into_iter()
            .flat_map(|weight| weight.values)
            .collect();
        let count = (front.len() / channels).saturating_sub(1);
        if let Some(table) = &mut positions {
            let given = table.values.len() / channels;
            if given == 1 + count + patches && count > 0 {
                // Every token has a position; those in front are taken into the tokens.
                let rest = table.values.split_off(front.len());
                let before = std::mem::replace(&mut table.values, rest);
                front
                    .iter_mut()
                    .zip(before)
                    .for_each(|(value, p)| *value += p);
                (class_name, has_class_position) = (None, false);
            } else if given != usize::from(has_class_position) + patches {
                return Err(format!("{given} positions for {patches} patches").into());
            }
        }
        let registers = front.split_off(channels.min(front.len()));
        let tokens = Tokens {
            channels,
            registers: registers.len() / channels,
            grid: [rows, columns],
            has_class_position: has_class_position && positions.is_some(),
            lacks_class_token: false,
        };
        let name = self.call("tokens");
        let small = Init::TruncatedNormal { std: 0.02 };
        let part = |own: Option<std::rc::Rc<str>>, kind: &str, values: Vec<f32>| Part {
            name: own.map_or_else(|| format!("{name}.{kind}"), |name| name.to_string()),
            shape: vec![1, values.len() / channels, channels],
            kind: TensorKind::Table,
            init: small,
            values,
        };
        let mut parts = vec![part(class_name, "cls_token", front)];
        if tokens.registers > 0 {
            parts.push(part(register_name, "reg_token", registers));
        }
        let positions = positions.unwrap_or_else(|| Weight {
            values: vec![0.0; tokens.positions() * channels],
            name: None,
        });
        parts.push(part(positions.name, "pos_embed", positions.values));
        self.emit(&name, Op::Tokens(tokens), vec![x], parts)
    }
}
