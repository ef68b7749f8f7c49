//! Numbers and foreign strings as people read them, as progress and reports write them.

use std::path::Path;

use burn::tensor::Device;
use rekindle_files::names::{printable, show};

/// Formats a duration: `0.42 s`, `12.3 s`, `3 min 05 s`, `2 h 03 min`.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match seconds {
        s if !s.is_finite() => "unknown".into(),
        s if s < 9.995 => format!("{:.2} s", s.max(0.0)),
        s if s < 59.95 => format!("{s:.1} s"),
        _ if whole < 3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

/// Formats a duration that is only a guess, to the second: `8 s`, `3 min 05 s`.
pub fn rough_duration(seconds: f64) -> String {
    if seconds.is_finite() && seconds < 59.5 {
        format!("{:.0} s", seconds.max(0.0))
    } else {
        duration(seconds)
    }
}

/// Formats a whole number with commas: `11,177,538`.
pub fn count(number: usize) -> String {
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

/// Formats a number of things: `1 epoch`, `25 epochs`.
pub fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// Says that not one of so many images can be read.
pub(crate) fn none_read(images: usize) -> String {
    match images {
        1 => "its one image can't be read".into(),
        _ => format!(
            "none of its {} can be read",
            counted(images, "image", "images")
        ),
    }
}

/// Lists names in a row: `ants, bees and 3 more`.
pub fn listed<S: AsRef<str>>(names: &[S], most: usize) -> String {
    let shown: Vec<String> = names
        .iter()
        .take(most)
        .map(|name| printable(name.as_ref()))
        .collect();
    let more = match names.len().saturating_sub(most) {
        0 => String::new(),
        more => format!(" and {} more", count(more)),
    };
    format!("{}{more}", shown.join(", "))
}

/// Names a device as `--device` calls it: `cpu`, `wgpu`, `cuda`, `cuda:1`, `ndarray`.
pub fn device(device: &Device) -> String {
    // Burn's devices tell their kind only as they are debugged: `Device<Cube(Cuda(CudaDevice { index: 1 }))>`.
    let debugged = format!("{:?}", device.clone().without_autodiff());
    let number = || {
        let mut digits = debugged.split(|c: char| !c.is_ascii_digit());
        digits
            .rfind(|digits| !digits.is_empty())
            .unwrap_or("0")
            .to_string()
    };
    let kinds = [
        ("Flex", "cpu"),
        ("NdArray", "ndarray"),
        ("Cuda", "cuda"),
        ("Wgpu", "wgpu"),
    ];
    let known = kinds.iter().find(|(kind, _)| debugged.contains(kind));
    match known.map(|(_, name)| *name) {
        Some("cuda") if number() != "0" => format!("cuda:{}", number()),
        Some(name) => name.to_string(),
        None => {
            let inner = debugged.strip_prefix("Device<").unwrap_or(&debugged);
            inner.strip_suffix('>').unwrap_or(inner).to_string()
        }
    }
}

/// Formats a number of any size in three or four digits: `0.0123`, `3.45`, `12,345`.
pub fn figure(value: f64) -> String {
    match value.abs() {
        v if !v.is_finite() => "NaN".into(),
        v if (9_999.5..1e15).contains(&v) => {
            let sign = if value < 0.0 { "-" } else { "" };
            format!("{sign}{}", count(v.round() as usize))
        }
        v if v >= 1e15 || (v > 0.0 && v < 1e-3) => format!("{value:.2e}"),
        v if v >= 999.5 => format!("{value:.0}"),
        v if v >= 99.95 => format!("{value:.1}"),
        v if v >= 1.0 || v == 0.0 => format!("{value:.2}"),
        v if v >= 0.1 => format!("{value:.3}"),
        _ => format!("{value:.4}"),
    }
}

/// Formats a share as percent with one decimal: `94.1 %`.
pub fn percent(share: f64) -> String {
    if share.is_finite() {
        format!("{:.1} %", 100.0 * share)
    } else {
        "undefined".into()
    }
}

/// Formats a loss with three significant decimals, or what it is instead of a number.
pub fn loss(value: f64) -> String {
    match value {
        v if v.is_nan() => "NaN".into(),
        v if !v.is_finite() => "infinite".into(),
        v if v.abs() >= 1000.0 => format!("{v:.2e}"),
        v => format!("{v:.3}"),
    }
}

/// Formats a learning rate: `0.001`, `2.5e-5`.
pub fn rate(value: f64) -> String {
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

/// Returns why a file was left out, without the file's name that the reason begins with.
pub fn reason_alone<'a>(path: &Path, reason: &'a str) -> &'a str {
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
        for (value, expected) in [
            (0.01234, "0.0123"),
            (0.123_45, "0.123"),
            (-3.456, "-3.46"),
            (234.56, "234.6"),
            (2345.6, "2346"),
            (-12_345.6, "-12,346"),
            (4.56e-5, "4.56e-5"),
            (0.0, "0.00"),
        ] {
            assert_eq!(figure(value), expected);
        }
        assert_eq!(loss(f64::NAN), "NaN");
        assert_eq!(rate(0.001), "0.001");
        assert_eq!(rate(0.1), "0.1");
        assert_eq!(rate(1.0), "1");
        assert_eq!(rate(1e-4), "1e-4");
        assert_eq!(rate(2.5e-5), "2.5e-5");
    }

    #[test]
    fn counts_and_lists_read_well() {
        assert_eq!(counted(1, "epoch", "epochs"), "1 epoch");
        assert_eq!(counted(0, "epoch", "epochs"), "0 epochs");
        assert_eq!(counted(1200, "image", "images"), "1,200 images");
        assert_eq!(listed(&["ants", "bees"], 2), "ants, bees");
        assert_eq!(listed(&["ants", "bees", "cats"], 1), "ants and 2 more");
    }

    #[cfg(feature = "flex")]
    #[test]
    fn a_device_is_called_as_on_the_command_line() {
        assert_eq!(device(&Device::flex()), "cpu");
        assert_eq!(device(&Device::flex().autodiff()), "cpu");
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
