//! `[gate]`: settings of the gate itself, each with its default.
//!
//! What it is: plain numbers for the rooms above, times in nanoseconds. What it is not: it says nothing of
//! who reads them, and bounds are the reader's. Invariant: a key that is not written has the value of
//! `default`; docs/POLICY.md lists them all.

use std::net::IpAddr;

use super::super::verdict::Action;

/// `[gate]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// Unix socket of the API.
    pub socket: std::path::PathBuf,
    /// Frames in flight a queue and direction: fill ring, RX, TX and completion together. A power of
    /// two, 64 to 4096.
    pub rings: u32,
    /// Queues of each port, each with its worker; `None`: as many as both ports spread over and cores are left.
    pub queues: Option<u32>,
    /// Whether cards are asked to bring both directions of a flow to one queue.
    pub symmetric_rss: bool,
    /// Flows the table holds.
    pub flows: u32,
    /// Nanoseconds after which a worker's heartbeat is stale.
    pub heartbeat: u64,
    /// The gate's own addresses: no end of a connection through it.
    pub management: Vec<IpAddr>,
    /// What becomes of link-local addresses beyond housekeeping: forwarded, rules are asked about them.
    pub link_local: Action,
    /// How long after a start TCP that belongs to no flow is answered by a reset; 0: never.
    pub cold_start_reset: u64,
    /// How long a source of the inventory may be silent before its bindings lapse, in nanoseconds.
    pub inventory_limit: u64,
    /// How long what is remembered lives in silence.
    pub timeouts: Timeouts,
    /// How much one party may take.
    pub limits: Limits,
}

impl Gate {
    /// Flows that the table holds where nothing is written.
    const FLOWS: u32 = 65_536;
    /// Silence of a source where nothing is written: a day, which a nightly list fills.
    const SILENCE: u64 = 86_400 * SECOND;

    /// Whether `inventory_limit` is what holds where nothing is written.
    #[must_use]
    pub const fn is_usual_silence(&self) -> bool {
        self.inventory_limit == Self::SILENCE
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            socket: "/run/portcullis/gate.sock".into(),
            rings: 256,
            queues: None,
            symmetric_rss: true,
            flows: Self::FLOWS,
            heartbeat: 500_000_000,
            management: Vec::new(),
            link_local: Action::Drop,
            cold_start_reset: 0,
            inventory_limit: Self::SILENCE,
            timeouts: Timeouts::default(),
            limits: Limits::of(Self::FLOWS),
        }
    }
}

const SECOND: u64 = 1_000_000_000;

/// Silence in nanoseconds after which something is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP whose handshake is not complete.
    pub tcp_opening: u64,
    /// TCP that both ends have spoken on and none has closed.
    pub tcp_established: u64,
    /// TCP of which one end has sent its FIN.
    pub tcp_half_closed: u64,
    /// TCP of which both ends have sent their FIN, not both acknowledged.
    pub tcp_closing: u64,
    /// TCP that is over: what is kept for its last repeats.
    pub tcp_closed: u64,
    /// UDP that only its opener has spoken on.
    pub udp_one_way: u64,
    /// UDP that both ends have spoken on.
    pub udp: u64,
    /// ICMP requests and their replies.
    pub icmp: u64,
    /// Other IP protocols.
    pub other: u64,
    /// A datagram of which not all fragments came, from its first one seen.
    pub fragment: u64,
}

impl Default for Timeouts {
    /// RFC 5382 asks for at least 2 h 4 min of an established TCP connection and 4 min of one being opened
    /// or closed, RFC 4787 for 2 min of UDP; what opens towards a protected zone is kept shorter on purpose.
    /// Fragments: between the 15 s of RFC 791 §3.2 and the 60 s that a receiver waits (RFC 8200 §4.5).
    fn default() -> Self {
        Self {
            tcp_opening: 30 * SECOND,
            tcp_established: 7_440 * SECOND,
            tcp_half_closed: 240 * SECOND,
            tcp_closing: 60 * SECOND,
            tcp_closed: 60 * SECOND,
            udp_one_way: 60 * SECOND,
            udp: 180 * SECOND,
            icmp: 10 * SECOND,
            other: 60 * SECOND,
            fragment: 30 * SECOND,
        }
    }
}

/// How much one party may take; of the whole gate, all workers together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Half-open TCP connections of one destination.
    pub half_open: u32,
    /// New flows a second of one source, in the long run.
    pub new_flows_per_source: u32,
    /// New flows at once of one source, after a pause.
    pub new_flows_burst: u32,
    /// Flows of one source, of those that the table holds.
    pub flows_per_source: u32,
    /// Flows opened from outside, by all together, of those that the table holds.
    pub flows_from_outside: u32,
    /// Incomplete datagrams.
    pub datagrams: u32,
    /// Incomplete datagrams of one source.
    pub datagrams_per_source: u32,
    /// Fragments that wait for their first.
    pub held_fragments: u32,
    /// Fragments of one source that wait for their first.
    pub held_fragments_per_source: u32,
    /// Replies a second, and at once after a pause, to all together.
    pub replies: u32,
    /// The same to one source of what is refused.
    pub replies_per_source: u32,
}

impl Limits {
    /// What holds in a table of so many flows where nothing is written: as many half-open connections as a
    /// Linux host's own backlog, a quarter of the table a source, three quarters for all that is outside.
    #[must_use]
    pub fn of(flows: u32) -> Self {
        Self {
            half_open: 4_096,
            new_flows_per_source: 10_000,
            new_flows_burst: 10_000,
            flows_per_source: share(flows, 25),
            flows_from_outside: share(flows, 75),
            datagrams: 8_192,
            datagrams_per_source: 1_024,
            held_fragments: 256,
            held_fragments_per_source: 64,
            replies: 1_000,
            replies_per_source: 20,
        }
    }
}

/// So many of a hundred, at least one.
#[must_use]
pub fn share(of: u32, percent: u32) -> u32 {
    u32::try_from(u64::from(of) * u64::from(percent.min(100)) / 100).unwrap_or(of).max(1)
}
