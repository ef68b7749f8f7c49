//! Parts of messages.

/// Replaces what could steer a terminal in a foreign name.
pub(crate) fn printable(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

pub(super) fn foreign_hint(class: &Option<String>) -> String {
    class.as_ref().map_or_else(String::new, |class| {
        format!("; objects of `{class}` were passed over")
    })
}

pub(super) fn hint(detail: &str) -> String {
    if detail.is_empty() {
        String::new()
    } else {
        format!(" ({detail})")
    }
}

pub(super) fn total(expected: Option<u64>) -> String {
    expected.map_or_else(|| "an unknown number of".to_string(), |n| n.to_string())
}

pub(super) fn http_hint(status: u16) -> &'static str {
    match status {
        401 | 403 => {
            ": access is refused, the address may need a login or a licence to be accepted"
        }
        404 | 410 => ": there is no such file, check the address",
        407 => ": a proxy wants a user name and password, put them into HTTPS_PROXY",
        429 => ": too many requests, wait a few minutes",
        500..=599 => ": the server has a problem of its own, try again later",
        _ => "",
    }
}
