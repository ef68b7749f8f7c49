//! Servers that answer with something else, late, or not at all, and requests that make no sense.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use rekindle_weights::Error;

use crate::server::{Server, reply, send, send_part};
use crate::{SHA, downloads, file, hub, quiet};

#[test]
fn web_pages_are_recognised_by_type_by_content_and_behind_redirects() {
    let page = b"<!DOCTYPE html><title>Log in</title>";
    let server = Server::start(move |request, stream| match request.target.as_str() {
        "/typed.pth" => reply(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 2",
            b"ok",
        ),
        "/moved.pth" => reply(
            stream,
            "HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0",
            b"",
        ),
        _ => reply(
            stream,
            &format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {}",
                page.len()
            ),
            page,
        ),
    });
    let folder = tempfile::tempdir().unwrap();
    for name in ["typed.pth", "content.pth", "moved.pth"] {
        let error = hub(folder.path())
            .fetch(&server.url(name), name, Some(SHA), &mut quiet)
            .unwrap_err();
        assert!(
            matches!(error, Error::HtmlInsteadOfFile { .. }),
            "{name}: {error:?}"
        );
        assert_eq!(
            error.to_string().contains("redirected to"),
            name == "moved.pth",
            "{error}"
        );
        assert!(!downloads(folder.path()).contains(&name.to_string()));
    }
}

#[test]
fn refusals_are_final_and_busy_servers_are_asked_again() {
    let server = Server::start(
        |request, stream| match (request.target.as_str(), request.number) {
            ("/absent.pth", _) => reply(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0", b""),
            ("/busy.pth", 1) => reply(
                stream,
                "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0",
                b"",
            ),
            ("/down.pth", _) => reply(stream, "HTTP/1.1 500 Oops\r\nContent-Length: 0", b""),
            _ => send(request, stream, &file()),
        },
    );
    let folder = tempfile::tempdir().unwrap();
    let fetch =
        |name: &str| hub(folder.path()).fetch(&server.url(name), name, Some(SHA), &mut quiet);
    let error = fetch("absent.pth").unwrap_err();
    assert!(
        matches!(error, Error::HttpStatus { status: 404, .. }),
        "{error:?}"
    );
    assert_eq!(server.requests().len(), 1);
    fetch("busy.pth").unwrap();
    assert_eq!(server.requests().len(), 3);
    let error = fetch("down.pth").unwrap_err();
    assert!(
        matches!(error, Error::HttpStatus { status: 500, .. }),
        "{error:?}"
    );
    assert_eq!(server.requests().len(), 6);
}

#[test]
fn a_silent_server_is_left_after_the_timeout() {
    let server = Server::start(|request, stream| {
        if request.target == "/stalls.pth" {
            send_part(
                request,
                stream,
                &file(),
                1000.max(request.from.unwrap_or(0)),
            );
            stream.write_all(&[0; 10]).unwrap();
        }
        thread::sleep(Duration::from_secs(20));
    });
    let folder = tempfile::tempdir().unwrap();
    for name in ["silent.pth", "stalls.pth"] {
        let start = Instant::now();
        let error = hub(folder.path())
            .attempts(2, Duration::from_millis(10))
            .fetch(&server.url(name), name, Some(SHA), &mut quiet)
            .unwrap_err();
        assert!(
            matches!(error, Error::Interrupted { attempts: 2, .. }),
            "{name}: {error:?}"
        );
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "{name} took {:?}",
            start.elapsed()
        );
    }
}

#[test]
fn without_a_network_the_error_comes_at_once() {
    // A port that nobody listens on any more.
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let error = hub(folder.path())
        .attempts(5, Duration::from_secs(60))
        .fetch(
            &format!("http://{closed}/a.pth"),
            "a.pth",
            Some(SHA),
            &mut quiet,
        )
        .unwrap_err();
    assert!(matches!(error, Error::NoNetwork { .. }), "{error:?}");
    assert!(error.to_string().contains("HTTPS_PROXY"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_cache_that_cannot_be_written_and_requests_that_make_no_sense() {
    let folder = tempfile::tempdir().unwrap();
    let occupied = folder.path().join("file");
    fs::write(&occupied, "").unwrap();
    let url = "http://127.0.0.1:9/a";
    let error = hub(&occupied)
        .fetch(url, "a.pth", None, &mut quiet)
        .unwrap_err();
    assert!(matches!(error, Error::Write { .. }), "{error:?}");

    let hub = hub(folder.path());
    for (url, name, sha) in [
        ("file:///etc/passwd", "a.pth", None),
        (url, "../a.pth", None),
        (url, "/a.pth", None),
        (url, "..", None),
        (url, "", None),
        (url, ".hidden", None),
        (url, "c:\\a.pth", None),
        (url, "a.pth", Some("xyz")),
        (url, "a.pth", Some("")),
    ] {
        let error = hub.fetch(url, name, sha, &mut quiet).unwrap_err();
        assert!(
            matches!(error, Error::InvalidRequest { .. }),
            "{url} {name} {sha:?}: {error:?}"
        );
    }
}
