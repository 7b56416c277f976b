//! The thread that empties the workers' rings of events and of cuts.
//!
//! Invariants: it never waits for a worker and no worker ever waits for it. A sweep takes at most
//! [`SWEEP`] events a worker and is followed by a pause, so that a flood of events costs this thread a
//! bounded share of a core, which may be a worker's; what then finds its ring full is counted by the
//! worker. Within a sweep events are ordered by time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::cuts::{CutList, NamedCut, Naming, Taken};
use super::{Log, Names};
use crate::gateway::Shared;
use crate::pipeline::{Cut, Event};

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
    cuts: Arc<CutList>,
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
        let cuts = Arc::new(CutList::default());
        let stopping = Arc::new(AtomicBool::new(false));
        names.learn(&shared.policy.load_full());
        let thread = thread::Builder::new().name("record".into()).spawn({
            let (log, names, stopping) = (log.clone(), names.clone(), stopping.clone());
            let cuts = cuts.clone();
            move || {
                let mut pause = IDLE;
                loop {
                    // Read before the sweep: what was pushed before the stop is in the log after it.
                    let last = stopping.load(Ordering::Acquire);
                    names.learn(&shared.policy.load_full());
                    let taken = sweep(&shared, &log) + sweep_cuts(&shared, &names, &cuts);
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
        Ok(Self { log, names, cuts, stopping, thread: Some(thread) })
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

    /// The flows that new policies ended.
    #[must_use]
    pub fn cuts(&self) -> Arc<CutList> {
        self.cuts.clone()
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

/// Takes the cuts, names them, and says whether these are all.
fn sweep_cuts(shared: &Shared, names: &Names, list: &CutList) -> usize {
    // In this order: what is lost or swept before the policy is read is this generation's or an older one's,
    // and what a worker cut before it was swept is in its ring.
    let lost = shared.workers.iter().map(|worker| worker.cuts.lost()).sum();
    let generation = shared.policy.load().generation;
    let swept = shared.workers.iter().all(|worker| worker.reviewed.load(Ordering::Acquire) == generation);
    let waiting = shared.workers.iter().map(|worker| worker.waiting.load(Ordering::Relaxed)).sum();
    let mut batch: Vec<Cut> = Vec::new();
    let mut emptied = true;
    for worker in &shared.workers {
        batch.extend(std::iter::from_fn(|| worker.cuts.take()).take(SWEEP));
        emptied &= worker.cuts.is_empty();
    }
    batch.sort_by_key(|cut| cut.at);
    // After the rings: the batch names this generation at most.
    names.learn(&shared.policy.load_full());
    let mut naming = Naming::new(names);
    let batch: Vec<NamedCut> = batch.into_iter().map(|cut| naming.name(cut)).collect();
    let count = batch.len();
    list.append(batch, Taken { generation, complete: swept && emptied, lost, waiting });
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Moment;
    use crate::record::{CutTally, fixture};

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
    fn cuts_are_complete_once_all_workers_are_swept_and_their_rings_empty() {
        let (shared, names, list) = (fixture::shared(2), Names::default(), CutList::new(10_000));
        let cut = |port, nanos| Cut { generation: 1, at: Moment(nanos), ..fixture::cut(port) };
        let [first, second] = shared.workers.as_slice() else { panic!("two workers") };
        second.reviewed.store(0, Ordering::Relaxed);
        first.waiting.store(2, Ordering::Relaxed);
        second.waiting.store(3, Ordering::Relaxed);
        first.cuts.push(cut(1, 20));
        second.cuts.push(cut(2, 10));
        assert_eq!(sweep_cuts(&shared, &names, &list), 2);
        let page = list.last(10);
        let ports: Vec<u16> = page.cuts.iter().map(|named| named.cut.ends[0].1).collect();
        assert_eq!(ports, [2, 1], "in order of time");
        assert_eq!(page.cuts[0].workloads, [Some("acquirer".into()), Some("vault-1".into())]);
        let tally = CutTally { generation: 1, ended: 2, forgotten: 0, lost: 0, swept: false, waiting: 5 };
        assert_eq!(page.latest, tally, "one worker still judges");
        second.reviewed.store(1, Ordering::Relaxed);
        second.waiting.store(0, Ordering::Relaxed);
        assert_eq!(sweep_cuts(&shared, &names, &list), 0);
        assert_eq!(list.last(0).latest, CutTally { swept: true, waiting: 2, ..tally });
        // A cut that finds its ring full is counted for whoever reads the list.
        let full = (0..3_000).map(|port| first.cuts.push(cut(port, 30))).count();
        assert_eq!((full, sweep_cuts(&shared, &names, &list)), (3_000, 2_048));
        let latest = list.last(0).latest;
        assert_eq!(
            latest,
            CutTally { ended: 3_002, lost: 3_000 - 2_048, swept: true, waiting: 2, ..tally }
        );
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
