//! One packet that a difference is true of.

use std::net::IpAddr;

use serde::Serialize;

use super::both::Both;
use super::classes::{Class, Truth, mac};
use super::cross::{Crossed, Entry, Key};
use super::effect::Run;
use super::numbers::at;
use crate::policy::explain::service_text;
use crate::policy::ground::DYNAMIC;
use crate::policy::verdict::{Moment, Sender, SenderMac, Verdict};
use crate::wire::protocol::{ICMP, ICMPV6, TCP, UDP};
use crate::wire::{Mac, Service, Side, Vlans};

/// A packet that opens a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Example {
    /// From whom.
    pub src: String,
    /// To whom.
    pub dst: String,
    /// On what: `tcp/443`.
    pub service: String,
    /// Its protocol number.
    pub proto: u8,
    /// Its source port; 0 where there is none.
    pub sport: u16,
    /// Its destination port; ICMP: type × 256 + code.
    pub dport: u16,
    /// It is a later fragment: its ports can't be read.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub fragment: bool,
    /// Where it arrives.
    pub side: &'static str,
    /// Its source MAC.
    pub mac: String,
    /// Its tags.
    pub vlan: String,
    #[serde(skip)]
    packet: Packet,
}

/// The same for the evaluator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Packet {
    src: IpAddr,
    dst: IpAddr,
    mac: Mac,
    vlans: Vlans,
    service: Service,
    side: Side,
}

impl Example {
    /// What a table says of it.
    #[must_use]
    pub fn judged(&self, table: &crate::policy::Table, now: Moment) -> Verdict {
        let Packet { src, dst, mac, vlans, service, side } = self.packet;
        table.judge(Sender { address: src, mac: SenderMac::Seen(mac), vlans }, dst, service, side, now)
    }
}

/// The words for the MACs of a [`Key`].
pub(super) fn macs(bits: u8) -> Vec<&'static str> {
    if bits == Key::ANY {
        return vec!["any"];
    }
    let words = Truth::ALL.into_iter().filter(|truth| bits & truth.bit() != 0);
    let word = |truth: Truth| match truth.0 {
        Both { old: false, new: false } => "not written",
        Both { old: true, new: false } => "written before",
        Both { old: false, new: true } => "written now",
        Both { old: true, new: true } => "written",
    };
    words.map(word).collect()
}

/// One packet of an entry, of a workload where there is one.
pub(super) fn of(
    crossed: &mut Crossed<'_>,
    entry: &Entry,
    is_workload: impl Fn(u32) -> bool,
) -> Option<Example> {
    let (sender, from) = pick(&crossed.ends.senders, &entry.senders, None, &is_workload)?;
    let (receiver, to) = pick(&crossed.ends.receivers, &entry.receivers, Some(from), &is_workload)?;
    let (src, dst) = (crossed.ends.address(from)?, crossed.ends.address(to)?);
    let (truth, vlans) = crossed.witness(&sender, &receiver, entry.key)?;
    let side = entry.key.side;
    let mac = mac(crossed.tables, src, side, truth)?;
    let runs = at(&crossed.judged.services, entry.key.services)?;
    let service = service(runs, src.is_ipv4())?;
    let packet = Packet { src, dst, mac, vlans, service, side };
    Some(Example {
        src: src.to_string(),
        dst: dst.to_string(),
        service: service_text(service),
        proto: service.protocol,
        sport: service.sport,
        dport: service.dport,
        fragment: !service.readable,
        side: side.name(),
        mac: mac.to_string(),
        vlan: vlans.to_string(),
        packet,
    })
}

/// The same of an entry, whoever it is from, for tests.
#[cfg(test)]
pub(in crate::policy) fn packet(
    crossed: &mut Crossed<'_>,
    entry: &Entry,
) -> Option<(Sender, IpAddr, Service, Side)> {
    let Packet { src, dst, mac, vlans, service, side } = of(crossed, entry, |_| false)?.packet;
    Some((Sender { address: src, mac: SenderMac::Seen(mac), vlans }, dst, service, side))
}

/// Classes looked at for a workload.
const TRIES: usize = 64;

/// A class, and a member of it that is not this one where there is another.
fn pick<K: Copy>(
    all: &[Class<K>],
    classes: &[u32],
    not: Option<u32>,
    is_workload: impl Fn(u32) -> bool,
) -> Option<(K, u32)> {
    let classes = classes.iter().filter_map(|class| at(all, *class));
    let members = || {
        classes
            .clone()
            .take(TRIES)
            .flat_map(|class| class.members.iter().take(TRIES).map(move |m| (class.kind, *m)))
    };
    let other = || members().filter(move |(_, member)| Some(*member) != not);
    other().find(|(_, member)| is_workload(*member)).or_else(|| other().next()).or_else(|| members().next())
}

/// A packet of these services: one that people know, where it is among them.
fn service(runs: &[Run], v4: bool) -> Option<Service> {
    let ported = |protocol, dport| Service { protocol, sport: DYNAMIC, dport, readable: true };
    let echo = if v4 { (ICMP, 0x0800) } else { (ICMPV6, 0x8000) };
    let known = [
        ported(TCP, 443),
        ported(TCP, 22),
        ported(UDP, 53),
        Service { protocol: echo.0, sport: 0, dport: echo.1, readable: true },
    ];
    let known = known.into_iter().find(|service| runs.iter().any(|run| run.contains(*service)));
    let first = |readable: bool| {
        let mut packets = runs.iter().filter_map(|run| run.packet(v4));
        packets.find(|service| service.readable == readable)
    };
    known.or_else(|| first(true)).or_else(|| first(false))
}
