//! Whom a question means that is no part of a policy: a name, or a selector as rules have it.
//!
//! What it is: the words of a command line into a [`Selector`], read as a deny would read it: unknown addresses are
//! meant where they could be. What it is not: it adds nothing to a policy.

use std::collections::BTreeSet;

use toml::de::DeTable;

use super::super::diagnostic::{Diagnostic, Severity};
use super::super::model::{Match, Model, Selector};
use super::document::Value;
use super::findings::Findings;
use super::names::Names;
use super::selector::{End, Standing, selector};
use super::{did_you_mean_name, nearest_name};

/// Bytes that a selector may have.
const LONGEST: usize = 4_096;

/// Why words mean nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotMeant {
    /// No such name.
    #[error("no zone, workload, network or group is named \"{name}\"{}", did_you_mean_name(.like.as_deref()))]
    Name {
        /// What was written.
        name: String,
        /// A name like it.
        like: Option<String>,
    },
    /// Several things have the name.
    #[error("\"{name}\" is the name of several things: write {forms}")]
    Several {
        /// What was written.
        name: String,
        /// The selectors it may have meant.
        forms: String,
    },
    /// A group where somebody sends.
    #[error("{0} is a group, and nobody sends from a group: name those who send to it")]
    Group(String),
    /// An address.
    #[error(
        "{0} is an address: name the workload or the network that it belongs to; explain answers for one address"
    )]
    Address(std::net::IpAddr),
    /// No selector.
    #[error("`{written}` is not a selector: {why}")]
    Selector {
        /// What was written.
        written: String,
        /// What is wrong with it.
        why: String,
    },
}

impl NotMeant {
    /// What to do.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Name { .. } => "`portcullis rules` and the inventory list what there is",
            Self::Several { .. } => "write one of these selectors in place of the name",
            Self::Group(_) => "a group may stand as the destination only",
            Self::Address(_) => "`portcullis inventory list --policy FILE` says who has it",
            Self::Selector { .. } => {
                "write it as in `from` and `to` of a deny; docs/POLICY.md lists the keys"
            }
        }
    }
}

/// Who opens.
///
/// # Errors
/// The words mean nobody that a policy could mean.
pub fn sender(text: &str, model: &Model) -> Result<Selector, NotMeant> {
    meant(text, End::From, model)
}

/// To whom.
///
/// # Errors
/// As [`sender`].
pub fn receiver(text: &str, model: &Model) -> Result<Selector, NotMeant> {
    meant(text, End::To, model)
}

fn meant(text: &str, end: End, model: &Model) -> Result<Selector, NotMeant> {
    let text = text.trim();
    if text.starts_with('{') {
        return written(text, text, end, model);
    }
    if text.contains('=') {
        return written(text, &format!("{{ {text} }}"), end, model);
    }
    let names = names(model);
    let one = vec![text.to_owned()];
    let known = [
        ("zone", names.zones.contains(text), Match { zones: one.clone(), ..Match::default() }),
        ("name", names.workloads.contains(text), Match { names: one.clone(), ..Match::default() }),
        ("network", names.networks.contains(text), Match { networks: one.clone(), ..Match::default() }),
        ("group", names.groups.contains(text), Match { groups: one, ..Match::default() }),
    ];
    let group = end == End::From && names.groups.contains(text);
    let mut found: Vec<(&str, Match)> = known
        .into_iter()
        .filter(|(key, there, _)| *there && (*key != "group" || !group))
        .map(|(key, _, keys)| (key, keys))
        .collect();
    if found.len() > 1 {
        let forms: Vec<String> = found.iter().map(|(key, _)| format!("{{ {key} = {text:?} }}")).collect();
        return Err(NotMeant::Several { name: text.to_owned(), forms: forms.join(" or ") });
    }
    match found.pop() {
        Some((_, keys)) => Ok(Selector::Match(keys)),
        None if group => Err(NotMeant::Group(text.to_owned())),
        None => {
            if let Ok(address) = text.parse() {
                return Err(NotMeant::Address(address));
            }
            let all = [&names.zones, &names.workloads, &names.networks, &names.groups];
            let like = nearest_name(text, all.into_iter().flatten().copied());
            Err(NotMeant::Name { name: text.to_owned(), like: like.map(str::to_owned) })
        }
    }
}

fn names(model: &Model) -> Names<'_> {
    let accounts = model.workloads.iter().filter_map(|workload| workload.service_account.as_deref());
    Names {
        labels: model.labels.clone(),
        owners: model.owners.keys().map(String::as_str).collect(),
        zones: set(&model.zones, |zone| &zone.name),
        networks: set(&model.networks, |network| &network.name),
        workloads: set(&model.workloads, |workload| &workload.name),
        groups: set(&model.groups, |group| &group.name),
        accounts: accounts.collect(),
    }
}

fn set<T>(all: &[T], name: impl Fn(&T) -> &String) -> BTreeSet<&str> {
    all.iter().map(|one| name(one).as_str()).collect()
}

/// A selector as a deny would have it.
fn written(text: &str, braced: &str, end: End, model: &Model) -> Result<Selector, NotMeant> {
    let wrong = |why: String| NotMeant::Selector { written: text.to_owned(), why };
    let shape = || "write it as in a rule: { app = \"payments\", env = \"prod\" }".to_owned();
    if text.len() > LONGEST {
        return Err(NotMeant::Selector {
            written: text.chars().take(40).collect::<String>() + " …",
            why: format!("it is longer than {LONGEST} bytes"),
        });
    }
    let document = format!("end = {braced}");
    let table = DeTable::parse(&document).map_err(|_| wrong(shape()))?.into_inner();
    let mut findings = Findings::new();
    let only = table.get("end").filter(|_| table.len() == 1).ok_or_else(|| wrong(shape()))?;
    let value = Value::at(0, "end", only, &findings);
    let read = selector(value, Standing::Deny(end), &names(model), &mut findings);
    let errors = findings.into_sorted().into_iter().filter(|found| found.severity == Severity::Error);
    let said: Vec<String> = errors.map(words).collect();
    match read {
        Some(selector) if said.is_empty() => Ok(selector),
        Some(_) | None if said.is_empty() => Err(wrong(shape())),
        Some(_) | None => Err(wrong(said.join("; "))),
    }
}

fn words(found: Diagnostic) -> String {
    let more = [found.label, found.help].into_iter().flatten();
    std::iter::once(found.message).chain(more).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::sample::{BIG, load};

    #[test]
    fn a_name_or_a_selector_means_somebody() {
        let group = "[group.vrrp]\naddresses = [\"224.0.0.18\"]\n";
        let model = load(&format!("{BIG}{group}")).model;
        let says = |text: &str| receiver(text, &model).map(|selector| selector.words());
        assert_eq!(says("cde"), Ok("zone cde".into()));
        assert_eq!(says(" vault-1 "), Ok("named vault-1".into()));
        assert_eq!(says("vrrp"), Ok("group vrrp".into()));
        assert_eq!(says("{ app = \"payments\", env = \"prod\" }"), Ok("payments (prod)".into()));
        assert_eq!(says("app = \"payments\", env = \"prod\""), Ok("payments (prod)".into()));
        assert_eq!(says("{ except = [{ env = \"prod\" }] }"), Ok("anything but env prod".into()));
        assert_eq!(says("{ same = \"env\" }"), Ok("of the same env".into()));
    }

    #[test]
    fn what_means_nobody_says_what_it_may_have_meant() {
        let group = "[group.vrrp]\naddresses = [\"224.0.0.18\"]\n";
        let model = load(&format!("{BIG}{group}")).model;
        let of = |text: &str| receiver(text, &model).unwrap_err().to_string();
        assert!(
            of("valt-1").ends_with("is named \"valt-1\"; did you mean \"vault-1\"?"),
            "{}",
            of("valt-1")
        );
        assert!(of("10.20.0.10").contains("is an address"), "{}", of("10.20.0.10"));
        let label = of("{ env = \"prd\" }");
        assert!(label.contains("\"prd\" is not a value of label env: did you mean \"prod\"?"), "{label}");
        let key = of("{ envi = \"prod\" }");
        assert!(key.contains("envi is not a declared label: did you mean env?"), "{key}");
        for text in ["{ env = prod }", "{ env = \"prod\" }\nmore = 1", "{", "=", "{ env = \"prod\""] {
            assert!(of(text).contains("write it as in a rule"), "{text}: {}", of(text));
        }
        assert!(of("{}").contains("no keys"), "{}", of("{}"));
        let from = |text: &str| sender(text, &model).unwrap_err().to_string();
        assert!(from("vrrp").contains("nobody sends from a group"), "{}", from("vrrp"));
        assert!(
            from("{ same = \"env\" }").contains("compares the two ends"),
            "{}",
            from("{ same = \"env\" }")
        );
        let long = format!("{{ app = \"{}\" }}", "x".repeat(LONGEST));
        assert!(of(&long).contains("longer than 4096 bytes"), "{}", of(&long));
        let both = load(&BIG.replace("[workload.vault-1]", "[workload.cde]")).model;
        let twice = receiver("cde", &both).unwrap_err().to_string();
        assert!(twice.ends_with("write { zone = \"cde\" } or { name = \"cde\" }"), "{twice}");
    }
}
