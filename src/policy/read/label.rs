//! `[label]`, and labels written on workloads and networks.

use std::collections::{BTreeMap, BTreeSet};

use super::super::code::Code;
use super::super::model::{LabelKey, Labels};
use super::document::{Fields, Keys, Value};
use super::findings::{Findings, listing};
use super::names::{Names, label_value};
use super::sections::Sections;

/// Keys of selectors, which labels therefore can't have.
pub(super) const RESERVED: [&str; 11] = [
    "name",
    "zone",
    "group",
    "network",
    "service_account",
    "unknown",
    "any",
    "not",
    "except",
    "same",
    "differs",
];

/// Whether selectors use the word, so that it can't be a label.
#[must_use]
pub fn is_reserved(key: &str) -> bool {
    RESERVED.contains(&key)
}

pub(super) const KEYS: Keys = Keys { known: &["values", "required"], later: &[] };

/// Reads `[label]`.
pub(super) fn declarations(sections: &Sections<'_>, findings: &mut Findings) -> BTreeMap<String, LabelKey> {
    let mut labels = BTreeMap::new();
    for entry in sections.of("label") {
        let key = entry.name.text;
        if RESERVED.contains(&key) {
            let message = format!("{key} can't be a label: selectors use the word");
            let help = format!("rename it; taken are {}", listing(RESERVED));
            findings.say_with(Code::ReservedLabel, entry.name.origin, message, help);
        }
        let mut declared = LabelKey { values: None, required: false };
        if let Some(fields) = Fields::open(format!("label {key}"), entry.value, KEYS, findings) {
            declared.values = fields.get("values").map(|values| closed(values, findings));
            if let Some(required) = fields.get("required") {
                declared.required = required.boolean(findings).unwrap_or_default();
            }
        }
        labels.insert(key.to_owned(), declared);
    }
    labels
}

fn closed(values: Value<'_>, findings: &mut Findings) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let before = findings.len();
    let texts = values.texts(findings);
    if texts.is_empty() && findings.len() == before {
        let help = "name them: values = [\"prod\", \"test\"]; without `values` the label takes any";
        findings.say_with(Code::Value, values.origin, "a closed label needs a value", help);
    }
    for text in &texts {
        if !seen.insert(text.text) {
            let message = format!("\"{}\" stands in the list twice", text.text);
            findings.say_with(Code::Duplicate, text.origin, message, "remove one of the two");
        }
    }
    texts.iter().map(|text| text.text.to_owned()).collect()
}

/// Reads `labels = { … }`.
pub(super) fn labels(value: Option<Value<'_>>, names: &Names<'_>, findings: &mut Findings) -> Labels {
    let mut labels = Labels::new();
    let Some(value) = value else { return labels };
    for (key, value) in value.entries(findings) {
        let declared = names.label_key(key, &[], findings);
        let Some(text) = value.text(findings) else { continue };
        if let Some(declared) = declared {
            labels.insert(key.text.to_owned(), label_value(key.text, declared, text, findings));
        }
    }
    labels
}
