//! A walk over parsed TOML that keeps places.
//!
//! What it is: the text of one file as tables, with every syntax error in it, and typed access to its
//! values that reports what has the wrong type. What it is not: it knows no key of the language.
//! Cost: a file with errors is parsed again for each round of recovery, at most [`ROUNDS`] times.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::super::code::Code;
use super::super::diagnostic::Diagnostic;
use super::super::source::Origin;
use super::findings::{Findings, listing};

/// Times that a file is parsed to find errors behind errors.
const ROUNDS: usize = 8;
/// Syntax errors reported for one file.
const SYNTAX_LIMIT: usize = 50;
/// Bytes from which a file is first looked at for how much of it is not TOML.
const LARGE: usize = 64 << 10;
/// Errors that make a large file garbage.
const GARBAGE: usize = 1000;

/// The text of a file with the lines blanked that are not TOML; bytes keep their places.
pub(super) fn readable<'t>(file: u16, text: &'t str, findings: &mut Findings) -> Cow<'t, str> {
    let mut cleaned = Cow::Borrowed(text);
    let mut reported = BTreeSet::new();
    if text.len() > LARGE && is_garbage(text) {
        let words = "this does not look like a policy: too much of it is not TOML";
        let origin = findings.origin(file, &(0..0));
        findings.say_with(Code::Syntax, origin, words, "check that it is the right file");
        findings.text_is_partial();
        return Cow::Borrowed("");
    }
    for _ in 0..ROUNDS {
        let errors = syntax_errors(&cleaned);
        let mut blanked = cleaned.clone().into_owned().into_bytes();
        let mut changed = false;
        let mut repeated_header = false;
        for (message, span) in errors {
            let line = line_around(text, span.start);
            let header = text.get(line.clone()).is_some_and(|line| line.trim_start().starts_with('['));
            if message == "duplicate key" {
                // The second table's keys fall into the first: only the header is the error.
                if !header && repeated_header && !header_between(text, &reported, line.start) {
                    continue;
                }
                repeated_header = header;
            }
            if reported.len() > SYNTAX_LIMIT || !reported.insert(line.start) {
                continue;
            }
            report(file, text, &message, &span, &line, header, findings);
            if message != "duplicate key"
                && let Some(bytes) = blanked.get_mut(line)
            {
                bytes.fill(b' ');
                changed = true;
            }
        }
        if !changed || reported.len() > SYNTAX_LIMIT {
            break;
        }
        cleaned = String::from_utf8(blanked).map_or(Cow::Borrowed(""), Cow::Owned);
    }
    cleaned
}

/// Looks at more and more of the beginning, so that a few errors are kept and not millions: those of
/// 4 MiB of `=` take a gigabyte.
fn is_garbage(text: &str) -> bool {
    let parts = std::iter::successors(Some(LARGE), |part| part.checked_mul(2));
    parts.take_while(|part| *part < text.len()).any(|part| {
        let start = text.get(..text.floor_char_boundary(part)).unwrap_or_default();
        let lines = start.rsplit_once('\n').map_or(start, |(lines, _)| lines);
        DeTable::parse_recoverable(lines).1.len() > GARBAGE
    })
}

/// Errors by place; those without one stand at the start.
fn syntax_errors(text: &str) -> Vec<(String, Range<usize>)> {
    let (_, errors) = DeTable::parse_recoverable(text);
    let place = |error: &toml::de::Error| error.span().unwrap_or_default();
    let mut errors: Vec<_> = errors.iter().map(|e| (e.message().to_owned(), place(e))).collect();
    errors.sort_by_key(|(_, span)| span.start);
    errors
}

/// Whether a table begins between the last reported line and this one.
fn header_between(text: &str, reported: &BTreeSet<usize>, line: usize) -> bool {
    let Some(last) = reported.range(..line).next_back() else { return false };
    let lines = text.get(*last..line).unwrap_or_default().lines();
    lines.skip(1).any(|line| line.trim_start().starts_with('['))
}

fn report(
    file: u16,
    text: &str,
    message: &str,
    span: &Range<usize>,
    line: &Range<usize>,
    header: bool,
    findings: &mut Findings,
) {
    let origin = findings.origin(file, span);
    if message == "duplicate key" {
        let name = text.get(span.clone()).unwrap_or_default();
        let mut found = Diagnostic::new(Code::Duplicate, Some(origin), format!("{name} is written twice"))
            .help("names are unique: rename one of the two, or merge them");
        let words = text.get(line.clone()).unwrap_or_default().trim();
        if header && let Some(first) = text.find(words).filter(|first| *first < line.start) {
            let first = findings.origin(file, &(first..first + words.len()));
            found = found.related(first, "first written here");
        }
        findings.push(found);
        return;
    }
    findings.text_is_partial();
    findings.say(Code::Syntax, origin, format!("not TOML: {message}"));
}

/// The line that holds a byte, without its end.
fn line_around(text: &str, at: usize) -> Range<usize> {
    let bytes = text.as_bytes();
    let at = at.min(bytes.len());
    let before = bytes.get(..at).unwrap_or_default();
    let after = bytes.get(at..).unwrap_or_default();
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |found| found + 1);
    let end = after.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |found| at + found);
    start..end
}

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
    pub(super) fn not(self, wanted: &str, findings: &mut Findings) {
        let (key, got) = (self.key, self.raw.type_str());
        let article = if matches!(self.raw, DeValue::Integer(_) | DeValue::Array(_)) { "an" } else { "a" };
        findings.say(
            Code::WrongType,
            self.origin,
            format!("`{key}` must be {wanted}, and this is {article} {got}"),
        );
    }

    /// A string that is not empty.
    pub(super) fn text(self, findings: &mut Findings) -> Option<Text<'a>> {
        self.text_as("a string", findings)
    }

    fn text_as(self, wanted: &str, findings: &mut Findings) -> Option<Text<'a>> {
        let DeValue::String(text) = self.raw else {
            self.not(wanted, findings);
            return None;
        };
        if text.trim().is_empty() {
            findings.say(Code::Value, self.origin, format!("`{}` is empty", self.key));
            return None;
        }
        Some(Text { text, origin: self.origin })
    }

    /// A list of strings.
    pub(super) fn texts(self, findings: &mut Findings) -> Vec<Text<'a>> {
        let wanted = "a list of strings";
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
                findings.say(Code::Value, self.origin, format!("`{}` is an empty list", self.key));
                Vec::new()
            }
            DeValue::Array(_) => self.texts(findings),
            DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Table(_) => {
                self.not("a string or a list of strings", findings);
                Vec::new()
            }
        }
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
        self.not("true or false", findings);
        None
    }

    /// An integer within `range`.
    pub(super) fn integer(
        self,
        range: std::ops::RangeInclusive<u32>,
        findings: &mut Findings,
    ) -> Option<u32> {
        let DeValue::Integer(digits) = self.raw else {
            self.not("an integer", findings);
            return None;
        };
        let value = i64::from_str_radix(digits.as_str(), digits.radix()).ok();
        let value = value.and_then(|value| u32::try_from(value).ok()).filter(|v| range.contains(v));
        if value.is_none() {
            let words = format!("`{}` must be {} to {}", self.key, range.start(), range.end());
            findings.say(Code::Value, self.origin, words);
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
            self.not("a table", findings);
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
            value.not("a table", findings);
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
