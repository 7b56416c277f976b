//! What an entry means: who opened a flow, what was judged of it, how far it has got.

use crate::wire::protocol::{TCP, icmp_of};
use std::net::IpAddr;

use super::bucket::Class;
use super::limits::HalfOpenSlot;
use super::slot::{Head, mode_bits, read_rule_word, rule_word};
use super::tcp::{Phase, Step, Track};
use super::{Flags, Slot, Timeouts};
use crate::policy::{Denial, Mode, RuleNumber, Verdict};
use crate::wire::{Key, Query, Service, Side, Tcp};

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
    /// What was seen of its first packet.
    pub first: First,
    /// Where TCP stands after its first segment; `None` for other protocols.
    pub track: Option<Track>,
}

/// What was seen of a flow's first packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// The packet itself.
    Seen,
    /// A later one: the opener is a guess.
    Missed,
    /// Only an echo's reply, and who sent that is taken for the opener.
    Answered,
}

impl First {
    /// It was not seen.
    #[must_use]
    pub const fn is_unseen(self) -> bool {
        match self {
            Self::Seen => false,
            Self::Missed | Self::Answered => true,
        }
    }
}

/// What an entry becomes when a packet of its flow is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A TCP segment that was judged by [`Track::step`]: how, and what to remember then.
    Tcp(Step, Track),
    /// A packet of another protocol, or one that is remembered for its count only.
    Packet,
}

/// In the place of TCP's states, which a question has none of: its opener sent an answer.
const ANSWERS: u8 = 1;

impl Slot {
    /// Writes a new flow over whatever was there. It is live last: who is stopped half-way leaves no flow.
    pub(super) fn open(&mut self, key: &Key, opening: &Opening, place: Option<HalfOpenSlot>, tick: u32) {
        let Judgement { denial, mode, rule, generation, judge_at } = opening.judgement;
        let opened_outside = opening.side == Side::Outside;
        // All at once: one by one each flag is a load and a store.
        let flags = Flags::A_OPENED.when(opening.by_a)
            | Flags::A_OUTSIDE.when(opening.by_a == opened_outside)
            | Flags::MAC_TRUE.when(opening.mac_true)
            | Flags::UNSEEN.when(opening.first.is_unseen())
            | Flags::WOULD_DROP.when(denial.is_some())
            | mode_bits(mode);
        let states = if opening.first == First::Answered { ANSWERS } else { 0 };
        let head = Head { generation, judge_at, seen: tick, flags, states, scales: 0 };
        self.begin(key, head, rule_word(denial, rule), tick);
        if let Some(track) = &opening.track {
            self.set_track(track);
        }
        if let Some(place) = place {
            self.set(Flags::HALF_OPEN, true);
            self.set_half_open(place.number());
        }
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

    /// Address and port of both ends, its opener's first.
    #[must_use]
    pub fn ends(&self) -> [(IpAddr, u16); 2] {
        self.opener_first(self.key().ends())
    }

    /// Packets and bytes that its opener sent, and its target.
    #[must_use]
    pub fn traffic(&self) -> [(u64, u64); 2] {
        self.opener_first(self.counts())
    }

    /// What its opener asked for, or answered: ICMP of which only the answer was seen is an answer.
    #[must_use]
    pub fn opened_service(&self) -> Service {
        let [(_, sport), (_, dport)] = self.ends();
        let key = self.key();
        let (sport, dport) = if self.is_query() {
            let answers = self.answers();
            let query = if answers { Query::between(dport, sport) } else { Query::between(sport, dport) };
            let [asked, answered] = query.and_then(|query| query.types(key.is_v6())).unwrap_or_default();
            (0, u16::from_be_bytes([if answers { answered } else { asked }, 0]))
        } else {
            (sport, dport)
        };
        Service { protocol: key.protocol(), sport, dport, readable: true }
    }

    /// An ICMP question with its answers. Over the other family's header either ICMP is a protocol like any other.
    #[must_use]
    pub fn is_query(&self) -> bool {
        let key = self.key();
        key.protocol() == icmp_of(key.is_v6())
    }

    /// Its opener sent an answer of ICMP: the question was not seen.
    #[must_use]
    pub fn answers(&self) -> bool {
        self.is_query() && self.head.states == ANSWERS
    }

    fn opener_first<T>(&self, [a, b]: [T; 2]) -> [T; 2] {
        if self.opened_by_a() { [a, b] } else { [b, a] }
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

    /// How far it has got; of other protocols than TCP, whether both ends have spoken.
    #[must_use]
    pub fn phase(&self) -> Phase {
        if self.key().protocol() == TCP {
            Phase::of(self.head.states)
        } else if self.has(Flags::CONFIRMED) {
            Phase::Established
        } else {
            Phase::Opening
        }
    }

    /// What is remembered of its TCP connection; `None` for other protocols.
    #[must_use]
    pub fn track(&self) -> Option<Track> {
        (self.key().protocol() == TCP).then(|| Track {
            states: self.head.states,
            scales: self.head.scales,
            window: *self.window(),
            challenge: if self.has(Flags::HALF_OPEN) { 0 } else { self.half_open() },
            unseen: self.has(Flags::UNSEEN),
            resync: [self.has(Flags::RESYNC_A), self.has(Flags::RESYNC_B)],
            confirmed: self.has(Flags::CONFIRMED),
        })
    }

    fn set_track(&mut self, track: &Track) {
        let [resync_a, resync_b] = track.resync;
        self.head.states = track.states;
        self.head.scales = track.scales;
        *self.window_mut() = track.window;
        self.set(Flags::UNSEEN, track.unseen);
        self.set(Flags::RESYNC_A, resync_a);
        self.set(Flags::RESYNC_B, resync_b);
        self.set(Flags::CONFIRMED, track.confirmed);
        if !self.has(Flags::HALF_OPEN) {
            self.set_half_open(track.challenge);
        }
    }

    /// The next segment of each direction is taken as it is: what passed unchecked has left the windows
    /// behind.
    pub fn resync(&mut self) {
        self.set(Flags::RESYNC_A, true);
        self.set(Flags::RESYNC_B, true);
    }

    /// Both ends have spoken: TCP, the handshake is complete in window.
    #[must_use]
    pub const fn is_confirmed(&self) -> bool {
        self.has(Flags::CONFIRMED)
    }

    /// Its place among the half-open, while it is one of them.
    pub(super) fn half_open_place(&self) -> Option<HalfOpenSlot> {
        if self.has(Flags::HALF_OPEN) { HalfOpenSlot::from_number(self.half_open()) } else { None }
    }

    /// Gives up its place among the half-open; whoever is given it takes it off once.
    pub(super) fn leave_half_open(&mut self) -> Option<HalfOpenSlot> {
        let place = self.half_open_place()?;
        self.set(Flags::HALF_OPEN, false);
        self.set_half_open(0);
        Some(place)
    }

    /// Whether the end `a` opened it, and the side that its opener lives on.
    pub(super) fn opener(&self) -> (bool, Side) {
        let by_a = self.opened_by_a();
        (by_a, self.side_of(by_a))
    }

    /// Makes the other end its opener.
    pub(super) fn turn(&mut self) {
        self.set(Flags::A_OPENED, !self.has(Flags::A_OPENED));
        if self.is_query() {
            self.head.states ^= ANSWERS;
        }
    }

    /// How evictable it is.
    pub(super) fn class(&self) -> Class {
        if self.phase() == Phase::Closed {
            Class::Closed
        } else if self.has(Flags::CONFIRMED) {
            Class::Confirmed
        } else {
            Class::Unconfirmed
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

    /// Takes a plain packet into account if it is an ordinary one of an ordinary flow: judged under the policy
    /// in force, on its side, within its time and its window, with nothing to decide. False: nothing was
    /// touched, and all the stages must look at it. The caller sends what passes.
    #[must_use]
    #[inline]
    pub fn pass(
        &mut self,
        now: Now,
        (from_a, side): (bool, Side),
        tcp: Option<&Tcp>,
        length: u32,
        timeouts: &Timeouts,
    ) -> bool {
        let ordinary = !self.is_stale(now) && !self.has(Flags::WOULD_DROP) && self.side_of(from_a) == side;
        if !ordinary {
            return false;
        }
        let silent = now.tick.wrapping_sub(self.head.seen);
        if let Some(tcp) = tcp {
            let Head { states, scales, flags, .. } = self.head;
            let resync = flags & (Flags::RESYNC_A.0 | Flags::RESYNC_B.0) != 0;
            let window = self.window_mut();
            match window.carry(states, scales, resync, tcp, from_a) {
                Some(sent) if silent < timeouts.tcp_established => window.commit(from_a, sent),
                Some(_) | None => return false,
            }
        } else {
            let confirmed = self.has(Flags::CONFIRMED);
            let limit = if confirmed { timeouts.udp_open } else { timeouts.udp_opening };
            // The first answer confirms the flow.
            if silent >= limit || !confirmed && from_a != self.has(Flags::A_OPENED) {
                return false;
            }
        }
        self.head.seen = now.tick;
        self.count(from_a, length);
        true
    }

    /// Takes a packet that will be sent into account. A packet that will not be must not be told. True: its
    /// class changed.
    pub(super) fn advance(&mut self, progress: &Progress, from_a: bool, length: u32, tick: u32) -> bool {
        let before = self.class();
        self.count(from_a, length);
        match progress {
            Progress::Tcp(step, track) => {
                self.set_track(track);
                if *step != Step::PassAside {
                    self.head.seen = tick;
                }
            }
            Progress::Packet => {
                self.head.seen = tick;
                if self.key().protocol() != TCP && from_a != self.opened_by_a() {
                    self.set(Flags::CONFIRMED, true);
                }
            }
        }
        self.class() != before
    }
}
