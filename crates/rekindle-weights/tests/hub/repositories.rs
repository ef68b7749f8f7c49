//! Repositories of the Hugging Face hub: what is asked, what is kept, what is verified.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use rekindle_weights::hub::{Progress, RepositoryWeights};
use rekindle_weights::{Error, ModelInfo, Repository, RepositoryError};

use crate::hugging_face::{COMMIT, FakeHub, NEXT_COMMIT};
use crate::server::{Server, reply};
use crate::{file, hub, quiet};

const CONFIG: &str = r#"{"architecture": "a", "pretrained_cfg": {"crop_pct": 0.5}}"#;

fn repository(text: &str) -> Repository {
    text.parse().unwrap()
}

fn model() -> FakeHub {
    FakeHub::start(
        "model.in1k",
        &[
            ("README.md", b"# A model"),
            ("config.json", CONFIG.as_bytes()),
            ("model.safetensors", &file()),
        ],
    )
}

fn weights(fake: &FakeHub, folder: &Path, text: &str) -> Result<RepositoryWeights, Error> {
    hub(folder)
        .endpoint(fake.endpoint())
        .repository(&repository(text), &mut quiet)
}

/// A server that nobody runs any more.
fn closed() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn one_question_and_the_files_that_matter() {
    let (fake, folder) = (model(), tempfile::tempdir().unwrap());
    let mut reports = Vec::new();
    let found = hub(folder.path())
        .endpoint(fake.endpoint())
        .repository(&repository("hf:timm/model.in1k"), &mut |step| {
            reports.push(step);
        })
        .unwrap();
    let commit = folder
        .path()
        .join("huggingface/timm--model.in1k")
        .join(COMMIT);
    assert_eq!(found.path, commit.join("model.safetensors"));
    assert_eq!(fs::read(&found.path).unwrap(), file());
    assert_eq!(
        found.repository.to_string(),
        format!("hf:timm/model.in1k@{COMMIT}")
    );
    assert_eq!(found.note, None);
    let info = ModelInfo::beside(&found.path).unwrap();
    assert_eq!(info.preprocess.unwrap().resize, 448);
    // Bytes of the weights alone are reported.
    let total = Some(300_000);
    assert_eq!(reports[0], Progress::Receiving { received: 0, total });
    assert_eq!(reports.last(), Some(&Progress::Verifying));

    let asked: Vec<String> = fake.requests().into_iter().map(|r| r.target).collect();
    let files = format!("/timm/model.in1k/resolve/{COMMIT}");
    assert_eq!(
        asked,
        [
            "/api/models/timm/model.in1k/revision/main?blobs=true".to_string(),
            format!("{files}/config.json"),
            format!("/api/resolve-cache/models/timm/model.in1k/{COMMIT}/config.json"),
            format!("{files}/model.safetensors"),
        ]
    );
    // Another call asks which commit it is, and nothing else.
    let again = weights(&fake, folder.path(), "hf:timm/model.in1k").unwrap();
    assert_eq!(again, found);
    assert_eq!(fake.requests().len(), 5);
    assert_eq!(fake.requests_elsewhere().len(), 1);
}

#[test]
fn without_a_network_the_cache_answers_and_says_so() {
    let (fake, folder) = (model(), tempfile::tempdir().unwrap());
    let name = "hf:timm/model.in1k";
    let down = |text: &str| {
        hub(folder.path())
            .endpoint(closed())
            .repository(&repository(text), &mut quiet)
    };
    let off = |text: &str| {
        hub(folder.path())
            .offline(true)
            .repository(&repository(text), &mut quiet)
    };
    for (error, said) in [
        (down(name).unwrap_err(), "HTTPS_PROXY"),
        (off(name).unwrap_err(), "REKINDLE_OFFLINE"),
    ] {
        assert!(
            matches!(&error, Error::Repository(RepositoryError::NotCached { .. })),
            "{error:?}"
        );
        assert!(error.to_string().contains(said), "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
    let first = weights(&fake, folder.path(), name).unwrap();
    for found in [down(name).unwrap(), off(name).unwrap()] {
        assert_eq!(found.path, first.path);
        assert_eq!(found.repository, first.repository);
        let note = found.note.unwrap();
        assert!(note.contains(COMMIT) && note.contains(name), "{note}");
    }
    // A busy server and a proxy's page are no answers either.
    for (head, body) in [
        ("HTTP/1.1 503 No\r\nContent-Length: 0", ""),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6",
            "<html>",
        ),
    ] {
        let server = Server::start(move |_, stream| reply(stream, head, body.as_bytes()));
        let found = hub(folder.path())
            .endpoint(server.url(""))
            .repository(&repository(name), &mut quiet)
            .unwrap();
        assert!(found.note.is_some());
    }
    // A commit is known for good, once it was asked for.
    let pinned = format!("{name}@{COMMIT}");
    assert!(down(&pinned).is_err());
    weights(&fake, folder.path(), &pinned).unwrap();
    let before = fake.requests().len();
    assert_eq!(weights(&fake, folder.path(), &pinned).unwrap().note, None);
    assert_eq!(fake.requests().len(), before);
    assert_eq!(down(&pinned).unwrap().note, None);
}

#[test]
fn a_branch_that_moves_is_downloaded_anew() {
    let (fake, folder) = (model(), tempfile::tempdir().unwrap());
    let name = "hf:timm/model.in1k";
    let first = weights(&fake, folder.path(), name).unwrap();
    fake.state().commit = NEXT_COMMIT.to_string();
    fake.state().files[2].1 = b"other weights".to_vec();
    // What can't be downloaded whole doesn't take the place of what is there.
    fake.state().breaks = vec![3, 3, 3];
    weights(&fake, folder.path(), name).unwrap_err();
    let offline = hub(folder.path()).offline(true);
    let kept = offline.repository(&repository(name), &mut quiet).unwrap();
    assert_eq!(kept.path, first.path);
    let second = weights(&fake, folder.path(), name).unwrap();
    assert_eq!(fs::read(&second.path).unwrap(), b"other weights");
    assert_eq!(second.repository.revision(), NEXT_COMMIT);
    assert_eq!(fs::read(&first.path).unwrap(), file());
    // A commit is what it says.
    let error = weights(&fake, folder.path(), &format!("{name}@{COMMIT}")).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Repository(RepositoryError::NoSuchRevision { .. })
        ),
        "{error:?}"
    );
}

#[test]
fn what_arrives_must_be_what_the_hub_describes() {
    for (instead, is_size) in [(b"another file".to_vec(), true), (vec![7; 300_000], false)] {
        let (fake, folder) = (model(), tempfile::tempdir().unwrap());
        fake.state().instead = Some(instead);
        let error = weights(&fake, folder.path(), "hf:timm/model.in1k").unwrap_err();
        match error {
            Error::WrongSize {
                expected, found, ..
            } if is_size => assert_eq!((expected, found), (300_000, 12)),
            Error::ChecksumMismatch { .. } if !is_size => {}
            error => panic!("{error:?}"),
        }
        let commit = folder
            .path()
            .join("huggingface/timm--model.in1k")
            .join(COMMIT);
        assert!(!commit.join("model.safetensors").exists());
        assert!(!commit.join("model.safetensors.part").exists());
        // It is not in the cache.
        fake.state().instead = None;
        let found = weights(&fake, folder.path(), "hf:timm/model.in1k").unwrap();
        assert_eq!(fs::read(found.path).unwrap(), file());
    }
}

#[test]
fn a_file_without_end_is_given_up() {
    let (fake, folder) = (model(), tempfile::tempdir().unwrap());
    fake.state().instead = Some(vec![0; 20 << 20]);
    let error = weights(&fake, folder.path(), "hf:timm/model.in1k").unwrap_err();
    match error {
        Error::WrongSize { found, .. } => assert!(found < 1 << 20, "{found}"),
        error => panic!("{error:?}"),
    }
}

#[test]
fn broken_downloads_go_on_behind_the_redirect() {
    let (fake, folder) = (model(), tempfile::tempdir().unwrap());
    fake.state().breaks = vec![250_000, 100_000];
    let found = weights(&fake, folder.path(), "hf:timm/model.in1k").unwrap();
    assert_eq!(fs::read(found.path).unwrap(), file());
    let from: Vec<_> = fake.requests_elsewhere().iter().map(|r| r.from).collect();
    assert_eq!(from, [None, Some(100_000), Some(250_000)]);

    // So does the next call.
    let folder = tempfile::tempdir().unwrap();
    fake.state().breaks = vec![100_000; 3];
    let error = weights(&fake, folder.path(), "hf:timm/model.in1k").unwrap_err();
    assert!(matches!(error, Error::Interrupted { .. }), "{error:?}");
    let found = weights(&fake, folder.path(), "hf:timm/model.in1k").unwrap();
    assert_eq!(fs::read(found.path).unwrap(), file());
    let last = fake.requests_elsewhere().last().unwrap().from;
    assert_eq!(last, Some(100_000));
}

#[test]
fn one_of_several_files_is_named() {
    let fake = FakeHub::start(
        "many",
        &[
            ("a.safetensors", b"a"),
            ("b.safetensors", b"b"),
            ("config.json", b"{}"),
            ("old ones/c.pth", b"c"),
            ("old ones/config.json", CONFIG.as_bytes()),
        ],
    );
    let folder = tempfile::tempdir().unwrap();
    let error = weights(&fake, folder.path(), "hf:timm/many").unwrap_err();
    assert!(error.is_invalid_option());
    let said = error.to_string();
    assert!(
        said.contains("a.safetensors, b.safetensors; name one, such as hf:timm/many:a.safetensors"),
        "{said}"
    );
    let found = weights(&fake, folder.path(), "hf:timm/many:b.safetensors").unwrap();
    assert_eq!(fs::read(&found.path).unwrap(), b"b");
    let source = format!("hf:timm/many@{COMMIT}:b.safetensors");
    assert_eq!(found.repository.to_string(), source);
    let found = weights(&fake, folder.path(), "hf:timm/many@main:old ones/c.pth").unwrap();
    assert_eq!(fs::read(&found.path).unwrap(), b"c");
    // The description is the one beside it.
    let config = found.path.with_file_name("config.json");
    assert_eq!(fs::read_to_string(config).unwrap(), CONFIG);
}

#[test]
fn an_answer_that_makes_no_sense_is_one_error() {
    for answer in ["", "{", "[1]", r#"{"sha": "../..", "siblings": []}"#] {
        let server = Server::start(move |_, stream| {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}", answer.len());
            reply(stream, &head, answer.as_bytes());
        });
        let folder = tempfile::tempdir().unwrap();
        let error = hub(folder.path())
            .endpoint(server.url(""))
            .repository(&repository("hf:o/n"), &mut quiet)
            .unwrap_err();
        assert!(
            matches!(
                &error,
                Error::Repository(RepositoryError::InvalidAnswer { .. })
            ),
            "{error:?}"
        );
        assert!(error.to_string().contains("HF_ENDPOINT"), "{error}");
    }
}
