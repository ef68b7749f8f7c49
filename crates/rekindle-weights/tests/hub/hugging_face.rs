//! A server on this machine that speaks as the Hugging Face hub does: what it says about a repository, files of its own,
//! and large ones that are on another server.
#![allow(dead_code, clippy::unwrap_used)]

use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::json;

use crate::server::{Request, Server, reply, send, send_part};
use crate::sha256_of;

/// Its one repository, and the commit of the branch `main`.
pub const OWNER: &str = "timm";
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
pub const NEXT_COMMIT: &str = "89abcdef0123456789abcdef0123456789abcdef";

/// Contents and behaviour of the server.
pub struct State {
    pub name: String,
    pub commit: String,
    pub files: Vec<(String, Vec<u8>)>,
    /// The token that everything wants.
    pub token: Option<String>,
    /// True if only the files require a token.
    pub is_gated: bool,
    /// Bytes after which the other server's connections break, one request each.
    pub breaks: Vec<usize>,
    /// Content that the other server sends in place of the files.
    pub instead: Option<Vec<u8>>,
}

pub struct FakeHub {
    state: Arc<Mutex<State>>,
    hub: Server,
    other: Server,
}

impl FakeHub {
    pub fn start(name: &str, files: &[(&str, &[u8])]) -> Self {
        let files = files
            .iter()
            .map(|(name, bytes)| ((*name).to_string(), bytes.to_vec()));
        let state = Arc::new(Mutex::new(State {
            name: name.to_string(),
            commit: COMMIT.to_string(),
            files: files.collect(),
            token: None,
            is_gated: false,
            breaks: Vec::new(),
            instead: None,
        }));
        let shared = Arc::clone(&state);
        let other = Server::start(move |request, stream| {
            let mut state = shared.lock().unwrap();
            let digest = request.target.trim_start_matches('/');
            let digest = digest.split('?').next().unwrap();
            let file = state
                .files
                .iter()
                .find(|(_, bytes)| sha256_of(bytes) == digest);
            let file = state
                .instead
                .clone()
                .or(file.map(|(_, bytes)| bytes.clone()));
            let Some(file) = file else {
                return refuse(stream, 404, "");
            };
            match state.breaks.pop() {
                Some(until) => send_part(request, stream, &file, until),
                None => send(request, stream, &file),
            }
        });
        let shared = Arc::clone(&state);
        let elsewhere = other.url("");
        let hub = Server::start(move |request, stream| {
            answer(&shared.lock().unwrap(), &elsewhere, request, stream);
        });
        Self { state, hub, other }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn endpoint(&self) -> String {
        self.hub.url("")
    }

    /// Returns the requests to the hub itself.
    pub fn requests(&self) -> Vec<Request> {
        self.hub.requests()
    }

    /// Returns the requests to the server of large files.
    pub fn requests_elsewhere(&self) -> Vec<Request> {
        self.other.requests()
    }
}

/// Files that the hub keeps on the other server, as it does with all that git doesn't hold as text.
fn is_large(name: &str) -> bool {
    !name.ends_with(".json") && !name.ends_with(".md")
}

fn answer(state: &State, elsewhere: &str, request: &Request, stream: &mut TcpStream) {
    let State { name, commit, .. } = state;
    let target = request.target.as_str();
    let has_token = match &state.token {
        Some(token) => request.authorization == Some(format!("Bearer {token}")),
        None => true,
    };
    let about = format!("/api/models/{OWNER}/{name}/revision/");
    if let Some(asked) = target.strip_prefix(&about) {
        return match asked.split_once('?') {
            _ if !has_token && !state.is_gated => refuse(stream, 401, "RepoNotFound"),
            Some((revision, "blobs=true")) if revision == "main" || revision == commit => {
                describe(state, stream);
            }
            _ => refuse(stream, 404, "RevisionNotFound"),
        };
    }
    let files = format!("/{OWNER}/{name}/resolve/{commit}/");
    let kept = format!("/api/resolve-cache/models/{OWNER}/{name}/{commit}/");
    let (path, is_kept) = match (target.strip_prefix(&files), target.strip_prefix(&kept)) {
        (Some(path), _) => (path, false),
        (_, Some(path)) => (path, true),
        // The hub doesn't say whether a repository is private or not there.
        _ => return refuse(stream, 401, "RepoNotFound"),
    };
    let file = state
        .files
        .iter()
        .find(|(name, _)| name.replace(' ', "%20") == path);
    match file {
        _ if !has_token && request.authorization.is_some() => refuse(stream, 403, "GatedRepo"),
        _ if !has_token => refuse(stream, 401, "GatedRepo"),
        None => refuse(stream, 404, "EntryNotFound"),
        Some((name, bytes)) if is_large(name) => {
            let to = format!("{elsewhere}{}?signature=key", sha256_of(bytes));
            redirect(stream, 302, &to);
        }
        Some(_) if !is_kept => redirect(stream, 307, &format!("{kept}{path}")),
        Some((_, bytes)) => send(request, stream, bytes),
    }
}

fn describe(state: &State, stream: &mut TcpStream) {
    let siblings = state.files.iter().map(|(name, bytes)| {
        let mut file = json!({"rfilename": name, "size": bytes.len(), "blobId": "e69de29b"});
        if is_large(name) {
            file["lfs"] =
                json!({"sha256": sha256_of(bytes), "size": bytes.len(), "pointerSize": 134});
        }
        file
    });
    let answer = json!({
        "_id": "63ed", "id": format!("{OWNER}/{}", state.name), "sha": state.commit, "private": false,
        "gated": state.is_gated, "library_name": "timm", "tags": ["timm"],
        "siblings": siblings.collect::<Vec<_>>(),
    });
    let body = answer.to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {}",
        body.len()
    );
    reply(stream, &head, body.as_bytes());
}

fn refuse(stream: &mut TcpStream, status: u16, code: &str) {
    let head = format!(
        "HTTP/1.1 {status} No\r\nX-Error-Code: {code}\r\nX-Error-Message: no\r\nContent-Length: 0"
    );
    reply(stream, &head, b"");
}

fn redirect(stream: &mut TcpStream, status: u16, to: &str) {
    let head = format!("HTTP/1.1 {status} Found\r\nLocation: {to}\r\nContent-Length: 0");
    reply(stream, &head, b"");
}
