//! Drawings, a narrow network, and runs that all tests share.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use rekindle::drawings::{DrawingTask, SOURCE_WEIGHTS, TargetTask};
use serde_json::Value;
use tempfile::TempDir;

/// A class name that would be markup.
pub const HOSTILE: &str = "<img src=x onerror=alert(1)>";

/// Folders and files made once for all tests.
pub struct Workshop {
    _folder: TempDir,
    /// Drawn ants and bees, few of them; the bees have a hostile name.
    pub data: PathBuf,
    /// A network trained on other drawings.
    pub weights: PathBuf,
    /// Runs of three strategies.
    pub runs: PathBuf,
    /// What `train --json` printed.
    pub trained: Value,
}

/// What a call of the program gave.
pub struct Called {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Called {
    pub fn json(&self) -> Value {
        assert_eq!(self.stdout.trim().lines().count(), 1, "{}", self.stdout);
        serde_json::from_str(&self.stdout).unwrap()
    }

    #[track_caller]
    pub fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.stdout, self.stderr);
        self
    }
}

impl From<Output> for Called {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// The program, which never looks at this machine's cache or network.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rekindle"));
    command.env("REKINDLE_OFFLINE", "1");
    command.env(
        "REKINDLE_HOME",
        std::env::temp_dir().join("rekindle-cli-test-no-cache"),
    );
    command
}

pub fn rekindle<A: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = A>) -> Called {
    program().args(arguments).output().unwrap().into()
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub fn workshop() -> &'static Workshop {
    static WORKSHOP: OnceLock<Workshop> = OnceLock::new();
    WORKSHOP.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        TargetTask.write_folder(&data, 10, 20, 3).unwrap();
        for split in ["train", "val"] {
            let split = data.join(split);
            std::fs::rename(split.join("bees"), split.join(HOSTILE)).unwrap();
        }
        std::fs::write(data.join("train/ants/notes.txt"), "not a picture").unwrap();
        std::fs::write(data.join("train/ants/torn.png"), "no png").unwrap();
        std::fs::write(data.join("val/ants/<b>broken<b>.png"), "no png").unwrap();
        let weights = folder.path().join("source.safetensors");
        std::fs::write(&weights, SOURCE_WEIGHTS).unwrap();
        let runs = folder.path().join("runs");
        let strategies = "features,discriminative-rates=0.5,scratch,one-call";
        let trained = rekindle([
            "train",
            text(&data),
            "--weights",
            text(&weights),
            "--out",
            text(&runs),
            "--strategy",
            strategies,
            "--recipe",
            "tutorial",
            "--epochs",
            "3",
            "--batch",
            "5",
            "--learning-rate",
            "0.01",
            "--seed",
            "1",
            "--json",
        ])
        .ends_with(0)
        .json();
        Workshop {
            data,
            weights,
            runs,
            trained,
            _folder: folder,
        }
    })
}
