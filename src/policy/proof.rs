//! Policy tests: what must hold, held against the compiled table for every pair and every port.
//!
//! What it is: what `check` says of a policy's tests and every publish waits for. What it is not: no sampling,
//! no second evaluator; it asks the table itself, class by class. Tests are judged as under enforce, without
//! exceptions, every binding fresh, every account held (POLICY.md §9). A test's ends mean whom an allow or a
//! deny of the same words would mean, as it expects the one or the other; a pair counts if this gate sees it:
//! its ends lie on different sides, or its destination is a group. Cost: selectors × runs of addresses, then
//! pairs of classes; the ports of equal pairs are looked at once.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::code::Code;
use super::diagnostic::{Diagnostic, Severity};
use super::explain::service_text;
use super::model::{Expected, Model, ServiceSet, Test, Tier};
use super::prefix::Prefix;
use super::read::{Loaded, Rejected};
use super::selector::{Carried, Reading};
use super::services::{ALL, Region};
use super::source::Origin;
use super::space::{Stretch, View};
use super::stage::odd_source;
use super::table::{Answer, Table, is_group};
use super::verdict::{Denial, RuleNumber};
use super::witness::witnesses;
use super::{Action, compile};
use crate::wire::protocol::{ICMP, ICMPV6, TCP, UDP};
use crate::wire::{Odd, Service, Side, is_extension};

/// The first dynamic port (RFC 6335): a client's, where no rule says which.
const DYNAMIC: u16 = 49_152;

/// A connection that is not as a test expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counterexample {
    /// Who opens.
    pub from: IpAddr,
    /// To whom.
    pub to: IpAddr,
    /// On what.
    pub service: Service,
    /// Why it is denied; `None`: it is allowed.
    pub denial: Option<Denial>,
    /// The rule that decides; [`RuleNumber::NONE`] where none does.
    pub rule: RuleNumber,
}

/// What came of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It holds for all pairs.
    Holds,
    /// No pair matches it.
    Empty,
    /// It fails for this one, and perhaps for others.
    Fails(Counterexample),
}

/// A policy whose tests hold, and its table: what may be put in force.
#[derive(Debug)]
pub struct Proven {
    loaded: Loaded,
    table: Table,
}

impl Proven {
    /// Compiles a policy and holds it against its tests; what they find joins its warnings.
    ///
    /// # Errors
    /// All its findings, of which some are tests that fail.
    pub fn new(mut loaded: Loaded) -> Result<Self, Box<Rejected>> {
        let table = compile(&loaded.model);
        let found = findings(&loaded, &table);
        let fails = found.iter().any(|found| found.severity == Severity::Error);
        loaded.warnings.extend(found);
        loaded.warnings.sort_by_key(|found| found.origin.map(|origin| (origin.file, origin.start)));
        if fails {
            return Err(Box::new(Rejected { sources: loaded.sources, diagnostics: loaded.warnings }));
        }
        Ok(Self { loaded, table })
    }

    /// The policy.
    #[must_use]
    pub const fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// The policy and its table.
    #[must_use]
    pub fn into_parts(self) -> (Loaded, Table) {
        (self.loaded, self.table)
    }
}

/// What is wrong with the tests of a policy, in the order of the text: those that fail are errors, those that
/// match nobody are warnings.
#[must_use]
pub fn findings(policy: &Loaded, table: &Table) -> Vec<Diagnostic> {
    let tests = &policy.model.tests;
    let mut found: Vec<Diagnostic> = proofs(&policy.model, table)
        .into_iter()
        .zip(tests)
        .filter_map(|(proof, test)| finding(policy, table, test, proof))
        .collect();
    found.sort_by_key(|found| found.origin.map(|origin| (origin.file, origin.start)));
    found
}

/// What comes of each test, in the order of [`Model::tests`].
#[must_use]
pub fn proofs(model: &Model, table: &Table) -> Vec<Proof> {
    if model.tests.is_empty() {
        return Vec::new();
    }
    let ground = Ground::new(model, table);
    model.tests.iter().map(|test| ground.prove(test)).collect()
}

/// One address for all that nothing tells from it, as a selector sees it.
struct End<'a> {
    address: IpAddr,
    /// The class that the table has for it.
    class: u32,
    view: View<'a>,
    /// Its claim is one address: it can hold an account.
    host: bool,
}

impl End<'_> {
    /// What `same` and `differs` look at.
    fn carried(&self) -> Carried<'_> {
        self.view.subject(self.host).carried()
    }
}

/// Everybody who can open a connection or have one opened to.
struct Ground<'a> {
    table: &'a Table,
    /// By [`Side::index`].
    senders: [Vec<End<'a>>; 2],
    /// By the side of the sender: hosts of the other side, and groups.
    receivers: [Vec<End<'a>>; 2],
}

impl<'a> Ground<'a> {
    fn new(model: &'a Model, table: &'a Table) -> Self {
        let space = table.space();
        let mut ground = Self { table, senders: Default::default(), receivers: Default::default() };
        let lets = |odd: Odd| odd == Odd::LinkLocal && model.gate.link_local == Action::Forward;
        for address in witnesses(model).into_iter().filter(|address| table.is_end(*address)) {
            if table.is_group(address) {
                let Some(own) = space.get(space.find(address)) else { continue };
                for (side, receivers) in Side::BOTH.into_iter().zip(&mut ground.receivers) {
                    let [outside, inside] = &space.zones_at;
                    let zones = match side {
                        Side::Outside => inside.clone(),
                        Side::Inside => outside.clone(),
                    };
                    let stretch = Stretch { zones, group: own.group, ..Stretch::NOWHERE };
                    let view = space.view(model, &stretch);
                    let class = table.receiver_class(address, side);
                    receivers.push(End { address, class, view, host: false });
                }
                continue;
            }
            let prefix = Prefix::containing(address, if address.is_ipv4() { 32 } else { 128 });
            let odd = odd_source(prefix).is_some_and(|odd| !lets(odd));
            let Some(own) = space.get(space.find(address)).filter(|_| !odd) else {
                continue;
            };
            let Some(side) = own.side else { continue };
            let end = |class| End { address, class, view: space.view(model, own), host: own.host };
            let [senders_outside, senders_inside] = &mut ground.senders;
            let [to_inside, to_outside] = &mut ground.receivers;
            let (senders, receivers) = match side {
                Side::Outside => (senders_outside, to_outside),
                Side::Inside => (senders_inside, to_inside),
            };
            senders.push(end(table.sender_class(address)));
            receivers.push(end(table.receiver_class(address, side.other())));
        }
        ground
    }

    fn prove(&self, test: &Test) -> Proof {
        let reading = match test.expect.tier() {
            Tier::Allow => Reading::Granted,
            Tier::Guardrail | Tier::Deny => Reading::ByAddress,
        };
        let mut tried = Tried { test, table: self.table, answers: HashMap::new() };
        let mut empty = true;
        for (senders, receivers) in self.senders.iter().zip(&self.receivers) {
            let from =
                self.unlike(senders, test, |end| test.from.matches(&end.view.subject(end.host), reading));
            let to =
                self.unlike(receivers, test, |end| test.to.matches(&end.view.subject(end.host), reading));
            for from in from {
                let family = |to: &&&End<'_>| to.address.is_ipv4() == from.address.is_ipv4();
                let joined = |to: &&&End<'_>| test.to.joins(from.carried(), to.carried());
                for to in to.iter().filter(family).filter(joined) {
                    match tried.pair(from, to) {
                        Proof::Empty => {}
                        Proof::Holds => empty = false,
                        Proof::Fails(example) => return Proof::Fails(example),
                    }
                }
            }
        }
        if empty { Proof::Empty } else { Proof::Holds }
    }

    /// Of those that are meant, the first of each kind: equal in class, tags, family, and to `same` and
    /// `differs` of the test.
    fn unlike<'s>(
        &self,
        ends: &'s [End<'a>],
        test: &Test,
        meant: impl Fn(&End<'a>) -> bool,
    ) -> Vec<&'s End<'a>> {
        let mut seen = HashSet::new();
        let kind = |end: &End<'_>| {
            let kind = end.carried().kind(test.to.joined());
            (end.class, self.table.tags(end.address), end.address.is_ipv4(), kind)
        };
        ends.iter().filter(|end| meant(end) && seen.insert(kind(end))).collect()
    }
}

/// One test, and what programs have answered to it.
struct Tried<'a> {
    test: &'a Test,
    table: &'a Table,
    /// By program and family: nothing of the services exists there, all is as expected, or this is not.
    answers: HashMap<(u32, bool), Result<bool, (Service, Answer)>>,
}

impl Tried<'_> {
    fn pair(&mut self, from: &End<'_>, to: &End<'_>) -> Proof {
        let v4 = from.address.is_ipv4();
        let program = self.table.program(from.class, to.class);
        let answer = *self
            .answers
            .entry((program, v4))
            .or_insert_with(|| ports(self.table, program, v4, &self.test.services, self.test.expect));
        let fails = |service, denial, rule| {
            Proof::Fails(Counterexample { from: from.address, to: to.address, service, denial, rule })
        };
        if answer != Ok(false) && !self.table.is_group(to.address) && !self.meet(from, to) {
            // No frame gets from one network to the other.
            return match self.test.expect {
                Expected::Deny => Proof::Holds,
                Expected::Allow => {
                    let service = first(&self.test.services, v4);
                    fails(service, Some(Denial::WrongVlan), RuleNumber::NONE)
                }
            };
        }
        match answer {
            Ok(true) => Proof::Holds,
            Ok(false) => Proof::Empty,
            Err((service, Answer { denial, rule, .. })) => fails(service, denial, rule),
        }
    }

    /// Whether some tag is that of both networks.
    fn meet(&self, from: &End<'_>, to: &End<'_>) -> bool {
        let far = self.table.tags(to.address);
        self.table.tags(from.address).iter().any(|tags| far.contains(tags))
    }
}

/// Whether a protocol is one between ends of this family.
const fn exists(protocol: u8, v4: bool) -> bool {
    match protocol {
        ICMP => v4,
        ICMPV6 => !v4,
        _ => v4 || !is_extension(protocol),
    }
}

/// Looks at all ports of the services that exist in a family: whether there are any, else one that is not
/// answered as expected.
fn ports(
    table: &Table,
    program: u32,
    v4: bool,
    services: &ServiceSet,
    expect: Expected,
) -> Result<bool, (Service, Answer)> {
    let mut some = false;
    let mut wrong: Option<(u8, Service, Answer)> = None;
    for (region, answer) in table.regions(program).filter(|(region, _)| exists(region.protocol, v4)) {
        let as_expected = answer.denial.is_none() == (expect == Expected::Allow);
        for service in within(region, services) {
            some = true;
            let likely = likelihood(service.protocol);
            if !as_expected && wrong.is_none_or(|(before, ..)| likely < before) {
                wrong = Some((likely, service, *answer));
            }
        }
    }
    match wrong {
        Some((_, service, answer)) => Err((service, answer)),
        None => Ok(some),
    }
}

/// Of several ports that are not as expected the one that people know is told.
const fn likelihood(protocol: u8) -> u8 {
    match protocol {
        TCP => 0,
        UDP => 1,
        ICMP | ICMPV6 => 2,
        _ => 3,
    }
}

/// One packet of each part of the services that lies in a region.
fn within(region: Region, services: &ServiceSet) -> impl Iterator<Item = Service> {
    let any = services.any.then_some((ALL, ALL));
    let atoms = services.atoms.iter().filter(move |atom| atom.protocol == region.protocol);
    let parts = any.into_iter().chain(atoms.map(|atom| (atom.from, atom.to)));
    let both = |(a, b): (u16, u16), (c, d): (u16, u16)| (a.max(c), b.min(d));
    parts
        .filter_map(move |(from, to)| packet(region.protocol, both(from, region.from), both(to, region.to)))
}

/// A packet with ports in these ranges; none where only port 0 is, which no packet may have.
fn packet(protocol: u8, from: (u16, u16), to: (u16, u16)) -> Option<Service> {
    let ported = protocol == TCP || protocol == UDP;
    let least = |range: (u16, u16)| if ported { range.0.max(1) } else { range.0 };
    let (sport, dport) = (least(from), least(to));
    if sport > from.1 || dport > to.1 {
        return None;
    }
    let client = ported && (sport..=from.1).contains(&DYNAMIC);
    Some(Service { protocol, sport: if client { DYNAMIC } else { sport }, dport, readable: true })
}

/// The first packet of the services.
fn first(services: &ServiceSet, v4: bool) -> Service {
    let mut atoms = services.atoms.iter().filter(|atom| exists(atom.protocol, v4));
    let packet = atoms.find_map(|atom| packet(atom.protocol, atom.from, atom.to));
    packet.unwrap_or(Service { protocol: TCP, sport: DYNAMIC, dport: 443, readable: true })
}

fn finding(policy: &Loaded, table: &Table, test: &Test, proof: Proof) -> Option<Diagnostic> {
    let id = format!("test.{}", test.name);
    match proof {
        Proof::Holds => None,
        Proof::Empty => {
            let message = format!("{id} has no effect: empty");
            let label = "no pair that crosses this gate matches it now";
            Some(
                Diagnostic::new(Code::EmptyTest, Some(test.origin), message)
                    .label(label)
                    .help(Code::EmptyTest.remedy()),
            )
        }
        Proof::Fails(example) => {
            let Counterexample { from, to, service, denial, rule } = example;
            let name = |address| called(policy, table, address);
            let may = if denial.is_none() { "may" } else { "may not" };
            let service = service_text(service);
            let message = format!("{id} fails: {} {may} open {service} to {}", name(from), name(to));
            let (why, place) = because(policy, table, denial, rule);
            let found = Diagnostic::new(Code::TestFails, Some(test.origin), message).label(why).help(format!(
                "correct the rules or the test; portcullis explain --policy FILE --from {from} --to {to} \
                 --service {service} shows why"
            ));
            Some(match place {
                Some((origin, words)) => found.related(origin, words),
                None => found,
            })
        }
    }
}

/// Why a counterexample is what it is, and the rule that makes it so.
fn because(
    policy: &Loaded,
    table: &Table,
    denial: Option<Denial>,
    rule: RuleNumber,
) -> (String, Option<(Origin, &'static str)>) {
    let face = table.rule(rule);
    let by = || face.map_or_else(String::new, |face| format!(" {}", face.id));
    let place = |words| face.map(|face| (face.origin, words));
    match denial {
        None => (format!("expected deny, and{} allows it", by()), place("this rule allows it")),
        Some(Denial::Guardrail | Denial::Rule) => {
            (format!("expected allow, and{} forbids it", by()), place("this rule forbids it"))
        }
        Some(Denial::WrongVlan) => {
            ("expected allow, and their networks have no VLAN in common".to_owned(), None)
        }
        Some(Denial::AccountNotHeld) => {
            let why = "expected allow, and the account that a rule names is one its ends can't hold";
            (why.to_owned(), None)
        }
        Some(
            Denial::NoRule
            | Denial::GateAddress
            | Denial::LinkLocal
            | Denial::UniqueLocal
            | Denial::Spoofed
            | Denial::SameSide,
        ) => {
            let rules = policy.model.rules.iter().filter(|rule| rule.tier == Tier::Allow).count();
            let why = if rules == 0 { "there is no allow" } else { "no rule allows it" };
            (format!("expected allow, and {why}"), None)
        }
    }
}

/// `laptop (10.10.1.1)`, `192.0.2.1 (unknown)`.
fn called(policy: &Loaded, table: &Table, address: IpAddr) -> String {
    let group = || {
        let space = table.space();
        let group = space.get(space.find(address))?.group?;
        policy.model.groups.get(group).map(|group| group.name.as_str())
    };
    match table.locate(address).workload.or_else(group) {
        Some(name) => format!("{name} ({address})"),
        None if is_group(address) => format!("{address} (in no group)"),
        None => format!("{address} (unknown)"),
    }
}
