//! Reports the progress of a download.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

/// A step of a download.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// Another process downloads the same file; this one waits for it.
    Waiting,
    /// Bytes are arriving. The first report of a continued download starts above zero.
    Receiving {
        /// Bytes of the file on disk so far.
        received: u64,
        /// Bytes in all, if the server said.
        total: Option<u64>,
    },
    /// The connection broke; there is another attempt after a pause.
    Retrying {
        /// The number of the attempt to come, from 2.
        attempt: u32,
        /// Time to wait until then.
        pause: Duration,
        /// Cause of the interruption.
        reason: String,
    },
    /// Everything has arrived and is compared with its checksum.
    Verifying,
    /// An archive is being unpacked.
    Unpacking,
}

/// Shows progress on standard error: one line that moves where that is a terminal, else a line for
/// the beginning and the end.
///
/// ```no_run
/// # use rekindle_weights::hub::{ConsoleProgress, Hub};
/// let url = "https://download.pytorch.org/tutorial/hymenoptera_data.zip";
/// let mut console = ConsoleProgress::new("hymenoptera_data.zip");
/// Hub::new()?.fetch_archive(url, "hymenoptera_data.zip", None, 1 << 30, &mut console.reporter())?;
/// # Ok::<(), rekindle_weights::Error>(())
/// ```
#[derive(Debug)]
pub struct ConsoleProgress {
    name: String,
    terminal: bool,
    /// Time and bytes at the start, and the time of the last line.
    started: Option<(Instant, u64)>,
    shown: Option<Instant>,
}

impl ConsoleProgress {
    /// Shows the progress of the file `name`.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            terminal: stderr().is_terminal(),
            started: None,
            shown: None,
        }
    }

    /// Returns the callback that [`Hub`](super::Hub) wants.
    pub fn reporter(&mut self) -> impl FnMut(Progress) + '_ {
        |progress| self.report(&progress)
    }

    fn report(&mut self, progress: &Progress) {
        let line = match progress {
            Progress::Waiting => format!(
                "{}: waiting for another process that downloads it",
                self.name
            ),
            Progress::Receiving { received, total } => {
                self.receiving(*received, *total);
                return;
            }
            Progress::Retrying {
                attempt,
                pause,
                reason,
            } => format!(
                "{}: {reason}; attempt {attempt} in {:.1} s",
                self.name,
                pause.as_secs_f64()
            ),
            Progress::Verifying => format!("{}: complete, verifying", self.name),
            Progress::Unpacking => format!("{}: unpacking", self.name),
        };
        let start = if self.terminal { "\r\x1b[K" } else { "" };
        // A closed standard error is no reason to stop a download.
        let _ = writeln!(stderr(), "{start}{line}");
    }

    fn receiving(&mut self, received: u64, total: Option<u64>) {
        let now = Instant::now();
        let (start, already) = *self.started.get_or_insert((now, received));
        let due = self
            .shown
            .is_none_or(|shown| now - shown > Duration::from_millis(200));
        if !due || (!self.terminal && self.shown.is_some()) {
            return;
        }
        self.shown = Some(now);
        let line = describe(
            &self.name,
            received,
            total,
            received - already.min(received),
            now - start,
        );
        let _ = if self.terminal {
            write!(stderr(), "\r\x1b[K{line}").and_then(|()| stderr().flush())
        } else {
            writeln!(stderr(), "downloading {line}")
        };
    }
}

fn describe(
    name: &str,
    received: u64,
    total: Option<u64>,
    fresh: u64,
    elapsed: Duration,
) -> String {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let size = match total {
        Some(total) => format!("{:.1} of {:.1} MiB", mib(received), mib(total)),
        None => format!("{:.1} MiB", mib(received)),
    };
    let rate = fresh as f64 / elapsed.as_secs_f64();
    if fresh == 0 || !rate.is_finite() {
        return format!("{name}: {size}");
    }
    let left = total.map_or_else(String::new, |total| {
        format!(
            ", {:.0} s left",
            total.saturating_sub(received) as f64 / rate
        )
    });
    format!("{name}: {size}, {:.1} MiB/s{left}", mib(rate as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_rate_and_time_left() {
        let line = describe(
            "a.pth",
            30 << 20,
            Some(50 << 20),
            20 << 20,
            Duration::from_secs(4),
        );
        assert_eq!(line, "a.pth: 30.0 of 50.0 MiB, 5.0 MiB/s, 4 s left");
        assert_eq!(
            describe("a.pth", 0, None, 0, Duration::ZERO),
            "a.pth: 0.0 MiB"
        );
    }
}
