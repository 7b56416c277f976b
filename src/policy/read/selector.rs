//! Selectors.

use toml::de::DeValue;

use super::super::code::Code;
use super::super::diagnostic::Diagnostic;
use super::super::model::{Match, Selector};
use super::document::{Text, Value, entries};
use super::findings::Findings;
use super::label::RESERVED;
use super::names::{Names, label_value};
use super::wanted::Wanted;

/// Where a selector stands, which decides what it may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Members of a zone.
    Members,
    /// An end of an allow, or of a test that expects one.
    Allow(End),
    /// An end of a deny or a guardrail, or of a test that expects a denial.
    Deny(End),
    /// Within `except`.
    Except(End),
}

/// An end of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Who opens.
    From,
    /// To whom.
    To,
}

/// Reads a selector.
pub(super) fn selector(
    value: Value<'_>,
    standing: Standing,
    names: &Names<'_>,
    findings: &mut Findings,
) -> Option<Selector> {
    let DeValue::Table(table) = value.raw else {
        value.not(Wanted::Selector, findings);
        return None;
    };
    let keys = entries(value.origin.file, table, findings);
    if keys.is_empty() {
        let help = "write { any = true } for every claimed workload";
        findings.say_with(Code::EmptySelector, value.origin, "this selector has no keys", help);
        return None;
    }
    let alone = keys.iter().find(|(key, _)| matches!(key.text, "any" | "except"));
    if let Some((key, value)) = alone {
        if keys.len() > 1 {
            let message = format!("`{}` stands beside other keys", key.text);
            let help = "write it alone: it already says who is meant";
            findings.say_with(Code::MixedSelector, key.origin, message, help);
            return None;
        }
        return if key.text == "any" {
            any(*value, standing, findings)
        } else {
            except(*key, *value, standing, names, findings)
        };
    }
    if let Some((key, _)) = keys.iter().find(|(key, _)| key.text == "group").filter(|_| keys.len() > 1) {
        let help = "write it alone: a group has no labels, no network and no side";
        findings.say_with(Code::MixedSelector, key.origin, "`group` stands beside other keys", help);
        return None;
    }
    let mut matched = Match::default();
    for (key, value) in keys {
        key_of(key, value, standing, names, &mut matched, findings);
    }
    Some(Selector::Match(matched))
}

fn any(value: Value<'_>, standing: Standing, findings: &mut Findings) -> Option<Selector> {
    if matches!(standing, Standing::Except(_)) {
        let help = "to except every claimed workload, select { unknown = true } instead";
        findings.say_with(Code::MixedSelector, value.origin, "`any` within `except`", help);
        return None;
    }
    if !value.boolean(findings)? {
        findings.say_with(Code::Value, value.origin, "`any` can only be true", "select by labels");
        return None;
    }
    Some(Selector::Any)
}

fn except(
    key: Text<'_>,
    value: Value<'_>,
    standing: Standing,
    names: &Names<'_>,
    findings: &mut Findings,
) -> Option<Selector> {
    let Standing::Deny(end) = standing else {
        let words = match standing {
            Standing::Members => "`except` in the members of a zone",
            Standing::Allow(_) => "`except` where something is allowed",
            Standing::Except(_) | Standing::Deny(_) => "`except` within `except`",
        };
        let help = "only denies, guardrails and tests that expect a denial may say `except`: it takes in unknown addresses";
        findings.say_with(Code::ExceptHere, key.origin, words, help);
        return None;
    };
    let DeValue::Array(items) = value.raw else {
        value.not(Wanted::Selectors, findings);
        return None;
    };
    if items.is_empty() {
        findings.say_with(
            Code::Value,
            value.origin,
            "`except` is an empty list",
            "name those who are excepted: [{ env = \"prod\" }]",
        );
        return None;
    }
    let read: Vec<_> = value
        .items(findings)
        .into_iter()
        .map(|item| selector(item, Standing::Except(end), names, findings))
        .collect();
    let matches = read.into_iter().map(|selector| match selector {
        Some(Selector::Match(matched)) => Some(matched),
        Some(Selector::Any | Selector::Except(_)) | None => None,
    });
    matches.collect::<Option<Vec<_>>>().map(Selector::Except)
}

fn key_of(
    key: Text<'_>,
    value: Value<'_>,
    standing: Standing,
    names: &Names<'_>,
    matched: &mut Match,
    findings: &mut Findings,
) {
    match key.text {
        "name" => {
            let texts = value.one_or_more(findings);
            matched.names = texts.into_iter().map(|text| names.workload(text, findings)).collect();
        }
        "zone" if standing == Standing::Members => {
            let help = "select the members by labels";
            findings.say_with(Code::ZoneHere, key.origin, "a zone's members can't name zones", help);
        }
        "zone" => {
            let texts = value.one_or_more(findings);
            matched.zones = texts.into_iter().map(|text| names.zone(text, findings)).collect();
        }
        "network" => {
            let texts = value.one_or_more(findings);
            matched.networks = texts.into_iter().map(|text| names.network(text, findings)).collect();
        }
        "service_account" => {
            let texts = value.one_or_more(findings);
            matched.accounts = texts.into_iter().map(|text| names.account(text, findings)).collect();
        }
        "unknown" => unknown(key, value, standing, matched, findings),
        "group" => match standing {
            Standing::Allow(End::To) | Standing::Deny(End::To) | Standing::Except(End::To) => {
                let texts = value.one_or_more(findings);
                matched.groups = texts.into_iter().map(|text| names.group(text, findings)).collect();
            }
            Standing::Members
            | Standing::Allow(End::From)
            | Standing::Deny(End::From)
            | Standing::Except(End::From) => {
                let words = match standing {
                    Standing::Members => "a group is no member of a zone",
                    Standing::Allow(_) | Standing::Deny(_) | Standing::Except(_) => {
                        "nobody sends from a group"
                    }
                };
                findings.say_with(Code::GroupHere, key.origin, words, Code::GroupHere.remedy());
            }
        },
        "same" => matched.same = joined(key, value, standing, names, findings),
        "differs" => matched.differs = joined(key, value, standing, names, findings),
        "not" => {
            let help = "write { env = { not = \"prod\" } }";
            findings.say_with(Code::UnknownKey, key.origin, "`not` stands without a label", help);
        }
        _ => label(key, value, names, matched, findings),
    }
}

/// `same = "env"`, `differs = ["env", "tier"]`: label keys, in `to`, looking back at `from`.
fn joined(
    key: Text<'_>,
    value: Value<'_>,
    standing: Standing,
    names: &Names<'_>,
    findings: &mut Findings,
) -> Vec<String> {
    let differs = key.text == "differs";
    let wrong = match standing {
        Standing::Allow(End::To) if differs => Some((
            "`differs` where something is allowed",
            "name those who may: env = \"prod\" at both ends",
        )),
        Standing::Allow(End::To) | Standing::Deny(End::To) => None,
        Standing::Allow(End::From) | Standing::Deny(End::From) => {
            Some(("it is in `from`", "write it in `to`: it looks back at `from`"))
        }
        Standing::Members => Some(("a zone has one end", "select the members by labels")),
        Standing::Except(_) => Some((
            "it stands within `except`",
            "write it beside the other keys of `to`: `differs` is everything but `same`",
        )),
    };
    if let Some((words, help)) = wrong {
        let message = if standing == Standing::Allow(End::To) {
            words.to_owned()
        } else {
            format!("`{}` compares the two ends of a rule, and {words}", key.text)
        };
        findings.say_with(Code::PairHere, key.origin, message, help);
    }
    let keys = value.one_or_more(findings).into_iter();
    keys.filter(|key| names.label_key(*key, &[], findings).is_some())
        .map(|key| key.text.to_owned())
        .collect()
}

fn unknown(
    key: Text<'_>,
    value: Value<'_>,
    standing: Standing,
    matched: &mut Match,
    findings: &mut Findings,
) {
    match value.boolean(findings) {
        Some(true) if standing == Standing::Members => {
            let help = "unknown addresses inside count as members of every zone there already";
            let words = "a zone's members can't be unknown";
            findings.say_with(Code::UnknownHere, key.origin, words, help);
        }
        Some(true) => matched.unknown = true,
        Some(false) => {
            let words = "`unknown` can only be true";
            findings.say_with(
                Code::Value,
                value.origin,
                words,
                "leave it out: false is what it means then",
            );
        }
        None => {}
    }
}

/// `env = "prod"`, `env = ["prod", "test"]`, `env = { not = "prod" }`.
fn label(key: Text<'_>, value: Value<'_>, names: &Names<'_>, matched: &mut Match, findings: &mut Findings) {
    let declared = names.label_key(key, &RESERVED, findings);
    let (texts, refused) = if let DeValue::Table(_) = value.raw {
        let mut texts = Vec::new();
        let written = value.entries(findings);
        if written.is_empty() {
            let message = format!("`{}` has an empty table", key.text);
            findings.say_with(Code::Value, value.origin, message, "write { not = \"VALUE\" }");
        }
        for (word, value) in written {
            if word.text == "not" {
                texts = value.one_or_more(findings);
            } else {
                let message = format!("`{}` can only say `not`, and this is `{}`", key.text, word.text);
                let mut report = Diagnostic::new(Code::UnknownKey, Some(word.origin), message)
                    .help("write a value, a list of values, or { not = … }");
                if findings.nearest(word.text, ["not"]).is_some() {
                    report = report.label("did you mean `not`?");
                }
                findings.push(report);
            }
        }
        (texts, true)
    } else {
        (value.one_or_more(findings), false)
    };
    let Some(declared) = declared else { return };
    let values: Vec<String> =
        texts.into_iter().map(|text| label_value(key.text, declared, text, findings)).collect();
    let side = if refused { &mut matched.not } else { &mut matched.labels };
    if !values.is_empty() {
        side.insert(key.text.to_owned(), values);
    }
}
