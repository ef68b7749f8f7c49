//! Feeds a server's answers to a download.
#![no_main]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use rekindle_fuzz::{folder, only_own_panics};
use rekindle_weights::hub::Hub;

static ANSWER: Mutex<Vec<u8>> = Mutex::new(Vec::new());

static SERVER: LazyLock<SocketAddr> = LazyLock::new(|| {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let answer = ANSWER.lock().expect("no panic in between").clone();
            let _ = stream.write_all(&answer);
        }
    });
    address
});

fuzz_target!(init: only_own_panics(), |bytes: &[u8]| {
    *ANSWER.lock().expect("no panic in between") = bytes.to_vec();
    let folder = folder().join("hub");
    let _ = std::fs::remove_dir_all(&folder);
    let hub = Hub::at(&folder)
        .attempts(1, Duration::ZERO)
        .timeouts(Duration::from_millis(200), Duration::from_millis(200));
    let url = format!("http://{}/file.pth", *SERVER);
    if let Ok(path) = hub.fetch(&url, "file.pth", Some("0123abcd"), &mut |_| ()) {
        panic!("rekindle kept {} though its checksum is another", path.display());
    }
});
