//! Rules as sentences, nothing left out.
//!
//! What it is: every zone, rule and default of a policy as one [`Sentence`] each, for people
//! ([`text`]) and as JSON (`Serialize`). What it is not: it judges nothing. Invariant: two rules that
//! differ in any key differ in their text. Cost: what selectors have in common with identities.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::exception::Exception;
use super::identity::{Identities, Meaning};
use super::model::{Expected, Reply, Rule, Selector, Test, Tier, Zone};
use super::read::Loaded;
use super::table::Table;
use super::verdict::Moment;
use super::words::{self, answered, done, excepted, last_column, wrap};

/// One sentence of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sentence {
    /// `zone`, `guardrail`, `exception`, `deny`, `allow`, `test` or `default`.
    pub kind: &'static str,
    /// Name of the zone or test, id of the rule; none for what touches no zone.
    pub id: Option<String>,
    /// Where it stands: `rules/payments.toml:1`.
    pub place: Option<String>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// The sentence.
    pub text: String,
    /// What else is written: reason, ticket, review, logging.
    pub notes: Vec<String>,
    /// The mode of a zone, a guardrail or a default.
    pub mode: Option<&'static str>,
    /// Modes of connections to members of a zone, ahead of `mode`: services as written, mode.
    pub service_modes: Vec<(Vec<String>, &'static str)>,
    /// Who opens; members of a zone.
    pub from: Option<End>,
    /// To whom.
    pub to: Option<End>,
    /// On what, as written.
    pub services: Vec<String>,
    /// What a deny or guardrail answers where it drops: `reset`, `unreachable`.
    pub reply: Option<&'static str>,
    /// What a test expects: `allow`, `deny`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect: Option<&'static str>,
    /// Holds in both directions.
    pub both_ways: bool,
    /// Allowed connections are recorded too.
    pub log: bool,
    /// Why it exists.
    pub justification: Option<String>,
    /// Change record.
    pub ticket: Option<String>,
    /// When it is due for review.
    pub review_by: Option<String>,
    /// What makes an insecure service bearable.
    pub mitigation: Option<String>,
    /// What a zone protects.
    pub data_class: Option<String>,
    /// When an exception is active, and who asked for it and approved it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub granted: Option<Granted>,
}

/// What an exception says beside a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Granted {
    /// `2026-11-24T12:04:10Z`
    pub start: String,
    /// `2026-11-24T18:04:10Z`
    pub end: String,
    /// Who asked for it.
    pub requester: Option<String>,
    /// Who approved it.
    pub approver: Option<String>,
}

/// One end of a rule, and what it means now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct End {
    /// The selector as written.
    pub selector: Selector,
    /// The selector in words.
    pub words: String,
    /// Workloads it matches now.
    pub workloads: usize,
    /// Of these, how many have a binding that has lapsed: no allow and no exception counts for them now.
    #[serde(skip_serializing_if = "is_zero")]
    pub lapsed: usize,
    /// Addresses that no workload claims match as well.
    pub unknown: bool,
    /// Of the workloads, how many are in which zone.
    pub zones: BTreeMap<String, usize>,
    /// Addresses of the groups that it names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// The whole policy as sentences: zones, guardrails, exceptions, denies, allows, tests, defaults.
#[must_use]
pub fn sentences(policy: &Loaded, table: &Table, now: Moment) -> Vec<Sentence> {
    let excepted: Vec<[Selector; 2]> =
        table.exceptions().iter().map(|e| [e.from.selector(), e.to.selector()]).collect();
    let model = &policy.model;
    let members = model.zones.iter().map(|zone| &zone.members);
    let ends = model.rules.iter().flat_map(|rule| [&rule.from, &rule.to]);
    let tested = model.tests.iter().flat_map(|test| [&test.from, &test.to]);
    let selectors = members.chain(ends).chain(tested).chain(excepted.iter().flatten());
    let identities = Identities::new(model, table.space(), selectors);
    let postings = identities.postings();
    let names: Vec<&str> = model.zones.iter().map(|z| z.name.as_str()).collect();
    let silence = model.gate.inventory_limit;
    let lapsed: BTreeSet<usize> = model
        .workloads
        .iter()
        .enumerate()
        .filter_map(|(index, workload)| workload.is_lapsed(silence, now).then_some(index))
        .collect();
    let end = |selector: &Selector, tier| {
        let named = model.groups.iter().filter(|group| selector.groups().contains(&group.name));
        let addresses = named.flat_map(|group| &group.addresses).map(ToString::to_string).collect();
        let meaning = identities.meaning(&postings, selector, tier);
        let lapsed = meaning.workloads.intersection(&lapsed).count();
        End { lapsed, addresses, ..End::new(selector, &meaning, &names) }
    };
    let zones = model.zones.iter().map(|zone| {
        let members = end(&zone.members, Tier::Deny);
        Sentence { place: Some(policy.sources.place(zone.origin)), ..Sentence::of_zone(zone, members) }
    });
    let rules = model.rules.iter().map(|rule| {
        let (from, to) = (end(&rule.from, rule.tier), end(&rule.to, rule.tier));
        Sentence { place: Some(policy.sources.place(rule.origin)), ..Sentence::of_rule(rule, from, to) }
    });
    let (guardrails, rules): (Vec<Sentence>, Vec<Sentence>) =
        rules.partition(|sentence| sentence.kind == Tier::Guardrail.name());
    let exceptions = table.exceptions().iter().zip(&excepted).map(|(exception, ends)| {
        let [from, to] = ends.each_ref().map(|selector| end(selector, Tier::Exception));
        Sentence::of_exception(exception, from, to)
    });
    let tests = model.tests.iter().map(|test| {
        let tier = test.expect.tier();
        let (from, to) = (end(&test.from, tier), end(&test.to, tier));
        Sentence { place: Some(policy.sources.place(test.origin)), ..Sentence::of_test(test, from, to) }
    });
    let defaults = model.zones.iter().map(Sentence::default_of);
    let unzoned = Sentence {
        mode: Some(model.wire.unzoned.name()),
        text: format!("everything else that touches no zone: {}", done(model.wire.unzoned)),
        ..Sentence::new("default")
    };
    let ruled = zones.chain(guardrails).chain(exceptions).chain(rules);
    ruled.chain(tests).chain(defaults).chain([unzoned]).collect()
}

impl End {
    fn new(selector: &Selector, meaning: &Meaning, zones: &[&str]) -> Self {
        let zones = zones.iter().zip(&meaning.zones).filter(|(_, inside)| **inside > 0);
        Self {
            selector: selector.clone(),
            words: selector.words(),
            workloads: meaning.workloads.len(),
            lapsed: 0,
            unknown: meaning.unknown,
            zones: zones.map(|(name, inside)| ((*name).to_owned(), *inside)).collect(),
            addresses: Vec::new(),
        }
    }

    /// `[2, all in cde]`; `[2, 1 lapsed]`; behind an exception, `[others: 2, and unknown]`; of groups, `[224.0.0.18]`.
    fn count(&self) -> String {
        if !self.addresses.is_empty() {
            return format!("[{}]", self.addresses.join(", "));
        }
        let mut words = match self.selector {
            Selector::Except(_) => vec![format!("others: {}", self.workloads)],
            Selector::Any | Selector::Match(_) => vec![self.workloads.to_string()],
        };
        for (zone, inside) in &self.zones {
            let many = if *inside == self.workloads { "all".to_owned() } else { inside.to_string() };
            words.push(format!("{many} in {zone}"));
        }
        if self.lapsed > 0 {
            words.push(format!("{} lapsed", self.lapsed));
        }
        if self.unknown {
            words.push("and unknown".to_owned());
        }
        format!("[{}]", words.join(", "))
    }
}

impl Sentence {
    fn new(kind: &'static str) -> Self {
        Self {
            kind,
            id: None,
            place: None,
            owner: None,
            text: String::new(),
            notes: Vec::new(),
            mode: None,
            service_modes: Vec::new(),
            from: None,
            to: None,
            services: Vec::new(),
            reply: None,
            expect: None,
            both_ways: false,
            log: false,
            justification: None,
            ticket: None,
            review_by: None,
            mitigation: None,
            data_class: None,
            granted: None,
        }
    }

    fn of_zone(zone: &Zone, members: End) -> Self {
        let mut text = format!("{} is {} [{}]", zone.name, members.words, members.workloads);
        if let Some(class) = &zone.data_class {
            text = format!("{text}, holding {}", words::name(class));
        }
        Self {
            id: Some(zone.name.clone()),
            owner: zone.owner.clone(),
            text: format!("{text}: {}", governs(zone)),
            mode: Some(zone.mode.name()),
            service_modes: service_modes(zone),
            from: Some(members),
            data_class: zone.data_class.clone(),
            ..Self::new("zone")
        }
    }

    fn of_rule(rule: &Rule, from: End, to: End) -> Self {
        let mode = rule.mode.map_or_else(String::new, |mode| format!("{mode}: "));
        let who = match &rule.from {
            Selector::Except(list) => format!("nothing but {}", excepted(list)),
            Selector::Any | Selector::Match(_) => from.words.clone(),
        };
        let pause = if who.contains(", ") { "," } else { "" };
        let may = match (rule.tier, &rule.from) {
            (Tier::Exception | Tier::Allow, _) | (Tier::Guardrail | Tier::Deny, Selector::Except(_)) => {
                "may"
            }
            (Tier::Guardrail | Tier::Deny, Selector::Any | Selector::Match(_)) => "may not",
        };
        let services = words::services(&rule.services);
        let back = if rule.both_ways { ", and back" } else { "" };
        let text = format!(
            "{mode}{who} {}{pause} {may} open {services} to {} {}{back}",
            from.count(),
            to.words,
            to.count()
        );
        let notes = [
            rule.reply.map(|reply| answered(reply).to_owned()),
            rule.justification.as_ref().map(|why| format!("because {why:?}")),
            rule.mitigation.as_ref().map(|how| format!("mitigated by {how:?}")),
            rule.ticket.as_ref().map(|ticket| format!("ticket {}", words::name(ticket))),
            rule.review_by.as_ref().map(|day| format!("review by {}", words::name(day))),
            rule.log.then(|| "logged".to_owned()),
        ];
        Self {
            id: Some(rule.id.clone()),
            owner: rule.owner.clone(),
            text,
            notes: notes.into_iter().flatten().collect(),
            mode: rule.mode.map(super::Mode::name),
            from: Some(from),
            to: Some(to),
            services: rule.services.written.clone(),
            reply: rule.reply.map(Reply::name),
            both_ways: rule.both_ways,
            log: rule.log,
            justification: rule.justification.clone(),
            ticket: rule.ticket.clone(),
            review_by: rule.review_by.clone(),
            mitigation: rule.mitigation.clone(),
            ..Self::new(rule.tier.name())
        }
    }

    fn of_exception(exception: &Exception, from: End, to: End) -> Self {
        let pause = if from.words.contains(", ") { "," } else { "" };
        let services = words::services(&exception.services);
        let back = if exception.both_ways { ", and back" } else { "" };
        let (start, end) = (exception.start.to_string(), exception.end.to_string());
        let (who, whom) = (from.count(), to.count());
        let text = format!(
            "{} {who}{pause} may open {services} to {} {whom}{back}, from {start} until {end}",
            from.words, to.words
        );
        let said =
            |word: &str, text: Option<&String>| text.map(|text| format!("{word} {}", words::name(text)));
        let notes = [
            exception.reason.as_ref().map(|why| format!("because {why:?}")),
            said("ticket", exception.ticket.as_ref()),
            said("asked for by", exception.requester.as_ref()),
            said("approved by", exception.approver.as_ref()),
        ];
        let (requester, approver) = (exception.requester.clone(), exception.approver.clone());
        Self {
            id: Some(exception.id.clone()),
            owner: exception.owner.clone(),
            text,
            notes: notes.into_iter().flatten().collect(),
            from: Some(from),
            to: Some(to),
            services: exception.services.written.clone(),
            both_ways: exception.both_ways,
            log: true,
            justification: exception.reason.clone(),
            ticket: exception.ticket.clone(),
            granted: Some(Granted { start, end, requester, approver }),
            ..Self::new(Tier::Exception.name())
        }
    }

    fn of_test(test: &Test, from: End, to: End) -> Self {
        let pause = if from.words.contains(", ") { "," } else { "" };
        let may = match test.expect {
            Expected::Allow => "may always",
            Expected::Deny => "may never",
        };
        let services = words::services(&test.services);
        let (who, whom) = (from.count(), to.count());
        Self {
            id: Some(test.name.clone()),
            text: format!("{} {who}{pause} {may} open {services} to {} {whom}", from.words, to.words),
            expect: Some(test.expect.name()),
            from: Some(from),
            to: Some(to),
            services: test.services.written.clone(),
            ..Self::new("test")
        }
    }

    fn default_of(zone: &Zone) -> Self {
        let named = zone.service_modes.iter();
        let mut into: Vec<String> =
            named.map(|(set, mode)| format!("{} {}", words::services(set), done(*mode))).collect();
        let rest = if into.is_empty() {
            done(zone.mode).to_owned()
        } else {
            format!("the rest {}", done(zone.mode))
        };
        into.push(rest);
        let (name, out) = (&zone.name, done(zone.mode));
        Self {
            id: Some(zone.name.clone()),
            text: format!("everything else into {name}: {}; out of {name}: {out}", into.join(", ")),
            mode: Some(zone.mode.name()),
            service_modes: service_modes(zone),
            ..Self::new("default")
        }
    }
}

fn service_modes(zone: &Zone) -> Vec<(Vec<String>, &'static str)> {
    zone.service_modes.iter().map(|(set, mode)| (set.written.clone(), mode.name())).collect()
}

/// `simulate, https enforce`
pub(super) fn governs(zone: &Zone) -> String {
    let named = zone.service_modes.iter().map(|(set, mode)| format!(", {} {mode}", words::services(set)));
    named.fold(zone.mode.name().to_owned(), |all, one| all + &one)
}

/// Columns of the word that a sentence begins with.
const KIND: usize = 11;
/// Sentences narrower than this put id and owner under them.
const NARROW: usize = 40;

/// Sentences as people read them, wrapped to `width` columns.
#[must_use]
pub fn text(sentences: &[Sentence], width: usize) -> String {
    let columns = |word: fn(&Sentence) -> Option<&String>| {
        let rules = sentences.iter().filter(|s| s.kind != "default");
        rules.filter_map(word).map(|w| w.chars().count()).max().unwrap_or(0)
    };
    let (id, owner) = (columns(|s| s.id.as_ref()), columns(|s| s.owner.as_ref()));
    let beside = width.saturating_sub(id + owner + 4);
    let narrow = beside < KIND + NARROW;
    let mut out = String::new();
    let below = |block: &mut String, text: &str| {
        block.push('\n');
        block.extend(std::iter::repeat_n(' ', KIND));
        wrap(block, text, KIND, width);
    };
    for sentence in sentences {
        let mut block = format!("{:KIND$}", sentence.kind);
        let plain = sentence.kind == "default";
        wrap(&mut block, &sentence.text, KIND, if narrow || plain { width } else { beside });
        let names = (sentence.id.as_deref().unwrap_or(""), sentence.owner.as_deref().unwrap_or(""));
        if !plain && narrow {
            below(&mut block, &joined(sentence, names));
        } else if !plain {
            let gap = beside.saturating_sub(last_column(&block));
            let columns = format!("{:gap$}  {:id$}  {}", "", names.0, names.1);
            block.push_str(&columns);
        }
        if !sentence.notes.is_empty() {
            below(&mut block, &sentence.notes.join(", "));
        }
        for line in block.lines() {
            out.push_str(line.trim_end());
            out.push('\n');
        }
    }
    out
}

fn joined(sentence: &Sentence, (id, owner): (&str, &str)) -> String {
    let place = sentence.place.as_deref().unwrap_or("");
    let words: Vec<&str> = [id, owner, place].into_iter().filter(|w| !w.is_empty()).collect();
    words.join(" · ")
}
