//! The thread that empties the workers' event rings.
//!
//! Invariants: it never waits for a worker and no worker ever waits for it. A sweep takes at most
//! [`SWEEP`] events a worker and is followed by a pause, so that a flood of events costs this thread a
//! bounded share of a core, which may be a worker's; what then finds its ring full is counted by the
//! worker. Within a sweep events are ordered by time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{Log, Names};
use crate::gateway::Shared;
use crate::pipeline::Event;

/// Events a sweep takes from one worker.
const SWEEP: usize = 4_096;
/// The pause after a sweep that found something.
const BUSY: Duration = Duration::from_millis(2);
/// The longest pause on a quiet wire.
const IDLE: Duration = Duration::from_millis(20);

/// A running recorder.
#[derive(Debug)]
pub struct Recorder {
    log: Arc<Log>,
    names: Arc<Names>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Recorder {
    /// Starts emptying the rings of a gate.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(shared: Arc<Shared>) -> std::io::Result<Self> {
        let log = Arc::new(Log::default());
        let names = Arc::new(Names::default());
        let stopping = Arc::new(AtomicBool::new(false));
        names.learn(&shared.policy.load_full());
        let thread = thread::Builder::new().name("record".into()).spawn({
            let (log, names, stopping) = (log.clone(), names.clone(), stopping.clone());
            move || {
                let mut pause = IDLE;
                loop {
                    // Read before the sweep: what was pushed before the stop is in the log after it.
                    let last = stopping.load(Ordering::Acquire);
                    names.learn(&shared.policy.load_full());
                    let taken = sweep(&shared, &log);
                    if last && taken == 0 {
                        return;
                    }
                    pause = if taken > 0 { BUSY } else { (pause * 2).min(IDLE) };
                    if !last {
                        thread::park_timeout(pause);
                    }
                }
            }
        })?;
        Ok(Self { log, names, stopping, thread: Some(thread) })
    }

    /// The log it fills.
    #[must_use]
    pub fn log(&self) -> Arc<Log> {
        self.log.clone()
    }

    /// The names that its events refer to.
    #[must_use]
    pub fn names(&self) -> Arc<Names> {
        self.names.clone()
    }

    /// Stops once every ring is empty. The workers have stopped before, else this may not end.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stopping.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic in there has been reported on stderr already.
            let _ = thread.join();
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.end();
    }
}

fn sweep(shared: &Shared, log: &Log) -> usize {
    let mut batch: Vec<Event> = Vec::new();
    for worker in &shared.workers {
        batch.extend(std::iter::from_fn(|| worker.events.pop()).take(SWEEP));
    }
    batch.sort_by_key(|event| event.at);
    log.append(&batch);
    batch.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Moment;
    use crate::record::fixture;

    #[test]
    fn events_of_all_workers_reach_the_log_in_order_of_time() {
        let shared = fixture::shared(2);
        let event = |nanos| Event { at: Moment(nanos), ..fixture::no_rule() };
        for (worker, nanos) in [(0, 10), (0, 30), (1, 20), (1, 40)] {
            shared.workers[worker].events.push(event(nanos)).unwrap();
        }
        let log = Log::new(10);
        assert_eq!(sweep(&shared, &log), 4);
        let times: Vec<u64> = log.after(0, 10).events.iter().map(|(_, event)| event.at.0).collect();
        assert_eq!(times, [10, 20, 30, 40]);
        assert_eq!(sweep(&shared, &log), 0);
    }

    #[test]
    fn one_worker_cannot_make_a_sweep_endless() {
        let shared = fixture::shared(1);
        for nanos in 0..=(SWEEP as u64) {
            shared.workers[0].events.push(Event { at: Moment(nanos), ..fixture::no_rule() }).unwrap();
        }
        let log = Log::default();
        assert_eq!(sweep(&shared, &log), SWEEP);
        assert_eq!(shared.workers[0].events.len(), 1);
    }

    #[test]
    fn what_was_pushed_before_the_stop_is_in_the_log_after_it() {
        let shared = Arc::new(fixture::shared(1));
        let recorder = Recorder::start(shared.clone()).unwrap();
        let log = recorder.log();
        for _ in 0..5_000 {
            shared.workers[0].events.push(fixture::no_rule()).unwrap();
        }
        recorder.stop();
        assert_eq!(log.latest(), 5_000);
        assert!(shared.workers[0].events.is_empty());
    }
}
