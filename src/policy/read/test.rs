//! `[test.NAME]`: what must hold.

use super::super::model::{Expected, Test};
use super::document::{Fields, Keys};
use super::findings::Findings;
use super::names::Names;
use super::rule::not_asked;
use super::sections::{Entry, Sections};
use super::selector::{End, Standing, selector};
use super::service::Services;

pub(super) const KEYS: Keys = Keys { known: &["from", "to", "services", "expect"], later: &[] };

/// The words for what a test expects.
pub(super) const EXPECTED: [(&str, Expected); 2] = [("allow", Expected::Allow), ("deny", Expected::Deny)];

/// Reads all tests, sorted by name.
pub(super) fn tests(
    sections: &Sections<'_>,
    names: &Names<'_>,
    services: &Services<'_>,
    findings: &mut Findings,
) -> Vec<Test> {
    sections.of("test").filter_map(|entry| test(entry, names, services, findings)).collect()
}

fn test(
    entry: Entry<'_>,
    names: &Names<'_>,
    services: &Services<'_>,
    findings: &mut Findings,
) -> Option<Test> {
    let id = format!("test.{}", entry.name.text);
    let fields = Fields::open(id.as_str(), entry.value, KEYS, findings)?;
    let expect = fields.need("expect", "expect = \"deny\" or \"allow\"", findings);
    let expect = expect.and_then(|value| value.word(&EXPECTED, findings));
    // It may say what a rule may say whose verdict it expects.
    let standing = |end| match expect {
        Some(Expected::Allow) => Standing::Allow(end),
        Some(Expected::Deny) | None => Standing::Deny(end),
    };
    let from = fields.need("from", "from = { LABEL = \"VALUE\" }", findings);
    let from = from.and_then(|value| selector(value, standing(End::From), names, findings));
    let to = fields.need("to", "to = { LABEL = \"VALUE\" }", findings);
    let to = to.and_then(|value| selector(value, standing(End::To), names, findings));
    let written = fields.need("services", "services = [\"NAME\"]", findings);
    if let Some(value) = written {
        not_asked(&id, value, services, findings);
    }
    let services = written.map(|value| services.set(value, findings));
    Some(Test {
        name: entry.name.text.to_owned(),
        from: from?,
        to: to?,
        services: services?,
        expect: expect?,
        origin: entry.value.origin,
    })
}
