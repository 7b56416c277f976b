//! Every pair of ends under both tables, and where that differs.
//!
//! What it is: all classes of senders × all classes of receivers × arriving sides × MACs that are true or not ×
//! tags that are listed or not × all services, and the pairs with the same difference put together: one
//! [`Entry`] is a set of senders, a set of receivers and services, of which every combination differs in the same
//! way. What it is not: words. Invariant: nothing is sampled; what a bound leaves out is counted, and whether
//! something opens never depends on it. Cost: classes × classes where something differs, to write it down; what
//! becomes of a pair is asked once for all that the plains treat alike, and once for each cell beside them (`plain`). Of senders
//! that changed neither place, mode nor MACs only pairs of which the programs differ are asked at all (`columns`).

use std::collections::BTreeMap;
use std::rc::Rc;

use super::both::Both;
use super::classes::{Ends, Homes, Meeting, ReceiverKind, SenderKind, Truth};
use super::columns::Columns;
use super::effect::{Effects, Judged, Posed};
use super::found::Found;
use super::numbers::at;
use super::plain::Plains;
use crate::policy::model::Model;
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
        let senders = entry.senders.iter().filter_map(|class| at(&self.ends.senders, *class));
        let receivers = entry.receivers.iter().filter_map(|class| at(&self.ends.receivers, *class));
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
        let mut plains = Plains::new(self.tables, &receivers);
        let mut found = Found::default();
        let (mut single, mut here) = (Vec::new(), Vec::new());
        for (number, sender) in (0..).zip(&senders) {
            let steady = calm && self.is_steady(sender);
            single.clear();
            if steady {
                columns.candidates(&mut self.judged, sender, &mut single);
            } else {
                plains.apart(self.tables, sender, number, &mut single);
            }
            for one in &single {
                let Some(receiver) = at(&receivers, *one) else { continue };
                if receiver.v4 == sender.v4 {
                    here.clear();
                    self.pair(sender, receiver, &mut here);
                    for key in &here {
                        found.add(*key, [*one]);
                    }
                }
            }
            let line = if steady { None } else { Some(plains.line(self.tables, sender)) };
            for (line, group) in
                line.iter().flat_map(|line| plains.groups(sender.v4).map(move |group| (line, group)))
            {
                let mut members = plains.members(group, number).peekable();
                let Some(first) = members.peek().and_then(|first| at(&receivers, *first)) else { continue };
                let keys = line.known(group).unwrap_or_else(|| {
                    here.clear();
                    self.pair(sender, first, &mut here);
                    line.learn(group, &here)
                });
                let Some((last, keys)) = keys.split_last() else { continue };
                for key in keys {
                    found.add(*key, plains.members(group, number));
                }
                found.add(*last, members);
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
