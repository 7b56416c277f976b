//! Answers over a gate built by hand, for golden pages.

use std::sync::Arc;

use super::answers::{Cuts, EventLine, Flows, Status};
use super::{flows as tables, lines, status as reading};
use crate::pipeline::{Cut, Reason};
use crate::policy::{Moment, RuleNumber};
use crate::record::{CutList, Log, Names, Taken, fixture};

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

/// The flows of [`fixture::flows`], of which the first two have names.
pub(crate) fn flows() -> Flows {
    let names = Names::default();
    names.learn(&Arc::new(fixture::policy(1)));
    let mut flows = tables::told(&fixture::flows(), fixture::LOOKED, &names);
    (flows.live, flows.generation) = (3, 1);
    flows
}

/// Two flows that generation 2 ended: one that no rule allows any more, one that a guardrail denies.
pub(crate) fn cuts() -> Cuts {
    let names = Names::default();
    for generation in [1, 2] {
        names.learn(&Arc::new(fixture::policy(generation)));
    }
    let by_guardrail =
        Cut { rule: RuleNumber(0), reason: Reason::Guardrail, by_packet: true, ..fixture::cut(40_001) };
    let list = CutList::default();
    let taken = Taken { generation: 2, complete: true, lost: 0, waiting: 0 };
    list.append(fixture::named(&names, [fixture::cut(40_000), by_guardrail]), taken);
    tables::cuts_of(&list.last(100), 2)
}
