//! After a publish: flows that nobody hits meet the new policy, too (FLOWS.md §6).
//!
//! What it is: a hand of its own that goes once over all slots for each new generation, a bounded number a
//! turn, asks the rules again as a flow's opener opened it, and ends what they no longer let live. What it is
//! not: it never delays a packet's own judgement, which comes first in any case. Invariants: once the hand
//! is through, no flow names an older generation but those that wait for the frame that shows their opener's
//! MAC, and these are counted; while there are any, the hand goes round again now and then, to see how many are
//! left. A flow judged without its opener's frame is asked again at its next packet. Cost: 0.1 µs a live flow,
//! once a publish, and a look at each slot every ten seconds while flows wait.

use super::again::{either, turned};
use super::cut::Cut;
use super::stages::{Objection, Scene};
use super::{Event, EventKind, Pipeline, Reason};
use crate::flow::{FlowId, Judgement, Now, Refusal, Slot};
use crate::policy::{Mode, Moment, Sender, SenderMac, Table, Verdict};
use crate::wire::{Mac, Service, Side};

/// Ticks between two rounds of a hand that left flows waiting: about ten seconds.
const ROUND: u32 = 600;

/// Where the hand is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Review {
    /// The generation it judges by; 0: none yet.
    generation: u32,
    /// The next slot.
    next: usize,
    /// It has gone through all of them since this generation came.
    through: bool,
    /// Flows of this round that wait for their opener's next frame.
    found: u64,
    /// Of the latest round that is over.
    waiting: u64,
    /// When the latest round began, or the first was over.
    since: u32,
}

/// What is the same for all flows that one call of [`Pipeline::review`] looks at.
#[derive(Clone, Copy, Debug)]
pub struct Present<'a> {
    /// The policy in force.
    pub table: &'a Table,
    /// Its generation.
    pub generation: u32,
    /// Now.
    pub now: Moment,
    /// The moment that policy is asked about: see [`Scene::asked`].
    pub asked: Moment,
    /// Now as flows count time.
    pub tick: u32,
}

/// A flow as its opener opened it.
struct Opened {
    sender: Sender,
    ends: [(std::net::IpAddr, u16); 2],
    service: Service,
    side: Side,
}

impl Pipeline {
    /// Moves the reviewing hand by at most `slots` slots. True: it has gone through all of them since this
    /// generation came.
    pub fn review(&mut self, present: &Present<'_>, slots: usize) -> bool {
        if self.review.generation != present.generation {
            // Without a flow there is nothing to go through, as at a start.
            let next = if self.flows.is_empty() { self.flows.capacity() } else { 0 };
            self.review = Review { generation: present.generation, next, ..Review::default() };
        } else if self.is_reviewed()
            && self.review.waiting > 0
            && present.tick.wrapping_sub(self.review.since) >= ROUND
        {
            self.review = Review { next: 0, found: 0, since: present.tick, ..self.review };
        }
        self.allow_events();
        for _ in 0..slots {
            if self.is_reviewed() {
                break;
            }
            let here = self.review.next;
            self.review.next += 1;
            if let Some(id) = self.flows.living(here, present.tick) {
                self.reconsider(present, id);
            }
        }
        if self.is_reviewed() {
            let Review { through, found, waiting, .. } = self.review;
            if !through || found != waiting {
                self.review = Review { through: true, waiting: found, since: present.tick, ..self.review };
            }
        }
        self.review.through
    }

    /// Flows that the hand could not judge, for only their opener's next frame shows whether its MAC is one that
    /// the policy asks for: as many as its latest round found.
    #[must_use]
    pub const fn waiting(&self) -> u64 {
        self.review.waiting
    }

    /// The hand has nothing left to look at.
    pub(super) fn is_reviewed(&self) -> bool {
        self.review.next >= self.flows.capacity()
    }

    fn reconsider(&mut self, present: &Present<'_>, id: FlowId) {
        let Some(slot) = self.flows.entry_mut(id).filter(|slot| slot.generation() != present.generation)
        else {
            return;
        };
        let opened = Opened::of(slot);
        let there = opened.ask(present);
        if !there.crosses() && opened.waits_for_its_mac(present) {
            self.review.found += 1;
            return;
        }
        let verdict = if slot.is_unseen() {
            either(slot, there, opened.other_way().ask(present))
        } else if there.crosses() {
            Ok((there, false))
        } else {
            Err(there)
        };
        match verdict {
            Ok((verdict, turned)) => {
                let now = Now { tick: present.tick, generation: present.generation };
                // Its opener's next packet tells whether its MAC is a true one under this policy.
                slot.judge(&Judgement { judge_at: present.tick, ..Judgement::new(&verdict, now, 0) });
                if turned {
                    self.flows.turn(id);
                }
            }
            Err(verdict) => {
                let missed = if slot.is_query() { Refusal::IcmpNoFlow } else { Refusal::TcpNoSession };
                let reason = verdict.denial.map_or(missed.into(), Reason::from);
                let why = Objection { reason, mode: verdict.mode, rule: verdict.rule };
                let cut = cut(slot, &opened, present, why);
                self.flows.remove(id);
                self.tell(cut, why.mode);
            }
        }
    }

    /// A packet met the policy again and its flow ends: the event of its drop tells of the packet, this of the
    /// flow.
    pub(super) fn cut_by_packet(&mut self, scene: &Scene<'_>, id: FlowId, why: Objection) {
        let Scene { table, generation, now, asked, tick, side: _ } = *scene;
        let present = Present { table, generation, now, asked, tick };
        let Some(slot) = self.flows.entry(id) else { return };
        let opened = Opened::of(slot);
        self.cuts.push(Cut { by_packet: true, ..cut(slot, &opened, &present, why) });
    }

    fn tell(&mut self, cut: Cut, mode: Mode) {
        let [(from, _), (to, _)] = cut.ends;
        self.cuts.push(cut);
        if !self.may_record() {
            return;
        }
        self.push(Event {
            at: cut.at,
            kind: EventKind::Cut,
            side: cut.side,
            reason: Some(cut.reason),
            rule: cut.rule,
            generation: cut.generation,
            mode,
            src_mac: Mac::default(),
            dst_mac: Mac::default(),
            vlans: cut.vlans,
            ethertype: if from.is_ipv4() { 0x0800 } else { 0x86dd },
            addresses: Some((from, to)),
            service: Some(cut.service),
            length: 0,
        });
    }
}

impl Opened {
    fn of(slot: &Slot) -> Self {
        let (ends, service) = (slot.ends(), slot.opened_service());
        let [(from, _), _] = ends;
        let mac = if slot.is_mac_true() { SenderMac::Assumed } else { SenderMac::Stranger };
        let side = slot.side_of(slot.opened_by_a());
        Self { sender: Sender { address: from, mac, vlans: slot.key().vlans() }, ends, service, side }
    }

    /// Only the MAC that it was opened without speaks against it: its opener's next frame tells whether the
    /// policy that asks for one has it.
    fn waits_for_its_mac(&self, present: &Present<'_>) -> bool {
        let mac = SenderMac::Assumed;
        self.sender.mac == SenderMac::Stranger
            && Self { sender: Sender { mac, ..self.sender }, ..*self }.ask(present).crosses()
    }

    /// As its other end would have opened it, with a MAC taken as true.
    fn other_way(&self) -> Self {
        let [from, to @ (address, _)] = self.ends;
        Self {
            sender: Sender { address, mac: SenderMac::Assumed, ..self.sender },
            ends: [to, from],
            service: turned(self.service, address.is_ipv6()),
            side: self.side.other(),
        }
    }

    fn ask(&self, present: &Present<'_>) -> Verdict {
        let [_, (target, _)] = self.ends;
        present.table.judge(self.sender, target, self.service, self.side, present.asked)
    }
}

fn cut(slot: &Slot, opened: &Opened, present: &Present<'_>, why: Objection) -> Cut {
    Cut {
        at: present.now,
        ends: opened.ends,
        service: opened.service,
        vlans: opened.sender.vlans,
        side: opened.side,
        was_generation: slot.generation(),
        was: slot.rule(),
        generation: present.generation,
        reason: why.reason,
        rule: why.rule,
        by_packet: false,
        counts: slot.traffic(),
    }
}
