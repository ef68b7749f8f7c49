//! Values on the command line: what is out of range ends the program before any work, with status 2.

/// Reads a whole number from `LOW` to `HIGH`.
pub fn count<const LOW: u64, const HIGH: u64>(text: &str) -> Result<usize, String> {
    let expected = || format!("expected a whole number from {LOW} to {HIGH}");
    let number: u64 = text.parse().map_err(|_| expected())?;
    if !(LOW..=HIGH).contains(&number) {
        return Err(expected());
    }
    usize::try_from(number).map_err(|_| expected())
}

/// Reads the number that is white.
pub fn white(text: &str) -> Result<u32, String> {
    let expected = || format!("expected a whole number from 1 to {}", u32::MAX);
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(expected)
}

/// Reads a seed.
pub fn seed(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| format!("expected a whole number from 0 to {}", u64::MAX))
}

/// Reads a learning rate.
pub fn rate(text: &str) -> Result<f64, String> {
    number(text, "a number above 0", |rate| rate > 0.0)
}

/// Reads a number of minutes.
pub fn minutes(text: &str) -> Result<f64, String> {
    const EXPECTED: &str = "a number of minutes above 0 and up to 100000";
    number(text, EXPECTED, |minutes| minutes > 0.0 && minutes <= 1e5)
}

/// Reads a share or a decay, which must stay below 1.
pub fn share(text: &str) -> Result<f64, String> {
    number(text, "a number from 0 to below 1", |share| {
        (0.0..1.0).contains(&share)
    })
}

/// Reads a number of at least 0.
pub fn at_least_zero(text: &str) -> Result<f64, String> {
    number(text, "a number of at least 0", |number| number >= 0.0)
}

/// Reads a probability.
pub fn probability(text: &str) -> Result<f64, String> {
    number(text, "a number from 0 to 1", |share| {
        (0.0..=1.0).contains(&share)
    })
}

/// Reads a coverage.
pub fn coverage(text: &str) -> Result<f64, String> {
    number(text, "a number above 0 and below 1", |share| {
        share > 0.0 && share < 1.0
    })
}

/// Reads a share of images that may be rejected.
pub fn rejected(text: &str) -> Result<f64, String> {
    number(
        text,
        "a number above 0 and below 1, such as 0.05",
        |share| share > 0.0 && share < 1.0,
    )
}

/// Reads a text that says something.
pub fn words(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("expected a text that isn't empty".into()),
        _ => Ok(text.to_string()),
    }
}

fn number(text: &str, expected: &str, holds: impl Fn(f64) -> bool) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && holds(number) => Ok(number),
        _ => Err(format!("expected {expected}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn numbers_out_of_range_are_refused_with_the_range() {
        assert_eq!(count::<1, 9>("9"), Ok(9));
        for text in ["0", "10", "-1", "1.5", "", "nan", "99999999999999999999"] {
            let message = count::<1, 9>(text).unwrap_err();
            assert!(message.contains("from 1 to 9"), "{message}");
        }
        assert_eq!(rate("1e-3"), Ok(1e-3));
        for text in ["0", "-1", "nan", "NaN", "inf", "1e999", "", "abc"] {
            assert!(rate(text).is_err(), "{text}");
        }
        assert_eq!(share("0"), Ok(0.0));
        assert!(share("1").is_err() && share("-0.1").is_err() && share("nan").is_err());
        assert!(seed("-1").is_err() && words(" ").is_err());
    }
}
