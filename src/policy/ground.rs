//! Everybody who can open a connection, or have one opened to: one address for all that nothing tells apart.
//!
//! What it is: the ends that policy tests, lint and proofs go through, as the compiled table sees them, and the
//! packets that stand for all ports. What it is not: it judges nothing. Bindings are fresh and MACs true here.
//! A pair counts if this gate sees it: its ends lie on different sides, or its destination is a group. Cost:
//! one view for each run of addresses.

use std::collections::HashSet;
use std::net::IpAddr;
use std::ops::ControlFlow;

use super::Action;
use super::model::{Model, Selector, ServiceSet};
use super::prefix::Prefix;
use super::programs::Region;
use super::selector::{Carried, Reading, Subject};
use super::services::ALL;
use super::space::{Stretch, View};
use super::stage::odd_source;
use super::table::Table;
use super::witness::witnesses;
use crate::wire::protocol::{ICMP, ICMPV6, has_ports};
use crate::wire::{Odd, Service, Side, is_extension};

/// The first dynamic port (RFC 6335): a client's, where no rule says which.
pub(super) const DYNAMIC: u16 = 49_152;

/// One address for all that nothing tells from it, as a selector sees it.
pub(super) struct End<'a> {
    pub(super) address: IpAddr,
    /// The class that the table has for it.
    pub(super) class: u32,
    view: View<'a>,
    /// Its claim is one address: it can hold an account.
    host: bool,
    /// Some zone governs it.
    pub(super) zoned: bool,
}

impl End<'_> {
    /// Whether a selector means it.
    pub(super) fn is_meant(&self, selector: &Selector, reading: Reading) -> bool {
        selector.matches(&self.view.subject(self.host), reading)
    }

    /// As a selector sees it, its account held if it can be.
    pub(super) fn subject(&self) -> Subject<'_> {
        self.view.subject(self.host)
    }

    /// What `same` and `differs` look at.
    pub(super) fn carried(&self) -> Carried<'_> {
        self.view.subject(self.host).carried()
    }
}

/// All ends there are.
pub(super) struct Ground<'a> {
    pub(super) table: &'a Table,
    /// By [`Side::index`].
    senders: [Vec<End<'a>>; 2],
    /// By the side of the sender: hosts of the other side, and groups.
    receivers: [Vec<End<'a>>; 2],
}

impl<'a> Ground<'a> {
    pub(super) fn new(model: &'a Model, table: &'a Table) -> Self {
        let space = table.space();
        let mut ground = Self { table, senders: Default::default(), receivers: Default::default() };
        let lets = |odd: Odd| odd == Odd::LinkLocal && model.gate.link_local == Action::Forward;
        for address in witnesses(model).into_iter().filter(|address| table.is_end(*address)) {
            if table.is_group(address) {
                let Some(own) = space.get(space.find(address)) else { continue };
                for (side, receivers) in Side::BOTH.into_iter().zip(&mut ground.receivers) {
                    let [outside, inside] = &space.zones_at;
                    let zones = match side {
                        Side::Outside => inside.clone(),
                        Side::Inside => outside.clone(),
                    };
                    let stretch = Stretch { zones, group: own.group, ..Stretch::NOWHERE };
                    let view = space.view(model, &stretch);
                    let class = table.receiver_class(address, side);
                    let zoned = !stretch.zones.is_empty();
                    receivers.push(End { address, class, view, host: false, zoned });
                }
                continue;
            }
            let prefix = Prefix::containing(address, if address.is_ipv4() { 32 } else { 128 });
            let odd = odd_source(prefix).is_some_and(|odd| !lets(odd));
            let Some(own) = space.get(space.find(address)).filter(|_| !odd) else {
                continue;
            };
            let Some(side) = own.side else { continue };
            let zoned = !own.zones.is_empty();
            let end = |class| End { address, class, view: space.view(model, own), host: own.host, zoned };
            let [senders_outside, senders_inside] = &mut ground.senders;
            let [to_inside, to_outside] = &mut ground.receivers;
            let (senders, receivers) = match side {
                Side::Outside => (senders_outside, to_outside),
                Side::Inside => (senders_inside, to_inside),
            };
            senders.push(end(table.sender_class(address)));
            receivers.push(end(table.receiver_class(address, side.other())));
        }
        ground
    }

    /// Senders of each side, and whom they can open to.
    pub(super) fn sides(&self) -> impl Iterator<Item = (&[End<'a>], &[End<'a>])> {
        self.senders
            .iter()
            .zip(&self.receivers)
            .map(|(senders, receivers)| (senders.as_slice(), receivers.as_slice()))
    }

    /// With every sender a second time, as one whose MAC is not true: it holds no account.
    pub(super) fn with_strangers(mut self, model: &'a Model) -> Self {
        let (table, space) = (self.table, self.table.space());
        for senders in &mut self.senders {
            let strangers = senders.iter().filter_map(|end| {
                let own = space.get(space.find(end.address))?;
                let class = table.stranger_class(end.address);
                Some(End { class, view: space.view(model, own), host: false, ..*end })
            });
            let strangers: Vec<End<'a>> = strangers.collect();
            senders.extend(strangers);
        }
        self
    }

    /// Keeps one of each kind: equal in class, tags and family. No rule tells the others from it; a selector
    /// that is no rule's may.
    pub(super) fn reduced(mut self) -> Self {
        let table = self.table;
        for ends in self.senders.iter_mut().chain(&mut self.receivers) {
            let mut seen = HashSet::new();
            let kind = |end: &End<'_>| {
                let address = end.address;
                (end.class, end.host, table.is_group(address), table.tags(address), address.is_ipv4())
            };
            ends.retain(|end| seen.insert(kind(end)));
        }
        self
    }

    /// Goes through the pairs that two selectors mean, one of each kind: equal in class, tags, family, and to
    /// what `to` compares.
    pub(super) fn pairs<T>(
        &self,
        (from, to): (&Selector, &Selector),
        joining: &Selector,
        reading: Reading,
        mut each: impl FnMut(&End<'a>, &End<'a>) -> ControlFlow<T>,
    ) -> ControlFlow<T> {
        for (senders, receivers) in self.senders.iter().zip(&self.receivers) {
            let froms = self.unlike(senders, from, joining, reading);
            if froms.is_empty() {
                continue;
            }
            let tos = self.unlike(receivers, to, joining, reading);
            for from in froms {
                let family = |to: &&&End<'_>| to.address.is_ipv4() == from.address.is_ipv4();
                let joined = |to: &&&End<'_>| joining.joins(from.carried(), to.carried());
                for to in tos.iter().filter(family).filter(joined) {
                    each(from, to)?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Whether both selectors mean somebody, and not on one side only.
    pub(super) fn faces(&self, (from, to): (&Selector, &Selector), reading: Reading) -> bool {
        let some = |ends: &[End<'_>], selector| ends.iter().any(|end| end.is_meant(selector, reading));
        let mut sides = self.senders.iter().zip(&self.receivers);
        sides.any(|(senders, receivers)| some(senders, from) && some(receivers, to))
    }

    /// Whether two ends that the selectors mean belong together as `joining` says, wherever they lie.
    pub(super) fn joins_anywhere(
        &self,
        (from, to): (&Selector, &Selector),
        joining: &Selector,
        reading: Reading,
    ) -> bool {
        let [froms, tos] = [(&self.senders, from), (&self.receivers, to)].map(|(ends, selector)| {
            ends.iter().flat_map(|ends| self.unlike(ends, selector, joining, reading)).collect::<Vec<_>>()
        });
        froms.iter().any(|from| {
            let family = |to: &&&End<'_>| to.address.is_ipv4() == from.address.is_ipv4();
            tos.iter().filter(family).any(|to| joining.joins(from.carried(), to.carried()))
        })
    }

    fn unlike<'s>(
        &self,
        ends: &'s [End<'a>],
        selector: &Selector,
        joining: &Selector,
        reading: Reading,
    ) -> Vec<&'s End<'a>> {
        let mut seen = HashSet::new();
        let kind = |end: &End<'_>| {
            let kind = end.carried().kind(joining.joined());
            // A group may be in the class of hosts, and has no tags.
            let (address, group) = (end.address, self.table.is_group(end.address));
            (end.class, end.host, group, self.table.tags(address), address.is_ipv4(), kind)
        };
        ends.iter().filter(|end| end.is_meant(selector, reading) && seen.insert(kind(end))).collect()
    }

    /// Whether some tag is that of both networks; a group has none.
    pub(super) fn meet(&self, from: &End<'_>, to: &End<'_>) -> bool {
        let far = self.table.tags(to.address);
        self.table.is_group(to.address)
            || self.table.tags(from.address).iter().any(|tags| far.contains(tags))
    }
}

/// Whether a protocol is one between ends of this family.
pub(super) const fn exists(protocol: u8, v4: bool) -> bool {
    match protocol {
        ICMP => v4,
        ICMPV6 => !v4,
        _ => v4 || !is_extension(protocol),
    }
}

/// One packet of each part of the services that lies in a region.
pub(super) fn within(region: Region, services: &ServiceSet) -> impl Iterator<Item = Service> {
    parts(region, services).filter_map(|part| packet(part.protocol, part.from, part.to))
}

/// The parts of the services that lie in a region.
pub(super) fn parts(region: Region, services: &ServiceSet) -> impl Iterator<Item = Region> {
    let any = services.any.then_some((ALL, ALL));
    let atoms = services.atoms.iter().filter(move |atom| atom.protocol == region.protocol);
    let parts = any.into_iter().chain(atoms.map(|atom| (atom.from, atom.to)));
    parts.filter_map(move |(from, to)| region.meet(Region { from, to, ..region }))
}

/// A packet with ports in these ranges; none where only port 0 is, which no packet may have.
pub(super) fn packet(protocol: u8, from: (u16, u16), to: (u16, u16)) -> Option<Service> {
    let ported = has_ports(protocol);
    let least = |range: (u16, u16)| if ported { range.0.max(1) } else { range.0 };
    let (sport, dport) = (least(from), least(to));
    if sport > from.1 || dport > to.1 {
        return None;
    }
    let client = ported && (sport..=from.1).contains(&DYNAMIC);
    Some(Service { protocol, sport: if client { DYNAMIC } else { sport }, dport, readable: true })
}
