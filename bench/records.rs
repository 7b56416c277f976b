//! The lines of a results file: one JSON object each, in the order they were measured.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What stands between the ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Portcullis with the whole policy of `bench/policy/`.
    Gate,
    /// Two `AF_XDP` sockets and nothing else.
    Forwarder,
    /// The kernel's bridge, without filter.
    Bridge,
}

/// One line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "lowercase")]
pub(crate) enum Record {
    /// The run: first line of a file.
    Run(Run),
    /// One device's turn.
    Turn {
        /// Which block.
        block: u32,
        /// What stood.
        device: Kind,
        /// Frames in flight at most, each direction; 0 where there is no such bound.
        depth: u32,
        /// What it did.
        #[serde(flatten)]
        turn: Turn,
    },
    /// A stream of TCP between two hosts, right after a turn.
    Bulk {
        /// Which block.
        block: u32,
        /// What stood.
        device: Kind,
        /// As of a turn.
        depth: u32,
        /// Payload received, bits a second.
        bits: f64,
    },
    /// A block is over.
    Block(Block),
}

/// What a run is for, and so what it is held against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Purpose {
    /// Gate beside forwarder and bridge.
    #[default]
    Veth,
    /// The curve over ring depths: nothing is promised of it.
    Rings,
    /// More than the gate forwards without loss, offered to every device.
    Overload,
}

/// What was run, where.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    /// What it is for.
    #[serde(default)]
    pub(crate) purpose: Purpose,
    /// The command.
    pub(crate) command: String,
    /// Processor, count of cores, kernel.
    pub(crate) machine: String,
    /// When it began.
    pub(crate) date: String,
    /// Source it was built from.
    pub(crate) source: String,
    /// Length on the wire.
    pub(crate) frame: usize,
    /// 5-tuples.
    pub(crate) flows: u64,
    /// Frames a second offered in the second phase.
    pub(crate) offered: u64,
}

/// How a block went.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Block {
    /// Which.
    pub(crate) number: u32,
    /// Share of processor time that the hypervisor took.
    pub(crate) stolen: f64,
    /// Share of processor time that others used just before it.
    pub(crate) background: f64,
    /// What the generator's core and the device's got done just before it, in steps a microsecond.
    #[serde(default)]
    pub(crate) width: [f64; 2],
    /// Too much was stolen: its turns are not used.
    pub(crate) discarded: bool,
}

/// What a device did in its turn. Rates in frames a second, times in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Turn {
    /// Forwarded while the generator gave all it could.
    pub(crate) most: f64,
    /// Offered then.
    pub(crate) most_offered: f64,
    /// Forwarded at the offered rate of the run.
    pub(crate) overload: f64,
    /// Made by the generator then.
    #[serde(default)]
    pub(crate) overload_made: f64,
    /// Of those, taken by the first veth: the ring of its peer was not full.
    pub(crate) overload_offered: f64,
    /// Median one-way time then.
    pub(crate) p50: f64,
    /// 99th percentile then.
    pub(crate) p99: f64,
    /// Forwarded in the best trial that lost no more than one in a thousand; `None`: not searched.
    pub(crate) lossless: Option<f64>,
    /// Frames handed to the first veth in the two phases.
    pub(crate) sent: u64,
    /// Refused by it.
    pub(crate) refused: u64,
    /// Arrived at the sink.
    pub(crate) arrived: u64,
    /// Arrived after a later one.
    pub(crate) reordered: u64,
}
