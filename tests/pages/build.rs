//! Takes the front page out of each crate's `lib.rs`.

use std::path::Path;
use std::{env, fs};

fn main() {
    let out = env::var("OUT_DIR").expect("cargo names a folder");
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates");
    for name in [
        "imagefolder",
        "kernels",
        "models",
        "report",
        "trainer",
        "transfer",
        "weights",
    ] {
        let source = crates.join(format!("rekindle-{name}/src/lib.rs"));
        println!("cargo::rerun-if-changed={}", source.display());
        let text = fs::read_to_string(&source).expect("a crate's front page");
        let page: String = text
            .lines()
            .map_while(|line| line.strip_prefix("//!"))
            .flat_map(|line| [line.strip_prefix(' ').unwrap_or(line), "\n"])
            .collect();
        fs::write(Path::new(&out).join(format!("{name}.md")), page).expect("a place to write to");
    }
}
