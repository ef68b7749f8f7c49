//! Weights of the Hugging Face hub at the command line, from a server on this machine.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::hugging_face::{COMMIT, FakeHub};
use crate::workshop::{Called, program, text, workshop};

const TOKEN: &str = "hf_neverToBeSeenInAnyMessage";
const NAME: &str = "hf:timm/drawings";

/// The network that knows other drawings.
fn drawings() -> FakeHub {
    let weights = fs::read(&workshop().weights).unwrap();
    FakeHub::start("drawings", &[("model.safetensors", &weights)])
}

/// The program with a cache of its own, and the server's address in its environment.
fn at(endpoint: &str, cache: &Path) -> Command {
    let mut command = program();
    for name in ["HF_TOKEN", "HF_TOKEN_PATH", "HUGGING_FACE_HUB_TOKEN"] {
        command.env_remove(name);
    }
    command
        .env_remove("REKINDLE_OFFLINE")
        .env("REKINDLE_HOME", cache)
        .env("HF_HOME", cache)
        .env("HF_ENDPOINT", endpoint);
    command
}

fn called(command: &mut Command) -> Called {
    command.output().unwrap().into()
}

fn features(out: &Path, weights: &str) -> Vec<String> {
    let images = workshop().data.join("train/ants");
    [
        "features",
        text(&images),
        "--weights",
        weights,
        "--out",
        text(out),
    ]
    .map(str::to_string)
    .into()
}

#[test]
fn a_repository_is_downloaded_once_and_said() {
    let (fake, folder) = (drawings(), tempfile::tempdir().unwrap());
    let out = folder.path().join("features.safetensors");
    let source = format!("{NAME}@{COMMIT}");
    let first = called(at(&fake.endpoint(), folder.path()).args(features(&out, NAME)));
    let first = first.ends_with(3); // One of the drawings is no picture.
    assert!(
        first.stderr.contains(&format!("downloading {NAME}")),
        "{}",
        first.stderr
    );
    assert!(
        first.stderr.contains(&format!("from {source}")),
        "{}",
        first.stderr
    );
    assert!(out.is_file());
    // The network is down, or not to be used: the cache has it.
    let closed = "http://127.0.0.1:9";
    let offline = |command: &mut Command| {
        command.env("REKINDLE_OFFLINE", "1");
    };
    for prepare in [offline, |_: &mut Command| {}] {
        let mut command = at(closed, folder.path());
        prepare(&mut command);
        let again = called(command.args(features(&out, NAME))).ends_with(3);
        assert!(
            again.stderr.contains(&format!("commit {COMMIT}")),
            "{}",
            again.stderr
        );
    }
    assert_eq!(fake.requests_elsewhere().len(), 1);
    let page = "https://huggingface.co/timm/drawings/tree/main";
    called(at(&fake.endpoint(), folder.path()).args(features(&out, page))).ends_with(3);
    let empty = tempfile::tempdir().unwrap();
    let absent = called(at(closed, empty.path()).args(features(&out, NAME))).ends_with(1);
    assert!(absent.stderr.contains("HTTPS_PROXY"), "{}", absent.stderr);
}

#[test]
fn a_run_records_the_commit_and_advice_can_be_followed() {
    let (fake, folder) = (drawings(), tempfile::tempdir().unwrap());
    let data = text(&workshop().data);
    let runs = folder.path().join("runs");
    let source = format!("{NAME}@{COMMIT}");
    let train = [
        "train",
        data,
        "--weights",
        NAME,
        "--epochs",
        "1",
        "--strategy",
        "features,one-call",
        "--out",
        text(&runs),
    ];
    called(at(&fake.endpoint(), folder.path()).args(train)).ends_with(0);
    for run in ["features", "one-call"] {
        let record = fs::read_to_string(runs.join(run).join("run.json")).unwrap();
        let record: Value = serde_json::from_str(&record).unwrap();
        assert_eq!(record["weights"]["source"], source);
    }
    let advise = ["advise", data, "--weights", NAME, text(&workshop().weights)];
    let advice = called(at(&fake.endpoint(), folder.path()).args(advise)).ends_with(0);
    let one = ["advise", data, "--weights", NAME];
    let of_one = called(at(&fake.endpoint(), folder.path()).args(one)).ends_with(0);
    assert!(
        of_one.stdout.contains(&format!("--weights {source} ")),
        "{}",
        of_one.stdout
    );
    assert!(advice.stdout.contains(&source), "{}", advice.stdout);
    let find = [
        "lr-find",
        data,
        "--weights",
        NAME,
        "--steps",
        "3",
        "--batch",
        "4",
    ];
    called(at(&fake.endpoint(), folder.path()).args(find)).ends_with(0);
}

#[test]
fn a_file_of_that_name_goes_before_a_repository() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("hf:timm")).unwrap();
    fs::copy(&workshop().weights, folder.path().join(NAME)).unwrap();
    let out = folder.path().join("features.safetensors");
    let mut command = at("http://127.0.0.1:9", folder.path());
    command.current_dir(folder.path());
    let done = called(command.args(features(&out, NAME))).ends_with(3);
    assert!(
        done.stderr.contains(&format!("from {NAME}\n")),
        "{}",
        done.stderr
    );
}

#[test]
fn refusals_say_what_to_do_and_no_token() {
    let (fake, folder) = (drawings(), tempfile::tempdir().unwrap());
    let out = folder.path().join("features.safetensors");
    for (name, status, said) in [
        ("hf:drawings", 2, "expected hf:OWNER/NAME"),
        ("hf:timm/drawings@v9", 2, "has no revision \"v9\""),
        ("hf:timm/drawings:a.pth", 2, "it has model.safetensors"),
        ("hf:timm/other", 1, "check the name"),
    ] {
        let refused = called(at(&fake.endpoint(), folder.path()).args(features(&out, name)));
        let refused = refused.ends_with(status);
        assert!(refused.stderr.contains(said), "{}", refused.stderr);
    }
    fake.state().token = Some(TOKEN.to_string());
    fake.state().is_gated = true;
    let gated = called(at(&fake.endpoint(), folder.path()).args(features(&out, NAME)));
    let gated = gated.ends_with(1);
    assert!(
        gated.stderr.contains("accept its terms") && gated.stderr.contains("set HF_TOKEN"),
        "{}",
        gated.stderr
    );
    let mut wrong = at(&fake.endpoint(), folder.path());
    let wrong = called(wrong.env("HF_TOKEN", "hf_wrong").args(features(&out, NAME)));
    assert!(!wrong.ends_with(1).stderr.contains("hf_wrong"));
    let mut right = at(&fake.endpoint(), folder.path());
    let right = called(right.env("HF_TOKEN", TOKEN).args(features(&out, NAME)));
    assert!(!right.ends_with(3).stderr.contains(TOKEN));
    assert!(
        fake.requests_elsewhere()
            .iter()
            .all(|request| request.authorization.is_none())
    );
    // A choice among the networks of a file may be one of a repository's.
    let mut part = features(&out, NAME);
    part.extend(["--weights-prefix".to_string(), "no.such".to_string()]);
    let mut chosen = at(&fake.endpoint(), folder.path());
    let chosen = called(chosen.env("HF_TOKEN", TOKEN).args(part)).ends_with(2);
    assert!(chosen.stderr.contains("no.such"), "{}", chosen.stderr);
}
