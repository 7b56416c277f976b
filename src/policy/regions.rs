//! Sets of services, made of regions of a line of services.
//!
//! What it is: what rules answer alike, as a set that can be compared, asked and read. What it is not: it knows no
//! rule. Invariant: equal sets are equal, those of nearly everything by what they leave out, so that a set means
//! the same between IPv4 and IPv6 addresses. Cost: sorts of regions.

use serde::Serialize;

use super::ground::{exists, packet};
use super::model::Model;
use super::programs::Region;
use super::services::ALL;
use crate::wire::protocol::{ICMP, ICMPV6, TCP, UDP};

/// Protocols from which on a set is told by what it leaves out.
const MANY: usize = 128;

/// Some services between ends of a family.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Services {
    /// All but those listed.
    but: bool,
    /// Sorted; none touches another that could be one with it.
    regions: Vec<Region>,
}

/// A set of services for programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Listed {
    /// These: `tcp/443`.
    Only(Vec<String>),
    /// Every IP protocol and port but these.
    AllBut(Vec<String>),
}

impl Services {
    /// Those of a division of all services that are meant; none if no packet between ends of the family can be
    /// one of them.
    pub(super) fn of(division: impl IntoIterator<Item = (Region, bool)>, v4: bool) -> Option<Self> {
        let possible = |region: &Region| {
            exists(region.protocol, v4) && packet(region.protocol, region.from, region.to).is_some()
        };
        let all = division.into_iter().filter(|(region, _)| possible(region));
        let (own, rest): (Vec<_>, Vec<_>) = all.partition(|(_, meant)| *meant);
        let [own, rest] =
            [own, rest].map(|part| joined(part.into_iter().map(|(region, _)| region).collect()));
        let mut protocols: Vec<u8> = own.iter().map(|region| region.protocol).collect();
        protocols.dedup();
        match protocols.len() {
            0 => None,
            MANY.. => Some(Self { but: true, regions: rest }),
            _ => Some(Self { but: false, regions: own }),
        }
    }

    /// Whether a readable service is one of them.
    #[cfg(test)]
    pub(super) fn contains(&self, service: crate::wire::Service) -> bool {
        self.regions.iter().any(|region| region.contains(service)) != self.but
    }

    /// For programs.
    pub(super) fn listed(&self) -> Listed {
        let all = self.regions.iter().map(|region| region.words()).collect();
        if self.but { Listed::AllBut(all) } else { Listed::Only(all) }
    }

    /// For people, at most so many of them: `https (tcp/443), tcp/8443`, `anything but https (tcp/443)`.
    pub(super) fn text(&self, model: &Model, most: usize) -> String {
        if self.but && self.regions.is_empty() {
            return "anything".to_owned();
        }
        let named = |region: &Region| {
            let words = region.words();
            let atom = |atom: &super::model::Atom| {
                (atom.protocol, atom.from, atom.to) == (region.protocol, region.from, region.to)
            };
            let mut names = model.services.iter().filter(|(_, service)| match service.atoms.as_slice() {
                [one] => atom(one),
                _ => false,
            });
            names.next().map_or_else(|| words.clone(), |(name, _)| format!("{name} ({words})"))
        };
        let mut words: Vec<String> = self.regions.iter().take(most).map(named).collect();
        if self.regions.len() > most {
            words.push(format!("{} more", self.regions.len() - most));
        }
        let but = if self.but { "anything but " } else { "" };
        format!("{but}{}", words.join(", "))
    }
}

impl Region {
    /// Whether a readable service lies in it.
    #[cfg(test)]
    fn contains(&self, service: crate::wire::Service) -> bool {
        let within = |(first, last): (u16, u16), port| (first..=last).contains(&port);
        self.protocol == service.protocol
            && within(self.from, service.sport)
            && within(self.to, service.dport)
    }

    /// What lies in both.
    pub(super) fn meet(self, other: Self) -> Option<Self> {
        let both = |(a, b): (u16, u16), (c, d): (u16, u16)| {
            let (first, last) = (a.max(c), b.min(d));
            (first <= last).then_some((first, last))
        };
        let same = (self.protocol == other.protocol).then_some(self.protocol);
        Some(Self { protocol: same?, from: both(self.from, other.from)?, to: both(self.to, other.to)? })
    }

    /// Ports or types in it that a destination can have.
    pub(super) fn ports(self) -> u64 {
        match self.protocol {
            TCP | UDP | ICMP | ICMPV6 => {
                let (first, last) = self.to;
                u64::from(last) - u64::from(first) + 1
            }
            _ => 1,
        }
    }

    /// `tcp/443`, `udp/67 from 68`, `icmp/8`, `icmp/3.4`, `ip/50`.
    fn words(self) -> String {
        let Self { protocol, from, to: (first, last) } = self;
        let name = match protocol {
            TCP => "tcp",
            UDP => "udp",
            ICMP => "icmp",
            ICMPV6 => "icmpv6",
            other => return format!("ip/{other}"),
        };
        let range = |(first, last): (u16, u16)| {
            if first == last { first.to_string() } else { format!("{}-{last}", first.max(1)) }
        };
        if protocol == TCP || protocol == UDP {
            // No packet has port 0.
            let any = from.0 <= 1 && from.1 == u16::MAX;
            let source = if any { String::new() } else { format!(" from {}", range(from)) };
            return format!("{name}/{}{source}", range((first, last)));
        }
        let ([kind, code], [last_kind, last_code]) = (first.to_be_bytes(), last.to_be_bytes());
        match (kind == last_kind, code, last_code) {
            _ if (first, last) == ALL => name.to_owned(),
            (true, 0, u8::MAX) => format!("{name}/{kind}"),
            (true, _, _) if code == last_code => format!("{name}/{kind}.{code}"),
            (true, _, _) => format!("{name}/{kind}.{code}-{last_code}"),
            (false, 0, u8::MAX) => format!("{name}/{kind}-{last_kind}"),
            (false, _, _) => format!("{name}/{kind}.{code}-{last_kind}.{last_code}"),
        }
    }
}

/// What two divisions of all services make together, part by part; both are in the order of protocols.
pub(super) fn overlaid<X: Copy, Y: Copy>(
    one: &[(Region, X)],
    other: &[(Region, Y)],
) -> Vec<(Region, X, Y)> {
    let mut parts = Vec::with_capacity(one.len().max(other.len()));
    for (region, x) in one {
        let start = other.partition_point(|(theirs, _)| theirs.protocol < region.protocol);
        let theirs = other.get(start..).unwrap_or_default().iter();
        let theirs = theirs.take_while(|(theirs, _)| theirs.protocol == region.protocol);
        parts.extend(theirs.filter_map(|(theirs, y)| Some((region.meet(*theirs)?, *x, *y))));
    }
    parts
}

/// Regions that touch and can be one, as one.
fn joined(mut regions: Vec<Region>) -> Vec<Region> {
    let next = |(_, last): (u16, u16), (first, _): (u16, u16)| last.checked_add(1) == Some(first);
    regions.sort_unstable();
    let mut wide: Vec<Region> = Vec::with_capacity(regions.len());
    for region in regions {
        match wide.last_mut() {
            Some(last)
                if (last.protocol, last.from) == (region.protocol, region.from)
                    && next(last.to, region.to) =>
            {
                last.to.1 = region.to.1;
            }
            Some(_) | None => wide.push(region),
        }
    }
    wide.sort_unstable_by_key(|region| (region.protocol, region.to, region.from));
    let mut all: Vec<Region> = Vec::with_capacity(wide.len());
    for region in wide {
        match all.last_mut() {
            Some(last)
                if (last.protocol, last.to) == (region.protocol, region.to)
                    && next(last.from, region.from) =>
            {
                last.from.1 = region.from.1;
            }
            Some(_) | None => all.push(region),
        }
    }
    all.sort_unstable();
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::sample;
    use crate::wire::Service;

    fn region(protocol: u8, from: (u16, u16), to: (u16, u16)) -> Region {
        Region { protocol, from, to }
    }

    fn everything() -> Vec<(Region, bool)> {
        (0..=u8::MAX).map(|protocol| (region(protocol, ALL, ALL), true)).collect()
    }

    #[test]
    fn a_set_is_told_as_policy_text_has_it() {
        let words = |protocol, from, to| region(protocol, from, to).words();
        assert_eq!(words(TCP, ALL, (443, 443)), "tcp/443");
        assert_eq!(words(TCP, ALL, ALL), "tcp/1-65535");
        assert_eq!(words(UDP, (68, 68), (67, 67)), "udp/67 from 68");
        assert_eq!(words(UDP, (0, 9), (53, 54)), "udp/53-54 from 1-9");
        assert_eq!(words(ICMP, ALL, (0x0800, 0x08ff)), "icmp/8");
        assert_eq!(words(ICMP, ALL, (0x0304, 0x0304)), "icmp/3.4");
        assert_eq!(words(ICMP, ALL, (0x0304, 0x0306)), "icmp/3.4-6");
        assert_eq!(words(ICMPV6, ALL, (0x0100, 0x04ff)), "icmpv6/1-4");
        assert_eq!(words(ICMPV6, ALL, (0x0105, 0x04ff)), "icmpv6/1.5-4.255");
        assert_eq!([words(ICMP, ALL, ALL), words(50, ALL, ALL)], ["icmp", "ip/50"]);
    }

    #[test]
    fn nearly_everything_is_told_by_what_it_leaves_out_in_both_families() {
        let model = sample::load(sample::BIG).model;
        let any = Services::of(everything(), true).unwrap();
        assert_eq!(any.text(&model, 8), "anything");
        assert_eq!(Services::of(everything(), false), Some(any));
        let split = |from, to, meant| (region(TCP, from, to), meant);
        let but_https: Vec<_> = everything()
            .into_iter()
            .filter(|(region, _)| region.protocol != TCP)
            .chain([
                split(ALL, (0, 442), true),
                split(ALL, (443, 443), false),
                split(ALL, (444, u16::MAX), true),
            ])
            .collect();
        let most = Services::of(but_https, true).unwrap();
        assert_eq!(most.text(&model, 8), "anything but https (tcp/443)");
        assert_eq!(most.listed(), Listed::AllBut(vec!["tcp/443".into()]));
        let https = |sport, dport| Service { protocol: TCP, sport, dport, readable: true };
        assert_eq!([most.contains(https(1, 443)), most.contains(https(1, 444))], [false, true]);
    }

    #[test]
    fn pieces_that_touch_are_one_and_a_port_that_no_packet_has_is_none() {
        let part = |from, to| (region(TCP, from, to), true);
        let cut = [
            part((0, 9), (1, 5)),
            part((10, u16::MAX), (1, 3)),
            part((10, u16::MAX), (4, 5)),
            (region(TCP, ALL, (6, 7)), false),
        ];
        let one = Services::of(cut, true).unwrap();
        assert_eq!(one.listed(), Listed::Only(vec!["tcp/1-5".into()]));
        assert_eq!(Services::of([(region(TCP, ALL, (0, 0)), true)], true), None);
        assert_eq!(Services::of([(region(ICMP, ALL, ALL), true)], false), None);
        assert_eq!([part(ALL, (1, 5)).0.ports(), region(50, ALL, ALL).ports()], [5, 1]);
    }
}
