//! Interprets a server's answer to a download.

use ureq::Body;
use ureq::http::{Response, StatusCode, header};

/// Ways to go on with a download after an answer.
pub(super) enum Plan {
    Body { from: u64, total: Option<u64> },
    Complete,
    StartOver,
    Refused(StatusCode),
}

pub(super) fn plan(response: &Response<Body>, there: u64) -> Plan {
    let range = header_text(response, header::CONTENT_RANGE).and_then(parse_content_range);
    match response.status() {
        StatusCode::PARTIAL_CONTENT => match range {
            Some((Some(start), total)) if start == there => Plan::Body { from: there, total },
            _ => Plan::StartOver,
        },
        StatusCode::RANGE_NOT_SATISFIABLE => match range {
            Some((_, Some(total))) if total == there => Plan::Complete,
            _ => Plan::StartOver,
        },
        status if status.is_success() => Plan::Body {
            from: 0,
            total: header_text(response, header::CONTENT_LENGTH).and_then(|text| text.parse().ok()),
        },
        status => Plan::Refused(status),
    }
}

/// `bytes 100-199/1000` and `bytes */1000`: start and total.
fn parse_content_range(text: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let start = range
        .split_once('-')
        .and_then(|(start, _)| start.parse().ok());
    Some((start, total.parse().ok()))
}

/// Returns the tag that identifies a version of a file byte by byte; a weak tag does not.
pub(super) fn strong_validator(response: &Response<Body>) -> Option<String> {
    header_text(response, header::ETAG)
        .filter(|tag| !tag.starts_with("W/"))
        .map(str::to_string)
}

pub(super) fn header_text(response: &Response<Body>, name: header::HeaderName) -> Option<&str> {
    response.headers().get(name)?.to_str().ok()
}

pub(super) fn is_temporary(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        assert_eq!(
            parse_content_range("bytes 100-199/1000"),
            Some((Some(100), Some(1000)))
        );
        assert_eq!(
            parse_content_range("bytes */1000"),
            Some((None, Some(1000)))
        );
        assert_eq!(parse_content_range("bytes 5-9/*"), Some((Some(5), None)));
        assert_eq!(parse_content_range("lines 1-2/3"), None);
    }
}
