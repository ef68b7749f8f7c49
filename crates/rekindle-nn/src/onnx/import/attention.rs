//! Matrix products: linear layers, and attention where both sides are computed.

use super::attributes::Operator;
use super::draft::{Product, State, Weight};
use super::error::Outcome;
use super::reader::{Item, Reader, Scores};
use super::view::{Atom, Axis, View, whole};
use crate::graph::Value;
use crate::op::{Attention, Op};

/// Heads of queries, keys or values in their value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Heads {
    count: usize,
    dim: usize,
    /// The first channel.
    start: usize,
}

impl Heads {
    fn channels(self) -> usize {
        self.count * self.dim
    }
}

impl Reader<'_> {
    /// Reads a matrix product.
    pub(super) fn product(
        &mut self,
        operator: Operator<'_>,
        inputs: &[Option<Item>],
    ) -> Outcome<Vec<Item>> {
        let [Some(a), Some(b)] = inputs else {
            return Err("it does not take two values".into());
        };
        let one = match (a, b) {
            (Item::View(view), Item::Constant(matrix)) => {
                Item::View(self.linear(operator, view, matrix, None)?)
            }
            (Item::View(query), Item::View(key)) => Item::Scores(self.scores(query, key)?),
            (Item::Scores(scores), Item::View(value)) if !scores.is_turned => {
                Item::View(self.attention(scores, value, false)?)
            }
            (Item::View(value), Item::Scores(scores)) if scores.is_turned => {
                Item::View(self.attention(scores, value, true)?)
            }
            _ => {
                return Err(
                    "its two sides belong neither to a linear layer nor to attention".into(),
                );
            }
        };
        Ok(vec![one])
    }

    /// Reads products of queries and keys, `[.., tokens, channels]` by `[.., channels, tokens]`.
    pub(super) fn scores(&mut self, query: &View, key: &View) -> Outcome<Scores> {
        let rank = query.dims.len();
        if rank < 2 || key.dims.len() != rank {
            return Err("it multiplies tensors of different numbers of dimensions".into());
        }
        let mut exchanged: Vec<usize> = (0..rank).collect();
        exchanged.swap(rank - 2, rank - 1);
        let key = key
            .transposed(&exchanged)
            .ok_or("it takes too few dimensions")?;
        let mut factor = 1.0;
        let mut sides = [query.clone(), key];
        for side in &mut sides {
            let (base, scale) = self.draft.unscaled(side.base);
            factor *= scale;
            side.base = base;
        }
        let [query, key] = sides;
        let (of_query, of_key) = (self.heads(&query)?, self.heads(&key)?);
        if (of_query.count, of_query.dim) != (of_key.count, of_key.dim) {
            return Err("queries and keys have different heads".into());
        }
        Ok(Scores {
            query,
            key,
            factor,
            is_softmax: false,
            is_turned: false,
        })
    }

    /// Reads the heads of a view `[.., tokens, channels]`.
    fn heads(&self, view: &View) -> Outcome<Heads> {
        let extents = self.draft.extents(view.base);
        let wrong = "it multiplies two computed tensors in another way than attention";
        let (Some((channels, rest)), [_, _, 1, tokens]) = (view.dims.split_last(), extents) else {
            return Err(wrong.into());
        };
        let (row, lead) = rest.split_last().ok_or(wrong)?;
        let dim = match channels.as_slice() {
            [
                Atom {
                    axis: Axis::Channel,
                    extent,
                    step: 1,
                },
            ] => *extent,
            _ => return Err(wrong.into()),
        };
        let lead: Vec<&Atom> = lead.iter().flatten().collect();
        let count = match lead.iter().find(|atom| atom.axis == Axis::Channel) {
            None => 1,
            Some(atom) if atom.step == dim => atom.extent,
            Some(_) => return Err(wrong.into()),
        };
        let is_heads = |atom: &&Atom| atom.axis == Axis::Channel;
        let is_known = |atom: &&Atom| matches!(atom.axis, Axis::Channel | Axis::Batch);
        let is_all = *row == whole(Axis::Column, tokens)
            && view.start[Axis::Column.index()] == 0
            && view.run(Axis::Batch) == Some(extents[0]);
        let one = lead.iter().copied().filter(is_heads).count() <= 1;
        match is_all && one && lead.iter().copied().all(|atom| is_known(&atom)) {
            true => Ok(Heads {
                count,
                dim,
                start: view.start[Axis::Channel.index()],
            }),
            false => Err(wrong.into()),
        }
    }

    /// Reads the product of shares and values.
    pub(super) fn attention(
        &mut self,
        scores: &Scores,
        value: &View,
        is_turned: bool,
    ) -> Outcome<View> {
        if !scores.is_softmax {
            return Err("scores of attention have no softmax".into());
        }
        let rank = value.dims.len();
        let rows = match is_turned {
            false => value.clone(),
            true => {
                let mut exchanged: Vec<usize> = (0..rank).collect();
                exchanged.swap(rank - 2, rank - 1);
                value
                    .transposed(&exchanged)
                    .ok_or("it takes too few dimensions")?
            }
        };
        let (base, scale) = self.draft.unscaled(rows.base);
        if scale != 1.0 {
            return Err("values of attention are scaled".into());
        }
        let rows = rows.on(base);
        let sides = [&scores.query, &scores.key, &rows];
        let [query, key, own] = [
            self.heads(sides[0])?,
            self.heads(sides[1])?,
            self.heads(&rows)?,
        ];
        if (own.count, own.dim) != (query.count, query.dim) {
            return Err("values have other heads than queries".into());
        }
        let expected = 1.0 / (own.dim as f64).sqrt();
        if (scores.factor / expected - 1.0).abs() > self.draft.precision.tolerance() {
            let reason = format!(
                "its products are scaled by {}, where {expected} is the root of a head's channels",
                scores.factor
            );
            return Err(reason.into());
        }
        let x = self.joined(sides, [query, key, own])?;
        let attention = Attention {
            channels: own.channels(),
            heads: own.count,
            is_causal: false,
        };
        let name = self.draft.call("attention");
        let given = self
            .draft
            .emit(&name, Op::Attention(attention), vec![x], Vec::new())?;
        let [batch, _, _, tokens] = self.draft.extents(base);
        let result = self.draft.ready([batch, own.channels(), 1, tokens], given);
        let mut view = value.on(result);
        view.start[Axis::Channel.index()] = 0;
        Ok(view)
    }

    /// Puts queries, keys and values one behind the other along the channels.
    fn joined(&mut self, sides: [&View; 3], heads: [Heads; 3]) -> Outcome<Value> {
        let [query, key, own] = heads;
        let channels = own.channels();
        let base = sides[0].base;
        let starts = [query.start, key.start, own.start];
        if sides.iter().all(|side| side.base == base)
            && starts == [0, channels, 2 * channels]
            && self.draft.channels(base) == 3 * channels
        {
            return self.draft.value(base);
        }
        if let Some(layer) = self.one_layer(sides, channels) {
            return self.draft.value(layer);
        }
        let mut parts = Vec::with_capacity(3);
        for (side, heads) in sides.iter().zip(heads) {
            let x = self.draft.value(side.base)?;
            let is_whole = self.draft.channels(side.base) == channels;
            parts.push(match is_whole {
                true => x,
                false => {
                    let op = Op::Slice {
                        start: heads.start,
                        channels,
                    };
                    self.draft.apply("slice", op, vec![x])?
                }
            });
        }
        self.draft.apply("qkv", Op::Concat, parts)
    }

    /// Makes one linear layer of three on one input.
    fn one_layer(&mut self, sides: [&View; 3], channels: usize) -> Option<usize> {
        let mut input = None;
        let mut names = Vec::new();
        let (mut weights, mut biases) = (Vec::new(), Vec::new());
        let (mut inputs_of_all, mut has_bias) = (0, false);
        for side in sides {
            let State::Layer {
                of,
                product: Product::Linear { inputs, outputs },
                weight,
                bias,
                node,
            } = self.draft.state(side.base)
            else {
                return None;
            };
            if *outputs != channels || *input.get_or_insert(*of) != *of {
                return None;
            }
            inputs_of_all = *inputs;
            weights.extend(&weight.values);
            match bias {
                Some(bias) => biases.extend(&bias.values),
                None => biases.extend(std::iter::repeat_n(0.0, channels)),
            }
            has_bias |= bias.is_some();
            let name = bias.as_ref().or(Some(weight)).and_then(|w| w.name.clone());
            names.push(name.map_or_else(|| node.clone(), |name| name.to_string()));
        }
        let of = input?;
        let module = common_module(&names);
        let name = match module.is_empty() {
            true => self.draft.call("qkv"),
            false => format!("{module}.qkv"),
        };
        let named = |values: Vec<f32>, part: &str| Weight {
            values,
            name: Some(format!("{name}.{part}").into()),
        };
        let [batch, _, rows, columns] = self.draft.extents(of);
        let state = State::Layer {
            of,
            product: Product::Linear {
                inputs: inputs_of_all,
                outputs: 3 * channels,
            },
            weight: named(weights, "weight"),
            bias: has_bias.then(|| named(biases, "bias")),
            node: name.clone(),
        };
        Some(self.draft.add([batch, 3 * channels, rows, columns], state))
    }
}

/// Returns the modules that all names begin with.
fn common_module(names: &[String]) -> String {
    let mut parts = names.iter().map(|name| name.split('.').collect::<Vec<_>>());
    let mut common = parts.next().unwrap_or_default();
    // The last part is a parameter's own.
    common.pop();
    for other in parts {
        let pairs = common.iter().zip(&other);
        let same = pairs.take_while(|(a, b)| a == b).count();
        common.truncate(same);
    }
    common.join(".")
}
