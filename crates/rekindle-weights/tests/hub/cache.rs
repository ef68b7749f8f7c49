//! Checks files that are there already: offline, damaged, in a cache that the environment chooses.

use std::fs;

use rekindle_weights::Error;
use rekindle_weights::hub::Hub;

use crate::server::{Server, send};
use crate::{SHA, file, hub, quiet};

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
            "cache::the_environment_chooses_folder_and_offline",
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
