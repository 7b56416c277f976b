//! `[owner.O]`.

use std::collections::BTreeMap;

use super::super::code::Code;
use super::super::model::Owner;
use super::document::{Fields, Keys};
use super::findings::Findings;
use super::sections::Sections;

pub(super) const KEYS: Keys = Keys { known: &["authors", "approvers"], later: &[] };

/// Reads all owners.
pub(super) fn owners(sections: &Sections<'_>, findings: &mut Findings) -> BTreeMap<String, Owner> {
    let mut owners = BTreeMap::new();
    for entry in sections.of("owner") {
        let of = format!("owner {}", entry.name.text);
        let Some(fields) = Fields::open(of, entry.value, KEYS, findings) else { continue };
        let authors = people(&fields, "authors", findings);
        let approvers = people(&fields, "approvers", findings);
        owners.insert(entry.name.text.to_owned(), Owner { authors, approvers });
    }
    owners
}

fn people(fields: &Fields<'_>, key: &str, findings: &mut Findings) -> Vec<String> {
    let remedy = format!("{key} = [\"group:NAME\", \"user:NAME\"], as the control socket sees them");
    let Some(list) = fields.need(key, &remedy, findings) else { return Vec::new() };
    let texts = list.texts(findings);
    for text in &texts {
        let name = text.text.strip_prefix("user:").or_else(|| text.text.strip_prefix("group:"));
        if name.is_none_or(|name| name.trim().is_empty()) {
            let message = format!("\"{}\" is neither a user nor a group", text.text);
            findings.say_with(Code::Value, text.origin, message, "write user:NAME or group:NAME");
        }
    }
    texts.iter().map(|text| text.text.to_owned()).collect()
}
