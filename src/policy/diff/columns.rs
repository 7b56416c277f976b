//! Receivers with which a sender that stayed as it was may differ.
//!
//! What it is: pairs of columns, and for each pair of rows those at which the programs of both tables do not answer
//! alike. What it is not: a difference yet: sides, MACs and tags are asked for in [`Crossed::pair`](super::cross::Crossed).
//! Invariant: a receiver that changed place or by what governs it is always one. Cost: rows × columns, once.

use std::collections::HashMap;
use std::rc::Rc;

use super::both::Both;
use super::classes::{ReceiverKind, SenderKind};
use super::effect::Judged;
use super::numbers::{at, at_mut};
use crate::policy::hash::Quick;
use crate::policy::relevance::Numbered;
use crate::policy::table::Table;

/// Receivers by what the tables' rules see of them.
pub(super) struct Columns<'a> {
    tables: Both<&'a Table>,
    /// Pairs of columns, and the steady receivers that have them at some arriving side.
    pairs: Vec<(Both<u32>, Vec<u32>)>,
    /// Receivers that changed otherwise: always looked at.
    moved: Vec<u32>,
    /// By pair of rows: the pairs of columns at which their programs differ.
    rows: HashMap<Both<u32>, Rc<[u32]>, Quick>,
}

impl<'a> Columns<'a> {
    pub(super) fn new(tables: Both<&'a Table>, judged: &Judged<'_>, receivers: &[ReceiverKind]) -> Self {
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
                if let Some((_, receivers)) = at_mut(&mut columns.pairs, pair)
                    && receivers.last() != Some(&number)
                {
                    receivers.push(number);
                }
            }
        }
        columns
    }

    /// The receivers with which a steady sender may differ, rising.
    pub(super) fn candidates(&mut self, judged: &mut Judged<'_>, sender: &SenderKind, into: &mut Vec<u32>) {
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
            let receivers = differing.iter().filter_map(|pair| at(pairs, *pair));
            into.extend(receivers.flat_map(|(_, receivers)| receivers));
        }
        into.sort_unstable();
        into.dedup();
    }
}
