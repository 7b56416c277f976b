//! The sections of all files, put together.

use std::collections::BTreeMap;

use toml::de::DeTable;

use super::super::code::Code;
use super::super::diagnostic::Diagnostic;
use super::super::source::Origin;
use super::document::{Keys, Text, Value, entries};
use super::findings::Findings;

pub(super) const TOP: Keys = Keys {
    known: &[
        "parts",
        "gate",
        "label",
        "owner",
        "profile",
        "wire",
        "network",
        "workload",
        "group",
        "zone",
        "service",
        "allow",
        "deny",
        "guardrail",
        "test",
    ],
    later: &[],
};

/// What one section holds under one name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) name: Text<'a>,
    pub(super) value: Value<'a>,
}

/// All entries of all files by section, each section sorted by name.
#[derive(Debug, Default)]
pub(super) struct Sections<'a> {
    by_name: BTreeMap<&'a str, BTreeMap<&'a str, Entry<'a>>>,
    places: BTreeMap<&'a str, Origin>,
}

impl<'a> Sections<'a> {
    /// Puts the files together; the first comes first.
    pub(super) fn gather(documents: &'a [DeTable<'a>], findings: &mut Findings) -> Self {
        let mut sections = Self::default();
        for (number, document) in documents.iter().enumerate() {
            let file = u16::try_from(number).unwrap_or(u16::MAX);
            for (section, value) in entries(file, document, findings) {
                sections.add(section, value, findings);
            }
        }
        sections
    }

    fn add(&mut self, section: Text<'a>, value: Value<'a>, findings: &mut Findings) {
        if !TOP.known.contains(&section.text) {
            TOP.check("a policy", section, findings);
            if findings.nearest(section.text, TOP.known.iter().copied()).is_some() {
                // What stands in it was meant to count.
                findings.text_is_partial();
            }
            return;
        }
        if section.text == "parts" {
            if section.origin.file != 0 {
                let help = "list all parts in the first file";
                let words = "a part names parts of its own";
                findings.say_with(Code::PartNamesParts, section.origin, words, help);
            }
            return;
        }
        self.places.entry(section.text).or_insert(value.origin);
        for (name, value) in value.entries(findings) {
            let names = self.by_name.entry(section.text).or_default();
            if let Some(first) = names.get(name.text) {
                let message = format!("{} {} is declared twice", section.text, name.text);
                let report = Diagnostic::new(Code::Duplicate, Some(name.origin), message)
                    .related(first.name.origin, "first declared here")
                    .help("names are unique across all files: rename one of the two, or merge them");
                findings.push(report);
                continue;
            }
            check_name(section.text, name, findings);
            names.insert(name.text, Entry { name, value });
        }
    }

    /// The entries of a section, sorted by name.
    pub(super) fn of(&self, section: &str) -> impl Iterator<Item = Entry<'a>> + use<'_, 'a> {
        self.by_name.get(section).into_iter().flat_map(BTreeMap::values).copied()
    }

    /// The entries of a section in the order of the text: what comes later is what repeats.
    pub(super) fn as_written(&self, section: &str) -> Vec<Entry<'a>> {
        let mut entries: Vec<_> = self.of(section).collect();
        entries.sort_by_key(|entry| (entry.name.origin.file, entry.name.origin.start));
        entries
    }

    /// Where a section first stands.
    pub(super) fn place(&self, section: &str) -> Option<Origin> {
        self.places.get(section).copied()
    }

    /// The names in a section, sorted.
    pub(super) fn names(&self, section: &str) -> Vec<&'a str> {
        self.of(section).map(|entry| entry.name.text).collect()
    }

    /// Whether any file writes anything at all.
    pub(super) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

/// A text that can't be a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAName {
    /// It is empty, too long, or has other characters.
    #[error("names have 1 to 128 letters, digits, `-`, `_` and `.`")]
    Characters,
    /// It is an address.
    #[error("names and addresses stay apart")]
    Address,
}

/// Whether a text can be a name. Names appear in commands, pages and file names.
///
/// # Errors
/// Why it can't.
pub fn is_name(text: &str) -> Result<(), NotAName> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() || text.len() > 128 || !text.chars().all(plain) {
        Err(NotAName::Characters)
    } else if text.parse::<std::net::IpAddr>().is_ok() {
        Err(NotAName::Address)
    } else {
        Ok(())
    }
}

fn check_name(section: &str, name: Text<'_>, findings: &mut Findings) {
    let Err(why) = is_name(name.text) else { return };
    let message = match why {
        NotAName::Characters => format!("{:?} can't be the name of a {section}", name.text),
        NotAName::Address => format!("{} can't be the name of a {section}: it is an address", name.text),
    };
    findings.say_with(Code::Name, name.origin, message, why.to_string());
}
