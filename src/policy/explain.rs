//! Why a verdict is what it is.
//!
//! What it is: one question asked of [`Table::judge`], with everything that led to the answer, for people
//! ([`Explanation::text`]) and as JSON (`Serialize`). What it is not: it decides nothing itself; verdict and
//! mode are the table's own, and where rules are not asked, those of the stage that decides. Cost: one pass over the rules, and one judgement for each port of the service
//! and each pair of addresses that the names stand for.

mod batch;
mod ends;
mod excepted;
mod line;
mod nearest;
mod ports;
#[cfg(test)]
mod tests;
mod text;
mod tree;
mod trial;

use std::net::IpAddr;

use serde::Serialize;

use super::model::{Labels, Reply, Rule, Tier};
use super::read::{Loaded, did_you_mean_name};
use super::stage::{Stage, may_answer, oddity};
use super::table::{RuleFace, Table};
use super::verdict::{Action, Denial, Mode, Moment, RuleNumber};
use crate::wire::{Housekeeping, Mac, Service, Side, Vlans};
pub use batch::{Batch, LONGEST};
use ends::{Decision, Way};
pub use excepted::{ExceptionRef, Standing};
pub use nearest::Nearest;
pub(in crate::policy) use ports::text as service_text;
pub use trial::{Disagreement, trial};

/// What `explain` is asked.
#[derive(Clone, Debug)]
pub struct Query {
    /// A workload's name, or an address.
    pub from: String,
    /// A workload's name, or an address.
    pub to: String,
    /// A service's name, or `tcp/443`.
    pub service: String,
    /// Source MAC of the opening frame; none: taken as true.
    pub mac: Option<Mac>,
    /// Tags of the opening frame; none: what the networks list.
    pub vlans: Option<Vlans>,
    /// Where the frame arrives; none: where the source belongs.
    pub side: Option<Side>,
    /// Generation of the table, if a gate runs it.
    pub generation: Option<u32>,
    /// When.
    pub now: Moment,
}

impl Query {
    /// Nobody yet, at a moment, with nothing told of the frame.
    #[must_use]
    pub const fn at(now: Moment) -> Self {
        Self {
            from: String::new(),
            to: String::new(),
            service: String::new(),
            mac: None,
            vlans: None,
            side: None,
            generation: None,
            now,
        }
    }
}

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotExplained {
    /// Neither a workload nor an address.
    #[error("no workload is named \"{name}\", and it is no address{}", did_you_mean_name(.like.as_deref()))]
    Name {
        /// What was written.
        name: String,
        /// A workload with a name like it.
        like: Option<String>,
    },
    /// No address of the workload is its own: narrower claims cover them all.
    #[error("no address of {0} is its own: narrower claims of other workloads cover them all")]
    NoAddress(String),
    /// The ends have no family in common.
    #[error("{from} and {to} have no address of one family: one is IPv4 only, the other IPv6 only")]
    Family {
        /// One end.
        from: String,
        /// The other.
        to: String,
    },
    /// No service.
    #[error("{0}; write a service's name, tcp/443, udp/53, icmp/8 or ip/50")]
    Service(String),
    /// An extension header.
    #[error(
        "{0} is a header between IPv6 and its protocol: no packet is judged as that; ask for the protocol behind it"
    )]
    Header(String),
    /// Housekeeping without IP addresses.
    #[error("{name} is housekeeping, which no rule is asked about: [profile] says {says}")]
    Housekeeping {
        /// Its name.
        name: &'static str,
        /// `arp = "forward"`
        says: String,
    },
    /// ICMP for the other family only.
    #[error("{service} has no meaning between {family} addresses")]
    ServiceFamily {
        /// The service as written.
        service: String,
        /// `IPv4` or `IPv6`.
        family: &'static str,
    },
}

impl NotExplained {
    /// What to do.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Name { .. } | Self::NoAddress(_) => {
                "`portcullis rules` and the inventory list what there is"
            }
            Self::Family { .. } => {
                "ask about two ends of one family: addresses can be written as well as names"
            }
            Self::Service(_) => "`[service]` of the policy lists the names there are",
            Self::Header(_) => "name that protocol: tcp/443, udp/53, icmpv6/128, ip/50",
            Self::Housekeeping { .. } => "[profile] of the policy is where to change it",
            Self::ServiceFamily { .. } => {
                "ask for icmp between IPv4 addresses, for icmpv6 between those of IPv6"
            }
        }
    }
}

/// A question and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// `allow` or `deny`: what the policy says.
    pub verdict: &'static str,
    /// `forwarded`, `dropped` or `rejected`, which is dropped and answered: what happens to the packet.
    pub outcome: &'static str,
    /// Which stage decides: `rules`; before them `odd`, `profile` and, of what that forwards, `inventory`; a
    /// live `flow`.
    pub stage: &'static str,
    /// What decides where rules are not asked, in words.
    pub instead: Option<String>,
    /// The mode that governs.
    pub mode: &'static str,
    /// Name of the denial: `no_rule`.
    pub reason: Option<&'static str>,
    /// The rule that decided.
    pub rule: Option<RuleRef>,
    /// What goes back where its mode drops, for such a packet: `reset`, `unreachable`.
    pub reply: Option<&'static str>,
    /// Other rules that match, in order of precedence.
    pub also: Vec<RuleRef>,
    /// The earliest moment at which the answer could change: `2027-05-31T12:00:00Z`; none: never.
    pub judge_at: Option<String>,
    /// Who opens.
    pub from: End,
    /// To whom.
    pub to: End,
    /// The service as written.
    pub asked: String,
    /// The one port of it that is explained: `tcp/443`.
    pub service: String,
    /// The zones whose modes count.
    pub zones: Vec<ZoneRef>,
    /// The mode of what touches no zone, where it counts: there is none, or the sender may be somebody of none.
    pub unzoned: Option<&'static str>,
    /// Number of guardrails.
    pub guardrails: usize,
    /// Those that match, each with its mode.
    pub guardrails_matching: Vec<(RuleRef, &'static str)>,
    /// Exceptions for both ends and the service, and how each stands.
    pub exceptions: Vec<ExceptionRef>,
    /// Where no rule allows it: the allow that comes nearest.
    pub nearest: Option<Nearest>,
    /// What was chosen where the question left a choice, and whether it matters.
    pub notes: Vec<String>,
    /// Side, tags and MAC that the answer rests on.
    pub assumes: String,
    /// Digest of the table.
    pub digest: String,
    /// Its generation, if a gate runs it.
    pub generation: Option<u32>,
}

/// A rule by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleRef {
    /// `allow.payments-to-vault`, `exception EXC-0042`.
    pub id: String,
    /// `rules/payments.toml:1`; of an exception, `in force until 2027-05-31T12:00:00Z`.
    pub place: String,
    /// Who answers for it.
    pub owner: Option<String>,
}

/// A zone that governs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ZoneRef {
    /// Its name.
    pub name: String,
    /// Its modes: `simulate, https enforce`.
    pub modes: String,
    /// Why it counts: `destination`, `source`, `mac`.
    pub by: &'static str,
}

/// One end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct End {
    /// The workload's name, or the address where no workload claims it.
    pub name: String,
    /// A workload claims it.
    pub known: bool,
    /// Its address.
    pub address: IpAddr,
    /// Its side: `cde.outside`; none for a group.
    pub side: Option<String>,
    /// Its narrowest network.
    pub network: Option<String>,
    /// Its labels, inherited ones included.
    pub labels: Labels,
    /// The account it declares.
    pub account: Option<Account>,
    /// How long its binding is valid; none: for ever.
    pub binding: Option<Lease>,
    /// Its zones.
    pub zones: Vec<String>,
}

/// A binding that lapses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lease {
    /// `2027-05-31T12:00:00Z`
    pub valid_until: String,
    /// It has lapsed: no allow counts for it any more.
    pub lapsed: bool,
}

/// An account that an end declares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Whether it is held.
    pub held: bool,
    /// Why, or why not.
    pub why: String,
}

/// Explains one new connection.
///
/// # Errors
/// The question names something that does not exist.
pub fn explain(policy: &Loaded, table: &Table, query: &Query) -> Result<Explanation, NotExplained> {
    housekeeping(policy, table, query)?;
    let mut ways = ends::ways(policy, table, query)?;
    // Pairs of a family that can't have the service are not what is meant, where there are others.
    let [six, four] = [false, true].map(|v4| ports::atoms(policy, query, v4).is_ok());
    let has_it = |way: &Way<'_>| if way.v4() { four } else { six };
    if ways.iter().any(has_it) {
        ways.retain(has_it);
    }
    let family = || NotExplained::Family { from: query.from.clone(), to: query.to.clone() };
    let (way, others) = ways.split_first().ok_or_else(family)?;
    let atoms = ports::atoms(policy, query, way.v4())?;
    let service = atoms.first().map(|atom| ports::probe(*atom, atom.to.0)).ok_or_else(family)?;
    let decision = way.decide(table, service, query.now);
    let mut notes = way.stands_for();
    if !others.is_empty() {
        // A pair of the other family is asked about its own part of the service, if it has one.
        let same = |way: &&Way<'_>| match ports::atoms(policy, query, way.v4()).ok().as_deref() {
            Some([atom, ..]) => {
                let service = ports::probe(*atom, atom.to.0);
                way.decide(table, service, query.now).answer() == decision.answer()
            }
            Some([]) | None => true,
        };
        let differ: Vec<String> = others.iter().filter(|way| !same(way)).map(Way::pair).collect();
        let shown = format!("{} is one of {} pairs of addresses", way.pair(), ways.len());
        notes.push(match differ.as_slice() {
            [] => format!("{shown}: the others get the same answer"),
            differ => format!("{shown}: another answer for {}", differ.join(", ")),
        });
    }
    notes.extend(ports::note(table, way, query, &atoms, decision));
    notes.extend(ports::dhcp(table, way, query, &atoms, decision.stage));
    let guardrails = || policy.model.rules.iter().filter(|r| r.tier == Tier::Guardrail);
    let named = |number: &RuleNumber| table.rule(*number).map(|face| RuleRef::of_face(policy, face));
    let (from, to) = way.ends(policy);
    // The profile knows no zones.
    let on_the_wire = matches!(decision.stage, Stage::Profile(_));
    let zones = if on_the_wire { Vec::new() } else { way.zones(policy) };
    let denied =
        decision.stage == Stage::Rules && matches!(decision.reason, Some("no_rule" | "account_not_held"));
    let (outcome, reply) = outcome(table, way, service, &decision);
    Ok(Explanation {
        verdict: if decision.reason.is_none() { "allow" } else { "deny" },
        outcome,
        stage: decision.stage.name(),
        instead: instead(table, decision.stage),
        mode: decision.mode.name(),
        reason: decision.reason,
        rule: named(&decision.rule),
        reply: reply.map(Reply::name),
        also: decision.also.iter().filter_map(named).collect(),
        judge_at: moment(decision.judge_at),
        unzoned: (!on_the_wire && (zones.is_empty() || way.loose))
            .then(|| policy.model.wire.unzoned.name()),
        guardrails: guardrails().count(),
        guardrails_matching: guardrails()
            .filter(|rule| !on_the_wire && way.matches(rule) && rule.services.contains(service))
            .map(|rule| (RuleRef::of_rule(policy, rule), rule.mode.unwrap_or(Mode::Enforce).name()))
            .collect(),
        exceptions: if decision.stage == Stage::Rules {
            excepted::find(table, way, service, query.now)
        } else {
            Vec::new()
        },
        nearest: denied.then(|| nearest::find(policy, way, service, query)),
        assumes: way.assumes(policy, assumed(decision.stage, service)),
        digest: table.digest_short(),
        generation: query.generation,
        asked: query.service.clone(),
        service: ports::text(service),
        zones,
        from,
        to,
        notes,
    })
}

/// What becomes of a packet, and what its rule wants to go back for it where its mode drops.
fn outcome(
    table: &Table,
    way: &Way<'_>,
    service: Service,
    decision: &Decision,
) -> (&'static str, Option<Reply>) {
    let reply = table.rule(decision.rule).and_then(|face| face.reply);
    let reply = reply.filter(|reply| may_answer(*reply, way.from, way.to, service));
    let outcome = match reply {
        _ if decision.crosses() => "forwarded",
        Some(_) => "rejected",
        None => "dropped",
    };
    (outcome, reply)
}

/// An instant, if it ever comes.
fn moment(moment: Moment) -> Option<String> {
    (moment != Moment::NEVER).then(|| moment.to_string())
}

/// A question about a frame without IP addresses, by its name in the profile.
fn housekeeping(policy: &Loaded, table: &Table, query: &Query) -> Result<(), NotExplained> {
    let class = Housekeeping::ALL.into_iter().find(|class| class.name() == query.service);
    match class.filter(|class| !policy.model.services.contains_key(class.name())) {
        Some(class) => Err(NotExplained::Housekeeping { name: class.name(), says: says(table, class) }),
        None => Ok(()),
    }
}

/// `ndp = "forward"`
fn says(table: &Table, class: Housekeeping) -> String {
    let action = match table.profile(class) {
        Action::Forward => "forward",
        Action::Drop => "drop",
    };
    format!("{} = {action:?}", class.name())
}

/// What decides where rules are not asked.
fn instead(table: &Table, stage: Stage) -> Option<String> {
    match stage {
        Stage::Odd(odd) => Some(format!("odd: {}", oddity(odd).1)),
        Stage::Profile(class) => Some(format!("[profile] decides: {}", says(table, class))),
        Stage::Inventory(why) => Some(format!("the inventory decides: {}", why.words())),
        Stage::Quoted => Some("an ICMP error crosses only with the live flow it quotes".to_owned()),
        Stage::Requested => Some("a reply belongs to its request's flow".to_owned()),
        Stage::Rules => None,
    }
}

/// What the answer takes the packet for.
const fn assumed(stage: Stage, service: Service) -> &'static str {
    match stage {
        Stage::Rules => "a new connection",
        Stage::Quoted => "an error that quotes no live flow",
        Stage::Requested => "a reply to no live request",
        Stage::Odd(_) => "a packet",
        Stage::Inventory(_) => "housekeeping that speaks for its own source",
        Stage::Profile(Housekeeping::Ndp) if matches!(service.dport.to_be_bytes(), [133..=136, _]) => {
            "a whole packet with hop limit 255"
        }
        Stage::Profile(Housekeeping::Ndp) => "a whole packet with hop limit 1",
        Stage::Profile(Housekeeping::Dhcp) => "a whole packet in DHCP's form",
        Stage::Profile(_) => "a whole packet",
    }
}

/// The name of a denial, as counters and events have it.
pub(in crate::policy) const fn reason(denial: Denial) -> &'static str {
    match denial {
        Denial::GateAddress => "gate_address",
        Denial::LinkLocal => "link_local",
        Denial::UniqueLocal => "unique_local",
        Denial::Spoofed => "spoofed",
        Denial::WrongVlan => "wrong_vlan",
        Denial::SameSide => "same_side",
        Denial::Guardrail => "guardrail",
        Denial::Rule => "denied",
        Denial::AccountNotHeld => "account_not_held",
        Denial::NoRule => "no_rule",
    }
}

impl RuleRef {
    pub(super) fn of_face(policy: &Loaded, face: &RuleFace) -> Self {
        Self { id: face.id.clone(), place: face.place(&policy.sources), owner: face.owner.clone() }
    }

    fn of_rule(policy: &Loaded, rule: &Rule) -> Self {
        Self { id: rule.full_id(), place: policy.sources.place(rule.origin), owner: rule.owner.clone() }
    }
}
