//! What exceptions say between two workloads, beside the table's cells.
//!
//! What it is: for each pair of workloads that some exception names, the list of those between them, looked
//! at before what the rules say is believed (POLICY.md §5): a guardrail still stands above, everything else
//! gives way while one is active. What it is not: part of the rows and columns. An exception tells single
//! hosts apart, and would make classes of them; where a workload is named its name is its identity here, and
//! the classes stay as they are. Invariant: a table without exceptions has none of this. Cost: one hash of the
//! two workloads' numbers, one program over services and the list, at most twice
//! [`Exceptions::MOST_OF_PAIR`] long; nothing to allocate. Without exceptions, one pointer that is null.

use std::collections::{BTreeMap, HashMap};

use super::exception::{Exception, Exceptions, Party};
use super::hash::Quick;
use super::model::{Model, Tier};
use super::programs::{Answers, Maker};
use super::services::Spans;
use super::space::{Space, StretchId};
use super::table::{Spot, Table};
use super::verdict::{Denial, Moment, RuleNumber, Verdict};
use crate::wire::Service;

/// All exceptions of a table.
#[derive(Debug)]
pub(super) struct Exempt {
    /// Workloads of the two ends → index into `cells`.
    pairs: HashMap<(u32, u32), u32, Quick>,
    cells: Vec<Cell>,
    bounds: Vec<Bound>,
}

/// The exceptions between two workloads, most specific first.
#[derive(Debug)]
struct Cell {
    /// Program over services whose answers are sets of the list, one bit each.
    program: u32,
    /// Where the list begins.
    first: u32,
    /// And how long it is.
    count: u32,
}

/// One exception between two workloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Bound {
    /// Number of the exception: behind the rules.
    number: RuleNumber,
    start: Moment,
    end: Moment,
    /// Which ends must hold their account.
    accounts: [bool; 2],
}

impl Bound {
    fn is_active(&self, now: Moment) -> bool {
        self.start <= now && now < self.end
    }

    /// When it begins or ends next.
    fn turns(&self, now: Moment) -> Moment {
        [self.start, self.end].into_iter().find(|edge| *edge > now).unwrap_or(Moment::NEVER)
    }
}

/// One end of a flow, as exceptions see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    /// Its workload; [`Spot::NONE`] for who is unknown or a group.
    pub(super) workload: u32,
    /// Where it lies.
    pub(super) stretch: StretchId,
    /// Its binding has lapsed.
    pub(super) lapsed: bool,
    /// Its MAC is true, or it is the destination.
    pub(super) genuine: bool,
}

/// What may come of one exception, and would if accounts were held.
struct Held {
    matches: bool,
    would: bool,
}

impl Exempt {
    /// Bytes that a judgement may touch.
    pub(super) fn bytes(&self) -> usize {
        let pair = size_of::<((u32, u32), u32)>();
        self.pairs.len() * pair
            + self.cells.len() * size_of::<Cell>()
            + self.bounds.len() * size_of::<Bound>()
    }

    /// The list between two workloads, and its program.
    fn between(&self, from: u32, to: u32) -> Option<(u32, &[Bound])> {
        let cell = self.pairs.get(&(from, to))?;
        let Cell { program, first, count } = self.cells.get(usize::try_from(*cell).ok()?)?;
        let (first, count) = (usize::try_from(*first).ok()?, usize::try_from(*count).ok()?);
        Some((*program, self.bounds.get(first..first.checked_add(count)?)?))
    }
}

/// Names of one verdict: its own and the others that match.
const NAMED: usize = 5;

impl Table {
    /// Puts what exceptions say into what rules said of two hosts at their places.
    #[cold]
    pub(super) fn except(
        &self,
        exempt: &Exempt,
        [from, to]: [Asker; 2],
        (service, now): (Service, Moment),
        verdict: &mut Verdict,
    ) {
        if [from, to].iter().any(|end| end.workload == Spot::NONE) {
            return;
        }
        let Some((program, bounds)) = exempt.between(from.workload, to.workload) else { return };
        let mentioned = self.programs.ask(program, service).unwrap_or(0);
        let (mut active, mut found, mut would) = ([RuleNumber::NONE; NAMED], 0, false);
        for (bit, bound) in (0..u32::BITS).zip(bounds) {
            if mentioned.checked_shr(bit).unwrap_or(0) & 1 == 0 {
                continue;
            }
            let held = self.held(bound, [from, to]);
            if !held.would {
                continue;
            }
            verdict.judge_at = verdict.judge_at.min(bound.turns(now));
            if !bound.is_active(now) {
                continue;
            }
            would = true;
            // One whose directions ask for different accounts stands twice, one behind the other.
            let known = found > 0 && active.get(found - 1) == Some(&bound.number);
            if held.matches
                && !known
                && let Some(next) = active.get_mut(found)
            {
                *next = bound.number;
                found += 1;
            }
        }
        if found == 0 {
            if would && verdict.denial == Some(Denial::NoRule) {
                verdict.denial = Some(Denial::AccountNotHeld);
            }
            return;
        }
        let [a, b, c, d] = verdict.also;
        let said = [verdict.rule, a, b, c, d];
        let guards = |number: &&RuleNumber| self.rule(**number).is_some_and(|r| r.tier == Tier::Guardrail);
        let guardrails = said.iter().take_while(guards).count();
        let (above, below) = said.split_at(guardrails);
        let all = above.iter().chain(active.iter().take(found)).chain(below);
        let mut all = all.copied();
        let mut next = || all.next().unwrap_or(RuleNumber::NONE);
        verdict.rule = next();
        verdict.also = [next(), next(), next(), next()];
        if guardrails == 0 {
            verdict.denial = None;
        }
    }

    /// A lapsed binding is granted nothing; an account is held by a fresh claim of one address, with a true MAC.
    fn held(&self, bound: &Bound, ends: [Asker; 2]) -> Held {
        let mut held = Held { matches: true, would: true };
        for (end, account) in ends.into_iter().zip(bound.accounts) {
            let host = || self.space.get(end.stretch).is_some_and(|stretch| stretch.host);
            held.matches &= !end.lapsed && (!account || (end.genuine && host()));
            held.would &= !end.lapsed || account;
        }
        held
    }
}

/// Services → which of a list are for them.
struct Which;

impl Answers for Which {
    fn readable(&mut self, sets: &[usize]) -> u32 {
        let bit = |index: &usize| u32::try_from(*index).ok().and_then(|index| 1_u32.checked_shl(index));
        sets.iter().filter_map(bit).fold(0, |all, one| all | one)
    }

    fn unreadable(&mut self, _: &[usize], covering: &[usize]) -> u32 {
        self.readable(covering)
    }
}

/// What the inventory has of one workload.
#[derive(Clone, Copy, Debug, Default)]
struct Here {
    /// Some address is its own.
    present: bool,
    /// Some claim of one address is.
    host: bool,
}

/// Exceptions, made ready for judgement, their numbers behind the rules'. `None`: no pair of workloads that the
/// inventory has is named.
pub(super) fn exempt(
    model: &Model,
    space: &Space,
    exceptions: &Exceptions,
    maker: &mut Maker,
) -> Option<Box<Exempt>> {
    if exceptions.is_empty() {
        return None;
    }
    let mut here = vec![Here::default(); model.workloads.len()];
    for stretch in space.all.iter().filter(|stretch| !stretch.covered) {
        if let Some(here) = stretch.workload.and_then(|w| here.get_mut(w)) {
            here.present = true;
            here.host |= stretch.host;
        }
    }
    let numbers: HashMap<&str, usize> =
        model.workloads.iter().enumerate().map(|(number, w)| (w.name.as_str(), number)).collect();
    // Workloads of an end: those named whose account, if one is asked for, is among those asked for.
    let meant = |party: &Party| -> Vec<usize> {
        let named = party.workloads.iter().filter_map(|name| numbers.get(name.as_str()).copied());
        let own = |w: &usize| {
            let account = model.workloads.get(*w).and_then(|w| w.service_account.as_ref());
            party.accounts.is_empty() || account.is_some_and(|account| party.accounts.contains(account))
        };
        named.filter(own).collect()
    };
    let count = |party: &Party| {
        let counts = |w: &&usize| {
            here.get(**w)
                .is_some_and(|here| if party.accounts.is_empty() { here.present } else { here.host })
        };
        u64::try_from(meant(party).iter().filter(counts).count()).unwrap_or(u64::MAX).max(1)
    };
    // The most specific first, as among rules of one tier.
    let mut ranked: Vec<(usize, &Exception)> = exceptions.iter().enumerate().collect();
    ranked.sort_by_cached_key(|(_, exception)| {
        let width = u64::from(exception.services.width());
        let product = count(&exception.from).saturating_mul(count(&exception.to)).saturating_mul(width);
        (product, &exception.id)
    });
    let mut sets: Vec<Spans> = Vec::with_capacity(ranked.len());
    let mut lists: BTreeMap<(u32, u32), Vec<(usize, Bound)>> = BTreeMap::new();
    for (rank, (number, exception)) in ranked.into_iter().enumerate() {
        sets.push(Spans::of(&exception.services));
        let number = u32::try_from(model.rules.len().saturating_add(number)).unwrap_or(u32::MAX);
        for (from, to) in exception.ways() {
            let accounts = [from, to].map(|party| !party.accounts.is_empty());
            let bound =
                Bound { number: RuleNumber(number), start: exception.start, end: exception.end, accounts };
            let receivers = meant(to);
            for from in meant(from) {
                for to in &receivers {
                    let (Ok(from), Ok(to)) = (u32::try_from(from), u32::try_from(*to)) else { continue };
                    let list = lists.entry((from, to)).or_default();
                    if list.last() != Some(&(rank, bound)) {
                        list.push((rank, bound));
                    }
                }
            }
        }
    }
    let mut made = Exempt { pairs: HashMap::default(), cells: Vec::new(), bounds: Vec::new() };
    let mut known: HashMap<Vec<(usize, Bound)>, u32, Quick> = HashMap::default();
    for (ends, list) in lists {
        let next = u32::try_from(made.cells.len()).unwrap_or(u32::MAX);
        let cell = *known.entry(list).or_insert_with_key(|list| {
            let spans: Vec<&Spans> = list.iter().filter_map(|(rank, _)| sets.get(*rank)).collect();
            let first = u32::try_from(made.bounds.len()).unwrap_or(u32::MAX);
            made.bounds.extend(list.iter().map(|(_, bound)| *bound));
            let count = u32::try_from(list.len()).unwrap_or(0);
            made.cells.push(Cell { program: maker.make(&spans, &mut Which), first, count });
            next
        });
        made.pairs.insert(ends, cell);
    }
    (!made.pairs.is_empty()).then(|| Box::new(made))
}
