//! After a publish: flows that nobody hits meet the new policy, too (FLOWS.md §6).
//!
//! What it is: a hand of its own that goes once over all slots for each new generation, a bounded number a
//! turn, asks the rules again as a flow's opener opened it, and ends what they no longer let live. What it is
//! not: it never delays a packet's own judgement, which comes first in any case. Invariants: once the hand
//! is through, no flow names an older generation, but echoes whose request was not seen (they live ten
//! seconds, and their next packet tells what they are); a flow judged without its opener's frame is asked
//! again at its next packet. Cost: 0.1 µs a live flow, once a publish.

use super::again::either;
use super::cut::Cut;
use super::stages::{Objection, Scene};
use super::{Event, EventKind, Pipeline, Reason};
use crate::flow::{FlowId, Judgement, Now, Refusal, Slot};
use crate::policy::{Mode, Moment, Sender, SenderMac, Table, Verdict};
use crate::wire::{Mac, Service, Side};

/// Where the hand is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Review {
    /// The generation it judges by; 0: none yet.
    generation: u32,
    /// The next slot.
    next: usize,
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
    /// The same moment as flows count time.
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
            self.review = Review { generation: present.generation, next };
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
        self.is_reviewed()
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
        let Some(opened) = Opened::of(slot) else { return };
        let there = opened.ask(present);
        if !there.crosses() && opened.waits_for_its_mac(present) {
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
                let reason = verdict.denial.map_or(Refusal::TcpNoSession.into(), Reason::from);
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
        let Scene { table, generation, now, tick, .. } = *scene;
        let present = Present { table, generation, now, tick };
        let Some(slot) = self.flows.entry(id) else { return };
        let opened = Opened::as_told(slot);
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
    /// What a flow's opener asked for; `None` where only its next packet can tell.
    fn of(slot: &Slot) -> Option<Self> {
        (!slot.is_query() || !slot.is_unseen()).then(|| Self::as_told(slot))
    }

    /// The same, an answer of ICMP taken for its question.
    fn as_told(slot: &Slot) -> Self {
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
        let Service { sport, dport, .. } = self.service;
        let [_, (address, _)] = self.ends;
        Self {
            sender: Sender { address, mac: SenderMac::Assumed, ..self.sender },
            ends: turned(self.ends),
            service: Service { sport: dport, dport: sport, ..self.service },
            side: self.side.other(),
        }
    }

    fn ask(&self, present: &Present<'_>) -> Verdict {
        let [_, (target, _)] = self.ends;
        present.table.judge(self.sender, target, self.service, self.side, present.now)
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

fn turned<T>([a, b]: [T; 2]) -> [T; 2] {
    [b, a]
}
