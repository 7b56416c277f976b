//! Policy tests: what must hold, held against the compiled table for every pair and every port.
//!
//! What it is: what `check` says of a policy's tests and every publish waits for. What it is not: no sampling,
//! no second evaluator; it asks the table itself, class by class. Tests are judged as under enforce, without
//! exceptions, every binding fresh, every account held (POLICY.md §9). A test's ends mean whom an allow or a
//! deny of the same words would mean, as it expects the one or the other; a pair counts if this gate sees it:
//! its ends lie on different sides, or its destination is a group. Cost: selectors × runs of addresses, then
//! pairs of classes; the ports of equal pairs are looked at once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::ControlFlow;

use super::code::Code;
use super::diagnostic::{Diagnostic, Severity};
use super::explain::service_text;
use super::ground::{DYNAMIC, End, Ground, exists, packet, parts};
use super::model::{Expected, Model, ServiceSet, Test, Tier};
use super::read::{Loaded, Rejected};
use super::selector::Reading;
use super::source::Origin;
use super::table::{Answer, Table, is_group};
use super::verdict::{Denial, RuleNumber};
use super::{Exceptions, compile};
use crate::wire::Service;
use crate::wire::protocol::{ICMP, ICMPV6, TCP, UDP};

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
        let table = compile(&loaded.model, &Exceptions::NONE);
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
    model.tests.iter().map(|test| prove_one(&ground, test).0).collect()
}

/// How much a proof has looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extent {
    /// Pairs of classes.
    pub(super) pairs: u64,
    /// Different programs, by family.
    pub(super) programs: u64,
    /// Ranges of ports of them.
    pub(super) ranges: u64,
    /// Ports, types, and protocols without, in these ranges.
    pub(super) ports: u64,
}

/// What comes of one test, and how much was looked at for it.
pub(super) fn prove_one(ground: &Ground<'_>, test: &Test) -> (Proof, Extent) {
    let reading = match test.expect.tier() {
        Tier::Exception | Tier::Allow => Reading::Granted,
        Tier::Guardrail | Tier::Deny => Reading::ByAddress,
    };
    let mut proving = Proving { test, ground, answers: HashMap::new(), extent: Extent::default() };
    let mut empty = true;
    let failed =
        ground.pairs((&test.from, &test.to), &test.to, reading, |from, to| match proving.pair(from, to) {
            Proof::Empty => ControlFlow::Continue(()),
            Proof::Holds => {
                empty = false;
                ControlFlow::Continue(())
            }
            Proof::Fails(example) => ControlFlow::Break(Proof::Fails(example)),
        });
    let proof = match failed {
        ControlFlow::Break(failed) => failed,
        ControlFlow::Continue(()) if empty => Proof::Empty,
        ControlFlow::Continue(()) => Proof::Holds,
    };
    (proof, proving.extent)
}

/// One test, and what programs have answered to it.
struct Proving<'a> {
    test: &'a Test,
    ground: &'a Ground<'a>,
    /// By program and family: nothing of the services exists there, all is as expected, or this is not.
    answers: HashMap<(u32, bool), Result<bool, (Service, Answer)>>,
    extent: Extent,
}

impl Proving<'_> {
    fn pair(&mut self, from: &End<'_>, to: &End<'_>) -> Proof {
        let v4 = from.address.is_ipv4();
        let program = self.ground.table.program(from.class, to.class);
        let extent = &mut self.extent;
        extent.pairs += 1;
        let answer = *self.answers.entry((program, v4)).or_insert_with(|| {
            extent.programs += 1;
            ports((self.ground.table, program), v4, &self.test.services, self.test.expect, extent)
        });
        let fails = |service, denial, rule| {
            Proof::Fails(Counterexample { from: from.address, to: to.address, service, denial, rule })
        };
        if answer != Ok(false) && !self.ground.meet(from, to) {
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
}

/// Looks at all ports of the services that exist in a family: whether there are any, else one that is not
/// answered as expected.
fn ports(
    (table, program): (&Table, u32),
    v4: bool,
    services: &ServiceSet,
    expect: Expected,
    extent: &mut Extent,
) -> Result<bool, (Service, Answer)> {
    let mut some = false;
    let mut wrong: Option<(u8, Service, Answer)> = None;
    for (region, answer) in table.regions(program).filter(|(region, _)| exists(region.protocol, v4)) {
        let as_expected = answer.denial.is_none() == (expect == Expected::Allow);
        for part in parts(region, services) {
            let Some(service) = packet(part.protocol, part.from, part.to) else { continue };
            some = true;
            extent.ranges += 1;
            extent.ports += part.ports();
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
    let place = |words| face.and_then(|face| Some((face.origin()?, words)));
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
pub(super) fn called(policy: &Loaded, table: &Table, address: IpAddr) -> String {
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
