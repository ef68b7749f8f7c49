//! The order in which people count: `2` before `10`.

use std::cmp::Ordering;

/// Compares names with runs of digits as numbers: `class 2` before `class 10`, `-1` and fractions as text has them.
/// Names that differ in leading zeros alone keep the order of their characters.
pub(crate) fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        let (Some(x), Some(y)) = (left.chars().next(), right.chars().next()) else {
            return left.len().cmp(&right.len()).then_with(|| a.cmp(b));
        };
        if x.is_ascii_digit() && y.is_ascii_digit() {
            let (number, after) = digits(left);
            let (other, behind) = digits(right);
            let order = (number.len().cmp(&other.len())).then_with(|| number.cmp(other));
            if order != Ordering::Equal {
                return order;
            }
            (left, right) = (after, behind);
        } else {
            if x != y {
                return x.cmp(&y);
            }
            (left, right) = (&left[x.len_utf8()..], &right[y.len_utf8()..]);
        }
    }
}

/// The digits that a text begins with, less leading zeros, and the rest.
fn digits(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    (text[..end].trim_start_matches('0'), &text[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_as_numbers_and_the_rest_as_text() {
        let mut names = [
            "10", "9", "1", "class 10", "class 9", "a", "B", "é", "01", "class", "class 9b",
        ];
        names.sort_by(|a, b| natural(a, b));
        let sorted = [
            "01", "1", "9", "10", "B", "a", "class", "class 9", "class 9b", "class 10", "é",
        ];
        assert_eq!(names, sorted);
    }
}
