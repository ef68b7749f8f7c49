//! Private and gated repositories, and whom a token is told.

use std::fs;
use std::path::Path;

use rekindle_weights::hub::{Hub, RepositoryWeights};
use rekindle_weights::{Error, RepositoryError};

use crate::hugging_face::FakeHub;
use crate::{file, hub, quiet};

const TOKEN: &str = "hf_neverToBeSeenInAnyMessage";

fn private() -> FakeHub {
    let fake = FakeHub::start(
        "secret",
        &[("config.json", b"{}"), ("model.safetensors", &file())],
    );
    fake.state().token = Some(TOKEN.to_string());
    fake
}

fn weights(hub: &Hub, name: &str) -> Result<RepositoryWeights, Error> {
    hub.repository(&name.parse().unwrap(), &mut quiet)
}

fn with_token(fake: &FakeHub, folder: &Path, token: &str) -> Hub {
    hub(folder).endpoint(fake.endpoint()).token(token)
}

#[test]
fn the_token_goes_to_the_endpoint_alone() {
    let (fake, folder) = (private(), tempfile::tempdir().unwrap());
    let hub = with_token(&fake, folder.path(), TOKEN);
    let found = weights(&hub, "hf:timm/secret").unwrap();
    assert_eq!(fs::read(found.path).unwrap(), file());
    let sent = Some(format!("Bearer {TOKEN}"));
    // Also behind a redirect on the same server, where config.json is.
    assert_eq!(fake.requests().len(), 4);
    assert!(
        fake.requests()
            .iter()
            .all(|request| request.authorization == sent)
    );
    let elsewhere = fake.requests_elsewhere();
    assert_eq!(elsewhere.len(), 1);
    assert!(
        elsewhere
            .iter()
            .all(|request| request.authorization.is_none())
    );
    assert!(!format!("{hub:?}").contains(TOKEN));
    // Other downloads don't tell it either.
    let address = format!("{}other.pth", fake.endpoint());
    hub.fetch(&address, "other.pth", None, &mut quiet)
        .unwrap_err();
    assert_eq!(fake.requests().last().unwrap().authorization, None);
}

#[test]
fn a_refusal_says_what_to_do_and_not_the_token() {
    let (fake, folder) = (private(), tempfile::tempdir().unwrap());
    let endpoint = hub(folder.path()).endpoint(fake.endpoint());
    let refused = |hub: &Hub, name: &str| match weights(hub, name).unwrap_err() {
        Error::Repository(error) => {
            let said = error.to_string();
            assert!(!said.contains(TOKEN) && !said.contains("wrong"), "{said}");
            assert!(said.contains(name), "{said}");
            (error, said)
        }
        error => panic!("{error:?}"),
    };
    let wrong = with_token(&fake, folder.path(), "wrong");
    let (error, said) = refused(&endpoint, "hf:timm/secret");
    assert!(
        matches!(error, RepositoryError::Refused { status: 401, .. }),
        "{error:?}"
    );
    assert!(
        said.contains("check the name") && said.contains("set HF_TOKEN"),
        "{said}"
    );
    let (_, said) = refused(&wrong, "hf:timm/secret");
    assert!(said.contains("expired"), "{said}");
    let (_, said) = refused(&wrong, "hf:timm/absent");
    assert!(said.contains("timm/absent"), "{said}");

    fake.state().is_gated = true;
    let (error, said) = refused(&endpoint, "hf:timm/secret");
    assert!(
        matches!(
            error,
            RepositoryError::Gated {
                status: 401,
                has_token: false,
                ..
            }
        ),
        "{error:?}"
    );
    let page = format!("{}timm/secret", fake.endpoint());
    assert!(said.contains(&format!("accept its terms at {page}, then set HF_TOKEN")));
    let (error, _) = refused(&wrong, "hf:timm/secret");
    assert!(
        matches!(
            error,
            RepositoryError::Gated {
                status: 403,
                has_token: true,
                ..
            }
        ),
        "{error:?}"
    );
    let known = with_token(&fake, folder.path(), TOKEN);
    weights(&known, "hf:timm/secret").unwrap();

    let error = weights(&known, "hf:timm/secret@v9").unwrap_err();
    assert!(error.is_invalid_option());
    assert!(
        error
            .to_string()
            .starts_with("hf:timm/secret has no revision \"v9\""),
        "{error}"
    );
}

#[test]
fn a_hub_that_is_not_there_is_told_from_one_that_refuses() {
    let server = crate::server::Server::start(|_, stream| {
        crate::server::reply(stream, "HTTP/1.1 404 No\r\nContent-Length: 0", b"");
    });
    let folder = tempfile::tempdir().unwrap();
    let absent = hub(folder.path()).endpoint(server.url(""));
    let error = weights(&absent, "hf:o/n").unwrap_err();
    assert!(
        matches!(error, Error::Repository(RepositoryError::NotFound { .. })),
        "{error:?}"
    );
    assert!(error.is_invalid_option());
    for endpoint in ["", "huggingface.co", "ftp://a", "https://me:key@host"] {
        let odd = hub(folder.path()).endpoint(endpoint);
        let error = weights(&odd, "hf:o/n").unwrap_err();
        assert!(matches!(error, Error::InvalidRequest { .. }), "{error:?}");
        assert!(error.to_string().contains("HF_ENDPOINT"), "{error}");
        assert!(!error.to_string().contains("key"), "{error}");
    }
    let odd = hub(folder.path()).token(format!("{TOKEN}\u{7f}\n{TOKEN}"));
    let error = weights(&odd, "hf:o/n").unwrap_err();
    assert!(matches!(error, Error::InvalidRequest { .. }), "{error:?}");
    assert!(!error.to_string().contains(TOKEN), "{error}");
}

/// The environment is read by a process of its own, so that tests side by side do not see it.
#[test]
fn the_environment_names_the_endpoint_and_the_token() {
    if std::env::var_os("REKINDLE_TEST_CHILD").is_some() {
        let found = Hub::new().unwrap();
        let answer = found.repository(&"hf:timm/secret".parse().unwrap(), &mut quiet);
        answer.unwrap();
        return;
    }
    let fake = private();
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    fs::write(at("token"), format!("{TOKEN}\n")).unwrap();
    fs::write(at("elsewhere"), TOKEN).unwrap();
    fs::create_dir_all(at(".cache/huggingface")).unwrap();
    fs::write(at(".cache/huggingface/token"), TOKEN).unwrap();
    let homes = home.path().to_str().unwrap();
    let elsewhere = at("elsewhere");
    for (number, variables) in [
        vec![("HF_TOKEN", TOKEN), ("HF_HOME", "/nowhere")],
        vec![("HF_TOKEN", ""), ("HF_HOME", homes)],
        vec![
            ("HF_TOKEN_PATH", elsewhere.to_str().unwrap()),
            ("HF_HOME", "/nowhere"),
        ],
        vec![("HOME", homes)],
    ]
    .into_iter()
    .enumerate()
    {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        for name in [
            "HF_TOKEN",
            "HF_TOKEN_PATH",
            "HF_HOME",
            "XDG_CACHE_HOME",
            "HUGGING_FACE_HUB_TOKEN",
            "REKINDLE_OFFLINE",
        ] {
            child.env_remove(name);
        }
        let test = "tokens::the_environment_names_the_endpoint_and_the_token";
        let output = child
            .args(["--exact", test, "--nocapture"])
            .env("REKINDLE_TEST_CHILD", "1")
            .env("REKINDLE_HOME", at(&format!("cache{number}")))
            .env("HF_ENDPOINT", fake.endpoint())
            .envs(variables)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let text = format!("{text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{number}: {text}");
        assert!(!text.contains(TOKEN), "{text}");
    }
}
