//! Loads for a worker over memory ports: what its packets meet, and frames of product size for them.
//!
//! What it is: a [`Stage`] holds a worker whose flows are known, and lets it take 256 frames at a time, which
//! is what the product has in flight. Frames are written before the clock is read and taken out after it.
//! What it is not: no kernel and no device. UDP checksums are not kept right: the gate does not read them.

use std::hint::black_box;

use clap::ValueEnum;
use etherparse::PacketBuilder;
use portcullis::flow::Region;
use portcullis::io::clock::{Reading, boot_nanos};
use portcullis::io::memory::Drain;
use portcullis::io::region;
use portcullis::io::{BURST, QueuePair};
use portcullis::pipeline::{Reason, SideSnapshot};
use portcullis::policy::{Moment, diagnostic};
use portcullis::wire::Side;
use portcullis::worker::Policy;

use crate::memory::{self, Rig, START, Shape};
use crate::statistics::SplitMix;

const POLICY: &str = include_str!("policy/gate.toml");

/// Frames of one direction with the default ring depth: what the product has in flight.
pub(crate) const PRODUCT: u32 = 256;

/// Packets of a turn that is timed.
pub(crate) const PACKETS: u32 = 32_768;

/// Longer than any flow lives without a packet.
const LATER: u64 = 24 * 3600 * 1_000_000_000;

/// Version of the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

/// Lengths of the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lengths {
    /// 64 bytes on the wire; the shortest UDP over IPv6 takes 66.
    Shortest,
    /// 7 : 4 : 1 of 64, 594 and 1 518 bytes on the wire, mixed.
    Imix,
}

impl Lengths {
    pub(crate) const BOTH: [Self; 2] = [Self::Shortest, Self::Imix];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Shortest => "64 B",
            Self::Imix => "IMIX",
        }
    }

    /// Which of the three templates the `nth` frame is.
    fn template(self, nth: u32) -> usize {
        const TWELVE: [usize; 12] = [0, 1, 0, 0, 1, 0, 2, 0, 1, 0, 1, 0];
        match self {
            Self::Shortest => 0,
            Self::Imix => usize::try_from(nth % 12).ok().and_then(|i| TWELVE.get(i)).copied().unwrap_or(0),
        }
    }
}

/// The pages of the flow table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pages {
    /// Of 4 KiB.
    Plain,
    /// As the product asks for them.
    Product,
}

/// What the packets meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meets {
    /// One of so many known flows: in turn if they are as many as frames, else at random.
    Flow(u32),
    /// A known TCP connection, as many as frames.
    Connection,
    /// No flow and no rule: judged and dropped.
    Denial,
    /// No flow: judged and learnt. So many at most.
    Nothing(u32),
    /// One of so many flows at random, whose time is over: judged and learnt again.
    Ended(u32),
    /// Nine in ten one of so many known flows at random, one in ten nothing.
    Mixed(u32),
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StageError {
    #[error("bench/policy/gate.toml does not load: {0}")]
    Policy(String),
    #[error("the packets did not take the path {meets:?}: {counts}")]
    Astray { meets: Meets, counts: String },
    #[error("packets of two workers did not go where they should")]
    Lost,
    #[error("of {sent} packets that worker {worker} was given {crossed} crossed")]
    NotCrossed { worker: u32, sent: u64, crossed: u64 },
    #[error("a thread panicked: its message is above")]
    Panicked,
}

/// Frames of one kind, written once; those of a flow differ in source address and port.
pub(crate) struct Templates {
    family: Family,
    /// By length.
    frames: [Vec<u8>; 3],
}

const SENDER: [u8; 6] = [2, 0, 0, 0x77, 0, 1];
const COLLECTOR: [u8; 6] = [2, 0, 0, 0x78, 0, 1];
const FROM4: [u8; 4] = [10, 77, 0, 0];
const TO4: [u8; 4] = [10, 78, 0, 1];
const FROM6: [u8; 16] = [0x20, 1, 0x0d, 0xb8, 0, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const TO6: [u8; 16] = [0x20, 1, 0x0d, 0xb8, 0, 0x78, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const FIRST_PORT: u16 = 1024;
const IPFIX: u16 = 4739;
/// The third and fourth byte of an IPv4 source, the seventh and eighth of an IPv6 one: a network of its own.
const SOURCE: usize = 28;

/// What of a TCP connection a frame is.
#[derive(Clone, Copy)]
enum Segment {
    Syn,
    SynAck,
    Ack,
}

impl Templates {
    pub(crate) fn new(family: Family, meets: Meets) -> Self {
        let port = if meets == Meets::Denial { IPFIX + 1 } else { IPFIX };
        let frames = [60_usize, 590, 1514].map(|length| {
            let builder = PacketBuilder::ethernet2(SENDER, COLLECTOR);
            let (builder, headers) = match family {
                Family::V4 => (builder.ipv4(FROM4, TO4, 64), 14 + 20 + 8),
                Family::V6 => (builder.ipv6(FROM6, TO6, 64), 14 + 40 + 8),
            };
            let mut frame = Vec::with_capacity(length);
            // A Vec takes everything that is written to it, and these lengths fit.
            let _ =
                builder.udp(FIRST_PORT, port).write(&mut frame, &vec![0; length.saturating_sub(headers)]);
            frame
        });
        Self { family, frames }
    }

    /// Writes the frame of a flow.
    pub(crate) fn write(&self, flow: u32, template: usize, into: &mut Vec<u8>) {
        into.clear();
        into.extend_from_slice(self.frames.get(template).map_or(&[][..], Vec::as_slice));
        let [p0, p1, low @ ..] = flow.to_be_bytes();
        let port = FIRST_PORT.wrapping_add(u16::from_be_bytes([p0, p1])).to_be_bytes();
        put(into, SOURCE, low);
        match self.family {
            Family::V4 => {
                put(into, 34, port);
                put(into, 24, [0, 0]);
                let sum: u32 = into
                    .get(14..34)
                    .unwrap_or_default()
                    .as_chunks::<2>()
                    .0
                    .iter()
                    .map(|word| u32::from(u16::from_be_bytes(*word)))
                    .sum();
                let sum = (sum & 0xffff) + (sum >> 16);
                let sum = (sum & 0xffff) + (sum >> 16);
                put(into, 24, (!u16::try_from(sum).unwrap_or(0)).to_be_bytes());
            }
            Family::V6 => put(into, 54, port),
        }
    }
}

fn put<const N: usize>(frame: &mut [u8], at: usize, bytes: [u8; N]) {
    if let Some(place) = frame.get_mut(at..at + N) {
        place.copy_from_slice(&bytes);
    }
}

/// The policy of the benchmarks.
pub(crate) fn policy() -> Result<Policy, StageError> {
    let text = POLICY.replace("\"@DEPTH@\"", "256");
    memory::policy(&text, 1).map_err(|rejected| {
        StageError::Policy(diagnostic::render(&rejected.sources, &rejected.diagnostics, false))
    })
}

/// A frame of the handshake or of the data of one of 256 TCP connections.
fn tcp_frame(flow: u32, segment: Segment) -> Vec<u8> {
    let [low, ..] = flow.to_le_bytes();
    let client = [10, 77, 0, low];
    let (builder, ports) = match segment {
        Segment::Syn | Segment::Ack => {
            (PacketBuilder::ethernet2(SENDER, COLLECTOR).ipv4(client, TO4, 64), (FIRST_PORT, IPFIX))
        }
        Segment::SynAck => {
            (PacketBuilder::ethernet2(COLLECTOR, SENDER).ipv4(TO4, client, 64), (IPFIX, FIRST_PORT))
        }
    };
    let tcp = |seq: u32| builder.tcp(ports.0, ports.1, seq, 64_000);
    let tcp = match segment {
        Segment::Syn => tcp(1_000).syn(),
        Segment::SynAck => tcp(5_000).syn().ack(1_001),
        Segment::Ack => tcp(1_001).ack(5_001),
    };
    let mut frame = Vec::new();
    // A Vec takes everything that is written to it. Six bytes fill the shortest frame.
    let _ = match segment {
        Segment::Syn | Segment::SynAck => tcp.write(&mut frame, &[]),
        Segment::Ack => tcp.write(&mut frame, &[0; 6]),
    };
    frame
}

/// A worker with what its packets will meet.
pub(crate) struct Stage {
    rig: Rig,
    meets: Meets,
    lengths: Lengths,
    templates: Templates,
    random: SplitMix,
    /// The next flow that was never seen.
    fresh: u32,
    /// Packets so far that should have crossed, and that should not.
    expected: [u64; 2],
    time: u64,
    buffer: Vec<u8>,
}

/// New flows that the mixed load opens at most: 60 blocks asked for, a tenth of two turns of 32 768 each, three
/// times as many where most are discarded, at two lengths.
const MOST_MIXED: u32 = 60 * 2 * 3_277 * 3 * 2;

impl Stage {
    pub(crate) fn raise(family: Family, meets: Meets, pages: Pages) -> Result<Self, StageError> {
        let policy = policy()?;
        let (known, pool, flows) = match meets {
            // Flows opened outside have three quarters of a table.
            Meets::Flow(flows) => (flows, PRODUCT, (flows + flows / 2).max(4_096)),
            Meets::Ended(flows) => (flows, PRODUCT, flows + flows / 2),
            // Three times as many blocks as are wanted may be measured, at two lengths.
            Meets::Mixed(flows) => (flows, PRODUCT, (flows + MOST_MIXED) / 3 * 4),
            Meets::Connection | Meets::Denial => (0, PRODUCT, 4_096),
            Meets::Nothing(most) => (0, most, most * 2),
        };
        let places = usize::try_from(pool).unwrap_or(usize::MAX);
        let region = match pages {
            Pages::Plain => Region::plain,
            Pages::Product => |flows| region::flows(flows).0,
        };
        let shape = Shape { pool, tx_ring: places, drain: Drain::Keep, flows, region, ..Shape::default() };
        let mut stage = Self {
            rig: Rig::new(policy, shape),
            meets,
            lengths: Lengths::Shortest,
            templates: Templates::new(family, meets),
            random: SplitMix(7),
            fresh: known,
            expected: [0; 2],
            time: START,
            buffer: Vec::new(),
        };
        for first in (0..known).step_by(256) {
            for flow in first..known.min(first + PRODUCT) {
                stage.offer(flow, 0);
                stage.expect(1);
            }
            stage.turns(PRODUCT);
            stage.clear();
        }
        if meets == Meets::Connection {
            stage.shake_hands();
        }
        stage.check()?;
        Ok(stage)
    }

    /// The same stage with frames of these lengths.
    pub(crate) fn lengths(&mut self, lengths: Lengths) {
        self.lengths = lengths;
    }

    /// Frames in the rig that are received again and again, each as it was written: a load for an
    /// instruction counter. Of those that were never seen there are as many as the pool holds.
    pub(crate) fn cycle(&mut self) {
        match self.meets {
            Meets::Connection => {
                for flow in 0..PRODUCT {
                    self.rig.offer(Side::Outside, &tcp_frame(flow, Segment::Ack));
                }
            }
            Meets::Nothing(most) => {
                for flow in 0..most {
                    self.offer(flow, 0);
                }
            }
            Meets::Flow(_) | Meets::Denial | Meets::Ended(_) | Meets::Mixed(_) => {
                for flow in 0..PRODUCT {
                    self.offer(flow, self.lengths.template(flow));
                }
            }
        }
        self.rig.worker.queues().set_drain(Drain::Cycle);
    }

    /// Takes 256 of the frames that cycle.
    pub(crate) fn pass(&mut self) {
        self.turns(PRODUCT);
        self.expect(u64::from(PRODUCT));
    }

    /// So many packets more that take this stage's path.
    fn expect(&mut self, packets: u64) {
        let [crossed, denied] = &mut self.expected;
        *if self.meets == Meets::Denial { denied } else { crossed } += packets;
    }

    /// Nanoseconds that so many packets take, frames written before and taken out after the clock is read.
    pub(crate) fn time(&mut self, packets: u32) -> u64 {
        let mut nanos = 0;
        for _ in 0..packets.div_ceil(PRODUCT) {
            if matches!(self.meets, Meets::Ended(_)) {
                self.time += LATER;
            }
            for nth in 0..PRODUCT {
                let flow = match self.meets {
                    Meets::Flow(PRODUCT) | Meets::Connection | Meets::Denial => nth,
                    Meets::Flow(flows) | Meets::Ended(flows) => self.draw(flows),
                    Meets::Mixed(flows) if nth % 10 != 9 => self.draw(flows),
                    Meets::Mixed(_) | Meets::Nothing(_) => {
                        self.fresh += 1;
                        self.fresh - 1
                    }
                };
                self.offer(flow, self.lengths.template(nth));
                self.expect(1);
            }
            let start = boot_nanos();
            self.turns(PRODUCT);
            nanos += boot_nanos() - start;
            self.clear();
        }
        nanos
    }

    /// Every packet so far went where its path says.
    pub(crate) fn check(&mut self) -> Result<(), StageError> {
        let snapshot = self.rig.face.counters.snapshot();
        let [outside, inside] = &snapshot.sides;
        let [crossed, denied] = self.expected;
        let dropped = outside.dropped.get(Reason::NoRule.index()).copied().unwrap_or(0);
        let right = outside.forwarded_packets + inside.forwarded_packets == crossed && dropped == denied;
        let whole = outside.rx_packets + inside.rx_packets == crossed + denied && outside.balances();
        if right && whole && self.rig.worker.queues().census().held == 0 {
            Ok(())
        } else {
            let counts = counts(outside, crossed, denied);
            Err(StageError::Astray { meets: self.meets, counts })
        }
    }

    fn draw(&mut self, flows: u32) -> u32 {
        let flows = usize::try_from(flows).unwrap_or(1);
        u32::try_from(self.random.below(flows)).unwrap_or(0)
    }

    fn offer(&mut self, flow: u32, template: usize) {
        self.templates.write(flow, template, &mut self.buffer);
        self.rig.worker.queues().inject(Side::Outside, &self.buffer);
    }

    fn turns(&mut self, packets: u32) {
        let reading = Reading { boot: self.time, now: Moment(self.time) };
        for _ in 0..usize::try_from(packets).unwrap_or(0) / BURST {
            black_box(self.rig.worker.turn(black_box(&reading)));
        }
    }

    fn clear(&mut self) {
        for side in Side::BOTH {
            while self.rig.worker.queues().take_sent(side).is_some() {}
        }
        // Whoever reads events would have.
        while self.rig.event().is_some() {}
    }

    fn shake_hands(&mut self) {
        for segment in [Segment::Syn, Segment::SynAck, Segment::Ack] {
            for flow in 0..PRODUCT {
                let side = match segment {
                    Segment::Syn | Segment::Ack => Side::Outside,
                    Segment::SynAck => Side::Inside,
                };
                self.rig.worker.queues().inject(side, &tcp_frame(flow, segment));
                self.expect(1);
            }
            self.turns(PRODUCT);
            self.clear();
        }
    }
}

fn counts(side: &SideSnapshot, crossed: u64, denied: u64) -> String {
    let dropped: Vec<String> = Reason::ALL
        .iter()
        .filter_map(|r| {
            side.dropped.get(r.index()).filter(|n| **n > 0).map(|n| format!("{} {n}", r.name()))
        })
        .collect();
    format!(
        "{crossed} should have crossed and {denied} not; {} received, {} forwarded, dropped {}",
        side.rx_packets,
        side.forwarded_packets,
        dropped.join(", ")
    )
}
