//! A judgement's cost over the number of rules, beside a peer that goes through all of them.
//!
//! What is compared: [`Table::judge`] with everything that it decides, and a scan of plain rows that share
//! nothing with it but the text's meaning, strongest tier first, until one matches. Before anything is timed
//! both give the same answer to a million connections: half between hosts at random, half such as some rule
//! names.

use std::collections::HashMap;
use std::hint::black_box;

use portcullis::io::clock::boot_nanos;
use portcullis::policy::{Moment, Sender, SenderMac, Table};
use portcullis::wire::{Service, Side, Vlans};

use crate::sets::{Bucket, Host, Plain, Set, Shape};
use crate::statistics::SplitMix;
use crate::{Failed, load};

/// Connections that both are asked about.
pub(crate) const PROBES: usize = 1 << 20;
/// Connections of a turn of the scan.
const SCANNED: usize = 512;

/// Rules and their places among all.
type Ordered<'s> = Vec<(usize, &'s Plain)>;

/// A connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) service: Service,
}

/// One policy and its peer.
pub(crate) struct Bout {
    pub(crate) set: Set,
    pub(crate) table: Table,
    pub(crate) probes: Vec<Probe>,
    /// What the table is asked, ready.
    asked: Vec<(Sender, std::net::IpAddr, Service, Side)>,
    pub(crate) compile_nanos: u64,
    next: usize,
}

impl Bout {
    /// Makes and compiles a policy.
    pub(crate) fn new(shape: Shape) -> Result<Self, Failed> {
        let mut set = Set::new(shape);
        let model = load(std::mem::take(&mut set.files))?.model;
        let before = boot_nanos();
        let table = portcullis::policy::compile(&model, &portcullis::policy::Exceptions::NONE);
        let compile_nanos = boot_nanos() - before;
        let probes = probes(&set, shape.seed);
        let asked = probes.iter().filter_map(|probe| {
            let (from, to) = (set.hosts.get(probe.from)?, set.hosts.get(probe.to)?);
            let sender = Sender { address: from.address, mac: SenderMac::Assumed, vlans: Vlans::UNTAGGED };
            Some((sender, to.address, probe.service, from.side))
        });
        let asked = asked.collect();
        Ok(Self { set, table, probes, asked, compile_nanos, next: 0 })
    }

    /// How many of the probes are allowed, if both agree on all of them.
    pub(crate) fn agree(&self) -> Result<usize, Failed> {
        // The scan would take hours at size: each sender is held only against the rules that may mean it.
        let mut buckets: HashMap<Bucket, Ordered<'_>> = HashMap::new();
        for (order, rule) in self.set.rules.iter().enumerate() {
            buckets.entry(rule.from.bucket()).or_default().push((order, rule));
        }
        let mut named: HashMap<(Bucket, u8, u16), Ordered<'_>> = HashMap::new();
        let mut allowed = 0;
        for (probe, (sender, dst, service, side)) in self.probes.iter().zip(&self.asked) {
            let (Some(from), Some(to)) = (self.set.hosts.get(probe.from), self.set.hosts.get(probe.to))
            else {
                continue;
            };
            let matching = from.buckets().filter_map(|bucket| {
                let all = buckets.get(&bucket)?;
                let here = named.entry((bucket, service.protocol, service.dport)).or_insert_with(|| {
                    all.iter().filter(|(_, rule)| rule.names(*service)).copied().collect()
                });
                here.iter().find(|(_, rule)| rule.matches(from, to, *service)).copied()
            });
            let first = matching.min_by_key(|(order, _)| *order).map(|(_, rule)| rule);
            let scan = first.is_some_and(|rule| rule.allow);
            let verdict = self.table.judge(*sender, *dst, *service, *side, Moment(1));
            if verdict.denial.is_none() != scan {
                return Err(Failed::Differ(format!(
                    "{} → {dst} {service:?}: the table says {verdict:?}, the scan {first:?} of {from:?} {to:?}",
                    sender.address
                )));
            }
            allowed += usize::from(scan);
        }
        Ok(allowed)
    }

    /// Whether the table allows a connection.
    pub(crate) fn allows(&self, probe: Probe) -> bool {
        let (Some(from), Some(to)) = (self.set.hosts.get(probe.from), self.set.hosts.get(probe.to)) else {
            return false;
        };
        let sender = Sender { address: from.address, mac: SenderMac::Assumed, vlans: Vlans::UNTAGGED };
        self.table.judge(sender, to.address, probe.service, from.side, Moment(1)).denial.is_none()
    }

    /// Nanoseconds of a judgement, over so many.
    pub(crate) fn judge(&mut self, count: usize) -> u64 {
        let start = self.next;
        self.next = (start + count) % self.asked.len().max(1);
        let turn = self.asked.iter().cycle().skip(start).take(count);
        let before = boot_nanos();
        let mut sum = 0_u32;
        for (sender, dst, service, side) in turn {
            let verdict = self.table.judge(*sender, *dst, *service, *side, Moment(1));
            sum = sum.wrapping_add(verdict.rule.0);
        }
        black_box(sum);
        boot_nanos() - before
    }

    /// Nanoseconds of a scan, over [`SCANNED`].
    pub(crate) fn scan(&self) -> (u64, usize) {
        let probes: Vec<(&Host, &Host, Service)> = self
            .probes
            .iter()
            .take(SCANNED)
            .filter_map(|p| Some((self.set.hosts.get(p.from)?, self.set.hosts.get(p.to)?, p.service)))
            .collect();
        let before = boot_nanos();
        let mut found = 0;
        for (from, to, service) in &probes {
            found += usize::from(self.set.rules.iter().any(|rule| rule.matches(from, to, *service)));
        }
        black_box(found);
        (boot_nanos() - before, probes.len())
    }
}

fn probes(set: &Set, seed: u64) -> Vec<Probe> {
    let mut draw = SplitMix(seed ^ 0x70_726f_6265);
    let side = |side| {
        let here = set.hosts.iter().enumerate().filter(move |(_, host)| host.side == side);
        here.filter(|(_, host)| host.address.is_ipv4()).map(|(index, _)| index).collect::<Vec<usize>>()
    };
    let [outside, inside] = Side::BOTH.map(side);
    let pick = |draw: &mut SplitMix, all: &[usize]| all.get(draw.below(all.len())).copied().unwrap_or(0);
    let mut members: HashMap<usize, (Vec<usize>, Vec<usize>)> = HashMap::new();
    (0..PROBES)
        .map(|number| {
            let rule = draw.below(set.rules.len());
            let ports =
                set.rules.get(rule).and_then(|r| r.services.get(draw.below(r.services.len())).copied());
            let (protocol, dport) = ports.map_or((6, 443), |p| {
                let span = usize::from(p.last - p.first) + 1;
                // Few ports, so that the peer's lists by service stay few.
                let within = u16::try_from(draw.below(span.min(3))).unwrap_or(0);
                (p.protocol, p.first + within)
            });
            let service = Service { protocol, sport: 40_000, dport, readable: true };
            let (mut from, mut to) = (pick(&mut draw, &outside), pick(&mut draw, &inside));
            if draw.below(4) == 0 {
                (from, to) = (to, from);
            }
            // Members of a rule are found once for a bounded number of rules.
            if number % 2 == 0 && (members.len() < 256 || members.contains_key(&rule)) {
                let (froms, tos) = members.entry(rule).or_insert_with(|| {
                    let of = |end: fn(&Plain) -> &crate::sets::End| {
                        let matching = set.hosts.iter().enumerate().filter(|(_, host)| {
                            set.rules
                                .get(rule)
                                .is_some_and(|r| host.address.is_ipv4() && end(r).matches(host, r.allow))
                        });
                        matching.map(|(index, _)| index).collect()
                    };
                    (of(|r| &r.from), of(|r| &r.to))
                });
                let (named_from, named_to) = (pick(&mut draw, froms), pick(&mut draw, tos));
                let sides = [named_from, named_to].map(|n| set.hosts.get(n).map(|host| host.side));
                if !froms.is_empty() && !tos.is_empty() && sides[0] != sides[1] {
                    (from, to) = (named_from, named_to);
                }
            }
            Probe { from, to, service }
        })
        .collect()
}
