//! A server of files on this machine, which also takes one message.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

pub struct Server {
    address: SocketAddr,
    messages: Receiver<String>,
}

impl Server {
    /// Serves `folder`, and `driver` as `/driver.html`.
    pub fn start(folder: PathBuf, driver: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, messages) = channel();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (folder, sender) = (folder.clone(), sender.clone());
                thread::spawn(move || serve(stream, &folder, driver, &sender));
            }
        });
        Self { address, messages }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// Waits for a posted message; none where `limit` passes first.
    pub fn wait(&self, limit: Duration) -> Option<String> {
        self.messages.recv_timeout(limit).ok()
    }
}

fn serve(mut stream: TcpStream, folder: &Path, driver: &str, sender: &Sender<String>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut lines = Vec::new();
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|length| length > 2) {
        lines.push(std::mem::take(&mut line));
    }
    let request = lines.first().cloned().unwrap_or_default();
    let target = request
        .split_whitespace()
        .nth(1)
        .unwrap_or("/")
        .trim_start_matches('/');
    let target = target.split('?').next().unwrap_or_default();
    let length = lines.iter().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    });
    if request.starts_with("POST") {
        let mut body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body).unwrap();
        let _ = sender.send(String::from_utf8_lossy(&body).into_owned());
    }
    let body = match target {
        "driver.html" => Some(driver.as_bytes().to_vec()),
        "" => std::fs::read(folder.join("index.html")).ok(),
        name if name.contains("..") => None,
        name => std::fs::read(folder.join(name)).ok(),
    };
    let kind = match target.rsplit('.').next() {
        Some("js") => "text/javascript",
        Some("wasm") => "application/wasm",
        Some("css") => "text/css",
        Some("json") => "application/json",
        Some("png") => "image/png",
        Some("safetensors") => "application/octet-stream",
        _ => "text/html; charset=utf-8",
    };
    let status = if body.is_some() {
        "200 OK"
    } else {
        "404 Not Found"
    };
    let body = body.unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(&body));
}
