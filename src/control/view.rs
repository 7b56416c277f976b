//! What the API reads from.

use std::sync::Arc;

use super::answers::{Events, LinkStatus, Status};
use super::{lines, status};
use crate::gateway::Shared;
use crate::policy::Moment;
use crate::record::{CutList, Generation, Log, Names, Page};

/// A clock: time is an argument, also of a server.
pub type Clock = Arc<dyn Fn() -> Moment + Send + Sync>;

/// Everything an answer is made from.
#[derive(Clone)]
pub struct View {
    /// The running gate.
    pub shared: Arc<Shared>,
    /// Its events.
    pub log: Arc<Log>,
    /// The flows that new policies ended.
    pub cuts: Arc<CutList>,
    /// What numbers and addresses are called.
    pub names: Arc<Names>,
    /// Now.
    pub clock: Clock,
    /// What the gate said of its start.
    pub notes: Vec<String>,
}

impl View {
    /// The status now, as seen from the calling thread.
    #[must_use]
    pub fn status(&self) -> Status {
        status::read(&self.shared, &self.log, (self.clock)(), &super::cores::own(), &self.notes)
    }

    /// The names of a generation. One that was put in force just now is learned.
    #[must_use]
    pub(super) fn names_of(&self, generation: u32) -> Option<Generation> {
        self.names.of(generation).or_else(|| {
            self.names.learn(&self.shared.policy.load_full());
            self.names.of(generation)
        })
    }

    /// How the ports stand now, outside and inside.
    #[must_use]
    pub fn links(&self) -> [LinkStatus; 2] {
        status::links(&self.shared)
    }

    /// A page of the log with its names.
    #[must_use]
    pub fn events(&self, page: &Page) -> Events {
        Events {
            events: page.events.iter().map(|(seq, event)| lines::line(*seq, event, &self.names)).collect(),
            next: page.next,
            missed: page.missed,
            lost: self.shared.workers.iter().map(|worker| worker.counters.snapshot().events_lost).sum(),
        }
    }
}
