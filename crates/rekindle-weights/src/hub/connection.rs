//! Connections: patience, proxies, security.

use ureq::{Agent, Proxy};

use super::Settings;
use crate::Error;

/// Prepares connections for an address.
pub(super) fn agent(url: &str, settings: &Settings) -> Result<Agent, Error> {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        // Never from a secure address to an insecure one.
        .https_only(url.starts_with("https://"))
        // They are followed here, where it is known whom the token is for.
        .max_redirects(0)
        .timeout_connect(Some(settings.connect))
        .timeout_recv_response(Some(settings.stall))
        .timeout_per_read(Some(settings.stall))
        .user_agent(concat!("rekindle/", env!("CARGO_PKG_VERSION")));
    if let Some(proxy) = &settings.proxy {
        let proxy = Proxy::new(proxy).map_err(|error| Error::InvalidRequest {
            what: "through the proxy that was given".to_string(),
            detail: error.to_string(),
        })?;
        config = config.proxy(Some(proxy));
    } else if is_loopback(url) {
        config = config.proxy(None);
    }
    Ok(config.build().into())
}

fn is_loopback(url: &str) -> bool {
    let Some(host) = url
        .split("://")
        .nth(1)
        .and_then(|rest| rest.split(['/', '?']).next())
    else {
        return false;
    };
    let host = host.rsplit('@').next().unwrap_or(host);
    host.starts_with("127.")
        || host.starts_with("[::1]")
        || host.split(':').next() == Some("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_needs_no_proxy() {
        for url in [
            "http://127.0.0.1:80/a",
            "http://localhost/a",
            "http://[::1]:8080/a",
            "http://u:p@localhost:1/",
        ] {
            assert!(is_loopback(url), "{url}");
        }
        for url in [
            "https://download.pytorch.org/a",
            "http://localhost.example.org/",
        ] {
            assert!(!is_loopback(url), "{url}");
        }
    }
}
