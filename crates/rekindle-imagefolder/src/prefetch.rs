//! Worker threads that make batches ahead of their use.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crate::batch::HostBatch;
use crate::error::Error;
use crate::plan::Plan;

type Made = Result<Option<HostBatch>, Error>;

/// Workers and what they have ready. Dropping it stops and joins them.
pub(crate) struct Prefetch {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared {
    plan: Arc<Plan>,
    /// Number of batches beyond the next one to hand out that may be taken.
    ahead: usize,
    state: Mutex<State>,
    /// A batch became ready, or a worker ended.
    ready: Condvar,
    /// A batch was handed out, or the whole thing was stopped.
    room: Condvar,
}

struct State {
    /// The next batch that a worker takes.
    next_to_make: usize,
    /// The next batch that is handed out.
    next_to_give: usize,
    made: HashMap<usize, Made>,
    running: usize,
    stopped: bool,
}

impl Prefetch {
    pub(crate) fn start(
        plan: Arc<Plan>,
        first: usize,
        workers: usize,
        prefetch: usize,
    ) -> Result<Self, Error> {
        let workers = workers.min(plan.batches().saturating_sub(first)).max(1);
        let state = State {
            next_to_make: first,
            next_to_give: first,
            made: HashMap::new(),
            running: 0,
            stopped: false,
        };
        let shared = Arc::new(Shared {
            plan,
            ahead: workers + prefetch,
            state: Mutex::new(state),
            ready: Condvar::new(),
            room: Condvar::new(),
        });
        // From here on an early return stops those that were started.
        let mut started = Self {
            shared,
            workers: Vec::with_capacity(workers),
        };
        for number in 0..workers {
            let shared = Arc::clone(&started.shared);
            shared.lock().running += 1;
            let spawned = thread::Builder::new()
                .name(format!("image-loader-{number}"))
                .spawn(move || Worker(shared).run());
            match spawned {
                Ok(handle) => started.workers.push(handle),
                Err(source) => {
                    started.shared.lock().running -= 1;
                    return Err(Error::WorkerNotStarted { source });
                }
            }
        }
        Ok(started)
    }

    /// Waits for the next batch in order; `None` after the last.
    pub(crate) fn next(&mut self) -> Option<Made> {
        let shared = &self.shared;
        let mut state = shared.lock();
        let number = state.next_to_give;
        if number >= shared.plan.batches() {
            return None;
        }
        loop {
            if let Some(made) = state.made.remove(&number) {
                state.next_to_give += 1;
                shared.room.notify_all();
                return Some(made);
            }
            if state.running == 0 {
                let message = "every worker has ended".to_string();
                return Some(Err(Error::WorkerPanicked {
                    batch: number,
                    message,
                }));
            }
            state = shared
                .ready
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Prefetch {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.room.notify_all();
        for worker in self.workers.drain(..) {
            // A worker's panic has been reported as the error of its batch.
            let _ = worker.join();
        }
    }
}

impl fmt::Debug for Prefetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prefetch")
            .field("workers", &self.workers.len())
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the next batch to make, once there is room for it.
    fn take(&self) -> Option<usize> {
        let mut state = self.lock();
        loop {
            let number = state.next_to_make;
            if state.stopped || number >= self.plan.batches() {
                return None;
            }
            if number < state.next_to_give + self.ahead {
                state.next_to_make += 1;
                return Some(number);
            }
            state = self
                .room
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Tells when it ends, however it ends, so that nobody waits for it in vain.
struct Worker(Arc<Shared>);

impl Worker {
    fn run(&self) {
        let shared = &self.0;
        while let Some(number) = shared.take() {
            let made = shared.plan.make(number, &|| shared.lock().stopped);
            shared.lock().made.insert(number, made);
            shared.ready.notify_all();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
        self.0.ready.notify_all();
    }
}
