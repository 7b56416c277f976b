//! Every pair of ends under both tables, and where that differs.
//!
//! What it is: all classes of senders × all classes of receivers × arriving sides × MACs that are true or not ×
//! tags that are listed or not × all services, and the pairs with the same difference put together: one
//! [`Entry`] is a set of senders, a set of receivers and services, of which every combination differs in the same
//! way. What it is not: words. Invariant: nothing is sampled; what a bound leaves out is counted, and whether
//! something opens never depends on it. Cost: classes × classes. Pairs of which neither end changed place, mode
//! or MACs are told by their programs alone, each pair of rows and columns once.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::both::Both;
use super::classes::{Ends, Homes, Meeting, ReceiverKind, SenderKind, Truth};
use super::effect::{Effects, Judged, Posed};
use crate::policy::hash::Quick;
use crate::policy::model::Model;
use crate::policy::relevance::Numbered;
use crate::policy::table::Table;
use crate::policy::verdict::{Denial, Moment};
use crate::wire::{Side, Vlans};

/// Entries of one [`Kind`] that are kept.
pub(super) const ENTRIES: usize = 10_000;

/// What a difference does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Dropped before, forwarded now.
    Opens,
    /// Forwarded before, dropped now.
    Closes,
    /// As before, for another reason, by another rule or in another mode.
    Changes,
}

impl Kind {
    /// Of one difference.
    pub(in crate::policy) fn of(effects: &Effects) -> Self {
        match (effects.of.old.crosses(), effects.of.new.crosses()) {
            (false, true) => Self::Opens,
            (true, false) => Self::Closes,
            (true, true) | (false, false) => Self::Changes,
        }
    }
}

/// How packets come, and what that changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::policy) struct Key {
    pub(in crate::policy) side: Side,
    /// Bits of [`Truth`]; [`Key::ANY`]: the MAC does not matter.
    pub(in crate::policy) macs: u8,
    /// Index into [`Judged::effects`].
    pub(in crate::policy) effects: u32,
    /// Index into [`Judged::services`].
    pub(in crate::policy) services: u32,
}

impl Key {
    pub(in crate::policy) const ANY: u8 = 0x0f;
}

/// Pairs that differ in one way.
#[derive(Clone, Debug)]
pub(in crate::policy) struct Entry {
    pub(in crate::policy) key: Key,
    /// Indexes into [`Ends::senders`], rising.
    pub(in crate::policy) senders: Rc<[u32]>,
    /// Indexes into [`Ends::receivers`], rising.
    pub(in crate::policy) receivers: Rc<[u32]>,
}

/// Where two policies differ.
#[derive(Debug)]
pub(in crate::policy) struct Crossed<'a> {
    pub(super) tables: Both<&'a Table>,
    pub(in crate::policy) ends: Ends,
    pub(in crate::policy) judged: Judged<'a>,
    /// Not in order.
    pub(in crate::policy) entries: Vec<Entry>,
    /// Pairs of classes that differ and are in no entry, by [`Kind`].
    pub(in crate::policy) left_out: BTreeMap<Kind, u64>,
    /// Something opens.
    pub(in crate::policy) opens: bool,
}

impl<'a> Crossed<'a> {
    /// Compares two policies as they stand at a moment.
    pub(in crate::policy) fn new(models: Both<&Model>, tables: Both<&'a Table>, now: Moment) -> Self {
        let ends = Ends::new(models, tables, now);
        let mut crossed = Self {
            tables,
            ends,
            judged: Judged::new(tables),
            entries: Vec::new(),
            left_out: BTreeMap::new(),
            opens: false,
        };
        crossed.cross();
        crossed
    }

    /// Runs of addresses that an entry is about: senders × receivers.
    pub(super) fn pairs(&self, entry: &Entry) -> u64 {
        let senders =
            entry.senders.iter().filter_map(|class| index(*class).and_then(|i| self.ends.senders.get(i)));
        let receivers = entry
            .receivers
            .iter()
            .filter_map(|class| index(*class).and_then(|i| self.ends.receivers.get(i)));
        let senders: usize = senders.map(|class| class.members.len()).sum();
        let receivers: usize = receivers.map(|class| class.members.len()).sum();
        u64::try_from(senders.saturating_mul(receivers)).unwrap_or(u64::MAX)
    }

    /// A MAC that is true as said, and tags, with which a pair differs as an entry says.
    pub(super) fn witness(
        &mut self,
        sender: &SenderKind,
        receiver: &ReceiverKind,
        key: Key,
    ) -> Option<(Truth, Vlans)> {
        let [outside, inside] = sender.macs;
        let [columns_outside, columns_inside] = receiver.columns;
        let (macs, columns) = match key.side {
            Side::Outside => (outside, columns_outside),
            Side::Inside => (inside, columns_inside),
        };
        let meetings = self.ends.homes.meetings(sender.home, receiver.home);
        let truths = Truth::ALL.into_iter().rev().filter(|truth| macs & key.macs & truth.bit() != 0);
        for truth in truths {
            let posed = self.posed(sender, columns, key.side, truth);
            for meeting in meetings.iter() {
                let misplaced = self.misplaced(sender, receiver, key.side, *meeting);
                let posed = posed.zip(misplaced).map(|(posed, misplaced)| Posed { misplaced, ..posed });
                let differences = self.judged.differences(sender.v4, posed);
                if differences.contains(&(key.effects, key.services)) {
                    return Some((truth, meeting.vlans));
                }
            }
        }
        None
    }

    fn cross(&mut self) {
        let senders: Vec<SenderKind> = self.ends.senders.iter().map(|class| class.kind).collect();
        let receivers: Vec<ReceiverKind> = self.ends.receivers.iter().map(|class| class.kind).collect();
        let calm = self.tables.map(|table| (table.inside, table.unzoned)).is_same();
        let mut columns = Columns::new(self.tables, &self.judged, &receivers);
        let mut found = Found::default();
        let (mut candidates, mut here) = (Vec::new(), Vec::new());
        for (number, sender) in (0..).zip(&senders) {
            candidates.clear();
            if calm && self.is_steady(sender) {
                columns.candidates(&mut self.judged, sender, &mut candidates);
            } else {
                candidates.extend((0..).zip(&receivers).map(|(number, _)| number));
            }
            for candidate in &candidates {
                let Some(receiver) = index(*candidate).and_then(|i| receivers.get(i)) else { continue };
                if receiver.v4 == sender.v4 {
                    here.clear();
                    self.pair(sender, receiver, &mut here);
                    for key in &here {
                        found.add(*key, *candidate);
                    }
                }
            }
            found.close(number, &self.judged);
        }
        self.opens = self.judged.effects.iter().any(|effects| Kind::of(effects) == Kind::Opens);
        (self.entries, self.left_out) = found.finish();
    }

    /// Whether both tables see a sender alike but for the programs of its rows.
    fn is_steady(&self, sender: &SenderKind) -> bool {
        let Self { tables, .. } = self;
        let modes = tables.zip(sender.rows).map(|(table, rows)| rows.map(|row| table.row_mode(row)));
        let alike = Truth::ALL.into_iter().filter(|truth| truth.0.is_same());
        let alike = alike.fold(0, |bits, truth| bits | truth.bit());
        sender.misplaced.is_same()
            && sender.home.is_same()
            && sender.macs.iter().all(|macs| macs & !alike == 0)
            && modes.is_same()
    }

    /// All differences of one pair.
    pub(super) fn pair(&mut self, sender: &SenderKind, receiver: &ReceiverKind, into: &mut Vec<Key>) {
        let meetings = self.ends.homes.meetings(sender.home, receiver.home);
        let [outside, inside] = sender.macs;
        let [columns_outside, columns_inside] = receiver.columns;
        for (side, macs, columns) in
            [(Side::Outside, outside, columns_outside), (Side::Inside, inside, columns_inside)]
        {
            let start = into.len();
            for truth in Truth::ALL.into_iter().filter(|truth| macs & truth.bit() != 0) {
                let posed = self.posed(sender, columns, side, truth);
                for meeting in meetings.iter() {
                    let misplaced = self.misplaced(sender, receiver, side, *meeting);
                    let posed = posed.zip(misplaced).map(|(posed, misplaced)| Posed { misplaced, ..posed });
                    for (effects, services) in self.judged.differences(sender.v4, posed).iter() {
                        let key = Key { side, macs: 0, effects: *effects, services: *services };
                        let known = into
                            .get_mut(start..)
                            .unwrap_or_default()
                            .iter_mut()
                            .find(|known| Key { macs: 0, ..**known } == key);
                        match known {
                            Some(known) => known.macs |= truth.bit(),
                            None => into.push(Key { macs: truth.bit(), ..key }),
                        }
                    }
                }
            }
            for key in into.get_mut(start..).unwrap_or_default() {
                if key.macs == macs {
                    key.macs = Key::ANY;
                }
            }
        }
    }

    /// What each table is asked, whatever the tags.
    fn posed(&self, sender: &SenderKind, columns: Both<u32>, side: Side, truth: Truth) -> Both<Posed> {
        let asked = self.tables.zip(sender.rows).zip(columns).zip(truth.0);
        asked.map(|(((table, [stranger, genuine]), column), is_true)| {
            let row = if is_true { genuine } else { stranger };
            let (from, strange) = (table.row_mode(row), side == Side::Inside && !is_true);
            Posed {
                misplaced: None,
                program: table.program(row, column),
                modes: table.column_modes(column),
                beside: from.max(if strange { table.inside.zones } else { None }),
                alone: table.governed(None, from, strange),
            }
        })
    }

    /// The checks before rules, in the order of [`Table::judge`].
    fn misplaced(
        &self,
        sender: &SenderKind,
        receiver: &ReceiverKind,
        side: Side,
        meeting: Meeting,
    ) -> Both<Option<Denial>> {
        let homes = &self.ends.homes;
        let ends = sender.misplaced.zip(receiver.misplaced);
        let places = sender.home.zip(receiver.home).zip(meeting.from.zip(meeting.to));
        ends.zip(places).map(|((from, to), ((home, target), (listed, far_listed)))| {
            let address = from.into_iter().chain(to).min();
            if address.is_some() {
                address
            } else if homes.side(home) != Some(side) || !listed {
                Some(Denial::Spoofed)
            } else if target == Homes::GROUP {
                None
            } else if homes.side(target).is_none() || !far_listed {
                Some(Denial::WrongVlan)
            } else {
                (homes.side(target) == Some(side)).then_some(Denial::SameSide)
            }
        })
    }
}

fn index(number: u32) -> Option<usize> {
    usize::try_from(number).ok()
}

/// Receivers by what the tables' rules see of them.
struct Columns<'a> {
    tables: Both<&'a Table>,
    /// Pairs of columns, and the steady receivers that have them at some arriving side.
    pairs: Vec<(Both<u32>, Vec<u32>)>,
    /// Receivers that changed otherwise: always looked at.
    moved: Vec<u32>,
    /// By pair of rows: the pairs of columns at which their programs differ.
    rows: HashMap<Both<u32>, Rc<[u32]>, Quick>,
}

impl<'a> Columns<'a> {
    fn new(tables: Both<&'a Table>, judged: &Judged<'_>, receivers: &[ReceiverKind]) -> Self {
        let mut governed: HashMap<Both<u32>, bool, Quick> = HashMap::default();
        let mut is_governed_alike = |columns: Both<u32>| {
            *governed.entry(columns).or_insert_with(|| {
                judged.governs_alike(tables.zip(columns).map(|(table, column)| table.column_modes(column)))
            })
        };
        let mut known = Numbered::default();
        let mut columns = Self { tables, pairs: Vec::new(), moved: Vec::new(), rows: HashMap::default() };
        for (number, receiver) in (0..).zip(receivers) {
            let governed = receiver.columns.iter().all(|sides| is_governed_alike(*sides));
            if !(receiver.misplaced.is_same() && receiver.home.is_same() && governed) {
                columns.moved.push(number);
                continue;
            }
            for sides in receiver.columns {
                let (pair, new) = known.number(sides);
                if new {
                    columns.pairs.push((sides, Vec::new()));
                }
                let pair = index(pair).and_then(|pair| columns.pairs.get_mut(pair));
                if let Some((_, receivers)) = pair
                    && receivers.last() != Some(&number)
                {
                    receivers.push(number);
                }
            }
        }
        columns
    }

    /// The receivers with which a steady sender may differ, rising.
    fn candidates(&mut self, judged: &mut Judged<'_>, sender: &SenderKind, into: &mut Vec<u32>) {
        into.extend(&self.moved);
        let Both { old: [old_stranger, old_genuine], new: [new_stranger, new_genuine] } = sender.rows;
        let strangers = Both { old: old_stranger, new: new_stranger };
        let genuine = Both { old: old_genuine, new: new_genuine };
        for rows in [strangers, genuine] {
            let Self { tables, pairs, rows: known, .. } = self;
            let differing = known.entry(rows).or_insert_with(|| {
                let all = (0..).zip(pairs.iter()).filter(|(_, (columns, _))| {
                    let Both { old, new } = tables
                        .zip(rows)
                        .zip(*columns)
                        .map(|((table, row), column)| table.program(row, column));
                    !judged.alike(old, new)
                });
                all.map(|(number, _)| number).collect()
            });
            let receivers =
                differing.iter().filter_map(|pair| index(*pair).and_then(|pair| pairs.get(pair)));
            into.extend(receivers.flat_map(|(_, receivers)| receivers));
        }
        into.sort_unstable();
        into.dedup();
    }
}

/// Differences put together.
#[derive(Default)]
struct Found {
    /// Of the sender at hand: receivers by what differs.
    here: HashMap<Key, Vec<u32>, Quick>,
    /// Lists of receivers, each once.
    lists: Numbered<Rc<[u32]>>,
    all_lists: Vec<Rc<[u32]>>,
    /// Senders by what differs and with whom.
    all: HashMap<(Key, u32), Vec<u32>, Quick>,
    left_out: BTreeMap<Kind, u64>,
    /// How many are kept.
    kept: BTreeMap<Kind, usize>,
}

impl Found {
    fn add(&mut self, key: Key, receiver: u32) {
        self.here.entry(key).or_default().push(receiver);
    }

    /// The sender's pairs are through.
    fn close(&mut self, sender: u32, judged: &Judged<'_>) {
        for (key, receivers) in self.here.drain() {
            let receivers: Rc<[u32]> = receivers.into();
            let (list, new) = self.lists.number(Rc::clone(&receivers));
            if new {
                self.all_lists.push(Rc::clone(&receivers));
            }
            let effects = index(key.effects).and_then(|effects| judged.effects.get(effects));
            let kind = effects.map_or(Kind::Opens, Kind::of);
            let kept = self.kept.entry(kind).or_default();
            let room = *kept < ENTRIES;
            match self.all.entry((key, list)) {
                std::collections::hash_map::Entry::Occupied(mut known) => known.get_mut().push(sender),
                std::collections::hash_map::Entry::Vacant(fresh) if room => {
                    fresh.insert(vec![sender]);
                    *kept += 1;
                }
                std::collections::hash_map::Entry::Vacant(_) => {
                    *self.left_out.entry(kind).or_default() +=
                        u64::try_from(receivers.len()).unwrap_or(u64::MAX);
                }
            }
        }
    }

    /// Joins what differs in the same way from the same senders.
    fn finish(self) -> (Vec<Entry>, BTreeMap<Kind, u64>) {
        let mut joined: BTreeMap<(Key, Vec<u32>), Vec<u32>> = BTreeMap::new();
        for ((key, list), senders) in self.all {
            let receivers = index(list).and_then(|list| self.all_lists.get(list));
            let all = joined.entry((key, senders)).or_default();
            all.extend(receivers.into_iter().flat_map(|list| list.iter()));
        }
        let entries = joined.into_iter().map(|((key, senders), mut receivers)| {
            receivers.sort_unstable();
            receivers.dedup();
            Entry { key, senders: senders.into(), receivers: receivers.into() }
        });
        (entries.collect(), self.left_out)
    }
}
