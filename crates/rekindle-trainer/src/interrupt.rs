//! Ctrl-C as a request: the first press lets the loop save and stop, the second ends at once.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::TrainerError;

/// A handle through which a running loop is asked to stop; clones share the request.
///
/// The loop asks [`requested`](Self::requested) after every batch. Tests and programs with a stop
/// button of their own call [`request`](Self::request); no signal is needed.
///
/// ```
/// use rekindle_trainer::Interrupt;
///
/// let interrupt = Interrupt::new();
/// let button = interrupt.clone();
/// button.request();
/// assert!(interrupt.requested());
/// ```
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    requested: Arc<AtomicBool>,
}

/// The exit status of a program that Ctrl-C ended: 128 + SIGINT.
const EXIT_STATUS: i32 = 130;

impl Interrupt {
    /// Creates a handle that no signal reaches.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a handle that Ctrl-C reaches. The process has one: every call returns the same, with an earlier
    /// request cleared.
    ///
    /// # Errors
    ///
    /// [`TrainerError::NoInterruptHandler`] where the program has a Ctrl-C handler of its own.
    pub fn on_ctrl_c() -> Result<Self, TrainerError> {
        static INSTALLED: Mutex<Option<Interrupt>> = Mutex::new(None);
        let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(interrupt) = &*installed {
            interrupt.clear();
            return Ok(interrupt.clone());
        }
        let interrupt = Self::new();
        let handler = interrupt.clone();
        ctrlc::set_handler(move || handler.pressed()).map_err(|error| {
            TrainerError::NoInterruptHandler {
                reason: error.to_string(),
            }
        })?;
        *installed = Some(interrupt.clone());
        Ok(interrupt)
    }

    /// Asks the loop to save and stop. Says whether that had been asked before.
    pub fn request(&self) -> bool {
        self.requested.swap(true, Ordering::SeqCst)
    }

    /// Returns true if the loop should save and stop.
    pub fn requested(&self) -> bool {
        self.requested.load(Ordering::SeqCst)
    }

    /// Fails where the work should stop: for loops that have nothing to save.
    ///
    /// # Errors
    ///
    /// [`TrainerError::Interrupted`] after a request.
    pub fn check(&self) -> Result<(), TrainerError> {
        if self.requested() {
            return Err(TrainerError::Interrupted {
                kept: String::new(),
            });
        }
        Ok(())
    }

    /// Takes the request back, for the next run of the same process.
    pub fn clear(&self) {
        self.requested.store(false, Ordering::SeqCst);
    }

    fn pressed(&self) {
        if self.request() {
            std::process::exit(EXIT_STATUS);
        }
        // Standard error may be closed.
        let _ = writeln!(
            std::io::stderr(),
            "\nStopping after this batch and saving what is done. Press Ctrl-C again to end at \
             once without saving."
        );
    }
}
