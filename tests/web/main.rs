//! The network in a web page: a picture is dropped on it in a real browser, and the answer is that of the native
//! program. Builds the page where that has not been done, which takes minutes:
//!
//! ```text
//! cargo test --test web -- --ignored --nocapture
//! ```
#![allow(clippy::unwrap_used)]

mod server;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use burn::tensor::Device;
use rekindle::trainer::Model;
use serde_json::Value;
use server::Server;
use test_support::chromium::browser;

/// Drops files on the page inside it, one after the other, and sends what the page then says.
const DRIVER: &str = include_str!("driver.html");

#[test]
#[ignore = "compiles everything once more, for WebAssembly"]
fn a_picture_dropped_on_the_page_is_classified_there() {
    let Some(browser) = browser() else {
        test_support::skip(
            test_support::Needs::Program,
            "there is no Chromium (set CHROMIUM to its program)",
        );
        return;
    };
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/web");
    let dist = web.join("dist");
    if !dist.join("rekindle_webgpu_bg.wasm").is_file() {
        let built = Command::new(web.join("build.sh")).status();
        assert!(
            built.is_ok_and(|status| status.success()),
            "examples/web/build.sh failed"
        );
    }
    let names: Vec<String> =
        serde_json::from_slice(&std::fs::read(dist.join("samples/list.json")).unwrap()).unwrap();
    assert!(!names.is_empty());

    let server = Server::start(dist.clone(), DRIVER);
    let by_default = visit(&browser, &server, "");
    assert_eq!(by_default["device"], "cpu", "an emulated GPU is no reason");
    compare(&by_default, &dist, &names);
    let on_cpu = visit(&browser, &server, "?device=cpu");
    assert_eq!(on_cpu["device"], "cpu");
    compare(&on_cpu, &dist, &names);

    let on_gpu = visit(&browser, &server, "?device=gpu");
    if on_gpu["adapter"] == true {
        assert_eq!(on_gpu["device"], "gpu", "{on_gpu}");
        compare(&on_gpu, &dist, &names);
    } else {
        test_support::skip(
            test_support::Needs::Driver,
            "the part with WebGPU, which this browser doesn't offer",
        );
        let said = on_gpu["computes"].as_str().unwrap();
        assert!(said.contains("offers no WebGPU"), "{said}");
        compare(&on_gpu, &dist, &names);
    }
}

/// Returns the page's answer to every sample, in a browser of its own with Chromium's software WebGPU.
fn visit(browser: &str, server: &Server, query: &str) -> Value {
    let profile = tempfile::tempdir().unwrap();
    let mut child = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--enable-unsafe-webgpu",
            "--use-webgpu-adapter=swiftshader",
            "--disable-background-networking",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(server.url(&format!("driver.html{query}")))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let told = server.wait(Duration::from_secs(180));
    child.kill().unwrap();
    child.wait().unwrap();
    let told = serde_json::from_str(&told.expect("no answer in three minutes")).unwrap();
    eprintln!("{query} {told:#}");
    told
}

/// The answers in the page with those of the native program.
fn compare(told: &Value, dist: &Path, names: &[String]) {
    assert_eq!(told["ready"], "yes", "{told}");
    let model = Model::open(dist.join("model.safetensors"), &Device::flex()).unwrap();
    let paths: Vec<PathBuf> = names
        .iter()
        .map(|name| dist.join("samples").join(name))
        .collect();
    let mut at = 0;
    let mut right = 0;
    model
        .predict(&paths, |answer| {
            let (class, probability) = answer.top(1)[0];
            let page = &told["answers"][at];
            let expected = format!("{:.1} %", 100.0 * probability);
            assert_eq!(
                page["class"],
                model.class_name(class).as_str(),
                "{}",
                names[at]
            );
            let number = |text: &str| text.trim_end_matches(" %").parse::<f64>().unwrap();
            let shown = page["share"].as_str().unwrap();
            // Another compiler's order of additions: nearly the same bits, shown with one decimal.
            assert!(
                (number(shown) - number(&expected)).abs() < 0.11,
                "{shown} {expected}"
            );
            right += usize::from(names[at].starts_with(&model.class_name(class)));
            at += 1;
        })
        .unwrap();
    assert_eq!(at, names.len());
    assert!(
        2 * right > names.len(),
        "{right} of {} drawings recognised",
        names.len()
    );
    let complaint = told["complaint"].as_str().unwrap();
    assert!(
        complaint.starts_with("Sorry: "),
        "a text file as a picture: {complaint}"
    );
}
