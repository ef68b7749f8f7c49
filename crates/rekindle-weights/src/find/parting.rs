//! Finds where two dotted names differ.

use std::ops::Range;

/// Returns where in `name` the first part stands that `other` doesn't have at its place, without the dot behind it.
pub(super) fn parting(name: &str, other: &str) -> Range<usize> {
    let pairs = name.split_inclusive('.').zip(other.split_inclusive('.'));
    let shared = pairs.take_while(|(a, b)| a == b);
    let start = shared.map(|(part, _)| part.len()).sum::<usize>();
    let length = name[start..].find('.').unwrap_or(name.len() - start);
    start..start + length
}
