//! Rows × columns → programs.
//!
//! What it is: identities that the same selectors match fall into one row (as sender) and one column (as
//! destination), as far as `same` and `differs` see them alike; each cell is the list of rules that match both ends, strongest first, and equal lists share
//! one program. Few rules are *wide*: they hold for many rows and many columns, as "production may reach the
//! time servers" does. Rows that the same wide rules match share a line of the *plain*, a small full matrix;
//! what the many narrow rules say stands beside it, cell by cell, with the wide ones already in it
//! (`overlay`). What it is not: identities come before, the table after. Cost: cells of the plain, and rows ×
//! columns of each narrow rule; where the line between wide and narrow lies is chosen to make that small.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use super::hash::Quick;
use super::identity::{Clause, Consulted, Heard, Identities, may_allow};
use super::model::{Model, Rule, Selector, ServiceSet, Tier, Zone};
use super::overlay::{Cell, Overlay};
use super::programs::{Answers, Maker};
use super::relevance::Numbered;
use super::selector::Kind;
use super::services::Spans;
use super::table::{Answer, Column, Head, Row, mode_answer};
use super::verdict::{Denial, Mode, RuleNumber};
use super::wide::{Line, divide};

/// Rank of a rule that matches, or only would if an account were held, twice; plus one if it matches. In
/// order of strength.
type Concern = u32;

const fn concern(rank: u32, matches: bool) -> Concern {
    rank << 1 | if matches { 1 } else { 0 }
}

/// The compiled verdicts.
#[derive(Debug, Default)]
pub(super) struct Matrix {
    pub(super) rows: Vec<Row>,
    pub(super) columns: Vec<Column>,
    /// The plain: line of a row, place of a column.
    pub(super) plain: Vec<Cell>,
    pub(super) overlay: Overlay,
    pub(super) maker: Maker,
    pub(super) answers: Vec<Answer>,
    /// Makes what a packet is asked of what `maker` made.
    pub(super) briefs: Maker,
    /// Rows of each identity: MAC not true, true.
    pub(super) rows_of: Vec<[u32; 2]>,
    /// Column of each identity.
    pub(super) column_of: Vec<u32>,
}

/// Rows, or columns: who is told apart by the selectors at one end.
#[derive(Debug, Default)]
pub(super) struct Classes {
    /// By class: selectors that concern it, each twice, plus one if it matches; rising.
    pub(super) heard: Vec<Vec<u32>>,
    /// By class: claimed, and in a zone.
    pub(super) kinds: Vec<(bool, bool)>,
    /// By class: one of its identities.
    one: Vec<usize>,
    /// By selector: classes that it concerns, and whether it matches.
    pub(super) concerned: Vec<Vec<(u32, bool)>>,
}

impl Classes {
    fn learn(&mut self, selectors: usize) {
        self.concerned = vec![Vec::new(); selectors];
        for (class, heard) in (0..).zip(&self.heard) {
            for word in heard {
                if let Some(list) = self.concerned.get_mut(index(word >> 1)) {
                    list.push((class, word & 1 == 1));
                }
            }
        }
    }

    /// Classes of a selector.
    pub(super) fn of(&self, selector: usize) -> &[(u32, bool)] {
        self.concerned.get(selector).map_or(&[], Vec::as_slice)
    }
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

impl Matrix {
    /// `lines` may divide wide rules from narrow ones.
    pub(super) fn new(
        model: &Model,
        identities: &Identities<'_>,
        consulted: &Consulted,
        lines: &[u64],
    ) -> Self {
        let of_zones = model.zones.iter().flat_map(|zone| zone.service_modes.iter().map(|(set, _)| set));
        let maker = Maker::over(model.rules.iter().map(|rule| &rule.services).chain(of_zones));
        let briefs = maker.beside();
        let mut matrix = Self { answers: vec![Answer::DEFAULT], maker, briefs, ..Self::default() };
        let (mut from, mut to) =
            (vec![false; consulted.selectors.len()], vec![false; consulted.selectors.len()]);
        for clause in &consulted.clauses {
            from.get_mut(clause.from).into_iter().for_each(|used| *used = true);
            to.get_mut(clause.to).into_iter().for_each(|used| *used = true);
        }
        let count = identities.all.len();
        let told = |used: &[bool], genuine: bool| {
            heard_by(consulted, used, count, |h| if genuine { h.genuine } else { h.stranger })
        };
        let joined: BTreeSet<&String> = model.rules.iter().flat_map(|rule| rule.to.joined()).collect();
        let kinds = identities.all.iter().map(|identity| {
            if joined.is_empty() {
                Kind::default()
            } else {
                identity.carried().kind(joined.iter().copied())
            }
        });
        let kinds: Vec<Kind> = kinds.collect();
        let rows = matrix.rows(model, identities, &kinds, [told(&from, false), told(&from, true)]);
        let columns = matrix.columns(model, identities, &kinds, told(&to, true));
        Crossing::new(model, (identities, consulted), matrix, rows, columns).done(lines)
    }

    fn rows(
        &mut self,
        model: &Model,
        identities: &Identities<'_>,
        kinds: &[Kind],
        told: [Vec<Vec<u32>>; 2],
    ) -> Classes {
        let mut known = Numbered::default();
        let mut classes = Classes::default();
        let [strangers, genuine] = told;
        let all = identities.all.iter().zip(kinds).enumerate();
        for (((number, (identity, kind)), stranger), genuine) in all.zip(strangers).zip(genuine) {
            let mode = identity.zones.iter().filter_map(|z| model.zones.get(*z)).map(|z| z.mode).max();
            let rows = [stranger, genuine].map(|heard| {
                let (row, new) = known.number((heard.clone(), identity.claimed, kind, mode));
                if new {
                    self.rows.push(Row { mode, ..Row::default() });
                    classes.heard.push(heard);
                    classes.kinds.push((identity.claimed, false));
                    classes.one.push(number);
                }
                row
            });
            self.rows_of.push(rows);
        }
        classes
    }

    fn columns(
        &mut self,
        model: &Model,
        identities: &Identities<'_>,
        kinds: &[Kind],
        told: Vec<Vec<u32>>,
    ) -> Classes {
        let mut known = Numbered::default();
        let mut classes = Classes::default();
        let mut governed: HashMap<&[usize], Column> = HashMap::new();
        for ((number, (identity, kind)), heard) in identities.all.iter().zip(kinds).enumerate().zip(told) {
            let zones = identity.zones.as_slice();
            let (column, new) = known.number((heard.clone(), identity.claimed, kind, zones));
            if new {
                let column = *governed.entry(zones).or_insert_with_key(|zones| {
                    let zones = zones.iter().filter_map(|z| model.zones.get(*z)).collect();
                    govern(&mut self.maker, zones)
                });
                self.columns.push(column);
                classes.heard.push(heard);
                classes.kinds.push((identity.claimed, !zones.is_empty()));
                classes.one.push(number);
            }
            self.column_of.push(column);
        }
        classes
    }
}

/// By identity: the selectors in use that concern it.
fn heard_by(
    consulted: &Consulted,
    used: &[bool],
    identities: usize,
    matches: impl Fn(&Heard) -> bool,
) -> Vec<Vec<u32>> {
    let mut told: Vec<Vec<u32>> = vec![Vec::new(); identities];
    for ((selector, heard), _) in (0..).zip(&consulted.selectors).zip(used).filter(|(_, used)| **used) {
        for (identity, heard) in heard {
            let matches = matches(heard);
            if matches || heard.assumed {
                told.get_mut(index(*identity))
                    .into_iter()
                    .for_each(|told| told.push(concern(selector, matches)));
            }
        }
    }
    told
}

/// Rows and columns on their way to cells.
struct Crossing<'m> {
    identities: &'m Identities<'m>,
    consulted: &'m Consulted,
    rules: Vec<&'m Rule>,
    /// By rank.
    spans: Vec<u32>,
    sets: Vec<Spans>,
    matrix: Matrix,
    rows: Classes,
    columns: Classes,
    /// Lists of concerns and their programs.
    lists: Numbered<Rc<[Concern]>>,
    /// By the number of a list.
    made: Vec<(Rc<[Concern]>, Cell)>,
    answers: HashMap<Answer, u32, Quick>,
    /// By answer, what a packet is told of it.
    heads: Vec<u32>,
}

/// Cells of one row, filled and emptied again.
struct Cells {
    lists: Vec<Vec<Concern>>,
    touched: Vec<u32>,
}

impl Cells {
    fn new(columns: usize) -> Self {
        Self { lists: vec![Vec::new(); columns], touched: Vec::new() }
    }

    /// One rule more in a cell; both ways of one rule follow each other, and it stands once, as the stronger.
    fn add(&mut self, column: u32, rank: u32, matches: bool) {
        let Some(list) = self.lists.get_mut(index(column)) else { return };
        match list.last_mut() {
            Some(last) if *last >> 1 == rank => *last |= concern(0, matches),
            Some(_) => list.push(concern(rank, matches)),
            None => {
                self.touched.push(column);
                list.push(concern(rank, matches));
            }
        }
    }

    /// What was filled, in order of columns, and empties it.
    fn drain(&mut self, mut each: impl FnMut(u32, &mut Vec<Concern>)) {
        self.touched.sort_unstable();
        for column in self.touched.drain(..) {
            if let Some(list) = self.lists.get_mut(index(column)) {
                each(column, list);
                list.clear();
            }
        }
    }
}

impl<'m> Crossing<'m> {
    fn new(
        model: &'m Model,
        (identities, consulted): (&'m Identities<'m>, &'m Consulted),
        matrix: Matrix,
        mut rows: Classes,
        mut columns: Classes,
    ) -> Self {
        rows.learn(consulted.selectors.len());
        columns.learn(consulted.selectors.len());
        let rules: Vec<&Rule> = consulted.order.iter().filter_map(|r| model.rules.get(*r)).collect();
        let mut known: HashMap<(bool, &[super::model::Atom]), u32> = HashMap::new();
        let mut sets = Vec::new();
        let spans = rules
            .iter()
            .map(|rule| {
                let ServiceSet { any, atoms, written: _ } = &rule.services;
                *known.entry((*any, atoms.as_slice())).or_insert_with(|| {
                    sets.push(Spans::of(&rule.services));
                    u32::try_from(sets.len() - 1).unwrap_or(u32::MAX)
                })
            })
            .collect();
        Self {
            identities,
            consulted,
            rules,
            spans,
            sets,
            matrix,
            rows,
            columns,
            lists: Numbered::default(),
            made: Vec::new(),
            answers: HashMap::from_iter([(Answer::DEFAULT, 0)]),
            heads: Vec::new(),
        }
    }

    fn done(mut self, lines: &[u64]) -> Matrix {
        let (wide, lines, places) = divide(self.consulted, &self.rows, &self.columns, lines);
        let plain = self.plain(&lines, &places);
        self.overlay(&wide, (&lines, &places), &plain);
        let width = u32::try_from(places.kinds.len()).unwrap_or(u32::MAX);
        for (row, line) in self.matrix.rows.iter_mut().zip(&lines.of_class) {
            row.line = line.saturating_mul(width);
        }
        for (column, place) in self.matrix.columns.iter_mut().zip(&places.of_class) {
            column.place = *place;
        }
        self.matrix.plain = plain.iter().map(|list| self.program(*list)).collect();
        self.matrix
    }

    fn allows(&self, rank: u32) -> bool {
        self.rules.get(index(rank)).is_some_and(|rule| rule.tier == Tier::Allow)
    }

    /// Where a rule compares the two ends: its `to`.
    fn pairing(&self, clause: Clause) -> Option<&'m Selector> {
        self.rules.get(index(clause.rank)).filter(|_| clause.paired).map(|rule| &rule.to)
    }

    /// Whether a row and a column belong together as a rule's `to` says.
    fn belong(&self, to: &Selector, row: usize, column: u32) -> bool {
        let of = |classes: &Classes, class: usize| {
            classes.one.get(class).and_then(|identity| self.identities.all.get(*identity))
        };
        match (of(&self.rows, row), of(&self.columns, index(column))) {
            (Some(sender), Some(receiver)) => to.joins(sender.carried(), receiver.carried()),
            (Some(_) | None, None) | (None, Some(_)) => false,
        }
    }

    /// The full matrix of what wide rules say, as numbers of lists.
    fn plain(&mut self, lines: &Line, places: &Line) -> Vec<u32> {
        let width = places.kinds.len();
        let mut plain = Vec::with_capacity(lines.kinds.len().saturating_mul(width));
        let empty = self.list(&[]);
        let mut cells = Cells::new(width);
        for ((from_claimed, _), heard) in lines.kinds.iter().zip(&lines.clauses) {
            for (number, from_matches) in heard {
                let Some(clause) = self.consulted.clauses.get(index(*number)) else { continue };
                let allow = self.allows(clause.rank);
                for (place, to_matches) in places.concerned(*number) {
                    let (to_claimed, zoned) =
                        places.kinds.get(index(*place)).copied().unwrap_or((false, true));
                    if !allow || may_allow(*from_claimed, to_claimed, zoned) {
                        cells.add(*place, clause.rank, *from_matches && *to_matches);
                    }
                }
            }
            let start = plain.len();
            plain.resize(start + width, empty);
            cells.drain(|place, list| {
                let number = self.list(list);
                plain.get_mut(start + index(place)).into_iter().for_each(|cell| *cell = number);
            });
        }
        plain
    }

    /// What narrow rules say, with what the plain has there.
    fn overlay(&mut self, wide: &[bool], (lines, places): (&Line, &Line), plain: &[u32]) {
        let mut concerned: Vec<Vec<(u32, bool)>> = vec![Vec::new(); self.rows.kinds.len()];
        for ((number, clause), _) in (0..).zip(&self.consulted.clauses).zip(wide).filter(|(_, w)| !**w) {
            if !self.columns.of(clause.to).is_empty() {
                for (row, matches) in self.rows.of(clause.from) {
                    concerned.get_mut(index(*row)).into_iter().for_each(|c| c.push((number, *matches)));
                }
            }
        }
        let width = places.kinds.len();
        let mut cells = Cells::new(self.columns.kinds.len());
        let (mut entries, mut whole) = (Vec::new(), Vec::new());
        let mut overlay = std::mem::take(&mut self.matrix.overlay);
        for (row, heard) in concerned.iter().enumerate() {
            let (from_claimed, _) = self.rows.kinds.get(row).copied().unwrap_or_default();
            for (number, from_matches) in heard {
                let Some(clause) = self.consulted.clauses.get(index(*number)) else { continue };
                let allow = self.allows(clause.rank);
                let pairing = self.pairing(*clause);
                for (column, to_matches) in self.columns.of(clause.to) {
                    let (to_claimed, zoned) =
                        self.columns.kinds.get(index(*column)).copied().unwrap_or((false, true));
                    let open = !allow || may_allow(from_claimed, to_claimed, zoned);
                    if open && pairing.is_none_or(|to| self.belong(to, row, *column)) {
                        cells.add(*column, clause.rank, *from_matches && *to_matches);
                    }
                }
            }
            let line = lines.of_class.get(row).map_or(0, |line| index(*line)) * width;
            entries.clear();
            cells.drain(|column, list| {
                let place = places.of_class.get(index(column)).map_or(0, |place| index(*place));
                let below = plain.get(line + place).and_then(|list| self.made.get(index(*list)));
                merge(below.map_or(&[], |(below, _)| below), list, &mut whole);
                let list = self.list(&whole);
                entries.push((column, self.program(list)));
            });
            let cells = overlay.add(&entries);
            self.matrix.rows.get_mut(row).into_iter().for_each(|row| row.cells = cells);
        }
        overlay.finish();
        self.matrix.overlay = overlay;
    }

    /// The number of a list; a new one gets its program.
    fn list(&mut self, list: &[Concern]) -> u32 {
        if let Some(known) = self.lists.get(list) {
            return known;
        }
        let kept: Rc<[Concern]> = list.into();
        let (number, _) = self.lists.number(Rc::clone(&kept));
        let rules: Vec<(RuleNumber, &Rule, bool)> = list
            .iter()
            .filter_map(|concern| {
                let rank = index(concern >> 1);
                let number = u32::try_from(*self.consulted.order.get(rank)?).ok()?;
                Some((RuleNumber(number), *self.rules.get(rank)?, concern & 1 == 1))
            })
            .collect();
        let spans = list.iter().filter_map(|concern| self.spans.get(index(concern >> 1)));
        let sets: Vec<&Spans> = spans.filter_map(|set| self.sets.get(index(*set))).collect();
        let Matrix { maker, answers, .. } = &mut self.matrix;
        let program = maker.make(&sets, &mut Decide { rules, answers, known: &mut self.answers });
        let brief = self.brief(program);
        self.made.push((kept, Cell { brief, full: program }));
        number
    }

    /// What a packet is asked of a program.
    fn brief(&mut self, program: u32) -> u32 {
        let Matrix { maker, answers, briefs, .. } = &mut self.matrix;
        let new = answers.iter().skip(self.heads.len());
        self.heads.extend(new.map(|answer| Head::of(answer).word()));
        let head = |answer: u32| self.heads.get(index(answer)).copied().unwrap_or(u32::MAX);
        briefs.project(maker, program, &head)
    }

    fn program(&self, list: u32) -> Cell {
        self.made.get(index(list)).map_or(Cell::default(), |(_, cell)| *cell)
    }
}

/// Both lists as one.
fn merge(one: &[Concern], other: &[Concern], into: &mut Vec<Concern>) {
    into.clear();
    let (mut one, mut other) = (one.iter().copied().peekable(), other.iter().copied().peekable());
    loop {
        let next = match (one.peek(), other.peek()) {
            (Some(a), Some(b)) => {
                if a <= b {
                    one.next()
                } else {
                    other.next()
                }
            }
            (Some(_), None) => one.next(),
            (None, _) => other.next(),
        };
        let Some(next) = next else { return };
        match into.last_mut() {
            Some(last) if *last >> 1 == next >> 1 => *last |= next,
            Some(_) | None => into.push(next),
        }
    }
}

/// Rules of one cell, strongest first → answers.
struct Decide<'a> {
    /// Number, rule, and whether it matches or only would if an account were held.
    rules: Vec<(RuleNumber, &'a Rule, bool)>,
    answers: &'a mut Vec<Answer>,
    known: &'a mut HashMap<Answer, u32, Quick>,
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
            if matched == 0 {
                answer.rule = *number;
                answer.denial = match rule.tier {
                    Tier::Guardrail => Some(Denial::Guardrail),
                    Tier::Deny => Some(Denial::Rule),
                    Tier::Exception | Tier::Allow => None,
                };
            } else if let Some(also) = answer.also.get_mut(matched - 1) {
                *also = *number;
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
fn govern(maker: &mut Maker, zones: Vec<&Zone>) -> Column {
    let services = zones.iter().enumerate().flat_map(|(z, zone)| {
        zone.service_modes.iter().map(move |(set, mode)| (Spans::of(set), (z, *mode)))
    });
    let (sets, modes): (Vec<Spans>, Vec<(usize, Mode)>) = services.unzip();
    let own = zones.iter().map(|z| z.mode);
    let strictest = own.chain(modes.iter().map(|(_, mode)| *mode)).max();
    if modes.is_empty() {
        return Column { modes: Column::ALIKE, strictest, place: 0 };
    }
    let sets: Vec<&Spans> = sets.iter().collect();
    let modes = maker.make(&sets, &mut Govern { zones, modes, strictest });
    Column { modes, strictest, place: 0 }
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
