//! The report as a browser shows it.

use std::path::Path;

use rekindle::imagefolder::{DecodeOptions, decode_file};

use test_support::chromium::{browser, open};

use crate::workshop::{text, workshop};

/// Mean level of all channels, 0 to 255, and how many different colours there are.
fn look(picture: &Path) -> (f64, usize) {
    let pixels = decode_file(picture, &DecodeOptions::default()).unwrap();
    let sum: u64 = pixels.as_raw().iter().map(|value| u64::from(*value)).sum();
    let colours: std::collections::HashSet<[u8; 3]> =
        pixels.pixels().map(|pixel| pixel.0).collect();
    (sum as f64 / pixels.as_raw().len() as f64, colours.len())
}

#[test]
fn the_report_shows_in_light_and_dark_and_prints() {
    let Some(browser) = browser() else {
        test_support::skip(
            test_support::Needs::Program,
            "there is no Chromium (set CHROMIUM to its program)",
        );
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let page = workshop().runs.join("report.html");
    let profile = folder.path().join("profile");
    let shoot = |name: &str, scheme: &str| {
        let picture = folder.path().join(name);
        let size = "--window-size=1200,5000";
        let shot = format!("--screenshot={}", picture.display());
        open(&browser, &page, &profile, &[size, &shot, scheme]);
        look(&picture)
    };
    let (light, colours) = shoot("light.png", "--blink-settings=preferredColorScheme=1");
    assert!(light > 180.0 && colours > 1000, "{light} {colours}");
    let (dark, colours) = shoot("dark.png", "--blink-settings=preferredColorScheme=0");
    assert!(dark < 90.0 && colours > 1000, "{dark} {colours}");

    let pdf = folder.path().join("report.pdf");
    let print = format!("--print-to-pdf={}", pdf.display());
    open(&browser, &page, &profile, &[&print]);
    assert!(std::fs::read(&pdf).unwrap().starts_with(b"%PDF-"));

    // As the browser understood the page: nothing of a file's name became an element, and nothing ran.
    let dom = open(&browser, &page, &profile, &["--dump-dom"]);
    assert!(dom.contains("&lt;img src=x onerror=alert(1)&gt;") && !dom.contains("<img src=\"x\""));
    assert!(!dom.contains("<script"), "{}", text(&page));
}
