//! The flow table alone, beside a named map with the same keys, in the same blocks.
//!
//! What is compared: `hashbrown` with its default hasher (foldhash, keyed but not against an adversary), and
//! the standard library's map, which is hashbrown with SipHash-1-3. All hold 128 bytes a flow. A hit finds a
//! flow and counts a packet in it, 64 keys a batch; a miss finds nothing; *replace* removes 64 flows and
//! inserts 64 others. Keys lie ready in an array; which flows is random. Before anything is timed all three
//! must give the same answer to a million keys.

use std::collections::HashMap as StandardMap;
use std::hash::BuildHasher;
use std::hint::black_box;
use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;

use comfy_table::{Table, presets};
use hashbrown::HashMap;
use portcullis::flow::limits::HalfOpen;
use portcullis::flow::{Batch, Bounds, First, FlowTable, Judgement, Now, Opening};
use portcullis::io::clock::boot_nanos;
use portcullis::policy::{Mode, RuleNumber};
use portcullis::wire::{Key, Side, Vlans};

use crate::calibration::{Lines, each};
use crate::quiet::{Quiet, Turns, interval, nanos, ratios, right};
use crate::stage::Family;
use crate::statistics::{Promise, SplitMix};

/// Keys of a turn.
const TURN: usize = 65_536;
/// Keys that lie ready.
const PROBES: usize = 1 << 20;
const BATCH: usize = portcullis::flow::BATCH;

/// Another of the two ports that make a flow's two keys.
const PORTS: [u16; 2] = [4739, 4740];

/// The key of a flow under one of its two ports.
fn key(family: Family, flow: u32, port: u16) -> Key {
    let [p0, p1, high, low] = flow.to_be_bytes();
    let (src, dst): (IpAddr, IpAddr) = match family {
        Family::V4 => ([10, 77, high, low].into(), [10, 78, 0, 1].into()),
        Family::V6 => {
            let [h, l] = [u16::from(high), u16::from(low)];
            (
                [0x2001, 0xdb8, 0x77, h << 8 | l, 0, 0, 0, 1].into(),
                [0x2001, 0xdb8, 0x78, 0, 0, 0, 0, 1].into(),
            )
        }
    };
    Key::new(src, dst, 1024 + u16::from_be_bytes([p0, p1]), port, 17, Vlans::UNTAGGED).0
}

/// What the three have in common.
trait Contender {
    fn insert(&mut self, keys: &[Key]);
    fn remove(&mut self, keys: &[Key]);
    /// Flows found, a packet counted in each.
    fn hit(&mut self, keys: &[Key]) -> usize;
    fn has(&mut self, key: &Key) -> bool;
}

struct Ours {
    table: FlowTable,
    batch: Batch,
}

/// Room for so many flows, no limits but that.
fn empty(flows: u32) -> FlowTable {
    let (region, _) = portcullis::io::region::flows(flows);
    FlowTable::over(region, Bounds::of(flows).without_limits(), Arc::new(HalfOpen::new(64, (1, 2))))
}

const OPENING: Opening = Opening {
    judgement: Judgement {
        denial: None,
        mode: Mode::Enforce,
        rule: RuleNumber(1),
        generation: 1,
        judge_at: u32::MAX >> 2,
    },
    by_a: true,
    side: Side::Outside,
    mac_true: true,
    first: First::Seen,
    track: None,
};
const NOW: Now = Now { tick: 1_000, generation: 1 };

impl Contender for Ours {
    fn insert(&mut self, keys: &[Key]) {
        for key in keys {
            black_box(self.table.insert(key, &OPENING, NOW.tick).is_ok());
        }
    }

    fn remove(&mut self, keys: &[Key]) {
        for key in keys {
            if let Some(id) = self.table.find(key, NOW.tick) {
                self.table.remove(id);
            }
        }
    }

    fn hit(&mut self, keys: &[Key]) -> usize {
        let timeouts = *self.table.timeouts();
        let mut found = 0;
        for keys in keys.chunks(BATCH) {
            self.table.prepare(keys.iter(), &mut self.batch);
            for (key, hint) in keys.iter().zip(self.batch.hints()) {
                let guess = hint.guess;
                let slot = if self.table.guessed(guess, key).is_some() {
                    Some(guess)
                } else {
                    self.table.find_hinted(key, hint, NOW.tick)
                };
                if let Some(slot) = slot.and_then(|id| self.table.entry_mut(id)) {
                    found += usize::from(slot.pass(NOW, (true, Side::Outside), None, 60, &timeouts));
                }
            }
        }
        found
    }

    fn has(&mut self, key: &Key) -> bool {
        self.table.find(key, NOW.tick).is_some()
    }
}

/// With its key 128 bytes, as ours.
type Entry = [u64; 10];
const _: () = assert!(size_of::<(Key, Entry)>() == 128);

/// hashbrown and the standard map have the same methods and no trait.
macro_rules! contender {
    ($map:ident) => {
        impl<S: BuildHasher> Contender for $map<Key, Entry, S> {
            fn insert(&mut self, keys: &[Key]) {
                for key in keys {
                    black_box($map::insert(self, *key, [1; 10]).is_none());
                }
            }

            fn remove(&mut self, keys: &[Key]) {
                for key in keys {
                    black_box($map::remove(self, key).is_some());
                }
            }

            fn hit(&mut self, keys: &[Key]) -> usize {
                let mut found = 0;
                for key in keys {
                    if let Some([seen, packets, bytes, ..]) = self.get_mut(key) {
                        (*seen, *packets, *bytes) = (u64::from(NOW.tick), *packets + 1, *bytes + 60);
                        found += 1;
                    }
                }
                found
            }

            fn has(&mut self, key: &Key) -> bool {
                self.contains_key(key)
            }
        }
    };
}
contender!(HashMap);
contender!(StandardMap);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Hit,
    Miss,
    Replace,
}

impl Operation {
    const ALL: [Self; 3] = [Self::Hit, Self::Miss, Self::Replace];

    const fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Replace => "remove and insert",
        }
    }
}

/// The flows of a table, and keys that lie ready in random order under both ports.
struct Probes {
    here: Vec<Key>,
    absent: Vec<Key>,
    next: usize,
}

impl Probes {
    fn new(family: Family, flows: u32) -> Self {
        let mut random = SplitMix(11);
        let range = usize::try_from(flows).unwrap_or(1);
        let numbers: Vec<u32> =
            (0..PROBES).map(|_| u32::try_from(random.below(range)).unwrap_or(0)).collect();
        let [port, other] = PORTS;
        let keys = |port: u16| numbers.iter().map(|flow| key(family, *flow, port)).collect();
        Self { here: keys(port), absent: keys(other), next: 0 }
    }

    /// The keys of the next turn.
    fn turn(&mut self) -> (&[Key], &[Key]) {
        let start = self.next;
        self.next = (start + TURN) % PROBES;
        let of = |keys: &'_ Vec<Key>| start..(start + TURN).min(keys.len());
        let (here, absent) = (of(&self.here), of(&self.absent));
        (self.here.get(here).unwrap_or_default(), self.absent.get(absent).unwrap_or_default())
    }
}

/// One turn, in nanoseconds an operation. The table is as before afterwards.
fn turn(contender: &mut dyn Contender, operation: Operation, probes: &mut Probes) -> f64 {
    let (here, absent) = probes.turn();
    let count = u64::try_from(here.len()).unwrap_or(0);
    let start = boot_nanos();
    match operation {
        Operation::Hit => assert_eq!(contender.hit(here), here.len(), "every flow is found"),
        Operation::Miss => assert_eq!(contender.hit(absent), 0, "no flow is found"),
        Operation::Replace => {
            for (keys, others) in here.chunks(BATCH).zip(absent.chunks(BATCH)) {
                contender.remove(keys);
                contender.insert(others);
            }
        }
    }
    let nanos = boot_nanos() - start;
    if operation == Operation::Replace {
        contender.remove(absent);
        contender.insert(here);
    }
    each(nanos, count)
}

/// Measures the table and prints what it found.
pub(crate) fn measure(blocks: u32, quick: bool) {
    let sizes = if quick { [100_000, 1_000_000] } else { [1_000_000, 10_000_000] };
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header([
        "flow table alone, ns an operation",
        "ours",
        "hashbrown, foldhash",
        "hashbrown, SipHash-1-3",
        "line fetch",
        "ours ÷ foldhash [95 %]",
        "ours ÷ SipHash [95 %]",
        "ours ÷ fetch [95 %]",
    ]);
    let (mut quiet, mut bytes, mut promised) = (Quiet::default(), Vec::new(), Vec::new());
    for flows in sizes {
        for family in Family::BOTH {
            let mut probes = Probes::new(family, flows);
            let places = usize::try_from(flows).unwrap_or(0);
            let mut ours = Ours { table: empty(flows), batch: Batch::default() };
            let mut fold: HashMap<Key, Entry> = HashMap::with_capacity(places);
            let mut sip: StandardMap<Key, Entry> = StandardMap::with_capacity(places);
            let taken = ours.table.bytes();
            let mut lines = Lines::of_bytes(taken);
            let contenders: [&mut dyn Contender; 3] = [&mut ours, &mut fold, &mut sip];
            for contender in contenders {
                for flow in 0..flows {
                    contender.insert(&[key(family, flow, PORTS[0])]);
                }
            }
            assert!(agree(&probes, [&mut ours, &mut fold, &mut sip]), "all answer alike");
            if family == Family::V4 {
                bytes.push((flows, taken));
            }
            for operation in Operation::ALL {
                let measured = quiet.blocks(blocks, |turns: &mut Turns| {
                    for who in [0, 1, 2, 3, 3, 2, 1, 0] {
                        let nanos = match who {
                            0 => turn(&mut ours, operation, &mut probes),
                            1 => turn(&mut fold, operation, &mut probes),
                            2 => turn(&mut sip, operation, &mut probes),
                            _ => lines.fetch(),
                        };
                        turns.push((who, nanos));
                    }
                });
                let name = format!("{}, {} flows, {}", operation.name(), million(flows), family.name());
                let fold = ratios(&measured, 0, 1);
                if operation == Operation::Hit
                    && let Some(ratio) = fold
                {
                    promised.push(format!("{name}: {}", Promise::AtMost(1.0).judge(&ratio).word()));
                }
                table.add_row([
                    name,
                    nanos(&measured, 0),
                    nanos(&measured, 1),
                    nanos(&measured, 2),
                    nanos(&measured, 3),
                    interval(fold),
                    interval(ratios(&measured, 0, 2)),
                    interval(ratios(&measured, 0, 3)),
                ]);
            }
        }
    }
    right(&mut table, 1);
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{}\n{table}", quiet.sentence(blocks));
    let _ = writeln!(out, "a hit not slower than hashbrown's (≤ 1.00): {}", promised.join("; "));
    for (flows, bytes) in bytes {
        let share = each(u64::try_from(bytes).unwrap_or(0), u64::from(flows));
        let _ =
            writeln!(out, "{} flows of either family: {bytes} bytes, {share:.1} a flow", million(flows));
    }
}

fn million(flows: u32) -> String {
    if flows < 1_000_000 { format!("{} k", flows / 1_000) } else { format!("{} M", flows / 1_000_000) }
}

/// Whether all find every probe that is there and none of the others.
fn agree(probes: &Probes, contenders: [&mut dyn Contender; 3]) -> bool {
    contenders.into_iter().all(|contender| {
        probes.here.iter().all(|key| contender.has(key))
            && !probes.absent.iter().any(|key| contender.has(key))
    })
}
