//! An explanation as people read it.

use super::{End, Explanation, Lease, RuleRef};
use crate::policy::words::{last_column, wrap};
use crate::wire::Reply;

/// Where the second column of the lines under the first begins.
const INDENT: usize = 13;

impl Explanation {
    /// The explanation in lines of at most `width` columns, where words allow it.
    #[must_use]
    pub fn text(&self, width: usize) -> String {
        let mut out = String::new();
        let head = format!(
            "{}, {}   {} → {}  {}   {}",
            self.verdict.to_uppercase(),
            self.outcome_words(),
            self.from.name,
            self.to.name,
            self.service,
            self.why(),
        );
        let place = self.rule.as_ref().map(|rule| rule.place.as_str());
        line(&mut out, &head, place, 2, width);
        let mut row = |word: &str, text: &str, place: Option<&str>| {
            let mut block = format!("  {word:11}");
            wrap_with(&mut block, text, place, INDENT, width);
            out.push_str(&block);
            out.push('\n');
        };
        row("from", &end(&self.from), None);
        row("to", &end(&self.to), None);
        for zone in &self.zones {
            let why = match zone.by {
                "source" => " (the sender's)",
                "mac" => " (the MAC is not written: every zone inside counts)",
                _ => "",
            };
            row("zone", &format!("{}: {}{why}", zone.name, zone.modes), None);
        }
        if let Some(unzoned) = self.unzoned {
            let why = if self.zones.is_empty() {
                ""
            } else {
                " (the MAC is not written: some inside are in none)"
            };
            row("zone", &format!("none: unzoned {unzoned}{why}"), None);
        }
        match self.guardrails_matching.as_slice() {
            [] if self.stage == "profile" => {}
            [] => row("guardrail", &format!("{} considered, none matches", self.guardrails), None),
            matching => {
                for (rule, mode) in matching {
                    row("guardrail", &format!("{} matches, {mode}", rule.id), Some(&rule.place));
                }
            }
        }
        match self.not_asked() {
            Some(words) => row("rules", words, None),
            None if self.exceptions.is_empty() => row("exception", "none", None),
            None => {
                for exception in &self.exceptions {
                    row("exception", &exception.words(), None);
                }
            }
        }
        if let Some(reply) = self.reply.filter(|_| self.outcome == "forwarded") {
            row("reply", &format!("{reply}, once its mode drops"), None);
        }
        for rule in &self.also {
            row("also", &rule.id, Some(&rule.place));
        }
        if let Some(nearest) = &self.nearest {
            if let Some(RuleRef { id, place, .. }) = &nearest.rule {
                let misses: Vec<String> =
                    nearest.misses.iter().map(|m| format!("{}; {}", m.wants, m.has)).collect();
                row("nearest", &format!("{id} wants {}", misses.join("; and wants ")), Some(place));
            }
            row("would need", &nearest.would_need, None);
        }
        for note in &self.notes {
            row("note", note, None);
        }
        let last = format!("assumes {} · {}", self.assumes, self.table());
        wrap(&mut out, &last, 0, width);
        out.push('\n');
        out
    }

    /// Why rules are not asked, where they are not.
    pub(super) fn not_asked(&self) -> Option<&'static str> {
        match self.stage {
            "rules" => None,
            "odd" => Some("not asked: what is odd comes before them"),
            "profile" => Some("not asked, nor zones: the strictest mode on the wire governs what it drops"),
            "inventory" => Some("not asked: who speaks for an address comes before them"),
            _ => Some("not asked: with its flow alive it crosses, without it is icmp_no_flow"),
        }
    }

    /// `table 9f2c41d0, generation 12, the one the gate runs`
    pub(super) fn table(&self) -> String {
        let generation = match self.generation {
            Some(generation) => format!("generation {generation}, the one the gate runs"),
            None => "as the files say now".to_owned(),
        };
        format!("table {}, {generation}", self.digest)
    }

    pub(super) fn outcome_words(&self) -> String {
        match (self.verdict, self.outcome) {
            (_, "rejected") if self.reply == Some(Reply::Reset.name()) => {
                "rejected with a TCP reset".to_owned()
            }
            (_, "rejected") => "rejected as unreachable by ICMP".to_owned(),
            ("deny", "forwarded") => format!("forwarded: {}", self.mode),
            (_, outcome) => outcome.to_owned(),
        }
    }

    pub(super) fn why(&self) -> String {
        if let Some(instead) = &self.instead {
            return instead.clone();
        }
        match (&self.rule, self.reason) {
            (Some(rule), _) => format!("by {}", rule.id),
            (None, Some("account_not_held")) => "no rule allows it: service account not held".to_owned(),
            (None, Some("gate_address")) => "an address of the gate itself ([gate] management)".to_owned(),
            (None, Some("link_local")) => "a link-local address".to_owned(),
            (None, Some("unique_local")) => "a unique local address that no network lists".to_owned(),
            (None, Some("spoofed")) => "its source does not belong to this side or VLAN".to_owned(),
            (None, Some("wrong_vlan")) => "its VLAN is not one of the destination's network".to_owned(),
            (None, Some("same_side")) => "both lie on one side: this gate is not asked".to_owned(),
            (None, Some(_) | None) => "no rule allows it".to_owned(),
        }
    }
}

/// `payments-7  10.10.0.7   cde.outside  app=payments env=prod, as payments-prod (held: …)`
fn end(end: &End) -> String {
    let side = end.side.as_deref().unwrap_or("no side: a group");
    let address = end.address.to_string();
    let mut text =
        if end.known { format!("{}  {address}  {side}", end.name) } else { format!("{address}  {side}") };
    if !end.known {
        let why = if end.side.is_some() { "no workload claims it" } else { "no [group] lists it" };
        text = format!("{text}  unknown: {why}");
    }
    if !end.labels.is_empty() {
        let labels: Vec<String> = end.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        text = format!("{text}  {}", labels.join(" "));
    }
    if let Some(account) = &end.account {
        let held = if account.held { "held" } else { "not held" };
        text = format!("{text}, as {} ({held}: {})", account.name, account.why);
    }
    match &end.binding {
        Some(Lease { valid_until, lapsed: true }) => {
            text = format!("{text}  LAPSED at {valid_until}: no allow counts for it");
        }
        Some(Lease { valid_until, lapsed: false }) => text = format!("{text}  valid until {valid_until}"),
        None => {}
    }
    text
}

fn line(out: &mut String, text: &str, place: Option<&str>, indent: usize, width: usize) {
    let mut block = String::new();
    wrap_with(&mut block, text, place, indent, width);
    out.push_str(&block);
    out.push('\n');
}

/// Text, then its place where the line has room, else on the next.
fn wrap_with(out: &mut String, text: &str, place: Option<&str>, indent: usize, width: usize) {
    wrap(out, text, indent.max(last_column(out)), width);
    if let Some(place) = place {
        if last_column(out) + 3 + place.chars().count() <= width {
            out.push_str("   ");
        } else {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent));
        }
        out.push_str(place);
    }
}
