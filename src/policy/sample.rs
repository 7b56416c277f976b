//! Policies for tests, made by hand.

use std::collections::BTreeMap;

use super::diagnostic::render;
use super::exception::{Exception, Party};
use super::model::{Gate, Model, Rule, Selector, ServiceSet, Tier, Wire};
use super::prefix::Prefix;
use super::read::{Loaded, read_text};
use super::source::Origin;
use super::verdict::{Action, Mode, Moment};
use crate::wire::Housekeeping;

/// A wire with nothing around it.
pub(super) fn empty() -> Model {
    Model {
        gate: Gate::default(),
        wire: Wire {
            name: "cde".into(),
            ports: ["ens1f0".into(), "ens1f1".into()],
            unzoned: Mode::Observe,
            origin: Origin::default(),
        },
        profile: Housekeeping::ALL.map(|class| (class, Action::Forward)).into(),
        labels: BTreeMap::new(),
        owners: BTreeMap::new(),
        networks: Vec::new(),
        workloads: Vec::new(),
        groups: Vec::new(),
        zones: Vec::new(),
        services: BTreeMap::new(),
        rules: Vec::new(),
        tests: Vec::new(),
    }
}

pub(super) fn prefix(text: &str) -> Prefix {
    text.parse().unwrap_or_else(|why| panic!("{text}: {why}"))
}

pub(super) fn rule(tier: Tier, id: &str, from: Selector, to: Selector, services: ServiceSet) -> Rule {
    Rule {
        tier,
        id: id.into(),
        from,
        to,
        services,
        mode: None,
        reply: None,
        both_ways: false,
        log: false,
        justification: None,
        owner: None,
        ticket: None,
        review_by: None,
        mitigation: None,
        origin: Origin::default(),
    }
}

pub(super) fn exception(
    id: &str,
    from: Party,
    to: Party,
    services: ServiceSet,
    (start, end): (Moment, Moment),
    both_ways: bool,
) -> Exception {
    Exception {
        id: id.into(),
        from,
        to,
        services,
        both_ways,
        start,
        end,
        owner: None,
        requester: None,
        approver: None,
        reason: None,
        ticket: None,
    }
}

/// Reads a policy of one file.
pub(super) fn load(text: &str) -> Loaded {
    read_text(vec![("gate.toml".into(), text.into())])
        .unwrap_or_else(|rejected| panic!("{}", render(&rejected.sources, &rejected.diagnostics, false)))
}

/// FACE's example, grown: a reporting rule, a laptop, a denied service, a rule of every kind of key.
pub(super) const BIG: &str = include_str!("sample.toml");
