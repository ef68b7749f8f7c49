//! Attention and matrix products as one node: onnxruntime's own (`com.microsoft`), and ONNX's since operator set 23.

use super::attributes::Operator;
use super::constant::Constant;
use super::draft::Weight;
use super::error::Outcome;
use super::fold;
use super::reader::{Item, Reader};
use super::view::View;
use crate::onnx::proto::BOOL;

/// Order that puts heads before tokens, and tokens before heads.
const HEADS_FIRST: [usize; 4] = [0, 2, 1, 3];

impl Reader<'_> {
    /// Reads a product of matrices that are turned and scaled on the way.
    pub(super) fn fused_product(
        &mut self,
        operator: Operator<'_>,
        inputs: &[Option<Item>],
    ) -> Outcome<Vec<Item>> {
        let is_set = |name: &str| operator.int(name).unwrap_or(0) != 0;
        if is_set("transBatchA") || is_set("transBatchB") {
            return Err("it turns its batch around".into());
        }
        let alpha = operator.float("alpha").unwrap_or(1.0);
        let [Some(a), Some(b)] = inputs else {
            return Err("it does not take two values".into());
        };
        let a = if is_set("transA") {
            turned(a)?
        } else {
            a.clone()
        };
        let b = if is_set("transB") {
            turned(b)?
        } else {
            b.clone()
        };
        match (a, b) {
            (Item::View(view), Item::Constant(matrix)) => {
                let matrix = times(&matrix, alpha)?;
                let product = self.linear(operator, &view, &matrix, None)?;
                Ok(vec![Item::View(product)])
            }
            (a @ Item::View(_), b @ Item::View(_)) => {
                let mut gives = self.product(operator, &[Some(a), Some(b)])?;
                if let [Item::Scores(scores)] = gives.as_mut_slice() {
                    scores.factor *= alpha;
                }
                Ok(gives)
            }
            (a, b) if alpha == 1.0 => self.product(operator, &[Some(a), Some(b)]),
            _ => {
                Err("it scales a product that is neither a layer's nor of queries and keys".into())
            }
        }
    }

    /// Reads attention as one node.
    pub(super) fn whole_attention(
        &mut self,
        operator: Operator<'_>,
        inputs: &[Option<Item>],
    ) -> Outcome<Vec<Item>> {
        let kind = operator.kind();
        let is_masked = ["unidirectional", "is_causal", "do_rotary"]
            .iter()
            .any(|name| operator.int(name).unwrap_or(0) != 0);
        let is_capped = operator.float("softcap").unwrap_or(0.0) != 0.0;
        let others = match kind.as_str() {
            "com.microsoft::MultiHeadAttention" => 4,
            _ => 3,
        };
        let masks = inputs.iter().skip(others).flatten();
        if is_masked || is_capped || !masks.into_iter().all(masks_nothing) {
            return Err("it has a mask, a bias of its scores or keys from before".into());
        }
        let view = |index: usize| match inputs.get(index) {
            Some(Some(Item::View(view))) => Ok(view.clone()),
            _ => Err("its queries, keys and values are not three values of the network"),
        };
        let heads = |name: &str| operator.count(name, 0);
        let (sides, is_by_heads) = match kind.as_str() {
            "com.microsoft::Attention" => (self.in_one(operator, inputs)?, false),
            "com.microsoft::MultiHeadAttention" => {
                let mut sides = [view(0)?, view(1)?, view(2)?];
                if let Some(Some(Item::Constant(bias))) = inputs.get(3) {
                    let all = Weight::of(bias).ok_or("its bias are whole numbers")?;
                    let channels = all.values.len() / 3;
                    if channels == 0 || !all.values.len().is_multiple_of(3) {
                        return Err("its bias is not one for queries, keys and values".into());
                    }
                    for (side, values) in sides.iter_mut().zip(all.values.chunks(channels)) {
                        let values = values.to_vec();
                        let weight = Weight { values, name: None };
                        *side = self.add_channels(side, weight)?;
                    }
                }
                (sides, false)
            }
            _ => {
                let sides = [view(0)?, view(1)?, view(2)?];
                let is_by_heads = sides[0].dims.len() == 4;
                (sides, is_by_heads)
            }
        };
        let count = match kind.as_str() {
            "Attention" => heads("q_num_heads")?,
            _ => heads("num_heads")?,
        };
        if kind == "Attention" && heads("kv_num_heads")? != count {
            return Err("queries and keys have different heads".into());
        }
        let [query, key, value] = match is_by_heads {
            true => sides,
            false => {
                let mut split = Vec::with_capacity(3);
                for side in &sides {
                    split.push(self.split_heads(side, count)?);
                }
                <[View; 3]>::try_from(split).map_err(|_| "it has no three sides")?
            }
        };
        let exchanged = key.transposed(&[0, 1, 3, 2]);
        let mut scores = self.scores(&query, &exchanged.ok_or("it takes too few dimensions")?)?;
        let dim = *query.shape().last().unwrap_or(&1);
        let scale = operator.float("scale").filter(|scale| *scale != 0.0);
        scores.factor *= scale.unwrap_or(1.0 / (dim as f64).sqrt());
        scores.is_softmax = true;
        let given = self.attention(&scores, &value, false)?;
        if is_by_heads {
            return Ok(vec![Item::View(given)]);
        }
        let across = "its heads can't be put together again";
        let given = given.transposed(&HEADS_FIRST).ok_or(across)?;
        let &[batch, tokens, heads, dim] = given.shape().as_slice() else {
            return Err(across.into());
        };
        let joined = given.reshaped(&[batch, tokens, heads * dim]);
        Ok(vec![Item::View(joined.ok_or(across)?)])
    }

    /// Reads queries, keys and values out of one linear layer that the node holds.
    fn in_one(&mut self, operator: Operator<'_>, inputs: &[Option<Item>]) -> Outcome<[View; 3]> {
        let (Some(Some(Item::View(view))), Some(Some(Item::Constant(matrix)))) =
            (inputs.first(), inputs.get(1))
        else {
            return Err("its weights are not known before the network runs".into());
        };
        let bias = match inputs.get(2) {
            Some(Some(Item::Constant(bias))) => Weight::of(bias),
            Some(Some(_)) => return Err("its bias is not known before the network runs".into()),
            _ => None,
        };
        let sizes = operator.ints("qkv_hidden_sizes").unwrap_or_default();
        if sizes.windows(2).any(|pair| pair[0] != pair[1]) {
            return Err("its queries, keys and values have different channels".into());
        }
        let all = self.linear(operator, view, matrix, bias)?;
        let last = all.dims.len() - 1;
        let channels = self.draft.channels(all.base) / 3;
        let third = |at: usize| all.sliced(last, at * channels, channels);
        match (third(0), third(1), third(2)) {
            (Some(query), Some(key), Some(value)) => Ok([query, key, value]),
            _ => Err("its channels are not those of queries, keys and values".into()),
        }
    }

    /// Splits the channels of tokens `[batch, tokens, channels]` into `[batch, heads, tokens, channels]`.
    fn split_heads(&self, view: &View, heads: usize) -> Outcome<View> {
        let wrong = || format!("{:?} has no {heads} heads", view.shape());
        let &[batch, tokens, channels] = view.shape().as_slice() else {
            return Err(wrong().into());
        };
        if heads == 0 || !channels.is_multiple_of(heads) {
            return Err(wrong().into());
        }
        let split = view.reshaped(&[batch, tokens, heads, channels / heads]);
        let split = split.and_then(|view| view.transposed(&HEADS_FIRST));
        Ok(split.ok_or_else(wrong)?)
    }
}

/// Returns true for a mask that lets every score through: all true, or zeros that are added.
fn masks_nothing(mask: &Item) -> bool {
    match mask {
        Item::Constant(mask) if mask.kind == BOOL => mask.scalar() == Some(1.0),
        Item::Constant(mask) if mask.as_floats().is_some() => mask.scalar() == Some(0.0),
        _ => false,
    }
}

/// Exchanges the last two dimensions.
fn turned(item: &Item) -> Outcome<Item> {
    let wrong = "it takes too few dimensions";
    let order = |rank: usize| -> Outcome<Vec<usize>> {
        let mut order: Vec<usize> = (0..rank).collect();
        match rank {
            0 | 1 => Err(wrong.into()),
            _ => {
                order.swap(rank - 2, rank - 1);
                Ok(order)
            }
        }
    };
    match item {
        Item::View(view) => {
            let turned = view.transposed(&order(view.dims.len())?);
            Ok(Item::View(turned.ok_or(wrong)?))
        }
        Item::Constant(matrix) => {
            let order = order(matrix.shape.len())?;
            Ok(Item::Constant(fold::transposed(matrix, &order)?))
        }
        _ => Err("it turns scores of attention around".into()),
    }
}

/// Multiplies known real numbers.
pub(super) fn times(constant: &Constant, factor: f64) -> Outcome<Constant> {
    if factor == 1.0 {
        return Ok(constant.clone());
    }
    let values = constant
        .as_floats()
        .ok_or("its weights are whole numbers")?;
    let values = values
        .iter()
        .map(|value| (f64::from(*value) * factor) as f32);
    Ok(Constant {
        name: constant.name.clone(),
        ..Constant::floats(constant.shape.clone(), values.collect())
    })
}
