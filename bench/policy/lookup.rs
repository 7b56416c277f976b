//! A judgement's cost over the number of rules, beside a peer that goes through all of them.
//!
//! What is compared: the table with everything that it decides, and a scan of plain rows that share
//! nothing with it but the text's meaning, strongest tier first, until one matches. The table is asked as the
//! pipeline asks it: a large one bursts from one side, found together ([`Table::meet_all`]), a small one one by one; and the other way beside it. Before
//! anything is timed all give the same answer to a million connections: half between hosts at random, half such as
//! some rule names.

use std::collections::HashMap;
use std::hint::black_box;

use portcullis::io::clock::boot_nanos;
use portcullis::io::region;
use portcullis::pipeline::BURST;
use portcullis::policy::{Connection, Met, Moment, Sender, SenderMac, Table};
use portcullis::wire::{Service, Side, Vlans};

use crate::sets::{Bucket, Host, Plain, Set, Shape};
use crate::statistics::SplitMix;
use crate::{Failed, load};

/// Connections that both are asked about.
pub(crate) const PROBES: usize = 1 << 20;
/// Connections of a turn of the scan.
const SCANNED: usize = 512;

/// When everything is asked.
const NOW: Moment = Moment(1);

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
    /// The probes as the table is asked them, in bursts of one side each; fewer than a burst are left out.
    bursts: Vec<(Side, [Connection; BURST])>,
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
        // As the gate does before it puts a policy in force.
        for range in table.memory() {
            region::gather(&range);
        }
        let probes = probes(&set, shape.seed);
        let mut waiting = [Vec::new(), Vec::new()];
        let mut bursts = Vec::with_capacity(probes.len() / BURST);
        for (side, connection) in probes.iter().filter_map(|probe| connection(&set, *probe)) {
            let Some(here) = waiting.get_mut(side.index()) else { continue };
            here.push(connection);
            if let Some(burst) = here.first_chunk::<BURST>() {
                bursts.push((side, *burst));
                here.clear();
            }
        }
        Ok(Self { set, table, probes, bursts, compile_nanos, next: 0 })
    }

    /// How many of the probes are allowed, if all agree on all of them.
    pub(crate) fn agree(&self) -> Result<usize, Failed> {
        // The scan would take hours at size: each sender is held only against the rules that may mean it.
        let mut buckets: HashMap<Bucket, Ordered<'_>> = HashMap::new();
        for (order, rule) in self.set.rules.iter().enumerate() {
            buckets.entry(rule.from.bucket()).or_default().push((order, rule));
        }
        let mut named: HashMap<(Bucket, u8, u16), Ordered<'_>> = HashMap::new();
        let mut allowed = 0;
        for probe in &self.probes {
            let (Some(from), Some(to)) = (self.set.hosts.get(probe.from), self.set.hosts.get(probe.to))
            else {
                continue;
            };
            let service = probe.service;
            let matching = from.buckets().filter_map(|bucket| {
                let all = buckets.get(&bucket)?;
                let here = named.entry((bucket, service.protocol, service.dport)).or_insert_with(|| {
                    all.iter().filter(|(_, rule)| rule.names(service)).copied().collect()
                });
                here.iter().find(|(_, rule)| rule.matches(from, to, service)).copied()
            });
            let first = matching.min_by_key(|(order, _)| *order).map(|(_, rule)| rule);
            let scan = first.is_some_and(|rule| rule.allow);
            if self.allows(*probe) != scan {
                return Err(Failed::Differ(format!(
                    "{service:?}: the table does not say {scan}, but the scan by {first:?} of {from:?} {to:?}"
                )));
            }
            allowed += usize::from(scan);
        }
        let mut met = [Met::BLANK; BURST];
        for (side, burst) in &self.bursts {
            self.table.meet_all(burst, *side, NOW, &mut met);
            for (connection, met) in burst.iter().zip(&met) {
                let Connection { from, to, service } = *connection;
                let alone = self.table.judge_opener(from, to, service, *side, NOW);
                let together = self.table.decide(met, service, *side);
                if alone != together {
                    let differ = format!("{connection:?}: alone {alone:?}, in a burst {together:?}");
                    return Err(Failed::Differ(differ));
                }
            }
        }
        Ok(allowed)
    }

    /// Whether the table allows a connection.
    pub(crate) fn allows(&self, probe: Probe) -> bool {
        connection(&self.set, probe).is_some_and(|(side, Connection { from, to, service })| {
            self.table.judge(from, to, service, side, NOW).denial.is_none()
        })
    }

    /// Nanoseconds of so many bursts, one connection judged after the other.
    pub(crate) fn alone(&mut self, count: usize) -> u64 {
        self.turn(count, |table, (side, burst), _| {
            burst.iter().fold(0_u32, |sum, connection| {
                let Connection { from, to, service } = *connection;
                let (verdict, _) = table.judge_opener(from, to, service, *side, NOW);
                sum.wrapping_add(verdict.rule.0)
            })
        })
    }

    /// Nanoseconds of so many bursts, those of each judged together.
    pub(crate) fn together(&mut self, count: usize) -> u64 {
        self.turn(count, |table, (side, burst), met| {
            table.meet_all(burst, *side, NOW, met);
            burst.iter().zip(met).fold(0_u32, |sum, (connection, met)| {
                let (verdict, _) = table.decide(met, connection.service, *side);
                sum.wrapping_add(verdict.rule.0)
            })
        })
    }

    /// Nanoseconds of the next so many bursts.
    fn turn(
        &mut self,
        count: usize,
        judge: impl Fn(&Table, &(Side, [Connection; BURST]), &mut [Met; BURST]) -> u32,
    ) -> u64 {
        let start = self.next;
        self.next = (start + count) % self.bursts.len().max(1);
        let turn = self.bursts.iter().cycle().skip(start).take(count);
        let mut met = [Met::BLANK; BURST];
        let before = boot_nanos();
        let sum = turn.fold(0_u32, |sum, burst| sum.wrapping_add(judge(&self.table, burst, &mut met)));
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

/// A probe as the table is asked it, and the side it arrives on; its MAC is true.
fn connection(set: &Set, probe: Probe) -> Option<(Side, Connection)> {
    let (from, to) = (set.hosts.get(probe.from)?, set.hosts.get(probe.to)?);
    let mac = SenderMac::Seen(from.mac());
    let sender = Sender { address: from.address, mac, vlans: Vlans::UNTAGGED };
    Some((from.side, Connection { from: sender, to: to.address, service: probe.service }))
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
