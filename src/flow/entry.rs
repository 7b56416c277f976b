//! What an entry means: who opened a flow, what was judged of it, how far it has got.

use super::slot::{mode_bits, read_rule_word, rule_word};
use super::{Flags, Slot, Timeouts};
use crate::policy::{Denial, Mode, RuleNumber, Verdict};
use crate::wire::{Ip, L4, Side, Tcp, TcpFlags};

/// Time and policy, as entries are held against them: the same for all packets of a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// `CLOCK_BOOTTIME` in units of 2^24 ns, 16.8 ms. It wraps after 834 days; only differences count.
    pub tick: u32,
    /// Generation of the policy in force.
    pub generation: u32,
}

/// Nanoseconds of a tick, as a shift.
const TICK_SHIFT: u32 = 24;

/// The tick of a `CLOCK_BOOTTIME` reading in nanoseconds.
#[must_use]
#[inline]
pub fn tick(boot_nanos: u64) -> u32 {
    let ticks = boot_nanos >> TICK_SHIFT;
    u32::try_from(ticks & u64::from(u32::MAX)).unwrap_or(0)
}

/// A span of nanoseconds in whole ticks, rounded down: what is due is never late.
#[must_use]
pub fn ticks_in(nanos: u64) -> u32 {
    u32::try_from(nanos >> TICK_SHIFT).unwrap_or(u32::MAX)
}

/// A verdict as an entry keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Why it should not cross; `None`: allow.
    pub denial: Option<Denial>,
    /// The mode that governs it.
    pub mode: Mode,
    /// The rule that decided.
    pub rule: RuleNumber,
    /// Generation of the table that said so.
    pub generation: u32,
    /// The tick from which it must be asked again, at most 2^31 − 1 from now.
    pub judge_at: u32,
}

impl Judgement {
    /// A verdict under a generation, `left` nanoseconds before it could change.
    #[must_use]
    pub fn new(verdict: &Verdict, now: Now, left: u64) -> Self {
        const FARTHEST: u32 = u32::MAX >> 1;
        Self {
            denial: verdict.denial,
            mode: verdict.mode,
            rule: verdict.rule,
            generation: now.generation,
            // Asking too early is harmless, and what never changes is asked again after 417 days.
            judge_at: now.tick.wrapping_add(ticks_in(left).min(FARTHEST)),
        }
    }
}

/// A flow about to be inserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// What policy said, for the direction of its opener.
    pub judgement: Judgement,
    /// The end `a` of its key opened it.
    pub by_a: bool,
    /// The side its opener lives on.
    pub side: Side,
    /// The opening frame's MAC is one of those written for its source.
    pub mac_true: bool,
    /// Its first packet was not seen: the opener is a guess.
    pub unseen: bool,
}

/// How far a connection has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Only its opener has spoken.
    Opening,
    /// Both ends have.
    Open,
    /// TCP: both ends have sent FIN, or one a RST.
    Closing,
}

const OPEN: u8 = 1;
const CLOSING: u8 = 2;
const PHASE: u8 = 0b11;
const FIN_A: u8 = 1 << 4;
const FIN_B: u8 = 1 << 5;

impl Slot {
    /// Writes a new flow over whatever was there. It is live last: who is stopped half-way leaves no flow.
    pub(super) fn open(&mut self, key: &crate::wire::Key, opening: &Opening, tick: u32) {
        self.begin(key);
        let opened_outside = opening.side == Side::Outside;
        self.set(Flags::A_OPENED, opening.by_a);
        self.set(Flags::A_OUTSIDE, opening.by_a == opened_outside);
        self.set(Flags::MAC_TRUE, opening.mac_true);
        self.set(Flags::UNSEEN, opening.unseen);
        self.head.seen = tick;
        self.set_started(tick);
        self.judge(&opening.judgement);
        std::sync::atomic::compiler_fence(std::sync::atomic::Ordering::Release);
        self.set(Flags::LIVE, true);
    }

    /// Takes a new answer of the policy.
    pub fn judge(&mut self, judgement: &Judgement) {
        self.head.generation = judgement.generation;
        self.head.judge_at = judgement.judge_at;
        self.head.flags =
            self.head.flags & !(Flags::SIMULATE.0 | Flags::ENFORCE.0) | mode_bits(judgement.mode);
        self.set(Flags::WOULD_DROP, judgement.denial.is_some());
        self.set_rule_word(rule_word(judgement.denial, judgement.rule));
    }

    /// Why enforcement would drop its packets.
    #[must_use]
    pub fn denial(&self) -> Option<Denial> {
        if self.has(Flags::WOULD_DROP) { read_rule_word(self.rule_word()).0 } else { None }
    }

    /// The rule that decided.
    #[must_use]
    pub fn rule(&self) -> RuleNumber {
        read_rule_word(self.rule_word()).1
    }

    /// The mode that governs it.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        if self.has(Flags::ENFORCE) {
            Mode::Enforce
        } else if self.has(Flags::SIMULATE) {
            Mode::Simulate
        } else {
            Mode::Observe
        }
    }

    /// Generation of the table that judged it.
    #[must_use]
    pub const fn generation(&self) -> u32 {
        self.head.generation
    }

    /// The end `a` of its key opened it.
    #[must_use]
    pub const fn opened_by_a(&self) -> bool {
        self.has(Flags::A_OPENED)
    }

    /// The side the sender of a packet must arrive on.
    #[must_use]
    #[inline]
    pub fn side_of(&self, from_a: bool) -> Side {
        if self.has(Flags::A_OUTSIDE) == from_a { Side::Outside } else { Side::Inside }
    }

    /// Its first packet was not seen.
    #[must_use]
    pub const fn is_unseen(&self) -> bool {
        self.has(Flags::UNSEEN)
    }

    /// The opener's MAC was one of those written for it, when its latest packet was judged.
    #[must_use]
    pub const fn is_mac_true(&self) -> bool {
        self.has(Flags::MAC_TRUE)
    }

    /// Notes whether the opener's MAC is one of those written for it.
    pub fn set_mac_true(&mut self, is: bool) {
        self.set(Flags::MAC_TRUE, is);
    }

    /// Whether its answer must be asked for again before its next packet.
    #[must_use]
    #[inline]
    pub const fn is_stale(&self, now: Now) -> bool {
        self.head.generation != now.generation
            || self.head.judge_at.wrapping_sub(now.tick).wrapping_sub(1) >= u32::MAX >> 1
    }

    /// How far it has got.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        match self.head.states & PHASE {
            CLOSING => Phase::Closing,
            OPEN => Phase::Open,
            _ => Phase::Opening,
        }
    }

    /// The tick of its latest packet.
    #[must_use]
    pub const fn seen(&self) -> u32 {
        self.head.seen
    }

    /// Whether it has ended by silence or by its close.
    #[must_use]
    pub fn has_ended(&self, tick: u32, timeouts: &Timeouts) -> bool {
        tick.wrapping_sub(self.head.seen) >= timeouts.of(self.key().protocol(), self.phase())
    }

    /// Whether this packet begins a new connection on the same 5-tuple.
    #[must_use]
    pub fn is_succeeded_by(&self, ip: &Ip) -> bool {
        match ip.l4 {
            L4::Tcp(tcp) => self.phase() == Phase::Closing && tcp.flags.opens(),
            L4::Udp { .. } | L4::Icmp(_) | L4::Other | L4::Absent => false,
        }
    }

    /// Whether a plain packet is an ordinary one of an ordinary flow: judged under the policy in force, on
    /// its side, within its time, nothing to decide. Only then may it be [`Self::pass`]ed.
    #[must_use]
    #[inline]
    pub fn is_ordinary(
        &self,
        now: Now,
        from_a: bool,
        side: Side,
        tcp: Option<&Tcp>,
        timeouts: &Timeouts,
    ) -> bool {
        let open = self.head.states == OPEN;
        let opening = self.head.states == 0 && from_a == self.has(Flags::A_OPENED);
        let (limit, settled) = match tcp {
            Some(_) => (timeouts.tcp_open, open),
            None if open => (timeouts.udp_open, true),
            None => (timeouts.udp_opening, opening),
        };
        settled
            && !self.is_stale(now)
            && !self.has(Flags::WOULD_DROP)
            && self.side_of(from_a) == side
            && now.tick.wrapping_sub(self.head.seen) < limit
    }

    /// Takes an ordinary packet that will be sent into account.
    #[inline]
    pub fn pass(&mut self, from_a: bool, length: u32, tick: u32) {
        self.head.seen = tick;
        self.count(from_a, length);
    }

    /// Takes a packet that will be sent into account. A packet that will not be must not be told. True: its
    /// class changed.
    pub(super) fn advance(&mut self, ip: &Ip, from_a: bool, length: u32, tick: u32) -> bool {
        self.count(from_a, length);
        if self.phase() == Phase::Closing {
            return false;
        }
        self.head.seen = tick;
        let before = self.phase();
        if from_a != self.opened_by_a() {
            self.head.states |= OPEN;
            self.set(Flags::CONFIRMED, true);
        }
        if let L4::Tcp(tcp) = ip.l4 {
            if tcp.flags.has(TcpFlags::FIN) {
                self.head.states |= if from_a { FIN_A } else { FIN_B };
            }
            let both = FIN_A | FIN_B;
            if self.head.states & both == both || tcp.flags.has(TcpFlags::RST) {
                self.head.states = self.head.states & !PHASE | CLOSING;
            }
        }
        self.phase() != before
    }
}
