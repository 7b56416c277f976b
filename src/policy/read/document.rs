//! A walk over parsed TOML that keeps places.
//!
//! What it is: typed access to the values of one file, which reports what has the wrong type and what to
//! write instead. What it is not: it knows no key of the language, and syntax errors are `syntax`'s.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::super::code::Code;
use super::super::diagnostic::Diagnostic;
use super::super::source::Origin;
use super::findings::{Findings, listing};
use super::wanted::Wanted;

/// A string and its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a> {
    pub(super) text: &'a str,
    pub(super) origin: Origin,
}

/// A value, the key it stands under and its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'a> {
    pub(super) key: &'a str,
    pub(super) origin: Origin,
    pub(super) raw: &'a DeValue<'a>,
}

impl<'a> Value<'a> {
    /// The value at a key of a file's table.
    pub(super) fn at(
        file: u16,
        key: &'a str,
        value: &'a Spanned<DeValue<'a>>,
        findings: &Findings,
    ) -> Self {
        Self { key, origin: findings.origin(file, &value.span()), raw: value.get_ref() }
    }

    /// Reports the wrong type.
    pub(super) fn not(self, wanted: Wanted, findings: &mut Findings) {
        let (key, got) = (self.key, self.raw.type_str());
        let article = if matches!(self.raw, DeValue::Integer(_) | DeValue::Array(_)) { "an" } else { "a" };
        let message = format!("`{key}` must be {}, and this is {article} {got}", wanted.words());
        findings.say_with(Code::WrongType, self.origin, message, wanted.remedy(key, self.raw));
    }

    /// A string that is not empty.
    pub(super) fn text(self, findings: &mut Findings) -> Option<Text<'a>> {
        self.text_as(Wanted::Text, findings)
    }

    fn text_as(self, wanted: Wanted, findings: &mut Findings) -> Option<Text<'a>> {
        let DeValue::String(text) = self.raw else {
            self.not(wanted, findings);
            return None;
        };
        if text.trim().is_empty() {
            let message = format!("`{}` is empty", self.key);
            let help = "write something between the quotes, or remove it where it may be left out";
            findings.say_with(Code::Value, self.origin, message, help);
            return None;
        }
        Some(Text { text, origin: self.origin })
    }

    /// A list of strings.
    pub(super) fn texts(self, findings: &mut Findings) -> Vec<Text<'a>> {
        let wanted = Wanted::Texts;
        let DeValue::Array(_) = self.raw else {
            self.not(wanted, findings);
            return Vec::new();
        };
        self.items(findings).into_iter().filter_map(|item| item.text_as(wanted, findings)).collect()
    }

    /// A string or a list of them that is not empty.
    pub(super) fn one_or_more(self, findings: &mut Findings) -> Vec<Text<'a>> {
        match self.raw {
            DeValue::String(_) => self.text(findings).into_iter().collect(),
            DeValue::Array(items) if items.is_empty() => {
                self.empty_list(findings);
                Vec::new()
            }
            DeValue::Array(_) => self.texts(findings),
            DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Table(_) => {
                self.not(Wanted::TextOrTexts, findings);
                Vec::new()
            }
        }
    }

    /// Reports a list that needs an item.
    pub(super) fn empty_list(self, findings: &mut Findings) {
        let message = format!("`{}` is an empty list", self.key);
        let help = format!("name at least one: {} = [\"VALUE\"]", self.key);
        findings.say_with(Code::Value, self.origin, message, help);
    }

    /// The items of a list; none of anything else.
    pub(super) fn items(self, findings: &Findings) -> Vec<Self> {
        let DeValue::Array(items) = self.raw else { return Vec::new() };
        items.iter().map(|item| Self::at(self.origin.file, self.key, item, findings)).collect()
    }

    /// `true` or `false`.
    pub(super) fn boolean(self, findings: &mut Findings) -> Option<bool> {
        if let DeValue::Boolean(value) = self.raw {
            return Some(*value);
        }
        self.not(Wanted::Boolean, findings);
        None
    }

    /// An integer within `range`.
    pub(super) fn integer(
        self,
        range: std::ops::RangeInclusive<u32>,
        findings: &mut Findings,
    ) -> Option<u32> {
        let DeValue::Integer(digits) = self.raw else {
            self.not(Wanted::Integer, findings);
            return None;
        };
        // What does not fit 64 bits has a sign or is too large.
        let number = i64::from_str_radix(digits.as_str(), digits.radix());
        let low = digits.as_str().starts_with('-');
        let number = number.unwrap_or(if low { i64::MIN } else { i64::MAX });
        let value = u32::try_from(number).ok().filter(|value| range.contains(value));
        if value.is_none() {
            let (least, most) = (range.start(), range.end());
            let words = format!("`{}` must be {least} to {most}", self.key);
            let nearest = if number < i64::from(*least) { least } else { most };
            findings.say_with(
                Code::Value,
                self.origin,
                words,
                format!("the nearest it takes: {} = {nearest}", self.key),
            );
        }
        value
    }

    /// One of some words.
    pub(super) fn word<T: Copy>(self, words: &[(&str, T)], findings: &mut Findings) -> Option<T> {
        let text = self.text(findings)?;
        let found = words.iter().find(|(word, _)| *word == text.text);
        if found.is_none() {
            let all = || words.iter().map(|(word, _)| *word);
            let message = format!("\"{}\" is not a value of `{}`", text.text, self.key);
            let mut report = Diagnostic::new(Code::Word, Some(self.origin), message).help(format!(
                "`{}` is one of: {}",
                self.key,
                listing(all())
            ));
            if let Some(near) = findings.nearest(text.text, all()) {
                report = report.label(format!("did you mean \"{near}\"?"));
            }
            findings.push(report);
        }
        found.map(|(_, value)| *value)
    }

    /// The entries of a table: key, place of the key, value.
    pub(super) fn entries(self, findings: &mut Findings) -> Vec<(Text<'a>, Self)> {
        let DeValue::Table(table) = self.raw else {
            self.not(Wanted::Table, findings);
            return Vec::new();
        };
        entries(self.origin.file, table, findings)
    }
}

/// The entries of a table, in the order of the text.
pub(super) fn entries<'a>(
    file: u16,
    table: &'a DeTable<'a>,
    findings: &Findings,
) -> Vec<(Text<'a>, Value<'a>)> {
    let mut entries: Vec<_> = table
        .iter()
        .map(|(key, value)| {
            let name = Text { text: key.get_ref(), origin: findings.origin(file, &key.span()) };
            (name, Value::at(file, key.get_ref(), value, findings))
        })
        .collect();
    entries.sort_by_key(|(name, _)| name.origin.start);
    entries
}

/// The keys that a table may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys {
    /// Those this version reads.
    pub(super) known: &'static [&'static str],
    /// Those of the language that it does not have yet.
    pub(super) later: &'static [(&'static str, Code)],
}

/// A table whose keys are those of the language.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    /// What it is: `zone cde`.
    pub(super) of: String,
    /// Where it begins.
    pub(super) origin: Origin,
    entries: Vec<(Text<'a>, Value<'a>)>,
}

impl<'a> Fields<'a> {
    /// Opens a table and reports the keys in it that do not exist.
    pub(super) fn open(
        of: impl Into<String>,
        value: Value<'a>,
        keys: Keys,
        findings: &mut Findings,
    ) -> Option<Self> {
        let DeValue::Table(table) = value.raw else {
            value.not(Wanted::Table, findings);
            return None;
        };
        let of = of.into();
        let entries = entries(value.origin.file, table, findings);
        for (key, _) in &entries {
            keys.check(&of, *key, findings);
        }
        Some(Self { of, origin: value.origin, entries })
    }

    /// The value of a key that may be left out.
    pub(super) fn get(&self, key: &str) -> Option<Value<'a>> {
        self.entries.iter().find(|(name, _)| name.text == key).map(|(_, value)| *value)
    }

    /// The value of a key that must be written; `remedy` says how.
    pub(super) fn need(&self, key: &str, remedy: &str, findings: &mut Findings) -> Option<Value<'a>> {
        let value = self.get(key);
        if value.is_none() {
            let message = format!("{} does not say `{key}`", self.of);
            findings.say_with(Code::MissingKey, self.origin, message, format!("write {remedy}"));
        }
        value
    }
}

impl Keys {
    /// Reports a key that does not exist, or not yet.
    pub(super) fn check(self, of: &str, key: Text<'_>, findings: &mut Findings) {
        if self.known.contains(&key.text) {
            return;
        }
        if let Some((name, code)) = self.later.iter().find(|(name, _)| *name == key.text) {
            not_yet(*code, &format!("`{name}`"), key.origin, findings);
            return;
        }
        let all = || self.known.iter().copied();
        let message = format!("{of} has no key `{}`", key.text);
        let mut report = Diagnostic::new(Code::UnknownKey, Some(key.origin), message)
            .help(format!("its keys are: {}", listing(all())));
        if let Some(near) = findings.nearest(key.text, all()) {
            report = report.label(format!("did you mean `{near}`?"));
        }
        findings.push(report);
    }
}

/// Reports what the language has and this version has not.
pub(super) fn not_yet(code: Code, what: &str, origin: Origin, findings: &mut Findings) {
    let message = format!("{what} is not available yet in this version");
    findings.say_with(code, origin, message, code.remedy());
}
