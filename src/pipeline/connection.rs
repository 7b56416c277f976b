//! The connection stage: an IP packet meets its flow, or the rules.

use super::account::Standing;
use super::again::{Again, again, judgement, reversed};
use super::stages::{Objection, sender};
use super::{EventKind, Exempt, Outcome, Pass, Pipeline, Reason, Scene};
use crate::flow::fragments::Piece;
use crate::flow::tcp::{Phase, Step, Track};
use crate::flow::{First, FlowId, Opening, Progress, Refusal};
use crate::policy::{Denial, Met, Mode, RuleNumber, Sender, SenderMac, Verdict};
use crate::wire::protocol::{TCP, icmp_of};
use crate::wire::{Facts, Fragment, Icmp, Ip, Key, L4, Side};

impl From<Refusal> for Reason {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::TableFull => Self::FlowTableFull,
            Refusal::Limit(why) => why.into(),
            Refusal::TcpNoSession => Self::TcpNoSession,
            Refusal::IcmpNoFlow => Self::IcmpNoFlow,
            Refusal::WrongSide => Self::Spoofed,
        }
    }
}

impl Pipeline {
    pub(super) fn connection(&mut self, scene: &Scene<'_>, facts: &Facts, ip: &Ip) -> Outcome {
        match Piece::of(facts, scene.side) {
            Some(piece) => self.fragment(scene, facts, ip, &piece),
            None => self.whole(scene, facts, ip),
        }
    }

    /// A packet whose ports are known, if its protocol has any.
    pub(super) fn whole(&mut self, scene: &Scene<'_>, facts: &Facts, ip: &Ip) -> Outcome {
        if scene.table.is_group(ip.dst) {
            return self.stateless(scene, facts, ip);
        }
        if let L4::Icmp(icmp) = &ip.l4 {
            if icmp.is_error(ip.src.is_ipv6()) {
                return self.icmp_error(scene, facts, ip, icmp);
            }
            // Only an identifier ties an answer to its question: what else ICMP carries is judged packet by
            // packet, each by its own type and code.
            if icmp.query(ip.src.is_ipv6()).is_none() {
                return self.stateless(scene, facts, ip);
            }
        }
        if remembered_icmp(ip).is_some_and(|icmp| icmp.query(ip.src.is_ipv6()).is_none()) {
            return self.stateless(scene, facts, ip);
        }
        let (sport, dport) = ip.key_ports();
        let (key, from_a) = Key::new(ip.src, ip.dst, sport, dport, ip.protocol, facts.vlans);
        let flow = self.flows.find(&key, scene.tick);
        self.keyed(scene, facts, ip, (key, from_a), (flow, None))
    }

    /// A packet with its key, which has a flow or none; and what rules say of it, if they were asked ahead.
    pub(super) fn keyed(
        &mut self,
        scene: &Scene<'_>,
        facts: &Facts,
        ip: &Ip,
        (key, from_a): (Key, bool),
        (flow, met): (Option<FlowId>, Option<&Met>),
    ) -> Outcome {
        match flow {
            Some(id) => self.hit(scene, facts, ip, id, (key, from_a)),
            None => self.miss(scene, facts, ip, (key, from_a), met),
        }
    }

    /// A packet of a known flow.
    fn hit(
        &mut self,
        scene: &Scene<'_>,
        facts: &Facts,
        ip: &Ip,
        id: FlowId,
        (key, from_a): (Key, bool),
    ) -> Outcome {
        let Some(entry) = self.flows.entry_mut(id) else {
            return self.miss(scene, facts, ip, (key, from_a), None);
        };
        if entry.side_of(from_a) != scene.side {
            let mode = entry.mode();
            let reason = Refusal::WrongSide.into();
            return self.object(scene, facts, Objection { reason, mode, rule: RuleNumber::NONE });
        }
        self.account.belongs_to(id);
        let progress = match (&ip.l4, entry.track()) {
            (L4::Tcp(tcp), Some(track)) => {
                let (step, track) = track.step(tcp, from_a, entry.seen(), scene.tick);
                Progress::Tcp(step, track)
            }
            (_, Some(track)) if track.phase() == Phase::Closed => {
                return self.miss(scene, facts, ip, (key, from_a), None);
            }
            (
                L4::Tcp(_)
                | L4::Udp { .. }
                | L4::Sctp { .. }
                | L4::Icmp(_)
                | L4::Other
                | L4::Absent
                | L4::Remembered { .. },
                _,
            ) => Progress::Packet,
        };
        if let Progress::Tcp(Step::Over | Step::Anew, _) = progress {
            // The flow that is over stays unless a new one is let in and takes its place.
            return self.miss(scene, facts, ip, (key, from_a), None);
        }
        if entry.is_stale(scene.flow_now()) {
            let opener = from_a == entry.opened_by_a() && !entry.is_unseen();
            match again(scene, entry, ip, facts, from_a) {
                Again::Cut(why) => {
                    self.cut_by_packet(scene, id, why);
                    self.flows.remove(id);
                    return if opener {
                        self.object_to_opener(scene, facts, why)
                    } else {
                        self.object(scene, facts, why)
                    };
                }
                Again::Wait(why) => return self.object(scene, facts, why),
                Again::Keep { judgement, turned } => {
                    entry.judge(&judgement);
                    if turned {
                        self.flows.turn(id);
                    }
                }
            }
        }
        let Some(entry) = self.flows.entry_mut(id) else { return Outcome::Forward };
        if let Progress::Tcp(Step::Refused(why), _) = progress {
            let (reason, mode) = (why.into(), entry.mode());
            let outcome = self.object(scene, facts, Objection { reason, mode, rule: RuleNumber::NONE });
            if outcome == Outcome::Forward {
                self.flows.advance(id, &Progress::Packet, from_a, facts.length, scene.flow_now());
                self.resync(id);
            }
            return outcome;
        }
        if let Some(denial) = entry.denial()
            && scene.side == Side::Inside
        {
            // A claim can only make it stricter: a frame from the inside with a MAC that is not its source's
            // is governed by every zone there, also on a flow that others opened.
            let (from, service) = (sender(facts, ip), ip.service());
            let mode = scene.table.judge(from, ip.dst, service, scene.side, scene.asked).mode;
            if mode == Mode::Enforce {
                let rule = entry.rule();
                return self.object(scene, facts, Objection { reason: denial.into(), mode, rule });
            }
        }
        if let Some(denial) = entry.denial() {
            // The flow's first packet was recorded; the others only count.
            self.counters.would_drop(scene.side, denial.into());
        }
        self.flows.advance(id, &progress, from_a, facts.length, scene.flow_now());
        if ip.fragment != Fragment::Whole {
            // How much a fragmented segment carries its first fragment does not say.
            self.resync(id);
        }
        Outcome::Forward
    }

    /// What passed unchecked has left the windows behind.
    fn resync(&mut self, id: FlowId) {
        if let Some(entry) = self.flows.entry_mut(id) {
            entry.resync();
        }
    }

    /// A packet of no known flow: only the owner of its key may open one.
    fn miss(
        &mut self,
        scene: &Scene<'_>,
        facts: &Facts,
        ip: &Ip,
        (key, from_a): (Key, bool),
        met: Option<&Met>,
    ) -> Outcome {
        self.account.standing = Standing::None;
        if let Some(owner) = self.owned_elsewhere(&key) {
            return Outcome::HandOver(Pass::to(owner));
        }
        let (table, service) = (scene.table, ip.service());
        let (verdict, mac_true) = match met {
            Some(met) => table.decide(met, service, scene.side),
            None => table.judge_opener(sender(facts, ip), ip.dst, service, scene.side, scene.asked),
        };
        if let Some(missing) = missed_first(ip) {
            return self.unseen(scene, facts, ip, (key, from_a), (verdict, mac_true), missing);
        }
        if !verdict.crosses() || verdict.denial == Some(Denial::SameSide) {
            return self.deny(scene, facts, &verdict);
        }
        let opening = Opening {
            judgement: judgement(scene, &verdict),
            by_a: from_a,
            side: scene.side,
            mac_true,
            first: First::Seen,
            track: first_track(ip, from_a),
        };
        self.learn(scene, facts, ip, (key, from_a), (&opening, &verdict))
    }

    /// Inserts a flow that may cross, and lets its packet do so.
    fn learn(
        &mut self,
        scene: &Scene<'_>,
        facts: &Facts,
        ip: &Ip,
        (key, from_a): (Key, bool),
        (opening, verdict): (&Opening, &Verdict),
    ) -> Outcome {
        self.account.judged(verdict);
        match self.flows.insert(&key, opening, scene.tick) {
            Ok(id) => {
                if from_a == opening.by_a {
                    self.flows.count_first(id, from_a, facts.length);
                } else {
                    // By the end that is taken for its target: it has spoken.
                    self.flows.advance(id, &Progress::Packet, from_a, facts.length, scene.flow_now());
                }
                if ip.fragment != Fragment::Whole {
                    self.resync(id);
                }
            }
            Err(refusal) => {
                let (mode, rule) = (verdict.mode, verdict.rule);
                return self.object(scene, facts, Objection { reason: refusal.into(), mode, rule });
            }
        }
        if verdict.denial.is_none() {
            self.exempt(scene, Exempt::of_connection(ip));
        }
        self.account.standing = if opening.first.is_unseen() { Standing::Unseen } else { Standing::New };
        if opening.first.is_unseen() {
            self.counters.loose(scene.side);
        } else if verdict.denial.is_some() {
            return self.deny(scene, facts, verdict);
        } else {
            self.log(scene, facts, verdict);
        }
        Outcome::Forward
    }

    /// Counts what crosses by an exemption.
    pub(super) fn exempt(&self, scene: &Scene<'_>, by: Option<Exempt>) {
        if let Some(by) = by {
            self.counters.exempt(scene.side, by);
        }
    }

    /// Records what crosses by a rule that says `log`.
    fn log(&mut self, scene: &Scene<'_>, facts: &Facts, verdict: &Verdict) {
        if scene.table.rule(verdict.rule).is_some_and(|rule| rule.log) {
            self.record(scene, EventKind::Allow, facts, None, verdict.rule, verdict.mode);
        }
    }

    /// A flow whose first packet was not seen: refused under enforce, else judged in both directions and
    /// governed by the stricter (POLICY.md §6).
    fn unseen(
        &mut self,
        scene: &Scene<'_>,
        facts: &Facts,
        ip: &Ip,
        (key, from_a): (Key, bool),
        (there, mac_true): (Verdict, bool),
        missing: Refusal,
    ) -> Outcome {
        let back = {
            let sender = Sender { address: ip.dst, mac: SenderMac::Assumed, vlans: facts.vlans };
            scene.table.judge(sender, ip.src, reversed(ip), scene.side.other(), scene.asked)
        };
        let mode = there.mode.max(back.mode);
        if let Some(denial) = there.denial.filter(|denial| denial.is_misplaced()) {
            return self.object(scene, facts, Objection { reason: denial.into(), mode, rule: there.rule });
        }
        if mode == Mode::Enforce {
            let objection = Objection { reason: missing.into(), mode, rule: RuleNumber::NONE };
            let allowed = there.denial.is_none() || back.denial.is_none();
            return match missing {
                Refusal::TcpNoSession => self.object_to_stranger(scene, facts, objection, allowed),
                Refusal::IcmpNoFlow | Refusal::TableFull | Refusal::Limit(_) | Refusal::WrongSide => {
                    self.object(scene, facts, objection)
                }
            };
        }
        let track = first_track(ip, from_a);
        if ip.protocol == TCP && track.is_none() {
            // A RST, or a segment without ACK: nothing to remember of a connection.
            let reason = missing.into();
            return self.object(scene, facts, Objection { reason, mode, rule: RuleNumber::NONE });
        }
        let by_receiver = there.denial.is_some() && back.denial.is_none();
        let verdict = Verdict { mode, ..if by_receiver { back } else { there } };
        let opening = Opening {
            judgement: judgement(scene, &verdict),
            by_a: from_a != by_receiver,
            side: if by_receiver { scene.side.other() } else { scene.side },
            // The receiver was judged with a MAC taken as true.
            mac_true: by_receiver || mac_true,
            // Of ICMP only a reply shows that a packet before it was missed.
            first: if ip.protocol == icmp_of(ip.src.is_ipv6()) && !by_receiver {
                First::Answered
            } else {
                First::Missed
            },
            track,
        };
        self.learn(scene, facts, ip, (key, from_a), (&opening, &verdict))
    }

    /// An ICMP error crosses only with the live flow it quotes, towards that packet's sender (RFC 5927).
    fn icmp_error(&mut self, scene: &Scene<'_>, facts: &Facts, ip: &Ip, icmp: &Icmp) -> Outcome {
        let verdict = scene.table.judge(sender(facts, ip), ip.dst, ip.service(), scene.side, scene.asked);
        if let Some(denial) = verdict.denial.filter(|denial| denial.is_misplaced()) {
            let objection = Objection { reason: denial.into(), mode: verdict.mode, rule: verdict.rule };
            return self.object(scene, facts, objection);
        }
        let quote = icmp.quote.filter(|quote| quote.src == ip.dst);
        let asked = quote.map(|quote| (quote, quote.key(facts.vlans)));
        let found = asked.and_then(|(_, (key, _))| self.flows.find(&key, scene.tick));
        // Only the owner of the flow that it quotes can tell that there is none.
        if found.is_none()
            && let Some((_, (key, _))) = &asked
            && let Some(owner) = self.owned_elsewhere(key)
        {
            return Outcome::HandOver(Pass::to(owner));
        }
        let related = asked.zip(found).and_then(|((quote, (_, from_a)), id)| {
            let entry = self.flows.entry(id)?;
            let reaches_sender = entry.side_of(from_a) == scene.side.other();
            // A quoted segment lies in the window of what its sender has sent (RFC 5927 §4).
            let sent = match (quote.seq, entry.track()) {
                (Some(seq), Some(track)) => track.may_have_sent(seq, from_a),
                (Some(_) | None, None) => true,
                (None, Some(_)) => false,
            };
            let stale = entry.is_stale(scene.flow_now());
            (reaches_sender && sent && !stale).then(|| entry.denial())
        });
        let Some(denial) = related else {
            let reason = Refusal::IcmpNoFlow.into();
            return self.object(
                scene,
                facts,
                Objection { reason, mode: verdict.mode, rule: RuleNumber::NONE },
            );
        };
        self.account.standing = Standing::Related;
        if let Some(denial) = denial {
            self.counters.would_drop(scene.side, denial.into());
        }
        Outcome::Forward
    }

    /// Judged by itself, nothing remembered: groups, and what ICMP carries beside questions, answers and errors.
    fn stateless(&mut self, scene: &Scene<'_>, facts: &Facts, ip: &Ip) -> Outcome {
        let verdict = scene.table.judge(sender(facts, ip), ip.dst, ip.service(), scene.side, scene.asked);
        self.account.judged(&verdict);
        if verdict.denial.is_none() {
            self.exempt(scene, Exempt::of_connection(ip));
            self.log(scene, facts, &verdict);
        }
        self.deny(scene, facts, &verdict)
    }

    fn deny(&mut self, scene: &Scene<'_>, facts: &Facts, verdict: &Verdict) -> Outcome {
        match verdict.denial {
            Some(denial) => {
                let objection = Objection { reason: denial.into(), mode: verdict.mode, rule: verdict.rule };
                self.object_to_opener(scene, facts, objection)
            }
            None => Outcome::Forward,
        }
    }
}

/// Where TCP stands after the first segment that is seen of it.
fn first_track(ip: &Ip, from_a: bool) -> Option<Track> {
    match &ip.l4 {
        L4::Tcp(tcp) => Track::first(tcp, from_a),
        L4::Udp { .. } | L4::Sctp { .. } | L4::Icmp(_) | L4::Other | L4::Absent | L4::Remembered { .. } => {
            None
        }
    }
}

/// Only TCP without a SYN and ICMP that answers show that a first packet was missed.
fn missed_first(ip: &Ip) -> Option<Refusal> {
    match &ip.l4 {
        L4::Tcp(tcp) => (!tcp.flags.opens()).then_some(Refusal::TcpNoSession),
        L4::Icmp(icmp) => icmp.answers(ip.src.is_ipv6()).then_some(Refusal::IcmpNoFlow),
        // A later fragment opens no connection.
        L4::Remembered { .. } if ip.protocol == TCP => Some(Refusal::TcpNoSession),
        L4::Remembered { .. } => remembered_icmp(ip)
            .and_then(|icmp| icmp.answers(ip.src.is_ipv6()).then_some(Refusal::IcmpNoFlow)),
        L4::Udp { .. } | L4::Sctp { .. } | L4::Other | L4::Absent => None,
    }
}

/// Type and code of a later fragment of its family's ICMP, as its first tells them.
fn remembered_icmp(ip: &Ip) -> Option<Icmp> {
    let L4::Remembered { service: [_, kind_and_code], .. } = ip.l4 else { return None };
    let [kind, code] = kind_and_code.to_be_bytes();
    (ip.protocol == icmp_of(ip.src.is_ipv6())).then_some(Icmp { kind, code, id: None, quote: None })
}
