//! Ends that the plains of two tables treat alike.
//!
//! What it is: receivers that lie alike, are governed alike and stand in one place of both plains are one group, and
//! senders whose rows have the same lines one line; of all pairs of a line and a group that no narrow rule concerns, one is
//! asked. Beside them stand the cells of the overlays. What it is not: it judges nothing. Invariant: each receiver is in
//! one group, and a pair is either apart or its group's. Cost: lines × groups, and the cells of both overlays: about
//! what the tables themselves hold.

use std::cell::RefCell;
use std::rc::Rc;

use super::both::Both;
use super::classes::{ReceiverKind, SenderKind};
use super::cross::Key;
use super::numbers::{at, at_mut};
use crate::policy::relevance::Numbered;
use crate::policy::table::Table;
use crate::policy::verdict::{Denial, Mode};

/// What a plain and zones see of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Seen {
    place: u32,
    modes: (u32, Option<Mode>),
}

/// What a group has in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct GroupKind {
    v4: bool,
    misplaced: Both<Option<Denial>>,
    home: Both<u32>,
    /// By arriving side.
    columns: [Both<Seen>; 2],
}

/// What a line has in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct LineKind {
    v4: bool,
    misplaced: Both<Option<Denial>>,
    home: Both<u32>,
    macs: [u8; 2],
    /// MAC not true, true: where the row's line begins, and the mode of its zones.
    rows: Both<[(u32, Option<Mode>); 2]>,
}

/// What is known of a line: by group, how its pairs differ.
#[derive(Debug, Default)]
pub(super) struct Line(RefCell<Vec<Option<Rc<[Key]>>>>);

impl Line {
    /// How a group's pairs differ, if one was asked.
    pub(super) fn known(&self, group: usize) -> Option<Rc<[Key]>> {
        self.0.borrow().get(group).cloned().flatten()
    }

    /// One of them was asked.
    pub(super) fn learn(&self, group: usize, keys: &[Key]) -> Rc<[Key]> {
        let keys: Rc<[Key]> = keys.into();
        let mut all = self.0.borrow_mut();
        if all.len() <= group {
            all.resize(group + 1, None);
        }
        all.get_mut(group).into_iter().for_each(|known| *known = Some(Rc::clone(&keys)));
        keys
    }
}

/// Receivers in groups, senders in lines.
#[derive(Debug)]
pub(super) struct Plains {
    /// Whether it is IPv4, and the members.
    groups: Vec<(bool, Vec<u32>)>,
    /// By table and column: the receivers that have it at some arriving side.
    columns: Both<Vec<Vec<u32>>>,
    /// By receiver: the last sender with whom it was apart, and one.
    apart: Vec<u32>,
    lines: Numbered<LineKind>,
    all_lines: Vec<Rc<Line>>,
}

impl Plains {
    pub(super) fn new(tables: Both<&Table>, receivers: &[ReceiverKind]) -> Self {
        let mut kinds = Numbered::default();
        let mut plains = Self {
            groups: Vec::new(),
            columns: Both { old: Vec::new(), new: Vec::new() },
            apart: vec![0; receivers.len()],
            lines: Numbered::default(),
            all_lines: Vec::new(),
        };
        for (number, receiver) in (0..).zip(receivers) {
            let ReceiverKind { v4, misplaced, home, columns } = *receiver;
            let seen = |columns: Both<u32>| {
                tables.zip(columns).map(|(table, column)| Seen {
                    place: table.place_of(column),
                    modes: table.column_modes(column),
                })
            };
            let kind = GroupKind { v4, misplaced, home, columns: columns.map(seen) };
            let (group, new) = kinds.number(kind);
            if new {
                plains.groups.push((v4, Vec::new()));
            }
            if let Some((_, members)) = at_mut(&mut plains.groups, group) {
                members.push(number);
            }
            for sides in columns {
                have(&mut plains.columns.old, sides.old, number);
                have(&mut plains.columns.new, sides.new, number);
            }
        }
        plains
    }

    /// The receivers with which a sender has a cell of its own in some table; each once. The number is the sender's:
    /// no two have the same.
    pub(super) fn apart(
        &mut self,
        tables: Both<&Table>,
        sender: &SenderKind,
        number: u32,
        into: &mut Vec<u32>,
    ) {
        let stamp = number.wrapping_add(1);
        let each = tables.zip(sender.rows).zip(self.columns.as_ref()).each();
        for ((table, [stranger, genuine]), columns) in each {
            let rows = std::iter::once(stranger).chain((genuine != stranger).then_some(genuine));
            for column in rows.flat_map(|row| table.columns_apart(row)) {
                for receiver in at(columns, column).into_iter().flatten() {
                    if let Some(last) = at_mut(&mut self.apart, *receiver)
                        && *last != stamp
                    {
                        *last = stamp;
                        into.push(*receiver);
                    }
                }
            }
        }
    }

    /// The line of a sender.
    pub(super) fn line(&mut self, tables: Both<&Table>, sender: &SenderKind) -> Rc<Line> {
        let SenderKind { v4, misplaced, home, rows, macs } = *sender;
        let rows =
            tables.zip(rows).map(|(table, rows)| rows.map(|row| (table.line_of(row), table.row_mode(row))));
        let (number, new) = self.lines.number(LineKind { v4, misplaced, home, macs, rows });
        if new {
            self.all_lines.push(Rc::default());
        }
        at(&self.all_lines, number).cloned().unwrap_or_default()
    }

    /// The groups of a family.
    pub(super) fn groups(&self, v4: bool) -> impl Iterator<Item = usize> {
        let all = self.groups.iter().enumerate();
        all.filter(move |(_, (own, _))| *own == v4).map(|(group, _)| group)
    }

    /// Members of a group that the sender of this number has no cell of its own with; after [`Self::apart`].
    pub(super) fn members(&self, group: usize, number: u32) -> impl Iterator<Item = u32> {
        let members = self.groups.get(group).map_or(&[][..], |(_, members)| members);
        let stamp = number.wrapping_add(1);
        let is_apart = move |receiver: &u32| at(&self.apart, *receiver).is_some_and(|last| *last == stamp);
        members.iter().copied().filter(move |receiver| !is_apart(receiver))
    }
}

/// A receiver has a column.
fn have(columns: &mut Vec<Vec<u32>>, column: u32, receiver: u32) {
    let Ok(place) = usize::try_from(column) else { return };
    if columns.len() <= place {
        columns.resize(place + 1, Vec::new());
    }
    if let Some(receivers) = columns.get_mut(place)
        && receivers.last() != Some(&receiver)
    {
        receivers.push(receiver);
    }
}
