//! The page as a browser lays it out: real fonts, narrow and wide windows.

use std::path::Path;

use serde_json::Value;

use test_support::chromium::{browser, open};

use crate::made_up;

/// Puts pages into frames of several widths, measures them, and leaves what it found as text.
const MEASURES: &str = include_str!("measures.html");

/// Widths of windows, in pixels of the page: a phone, a tablet, a laptop.
const WIDTHS: [usize; 3] = [390, 768, 1280];

/// Returns the measurements of each page, one object for each of [`WIDTHS`].
fn measured(browser: &str, pages: &[String]) -> Vec<Vec<Value>> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pages.html");
    let quoted = pages.iter().map(|html| {
        let html = html.replace('&', "&amp;").replace('"', "&quot;");
        format!("<template data-page=\"{html}\"></template>\n")
    });
    let quoted: String = quoted.collect();
    let widths = WIDTHS.map(|width| width.to_string()).join(",");
    let driver = MEASURES
        .replace("WIDTHS", &widths)
        .replace("PAGES", &quoted);
    std::fs::write(&file, driver).unwrap();
    let profile = folder.path().join("profile");
    let arguments = ["--window-size=1400,900", "--dump-dom"];
    let dom = open(browser, &file, &profile, &arguments);
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
        test_support::skip(
            test_support::Needs::Program,
            "there is no Chromium (set CHROMIUM to its program)",
        );
        return;
    };
    let special = made_up::special().into_iter();
    let special = special.map(|(name, report)| (name.to_string(), report));
    let shapes = made_up::shapes().into_iter();
    let shapes = shapes.map(|(name, shape)| (name, made_up::report(shape)));
    let (names, pages): (Vec<String>, Vec<String>) = special
        .chain(shapes)
        .map(|(name, report)| (name, report.to_html()))
        .unzip();
    let measured = measured(&browser, &pages);
    assert_eq!(measured.len(), pages.len());
    let mut faults = Vec::new();
    for (name, found) in names.iter().zip(&measured) {
        assert_eq!(found.len(), WIDTHS.len());
        for (found, width) in found.iter().zip(WIDTHS) {
            assert_eq!(found["inner"], width, "{name}: {found}");
            assert!(found["texts"].as_u64().unwrap() > 0, "{name}: nothing");
            if found["scroll"].as_u64().unwrap() as usize > width {
                faults.push(format!("{name} at {width}: scrolls to {}", found["scroll"]));
            }
            for fault in ["wide", "tiny", "covered", "cut"] {
                if found[fault] != serde_json::json!([]) {
                    faults.push(format!("{name} at {width}: {fault} {}", found[fault]));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
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
        report.write_images(folder.join(name)).unwrap();
    }
    for (name, report) in made_up::special() {
        report.write(folder.join(format!("{name}.html"))).unwrap();
    }
}
