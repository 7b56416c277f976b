//! Asking the policy again about a flow that it has answered for.
//!
//! An answer is due again under another generation and from its `judge_at` on. The flow is judged as its
//! opener opened it; one whose first packet was not seen in both directions (POLICY.md §6).

use super::Reason;
use super::stages::{Objection, Scene, sender};
use crate::flow::{Judgement, Refusal, Slot};
use crate::policy::{Denial, Mode, Moment, Sender, SenderMac, Verdict};
use crate::wire::protocol::icmp_of;
use crate::wire::{Facts, Ip, L4, Query, Service};

/// Nanoseconds that an answer holds while no clock can be trusted: no longer than people wait for.
const RETRY: u64 = 1_000_000_000;

/// What becomes of a flow that was judged again.
pub(super) enum Again {
    /// It lives under this answer; `turned`: the other end is taken for its opener.
    Keep { judgement: Judgement, turned: bool },
    /// It ends here.
    Cut(Objection),
    /// Only the MAC that it was opened without speaks against it, and this frame is its other end's: the opener's
    /// next one decides, and until then nothing of it crosses.
    Wait(Objection),
}

/// A verdict as an entry keeps it.
pub(super) fn judgement(scene: &Scene<'_>, verdict: &Verdict) -> Judgement {
    // At no moment nothing says when it could change: when the clock is right again.
    let left = match scene.asked {
        Moment::NEVER => RETRY,
        now => verdict.judge_at.0.saturating_sub(now.0),
    };
    Judgement::new(verdict, scene.flow_now(), left)
}

/// Judges a flow again at a packet of it; notes in the entry who opened it and whether with a true MAC.
pub(super) fn again(scene: &Scene<'_>, entry: &mut Slot, ip: &Ip, facts: &Facts, from_a: bool) -> Again {
    let by_opener = from_a == entry.opened_by_a();
    let mac = match (by_opener, entry.is_mac_true()) {
        (true, _) => SenderMac::Seen(facts.src_mac),
        (false, true) => SenderMac::Assumed,
        (false, false) => SenderMac::Stranger,
    };
    let there = as_opened(scene, ip, facts, by_opener, mac);
    let mut turned = false;
    let verdict = if entry.is_unseen() {
        // Its other end's MAC is taken as true.
        let back = as_opened(scene, ip, facts, !by_opener, SenderMac::Assumed);
        match either(entry, there, back) {
            Ok((verdict, by_target)) => {
                turned = by_target;
                verdict
            }
            Err(verdict) => return Again::Cut(cut(&verdict, verdict.mode, ip)),
        }
    } else {
        there
    };
    if !verdict.crosses() {
        let why = cut(&verdict, verdict.mode, ip);
        let waits = !entry.is_unseen()
            && mac == SenderMac::Stranger
            && as_opened(scene, ip, facts, by_opener, SenderMac::Assumed).crosses();
        return if waits { Again::Wait(why) } else { Again::Cut(why) };
    }
    let mut judgement = judgement(scene, &verdict);
    if by_opener == turned {
        // Whether the opener's MAC is still a true one its own next packet tells: it is asked again.
        judgement.judge_at = scene.tick;
    } else {
        entry.set_mac_true(scene.table.is_true(sender(facts, ip), scene.side));
    }
    Again::Keep { judgement, turned }
}

/// What both directions of a flow whose first packet was not seen say together, and whether its other end is
/// taken for its opener from now on.
///
/// # Errors
/// It ends, by this answer.
pub(super) fn either(entry: &mut Slot, there: Verdict, back: Verdict) -> Result<(Verdict, bool), Verdict> {
    let mode = there.mode.max(back.mode);
    let by_target = there.denial.is_some() && back.denial.is_none();
    if mode == Mode::Enforce && there.denial.is_none() == back.denial.is_none() {
        // Both directions allowed, or none: nobody can say who opened it.
        return Err(Verdict { mode, ..there });
    }
    if mode == Mode::Enforce && !entry.is_confirmed() {
        return Err(Verdict { denial: None, mode, ..there });
    }
    if by_target {
        entry.set_mac_true(true);
    }
    Ok((Verdict { mode, ..if by_target { back } else { there } }, by_target))
}

/// Why a flow ends.
fn cut(verdict: &Verdict, mode: Mode, ip: &Ip) -> Objection {
    let reason = verdict.denial.map_or_else(
        || match &ip.l4 {
            L4::Icmp(_) => Reason::from(Refusal::IcmpNoFlow),
            L4::Tcp(_)
            | L4::Udp { .. }
            | L4::Sctp { .. }
            | L4::Other
            | L4::Absent
            | L4::Remembered { .. } => Reason::from(Refusal::TcpNoSession),
        },
        Denial::into,
    );
    Objection { reason, mode, rule: verdict.rule }
}

/// What policy says of the flow as the packet's sender would have opened it, or as its receiver would have.
fn as_opened(scene: &Scene<'_>, ip: &Ip, facts: &Facts, by_sender: bool, mac: SenderMac) -> Verdict {
    let (address, target, service, side) = if by_sender {
        (ip.src, ip.dst, ip.service(), scene.side)
    } else {
        (ip.dst, ip.src, reversed(ip), scene.side.other())
    };
    scene.table.judge(Sender { address, mac, vlans: facts.vlans }, target, service, side, scene.asked)
}

/// The service of a flow as its other end would have opened it; of an ICMP question or answer, the
/// message that answers this one or that it answers.
pub(super) fn reversed(ip: &Ip) -> Service {
    turned(ip.service(), ip.src.is_ipv6())
}

/// The same of a service.
pub(super) fn turned(service: Service, v6: bool) -> Service {
    if service.protocol == icmp_of(v6) {
        let [kind, _] = service.dport.to_be_bytes();
        let types = Query::of(kind, v6).and_then(|(query, asks)| Some((query.types(v6)?, asks)));
        // Nothing else of ICMP has a flow.
        let other = types.map_or(kind, |([question, answer], asks)| if asks { answer } else { question });
        return Service { dport: u16::from_be_bytes([other, 0]), ..service };
    }
    Service { sport: service.dport, dport: service.sport, ..service }
}
