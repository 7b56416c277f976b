//! One packet of a replay, as it is written.

use std::net::IpAddr;

use serde::Serialize;

use crate::control::instant;
use crate::pipeline::{Account, Answer, Outcome, Standing};
use crate::policy::{Mode, Moment, RuleNumber, Table};
use crate::wire::{Facts, Ip, L4, Net};
use crate::worker::{End, Replayed};

/// One packet. What can't be read of it, or does not exist, is null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Row<'a> {
    /// Its number in its file, from 1.
    pub(super) n: u64,
    pub(super) file: &'a str,
    /// When it was captured.
    pub(super) ts: String,
    pub(super) side: &'static str,
    /// What the policy says.
    pub(super) verdict: &'static str,
    /// What happened to it.
    pub(super) outcome: &'static str,
    /// What speaks against it, whatever became of it.
    pub(super) reason: Option<&'static str>,
    /// What enforcement gives, where the mode that governs is milder.
    pub(super) would: Option<&'static str>,
    pub(super) rule: Option<&'a str>,
    pub(super) src: Option<IpAddr>,
    pub(super) dst: Option<IpAddr>,
    pub(super) proto: Option<u8>,
    pub(super) sport: Option<u16>,
    pub(super) dport: Option<u16>,
    pub(super) vlan: Option<String>,
    pub(super) flow: &'static str,
    /// The workload that its source belongs to.
    pub(super) from: Option<&'a str>,
    /// The one that its destination belongs to.
    pub(super) to: Option<&'a str>,
    pub(super) generation: u32,
}

pub(super) const FORWARDED: &str = "forwarded";
pub(super) const DROPPED: &str = "dropped";
pub(super) const REJECTED: &str = "rejected";

impl<'a> Row<'a> {
    pub(super) fn new(table: &'a Table, file: &'a str, done: &Replayed, generation: u32) -> Self {
        let ip = done.facts.as_ref().and_then(ip);
        let ports = ip.and_then(ports);
        let name = |address| table.locate(address).workload;
        let blank = Self {
            n: done.packet.number,
            file,
            ts: instant(Moment(done.packet.nanos)),
            side: done.side.name(),
            verdict: "none",
            outcome: DROPPED,
            reason: None,
            would: None,
            rule: None,
            src: ip.map(|ip| ip.src),
            dst: ip.map(|ip| ip.dst),
            proto: ip.map(|ip| ip.protocol),
            sport: ports.map(|(sport, _)| sport),
            dport: ports.map(|(_, dport)| dport),
            vlan: done.facts.map(|facts| facts.vlans.to_string()),
            flow: "none",
            from: ip.and_then(|ip| name(ip.src)),
            to: ip.and_then(|ip| name(ip.dst)),
            generation,
        };
        match &done.end {
            End::Judged(account) => blank.judged(table, account),
            End::CutShort => Self { reason: Some(CUT_SHORT), ..blank },
            End::TooLong => Self { reason: Some(TOO_LONG), ..blank },
        }
    }

    fn judged(self, table: &'a Table, account: &Account) -> Self {
        let outcome = match account.outcome {
            Outcome::Forward => FORWARDED,
            Outcome::Reject(..) => REJECTED,
            // One worker owns every flow: it hands nothing over. A row waits as long as its packet.
            Outcome::Drop(_) | Outcome::Hold(_) | Outcome::HandOver(_) => DROPPED,
        };
        let would = match (account.mode, account.reason) {
            (None | Some(Mode::Enforce), _) => None,
            (Some(Mode::Observe | Mode::Simulate), None) => Some(FORWARDED),
            (Some(Mode::Observe | Mode::Simulate), Some(_)) => {
                Some(if account.reply.is_some() { REJECTED } else { DROPPED })
            }
        };
        let rule = Some(account.rule).filter(|rule| *rule != RuleNumber::NONE);
        Self {
            verdict: match account.answer {
                None => "none",
                Some(Answer::Allow) => "allow",
                Some(Answer::Deny) => "deny",
            },
            outcome,
            reason: account.reason.map(crate::pipeline::Reason::name),
            would,
            rule: rule.and_then(|rule| table.rule(rule)).map(|rule| rule.id.as_str()),
            flow: match account.standing {
                Standing::None => "none",
                Standing::New => "new",
                Standing::Established => "established",
                Standing::Related => "related",
                Standing::Unseen => "unseen",
            },
            ..self
        }
    }
}

/// The capture holds too little of the packet.
pub(super) const CUT_SHORT: &str = "cut_short";
/// The packet is longer than a frame.
pub(super) const TOO_LONG: &str = "frame_too_long";

fn ip(facts: &Facts) -> Option<&Ip> {
    match &facts.net {
        Net::Ip(ip) => Some(ip),
        Net::Arp(_) | Net::Bpdu | Net::Other => None,
    }
}

fn ports(ip: &Ip) -> Option<(u16, u16)> {
    match ip.l4 {
        L4::Tcp(tcp) => Some((tcp.sport, tcp.dport)),
        L4::Udp { sport, dport, .. } | L4::Sctp { sport, dport } => Some((sport, dport)),
        L4::Icmp(_) | L4::Other | L4::Absent | L4::Remembered { .. } => None,
    }
}
