//! Progress of a run, for a person.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::events::{Event, Observer};
use crate::log::Log;
use crate::text;

/// Amount of progress on standard error. Standard output stays free for results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProgressMode {
    /// A bar on a terminal, lines elsewhere.
    #[default]
    Auto,
    /// A bar with rate, loss and time left, and a line for every epoch.
    Bar,
    /// A line for every epoch, nothing that moves.
    Lines,
    /// Nothing.
    Silent,
}

/// Shows a run's events to a person.
///
/// ```
/// use rekindle_trainer::{Event, Observer, Progress};
///
/// let mut lines = Vec::new();
/// let mut progress = Progress::to_writer(&mut lines);
/// progress.on_event(&Event::Warning { message: "class bees has 3 images".into() });
/// drop(progress);
/// assert_eq!(lines, b"warning: class bees has 3 images\n");
/// ```
pub struct Progress<'a> {
    log: Log,
    output: Output<'a>,
}

enum Output<'a> {
    Bar(Box<Bar>),
    Lines(Box<dyn Write + 'a>),
    Silent,
}

impl Progress<'static> {
    /// Shows progress on standard error.
    pub fn new(mode: ProgressMode) -> Self {
        let bar = match mode {
            ProgressMode::Auto => stderr().is_terminal(),
            ProgressMode::Bar => true,
            ProgressMode::Lines => false,
            ProgressMode::Silent => return Self::with(Output::Silent),
        };
        Self::with(if bar {
            Output::Bar(Box::default())
        } else {
            Output::Lines(Box::new(stderr()))
        })
    }
}

impl<'a> Progress<'a> {
    /// Writes the lines of [`ProgressMode::Lines`] to `writer`.
    pub fn to_writer(writer: impl Write + 'a) -> Self {
        Self::with(Output::Lines(Box::new(writer)))
    }

    fn with(output: Output<'a>) -> Self {
        Self {
            log: Log::default(),
            output,
        }
    }
}

impl Observer for Progress<'_> {
    fn on_event(&mut self, event: &Event) {
        match &mut self.output {
            Output::Silent => {}
            Output::Lines(writer) => {
                for line in self.log.lines(event) {
                    // Training goes on where nobody listens any more.
                    let _ = writeln!(writer, "{line}");
                }
            }
            Output::Bar(bar) => {
                bar.before_lines(event);
                for line in self.log.lines(event) {
                    bar.print(&line);
                }
                bar.after_lines(event);
            }
        }
    }
}

/// The moving line, and what is needed to guess how long it will take.
#[derive(Default)]
struct Bar {
    shown: Option<ProgressBar>,
    epochs: usize,
    epoch: usize,
    /// Time when the first epoch of this process began, and its number.
    began: Option<(Instant, usize)>,
    epoch_began: Option<Instant>,
    pass: Option<Pass>,
    loss: Option<f64>,
}

struct Pass {
    began: Instant,
    images: usize,
    done: usize,
}

/// Weight of what was shown before in the smoothed loss; one batch alone jumps about.
const SMOOTHING: f64 = 0.9;

/// Prints a line to standard error, which may be closed.
fn say(line: &str) {
    let _ = writeln!(stderr().lock(), "{line}");
}

/// A rate over less than this says nothing.
const MEASURABLE: Duration = Duration::from_millis(200);

impl Bar {
    fn before_lines(&mut self, event: &Event) {
        if matches!(
            event,
            Event::PhaseEnded { .. } | Event::EpochEnded { .. } | Event::RunEnded(_)
        ) {
            self.clear();
        }
    }

    fn print(&self, line: &str) {
        match &self.shown {
            // `println` of a bar would be lost where the bar has no terminal to draw on.
            Some(bar) => bar.suspend(|| say(line)),
            None => say(line),
        }
    }

    fn after_lines(&mut self, event: &Event) {
        match event {
            Event::PhaseStarted { name, items } => {
                self.start(name.clone(), items.unwrap_or(0), items.unwrap_or(0));
            }
            Event::PhaseAdvanced { done } => {
                if let Some(pass) = &mut self.pass {
                    pass.done = *done;
                }
                self.show(*done);
            }
            Event::EpochStarted {
                epoch,
                epochs,
                batches,
                images,
            } => {
                (self.epoch, self.epochs) = (*epoch, *epochs);
                self.began.get_or_insert((Instant::now(), *epoch));
                self.epoch_began = Some(Instant::now());
                self.loss = None;
                self.start(format!("epoch {epoch}/{epochs}"), *batches, *images);
            }
            Event::BatchEnded {
                batch,
                images,
                loss,
                ..
            } => {
                self.loss = Some(match self.loss {
                    Some(before) => SMOOTHING * before + (1.0 - SMOOTHING) * loss,
                    None => *loss,
                });
                self.advance(*batch, *images);
            }
            Event::ValidationStarted {
                epoch,
                batches,
                images,
            } => {
                self.loss = None;
                let name = format!("epoch {epoch}/{}, validation", self.epochs);
                self.start(name, *batches, *images);
            }
            Event::ValidationBatchEnded { batch, images, .. } => self.advance(*batch, *images),
            _ => {}
        }
    }

    fn start(&mut self, name: String, steps: usize, images: usize) {
        self.clear();
        let bar = ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::stderr());
        bar.set_style(style(steps > 0));
        bar.set_prefix(rekindle_files::names::printable(&name));
        // Time goes on while a slow first batch runs.
        bar.enable_steady_tick(Duration::from_millis(250));
        self.shown = Some(bar);
        self.pass = Some(Pass {
            began: Instant::now(),
            images,
            done: 0,
        });
    }

    fn advance(&mut self, step: usize, images: usize) {
        if let Some(pass) = &mut self.pass {
            pass.done += images;
        }
        self.show(step);
    }

    fn show(&self, step: usize) {
        let (Some(bar), Some(pass)) = (&self.shown, &self.pass) else {
            return;
        };
        bar.set_position(step as u64);
        let mut parts = Vec::new();
        if let Some(loss) = self.loss {
            parts.push(format!("loss {}", text::loss(loss)));
        }
        let elapsed = pass.began.elapsed();
        if elapsed >= MEASURABLE && pass.done > 0 {
            let rate = pass.done as f64 / elapsed.as_secs_f64();
            let left = pass.images.saturating_sub(pass.done) as f64 / rate;
            parts.push(format!("{rate:.1} img/s"));
            parts.push(format!("{} left", text::rough_duration(left)));
        }
        if let Some(left) = self.run_left() {
            parts.push(format!("whole run {} left", text::rough_duration(left)));
        }
        bar.set_message(parts.join(", "));
    }

    /// Estimates the time left from the second epoch on: what the epochs so far took, for those to come.
    fn run_left(&self) -> Option<f64> {
        let (began, first) = self.began?;
        let finished = self.epoch.checked_sub(first).filter(|&n| n > 0)?;
        let epoch_began = self.epoch_began?;
        let an_epoch = (epoch_began - began).as_secs_f64() / finished as f64;
        let to_come = (self.epochs + 1).saturating_sub(self.epoch) as f64;
        Some((an_epoch * to_come - epoch_began.elapsed().as_secs_f64()).max(0.0))
    }

    fn clear(&mut self) {
        if let Some(bar) = self.shown.take() {
            bar.finish_and_clear();
        }
        self.pass = None;
    }
}

fn style(known_length: bool) -> ProgressStyle {
    let template = if known_length {
        "{prefix} [{bar:24}] {pos}/{len}  {msg}"
    } else {
        "{prefix} {spinner} {elapsed}  {msg}"
    };
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}
