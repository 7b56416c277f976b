//! The reader on whole policies.

mod golden;
mod likeness;
mod meaning;
mod mutation;
mod page;

use std::path::Path;

use super::super::diagnostic::render;
use super::super::lint;
use super::super::model::{Atom, Selector, Tier};
use super::super::proof::{self, Proof};
use super::super::verdict::Mode;
use super::super::{Exceptions, compile};
use super::{Loaded, Rejected, read, read_text};
use crate::wire::Side;

/// FACE's example in one file.
const FACE: &str = include_str!("face.toml");

fn load(text: &str) -> Result<Loaded, Rejected> {
    read_text(vec![("gate.toml".to_owned(), text.to_owned())])
}

fn shown(result: Result<Loaded, Rejected>) -> String {
    match result {
        Ok(loaded) => render(&loaded.sources, &loaded.warnings, false),
        Err(rejected) => render(&rejected.sources, &rejected.diagnostics, false),
    }
}

fn cde() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/cde/gate.toml")
}

/// Zones, workloads, rules and tests of the example.
const COUNTS: [usize; 4] = [8, 75, 85, 14];

#[test]
fn the_example_loads_from_its_files_without_a_finding() {
    let loaded = read(&cde()).unwrap_or_else(|rejected| panic!("{}", shown(Err(rejected))));
    assert_eq!(shown(Ok(loaded.clone())), "0 errors, 0 warnings\n");
    let names: Vec<&str> = loaded.sources.files.iter().map(|file| file.name.as_str()).collect();
    let parts = [
        "zones.toml",
        "inventory.toml",
        "corporate.toml",
        "services.toml",
        "rules/guardrails.toml",
        "rules/payments.toml",
        "rules/settlement.toml",
        "rules/operations.toml",
        "rules/platform.toml",
        "rules/staging.toml",
        "tests.toml",
    ];
    assert_eq!(names[0], "gate.toml");
    assert_eq!(names[1..], parts);
    let table = compile(&loaded.model, &Exceptions::NONE);
    // On the day that it was written for.
    assert_eq!(lint::check(&loaded, &table, golden::NOW), []);
    let model = loaded.model;
    let counts = [model.zones.len(), model.workloads.len(), model.rules.len(), model.tests.len()];
    assert_eq!(counts, COUNTS);
    assert_eq!(proof::proofs(&model, &table), [Proof::Holds; COUNTS[3]]);
    assert_eq!(model.gate, super::super::model::Gate::default());
    assert_eq!(model.wire.ports, ["ens1f0", "ens1f1"]);
    assert_eq!(model.wire.unzoned, Mode::Observe);
    assert_eq!(model.profile.len(), 7);
    assert_eq!(model.networks.iter().map(|n| n.side).collect::<Vec<_>>(), [Side::Inside, Side::Outside]);
    let zone = model.zones.iter().find(|zone| zone.name == "cde").expect("the zone");
    assert_eq!(zone.mode, Mode::Simulate);
    assert_eq!(zone.service_modes[0].1, Mode::Enforce);
    assert_eq!(zone.service_modes[0].0.atoms, [Atom { protocol: 6, to: (443, 443), from: (0, 65535) }]);
    assert_eq!(zone.data_class.as_deref(), Some("cardholder data"));
    assert_eq!(model.services["web"].atoms.len(), 2);
    assert_eq!(model.services["ping"].atoms[0].to, (0x0800, 0x08ff));
    let of = |id: &str| model.rules.iter().find(|rule| rule.full_id() == id).expect("the rule");
    let Selector::Except(except) = &of("guardrail.only-prod-reaches-cards").from else { panic!("except") };
    assert_eq!(except[0].labels["env"], ["prod"]);
    let allow = of("allow.payments-to-vault");
    assert_eq!(allow.tier, Tier::Allow);
    assert_eq!(loaded.sources.place(allow.origin), "rules/payments.toml:3");
    let Selector::Match(from) = &allow.from else { panic!("a match") };
    assert_eq!(from.accounts, ["payments-prod"]);
    assert_eq!(allow.review_by.as_deref(), Some("2027-05-31"));
    assert_eq!(allow.ticket.as_deref(), Some("CHG-20417"));
}

#[test]
fn the_example_loads_from_one_file() {
    let loaded = load(FACE).unwrap_or_else(|rejected| panic!("{}", shown(Err(rejected))));
    insta::assert_snapshot!(shown(Ok(loaded)));
}

#[test]
fn twelve_independent_errors_are_twelve_findings() {
    let edits = [
        (
            "env  = { values = [\"prod\", \"test\", \"dev\"], required = true }",
            "env  = { values = [\"prod\", \"test\", \"dev\"], required = 1 }",
        ),
        ("approvers = [\"user:lead\"]", "approvers = [\"lead\"]"),
        ("lacp  = \"drop\"", "lacp  = \"no\""),
        ("fail    = \"closed\"", "fail    = \"open\""),
        ("at       = \"cde.inside\"", "at       = \"dce.inside\""),
        ("addresses       = [\"10.10.0.7\"]", "addresses       = [\"10.10.0.7/24\"]"),
        ("macs      = [\"02:00:00:20:00:10\"]", "macs      = [\"02:00:00:20:00\"]"),
        ("https = [\"tcp/443\"]", "https = [\"tcp/4430000\"]"),
        ("members = { data = \"cardholder\" }", "members = { dat = \"cardholder\" }"),
        ("mode          = \"enforce\"", "mood          = \"enforce\"\nmode          = \"enforce\""),
        ("services      = [\"https\"]", "services      = [\"htps\"]"),
        ("to            = { app = \"vault\", env = \"prod\" }", "to            = {}"),
    ];
    let mut text = include_str!("base.toml").to_owned();
    for (old, new) in edits {
        assert!(text.contains(old), "{old}");
        text = text.replacen(old, new, 1);
    }
    let rejected = load(&text).expect_err("twelve errors");
    let codes: Vec<&str> = rejected.diagnostics.iter().map(|found| found.code.number()).collect();
    let expected = [
        "P0102", "P0115", "P0114", "P0910", "P0209", "P0202", "P0203", "P0302", "P0105", "P0101", "P0401",
        "P0110",
    ];
    assert_eq!(codes, expected);
    assert!(shown(Err(rejected)).ends_with("\n12 errors, 0 warnings; nothing was loaded\n"));
}
