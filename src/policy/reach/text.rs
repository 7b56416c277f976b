//! What can be reached, as people read it.

use std::collections::BTreeSet;

use super::{Accounts, Member, Reach, Way};
use crate::policy::explain::RuleRef;
use crate::policy::words::wrap;

/// Where the second column begins.
const INDENT: usize = 13;
/// Names that a list shows.
const NAMES: usize = 8;

impl Reach {
    /// The answer in lines of at most `width` columns, where words allow it.
    #[must_use]
    pub fn text(&self, width: usize) -> String {
        let mut out = String::new();
        let rules = self.allowed.iter().filter_map(|way| way.rule.as_ref()).map(|rule| &rule.id);
        let rules = rules.collect::<BTreeSet<_>>().len();
        let end = |words: Option<&str>| words.unwrap_or("anyone").to_owned();
        let by = match rules {
            0 => "no rule allows it anything".to_owned(),
            1 => "1 rule allows it something".to_owned(),
            many => format!("{many} rules allow it something"),
        };
        let head = format!("{} → {}   {by}", end(self.from.as_deref()), end(self.to.as_deref()));
        wrap(&mut out, &head, 0, width);
        out.push('\n');
        for way in &self.allowed {
            out.push('\n');
            way.show(&mut out, width);
        }
        if !self.unenforced.is_empty() {
            let words = "crosses whatever rules say, for nothing enforces them there";
            out.push('\n');
            wrap(&mut out, &format!("not enforced   {words}"), 0, width);
            out.push('\n');
            for (place, way) in self.unenforced.iter().enumerate() {
                if place > 0 {
                    out.push('\n');
                }
                way.show(&mut out, width);
            }
        }
        out.push('\n');
        if !self.lapsed.is_empty() {
            let words =
                format!("lapsed now: {}: until renewed, no allow counts for them", listed(&self.lapsed));
            wrap(&mut out, &words, 0, width);
            out.push('\n');
        }
        wrap(&mut out, &format!("assumes {} · table {}", self.assumes, self.digest), 0, width);
        out.push('\n');
        out
    }
}

impl Way {
    fn show(&self, out: &mut String, width: usize) {
        if let Some(RuleRef { id, place, owner }) = &self.rule {
            let owner = owner.as_ref().map_or_else(String::new, |owner| format!("   {owner}"));
            wrap(out, &format!("{id}   {place}{owner}"), 0, width);
            out.push('\n');
        }
        let Accounts { from, to } = &self.accounts;
        row(out, "from", &format!("{}{}", members(&self.from), held(from)), width);
        row(out, "to", &format!("{}{}", members(&self.to), held(to)), width);
        let family = if self.is_of(true) { "" } else { ", between IPv6 addresses" };
        row(out, "services", &format!("{}{family}", self.words), width);
        row(out, "mode", self.mode, width);
    }
}

fn row(out: &mut String, word: &str, text: &str, width: usize) {
    let mut block = format!("  {word:11}");
    wrap(&mut block, text, INDENT, width);
    out.push_str(&block);
    out.push('\n');
}

/// `, as payments-prod (held)`
fn held(accounts: &BTreeSet<String>) -> String {
    if accounts.is_empty() {
        return String::new();
    }
    let names: Vec<&str> = accounts.iter().map(String::as_str).collect();
    format!(", as {} (held)", listed(&names))
}

/// The first names, and how many more.
fn listed<S: AsRef<str>>(names: &[S]) -> String {
    let mut words: Vec<&str> = names.iter().take(NAMES).map(AsRef::as_ref).collect();
    let more = names.len().saturating_sub(NAMES).to_string();
    if names.len() > NAMES {
        words.push(&more);
        return format!("{} more", words.join(", "));
    }
    words.join(", ")
}

/// `payments-7, payments-8 [2], and unknown of rest-of-the-world`
fn members(all: &[Member]) -> String {
    let named = |kind: &str| -> Vec<&str> {
        all.iter().filter(|member| member.kind == kind).map(|member| member.name.as_str()).collect()
    };
    let (workloads, groups, unknown) = (named("workload"), named("group"), named("unknown"));
    let ungrouped = named("ungrouped");
    let mut words = Vec::new();
    if !workloads.is_empty() {
        words.push(format!("{} [{}]", listed(&workloads), workloads.len()));
    }
    if !groups.is_empty() {
        words.push(format!("group {}", listed(&groups)));
    }
    words.extend(ungrouped.iter().map(|words| (*words).to_owned()));
    if !unknown.is_empty() {
        words.push(format!("unknown addresses of {}", listed(&unknown)));
    }
    words.join(", and ")
}
