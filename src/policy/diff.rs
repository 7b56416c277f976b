//! What another policy opens, closes and changes.
//!
//! What it is: two compiled tables compared for every pair of ends, every service, arriving side, tag and MAC that
//! either can tell apart, and both inventories beside each other; for people ([`Comparison::text`]) and as JSON
//! (`Serialize`). POLICY.md §7 is answered by it: [`Comparison::opens`]. What it is not: a comparison of texts; a
//! rule that is written otherwise and means the same changes nothing. It compares two policies at one moment,
//! which it says; what opens only once a binding would have lapsed is told by the bindings that last longer.
//! Invariant: nothing is sampled, and nothing that is left out for its length opens unsaid. Cost: the classes of
//! addresses of both tables, senders × receivers.

pub(super) mod both;
mod classes;
mod columns;
pub(super) mod cross;
pub(super) mod effect;
pub(super) mod example;
mod found;
mod inventory;
mod numbers;
mod plain;
mod roster;
mod settings;
#[cfg(test)]
mod tests;
mod text;
mod words;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use serde::Serialize;

use super::explain::reason;
use super::read::{Loaded, end_of_day};
use super::relevance;
use super::table::{Table, is_group};
use super::verdict::{Denial, Mode, Moment, RuleNumber};
use crate::wire::Side;
use both::Both;
use cross::{Crossed, Entry};
use effect::{Effect, Effects};
use numbers::at;
use relevance::Numbered;
use roster::{Roster, Set};
use words::Faces;

pub use cross::Kind;
pub use example::Example;
pub use inventory::{Binding, Inventory, Restriction, WorkloadChange};
pub use settings::{RuleChange, Setting};
pub use words::{EndSet, Names};

/// Differences of one kind that are told.
pub const CHANGES: usize = 1_000;

/// A policy and its table.
#[derive(Clone, Copy, Debug)]
pub struct Half<'a> {
    /// As read.
    pub policy: &'a Loaded,
    /// As compiled.
    pub table: &'a Table,
}

/// Everything in which two policies differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// The moment that both are compared at.
    pub at: String,
    /// The old policy's digest.
    pub old: String,
    /// The new policy's digest.
    pub new: String,
    /// Something that the old policy drops is forwarded by the new one, now or later.
    pub opens: bool,
    /// Differences between verdicts: what opens first, then what closes, then what only changes.
    pub changes: Vec<Change>,
    /// Differences beyond [`CHANGES`] of each kind, and pairs of classes in none.
    pub left_out: BTreeMap<Kind, u64>,
    /// Zones that an opening touches.
    pub zones: Vec<String>,
    /// Who answers for those zones, and for the rules that open.
    pub owners: Vec<String>,
    /// Rules that came, went or are written otherwise.
    pub rules: Vec<RuleChange>,
    /// Zones, networks, the profile and the gate's addresses.
    pub settings: Vec<Setting>,
    /// Workloads, and what they enter and leave.
    pub inventory: Inventory,
}

/// One difference: every sender of a set with every receiver of another, on these services.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What it does.
    pub kind: Kind,
    /// Who opens connections.
    pub from: EndSet,
    /// To whom.
    pub to: EndSet,
    /// On what.
    pub services: Names,
    /// Where the frames arrive: `outside`, `inside`.
    pub side: &'static str,
    /// Whose MAC they carry: `any`, else which of `written`, `not written`, `written before`, `written now`.
    pub macs: Vec<&'static str>,
    /// Under the old policy.
    pub old: Outcome,
    /// Under the new one.
    pub new: Outcome,
    /// Zones of both ends, in either policy.
    pub zones: Vec<String>,
    /// Who answers for those zones and for the rules that decide.
    pub owners: Vec<String>,
    /// It opens into a zone that has the service in enforce, before or after.
    pub into_enforced: bool,
    /// What was dropped is forwarded because its mode is no longer enforce.
    pub out_of_enforce: bool,
    /// One packet that it is true of.
    pub example: Option<Example>,
}

/// What becomes of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// `allow`, `deny`.
    pub verdict: &'static str,
    /// `forwarded`, `dropped`.
    pub outcome: &'static str,
    /// Why it is denied.
    pub reason: Option<&'static str>,
    /// The mode that governs it.
    pub mode: &'static str,
    /// The rule that decides.
    pub rule: Option<Decider>,
}

/// The rule that decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decider {
    /// `allow.payments-to-vault`.
    pub id: String,
    /// `rules/payments.toml:1`.
    pub place: String,
    /// Who answers for it.
    pub owner: Option<String>,
}

/// A moment as the language spells it: an instant with an offset, or a date, which ends at 24:00 UTC.
#[must_use]
pub fn moment(text: &str) -> Option<Moment> {
    let instant = text.parse::<jiff::Timestamp>().ok();
    let instant = instant.and_then(|at| u64::try_from(at.as_nanosecond()).ok()).map(Moment);
    instant.or_else(|| end_of_day(text))
}

/// Compares two policies as they stand at `now`.
#[must_use]
pub fn compare(old: Half<'_>, new: Half<'_>, now: Moment) -> Comparison {
    let halves = Both { old, new };
    let models = halves.map(|half| &half.policy.model);
    let tables = halves.map(|half| half.table);
    let faces = Faces::new(models, tables);
    let mut crossed = Crossed::new(models, tables, now);
    let mut report = Report::new(halves, &faces, &crossed);
    let entries = std::mem::take(&mut crossed.entries);
    let (changes, left_out) = report.changes(&mut crossed, entries);
    let inventory = inventory::compare(halves, &faces, &crossed.ends.addresses, now);
    let settings = settings::settings(halves);
    let opening = changes.iter().filter(|change| change.kind == Kind::Opens);
    let mut zones: BTreeSet<String> = opening.clone().flat_map(|change| change.zones.clone()).collect();
    let mut owners: BTreeSet<String> = opening.flat_map(|change| change.owners.clone()).collect();
    for binding in &inventory.lasts_longer {
        zones.extend(binding.zones.iter().cloned());
        owners.extend(binding.owners.iter().cloned());
    }
    Comparison {
        at: now.to_string(),
        old: tables.old.digest_short(),
        new: tables.new.digest_short(),
        opens: crossed.opens
            || !inventory.lasts_longer.is_empty()
            || settings.iter().any(|setting| setting.opens),
        changes,
        left_out,
        zones: zones.into_iter().collect(),
        owners: owners.into_iter().collect(),
        rules: settings::rules(halves),
        settings,
        inventory,
    }
}

/// Entries on their way to words.
struct Report<'a> {
    halves: Both<Half<'a>>,
    roster: Roster<'a>,
    /// Who can send, who can receive.
    everybody: Both<Set>,
    /// Sets of zones of classes of senders, and of receivers of what arrives at a side.
    zones: HashMap<(u32, Option<Side>), u32>,
    zone_numbers: Numbered<Vec<&'a str>>,
    zone_sets: Vec<Vec<&'a str>>,
}

/// What makes two entries the same to a reader: digests of both ends, and the rest.
type Told = (Both<[u8; 32]>, Names, Side, u8, u32);

impl<'a> Report<'a> {
    fn new(halves: Both<Half<'a>>, faces: &Faces<'a>, crossed: &Crossed<'_>) -> Self {
        let ends = &crossed.ends;
        let roster = Roster::new(faces, &ends.addresses);
        let everybody = Both {
            old: roster.set(ends.senders.iter().flat_map(|class| &class.members)),
            new: roster.set(ends.receivers.iter().flat_map(|class| &class.members)),
        };
        Self {
            halves,
            roster,
            everybody,
            zones: HashMap::new(),
            zone_numbers: Numbered::default(),
            zone_sets: Vec::new(),
        }
    }

    /// The differences in order, and how many more of each kind there are.
    fn changes(
        &mut self,
        crossed: &mut Crossed<'_>,
        mut entries: Vec<Entry>,
    ) -> (Vec<Change>, BTreeMap<Kind, u64>) {
        let mut left_out = crossed.left_out.clone();
        entries.sort_by_cached_key(|entry| {
            let order = effects(crossed, entry).map(|effects| {
                // What does not belong where it arrives says least.
                let misplaced = effects.of.map(|effect| effect.denial.is_some_and(Denial::is_misplaced));
                (Kind::of(&effects), misplaced.old && misplaced.new, !effects.enforced)
            });
            let ends = (entry.senders.first().copied(), entry.receivers.first().copied());
            (order, Reverse(crossed.pairs(entry)), entry.key, ends)
        });
        let mut told: BTreeMap<Kind, usize> = BTreeMap::new();
        let mut known: HashSet<Told> = HashSet::new();
        let mut changes: Vec<Change> = Vec::new();
        for entry in entries {
            let Some(effects) = effects(crossed, &entry) else { continue };
            let kind = Kind::of(&effects);
            let count = told.entry(kind).or_default();
            if *count == CHANGES {
                *left_out.entry(kind).or_default() += 1;
                continue;
            }
            let who = self.members(crossed, &entry);
            let services = at(&crossed.judged.services, entry.key.services).map_or(&[][..], Vec::as_slice);
            let services = words::services(services);
            let digests = who.as_ref().map(Set::digest);
            let same = (digests, services.clone(), entry.key.side, entry.key.macs, entry.key.effects);
            // The other family of the same ends is the same to a reader.
            if known.insert(same) {
                *count += 1;
                changes.push(self.change(crossed, &entry, &effects, (&who, services)));
            }
        }
        (changes, left_out)
    }

    fn members(&self, crossed: &Crossed<'_>, entry: &Entry) -> Both<Set> {
        let senders = entry.senders.iter().filter_map(|class| at(&crossed.ends.senders, *class));
        let receivers = entry.receivers.iter().filter_map(|class| at(&crossed.ends.receivers, *class));
        Both {
            old: self.roster.set(senders.flat_map(|class| &class.members)),
            new: self.roster.set(receivers.flat_map(|class| &class.members)),
        }
    }

    fn change(
        &mut self,
        crossed: &mut Crossed<'_>,
        entry: &Entry,
        effects: &Effects,
        (who, services): (&Both<Set>, Names),
    ) -> Change {
        let kind = Kind::of(effects);
        let zones = self.zones(crossed, entry);
        let (old, new) = (
            Outcome::new(crossed, effects.of.old, |numbers| numbers.old, self.halves.old),
            Outcome::new(crossed, effects.of.new, |numbers| numbers.new, self.halves.new),
        );
        let mut owners: BTreeSet<String> = BTreeSet::new();
        for half in self.halves.each() {
            let named = half.policy.model.zones.iter().filter(|zone| zones.contains(zone.name.as_str()));
            owners.extend(named.filter_map(|zone| zone.owner.clone()));
        }
        let rules = [&old, &new].into_iter().filter_map(|outcome| outcome.rule.as_ref());
        owners.extend(rules.filter_map(|rule| rule.owner.clone()));
        Change {
            kind,
            from: self.roster.told(&who.old, &self.everybody.old),
            to: self.roster.told(&who.new, &self.everybody.new),
            services,
            side: entry.key.side.name(),
            macs: example::macs(entry.key.macs),
            old,
            new,
            zones: zones.into_iter().map(str::to_owned).collect(),
            owners: owners.into_iter().collect(),
            into_enforced: effects.enforced,
            out_of_enforce: kind == Kind::Opens && effects.of.new.mode < Mode::Enforce,
            example: example::of(crossed, entry, |member| self.roster.is_workload(member)),
        }
    }

    /// Zones of both ends in either policy.
    fn zones(&mut self, crossed: &Crossed<'_>, entry: &Entry) -> BTreeSet<&'a str> {
        let ends = &crossed.ends;
        let mut sets = BTreeSet::new();
        for class in entry.senders.iter() {
            let members = at(&ends.senders, *class).map_or(&[][..], |class| &class.members);
            sets.insert(self.zones_of((*class, None), members, &ends.addresses));
        }
        for class in entry.receivers.iter() {
            let members = at(&ends.receivers, *class).map_or(&[][..], |class| &class.members);
            sets.insert(self.zones_of((*class, Some(entry.key.side)), members, &ends.addresses));
        }
        sets.into_iter().filter_map(|set| at(&self.zone_sets, set)).flatten().copied().collect()
    }

    /// The set of zones of a class: of senders, or of receivers of what arrives at a side.
    fn zones_of(&mut self, class: (u32, Option<Side>), members: &[u32], addresses: &[IpAddr]) -> u32 {
        if let Some(known) = self.zones.get(&class) {
            return *known;
        }
        let halves = self.halves;
        let addresses = members.iter().filter_map(|member| at(addresses, *member));
        let zones: BTreeSet<&'a str> = addresses
            .flat_map(|address| halves.each().flat_map(move |half| touched(half, *address, class.1)))
            .collect();
        let zones: Vec<&'a str> = zones.into_iter().collect();
        let (set, new) = self.zone_numbers.number(zones.clone());
        if new {
            self.zone_sets.push(zones);
        }
        self.zones.insert(class, set);
        set
    }
}

impl Outcome {
    /// `of` gives the number of a rule in this half's policy.
    fn new(
        crossed: &Crossed<'_>,
        effect: Effect,
        of: impl Fn(Both<Option<RuleNumber>>) -> Option<RuleNumber>,
        half: Half<'_>,
    ) -> Self {
        let number = at(&crossed.judged.numbers, effect.rule).copied().and_then(of);
        let face = number.and_then(|number| half.table.rule(number));
        Self {
            verdict: if effect.denial.is_none() { "allow" } else { "deny" },
            outcome: if effect.crosses() { "forwarded" } else { "dropped" },
            reason: effect.denial.map(reason),
            mode: effect.mode.name(),
            rule: face.map(|face| Decider {
                id: face.id.clone(),
                place: face.place(&half.policy.sources),
                owner: face.owner.clone(),
            }),
        }
    }
}

/// The zones of an address; a group's are those beyond.
fn touched<'a>(half: Half<'a>, address: IpAddr, receives: Option<Side>) -> impl Iterator<Item = &'a str> {
    let space = half.table.space();
    let stretch = space.get(space.find(address));
    let group = is_group(address) || stretch.is_some_and(|stretch| stretch.group.is_some());
    let [outside, inside] = &space.zones_at;
    let zones: &'a [usize] = match receives {
        Some(Side::Outside) if group => inside,
        Some(Side::Inside) if group => outside,
        Some(_) | None => stretch.map_or(&[][..], |stretch| &stretch.zones),
    };
    zones.iter().filter_map(move |zone| half.policy.model.zones.get(*zone)).map(|zone| zone.name.as_str())
}

fn effects(crossed: &Crossed<'_>, entry: &Entry) -> Option<Effects> {
    at(&crossed.judged.effects, entry.key.effects).copied()
}
