//! What a worker shows, and what it is shown.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};

use crossbeam::atomic::AtomicCell;
use crossbeam::queue::ArrayQueue;

use super::Desk;
use crate::io::region::Backing;
use crate::io::{Census, KernelCounts};
use crate::pipeline::{Counters, Cuts, Event};
use crate::policy::Table;
use crate::policy::read::Loaded;

/// Events a worker keeps for the collector until it comes by.
const EVENTS: usize = 8_192;

/// One worker, as others see it; in lines of its own, as its counters are.
#[derive(Debug)]
#[repr(align(128))]
pub struct WorkerFace {
    /// The queue of both ports it owns.
    pub queue: u32,
    /// The core it is pinned to; `None` if the kernel refused.
    pub core: Option<usize>,
    /// The pages of its flow table.
    pub pages: Backing,
    /// Its counters.
    pub counters: Arc<Counters>,
    /// Its events; bounded, what does not fit is counted.
    pub events: Arc<ArrayQueue<Event>>,
    /// Readings it publishes at most ten times a second.
    pub gauges: AtomicCell<Gauges>,
    /// Generation its latest burst used; 0 before the first.
    pub generation: AtomicU32,
    /// Generation by which it has judged every flow at least once; 0 before the first.
    pub reviewed: AtomicU32,
    /// Flows that are not judged by it yet, for they wait for their opener's next frame. Written before
    /// `reviewed`.
    pub waiting: AtomicU64,
    /// Where its flows are asked for.
    pub desk: Desk,
    /// Flows that a new policy ended.
    pub cuts: Arc<Cuts>,
}

impl WorkerFace {
    /// A worker that has not begun.
    #[must_use]
    pub fn new(queue: u32, core: Option<usize>) -> Self {
        Self::over(queue, core, Arc::new(ArrayQueue::new(EVENTS)), Arc::default())
    }

    /// The same over rings that exist.
    #[must_use]
    pub fn over(queue: u32, core: Option<usize>, events: Arc<ArrayQueue<Event>>, cuts: Arc<Cuts>) -> Self {
        Self {
            queue,
            core,
            pages: Backing::default(),
            counters: Arc::new(Counters::default()),
            events,
            gauges: AtomicCell::new(Gauges::default()),
            generation: AtomicU32::new(0),
            reviewed: AtomicU32::new(0),
            waiting: AtomicU64::new(0),
            desk: Desk::default(),
            cuts,
        }
    }
}

/// Readings a worker publishes from time to time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Socket statistics, by side.
    pub kernel: [KernelCounts; 2],
    /// Where its frames are.
    pub frames: Census,
    /// Live flows.
    pub flows: u64,
    /// Room for flows.
    pub flow_capacity: u64,
    /// Flows given up for new ones because the table was full.
    pub evicted: u64,
    /// Median and 99th percentile of a busy turn of the loop, receive to kick, nanoseconds.
    pub turn_nanos: (u64, u64),
}

/// One generation of policy.
#[derive(Debug)]
pub struct Policy {
    /// Counts up from 1.
    pub generation: u32,
    /// Text and meaning.
    pub loaded: Loaded,
    /// What the workers judge by.
    pub table: Table,
}
