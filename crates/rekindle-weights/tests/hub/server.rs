//! A small HTTP server on this machine that misbehaves as told.
#![allow(dead_code, clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Request of a client.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    pub target: String,
    /// First byte of the range, if there was one.
    pub from: Option<usize>,
    /// Value of its `Authorization` header.
    pub authorization: Option<String>,
    /// Number of requests before it.
    pub number: usize,
}

pub struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Answers each request with `answer`, one a connection.
    pub fn start(answer: impl Fn(&Request, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                thread::spawn(move || serve(stream, &seen, &*answer));
            }
        });
        Self { address, requests }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(
    mut stream: TcpStream,
    seen: &Mutex<Vec<Request>>,
    answer: &dyn Fn(&Request, &mut TcpStream),
) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let Some(mut request) = read_request(&mut reader) else {
        return;
    };
    if request.target.starts_with("CONNECT ") {
        stream
            .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            .unwrap();
        let Some(inner) = read_request(&mut reader) else {
            return;
        };
        request = inner;
    }
    {
        let mut seen = seen.lock().unwrap();
        request.number = seen.len();
        seen.push(request.clone());
    }
    answer(&request, &mut stream);
}

fn read_request(reader: &mut impl BufRead) -> Option<Request> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_string();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let first = lines.first()?;
    let target = if first.starts_with("CONNECT ") {
        first.clone()
    } else {
        first.split(' ').nth(1)?.to_string()
    };
    let header = |name: &str| {
        let mut fields = lines.iter().filter_map(|line| line.split_once(": "));
        let field = fields.find(|(field, _)| field.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.to_string())
    };
    let from = header("range").and_then(|range| {
        let from = range.strip_prefix("bytes=")?;
        from.trim_end_matches('-').parse().ok()
    });
    Some(Request {
        target,
        from,
        authorization: header("authorization"),
        number: 0,
    })
}

/// Sends a file as a good server does: whole, or the part that was asked for.
pub fn send(request: &Request, stream: &mut TcpStream, file: &[u8]) {
    send_part(request, stream, file, file.len());
}

/// The same, but the connection is closed after the file's first `until` bytes.
pub fn send_part(request: &Request, stream: &mut TcpStream, file: &[u8], until: usize) {
    let head = match request.from {
        Some(from) if from >= file.len() => format!(
            "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */{}\r\nContent-Length: 0",
            file.len()
        ),
        Some(from) => format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {from}-{}/{}\r\nContent-Length: {}",
            file.len() - 1,
            file.len(),
            file.len() - from
        ),
        None => format!("HTTP/1.1 200 OK\r\nContent-Length: {}", file.len()),
    };
    let from = request.from.unwrap_or(0).min(until);
    reply(stream, &head, &file[from..until]);
}

pub fn reply(stream: &mut TcpStream, head: &str, body: &[u8]) {
    // The client may have gone: that is its business.
    let _ = write!(stream, "{head}\r\nETag: \"1\"\r\nConnection: close\r\n\r\n")
        .and_then(|()| stream.write_all(body));
}
