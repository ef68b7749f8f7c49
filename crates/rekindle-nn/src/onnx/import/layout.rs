//! Operators that move no numbers.

use super::attributes::{Operator, axis};
use super::constant::Constant;
use super::error::Outcome;
use super::fold;
use super::reader::{Item, Reader};
use super::view::{Axis, View, whole};

/// Most channels that are taken one by one.
const MOST_PICKED: usize = 4;

impl Reader<'_> {
    pub(super) fn layout(
        &mut self,
        operator: Operator<'_>,
        kind: &str,
        view: &View,
        constants: &[Option<&Constant>],
    ) -> Outcome<Vec<Item>> {
        let shape = view.shape();
        let second = constants.get(1).copied().flatten();
        let across = || format!("it cuts across the parts of a tensor of shape {shape:?}");
        let one = match kind {
            "Shape" => return Ok(vec![Item::Constant(fold::shape(operator, &shape)?)]),
            "Size" => {
                let size: usize = shape.iter().product();
                return Ok(vec![Item::Constant(Constant::ints(
                    Vec::new(),
                    vec![size as i64],
                ))]);
            }
            "Transpose" => {
                let order = fold::order(operator, shape.len())?;
                view.transposed(&order)
                    .ok_or("its order is not one of all dimensions")?
            }
            "Expand" => {
                let wanted = fold::broadcast(&shape, &fold::lengths(second)?);
                match wanted == Some(shape) {
                    true => view.clone(),
                    false => return Err("it repeats what the network computes".into()),
                }
            }
            "Slice" => {
                let mut result = view.clone();
                for (at, start, count, step) in fold::slices(operator, constants, &shape)? {
                    if step == -1 && count > 1 {
                        let backwards: Vec<usize> = (0..count).map(|index| start - index).collect();
                        result = self.picked(&result, at, &backwards)?;
                        continue;
                    }
                    if step != 1 && count > 1 {
                        return Err("it leaves numbers out".into());
                    }
                    result = result.sliced(at, start, count).ok_or_else(across)?;
                }
                result
            }
            "Gather" => self.gathered(operator, view, second)?,
            "Split" => {
                let at = axis(operator.int("axis").unwrap_or(0), shape.len())?;
                let mut start = 0;
                let parts = fold::parts(operator, second, shape[at])?.into_iter();
                return parts
                    .map(|count| {
                        start += count;
                        let part = view.sliced(at, start - count, count).ok_or_else(across)?;
                        Ok(Item::View(part))
                    })
                    .collect();
            }
            _ => {
                let shape = fold::regrouped(operator, &shape, second)?;
                let view = view.reshaped(&shape).ok_or_else(across)?;
                self.unshuffled(view)?
            }
        };
        Ok(vec![Item::View(one)])
    }

    fn gathered(
        &mut self,
        operator: Operator<'_>,
        view: &View,
        indices: Option<&Constant>,
    ) -> Outcome<View> {
        let rank = view.dims.len();
        let at = axis(operator.int("axis").unwrap_or(0), rank)?;
        let indices = indices.ok_or("its indices are not known before the network runs")?;
        let extent = view.shape()[at];
        let values = indices
            .as_ints()
            .ok_or("its indices are no whole numbers")?;
        let values = values.iter().map(|value| axis(*value, extent));
        let values: Vec<usize> = values.collect::<Outcome<_>>()?;
        let is_run = values.windows(2).all(|pair| pair[1] == pair[0] + 1);
        let (Some(first), true) = (values.first(), is_run) else {
            return match indices.shape.len() {
                1 => self.picked(view, at, &values),
                _ => Err("it takes other indices than a row of them".into()),
            };
        };
        let across = "it cuts across the parts of a tensor";
        let taken = view.sliced(at, *first, values.len()).ok_or(across)?;
        let mut shape = taken.shape();
        shape.splice(at..=at, indices.shape.iter().copied());
        Ok(taken.reshaped(&shape).ok_or(across)?)
    }

    /// Takes channels in another order, such as blue, green and red.
    fn picked(&mut self, view: &View, at: usize, indices: &[usize]) -> Outcome<View> {
        let wrong = "it takes other indices than a row of them";
        let channels = whole(Axis::Channel, self.draft.channels(view.base));
        if view.dims[at] != channels || indices.is_empty() || indices.len() > MOST_PICKED {
            return Err(wrong.into());
        }
        let parts = indices.iter().map(|index| view.sliced(at, *index, 1));
        let parts: Vec<View> = parts.collect::<Option<_>>().ok_or(wrong)?;
        let parts: Vec<&View> = parts.iter().collect();
        Ok(self.channels_joined(&parts, at)?.ok_or(wrong)?)
    }

    /// Computes a shuffle of channels as soon as it is seen, since parts may be taken of what it gives.
    fn unshuffled(&mut self, view: View) -> Outcome<View> {
        let extents = self.draft.extents(view.base);
        if view.shuffle(extents).is_none() || !view.is_whole(extents) {
            return Ok(view);
        }
        let value = self.draft.maps(&view)?;
        let base = self.draft.ready(extents, value);
        Ok(View::new(base, extents, &Axis::ALL))
    }
}
