//! Selectors and services in words, and lines that wrap.
//!
//! Invariant: different selectors give different words, so that a sentence loses nothing; the form that a
//! reader would guess wrong is not used. `payments vault (prod)` is app, role, env, each of one plain value.

use std::collections::BTreeMap;

use super::model::{Match, Reply, Selector, ServiceSet};
use super::verdict::Mode;

/// Words that mean something in a sentence: as names they are quoted.
const RESERVED: [&str; 19] = [
    "and", "any", "anything", "app", "as", "but", "env", "group", "in", "may", "named", "network",
    "nothing", "not", "or", "role", "zone", "same", "another",
];

/// A name as it is, or in quotes where it could be misread.
pub(super) fn name(name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "._:@/-".contains(c);
    let known = RESERVED.contains(&name) || name == "unknown" || name == "workload";
    if !name.is_empty() && name.chars().all(plain) && !known {
        name.to_owned()
    } else {
        format!("{name:?}")
    }
}

/// A label key, which stands before its value.
fn key(text: &str) -> String {
    if ["app", "env", "role"].contains(&text) { text.to_owned() } else { name(text) }
}

/// `a`, `a or b`.
pub(super) fn any_of<S: AsRef<str>>(names: &[S]) -> String {
    names.iter().map(|n| name(n.as_ref())).collect::<Vec<_>>().join(" or ")
}

/// The services of a rule.
pub(super) fn services(set: &ServiceSet) -> String {
    let words = set.written.iter().map(|written| {
        let from_port = written.contains(" from ");
        if written == "any" {
            "anything".to_owned()
        } else if from_port {
            written.clone()
        } else {
            name(written)
        }
    });
    words.collect::<Vec<_>>().join(" or ")
}

/// What a mode does with what no rule allows.
pub(super) const fn done(mode: Mode) -> &'static str {
    match mode {
        Mode::Observe => "observed",
        Mode::Simulate => "simulated",
        Mode::Enforce => "dropped",
    }
}

/// What goes back for what is dropped.
pub(super) const fn answered(reply: Reply) -> &'static str {
    match reply {
        Reply::Reset => "answered with a TCP reset",
        Reply::Unreachable => "answered as unreachable by ICMP",
    }
}

impl Match {
    /// The keys in words.
    pub(super) fn words(&self) -> String {
        let mut labels: BTreeMap<&str, &[String]> =
            self.labels.iter().map(|(k, v)| (k.as_str(), v.as_slice())).collect();
        let mut parts = Vec::new();
        if let Some([app]) = labels.get("app").copied() {
            labels.remove("app");
            let mut head = name(app);
            if let Some([role]) = labels.get("role").copied() {
                labels.remove("role");
                head = format!("{head} {}", name(role));
            }
            if let Some([env]) = labels.get("env").copied() {
                labels.remove("env");
                head = format!("{head} ({})", name(env));
            }
            parts.push(head);
        }
        parts.extend(labels.iter().map(|(k, values)| format!("{} {}", key(k), any_of(values))));
        parts.extend(self.not.iter().map(|(k, values)| format!("{} not {}", key(k), any_of(values))));
        let Self { labels: _, not: _, names, zones, networks, groups, accounts, unknown, same, differs } =
            self;
        for (word, list) in [("named", names), ("zone", zones), ("network", networks), ("group", groups)] {
            if !list.is_empty() {
                parts.push(format!("{word} {}", any_of(list)));
            }
        }
        if !accounts.is_empty() {
            parts.push(format!("as {} (by address)", any_of(accounts)));
        }
        if *unknown {
            parts.push("unknown".to_owned());
        }
        let all = |keys: &[String]| keys.iter().map(|k| key(k)).collect::<Vec<_>>().join(" and ");
        if !same.is_empty() {
            parts.push(format!("of the same {}", all(same)));
        }
        if !differs.is_empty() {
            parts.push(format!("not of the same {}", all(differs)));
        }
        parts.join(", ")
    }
}

/// The selectors of an `except`.
pub(super) fn excepted(list: &[Match]) -> String {
    match list {
        [one] => one.words(),
        _ => list.iter().map(|m| format!("({})", m.words())).collect::<Vec<_>>().join(" or "),
    }
}

impl Selector {
    /// The selector in words.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Any => "any workload".to_owned(),
            Self::Match(keys) => keys.words(),
            Self::Except(list) => format!("anything but {}", excepted(list)),
        }
    }
}

/// Appends `text`, broken between words so that no line passes `width` where a word allows it. The first
/// line goes on at column `indent`, where the others begin.
pub(super) fn wrap(into: &mut String, text: &str, indent: usize, width: usize) {
    let mut column = indent;
    let mut gap = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if length == 0 {
            gap += 1;
            continue;
        }
        if column > indent && column + gap + length > width {
            into.push('\n');
            (column, gap) = (0, indent);
        }
        into.extend(std::iter::repeat_n(' ', gap));
        into.push_str(word);
        column += gap + length;
        gap = 1;
    }
}

/// Columns that the last line of a text takes.
pub(super) fn last_column(text: &str) -> usize {
    text.rsplit('\n').next().map_or(0, |line| line.chars().count())
}
