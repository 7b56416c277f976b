//! What deserves a look in a policy that holds together.
//!
//! What it is: the findings of `check` that need the compiled table or the day: rules without effect, overlaps
//! across tiers, rules wider than the zone they open, insecure services, reviews that are due. What it is not:
//! errors; nothing here stops a load. With the reader's own warnings (nobody's rule, no reason, "any env") it
//! is what PCI DSS 1.2.1 calls the standard of a ruleset. Invariant: *without effect* means that without all
//! rules of which it is said every connection would get the same verdict: of two equal rules one is told, the
//! later one. Cost: rules × classes, then the pairs of each rule.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::HashSet;
use std::ops::ControlFlow;

use super::code::Code;
use super::diagnostic::{Diagnostic, Severity};
use super::ground::{End, Ground, exists, within};
use super::model::{Atom, Model, Rule, Selector, ServiceSet, Tier};
use super::read::Loaded;
use super::selector::Reading;
use super::services::ALL;
use super::stage::unasked;
use super::table::{Answer, Table};
use super::verdict::{Moment, RuleNumber};
use crate::wire::protocol::{TCP, UDP};

/// Ports that a rule into a zone may name in one range without a question.
const NARROW: u32 = 1_024;

/// Services that send secrets in the clear or are known to be unsafe (PCI DSS 1.2.6): name, protocol, ports.
const INSECURE: [(&str, u8, (u16, u16)); 10] = [
    ("ftp", TCP, (20, 21)),
    ("telnet", TCP, (23, 23)),
    ("tftp", UDP, (69, 69)),
    ("finger", TCP, (79, 79)),
    ("pop3", TCP, (110, 110)),
    ("netbios", UDP, (137, 138)),
    ("smbv1 over netbios", TCP, (139, 139)),
    ("imap", TCP, (143, 143)),
    ("snmp v1 and v2c", UDP, (161, 162)),
    ("rexec, rlogin and rsh", TCP, (512, 514)),
];

/// All that `check` says of a policy that holds together, in the order of the text: what its reading found,
/// what has lapsed, its tests, and what is here.
#[must_use]
pub fn check(policy: &Loaded, table: &Table, now: Moment) -> Vec<Diagnostic> {
    let mut found = policy.warnings.clone();
    found.extend(policy.lapsed(now));
    found.extend(super::proof::findings(policy, table));
    found.extend(findings(policy, table, now));
    found.sort_by_key(|found| found.origin.map(|origin| (origin.file, origin.start)));
    found
}

/// What is found here, in the order of the text.
#[must_use]
pub fn findings(policy: &Loaded, table: &Table, now: Moment) -> Vec<Diagnostic> {
    let model = &policy.model;
    let ground = Ground::new(model, table).with_strangers(model).reduced();
    let mut lint = Lint { model, table, ground, now, told: HashSet::new(), found: Vec::new() };
    let mut rules: Vec<(RuleNumber, &Rule)> = (0..).map(RuleNumber).zip(&model.rules).collect();
    rules.sort_by_key(|(_, rule)| Reverse((rule.origin.file, rule.origin.start)));
    for (number, rule) in rules {
        lint.rule(number, rule);
    }
    lint.found.sort_by_key(|found| found.origin.map(|origin| (origin.file, origin.start, found.code)));
    lint.found
}

/// How bad findings of a code are taken to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// They are not shown.
    Off,
    /// They are warnings.
    Warning,
    /// They are errors.
    Error,
}

/// Gives findings of some codes another level. Errors stay what they are: what stops a load does so.
pub fn level(found: &mut Vec<Diagnostic>, levels: &[(Code, Level)]) {
    let of = |code: Code| levels.iter().rev().find(|(named, _)| *named == code).map(|(_, level)| *level);
    found.retain(|found| found.code.severity() == Severity::Error || of(found.code) != Some(Level::Off));
    for found in found.iter_mut().filter(|found| found.code.severity() == Severity::Warning) {
        if of(found.code) == Some(Level::Error) {
            found.severity = Severity::Error;
        }
    }
}

/// How its tier reads a rule's selectors.
const fn reading(rule: &Rule) -> Reading {
    match rule.tier {
        Tier::Exception | Tier::Allow => Reading::Granted,
        Tier::Guardrail | Tier::Deny => Reading::ByAddress,
    }
}

/// Who opens and to whom: both ways where the rule says so.
fn ways(rule: &Rule) -> impl Iterator<Item = (&Selector, &Selector)> {
    let back = rule.both_ways.then_some((&rule.to, &rule.from));
    [Some((&rule.from, &rule.to)), back].into_iter().flatten()
}

struct Lint<'a> {
    model: &'a Model,
    table: &'a Table,
    ground: Ground<'a>,
    now: Moment,
    /// Rules of which it was said already that they have no effect: none of them stands for another.
    told: HashSet<RuleNumber>,
    found: Vec<Diagnostic>,
}

/// What matches a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Extent {
    /// No pair of addresses that can reach each other.
    #[default]
    Nobody,
    /// Such a pair, and none of the services between them.
    Pairs,
    /// Some connection.
    Connections,
}

/// What a rule comes to, over all pairs and ports that it matches.
#[derive(Clone, Copy, Debug, Default)]
struct Effect {
    /// What matches it.
    extent: Extent,
    /// Without it some connection would get another verdict.
    counts: bool,
    /// The first rule of its own verdict that decides in its place, or would without it.
    covered: Option<RuleNumber>,
    /// The first rule of the other verdict, of a stronger tier, that decides in its place.
    overruled: Option<RuleNumber>,
    /// Some pair of it reaches into a zone.
    zoned: bool,
}

impl<'a> Lint<'a> {
    fn say(&mut self, code: Code, rule: &Rule, message: String, help: impl Into<String>) {
        self.found.push(Diagnostic::new(code, Some(rule.origin), message).help(help));
    }

    fn rule(&mut self, number: RuleNumber, rule: &'a Rule) {
        let effect = self.effect(number, rule);
        if effect.extent == Extent::Connections {
            self.without_effect(number, rule, effect);
        } else {
            self.without_pair(rule, effect);
        }
        if rule.tier == Tier::Allow {
            self.overlap(rule, effect);
            self.insecure(rule);
            if effect.zoned {
                self.wide(rule);
            }
        }
        self.repeats(rule);
        self.overdue(rule);
    }

    /// Looks at everything that a rule matches.
    fn effect(&self, number: RuleNumber, rule: &Rule) -> Effect {
        let mut effect = Effect::default();
        let mut looked = HashSet::new();
        for ends in ways(rule) {
            let _ = self.ground.pairs(ends, &rule.to, reading(rule), |from, to| {
                effect.zoned |= to.zoned;
                let program = self.table.program(from.class, to.class);
                let v4 = from.address.is_ipv4();
                let meet = self.ground.meet(from, to);
                if meet {
                    effect.extent = effect.extent.max(Extent::Pairs);
                }
                if meet && looked.insert((program, v4)) {
                    self.look(&mut effect, (number, rule), program, v4);
                }
                ControlFlow::<()>::Continue(())
            });
        }
        effect
    }

    fn look(&self, effect: &mut Effect, (number, rule): (RuleNumber, &Rule), program: u32, v4: bool) {
        for (region, answer) in
            self.table.regions(program).filter(|(region, _)| exists(region.protocol, v4))
        {
            if within(region, &rule.services).next().is_none() {
                continue;
            }
            let Answer { denial: _, rule: first, also, guardrails: _ } = answer;
            // Unknown addresses reach no zone by an allow, whatever its selectors say.
            if *first != number && !also.contains(&number) && also.contains(&RuleNumber::NONE) {
                continue;
            }
            effect.extent = Extent::Connections;
            // Where more rules match than an answer holds and all of those were told, nothing is said.
            let mut standing =
                std::iter::once(*first).chain(*also).filter(|told| !self.told.contains(told));
            let (one, two) = (standing.next(), standing.next());
            let decides = one.is_none_or(|one| one == number);
            let instead = if decides { two } else { one };
            let tier = instead.and_then(|instead| self.table.rule(instead)).map(|face| face.tier);
            let allows = rule.tier == Tier::Allow;
            match (tier, instead) {
                (Some(other), Some(instead)) if (other == Tier::Allow) == allows => {
                    effect.covered = effect.covered.or(Some(instead));
                    effect.counts |= self.adds(rule, instead);
                }
                (Some(_), _) if decides => effect.counts = true,
                (Some(_), _) => effect.overruled = effect.overruled.or(instead),
                // Nothing else is said: an allow opens, a deny forbids what the default forbids, and any rule
                // to come.
                (None, _) => effect.counts = true,
            }
        }
    }

    /// Whether a rule does something beside its verdict that the one in its place does not.
    fn adds(&self, rule: &Rule, instead: RuleNumber) -> bool {
        let Some(other) = usize::try_from(instead.0).ok().and_then(|n| self.model.rules.get(n)) else {
            return true;
        };
        let stricter = rule.mode > other.mode;
        let replies = rule.reply.is_some() && rule.reply != other.reply;
        // A guardrail stands against exceptions, which a deny does not, and its mode counts for packets that are
        // no connection: from the wrong side, on a wrong VLAN. Only one of the same ends counts for the same.
        let same = other.tier == Tier::Guardrail && (&rule.from, &rule.to) == (&other.from, &other.to);
        let guards = rule.tier == Tier::Guardrail && !same;
        stricter || replies || guards || (rule.log && !other.log)
    }

    fn without_effect(&mut self, number: RuleNumber, rule: &Rule, effect: Effect) {
        if effect.counts {
            return;
        }
        let (word, by, label) = match (effect.covered, effect.overruled) {
            (Some(by), _) => ("covered", by, "the same verdict comes of this one"),
            (None, Some(by)) => ("overruled", by, "this one is stronger"),
            (None, None) => return,
        };
        let message = format!("{} has no effect: {word}", rule.full_id());
        let mut found =
            Diagnostic::new(Code::NoEffect, Some(rule.origin), message).help(Code::NoEffect.remedy());
        if let Some(face) = self.table.rule(by) {
            found = found.label(format!("{word} by {}", face.id));
            if let Some(origin) = face.origin() {
                found = found.related(origin, label);
            }
        }
        self.found.push(found);
        self.told.insert(number);
    }

    /// Both ends mean somebody, and no connection is between them. An end that means nobody, and two on one
    /// side, are the reader's to tell, and so are services that rules are not asked about.
    fn without_pair(&mut self, rule: &Rule, effect: Effect) {
        let asked = rule.services.any || rule.services.atoms.iter().any(|atom| unasked(*atom).is_none());
        let faces = ways(rule).any(|ends| self.ground.faces(ends, reading(rule)));
        // A guardrail's mode counts for packets that are no connection, from the wrong side or on a wrong VLAN.
        let guards = rule.tier == Tier::Guardrail
            && ways(rule).any(|ends| self.ground.joins_anywhere(ends, &rule.to, reading(rule)));
        if !faces || !asked || guards {
            return;
        }
        let some = |joining: &Selector| {
            ways(rule).any(|ends| {
                let each = |_: &End<'_>, _: &End<'_>| ControlFlow::Break(());
                self.ground.pairs(ends, joining, reading(rule), each).is_break()
            })
        };
        let why = if effect.extent == Extent::Pairs {
            "its services are not of the family that its ends have addresses of"
        } else if some(&rule.to) {
            "no VLAN is that of both its ends"
        } else if some(&Selector::Any) {
            "both ends match someone, and no pair of them is as `same` or `differs` says"
        } else {
            "its ends have no family of addresses in common"
        };
        let message = format!("{} has no effect: empty", rule.full_id());
        let found = Diagnostic::new(Code::NoEffect, Some(rule.origin), message).label(why);
        self.found.push(found.help(Code::NoEffect.remedy()));
    }

    fn overlap(&mut self, rule: &Rule, effect: Effect) {
        let Some(by) = effect.overruled.filter(|_| effect.counts).and_then(|by| self.table.rule(by)) else {
            return;
        };
        let message = format!("{} and {} overlap: the stronger one decides there", rule.full_id(), by.id);
        let mut found =
            Diagnostic::new(Code::Overlap, Some(rule.origin), message).help(Code::Overlap.remedy());
        if let Some(origin) = by.origin() {
            found = found.related(origin, "the stronger one");
        }
        self.found.push(found);
    }

    fn insecure(&mut self, rule: &Rule) {
        if rule.mitigation.is_some() || rule.services.any {
            return;
        }
        let meets = |(_, protocol, (first, last)): &&(&str, u8, (u16, u16))| {
            let here =
                |atom: &&Atom| atom.protocol == *protocol && atom.to.0 <= *last && *first <= atom.to.1;
            rule.services.atoms.iter().any(|atom| here(&atom))
        };
        let named: Vec<&str> = INSECURE.iter().filter(meets).map(|(name, ..)| *name).collect();
        if !named.is_empty() {
            let message = format!("{} allows {} and says no mitigation", rule.full_id(), named.join(", "));
            self.say(Code::Insecure, rule, message, Code::Insecure.remedy());
        }
    }

    fn wide(&mut self, rule: &Rule) {
        let open = |selector: &Selector| match selector {
            Selector::Any => true,
            Selector::Except(_) => false,
            Selector::Match(keys) => {
                let narrow = [&keys.names, &keys.groups, &keys.accounts, &keys.same];
                keys.labels.is_empty() && keys.not.is_empty() && narrow.iter().all(|list| list.is_empty())
            }
        };
        let whom = [("from", &rule.from), ("to", &rule.to)];
        for (end, _) in whom.into_iter().filter(|(_, selector)| open(selector)) {
            let message =
                format!("{} reaches into a zone, and `{end}` names nobody by a label", rule.full_id());
            self.say(Code::WideRule, rule, message, Code::WideRule.remedy());
        }
        let range = |atom: &&Atom| {
            let ported = atom.protocol == TCP || atom.protocol == UDP;
            ported && (atom.to == ALL || u32::from(atom.to.1 - atom.to.0) >= NARROW)
        };
        if rule.services.atoms.iter().any(|atom| range(&atom)) {
            let message =
                format!("{} opens more than {NARROW} ports in one range into a zone", rule.full_id());
            self.say(Code::WideRule, rule, message, Code::WideRule.remedy());
        }
    }

    /// A service that stands in the list twice, by itself or within another.
    fn repeats(&mut self, rule: &Rule) {
        let ServiceSet { written, any, atoms: _ } = &rule.services;
        let means =
            |text: &String| super::read::service_atoms(text, &self.model.services).unwrap_or_default();
        let sets: Vec<(&String, Vec<Atom>)> = written.iter().map(|text| (text, means(text))).collect();
        let inside = |one: &Atom, other: &Atom| {
            let within = |(a, b): (u16, u16), (c, d): (u16, u16)| c <= a && b <= d;
            one.protocol == other.protocol && within(one.to, other.to) && within(one.from, other.from)
        };
        let elsewhere = |atom: &Atom, place: usize| {
            let mut others = sets.iter().enumerate().filter(|(other, _)| *other != place);
            // Of two that mean the same the later one repeats.
            let holds =
                |other: usize, wider: &Atom| inside(atom, wider) && (!inside(wider, atom) || other < place);
            others.any(|(other, (_, atoms))| atoms.iter().any(|wider| holds(other, wider)))
        };
        let twice = sets.iter().enumerate().find(|(place, (_, atoms))| {
            !atoms.is_empty() && atoms.iter().all(|atom| elsewhere(atom, *place))
        });
        let twice = twice.map(|(_, (text, _))| (*text).clone());
        let beside_any = (*any && written.len() > 1).then(|| "everything".to_owned());
        if let Some(text) = twice.or(beside_any) {
            let message =
                format!("{} says {text} twice: other services of its list hold it", rule.full_id());
            self.say(Code::Redundant, rule, message, Code::Redundant.remedy());
        }
    }

    fn overdue(&mut self, rule: &Rule) {
        let Some(day) = &rule.review_by else { return };
        if super::read::end_of_day(day).is_some_and(|end| end <= self.now) {
            let message = format!("the review of {} was due by {day}", rule.full_id());
            self.say(Code::Overdue, rule, message, Code::Overdue.remedy());
        }
    }
}
