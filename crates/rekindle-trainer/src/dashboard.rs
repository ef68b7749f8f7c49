//! Burn's full-screen dashboard, driven by our events (cargo feature `tui`).

use std::io::{IsTerminal, stdout};
use std::sync::Arc;

use burn_train::Interrupter;
use burn_train::metric::{
    MetricDefinition, MetricEntry, MetricId, NumericAttributes, NumericEntry, SerializedEntry,
};
use burn_train::renderer::tui::TuiMetricsRendererWrapper;
use burn_train::renderer::{MetricState, MetricsRenderer};

use crate::events::{EpochMetrics, Event, Observer};
use crate::interrupt::Interrupt;
use crate::log::Log;
use crate::text;

/// Shows curves of loss, accuracy and learning rate on the whole terminal while training goes on.
///
/// Before the first epoch and after the last the lines of
/// [`ProgressMode::Lines`](crate::ProgressMode::Lines) go to standard error. While the dashboard
/// shows, Ctrl-C is an ordinary key: `q`, then `s` makes the [`Interrupt`] request, so that the run
/// is saved; `q`, then `k` ends training with a panic, that is Burn's way.
pub struct Dashboard {
    interrupt: Interrupt,
    interrupter: Interrupter,
    log: Log,
    screen: Option<Screen<TuiMetricsRendererWrapper>>,
    /// Messages of the time when the screen hid standard error.
    untold: Vec<String>,
}

impl Dashboard {
    /// Creates a dashboard whose key for stopping requests `interrupt`; `None` where standard output isn't a terminal
    /// to draw on.
    pub fn new(interrupt: Interrupt) -> Option<Self> {
        stdout().is_terminal().then(|| Self {
            interrupt,
            interrupter: Interrupter::new(),
            log: Log::default(),
            screen: None,
            untold: Vec::new(),
        })
    }

    fn close(&mut self) {
        // Leaves the full screen.
        self.screen = None;
        for line in self.untold.drain(..) {
            eprintln!("{line}");
        }
    }
}

impl Observer for Dashboard {
    fn on_event(&mut self, event: &Event) {
        if let (Event::EpochStarted { epoch, .. }, None) = (event, &self.screen) {
            let done = Some(epoch.saturating_sub(1)).filter(|&done| done > 0);
            let renderer = TuiMetricsRendererWrapper::new(self.interrupter.clone(), done);
            self.screen = Some(Screen::new(renderer));
        }
        self.untold.extend(self.log.lines(event));
        match &mut self.screen {
            Some(screen) => screen.show(event),
            None => self.close(),
        }
        if self.interrupter.should_stop() {
            self.interrupt.request();
        }
        if matches!(event, Event::RunEnded(_)) {
            self.close();
        }
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        self.close();
    }
}

/// Translates events to the calls that Burn's learner makes.
struct Screen<R> {
    renderer: R,
    started: bool,
    done: usize,
}

const LOSS: &str = "Loss";
const ACCURACY: &str = "Accuracy";
const LEARNING_RATE: &str = "Learning Rate";

impl<R: MetricsRenderer> Screen<R> {
    fn new(mut renderer: R) -> Self {
        for (name, unit, higher_is_better) in [
            (LOSS, None, false),
            (ACCURACY, Some("%"), true),
            (LEARNING_RATE, None, false),
        ] {
            renderer.register_metric(MetricDefinition {
                metric_id: id(name),
                name: Arc::new(name.into()),
                description: None,
                attributes: NumericAttributes {
                    unit: unit.map(String::from),
                    higher_is_better,
                }
                .into(),
            });
        }
        Self {
            renderer,
            started: false,
            done: 0,
        }
    }

    fn show(&mut self, event: &Event) {
        match event {
            Event::EpochStarted {
                epoch,
                epochs,
                images,
                ..
            } => {
                if !self.started {
                    self.renderer.start(*epochs, *epoch, None, None);
                    self.started = true;
                }
                self.start_split("train", *images);
            }
            Event::BatchEnded {
                images,
                loss,
                learning_rate,
                ..
            } => {
                self.advance(*images);
                let entry = NumericEntry::Value(*loss);
                self.renderer
                    .update_train(state(LOSS, text::loss(*loss), entry));
                let entry = NumericEntry::Value(*learning_rate);
                self.renderer
                    .update_train(state(LEARNING_RATE, text::rate(*learning_rate), entry));
            }
            Event::ValidationStarted { images, .. } => {
                self.renderer.end_split();
                self.start_split("valid", *images);
            }
            Event::ValidationBatchEnded { images, .. } => self.advance(*images),
            Event::EpochEnded { metrics } => self.epoch_ended(metrics),
            Event::RunEnded(_) => self.renderer.end(),
            _ => {}
        }
    }

    fn start_split(&mut self, name: &str, images: usize) {
        self.done = 0;
        self.renderer.start_split(name, images);
    }

    fn advance(&mut self, images: usize) {
        self.done += images;
        self.renderer.update_split(self.done);
    }

    fn epoch_ended(&mut self, metrics: &EpochMetrics) {
        let accuracy = |share: f64| {
            let entry = NumericEntry::Final(100.0 * share);
            state(ACCURACY, text::percent(share), entry)
        };
        if !metrics.train_accuracy.is_nan() {
            self.renderer.update_train(accuracy(metrics.train_accuracy));
        }
        if let Some(share) = metrics.valid_accuracy {
            self.renderer.update_valid(accuracy(share));
        }
        if let Some(loss) = metrics.valid_loss {
            let entry = NumericEntry::Final(loss);
            self.renderer
                .update_valid(state(LOSS, text::loss(loss), entry));
        }
        self.renderer.end_split();
        self.renderer.update_epoch(metrics.epoch);
    }
}

fn state(name: &str, formatted: String, entry: NumericEntry) -> MetricState {
    let serialized = entry.current().to_string();
    let text = SerializedEntry::new(formatted, serialized);
    // A loss that is no number has no place on a curve.
    let point = Some(entry).filter(|entry| entry.current().is_finite());
    MetricState::Numeric(MetricEntry::new(id(name), text), point)
}

fn id(name: &str) -> MetricId {
    MetricId::new(Arc::new(name.into()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::mpsc::{Sender, channel};

    use burn_train::logger::{EvaluationProgressLogger, TrainingProgressLogger};
    use burn_train::renderer::{
        EvaluationName, MetricsRendererEvaluation, MetricsRendererTraining,
    };

    use super::*;

    #[test]
    fn the_dashboard_is_told_what_burns_learner_would_tell_it() {
        let (sender, calls) = channel();
        let mut screen = Screen::new(Recorder(sender));
        let batch = |batch, loss| Event::BatchEnded {
            epoch: 1,
            batch,
            images: 4,
            loss,
            learning_rate: 0.01,
        };
        let events = [
            Event::EpochStarted {
                epoch: 1,
                epochs: 2,
                batches: 2,
                images: 8,
            },
            batch(1, 0.5),
            batch(2, f64::NAN),
            Event::ValidationStarted {
                epoch: 1,
                batches: 1,
                images: 3,
            },
            Event::ValidationBatchEnded {
                epoch: 1,
                batch: 1,
                images: 3,
            },
            Event::EpochEnded {
                metrics: EpochMetrics {
                    epoch: 1,
                    train_accuracy: 0.5,
                    valid_accuracy: Some(0.75),
                    valid_loss: Some(0.25),
                    ..Default::default()
                },
            },
        ];
        for event in &events {
            screen.show(event);
        }
        drop(screen);
        let expected = [
            "register Loss",
            "register Accuracy",
            "register Learning Rate",
            "start 2 from 1",
            "split train 8",
            "at 4",
            "train 0.500 Some(0.5)",
            "train 0.01 Some(0.01)",
            "at 8",
            "train NaN None",
            "train 0.01 Some(0.01)",
            "end split",
            "split valid 3",
            "at 3",
            "train 50.0 % Some(50.0)",
            "valid 75.0 % Some(75.0)",
            "valid 0.250 Some(0.25)",
            "end split",
            "epoch 1",
        ];
        assert_eq!(calls.iter().collect::<Vec<String>>(), expected);
    }

    struct Recorder(Sender<String>);

    impl Recorder {
        fn note(&self, call: String) {
            self.0.send(call).unwrap();
        }

        fn note_metric(&self, split: &str, state: MetricState) {
            let MetricState::Numeric(entry, value) = state else {
                panic!("all metrics are numbers");
            };
            let value = value.map(|entry| entry.current());
            self.note(format!(
                "{split} {} {value:?}",
                entry.serialized_entry.formatted
            ));
        }
    }

    impl MetricsRendererTraining for Recorder {
        fn update_train(&mut self, state: MetricState) {
            self.note_metric("train", state);
        }

        fn update_valid(&mut self, state: MetricState) {
            self.note_metric("valid", state);
        }
    }

    impl MetricsRendererEvaluation for Recorder {
        fn update_test(&mut self, _: EvaluationName, _: MetricState) {}
    }

    impl MetricsRenderer for Recorder {
        fn manual_close(&mut self) {}

        fn register_metric(&mut self, definition: MetricDefinition) {
            self.note(format!("register {}", definition.name));
        }
    }

    impl TrainingProgressLogger for Recorder {
        fn start(&mut self, epochs: usize, first: usize, _: Option<usize>, _: Option<&str>) {
            self.note(format!("start {epochs} from {first}"));
        }

        fn update_epoch(&mut self, epoch: usize) {
            self.note(format!("epoch {epoch}"));
        }

        fn start_split(&mut self, split: &str, items: usize) {
            self.note(format!("split {split} {items}"));
        }

        fn update_split(&mut self, done: usize) {
            self.note(format!("at {done}"));
        }

        fn end_split(&mut self) {
            self.note("end split".into());
        }

        fn end(&mut self) {
            self.note("end".into());
        }

        fn log_event_training(&mut self, _: String) {}
    }

    impl EvaluationProgressLogger for Recorder {
        fn start_global_progress(&mut self, _: usize) {}
        fn start_test(&mut self, _: &str, _: usize) {}
        fn update_test_progress(&mut self, _: usize) {}
        fn end_test(&mut self) {}
        fn end_global_progress(&mut self) {}
        fn log_event_evaluation(&mut self, _: String) {}
    }
}
