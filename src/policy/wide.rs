//! Which rules are wide, and which rows and columns they leave together.
//!
//! What it is: the line between rules that are worth a full matrix of their own and those that are few cells
//! each. What it is not: a matter of meaning; any line gives the same verdicts. Invariant: the choice counts
//! cells, never time, so the same policy is divided the same way. Cost: what selectors have in common with
//! rows and columns, once for each line tried.

use std::collections::HashSet;
use std::hash::{Hash, Hasher};

use super::hash::Fold;
use super::identity::Consulted;
use super::matrix::Classes;
use super::relevance::Numbered;

/// A rule of more cells than this may be wide: each is tried.
pub(super) const LINES: [u64; 8] = [0, 8, 64, 512, 4_096, 32_768, 262_144, u64::MAX];
/// What a narrow rule's cell costs, where one of the full matrix costs 1: it is found by its own, and takes
/// more room.
const NARROW: u64 = 3;

/// Rows or columns that wide rules do not tell apart.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// By row or column: where it fell.
    pub(super) of_class: Vec<u32>,
    /// Claimed, and in a zone.
    pub(super) kinds: Vec<(bool, bool)>,
    /// The wide clauses that concern each, and whether it matches; rising.
    pub(super) clauses: Vec<Vec<(u32, bool)>>,
    /// The other way round, by clause.
    concerned: Vec<Vec<(u32, bool)>>,
}

impl Line {
    /// Who is concerned by a clause.
    pub(super) fn concerned(&self, clause: u32) -> &[(u32, bool)] {
        usize::try_from(clause)
            .ok()
            .and_then(|clause| self.concerned.get(clause))
            .map_or(&[], Vec::as_slice)
    }

    /// By what wide clauses say at one end; `end` gives a clause's selector there.
    fn new(
        consulted: &Consulted,
        classes: &Classes,
        wide: &[bool],
        end: impl Fn(&super::identity::Clause) -> usize,
    ) -> Self {
        let mut line = Self::default();
        let used = used(consulted, wide, &end);
        let mut clauses_of: Vec<Vec<u32>> = vec![Vec::new(); consulted.selectors.len()];
        for ((number, clause), _) in (0..).zip(&consulted.clauses).zip(wide).filter(|(_, wide)| **wide) {
            clauses_of.get_mut(end(clause)).into_iter().for_each(|list| list.push(number));
        }
        line.concerned = vec![Vec::new(); consulted.clauses.len()];
        let mut known = Numbered::default();
        for (heard, kind) in classes.heard.iter().zip(&classes.kinds) {
            let here: Vec<u32> = wide_only(heard, &used).collect();
            let (number, new) = known.number((here.clone(), *kind));
            if new {
                line.kinds.push(*kind);
                let mut clauses: Vec<(u32, bool)> = here
                    .iter()
                    .flat_map(|word| {
                        let list = usize::try_from(word >> 1).ok().and_then(|s| clauses_of.get(s));
                        list.into_iter().flatten().map(move |clause| (*clause, word & 1 == 1))
                    })
                    .collect();
                clauses.sort_unstable();
                for (clause, matches) in &clauses {
                    let list = usize::try_from(*clause).ok().and_then(|c| line.concerned.get_mut(c));
                    if let Some(list) = list {
                        list.push((number, *matches));
                    }
                }
                line.clauses.push(clauses);
            }
            line.of_class.push(number);
        }
        line
    }
}

/// The wide clauses, and where rows and columns fall among them; of these lines the best.
pub(super) fn divide(
    consulted: &Consulted,
    rows: &Classes,
    columns: &Classes,
    lines: &[u64],
) -> (Vec<bool>, Line, Line) {
    let sizes: Vec<u64> = consulted
        .clauses
        .iter()
        .map(|clause| {
            let count =
                |classes: &Classes, selector| u64::try_from(classes.of(selector).len()).unwrap_or(0);
            count(rows, clause.from).saturating_mul(count(columns, clause.to))
        })
        .collect();
    let mut best: Option<(u64, u64)> = None;
    for least in lines.iter().copied() {
        let wide = above(consulted, &sizes, least);
        let narrow: u64 = sizes.iter().zip(&wide).filter(|(_, wide)| !**wide).map(|(size, _)| *size).sum();
        let apart = |classes, end: fn(&super::identity::Clause) -> usize| {
            count_apart(classes, &used(consulted, &wide, end))
        };
        let plain = apart(rows, |c| c.from).saturating_mul(apart(columns, |c| c.to));
        let cost = plain.saturating_add(narrow.saturating_mul(NARROW));
        if best.is_none_or(|(least_cost, _)| cost < least_cost) {
            best = Some((cost, least));
        }
        if narrow.saturating_mul(NARROW) > best.map_or(u64::MAX, |(cost, _)| cost) {
            // Further lines only have more narrow cells.
            break;
        }
    }
    let least = best.map_or(0, |(_, least)| least);
    let wide = above(consulted, &sizes, least);
    let lines = Line::new(consulted, rows, &wide, |clause| clause.from);
    let places = Line::new(consulted, columns, &wide, |clause| clause.to);
    (wide, lines, places)
}

/// Clauses of more cells than a line. One that compares its ends is never wide: lines put together whom it
/// tells apart.
fn above(consulted: &Consulted, sizes: &[u64], least: u64) -> Vec<bool> {
    let clauses = consulted.clauses.iter().zip(sizes);
    clauses.map(|(clause, size)| *size > least && !clause.paired).collect()
}

/// Selectors that wide clauses have at one end.
fn used(
    consulted: &Consulted,
    wide: &[bool],
    end: impl Fn(&super::identity::Clause) -> usize,
) -> Vec<bool> {
    let mut used = vec![false; consulted.selectors.len()];
    for (clause, _) in consulted.clauses.iter().zip(wide).filter(|(_, wide)| **wide) {
        used.get_mut(end(clause)).into_iter().for_each(|used| *used = true);
    }
    used
}

fn wide_only<'h>(heard: &'h [u32], used: &'h [bool]) -> impl Iterator<Item = u32> + 'h {
    let is_used = |word: &u32| {
        usize::try_from(word >> 1).ok().and_then(|selector| used.get(selector)).copied().unwrap_or(false)
    };
    heard.iter().copied().filter(is_used)
}

/// How many these selectors tell apart; two of equal hash count once, which an estimate bears.
fn count_apart(classes: &Classes, used: &[bool]) -> u64 {
    let mut seen = HashSet::new();
    for (heard, kind) in classes.heard.iter().zip(&classes.kinds) {
        let mut hash = Fold::default();
        kind.hash(&mut hash);
        wide_only(heard, used).for_each(|word| hash.write_u32(word));
        seen.insert(hash.finish());
    }
    u64::try_from(seen.len()).unwrap_or(u64::MAX)
}
