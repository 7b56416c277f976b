//! Answers over a gate built by hand, for golden pages.

use std::sync::Arc;

use super::answers::{EventLine, Status};
use super::{lines, status as reading};
use crate::policy::Moment;
use crate::record::{Log, Names, fixture};

/// The status of a gate with this many workers, each of which had one busy burst.
pub(crate) fn status(workers: u32) -> Status {
    let shared = fixture::shared(workers);
    for worker in &shared.workers {
        fixture::busy(&worker.counters);
    }
    let log = Log::default();
    log.append(&[fixture::no_rule(), fixture::guarded_ping()]);
    reading::read(&shared, &log, Moment(fixture::NOON), &[0, 1], &["something to know".into()])
}

/// A drop, a would-drop by a rule, and a frame nobody could read.
pub(crate) fn lines() -> Vec<EventLine> {
    let names = Names::default();
    names.learn(&Arc::new(fixture::policy(1)));
    let events = [fixture::no_rule(), fixture::guarded_ping(), fixture::unreadable()];
    (1..).zip(&events).map(|(seq, event)| lines::line(seq, event, &names)).collect()
}
