//! Many questions, one a line.
//!
//! What it is: a JSON query in, a JSON answer out, by the same steps as [`super::explain`], so that both say the
//! same. What it is not: no files, no clock; a line ends where its caller says. Invariant: one answer for each
//! line, in order, an error too. Cost: two address lookups and one judgement; a name instead of an address costs
//! a search among the workloads.

use serde::Serialize;

use super::ends::{self, Decision};
use super::line::{Line, Wrong};
use super::{NotExplained, Query, moment, outcome};
use crate::policy::read::Loaded;
use crate::policy::stage::Stage;
use crate::policy::table::Table;
use crate::policy::verdict::Moment;
use crate::wire::is_extension;
use crate::wire::protocol::{ICMP, ICMPV6};

/// Bytes that a line may have.
pub const LONGEST: usize = 4_096;

/// A policy that answers lines.
#[derive(Debug)]
pub struct Batch<'a> {
    policy: &'a Loaded,
    table: &'a Table,
    /// When, where a line does not say.
    now: Moment,
    query: Query,
    lines: u64,
    wrong: u64,
    first: Option<String>,
}

/// What a line gets.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    /// `allow` or `deny`.
    verdict: &'static str,
    /// `forwarded`, `dropped` or `rejected`.
    outcome: &'static str,
    /// Which stage decides: `rules`, `odd`, `profile`, `inventory`, `flow`.
    stage: &'static str,
    reason: Option<&'static str>,
    /// `allow.payments-to-vault`
    rule: Option<&'a str>,
    /// Of the rule; `default` where rules are asked and none matches.
    tier: Option<&'static str>,
    from: String,
    to: String,
    /// The zones whose modes count.
    zones: Vec<&'a str>,
    mode: &'static str,
    /// `2027-05-31T12:00:00Z`; null: never.
    judge_at: Option<String>,
}

/// What a line gets that asks nothing.
#[derive(Debug, Serialize)]
struct Refusal<'a> {
    line: u64,
    field: Option<&'a str>,
    error: &'a str,
}

impl<'a> Batch<'a> {
    /// `now` is when lines mean that do not say.
    #[must_use]
    pub const fn new(policy: &'a Loaded, table: &'a Table, now: Moment) -> Self {
        Self { policy, table, now, query: Query::at(now), lines: 0, wrong: 0, first: None }
    }

    /// Answers the next line; its end is not part of it. One line is added to `out`.
    ///
    /// # Errors
    /// The answer can't be written as JSON.
    pub fn answer(&mut self, line: &[u8], out: &mut String) -> Result<(), serde_json::Error> {
        self.lines += 1;
        let answered = match Line::parse(line) {
            Ok(asked) => self.judge(&asked),
            Err(wrong) => Err(wrong),
        };
        match answered {
            Ok(answer) => out.push_str(&serde_json::to_string(&answer)?),
            Err(wrong) => self.refuse(&wrong, out)?,
        }
        out.push('\n');
        Ok(())
    }

    /// The next line is longer than [`LONGEST`]; it was not read to its end.
    ///
    /// # Errors
    /// As [`Self::answer`].
    pub fn too_long(&mut self, out: &mut String) -> Result<(), serde_json::Error> {
        self.lines += 1;
        self.refuse(&Wrong::all(format!("it is longer than {LONGEST} bytes")), out)?;
        out.push('\n');
        Ok(())
    }

    /// Lines so far.
    #[must_use]
    pub const fn lines(&self) -> u64 {
        self.lines
    }

    /// How many of them asked nothing, and what was said of the first.
    #[must_use]
    pub fn wrong(&self) -> Option<(u64, &str)> {
        self.first.as_deref().map(|first| (self.wrong, first))
    }

    fn refuse(&mut self, wrong: &Wrong, out: &mut String) -> Result<(), serde_json::Error> {
        let Wrong { field, what } = wrong;
        let line = self.lines;
        let error = match field {
            Some(field) => format!("line {line}: {field}: {what}"),
            None => format!("line {line}: {what}"),
        };
        out.push_str(&serde_json::to_string(&Refusal { line, field: field.as_deref(), error: &error })?);
        self.wrong += 1;
        self.first.get_or_insert(error);
        Ok(())
    }

    fn judge(&mut self, line: &Line<'_>) -> Result<Answer<'a>, Wrong> {
        let (policy, table) = (self.policy, self.table);
        let (src, dst) = (line.end("src")?, line.end("dst")?);
        let asked = line.asked()?;
        let query = &mut self.query;
        src.clone_into(&mut query.from);
        dst.clone_into(&mut query.to);
        (query.mac, query.side, query.now) = (asked.mac, asked.side, asked.at.unwrap_or(self.now));
        let ways = ends::ways(policy, table, query).map_err(|why| wrong(src, &why))?;
        let service = asked.service;
        // A pair of the family that has the protocol, where there is one.
        let has_it = |way: &&ends::Way<'_>| match service.protocol {
            ICMPV6 => !way.v4(),
            protocol => way.v4() || protocol != ICMP && !is_extension(protocol),
        };
        let way =
            ways.iter().find(has_it).or_else(|| ways.first()).ok_or_else(|| {
                Wrong::of("dst", format!("{src} and {dst} have no address of one family"))
            })?;
        match (service.protocol, way.v4()) {
            (ICMPV6, true) => {
                return Err(Wrong::of("proto", "icmpv6 has no meaning between IPv4 addresses"));
            }
            (ICMP, false) => return Err(Wrong::of("proto", "icmp has no meaning between IPv6 addresses")),
            (protocol, false) if is_extension(protocol) => {
                let what = format!("{}", NotExplained::Header(protocol.to_string()));
                return Err(Wrong::of("proto", what));
            }
            (..) => {}
        }
        let decision = way.decide(table, service, query.now);
        let (outcome, _) = outcome(table, way, service, &decision);
        let rule = table.rule(decision.rule);
        let on_the_wire = matches!(decision.stage, Stage::Profile(_));
        let zones = if on_the_wire { Vec::new() } else { way.governed(policy) };
        let (from, to) = way.names();
        Ok(Answer {
            verdict: if decision.reason.is_none() { "allow" } else { "deny" },
            outcome,
            stage: decision.stage.name(),
            reason: decision.reason,
            rule: rule.map(|rule| rule.id.as_str()),
            tier: rule.map(|rule| rule.tier.name()).or(default(&decision)),
            from,
            to,
            zones: zones.into_iter().map(|(zone, _)| zone.name.as_str()).collect(),
            mode: decision.mode.name(),
            judge_at: moment(decision.judge_at),
        })
    }
}

/// The last tier: what no rule allows.
fn default(decision: &Decision) -> Option<&'static str> {
    let asked = decision.stage == Stage::Rules;
    (asked && matches!(decision.reason, Some("no_rule" | "account_not_held"))).then_some("default")
}

/// Which end a question is wrong about.
fn wrong(src: &str, why: &NotExplained) -> Wrong {
    let end = match why {
        NotExplained::Name { name, .. } | NotExplained::NoAddress(name) => Some(name),
        NotExplained::Family { .. }
        | NotExplained::Service(_)
        | NotExplained::Header(_)
        | NotExplained::Housekeeping { .. }
        | NotExplained::ServiceFamily { .. } => None,
    };
    Wrong::of(if end.is_some_and(|name| name == src) { "src" } else { "dst" }, why.to_string())
}
