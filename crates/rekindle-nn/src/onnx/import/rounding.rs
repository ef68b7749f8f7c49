//! Values of a network that a file rounds to whole numbers.

use super::attributes::Operator;
use super::constant::Constant;
use super::draft::State;
use super::error::Outcome;
use super::fold::bounds;
use super::reader::{Item, Reader};
use crate::op::Op;

/// How far the largest number that bytes stand for may be from 6 where they end as ReLU6 does.
const NEAR: f64 = 1e-3;

impl Reader<'_> {
    /// Reads `QuantizeLinear` or `DequantizeLinear` on a value. The rounding is left out. Where no byte stands for less than
    /// zero, what is negative is cut off: that is how quantizers leave a ReLU out behind a layer, and with a range up to 6 a
    /// ReLU6.
    pub(super) fn rounding(
        &mut self,
        operator: Operator<'_>,
        item: Item,
        constants: &[Option<&Constant>],
    ) -> Outcome<Item> {
        let given = |index: usize| constants.get(index).copied().flatten();
        let scale = given(1).ok_or("its scale is not known before the network runs")?;
        if !operator.input(2).is_empty() && given(2).is_none() {
            return Err("its zero point is not known before the network runs".into());
        }
        let (Item::View(view), "QuantizeLinear") = (&item, operator.kind().as_str()) else {
            return Ok(item);
        };
        let (least, most) = bounds(operator, given(2))?;
        let zero = match given(2) {
            Some(zero) => zero.scalar(),
            None => Some(0.0),
        };
        let (Some(zero), Some(scale)) = (zero, scale.scalar()) else {
            return Ok(item);
        };
        if zero != least as f64 || !self.may_be_negative(view.base) {
            return Ok(item);
        }
        let largest = scale * (most - least) as f64;
        let number = |value: f32| Constant::floats(Vec::new(), vec![value]);
        let cut = match (largest - 6.0).abs() < NEAR {
            true => {
                let [low, high] = [0.0, 6.0].map(number);
                self.unary(operator, "Clip", view, &[None, Some(&low), Some(&high)])?
            }
            false => self.unary(operator, "Relu", view, &[])?,
        };
        Ok(Item::View(cut))
    }

    /// Tells whether a value is what a layer or a sum gives, without a function behind it.
    fn may_be_negative(&self, base: usize) -> bool {
        match self.draft.state(base) {
            State::Layer { .. } | State::Affine { .. } => true,
            State::Ready(value) => {
                let node = value.node().and_then(|node| self.draft.nodes.get(node));
                node.is_some_and(|node| {
                    matches!(
                        node.op,
                        Op::Conv2d(_) | Op::Linear(_) | Op::BatchNorm(_) | Op::Add
                    )
                })
            }
            _ => false,
        }
    }
}
