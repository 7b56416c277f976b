//! Services and sets of ends in words.
//!
//! What it is: runs of places as people write services, and sets of addresses as label sets, workloads and
//! networks. What it is not: a decision. Invariant: a label set stands for its workloads only where all of them,
//! of both policies, are meant; a list that is cut says how much it leaves out. Cost: the members of a set.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use serde::Serialize;

use super::both::Both;
use super::effect::Run;
use crate::policy::model::{Labels, Match, Model};
use crate::policy::services::{ALL, UNREADABLE};
use crate::policy::table::{Table, is_group};
use crate::policy::words::name;
use crate::wire::protocol::{ICMP, ICMPV6, TCP, UDP};

/// Names of one list.
pub(super) const NAMES: usize = 1_000;
/// Parts of a set that its words tell.
const PARTS: usize = 5;

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
    pub(super) fn of(all: impl IntoIterator<Item = String>) -> Self {
        let mut all = all.into_iter();
        let names: Vec<String> = all.by_ref().take(NAMES).collect();
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
    /// How many workloads carry such labels.
    carried: HashMap<&'a Labels, usize>,
}

impl<'a> Faces<'a> {
    pub(super) fn new(models: Both<&'a Model>, tables: Both<&'a Table>) -> Self {
        let all = models.each().flat_map(|model| &model.workloads);
        let labels: BTreeMap<&str, &Labels> = all.map(|w| (w.name.as_str(), &w.labels)).collect();
        let mut carried: HashMap<&Labels, usize> = HashMap::new();
        for labels in labels.values() {
            *carried.entry(labels).or_default() += 1;
        }
        Self { models, tables, labels, carried }
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

    /// A set of addresses; `all` is everybody who could be in it.
    pub(super) fn set(&self, who: &BTreeSet<Who<'a>>, all: &BTreeSet<Who<'a>>) -> EndSet {
        let mut workloads: Vec<&'a str> = Vec::new();
        let mut others: Vec<&String> = Vec::new();
        for who in who {
            match who {
                Who::Workload(name) => workloads.push(*name),
                Who::Other(name) => others.push(name),
            }
        }
        let text = if who == all { "anything".to_owned() } else { self.words(&workloads, &others, all) };
        EndSet {
            text,
            workloads: Names::of(workloads.into_iter().map(str::to_owned)),
            others: Names::of(others.into_iter().cloned()),
        }
    }

    fn words(&self, workloads: &[&'a str], others: &[&String], all: &BTreeSet<Who<'a>>) -> String {
        let everybody = all.iter().filter(|who| matches!(who, Who::Workload(_))).count();
        let mut parts: Vec<String> = Vec::new();
        if workloads.len() > 1 && workloads.len() == everybody {
            parts.push(format!("any workload [{everybody}]"));
        } else {
            let mut sets: BTreeMap<&Labels, Vec<&str>> = BTreeMap::new();
            for workload in workloads {
                if let Some(labels) = self.labels.get(workload) {
                    sets.entry(labels).or_default().push(workload);
                }
            }
            let mut sets: Vec<(&Labels, Vec<&str>)> = sets.into_iter().collect();
            sets.sort_by_key(|(_, members)| std::cmp::Reverse(members.len()));
            let mut single: Vec<&str> = Vec::new();
            for (labels, members) in sets {
                let whole = self.carried.get(labels) == Some(&members.len());
                if whole && members.len() > 1 && !labels.is_empty() {
                    let labels =
                        labels.iter().map(|(key, value)| (key.clone(), vec![value.clone()])).collect();
                    let words = Match { labels, ..Match::default() }.words();
                    parts.push(format!("{words} [{}]", members.len()));
                } else {
                    single.extend(members);
                }
            }
            single.sort_unstable();
            parts.extend(single.into_iter().map(name));
        }
        parts.extend(others.iter().map(|other| (*other).clone()));
        let more = parts.len().saturating_sub(PARTS);
        let more = if more == 1 { 0 } else { more };
        parts.truncate(parts.len() - more);
        let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
        parts.join(", ") + &rest
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
