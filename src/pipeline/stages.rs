//! THE list of stages a burst goes through. Read [`Pipeline::burst`] first.

use std::sync::Arc;

use crossbeam::queue::ArrayQueue;

use super::account::Account;
use super::fragment::{Pieces, Waiting};
use super::openers::Openers;
use super::reply::Answering;
use super::review::Review;
use super::{Counters, Cuts, Event, EventKind, Kind, Outcome, Pass, Reason};
use crate::flow::fragments::FragmentMemory;
use crate::flow::{Batch, FlowId, FlowTable, Hint, Now, Owner, Slot, random_secret};
use crate::policy::{Action, Met, Mode, Moment, RuleNumber, Sender, SenderMac, Table};
use crate::wire::{Facts, Ip, Net, Plain, Service, Side, glimpse, parse};

/// Packets of one burst at most.
pub const BURST: usize = crate::flow::BATCH;

/// Events one burst may record; the rest are counted as lost. Bounds what a flood of drops costs.
const EVENTS_PER_BURST: u32 = 16;

/// What is the same for all packets of a burst: one clock read, one table load.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The policy in force.
    pub table: &'a Table,
    /// Its generation.
    pub generation: u32,
    /// Now.
    pub now: Moment,
    /// The moment that policy is asked about: now, or [`Moment::NEVER`] while no clock can be trusted.
    pub asked: Moment,
    /// Now as flows count time.
    pub tick: u32,
    /// The side the burst arrived on.
    pub side: Side,
}

impl Scene<'_> {
    /// What entries are held against.
    #[inline]
    pub(super) const fn flow_now(&self) -> Now {
        Now { tick: self.tick, generation: self.generation }
    }
}

/// Why a packet should not cross, who says so and what governs it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Objection {
    pub(super) reason: Reason,
    pub(super) mode: Mode,
    pub(super) rule: RuleNumber,
}

/// The stages with the state of one worker.
#[derive(Debug)]
pub struct Pipeline {
    pub(super) flows: FlowTable,
    pub(super) owner: Owner,
    pub(super) me: u32,
    pub(super) counters: Arc<Counters>,
    events: Arc<ArrayQueue<Event>>,
    pub(super) events_left: u32,
    pub(super) fragments: FragmentMemory<Waiting>,
    /// Places of held frames that are free.
    pub(super) shelf: Vec<u32>,
    /// What goes along with fragments, one way and the other.
    pub(super) pieces: Pieces,
    pub(super) answering: Answering,
    pub(super) cuts: Arc<Cuts>,
    pub(super) review: Review,
    /// Room for the glance ahead; `None` takes every packet the long way.
    ahead: Option<Box<Ahead>>,
    /// Of the latest packet that took all the stages.
    pub(super) account: Account,
}

/// What is known of a burst's plain packets before their turn comes.
#[derive(Debug)]
struct Ahead {
    plains: [Plain; BURST],
    batch: Batch,
    openers: Openers,
}

impl Default for Ahead {
    fn default() -> Self {
        Self { plains: [Plain::BLANK; BURST], batch: Batch::default(), openers: Openers::default() }
    }
}

/// A plain packet whose flow was not where it was looked for first.
#[derive(Clone, Copy)]
struct Glance<'a> {
    found: &'a Plain,
    hint: Hint,
    /// What rules say of it, if they were asked ahead of its turn.
    met: Option<&'a Met>,
}

impl Pipeline {
    /// The pipeline of worker `me`.
    #[must_use]
    pub fn new(
        flows: FlowTable,
        owner: Owner,
        me: u32,
        counters: Arc<Counters>,
        events: Arc<ArrayQueue<Event>>,
    ) -> Self {
        let limits = flows.bounds().fragments;
        let answering = Answering::new(flows.bounds());
        let pieces = Pieces::among(&owner);
        Self {
            flows,
            owner,
            me,
            counters,
            events,
            events_left: 0,
            fragments: FragmentMemory::new(limits, random_secret()),
            shelf: (0..limits.held).rev().collect(),
            pieces,
            answering,
            // Nobody takes any.
            cuts: Arc::new(Cuts::of(1)),
            review: Review::default(),
            ahead: Some(Box::default()),
            account: Account::BLANK,
        }
    }

    /// The same, telling of flows that a new policy ends.
    #[must_use]
    pub fn telling(self, cuts: Arc<Cuts>) -> Self {
        Self { cuts, ..self }
    }

    /// The slow twin, for tests: every packet takes all the stages.
    #[doc(hidden)]
    #[must_use]
    pub fn without_shortcut(self) -> Self {
        Self { ahead: None, ..self }
    }

    /// Judges a burst of at most [`BURST`] packets that arrived on one side. `room` is the free places in the
    /// other port's TX ring: as many packets are forwarded at most. One outcome a frame, in order, is added to
    /// `outcomes`. The caller has opened the counters ([`Counters::begin`]) and counts what it received and
    /// sent.
    ///
    /// Gives a bit for each frame, the first's lowest: set where bytes may stand behind the packet, which are not
    /// sent on as they are ([`residue`](crate::wire::residue)).
    pub fn burst(
        &mut self,
        scene: &Scene<'_>,
        frames: &[&[u8]],
        room: usize,
        outcomes: &mut Vec<Outcome>,
    ) -> u64 {
        self.events_left = EVENTS_PER_BURST;
        self.pieces.forget();
        let mut ahead = self.ahead.take();
        let (mut plain, mut filled) = (0, 0);
        if let Some(Ahead { plains, batch, .. }) = ahead.as_deref_mut() {
            // 1. The plain packets of the burst are recognised, and the memory of their flows is asked for.
            (plain, filled) = recognise(frames, plains);
            let plains = plains.get(..frames.len().min(BURST)).unwrap_or_default();
            self.flows.prepare(plains.iter().map(|found| &found.key), batch);
        }
        // Those of a flow that is known and in order pass at once; everything else takes all the stages.
        let first = outcomes.len();
        outcomes.resize(first + frames.len(), Outcome::Forward);
        let ends = outcomes.get_mut(first..).unwrap_or_default();
        let mut room = room;
        let mut done = 0;
        if let Some(Ahead { plains, batch, openers }) = ahead.as_deref_mut() {
            done = frames.len().min(BURST);
            openers.forget();
            let in_steps = scene.table.asks_in_steps();
            let known = plains.iter().zip(batch.hints()).zip(frames);
            for ((place, ((found, hint), frame)), end) in (0..).zip(known).zip(&mut *ends) {
                let is_plain = plain & 1 == 1;
                plain >>= 1;
                if is_plain && room > 0 && self.passes(scene, frame, found, hint.guess) {
                    room -= 1;
                } else if is_plain
                    && hint.is_absent()
                    && let Some(worker) = self.passed_on(scene, found)
                {
                    // It is judged there from the beginning on.
                    *end = Outcome::HandOver(Pass::to(worker));
                } else {
                    // Of those without a flow, what a large table says is found together, when the first of them has
                    // its turn.
                    let met = if in_steps && is_plain && hint.is_absent() {
                        let others = plain << 1 | 1;
                        let all = (0..).zip(plains.iter().zip(batch.hints()).zip(frames));
                        let ahead = all.skip_while(|(at, _)| *at < place);
                        let absent = ahead.filter(|(at, ((found, hint), _))| {
                            let is_plain = others >> (at - place) & 1 == 1;
                            is_plain && hint.is_absent() && self.passed_on(scene, found).is_none()
                        });
                        openers.find(
                            scene,
                            place,
                            absent.map(|(at, ((found, _), frame))| (at, found, *frame)),
                        )
                    } else {
                        None
                    };
                    let glance = is_plain.then_some(Glance { found, hint, met });
                    *end = self.packet(scene, frame, glance, room);
                    room -= usize::from(*end == Outcome::Forward);
                }
            }
        }
        // All of a pipeline without the short way, and what a caller gave beyond a burst.
        let rest = frames.iter().zip(ends).skip(done);
        for (frame, end) in rest {
            *end = self.packet(scene, frame, None, room);
            room -= usize::from(*end == Outcome::Forward);
        }
        self.ahead = ahead;
        !filled
    }

    /// Whether a packet is an ordinary one of a known flow; if so, it was taken into account.
    #[inline]
    fn passes(&mut self, scene: &Scene<'_>, frame: &[u8], found: &Plain, guess: FlowId) -> bool {
        let timeouts = *self.flows.timeouts();
        let Some(slot) = self.flows.guessed(guess, &found.key) else { return false };
        let Ok(length) = u32::try_from(frame.len()) else { return false };
        slot.pass(scene.flow_now(), (found.from_a, scene.side), found.tcp.as_ref(), length, &timeouts)
    }

    #[inline(never)]
    fn packet(
        &mut self,
        scene: &Scene<'_>,
        frame: &[u8],
        glance: Option<Glance<'_>>,
        room: usize,
    ) -> Outcome {
        self.account = Account::BLANK;
        // 2. Bytes into facts. What can't be read is dropped in every mode; what is plain was read already.
        match glance {
            Some(Glance { found, .. }) => self.readable(scene, frame, &found.facts(frame), glance, room),
            None => match parse(frame) {
                Ok(facts) => self.readable(scene, frame, &facts, None, room),
                Err(why) => self.unreadable(scene, Reason::from(why), frame),
            },
        }
    }

    fn readable(
        &mut self,
        scene: &Scene<'_>,
        frame: &[u8],
        facts: &Facts,
        glance: Option<Glance<'_>>,
        room: usize,
    ) -> Outcome {
        // 3. A place to send it from, before anything is remembered of it.
        if room == 0 {
            // Another worker may have one.
            if let Some(worker) = self.decided_elsewhere(scene, facts, self.pieces.told()) {
                return Outcome::HandOver(Pass::to(worker));
            }
            return self.object(scene, facts, on_the_wire(scene, Reason::TxRingFull));
        }
        // 4. What can be read but makes no sense.
        if let Some(odd) = facts.odd.filter(|odd| !scene.table.lets(*odd)) {
            let mode = mode_of(scene, facts);
            let objection = Objection { reason: odd.into(), mode, rule: RuleNumber::NONE };
            return self.object(scene, facts, objection);
        }
        // 5. Housekeeping, by the profile; what may cross is held against the inventory. Nothing plain is.
        if glance.is_none()
            && let Some(class) = facts.housekeeping()
        {
            return match scene.table.profile(class) {
                Action::Forward => self.housekept(scene, facts, class, frame),
                Action::Drop => self.object(scene, facts, on_the_wire(scene, Reason::Profile)),
            };
        }
        // 6. Connections: flow, else rules.
        match &facts.net {
            Net::Ip(ip) => match glance {
                // Whole, and TCP or UDP.
                Some(Glance { found, hint, met }) if !scene.table.is_group(ip.dst) => {
                    let flow = self.flows.find_hinted(&found.key, hint, scene.tick);
                    self.keyed(scene, facts, ip, (found.key, found.from_a), (flow, met))
                }
                Some(_) | None => self.connection(scene, facts, ip),
            },
            Net::Arp(_) | Net::Bpdu | Net::Other => {
                self.object(scene, facts, on_the_wire(scene, Reason::Profile))
            }
        }
    }

    /// Ends a packet that something speaks against: drops it or lets it cross, as its kind and the mode
    /// say, counts and records it.
    pub(super) fn object(&mut self, scene: &Scene<'_>, facts: &Facts, why: Objection) -> Outcome {
        let drops = match why.reason.kind() {
            Kind::Unreadable | Kind::NoWayOut => true,
            Kind::NoRoom | Kind::Judged | Kind::SameSide => why.mode == Mode::Enforce,
        };
        let governed = !matches!(why.reason.kind(), Kind::Unreadable | Kind::NoWayOut);
        self.account.against(why.reason, governed.then_some(why.mode), why.rule);
        if drops {
            self.counters.dropped(scene.side, why.reason);
            self.record(scene, EventKind::Drop, facts, Some(why.reason), why.rule, why.mode);
            Outcome::Drop(why.reason)
        } else {
            self.counters.would_drop(scene.side, why.reason);
            if why.reason.kind() != Kind::SameSide {
                self.record(scene, EventKind::WouldDrop, facts, Some(why.reason), why.rule, why.mode);
            }
            Outcome::Forward
        }
    }

    fn unreadable(&mut self, scene: &Scene<'_>, reason: Reason, frame: &[u8]) -> Outcome {
        self.counters.dropped(scene.side, reason);
        self.account.against(reason, None, RuleNumber::NONE);
        if !self.may_record() {
            return Outcome::Drop(reason);
        }
        let seen = glimpse(frame);
        self.push(Event {
            at: scene.now,
            kind: EventKind::Drop,
            side: scene.side,
            reason: Some(reason),
            rule: RuleNumber::NONE,
            generation: scene.generation,
            mode: scene.table.strictest(),
            src_mac: seen.src_mac,
            dst_mac: seen.dst_mac,
            vlans: seen.vlans,
            ethertype: seen.ethertype,
            addresses: seen.addresses,
            service: seen.service,
            length: u32::try_from(frame.len()).unwrap_or(u32::MAX),
        });
        Outcome::Drop(reason)
    }

    /// Records what became of a packet, as far as the burst's bound goes.
    #[inline]
    pub(super) fn record(
        &mut self,
        scene: &Scene<'_>,
        kind: EventKind,
        facts: &Facts,
        reason: Option<Reason>,
        rule: RuleNumber,
        mode: Mode,
    ) {
        if self.may_record() {
            self.record_one(scene, kind, facts, reason, rule, mode);
        }
    }

    #[inline(never)]
    fn record_one(
        &mut self,
        scene: &Scene<'_>,
        kind: EventKind,
        facts: &Facts,
        reason: Option<Reason>,
        rule: RuleNumber,
        mode: Mode,
    ) {
        let ip = match &facts.net {
            Net::Ip(ip) => Some(ip),
            Net::Arp(_) | Net::Bpdu | Net::Other => None,
        };
        let addresses = match &facts.net {
            Net::Ip(ip) => Some((ip.src, ip.dst)),
            Net::Arp(arp) => Some((arp.sender.into(), arp.target.into())),
            Net::Bpdu | Net::Other => None,
        };
        self.push(Event {
            at: scene.now,
            kind,
            side: scene.side,
            reason,
            rule,
            generation: scene.generation,
            mode,
            src_mac: facts.src_mac,
            dst_mac: facts.dst_mac,
            vlans: facts.vlans,
            ethertype: facts.ethertype,
            addresses,
            service: ip.map(event_service),
            length: facts.length,
        });
    }

    /// What follows may record as many events as a burst.
    pub(super) const fn allow_events(&mut self) {
        self.events_left = EVENTS_PER_BURST;
    }

    /// Whether this burst may record another event; if not, one is lost. Asked before an event is made: a
    /// flood loses most of them.
    #[inline]
    pub(super) fn may_record(&mut self) -> bool {
        if self.events_left == 0 {
            self.counters.event_lost();
        }
        self.events_left > 0
    }

    pub(super) fn push(&mut self, event: Event) {
        if self.events.push(event).is_err() {
            self.counters.event_lost();
            // Who reads the ring is behind: the rest of the burst need not try.
            self.events_left = 0;
        } else {
            self.events_left -= 1;
        }
    }

    /// Moves the clock hands of flows and fragments by at most `slots` slots.
    pub fn sweep(&mut self, tick: u32, slots: usize) {
        self.flows.sweep(tick, slots);
        if !self.fragments.is_empty() {
            self.fragments.sweep(tick, u32::try_from(slots).unwrap_or(u32::MAX));
        }
    }

    /// A copy of the flow in a slot, if it has not ended.
    #[must_use]
    pub fn flow(&self, slot: usize, tick: u32) -> Option<Slot> {
        self.flows.entry(self.flows.living(slot, tick)?).copied()
    }

    /// Live flows and room for flows.
    #[must_use]
    pub fn flows(&self) -> (usize, usize) {
        (self.flows.len(), self.flows.capacity())
    }

    /// Flows given up for new ones because the table was full.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.flows.evicted()
    }

    /// The counters it writes.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// Puts what is plain of a burst into its places of `plains`. A bit for each frame that is plain, and for each
/// of these whose packet fills it, the first one's lowest; what is not plain leaves in its place what was there,
/// which is good for a useless guess.
#[inline]
fn recognise(frames: &[&[u8]], plains: &mut [Plain; BURST]) -> (u64, u64) {
    let (mut plain, mut filled, mut bit) = (0, 0, 1_u64);
    for (frame, place) in frames.iter().zip(plains) {
        if place.read(frame) {
            plain |= bit;
            if place.fills_frame {
                filled |= bit;
            }
        }
        bit <<= 1;
    }
    (plain, filled)
}

/// The end that sent a packet, as the evaluator is asked about it.
pub(super) const fn sender(facts: &Facts, ip: &Ip) -> Sender {
    Sender { address: ip.src, mac: SenderMac::Seen(facts.src_mac), vlans: facts.vlans }
}

/// An event names the identifier of an ICMP question or answer as its source port: it tells one ping from
/// another.
const fn event_service(ip: &Ip) -> Service {
    let mut service = ip.service();
    if let crate::wire::L4::Icmp(crate::wire::Icmp { id: Some(id), .. }) = ip.l4 {
        service.sport = id;
    }
    service
}

/// An objection to a frame that no zone speaks for: the strictest mode on the wire governs.
pub(super) fn on_the_wire(scene: &Scene<'_>, reason: Reason) -> Objection {
    Objection { reason, mode: scene.table.strictest(), rule: RuleNumber::NONE }
}

pub(super) fn mode_of(scene: &Scene<'_>, facts: &Facts) -> Mode {
    match &facts.net {
        Net::Ip(ip) => {
            scene.table.judge(sender(facts, ip), ip.dst, ip.service(), scene.side, scene.asked).mode
        }
        Net::Arp(_) | Net::Bpdu | Net::Other => scene.table.strictest(),
    }
}
