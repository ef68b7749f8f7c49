//! Products of two computed tensors, which is attention, and tokens that are put together.

use super::attributes::{Operator, axis};
use super::constant::Constant;
use super::draft::{Product, State, Weight};
use super::error::Outcome;
use super::reader::{Item, Reader, Scores};
use super::view::{Atom, Axis, Dim, View, whole};
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
    fn scores(&mut self, query: &View, key: &View) -> Outcome<Scores> {
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
    fn attention(&mut self, scores: &Scores, value: &View, is_turned: bool) -> Outcome<View> {
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
        if (scores.factor / expected - 1.0).abs() > 1e-5 {
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
                    let name = self.draft.call("slice");
                    self.draft.emit(&name, op, vec![x], Vec::new())?
                }
            });
        }
        let name = self.draft.call("qkv");
        self.draft.emit(&name, Op::Concat, parts, Vec::new())
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

    /// Reads a concatenation: of channels, or of tokens in front of patches.
    pub(super) fn concatenation(
        &mut self,
        operator: Operator<'_>,
        inputs: &[Option<Item>],
    ) -> Outcome<Vec<Item>> {
        let views: Vec<&View> = inputs
            .iter()
            .filter_map(|item| match item {
                Some(Item::View(view)) => Some(view),
                _ => None,
            })
            .collect();
        let rank = views.first().map_or(0, |view| view.dims.len());
        let at = axis(operator.int("axis").unwrap_or(1), rank)?;
        if views.len() == inputs.len()
            && let Some(view) = self.channels_joined(&views, at)?
        {
            return Ok(vec![Item::View(view)]);
        }
        let mut parts = Vec::with_capacity(inputs.len());
        for item in inputs {
            parts.push(match item {
                Some(Item::View(view)) => Ok(view),
                Some(Item::Constant(constant)) => Err(constant),
                _ => return Err("a part is neither a value nor known".into()),
            });
        }
        Ok(vec![Item::View(self.tokens_joined(&parts, at)?)])
    }

    fn channels_joined(&mut self, views: &[&View], at: usize) -> Outcome<Option<View>> {
        let is_channels = |view: &&View| {
            let atoms = &view.dims[at];
            atoms.iter().all(|atom| atom.axis == Axis::Channel)
        };
        if !views
            .iter()
            .all(|view| view.dims.len() > at && is_channels(view))
        {
            return Ok(None);
        }
        let mut values = Vec::with_capacity(views.len());
        let mut first: Option<View> = None;
        let mut total = 0;
        for view in views {
            let view = self.draft.settle(view)?;
            let channels = self.draft.channels(view.base);
            let others = |view: &View| -> Vec<Dim> {
                let dims = view.dims.iter().enumerate();
                let dims = dims.filter(|(index, _)| *index != at);
                dims.map(|(_, dim)| dim.clone()).collect()
            };
            let is_like = first
                .as_ref()
                .is_none_or(|first| others(first) == others(&view));
            if view.dims[at] != whole(Axis::Channel, channels) || !is_like {
                return Err("its parts are turned differently".into());
            }
            values.push(self.draft.value(view.base)?);
            total += channels;
            first.get_or_insert(view);
        }
        let first = first.ok_or("it joins nothing")?;
        let name = self.draft.call("concat");
        let value = self.draft.emit(&name, Op::Concat, values, Vec::new())?;
        let mut extents = self.draft.extents(first.base);
        extents[1] = total;
        let base = self.draft.ready(extents, value);
        let mut view = first.on(base);
        view.dims[at] = whole(Axis::Channel, total);
        Ok(Some(view))
    }

    /// Reads tokens in front of patches, or registers between the class token and the patches.
    fn tokens_joined(&mut self, parts: &[Result<&View, &Constant>], at: usize) -> Outcome<View> {
        let wrong = "it joins neither channels nor tokens in front of patches";
        let Some((Ok(patches), before)) = parts.split_last() else {
            return Err(wrong.into());
        };
        let extents = self.draft.extents(patches.base);
        let channels = extents[1];
        let mut dims = patches.dims.clone();
        let others: Vec<&Dim> = dims
            .iter()
            .enumerate()
            .filter(|(i, _)| *i != at)
            .map(|(_, d)| d)
            .collect();
        let is_channels = |dim: &&Dim| **dim == whole(Axis::Channel, channels);
        let is_rest = |dim: &&Dim| is_channels(dim) || dim.iter().all(|a| a.axis == Axis::Batch);
        let channel_last = dims
            .iter()
            .position(|dim| is_channels(&dim))
            .is_some_and(|c| c > at);
        if !others.iter().any(is_channels) || !others.iter().all(is_rest) {
            return Err(wrong.into());
        }
        let taken = |constant: &Constant| -> Outcome<Weight> {
            let rank = constant.shape.len();
            let is_row = rank == dims.len() && {
                let mut extents = constant.shape.iter().enumerate();
                extents.all(|(i, e)| i == at || *e == 1 || *e == channels)
            };
            let count = constant.elements();
            if !is_row || !count.is_multiple_of(channels) {
                return Err(wrong.into());
            }
            let constant = match channel_last {
                true => constant.clone(),
                false => {
                    let mut order: Vec<usize> = (0..rank).collect();
                    order.swap(at, rank - 2);
                    order.swap(rank - 2, rank - 1);
                    super::fold::transposed(constant, &order)?
                }
            };
            Ok(Weight::of(&constant).ok_or(wrong)?)
        };
        let state = match (self.draft.state(patches.base).clone(), before) {
            // Registers between the parts of what was joined before.
            (
                State::Tokens {
                    of,
                    mut prefix,
                    positions,
                    has_class_position,
                },
                [Ok(class), registers @ ..],
            ) if class.base == patches.base && prefix.len() == 1 => {
                let column = Axis::Column.index();
                let is_cut = class.start[column] == 0
                    && class.along(Axis::Column).is_empty()
                    && patches.start[column] == 1
                    && patches.run(Axis::Column) == Some(extents[3] - 1);
                if !is_cut {
                    return Err(wrong.into());
                }
                for register in registers {
                    prefix.push(taken(register.err().ok_or(wrong)?)?);
                }
                State::Tokens {
                    of,
                    prefix,
                    positions,
                    has_class_position,
                }
            }
            (_, before) => {
                let [_, _, rows, columns] = extents;
                let pixels: Vec<Atom> =
                    [whole(Axis::Row, rows), whole(Axis::Column, columns)].concat();
                if dims[at] != pixels || !patches.is_whole(extents) {
                    return Err(wrong.into());
                }
                let mut prefix = Vec::with_capacity(before.len());
                for part in before {
                    prefix.push(taken(part.err().ok_or(wrong)?)?);
                }
                State::Tokens {
                    of: patches.base,
                    prefix,
                    positions: None,
                    has_class_position: false,
                }
            }
        };
        let (of, count) = match &state {
            State::Tokens { of, prefix, .. } => {
                let numbers = prefix.iter().map(|weight| weight.values.len());
                (*of, numbers.sum::<usize>() / channels)
            }
            _ => return Err(wrong.into()),
        };
        let [batch, _, rows, columns] = self.draft.extents(of);
        let tokens = count + rows * columns;
        let base = self.draft.add([batch, channels, 1, tokens], state);
        dims[at] = whole(Axis::Column, tokens);
        Ok(View {
            base,
            dims,
            start: [0; 4],
        })
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
