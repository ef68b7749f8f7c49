//! Downloads from a real server on this machine, which does what servers do.
#![cfg(feature = "hub")]
#![allow(clippy::unwrap_used)]

#[path = "common/server.rs"]
mod server;

use std::fs::{self, File};
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rekindle_resnet::Error;
use rekindle_resnet::hub::{Hub, Progress, unzip};
use server::{Server, reply, send, send_part};
use zip::write::{SimpleFileOptions, ZipWriter};

/// A file of 300,000 bytes, and the SHA-256 that `sha256sum` gives for it.
fn file() -> Vec<u8> {
    (0..300_000u32)
        .map(|i| (i.wrapping_mul(i) % 251) as u8)
        .collect()
}
const SHA: &str = "4abb1f7a";

fn hub(folder: &Path) -> Hub {
    Hub::at(folder)
        .attempts(3, Duration::from_millis(10))
        .timeouts(Duration::from_secs(2), Duration::from_millis(500))
}

fn quiet(_: Progress) {}

fn downloads(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder.join("downloads"))
        .map(|entries| {
            entries
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect()
        })
        .unwrap_or_default();
    names.retain(|name| !name.ends_with(".lock"));
    names.sort();
    names
}

#[test]
fn a_good_download_is_kept_and_not_repeated() {
    let server = Server::start(|request, stream| send(request, stream, &file()));
    let folder = tempfile::tempdir().unwrap();
    let mut reports = Vec::new();
    let fetch = |report: &mut dyn FnMut(Progress)| {
        hub(folder.path()).fetch(&server.url("a.pth"), "a.pth", Some(SHA), report)
    };
    let path = fetch(&mut |progress| reports.push(progress)).unwrap();
    assert_eq!(fs::read(&path).unwrap(), file());
    assert_eq!(downloads(folder.path()), ["a.pth"]);
    assert_eq!(
        reports.first(),
        Some(&Progress::Receiving {
            received: 0,
            total: Some(300_000)
        })
    );
    assert!(reports.contains(&Progress::Receiving {
        received: 300_000,
        total: Some(300_000)
    }));
    assert_eq!(reports.last(), Some(&Progress::Verifying));

    assert_eq!(fetch(&mut quiet).unwrap(), path);
    // Offline, what is there is enough.
    hub(folder.path())
        .offline(true)
        .fetch(&server.url("a.pth"), "a.pth", Some(SHA), &mut quiet)
        .unwrap();
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_wrong_checksum_is_an_error_and_leaves_nothing() {
    let server = Server::start(|request, stream| send(request, stream, b"another file"));
    let folder = tempfile::tempdir().unwrap();
    let error = hub(folder.path())
        .fetch(&server.url("a.pth"), "a.pth", Some("0123ABCD"), &mut quiet)
        .unwrap_err();
    let Error::ChecksumMismatch {
        expected, found, ..
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!(expected, "0123abcd");
    // printf 'another file' | sha256sum
    assert_eq!(
        found,
        "100ef6a71bac925f709fe9c114c60460bf6e472cfdb9d44bd8adf1698135260f"
    );
    assert!(downloads(folder.path()).is_empty());
}

#[test]
fn a_broken_connection_is_continued_where_it_broke() {
    let server = Server::start(|request, stream| match request.number {
        0 => send_part(request, stream, &file(), 100_000),
        1 => send_part(request, stream, &file(), 250_000),
        _ => send(request, stream, &file()),
    });
    let folder = tempfile::tempdir().unwrap();
    let mut retries = 0;
    let path = hub(folder.path())
        .fetch(&server.url("a.pth"), "a.pth", Some(SHA), &mut |progress| {
            if let Progress::Retrying { reason, .. } = progress {
                assert!(!reason.is_empty());
                retries += 1;
            }
        })
        .unwrap();
    assert_eq!(fs::read(path).unwrap(), file());
    let ranges: Vec<_> = server
        .requests()
        .iter()
        .map(|request| request.from)
        .collect();
    assert_eq!(ranges, [None, Some(100_000), Some(250_000)]);
    assert_eq!(retries, 2);
}

#[test]
fn what_one_run_left_the_next_one_continues() {
    let server = Server::start(|request, stream| {
        let until = if request.number < 3 { 100_000 } else { 300_000 };
        send_part(request, stream, &file(), until);
    });
    let folder = tempfile::tempdir().unwrap();
    let fetch = || hub(folder.path()).fetch(&server.url("a.pth"), "a.pth", Some(SHA), &mut quiet);
    let error = fetch().unwrap_err();
    assert!(
        matches!(
            error,
            Error::Interrupted {
                received: 100_000,
                expected: Some(300_000),
                attempts: 3,
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(downloads(folder.path()), ["a.pth.part"]);
    assert_eq!(fs::read(fetch().unwrap()).unwrap(), file());
    assert_eq!(server.requests().last().unwrap().from, Some(100_000));
    assert_eq!(downloads(folder.path()), ["a.pth"]);
}

#[test]
fn leftovers_of_another_file_do_not_spoil_the_download() {
    let server = Server::start(|request, stream| send(request, stream, &file()));
    for leftover in [vec![9; 1000], vec![9; 300_000], vec![9; 400_000]] {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("downloads")).unwrap();
        fs::write(folder.path().join("downloads/a.pth.part"), leftover).unwrap();
        let path = hub(folder.path())
            .fetch(&server.url("a.pth"), "a.pth", Some(SHA), &mut quiet)
            .unwrap();
        assert_eq!(fs::read(path).unwrap(), file());
    }
}

#[test]
fn a_server_without_ranges_starts_over() {
    let server = Server::start(|request, stream| {
        let until = if request.number == 0 {
            100_000
        } else {
            300_000
        };
        let whole = server::Request {
            from: None,
            ..request.clone()
        };
        send_part(&whole, stream, &file(), until);
    });
    let folder = tempfile::tempdir().unwrap();
    let path = hub(folder.path())
        .fetch(&server.url("a.pth"), "a.pth", Some(SHA), &mut quiet)
        .unwrap();
    assert_eq!(fs::read(path).unwrap(), file());
}

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
fn two_at_once_download_once() {
    let server = Server::start(|request, stream| {
        thread::sleep(Duration::from_millis(300));
        send(request, stream, &file());
    });
    let folder = tempfile::tempdir().unwrap();
    let fetch = || {
        let mut waited = false;
        let path = hub(folder.path())
            .timeouts(Duration::from_secs(2), Duration::from_secs(5))
            .fetch(&server.url("a.pth"), "a.pth", Some(SHA), &mut |progress| {
                waited |= progress == Progress::Waiting;
            })
            .unwrap();
        assert_eq!(fs::read(path).unwrap(), file());
        waited
    };
    let waited: Vec<bool> = thread::scope(|scope| {
        let threads = [scope.spawn(fetch), scope.spawn(fetch)];
        threads.map(|thread| thread.join().unwrap()).into()
    });
    assert_eq!(server.requests().len(), 1);
    assert_eq!(waited.iter().filter(|waited| **waited).count(), 1);
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
fn offline_names_the_file_and_the_address() {
    let folder = tempfile::tempdir().unwrap();
    let url = "https://example.org/a.pth";
    let fetch = || {
        hub(folder.path())
            .offline(true)
            .fetch(url, "a.pth", Some(SHA), &mut quiet)
    };
    let error = fetch().unwrap_err();
    assert!(matches!(error, Error::Offline { .. }), "{error:?}");
    assert!(error.to_string().contains(url), "{error}");
    // Offline leaves no trace.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);

    fs::create_dir(folder.path().join("downloads")).unwrap();
    fs::write(folder.path().join("downloads/a.pth"), "another").unwrap();
    let error = fetch().unwrap_err();
    assert!(matches!(error, Error::DamagedCache { .. }), "{error:?}");
}

#[test]
fn a_damaged_file_in_the_cache_is_replaced() {
    let server = Server::start(|request, stream| send(request, stream, &file()));
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("downloads")).unwrap();
    fs::write(folder.path().join("downloads/a.pth"), &file()[1..]).unwrap();
    let path = hub(folder.path())
        .fetch(&server.url("a.pth"), "a.pth", Some(SHA), &mut quiet)
        .unwrap();
    assert_eq!(fs::read(path).unwrap(), file());
}

#[test]
fn a_proxy_is_used() {
    let proxy = Server::start(|request, stream| send(request, stream, &file()));
    let folder = tempfile::tempdir().unwrap();
    let path = hub(folder.path())
        .proxy(proxy.url(""))
        .fetch(
            "http://weights.invalid/a.pth",
            "a.pth",
            Some(SHA),
            &mut quiet,
        )
        .unwrap();
    assert_eq!(fs::read(path).unwrap(), file());
    assert_eq!(proxy.requests().len(), 1);
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

fn archive(path: &Path, entries: &[(&str, &[u8])]) {
    let mut zip = ZipWriter::new(File::create(path).unwrap());
    for (name, bytes) in entries {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
}

#[test]
fn archives_are_fetched_unpacked_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let packed = folder.path().join("packed.zip");
    archive(
        &packed,
        &[("data/train/ants/1.jpg", b"ant"), ("data/readme.txt", b"")],
    );
    let bytes = fs::read(packed).unwrap();
    let server = Server::start(move |request, stream| send(request, stream, &bytes));
    for _ in 0..2 {
        let data = hub(folder.path())
            .fetch_archive(
                &server.url("data.zip"),
                "data.zip",
                None,
                1 << 20,
                &mut quiet,
            )
            .unwrap();
        assert_eq!(data, folder.path().join("unpacked/data"));
        assert_eq!(
            fs::read(data.join("data/train/ants/1.jpg")).unwrap(),
            b"ant"
        );
    }
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn archives_that_reach_out_or_swell_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| -> PathBuf { folder.path().join(name) };
    archive(
        &at("up.zip"),
        &[("fine.txt", b"1"), ("../../outside.txt", b"2")],
    );
    archive(&at("root.zip"), &[("/../outside.txt", b"2")]);
    archive(&at("bomb.zip"), &[("zeros", &vec![0; 10 << 20])]);
    assert!(fs::metadata(at("bomb.zip")).unwrap().len() < 100_000);
    let mut zip = ZipWriter::new(File::create(at("link.zip")).unwrap());
    zip.add_symlink("link", "/etc/passwd", SimpleFileOptions::default())
        .unwrap();
    zip.finish().unwrap();

    for name in ["up.zip", "root.zip", "bomb.zip", "link.zip"] {
        let error = unzip(&at(name), &at("out"), 1 << 20).unwrap_err();
        assert!(
            matches!(error, Error::UnsafeArchive { .. }),
            "{name}: {error:?}"
        );
        assert!(!at("out").exists());
    }
    assert!(!at("outside.txt").exists());
    // Nothing but the four archives is left.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);

    fs::write(at("cut.zip"), &fs::read(at("bomb.zip")).unwrap()[..1000]).unwrap();
    let error = unzip(&at("cut.zip"), &at("out"), 1 << 30).unwrap_err();
    assert!(matches!(error, Error::Truncated { .. }), "{error:?}");
}

/// The environment is read by a process of its own, so that tests side by side do not see it.
#[test]
fn the_environment_chooses_folder_and_offline() {
    if std::env::var_os("REKINDLE_TEST_CHILD").is_some() {
        let hub = Hub::new().unwrap();
        let error = hub
            .fetch("https://example.org/a", "a", None, &mut quiet)
            .unwrap_err();
        assert!(matches!(error, Error::Offline { .. }), "{error:?}");
        println!("folder {}", hub.folder().display());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "the_environment_chooses_folder_and_offline",
            "--nocapture",
        ])
        .env("REKINDLE_TEST_CHILD", "1")
        .env("REKINDLE_HOME", folder.path())
        .env("REKINDLE_OFFLINE", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(
        text.contains(&format!("folder {}", folder.path().display())),
        "{text}"
    );
}
