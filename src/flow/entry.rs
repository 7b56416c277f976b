//! One connection.

use crate::policy::{Moment, Verdict};
use crate::wire::{Ip, L4, Mac, Service, Side, TcpFlags};

const SECOND: u64 = 1_000_000_000;

/// How far a connection has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Only its opener has spoken.
    Opening,
    /// Both ends have.
    Open,
    /// TCP: both ends have sent FIN, or one a RST. Ends one second after that, whatever comes.
    Closing,
}

/// What is remembered of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// What policy said, for the direction of its opener.
    pub verdict: Verdict,
    /// Generation of the table that said so.
    pub generation: u32,
    /// The end `a` of its key opened it.
    pub opened_by_a: bool,
    /// The side its opener lives on.
    pub opener_side: Side,
    /// The MAC of the opening frame.
    pub opener_mac: Mac,
    /// The service it was judged for.
    pub service: Service,
    /// Its first packet was not seen: the opener is a guess.
    pub unseen: bool,
    /// How it stands.
    pub phase: Phase,
    /// When it was opened.
    pub started: Moment,
    /// When its latest packet passed; under [`Phase::Closing`] when it closed.
    pub seen: Moment,
    /// Packets from opener and from responder.
    pub packets: [u64; 2],
    /// Bytes, likewise.
    pub bytes: [u64; 2],
    fins: u8,
}

impl Entry {
    /// A flow about to be inserted, before its first packet is counted.
    #[must_use]
    pub const fn new(
        verdict: Verdict,
        generation: u32,
        opened_by_a: bool,
        opener_side: Side,
        opener_mac: Mac,
        service: Service,
        now: Moment,
    ) -> Self {
        Self {
            verdict,
            generation,
            opened_by_a,
            opener_side,
            opener_mac,
            service,
            unseen: false,
            phase: Phase::Opening,
            started: now,
            seen: now,
            packets: [0; 2],
            bytes: [0; 2],
            fins: 0,
        }
    }

    /// The side the sender of a packet must arrive on.
    #[must_use]
    pub const fn side_of(&self, from_a: bool) -> Side {
        if from_a == self.opened_by_a { self.opener_side } else { self.opener_side.other() }
    }

    /// Whether the answer it holds must be asked for again before its next packet.
    #[must_use]
    pub fn is_stale(&self, generation: u32, now: Moment) -> bool {
        self.generation != generation || now >= self.verdict.judge_at
    }

    /// Silence after which it ends, nanoseconds. RFC 5382 and RFC 4787 ask for at least 2 h 4 min of an
    /// established TCP connection, 4 min of one being opened, 2 min of UDP; what opens towards a
    /// protected zone is kept shorter on purpose.
    #[must_use]
    pub const fn timeout(&self) -> u64 {
        match (self.service.protocol, self.phase) {
            (6, Phase::Opening) => 30 * SECOND,
            (6, Phase::Open) => 7_440 * SECOND,
            (6, Phase::Closing) => SECOND,
            (17, Phase::Open) => 180 * SECOND,
            (1 | 58, _) => 10 * SECOND,
            _ => 60 * SECOND,
        }
    }

    /// Whether it has ended by silence or by its close.
    #[must_use]
    pub fn has_ended(&self, now: Moment) -> bool {
        now.0 > self.seen.0.saturating_add(self.timeout())
    }

    /// Whether this packet begins a new connection on the same 5-tuple.
    #[must_use]
    pub fn is_succeeded_by(&self, ip: &Ip) -> bool {
        match ip.l4 {
            L4::Tcp(tcp) => self.phase == Phase::Closing && tcp.flags.opens(),
            L4::Udp { .. } | L4::Icmp(_) | L4::Other | L4::Absent => false,
        }
    }

    /// Takes a packet that will be sent into account. A packet that will not be must not be told.
    pub fn advance(&mut self, ip: &Ip, from_a: bool, length: u32, now: Moment) {
        let direction = usize::from(from_a != self.opened_by_a);
        if let (Some(packets), Some(bytes)) =
            (self.packets.get_mut(direction), self.bytes.get_mut(direction))
        {
            *packets += 1;
            *bytes += u64::from(length);
        }
        if self.phase == Phase::Closing {
            return;
        }
        self.seen = now;
        if direction == 1 {
            self.phase = Phase::Open;
        }
        if let L4::Tcp(tcp) = ip.l4 {
            if tcp.flags.has(TcpFlags::FIN) {
                self.fins |= 1 << direction;
            }
            if self.fins == 0b11 || tcp.flags.has(TcpFlags::RST) {
                self.phase = Phase::Closing;
            }
        }
    }
}
