//! Checks what arrives: whole files, continued ones, and one file for two requests.

use std::fs;
use std::thread;
use std::time::Duration;

use rekindle_weights::Error;
use rekindle_weights::hub::Progress;

use crate::server::{self, Server, send, send_part};
use crate::{SHA, downloads, file, hub, quiet};

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
