//! Tests that cannot run where they are: recorded, so that they can be counted.

use std::fmt::{self, Display};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Kinds of things that a machine may lack.
///
/// `.ci/run` fails at the first three where `../shared` is there, since it can set them up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// The folder `../shared` beside the checkout.
    Shared,
    /// Another program, such as a browser.
    Program,
    /// A driver for a device, such as Vulkan's.
    Driver,
    /// Instructions that this processor lacks.
    Instructions,
    /// A right that this user lacks or, being root, has.
    Permission,
}

impl Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shared => "shared",
            Self::Program => "program",
            Self::Driver => "driver",
            Self::Instructions => "instructions",
            Self::Permission => "permission",
        })
    }
}

/// One test that could not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip {
    /// The kind of thing that it needs, as [`Needs`] prints it.
    pub needs: String,
    /// Package and test.
    pub test: String,
    /// The reason in words.
    pub reason: String,
}

/// Records that the calling test cannot run here; return from it afterwards.
///
/// The line also goes to standard error, past libtest's capture. Where the variable `REKINDLE_SKIPPED` names a file,
/// it is appended there as well.
pub fn skip(needs: Needs, reason: impl Display) {
    // Set by `cargo test`; several packages call their test program `it`.
    let program = std::env::var("CARGO_PKG_NAME").unwrap_or_default();
    let thread = std::thread::current();
    let test = format!("{program}::{}", thread.name().unwrap_or("?"));
    let reason = reason.to_string().replace(['\t', '\n'], " ");
    let _ = writeln!(io::stderr(), "skipped: {test}: {reason}");
    let line = format!("{needs}\t{test}\t{reason}\n");
    let named = std::env::var_os("REKINDLE_SKIPPED").map(PathBuf::from);
    for path in [Some(of_this_run()), named].into_iter().flatten() {
        append(&path, &line).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

fn append(path: &Path, line: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    file.write_all(line.as_bytes())
}

/// Takes what the tests of this `cargo test` have recorded, each once, in the order of their names.
pub fn recorded() -> Vec<Skip> {
    let path = of_this_run();
    let text = fs::read_to_string(&path).unwrap_or_default();
    let _ = fs::remove_file(path);
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.dedup();
    let parse = |line: &str| {
        let mut parts = line.splitn(3, '\t').map(String::from);
        Some(Skip {
            needs: parts.next()?,
            test: parts.next()?,
            reason: parts.next()?,
        })
    };
    lines.into_iter().filter_map(parse).collect()
}

/// Beside the test programs, one file for each `cargo test`: it is the parent of all of them.
fn of_this_run() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let profile = program.ancestors().nth(2).unwrap();
    profile.join("skipped").join(run_key())
}

#[cfg(unix)]
fn run_key() -> String {
    let parent = std::os::unix::process::parent_id();
    // Numbers of processes come again; with the time of its start one is unique.
    let stat = fs::read_to_string(format!("/proc/{parent}/stat")).unwrap_or_default();
    let behind_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let start = behind_name.split(' ').nth(19).unwrap_or("0");
    format!("{parent}-{start}")
}

#[cfg(not(unix))]
fn run_key() -> String {
    "run".into()
}

/// Finds a file or folder of `../shared`, or records that the calling test is skipped.
pub fn shared(relative: &str) -> Option<PathBuf> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared"));
    let path = folder.join(relative);
    if path.exists() {
        return Some(path);
    }
    skip(Needs::Shared, format!("../shared/{relative} is not there"));
    None
}
