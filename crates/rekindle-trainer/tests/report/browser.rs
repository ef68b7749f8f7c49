//! The page as a browser lays it out: real fonts, narrow and wide windows.

use std::path::Path;

use serde_json::Value;

use crate::chromium::{browser, open};
use crate::made_up;

/// Puts a page into frames of several widths, measures them, and leaves what it found as text.
const MEASURES: &str = include_str!("measures.html");

/// Widths of windows, in pixels of the page: a phone, a tablet, a laptop.
const WIDTHS: [usize; 3] = [390, 768, 1280];

/// What is measured of `html`, one object for each of [`WIDTHS`].
fn measured(browser: &str, folder: &Path, html: &str) -> Vec<Value> {
    let page = folder.join("page.html");
    let quoted = html.replace('&', "&amp;").replace('"', "&quot;");
    let widths = WIDTHS.map(|width| width.to_string()).join(",");
    let driver = MEASURES.replace("WIDTHS", &widths).replace("PAGE", &quoted);
    std::fs::write(&page, driver).unwrap();
    let dom = open(
        browser,
        &page,
        &folder.join("profile"),
        &["--window-size=1400,900", "--dump-dom"],
    );
    let (_, found) = dom.split_once("<pre id=\"found\">").unwrap();
    let (found, _) = found.split_once("</pre>").unwrap();
    let found = found
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&");
    serde_json::from_str(&found).unwrap_or_else(|error| panic!("{error}: {found}"))
}

#[test]
fn no_page_scrolls_sideways_and_no_text_is_tiny_or_covered() {
    let Some(browser) = browser() else {
        eprintln!("skipped: no Chromium (set CHROMIUM to its program)");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mut pages: Vec<_> = made_up::special()
        .into_iter()
        .map(|(name, report)| (name.to_string(), report))
        .collect();
    let shapes = made_up::shapes().into_iter();
    pages.extend(shapes.map(|(name, shape)| (name, made_up::report(shape))));
    for (name, report) in pages {
        let found = measured(&browser, folder.path(), &report.to_html());
        assert_eq!(found.len(), WIDTHS.len());
        for (found, width) in found.iter().zip(WIDTHS) {
            let at = format!("{name} at {width}");
            assert_eq!(found["inner"], width, "{at}");
            let scrolled = found["scroll"].as_u64().unwrap() as usize;
            assert!(
                scrolled <= width,
                "{at}: {scrolled} wide, {}",
                found["wide"]
            );
            assert!(found["texts"].as_u64().unwrap() > 0, "{at}: nothing to see");
            for fault in ["wide", "tiny", "covered", "cut"] {
                assert_eq!(found[fault], serde_json::json!([]), "{at}: {fault}");
            }
        }
    }
}

/// Writes every page into the folder that `REPORT_PAGES` names, to look at them.
#[test]
#[ignore = "writes files to look at"]
fn pages_to_look_at() {
    let folder = std::env::var("REPORT_PAGES").expect("REPORT_PAGES names a folder");
    let folder = Path::new(&folder);
    for (name, shape) in made_up::shapes() {
        let report = made_up::report(shape);
        report.write(folder.join(format!("{name}.html"))).unwrap();
    }
    for (name, report) in made_up::special() {
        report.write(folder.join(format!("{name}.html"))).unwrap();
    }
}
