//! Numbers and foreign strings as people read them; shared by the progress output and the report.

use std::path::Path;

use rekindle_files::names::show;

/// A duration: `0.42 s`, `12.3 s`, `3 min 05 s`, `2 h 03 min`.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match seconds {
        s if !s.is_finite() => "unknown".into(),
        s if s < 9.995 => format!("{:.2} s", s.max(0.0)),
        s if s < 59.95 => format!("{s:.1} s"),
        _ if whole < 3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

/// A duration that is only a guess, to the second: `8 s`, `3 min 05 s`.
pub(crate) fn rough_duration(seconds: f64) -> String {
    if seconds.is_finite() && seconds < 59.5 {
        format!("{:.0} s", seconds.max(0.0))
    } else {
        duration(seconds)
    }
}

/// A whole number with commas: `11,177,538`.
pub(crate) fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A share as percent with one decimal: `94.1 %`.
pub(crate) fn percent(share: f64) -> String {
    if share.is_finite() {
        format!("{:.1} %", 100.0 * share)
    } else {
        "undefined".into()
    }
}

/// A loss with three significant decimals, or what it is instead of a number.
pub(crate) fn loss(value: f64) -> String {
    match value {
        v if v.is_nan() => "NaN".into(),
        v if !v.is_finite() => "infinite".into(),
        v if v.abs() >= 1000.0 => format!("{v:.2e}"),
        v => format!("{v:.3}"),
    }
}

/// A learning rate: `0.001`, `2.5e-5`.
pub(crate) fn rate(value: f64) -> String {
    let text = if value == 0.0 || (1e-3..1e3).contains(&value) {
        let mut text = format!("{value:.5}");
        while text.contains('.') && (text.ends_with('0') || text.ends_with('.')) {
            text.pop();
        }
        text
    } else {
        format!("{value:.1e}")
    };
    text.replace(".0e", "e")
}

/// A number of things: `1 image`, `1,200 images`.
pub(crate) fn counted(number: usize, thing: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {thing}{ending}", count(number))
}

/// The first of some names, and how many more there are.
pub(crate) fn some_of(names: &[String]) -> String {
    const SHOWN: usize = 12;
    match names.len().saturating_sub(SHOWN) {
        0 => names.join(", "),
        more => format!("{} and {} more", names[..SHOWN].join(", "), count(more)),
    }
}

/// Why a file was left out, without the file's name that the reason begins with.
pub(crate) fn reason_alone<'a>(path: &Path, reason: &'a str) -> &'a str {
    let named = format!("{}: ", show(path));
    reason.strip_prefix(&named).unwrap_or(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(duration(0.4213), "0.42 s");
        assert_eq!(duration(12.34), "12.3 s");
        assert_eq!(duration(59.97), "1 min 00 s");
        assert_eq!(duration(185.2), "3 min 05 s");
        assert_eq!(duration(7380.0), "2 h 03 min");
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(11_177_538), "11,177,538");
        assert_eq!(percent(0.9411), "94.1 %");
        assert_eq!(loss(f64::NAN), "NaN");
        assert_eq!(rate(0.001), "0.001");
        assert_eq!(rate(0.1), "0.1");
        assert_eq!(rate(1.0), "1");
        assert_eq!(rate(1e-4), "1e-4");
        assert_eq!(rate(2.5e-5), "2.5e-5");
    }

    #[test]
    fn a_reason_names_its_file_once() {
        let path = Path::new("ants/torn.png");
        assert_eq!(
            reason_alone(path, "ants/torn.png: the file is empty"),
            "the file is empty"
        );
        assert_eq!(reason_alone(path, "it went away"), "it went away");
    }
}
