//! One download: attempts, continuation, verification, the final name.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use std::thread;

use ureq::http::{Response, StatusCode, header};
use ureq::{Agent, Body, ResponseExt};

use super::answer::{Plan, header_text, is_temporary, plan, strong_validator};
use super::checksum::Checksum;
use super::connection::agent;
use super::token::{Token, redirect};
use super::{Progress, Settings, with_suffix};
use crate::Error;
use crate::error::printable;
use crate::html::is_html;
use crate::sha256;

pub(super) struct Download<'a> {
    pub(super) url: &'a str,
    pub(super) path: &'a Path,
    pub(super) checksum: Option<&'a Checksum>,
    /// Bytes that it has, where that is known.
    pub(super) size: Option<u64>,
    /// Bytes after which it is given up.
    pub(super) limit: u64,
    /// Goes to the token's own server, not to where that redirects.
    pub(super) token: Option<&'a Token>,
    pub(super) settings: &'a Settings,
}

/// A file that is moved more often is not found.
const REDIRECTS: usize = 10;
/// The Hugging Face hub's name for a failure.
const ERROR_CODE: header::HeaderName = header::HeaderName::from_static("x-error-code");

/// Failure of one attempt.
enum Failure {
    /// Another attempt may do better.
    Temporary {
        trouble: Trouble,
        detail: String,
    },
    Final(Error),
}

enum Trouble {
    /// No connection came about.
    Unreachable,
    /// The connection broke or stalled; bytes in all, if the server said.
    Broken { total: Option<u64> },
    /// The server asks to come back later.
    Busy(StatusCode),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

impl Download<'_> {
    pub(super) fn run(&self, progress: &mut dyn FnMut(Progress)) -> Result<(), Error> {
        let part = with_suffix(self.path, ".part");
        let mut continued = size(&part) > 0;
        if self.checksum.is_none() && continued {
            fs::remove_file(&part).map_err(Error::write(&part))?;
            continued = false;
        }
        loop {
            self.receive(&part, progress)?;
            progress(Progress::Verifying);
            match self.verify(&part) {
                // What an earlier process left may be of an older file: once more from the start.
                Err(Error::ChecksumMismatch { .. } | Error::WrongSize { .. }) if continued => {
                    continued = false
                }
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        File::open(&part)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&part, self.path))
            .map_err(Error::write(self.path))
    }

    fn verify(&self, part: &Path) -> Result<(), Error> {
        if let Some(expected) = self.size
            && size(part) != expected
        {
            return Err(self.wrong_size(part, expected));
        }
        let Some(checksum) = self.checksum else {
            return Ok(());
        };
        let found = sha256(part)?;
        if checksum.matches(&found) {
            return Ok(());
        }
        fs::remove_file(part).map_err(Error::write(part))?;
        Err(Error::ChecksumMismatch {
            url: self.url.to_string(),
            expected: checksum.to_string(),
            found,
        })
    }

    fn wrong_size(&self, part: &Path, expected: u64) -> Error {
        let found = size(part);
        // Where this fails, the next try meets the same size.
        let _ = fs::remove_file(part);
        Error::WrongSize {
            url: self.url.to_string(),
            expected,
            found,
        }
    }

    /// Attempts until everything is there.
    fn receive(&self, part: &Path, progress: &mut dyn FnMut(Progress)) -> Result<(), Error> {
        let agent = agent(self.url, self.settings)?;
        let mut pause = self.settings.pause;
        let mut validator = None;
        let mut connected = false;
        let mut attempt = 1;
        loop {
            let (trouble, detail) = match self.attempt(&agent, part, &mut validator, progress) {
                Ok(()) => return Ok(()),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Temporary { trouble, detail }) => (trouble, detail),
            };
            connected |= !matches!(trouble, Trouble::Unreachable);
            // A machine without a network should hear so at once.
            if !connected || attempt >= self.settings.attempts {
                return Err(self.give_up(part, trouble, detail, connected, attempt));
            }
            attempt += 1;
            progress(Progress::Retrying {
                attempt,
                pause,
                reason: detail,
            });
            thread::sleep(pause);
            pause *= 2;
        }
    }

    fn give_up(
        &self,
        part: &Path,
        trouble: Trouble,
        detail: String,
        connected: bool,
        attempts: u32,
    ) -> Error {
        let url = self.url.to_string();
        match trouble {
            Trouble::Busy(status) => Error::HttpStatus {
                url,
                status: status.as_u16(),
                code: String::new(),
            },
            Trouble::Unreachable if !connected => Error::NoNetwork {
                url,
                path: self.path.to_path_buf(),
                detail,
            },
            Trouble::Unreachable => Error::Interrupted {
                url,
                received: size(part),
                expected: None,
                attempts,
                detail,
            },
            Trouble::Broken { total } => Error::Interrupted {
                url,
                received: size(part),
                expected: total,
                attempts,
                detail,
            },
        }
    }

    fn attempt(
        &self,
        agent: &Agent,
        part: &Path,
        validator: &mut Option<String>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), Failure> {
        let there = size(part);
        let response = self.ask(agent, there, validator.as_deref())?;
        match plan(&response, there) {
            Plan::Complete => Ok(()),
            Plan::StartOver => {
                fs::remove_file(part).map_err(Error::write(part))?;
                Err(Failure::Temporary {
                    trouble: Trouble::Broken { total: None },
                    detail: "the server cannot continue from what is there, starting over"
                        .to_string(),
                })
            }
            Plan::Refused(status) if is_temporary(status) => Err(Failure::Temporary {
                trouble: Trouble::Busy(status),
                detail: format!("the server answered with HTTP status {}", status.as_u16()),
            }),
            Plan::Refused(status) => Err(Failure::Final(Error::HttpStatus {
                url: self.url.to_string(),
                status: status.as_u16(),
                code: header_text(&response, ERROR_CODE)
                    .map(printable)
                    .unwrap_or_default(),
            })),
            Plan::Body { from, total } => {
                self.refuse_html_type(&response)?;
                *validator = strong_validator(&response);
                self.store(response, part, from, total, progress)
            }
        }
    }

    /// Asks for the file, or for what is missing of it.
    fn ask(
        &self,
        agent: &Agent,
        there: u64,
        validator: Option<&str>,
    ) -> Result<Response<Body>, Failure> {
        let mut url = self.url.to_string();
        for _ in 0..=REDIRECTS {
            let mut request = agent.get(&url);
            if there > 0 {
                request = request.header(header::RANGE, format!("bytes={there}-"));
                if let Some(validator) = validator {
                    request = request.header(header::IF_RANGE, validator);
                }
            }
            if let Some(bearer) = self.token.and_then(|token| token.for_url(&url)) {
                request = request.header(header::AUTHORIZATION, bearer);
            }
            let response = request.call().map_err(|error| self.translate(error))?;
            match redirect(&response, &url) {
                Some(next) => url = next,
                None => return Ok(response),
            }
        }
        Err(Failure::Final(Error::InvalidRequest {
            what: format!("`{}`", self.url),
            detail: format!("it is redirected more than {REDIRECTS} times"),
        }))
    }

    /// Writes the body behind the `from` bytes that are there.
    fn store(
        &self,
        response: Response<Body>,
        part: &Path,
        from: u64,
        total: Option<u64>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), Failure> {
        let landed = self.landed(&response);
        let mut file = File::options()
            .create(true)
            .write(true)
            .truncate(from == 0)
            .append(from > 0)
            .open(part)
            .map_err(Error::write(part))?;
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; 1 << 16];
        let mut received = from;
        progress(Progress::Receiving { received, total });
        loop {
            let broken = |detail: String| Failure::Temporary {
                trouble: Trouble::Broken { total },
                detail,
            };
            let count = body
                .read(&mut buffer)
                .map_err(|error| broken(format!("the connection broke ({error})")))?;
            if count == 0 {
                return match total {
                    Some(total) if received < total => Err(broken(format!(
                        "the connection was closed after {received} of {total} bytes"
                    ))),
                    _ => Ok(()),
                };
            }
            if received == 0 && is_html(&buffer[..count]) && !self.wants_html() {
                return Err(self.html(landed).into());
            }
            file.write_all(&buffer[..count])
                .map_err(Error::write(part))?;
            received += count as u64;
            if received > self.limit {
                return Err(self.wrong_size(part, self.limit).into());
            }
            progress(Progress::Receiving { received, total });
        }
    }

    fn refuse_html_type(&self, response: &Response<Body>) -> Result<(), Error> {
        let html = header_text(response, header::CONTENT_TYPE)
            .is_some_and(|kind| kind.to_ascii_lowercase().contains("text/html"));
        if html && !self.wants_html() {
            return Err(self.html(self.landed(response)));
        }
        Ok(())
    }

    fn html(&self, landed: String) -> Error {
        Error::HtmlInsteadOfFile {
            url: self.url.to_string(),
            landed,
        }
    }

    fn wants_html(&self) -> bool {
        self.path.extension().is_some_and(|kind| {
            ["html", "htm", "xml", "svg"]
                .iter()
                .any(|known| kind == *known)
        })
    }

    /// Returns the address where redirects ended, if there were any.
    fn landed(&self, response: &Response<Body>) -> String {
        let end = response.get_uri().to_string();
        if end == self.url {
            String::new()
        } else {
            // What stands behind the path may be a key to the file.
            let end = end.split('?').next().unwrap_or_default();
            format!("redirected to {end}")
        }
    }

    fn translate(&self, error: ureq::Error) -> Failure {
        use ureq::Timeout;
        let trouble = match &error {
            ureq::Error::BadUri(_)
            | ureq::Error::Http(_)
            | ureq::Error::InvalidProxyUrl
            | ureq::Error::RequireHttpsOnly(_) => {
                return Failure::Final(Error::InvalidRequest {
                    what: format!("`{}`", self.url),
                    detail: error.to_string(),
                });
            }
            ureq::Error::Io(io) if is_broken_stream(io.kind()) => Trouble::Broken { total: None },
            ureq::Error::Timeout(Timeout::RecvResponse | Timeout::PerRead | Timeout::RecvBody)
            | ureq::Error::Protocol(_)
            | ureq::Error::BodyStalled => Trouble::Broken { total: None },
            _ => Trouble::Unreachable,
        };
        Failure::Temporary {
            trouble,
            detail: error.to_string(),
        }
    }
}

/// Returns true for errors that break an established connection; a name that can't be looked up is none of these.
fn is_broken_stream(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::BrokenPipe
            | ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::InvalidData
            | ErrorKind::TimedOut
            | ErrorKind::UnexpectedEof
            | ErrorKind::WouldBlock
            | ErrorKind::WriteZero
    )
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}
