//! What a value must be, in words, and what to write where it is something else.
//!
//! What it is: the help of every finding about a wrong type. What it is not: it reads nothing.

use toml::de::DeValue;

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// One text.
    Text,
    /// A list of texts.
    Texts,
    /// Either.
    TextOrTexts,
    /// `true` or `false`.
    Boolean,
    /// A number.
    Integer,
    /// A table, inline or as a section.
    Table,
    /// A selector.
    Selector,
    /// A list of selectors.
    Selectors,
}

/// Sections with an entry for each name.
const NAMED: [&str; 10] =
    ["allow", "deny", "guardrail", "wire", "network", "workload", "group", "zone", "owner", "test"];

impl Wanted {
    /// `a list of strings`.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Texts => "a list of strings",
            Self::TextOrTexts => "a string or a list of strings",
            Self::Boolean => "true or false",
            Self::Integer => "an integer",
            Self::Table => "a table",
            Self::Selector => "a selector like { app = \"payments\" }",
            Self::Selectors => "a list of selectors like [{ env = \"prod\" }]",
        }
    }

    /// What to write under this key instead of this value: the value itself where it only lacks quotes or
    /// brackets.
    pub(super) fn remedy(self, key: &str, got: &DeValue<'_>) -> String {
        let text = || alone(got).unwrap_or_else(|| "VALUE".to_owned());
        match self {
            Self::Text => format!("write {key} = \"{}\"", text()),
            Self::Texts => format!("write {key} = [\"{}\"]", text()),
            Self::TextOrTexts => format!("write {key} = \"{}\", or a list of them", text()),
            Self::Boolean => format!("write {key} = true or {key} = false, without quotes"),
            Self::Integer => match alone(got).filter(|text| text.bytes().all(|b| b.is_ascii_digit())) {
                Some(digits) => format!("write {key} = {digits}, without quotes"),
                None => format!("write {key} = NUMBER, without quotes and without a point"),
            },
            Self::Table if matches!(got, DeValue::Array(_)) => one_pair(key),
            Self::Table if NAMED.contains(&key) => format!("write a section for each: {}", header(key)),
            Self::Table => {
                format!("write {key} = {{ KEY = VALUE }}, or a section with a line for each key")
            }
            Self::Selector => format!("write {key} = {{ LABEL = \"VALUE\" }}"),
            Self::Selectors => format!("write {key} = [{{ LABEL = \"VALUE\" }}]"),
        }
    }
}

/// What to write instead of `[[key]]` or `key = []`.
pub(super) fn one_pair(key: &str) -> String {
    let header = header(key);
    match key {
        "allow" | "deny" | "guardrail" => {
            format!("write {header}: the id stands in the header, in one pair of brackets")
        }
        _ => format!("write {header}, in one pair of brackets"),
    }
}

/// The header of a section.
fn header(key: &str) -> String {
    match key {
        "allow" | "deny" | "guardrail" => format!("[{key}.ID]"),
        _ if NAMED.contains(&key) => format!("[{key}.NAME]"),
        _ => format!("[{key}]"),
    }
}

/// The one text or number that a value holds, if a quote around it does not change what it says.
fn alone(value: &DeValue<'_>) -> Option<String> {
    let text = match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(digits) => digits.as_str().to_owned(),
        DeValue::Array(items) if items.len() == 1 => return alone(items.iter().next()?.get_ref()),
        DeValue::Array(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Table(_) => return None,
    };
    let plain = |c: char| !c.is_control() && !matches!(c, '"' | '\\');
    (!text.trim().is_empty() && text.len() <= 64 && text.chars().all(plain)).then_some(text)
}
