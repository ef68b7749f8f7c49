//! A token for one server, and where a redirect leads.

use std::env;
use std::path::PathBuf;

use ureq::Body;
use ureq::http::{HeaderValue, Response, header};

use super::answer::header_text;
use crate::Error;

/// A token, which goes to one server and into no message.
#[derive(Clone)]
pub(super) struct Token {
    bearer: HeaderValue,
    /// The server, as scheme, host and port.
    origin: String,
}

impl Token {
    pub(super) fn new(token: &str, endpoint: &str) -> Result<Self, Error> {
        let invalid = |_| Error::InvalidRequest {
            what: "with the token of HF_TOKEN or its file".to_string(),
            detail: "it has characters that no token has".to_string(),
        };
        let mut bearer: HeaderValue = format!("Bearer {token}").parse().map_err(invalid)?;
        bearer.set_sensitive(true);
        Ok(Self {
            bearer,
            origin: origin(endpoint).unwrap_or_default(),
        })
    }

    /// Returns the header for an address; none where it is another server's.
    pub(super) fn for_url(&self, url: &str) -> Option<&HeaderValue> {
        (origin(url)? == self.origin).then_some(&self.bearer)
    }
}

/// Reads the token that `huggingface_hub` would send: `HF_TOKEN`, else the file that `HF_TOKEN_PATH` names, else `token`
/// in the folder of `HF_HOME` (`~/.cache/huggingface`).
pub(super) fn from_environment() -> Option<String> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty());
    let path = |name| set(name).map(PathBuf::from);
    let clean = |text: String| Some(text.trim().to_string()).filter(|text| !text.is_empty());
    let given = ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"]
        .into_iter()
        .find_map(|name| clean(env::var(name).ok()?));
    given.or_else(|| {
        let cache = || path("XDG_CACHE_HOME").or_else(|| Some(dirs::home_dir()?.join(".cache")));
        let home = || path("HF_HOME").or_else(|| Some(cache()?.join("huggingface")));
        let file = path("HF_TOKEN_PATH").or_else(|| Some(home()?.join("token")))?;
        clean(std::fs::read_to_string(file).ok()?)
    })
}

/// Returns where a redirect leads, as a whole address.
pub(super) fn redirect(response: &Response<Body>, from: &str) -> Option<String> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = header_text(response, header::LOCATION)?;
    let scheme = from.split_once("://")?.0;
    Some(if location.contains("://") {
        location.to_string()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{}{location}", origin(from)?)
    } else {
        let path = from.split(['?', '#']).next()?;
        format!("{}/{location}", path.rsplit_once('/')?.0)
    })
}

/// Returns scheme, host and port of an address.
fn origin(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    Some(format!("{scheme}://{authority}").to_ascii_lowercase())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_to_its_server_only() {
        let token = Token::new("secret", "https://huggingface.co").unwrap();
        for url in ["https://huggingface.co/a/b", "https://HuggingFace.co?x"] {
            assert!(token.for_url(url).is_some(), "{url}");
        }
        for url in [
            "http://huggingface.co/a",
            "https://huggingface.co:8443/a",
            "https://huggingface.co.example.org/a",
            "https://huggingface.co@example.org/a",
            "https://example.org/https://huggingface.co/",
            "https://cdn-lfs.huggingface.co/a",
            "huggingface.co/a",
            "",
        ] {
            assert!(token.for_url(url).is_none(), "{url}");
        }
        assert!(!format!("{:?}", token.bearer).contains("secret"));
        let Err(error) = Token::new("sec\nret", "https://huggingface.co") else {
            panic!("a token of two lines");
        };
        assert!(!error.to_string().contains("sec"), "{error}");
    }

    #[test]
    fn redirects_are_whole_addresses() {
        let to = |location: &str| {
            let response = Response::builder().status(302).header("location", location);
            let response = response.body(Body::builder().data("")).unwrap();
            redirect(&response, "https://a.org:1/x/y?z=/").unwrap()
        };
        assert_eq!(to("https://b.org/c"), "https://b.org/c");
        assert_eq!(to("//b.org/c"), "https://b.org/c");
        assert_eq!(to("/c"), "https://a.org:1/c");
        assert_eq!(to("c"), "https://a.org:1/x/c");
    }
}
