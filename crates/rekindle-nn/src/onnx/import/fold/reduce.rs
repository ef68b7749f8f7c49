//! Sums, means and statistics of known numbers.

use super::super::attributes::Operator;
use super::super::constant::Constant;
use super::super::error::Outcome;
use super::shapes::axes;

/// Reduces dimensions to one number each.
pub(crate) fn reduced(
    operator: Operator<'_>,
    kind: &str,
    x: &Constant,
    axes_input: Option<&Constant>,
) -> Outcome<Option<Constant>> {
    let rank = x.shape.len();
    let axes = axes(operator, axes_input, rank)?;
    let axes = axes.unwrap_or_else(|| (0..rank).collect());
    let kept = |at: usize| if axes.contains(&at) { 1 } else { x.shape[at] };
    let wide: Vec<usize> = (0..rank).map(kept).collect();
    let count: usize = wide.iter().product();
    let place = |index: usize| {
        let (mut rest, mut place, mut stride) = (index, 0, 1);
        for at in (0..rank).rev() {
            let along = rest % x.shape[at].max(1);
            rest /= x.shape[at].max(1);
            place += along.min(wide[at] - 1) * stride;
            stride *= wide[at];
        }
        place
    };
    if wide.contains(&0) || x.elements() == 0 {
        return Err("it reduces nothing".into());
    }
    let shape = match operator.int("keepdims").unwrap_or(1) {
        0 => (0..rank)
            .filter(|at| !axes.contains(at))
            .map(|at| x.shape[at])
            .collect(),
        _ => wide.clone(),
    };
    if let Some(values) = x.as_ints() {
        let function: fn(i64, i64) -> Option<i64> = match kind {
            "ReduceProd" => i64::checked_mul,
            "ReduceSum" => i64::checked_add,
            "ReduceMax" => |a, b| Some(a.max(b)),
            "ReduceMin" => |a, b| Some(a.min(b)),
            _ => return Ok(None),
        };
        let mut found: Vec<Option<i64>> = vec![None; count];
        for (index, value) in values.iter().enumerate() {
            let so_far = &mut found[place(index)];
            *so_far = match *so_far {
                None => Some(*value),
                Some(so_far) => {
                    let next = function(so_far, *value);
                    Some(next.ok_or("it leaves the range of whole numbers")?)
                }
            };
        }
        let found = found.into_iter().flatten().collect();
        return Ok(Some(Constant::ints(shape, found)));
    }
    let Some(values) = x.as_floats() else {
        return Ok(None);
    };
    let (begin, function): (f64, fn(f64, f64) -> f64) = match kind {
        "ReduceProd" => (1.0, |a, b| a * b),
        "ReduceSum" | "ReduceMean" => (0.0, |a, b| a + b),
        "ReduceSumSquare" | "ReduceL2" => (0.0, |a, b| a + b * b),
        "ReduceMax" => (f64::NEG_INFINITY, f64::max),
        "ReduceMin" => (f64::INFINITY, f64::min),
        _ => return Ok(None),
    };
    let mut found = vec![begin; count];
    for (index, value) in values.iter().enumerate() {
        let so_far = &mut found[place(index)];
        *so_far = function(*so_far, f64::from(*value));
    }
    let of_each = (x.elements() / count) as f64;
    let end = |value: f64| match kind {
        "ReduceMean" => value / of_each,
        "ReduceL2" => value.sqrt(),
        _ => value,
    };
    let found = found.into_iter().map(|value| end(value) as f32).collect();
    Ok(Some(Constant::floats(shape, found)))
}

/// Normalises known numbers along their second dimension, by their own statistics in training: what convolutions with
/// standardised weights do (Qiao et al. 2019, <https://arxiv.org/abs/1903.10520>).
pub(crate) fn batch_normalised(
    operator: Operator<'_>,
    inputs: &[Option<&Constant>],
) -> Outcome<Option<Constant>> {
    let given = |index: usize| inputs.get(index).copied().flatten()?.as_floats();
    let (Some(x), Some(values)) = (inputs.first().copied().flatten(), given(0)) else {
        return Ok(None);
    };
    let (&[_, channels, ..], Some(scale), Some(bias)) = (x.shape.as_slice(), given(1), given(2))
    else {
        return Ok(None);
    };
    let inner: usize = x.shape[2..].iter().product();
    let channel = |index: usize| index / inner.max(1) % channels.max(1);
    let count = (values.len() / channels.max(1)) as f64;
    let (mut mean, mut variance) = (vec![0.0f64; channels], vec![0.0f64; channels]);
    if operator.int("training_mode").unwrap_or(0) != 0 {
        for (index, value) in values.iter().enumerate() {
            mean[channel(index)] += f64::from(*value) / count;
        }
        for (index, value) in values.iter().enumerate() {
            let at = channel(index);
            variance[at] += (f64::from(*value) - mean[at]).powi(2) / count;
        }
    } else {
        for (to, index) in [(&mut mean, 3), (&mut variance, 4)] {
            let from = given(index).ok_or("its statistics are not known")?;
            to.iter_mut()
                .zip(from.iter())
                .for_each(|(to, from)| *to = f64::from(*from));
        }
    }
    if scale.len() != channels || bias.len() != channels {
        return Err(format!("{} factors for {channels} channels", scale.len()).into());
    }
    let epsilon = operator.float("epsilon").unwrap_or(1e-5);
    let normalised = values.iter().enumerate().map(|(index, value)| {
        let at = channel(index);
        let unit = (f64::from(*value) - mean[at]) / (variance[at] + epsilon).sqrt();
        (unit * f64::from(scale[at]) + f64::from(bias[at])) as f32
    });
    Ok(Some(Constant::floats(
        x.shape.clone(),
        normalised.collect(),
    )))
}
