//! Services in words, and who an address is.
//!
//! What it is: runs of places as people write services, addresses as workloads, groups and networks. What it is
//! not: a decision, or a set of ends (`roster`). Invariant: a list that is cut says how much it leaves out.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;

use super::both::Both;
use super::effect::Run;
use crate::policy::model::{Labels, Model};
use crate::policy::services::{ALL, UNREADABLE};
use crate::policy::table::{Table, is_group};
use crate::policy::words::name;
use crate::wire::protocol::{ICMP, ICMPV6, TCP, UDP};

/// Names of one list.
pub(super) const NAMES: usize = 1_000;

/// Names, as many as a list may have.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Names {
    /// In order.
    pub names: Vec<String>,
    /// How many more there are.
    #[serde(skip_serializing_if = "is_zero")]
    pub left_out: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_zero(n: &usize) -> bool {
    *n == 0
}

impl Names {
    pub(super) fn of<T: Into<String>>(all: impl IntoIterator<Item = T>) -> Self {
        let mut all = all.into_iter();
        let names: Vec<String> = all.by_ref().take(NAMES).map(Into::into).collect();
        Self { names, left_out: all.count() }
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.names.len() + self.left_out
    }
}

/// A set of ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EndSet {
    /// In words: `payments api (prod) [6]`, `anything`.
    pub text: String,
    /// The workloads in it.
    pub workloads: Names,
    /// What no workload claims: networks, groups.
    pub others: Names,
}

/// Who an address is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Who<'a> {
    /// A workload, of the new policy where both have one.
    Workload(&'a str),
    /// Nobody's: group or network.
    Other(String),
}

/// Both policies' names.
#[derive(Debug)]
pub(super) struct Faces<'a> {
    models: Both<&'a Model>,
    tables: Both<&'a Table>,
    /// Labels of each workload: the new policy's where it has it.
    labels: BTreeMap<&'a str, &'a Labels>,
}

impl<'a> Faces<'a> {
    pub(super) fn new(models: Both<&'a Model>, tables: Both<&'a Table>) -> Self {
        let all = models.each().flat_map(|model| &model.workloads);
        let labels: BTreeMap<&str, &Labels> = all.map(|w| (w.name.as_str(), &w.labels)).collect();
        Self { models, tables, labels }
    }

    /// Who an address is, to the new policy or else to the old one.
    pub(super) fn who(&self, address: IpAddr) -> Who<'a> {
        let of = |model: &'a Model, table: &'a Table| {
            let stretch = table.space().get(table.space().find(address))?;
            if let Some(group) = stretch.group.and_then(|group| model.groups.get(group)) {
                return Some(Who::Other(format!("group {}", group.name)));
            }
            let workload = model.workloads.get(stretch.workload?)?;
            Some(Who::Workload(&workload.name))
        };
        let Both { old, new } = self.models.zip(self.tables).map(|(model, table)| of(model, table));
        new.or(old).unwrap_or_else(|| {
            let network = |table: &Table| {
                table.locate(address).network.map(|network| format!("unknown in {}", name(network)))
            };
            if is_group(address) {
                return Who::Other("multicast in no group".to_owned());
            }
            let network = network(self.tables.new).or_else(|| network(self.tables.old));
            Who::Other(network.unwrap_or_else(|| "unknown".to_owned()))
        })
    }

    /// Labels of a workload.
    pub(super) fn labels(&self, workload: &str) -> Option<&'a Labels> {
        self.labels.get(workload).copied()
    }

    /// All label sets in order, and how many workloads carry each.
    pub(super) fn carried(&self) -> impl Iterator<Item = (&'a Labels, usize)> {
        let mut carried: BTreeMap<&Labels, usize> = BTreeMap::new();
        for labels in self.labels.values() {
            *carried.entry(labels).or_default() += 1;
        }
        carried.into_iter()
    }
}

/// Services as people write them; later fragments are left out where whole packets are there.
pub(super) fn services(runs: &[Run]) -> Names {
    let whole = runs.iter().any(|run| run.first < UNREADABLE);
    Names::of(runs.iter().filter(|run| !whole || run.first < UNREADABLE).flat_map(run_words))
}

fn run_words(run: &Run) -> Vec<String> {
    let low = |place: u32| u8::try_from(place & 0xff).unwrap_or(u8::MAX);
    if run.first >= UNREADABLE {
        let (first, last) = (low(run.first), low(run.last));
        return vec![match (first, last) {
            (0, u8::MAX) => "later fragments".to_owned(),
            _ if first == last => format!("later fragments of {}", protocol(first)),
            _ => format!("later fragments of ip/{first}-{last}"),
        }];
    }
    if (run.first, run.last, run.from) == (0, UNREADABLE - 1, ALL) {
        return vec!["any".to_owned()];
    }
    let from = match run.from {
        ALL => String::new(),
        (first, last) if first == last => format!(" from {first}"),
        (first, last) => format!(" from {first}-{last}"),
    };
    // Part of a protocol at either end, whole ones between.
    let (first, last) = (low(run.first >> 16), low(run.last >> 16));
    let port = |place: u32| u16::try_from(place & 0xffff).unwrap_or(u16::MAX);
    if first == last {
        return vec![ports(first, (port(run.first), port(run.last))) + &from];
    }
    let mut words = Vec::new();
    let (mut start, mut end) = (first, last);
    if port(run.first) != 0 {
        words.push(ports(first, (port(run.first), u16::MAX)) + &from);
        start += 1;
    }
    if port(run.last) != u16::MAX {
        end -= 1;
    }
    if start == end {
        words.push(ports(start, ALL) + &from);
    } else if start < end {
        words.push(format!("ip/{start}-{end}{from}"));
    }
    if end != last {
        words.push(ports(last, (0, port(run.last))) + &from);
    }
    words
}

fn protocol(protocol: u8) -> String {
    match protocol {
        TCP => "tcp".to_owned(),
        UDP => "udp".to_owned(),
        ICMP => "icmp".to_owned(),
        ICMPV6 => "icmpv6".to_owned(),
        other => format!("ip/{other}"),
    }
}

fn ports(number: u8, (first, last): (u16, u16)) -> String {
    let named = protocol(number);
    if (first, last) == ALL || ![TCP, UDP, ICMP, ICMPV6].contains(&number) {
        return named;
    }
    if number == TCP || number == UDP {
        let first = first.max(1);
        return if first == last { format!("{named}/{first}") } else { format!("{named}/{first}-{last}") };
    }
    let ([kind, code], [last_kind, last_code]) = (first.to_be_bytes(), last.to_be_bytes());
    match (code, last_code) {
        (0, u8::MAX) if kind == last_kind => format!("{named}/{kind}"),
        (0, u8::MAX) => format!("{named}/{kind}-{last_kind}"),
        _ if first == last => format!("{named}/{kind}.{code}"),
        _ => format!("{named}/{kind}.{code}-{last_kind}.{last_code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::services::place;

    #[test]
    fn services_are_called_as_they_are_written() {
        let run = |first, last| Run { from: ALL, first, last };
        let told = |runs: &[Run]| services(runs).names.join(", ");
        assert_eq!(told(&[run(place(TCP, 443), place(TCP, 443))]), "tcp/443");
        assert_eq!(told(&[run(place(TCP, 0), place(TCP, u16::MAX))]), "tcp");
        assert_eq!(
            told(&[Run { from: (68, 68), ..run(place(UDP, 67), place(UDP, 67)) }]),
            "udp/67 from 68"
        );
        assert_eq!(told(&[run(place(ICMP, 0x0800), place(ICMP, 0x08ff))]), "icmp/8");
        assert_eq!(told(&[run(place(ICMP, 0x0304), place(ICMP, 0x0304))]), "icmp/3.4");
        assert_eq!(told(&[run(place(50, 0), place(50, u16::MAX))]), "ip/50");
        assert_eq!(told(&[run(0, UNREADABLE - 1), run(UNREADABLE, UNREADABLE + 255)]), "any");
        assert_eq!(told(&[run(UNREADABLE + 6, UNREADABLE + 6)]), "later fragments of tcp");
        assert_eq!(
            told(&[run(0, place(TCP, 442)), run(place(TCP, 444), UNREADABLE - 1)]),
            "ip/0-5, tcp/1-442, tcp/444-65535, ip/7-255"
        );
    }
}
