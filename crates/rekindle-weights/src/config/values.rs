//! Values of a description, where they make sense.

use serde_json::Value;

use super::Object;

/// Sides of pictures in pixels; what is larger is a mistake, and would take the memory of one.
const LONGEST_SIDE: u64 = 4096;

/// Returns a side in pixels.
pub(super) fn side(value: &Value) -> Option<usize> {
    let side = value.as_u64().or_else(|| {
        let side = value.as_f64()?;
        (side.fract() == 0.0 && side >= 0.0).then_some(side as u64)
    })?;
    let is_usual = (1..=LONGEST_SIDE).contains(&side);
    is_usual.then(|| usize::try_from(side).ok()).flatten()
}

/// Returns the share of a resized picture's side that is cut out of it.
pub(super) fn share(value: &Value) -> Option<f64> {
    // Of a smaller share the picture would be larger than any in use.
    value.as_f64().filter(|share| (0.1..=1.0).contains(share))
}

/// Returns the length of the resized side of which `crop` is that share, rounded down.
pub(super) fn resized(crop: usize, share: f64) -> usize {
    (crop as f64 / share).floor() as usize
}

/// Returns a number for each of three channels; one number stands for all, and more than three for images of as many channels,
/// where they are three in turn.
pub(super) fn channels(value: &Value) -> Option<[f32; 3]> {
    let numbers = match value {
        Value::Array(numbers) => numbers.iter().map(Value::as_f64).collect(),
        number => Some(vec![number.as_f64()?]),
    };
    let numbers: Vec<f64> = numbers?;
    let channels = match numbers[..] {
        [all] => [all; 3],
        [red, green, blue, ..]
            if numbers
                .iter()
                .zip(numbers.iter().skip(3))
                .all(|(a, b)| a == b) =>
        {
            [red, green, blue]
        }
        _ => return None,
    };
    let channels = channels.map(|number| number as f32);
    channels
        .iter()
        .all(|number| number.is_finite())
        .then_some(channels)
}

/// Returns a list of more than three numbers among these entries that no [`channels`] are made of.
pub(super) fn list_of_others<'a>(object: &'a Object, entries: &[&'a str]) -> Option<&'a str> {
    let is_other = |entry: &&&str| match object.get(**entry) {
        Some(list @ Value::Array(numbers)) => {
            numbers.len() > 3 && numbers.iter().all(Value::is_number) && channels(list).is_none()
        }
        _ => false,
    };
    entries.iter().find(is_other).copied()
}

/// Returns standard deviations, which are above zero.
pub(super) fn deviations(value: &Value) -> Option<[f32; 3]> {
    channels(value).filter(|channels| channels.iter().all(|number| *number > 0.0))
}

/// Returns names in the order of the logits: a list, or an object from the numbers 0, 1, 2 and so on.
pub(super) fn names(value: &Value) -> Option<Vec<String>> {
    let names = match value {
        Value::Array(names) => names.iter().map(text).collect(),
        Value::Object(names) => numbered(names),
        _ => None,
    };
    names.filter(|names: &Vec<String>| !names.is_empty())
}

fn numbered(names: &Object) -> Option<Vec<String>> {
    let mut ordered = vec![None; names.len()];
    for (number, name) in names {
        let place: usize = number.parse().ok()?;
        *ordered.get_mut(place)? = Some(text(name)?);
    }
    ordered.into_iter().collect()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_string)
}
