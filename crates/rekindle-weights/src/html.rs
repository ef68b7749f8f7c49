//! Web pages, which no download of weights should have.

/// Returns true if bytes begin like a web page.
pub(crate) fn is_html(head: &[u8]) -> bool {
    let head = &head[..head.len().min(256)];
    let text = head
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(head)
        .trim_ascii_start()
        .to_ascii_lowercase();
    [
        &b"<!doctype html"[..],
        b"<html",
        b"<head",
        b"<body",
        b"<script",
        b"<?xml",
        b"<!--",
    ]
    .iter()
    .any(|start| text.starts_with(start))
}
