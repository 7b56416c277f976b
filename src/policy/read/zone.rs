//! `[zone.Z]`.

use super::super::code::Code;
use super::super::model::{ServiceSet, Zone};
use super::super::verdict::Mode;
use super::document::{Fields, Keys, Value};
use super::findings::Findings;
use super::names::Names;
use super::network::MODES;
use super::sections::{Entry, Sections};
use super::selector::{Standing, selector};
use super::service::Services;

pub(super) const KEYS: Keys =
    Keys { known: &["members", "owner", "data_class", "mode", "service_modes"], later: &[] };

/// Reads all zones, sorted by name.
pub(super) fn zones(
    sections: &Sections<'_>,
    names: &Names<'_>,
    services: &Services<'_>,
    findings: &mut Findings,
) -> Vec<Zone> {
    sections.of("zone").filter_map(|entry| zone(entry, names, services, findings)).collect()
}

fn zone(
    entry: Entry<'_>,
    names: &Names<'_>,
    services: &Services<'_>,
    findings: &mut Findings,
) -> Option<Zone> {
    let name = entry.name.text;
    let fields = Fields::open(format!("zone {name}"), entry.value, KEYS, findings)?;
    let members = fields.need("members", "members = { LABEL = \"VALUE\" }", findings);
    let members = members.and_then(|value| selector(value, Standing::Members, names, findings));
    let owner = fields.get("owner").and_then(|value| value.text(findings));
    let owner = owner.map(|owner| names.owner(owner, findings));
    if fields.get("owner").is_none() {
        let message = format!("zone {name} has no owner");
        findings.say_with(Code::NoOwner, fields.origin, message, "write owner = \"NAME\"");
    }
    let data_class = fields.get("data_class").and_then(|value| value.text(findings));
    let mode = fields.need("mode", "mode = \"observe\", \"simulate\" or \"enforce\"", findings);
    let mode = mode.and_then(|value| value.word(&MODES, findings));
    let service_modes = fields
        .get("service_modes")
        .map(|value| service_modes(value, services, findings))
        .unwrap_or_default();
    Some(Zone {
        name: name.to_owned(),
        members: members?,
        owner,
        data_class: data_class.map(|text| text.text.to_owned()),
        mode: mode?,
        service_modes,
        origin: entry.value.origin,
    })
}

/// `{ https = "enforce", "tcp/9000-9010" = "observe" }`.
fn service_modes(
    value: Value<'_>,
    services: &Services<'_>,
    findings: &mut Findings,
) -> Vec<(ServiceSet, Mode)> {
    let mut modes = Vec::new();
    for (name, value) in value.entries(findings) {
        let set = services.meaning(&[name], findings);
        if let Some(mode) = value.word(&MODES, findings) {
            modes.push((set, mode));
        }
    }
    modes
}
