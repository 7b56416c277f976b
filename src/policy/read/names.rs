//! The names that are declared, and references to them.

use std::collections::{BTreeMap, BTreeSet};

use super::super::code::Code;
use super::super::diagnostic::Diagnostic;
use super::super::model::LabelKey;
use super::document::Text;
use super::findings::{Findings, listing};
use super::sections::Sections;

/// Every name that another place may refer to. A declaration counts even when something in it is
/// wrong: one error must not make ten.
#[derive(Debug)]
pub(super) struct Names<'a> {
    pub(super) labels: BTreeMap<String, LabelKey>,
    pub(super) owners: BTreeSet<&'a str>,
    pub(super) zones: BTreeSet<&'a str>,
    pub(super) networks: BTreeSet<&'a str>,
    pub(super) workloads: BTreeSet<&'a str>,
    pub(super) groups: BTreeSet<&'a str>,
    pub(super) accounts: BTreeSet<&'a str>,
}

impl<'a> Names<'a> {
    pub(super) fn new(sections: &Sections<'a>, labels: BTreeMap<String, LabelKey>) -> Self {
        let names = |section: &str| sections.names(section).into_iter().collect();
        Self {
            labels,
            owners: names("owner"),
            zones: names("zone"),
            networks: names("network"),
            workloads: names("workload"),
            groups: names("group"),
            accounts: BTreeSet::new(),
        }
    }

    pub(super) fn owner(&self, name: Text<'_>, findings: &mut Findings) -> String {
        known(Code::UnknownOwner, "owner", &self.owners, name, findings)
    }

    pub(super) fn zone(&self, name: Text<'_>, findings: &mut Findings) -> String {
        known(Code::UnknownZone, "zone", &self.zones, name, findings)
    }

    pub(super) fn network(&self, name: Text<'_>, findings: &mut Findings) -> String {
        known(Code::UnknownNetwork, "network", &self.networks, name, findings)
    }

    pub(super) fn workload(&self, name: Text<'_>, findings: &mut Findings) -> String {
        known(Code::UnknownWorkload, "workload", &self.workloads, name, findings)
    }

    pub(super) fn group(&self, name: Text<'_>, findings: &mut Findings) -> String {
        known(Code::UnknownGroup, "group", &self.groups, name, findings)
    }

    pub(super) fn account(&self, name: Text<'_>, findings: &mut Findings) -> String {
        known(Code::UnknownAccount, "service account", &self.accounts, name, findings)
    }

    /// Whether a label key is declared; reports it otherwise. `words` are what else may stand there.
    pub(super) fn label_key(
        &self,
        key: Text<'_>,
        words: &[&str],
        findings: &mut Findings,
    ) -> Option<&LabelKey> {
        let declared = self.labels.get(key.text);
        if declared.is_none() {
            let all = || self.labels.keys().map(String::as_str);
            let message = format!("{} is not a declared label", key.text);
            let mut report = Diagnostic::new(Code::LabelKey, Some(key.origin), message)
                .help(format!("`[label]` declares: {}", or_none(listing(all()))));
            if let Some(near) = findings.nearest(key.text, all().chain(words.iter().copied())) {
                report = report.label(format!("did you mean {near}?"));
            }
            findings.push(report);
        }
        declared
    }
}

/// Reports a value that a closed label does not have.
pub(super) fn label_value(
    key: &str,
    declared: &LabelKey,
    value: Text<'_>,
    findings: &mut Findings,
) -> String {
    if let Some(values) = &declared.values
        && !values.iter().any(|known| known == value.text)
    {
        let all = || values.iter().map(String::as_str);
        let message = format!("\"{}\" is not a value of label {key}", value.text);
        let mut report = Diagnostic::new(Code::LabelValue, Some(value.origin), message)
            .help(format!("{key} is closed: {}", listing(all())));
        if let Some(near) = findings.nearest(value.text, all()) {
            report = report.label(format!("did you mean \"{near}\"?"));
        }
        findings.push(report);
    }
    value.text.to_owned()
}

fn or_none(list: String) -> String {
    if list.is_empty() { "none".to_owned() } else { list }
}

/// The name, reported if it is not among the declared ones.
fn known(
    code: Code,
    what: &str,
    declared: &BTreeSet<&str>,
    name: Text<'_>,
    findings: &mut Findings,
) -> String {
    if !declared.contains(name.text) {
        let message = if code == Code::UnknownAccount {
            format!("no workload declares {what} {}", name.text)
        } else {
            format!("{what} {} is not declared", name.text)
        };
        let mut report = Diagnostic::new(code, Some(name.origin), message);
        match findings.nearest(name.text, declared.iter().copied()) {
            Some(near) => report = report.label(format!("did you mean \"{near}\"?")),
            None => report = report.help(code.remedy()),
        }
        findings.push(report);
    }
    name.text.to_owned()
}
