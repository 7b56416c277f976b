//! Rows × columns → programs.
//!
//! What it is: identities that the same clauses match fall into one row (as sender) and one column (as
//! destination); each cell is the list of clauses that match both ends, strongest first, and equal lists
//! share one program. Cost: the matches that rows and columns have in common.

use std::collections::HashMap;

use super::identity::{Consulted, Heard, Identities, may_allow};
use super::model::{Model, Rule, ServiceSet, Tier, Zone};
use super::services::{Answers, Programs};
use super::table::{Answer, Column, Row, mode_answer};
use super::verdict::{Denial, Mode, RuleNumber};

/// A clause that concerns an identity, and whether it matches or only would.
type Concern = (usize, bool);

/// The compiled verdicts.
#[derive(Debug, Default)]
pub(super) struct Matrix {
    pub(super) rows: Vec<Row>,
    pub(super) columns: Vec<Column>,
    pub(super) cells: Vec<u32>,
    pub(super) programs: Programs,
    pub(super) answers: Vec<Answer>,
    /// Rows of each identity: MAC not true, true.
    pub(super) rows_of: Vec<[u32; 2]>,
    /// Column of each identity.
    pub(super) column_of: Vec<u32>,
}

#[derive(PartialEq, Eq, Hash)]
struct RowKey {
    concerns: Vec<Concern>,
    claimed: bool,
    mode: Option<Mode>,
}

#[derive(PartialEq, Eq, Hash)]
struct ColumnKey {
    concerns: Vec<Concern>,
    claimed: bool,
    zones: Vec<usize>,
}

/// Numbers given in order of first use.
fn number<K: std::hash::Hash + Eq>(known: &mut HashMap<K, u32>, key: K) -> (u32, bool) {
    let next = u32::try_from(known.len()).unwrap_or(u32::MAX);
    let number = *known.entry(key).or_insert(next);
    (number, number == next)
}

impl Matrix {
    pub(super) fn new(model: &Model, identities: &Identities<'_>, consulted: &Consulted) -> Self {
        let mut matrix = Self { answers: vec![Answer::DEFAULT], ..Self::default() };
        let rows = matrix.rows(model, identities, consulted);
        let columns = matrix.columns(model, identities, consulted);
        matrix.cross(model, consulted, &rows, &columns);
        matrix
    }

    /// Row keys in the order of their numbers.
    fn rows(
        &mut self,
        model: &Model,
        identities: &Identities<'_>,
        consulted: &Consulted,
    ) -> Vec<(Vec<Concern>, bool)> {
        let mut known = HashMap::new();
        let mut keys = Vec::new();
        for (index, identity) in identities.all.iter().enumerate() {
            let mode = identity.zones.iter().filter_map(|z| model.zones.get(*z)).map(|z| z.mode).max();
            let rows = [false, true].map(|genuine| {
                let concerns = consulted.concerns(
                    index,
                    |clause| clause.from,
                    |heard| {
                        if genuine { heard.genuine } else { heard.stranger }
                    },
                );
                let claimed = identity.claimed;
                let key = RowKey { concerns: concerns.clone(), claimed, mode };
                let (row, new) = number(&mut known, key);
                if new {
                    self.rows.push(Row { mode });
                    keys.push((concerns, claimed));
                }
                row
            });
            self.rows_of.push(rows);
        }
        keys
    }

    /// Column keys in the order of their numbers.
    fn columns(
        &mut self,
        model: &Model,
        identities: &Identities<'_>,
        consulted: &Consulted,
    ) -> Vec<(Vec<Concern>, bool, bool)> {
        let mut known = HashMap::new();
        let mut keys = Vec::new();
        let mut governed: HashMap<Vec<usize>, Column> = HashMap::new();
        for (index, identity) in identities.all.iter().enumerate() {
            let concerns = consulted.concerns(index, |clause| clause.to, |heard| heard.genuine);
            let (claimed, zones) = (identity.claimed, identity.zones.clone());
            let key = ColumnKey { concerns: concerns.clone(), claimed, zones: zones.clone() };
            let (column, new) = number(&mut known, key);
            if new {
                keys.push((concerns, claimed, !zones.is_empty()));
                let column = *governed.entry(zones).or_insert_with_key(|zones| {
                    let zones = zones.iter().filter_map(|z| model.zones.get(*z)).collect();
                    govern(&mut self.programs, zones)
                });
                self.columns.push(column);
            }
            self.column_of.push(column);
        }
        keys
    }

    fn cross(
        &mut self,
        model: &Model,
        consulted: &Consulted,
        rows: &[(Vec<Concern>, bool)],
        columns: &[(Vec<Concern>, bool, bool)],
    ) {
        // Clause → the columns it concerns.
        let mut met: Vec<Vec<(usize, bool)>> = vec![Vec::new(); consulted.clauses.len()];
        for (column, (concerns, ..)) in columns.iter().enumerate() {
            for (clause, matches) in concerns {
                if let Some(met) = met.get_mut(*clause) {
                    met.push((column, *matches));
                }
            }
        }
        let mut programs: HashMap<Vec<Concern>, u32> = HashMap::new();
        let mut numbers: HashMap<Answer, u32> = HashMap::from([(Answer::DEFAULT, 0)]);
        let mut cells: Vec<Vec<Concern>> = vec![Vec::new(); columns.len()];
        self.cells.reserve_exact(rows.len().saturating_mul(columns.len()));
        for (concerns, from_claimed) in rows {
            for (index, from_matches) in concerns {
                let (Some(clause), Some(met)) = (consulted.clauses.get(*index), met.get(*index)) else {
                    continue;
                };
                let allow = model.rules.get(clause.rule).is_some_and(|r| r.tier == Tier::Allow);
                for (column, to_matches) in met {
                    let (Some(cell), Some((_, to_claimed, zoned))) =
                        (cells.get_mut(*column), columns.get(*column))
                    else {
                        continue;
                    };
                    if allow && !may_allow(*from_claimed, *to_claimed, *zoned) {
                        continue;
                    }
                    let matches = *from_matches && *to_matches;
                    // Both ways of one rule follow each other: it stands once, as the stronger.
                    match cell.last_mut() {
                        Some((rule, before)) if *rule == clause.rule => *before |= matches,
                        Some(_) | None => cell.push((clause.rule, matches)),
                    }
                }
            }
            for cell in &mut cells {
                let known = programs.get(cell).copied();
                let program = known.unwrap_or_else(|| {
                    let made = program(model, cell, &mut self.programs, &mut self.answers, &mut numbers);
                    programs.insert(cell.clone(), made);
                    made
                });
                self.cells.push(program);
                cell.clear();
            }
        }
    }
}

impl Consulted {
    /// The clauses that concern an identity at one end, in order.
    fn concerns(
        &self,
        identity: usize,
        end: impl Fn(&super::identity::Clause) -> usize,
        matches: impl Fn(&Heard) -> bool,
    ) -> Vec<Concern> {
        (0..)
            .zip(&self.clauses)
            .filter_map(|(index, clause)| {
                let heard = self.selectors.get(end(clause))?.get(identity)?;
                let matches = matches(heard);
                (matches || heard.assumed).then_some((index, matches))
            })
            .collect()
    }
}

fn program(
    model: &Model,
    cell: &[Concern],
    programs: &mut Programs,
    answers: &mut Vec<Answer>,
    known: &mut HashMap<Answer, u32>,
) -> u32 {
    let rules: Vec<(usize, &Rule, bool)> = cell
        .iter()
        .filter_map(|(rule, matches)| model.rules.get(*rule).map(|r| (*rule, r, *matches)))
        .collect();
    let sets: Vec<&ServiceSet> = rules.iter().map(|(_, rule, _)| &rule.services).collect();
    programs.make(&sets, &mut Decide { rules, answers, known })
}

/// Rules of one cell, strongest first → answers.
struct Decide<'a> {
    /// Number, rule, and whether it matches or only would if an account were held.
    rules: Vec<(usize, &'a Rule, bool)>,
    answers: &'a mut Vec<Answer>,
    known: &'a mut HashMap<Answer, u32>,
}

impl Answers for Decide<'_> {
    fn readable(&mut self, sets: &[usize]) -> u32 {
        let mut answer = Answer::DEFAULT;
        let mut matched = 0_usize;
        for (number, rule, matches) in sets.iter().filter_map(|i| self.rules.get(*i)) {
            if !matches {
                if matched == 0 {
                    answer.denial = Some(Denial::AccountNotHeld);
                }
                continue;
            }
            let number = RuleNumber(u32::try_from(*number).unwrap_or(u32::MAX));
            if matched == 0 {
                answer.rule = number;
                answer.denial = match rule.tier {
                    Tier::Guardrail => Some(Denial::Guardrail),
                    Tier::Deny => Some(Denial::Rule),
                    Tier::Allow => None,
                };
            } else if let Some(also) = answer.also.get_mut(matched - 1) {
                *also = number;
            }
            matched += 1;
            if rule.tier == Tier::Guardrail {
                // Always written; a guardrail without one would be as strict as can be.
                answer.guardrails = answer.guardrails.max(Some(rule.mode.unwrap_or(Mode::Enforce)));
            }
        }
        let next = u32::try_from(self.answers.len()).unwrap_or(u32::MAX);
        *self.known.entry(answer).or_insert_with(|| {
            self.answers.push(answer);
            next
        })
    }

    fn unreadable(&mut self, touching: &[usize], covering: &[usize]) -> u32 {
        let sets: Vec<usize> = touching
            .iter()
            .copied()
            .filter(|i| {
                covering.contains(i)
                    || self.rules.get(*i).is_some_and(|(_, rule, _)| rule.tier != Tier::Allow)
            })
            .collect();
        self.readable(&sets)
    }
}

/// How all these zones govern connections to their members.
fn govern(programs: &mut Programs, zones: Vec<&Zone>) -> Column {
    let services = zones
        .iter()
        .enumerate()
        .flat_map(|(z, zone)| zone.service_modes.iter().map(move |(set, mode)| (set, (z, *mode))));
    let (sets, modes): (Vec<&ServiceSet>, Vec<(usize, Mode)>) = services.unzip();
    let own = zones.iter().map(|z| z.mode);
    let strictest = own.chain(modes.iter().map(|(_, mode)| *mode)).max();
    Column { modes: programs.make(&sets, &mut Govern { zones, modes, strictest }), strictest }
}

/// Zones of one column → their mode for a service.
struct Govern<'a> {
    zones: Vec<&'a Zone>,
    /// Zone and mode of each entry of `service_modes`.
    modes: Vec<(usize, Mode)>,
    strictest: Option<Mode>,
}

impl Answers for Govern<'_> {
    fn readable(&mut self, sets: &[usize]) -> u32 {
        let by_zone = self.zones.iter().enumerate().map(|(index, zone)| {
            let named = sets.iter().filter_map(|i| self.modes.get(*i)).filter(|(z, _)| *z == index);
            named.map(|(_, mode)| *mode).max().unwrap_or(zone.mode)
        });
        mode_answer(by_zone.max())
    }

    fn unreadable(&mut self, _: &[usize], _: &[usize]) -> u32 {
        mode_answer(self.strictest)
    }
}
