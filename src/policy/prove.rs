//! `A !-> B`: that nobody of the one may open anything to anybody of the other, proved or refuted.
//!
//! What it is: a policy test that is no part of the policy, held against the compiled table for every pair and
//! every port, with what was looked at and what that rests on. What it is not: it says nothing of what crosses because
//! its zone does not enforce yet, but counts it beside the proof. Bound to the digest: another policy needs
//! another proof. Cost: that of one policy test.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::ops::ControlFlow;

use serde::Serialize;

use super::explain::{RuleRef, service_text};
use super::ground::{Ground, exists, within};
use super::like::like;
use super::model::{Expected, Model, ServiceSet, Test};
use super::proof::{Counterexample, Extent, Proof, called, prove_one};
use super::read::{Loaded, NotMeant, did_you_mean, receiver, sender, service_atoms};
use super::selector::Reading;
use super::source::Origin;
use super::table::Table;
use super::verdict::Mode;
use super::words::{self, wrap};

/// What is to be proved and can't be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotProvable {
    /// No arrow.
    #[error("\"{0}\" says nothing to prove: write A !-> B, or A !-> B on SERVICE")]
    Arrow(String),
    /// Text behind `B` that is no list of services.
    #[error("\"{0}\" is not understood: write on SERVICE, or nothing, behind A !-> B")]
    Behind(String),
    /// A comma without a service on both sides.
    #[error("\"{0}\" has a comma too many: a service stands before and behind each")]
    Comma(String),
    /// `on`, and nothing behind it.
    #[error("\"{0}\" names no service behind `on`")]
    NoService(String),
    /// An end means nobody.
    #[error(transparent)]
    End(#[from] NotMeant),
    /// A service does not exist.
    #[error("{0}")]
    Service(String),
    /// No pair of the ends crosses this gate.
    #[error(
        "nothing to prove of {statement}: no pair that crosses this gate is meant by it, so nobody may and nobody could{}",
        did_you_mean(.like.as_deref())
    )]
    Empty {
        /// The statement in words.
        statement: String,
        /// What of an end somebody carries that is most like it.
        like: Option<String>,
    },
}

impl NotProvable {
    /// What to do.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Arrow(_) | Self::Behind(_) => "name both ends, as \"workstation !-> cde on https\" does",
            Self::Comma(_) | Self::NoService(_) => {
                "write on https, or on https, tcp/8443; without `on` every service is meant"
            }
            Self::End(end) => end.remedy(),
            Self::Service(_) => "`[service]` of the policy lists the names there are",
            Self::Empty { .. } => {
                "name ends on both sides of the wire; `portcullis inventory list --policy FILE` lists who is where"
            }
        }
    }
}

/// A statement, and whether it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Proved {
    /// The statement in words.
    pub statement: String,
    /// It holds for all that was looked at, which is all there is.
    pub proved: bool,
    /// Where it does not: one connection that is allowed.
    pub counterexample: Option<Refutation>,
    /// What was looked at; with a counterexample, up to there.
    pub looked_at: Looked,
    /// Pairs of classes, of those that no rule allows, between which some of it crosses all the same now, because the
    /// mode there is not `enforce`.
    pub not_enforced_pairs: u64,
    /// What the proof rests on.
    pub assumes: &'static str,
    /// Digest of the policy that it is of, all of it.
    pub digest: String,
}

/// How much of the table a proof has looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Looked {
    /// Pairs of classes of addresses.
    pub class_pairs: u64,
    /// Different programs that answer them.
    pub programs: u64,
    /// Ranges of ports in these programs.
    pub ranges: u64,
    /// Ports and types in these ranges, and protocols without.
    pub ports: u64,
}

/// A connection that refutes a statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refutation {
    /// Who opens: `laptop (10.10.1.1)`.
    pub from: String,
    /// To whom.
    pub to: String,
    /// Its source address.
    pub src: IpAddr,
    /// Its destination address.
    pub dst: IpAddr,
    /// `tcp/443`
    pub service: String,
    /// Its source port.
    pub sport: u16,
    /// The rule that allows it, and where it stands.
    pub rule: Option<RuleRef>,
}

/// What every proof rests on.
const ASSUMES: &str = "as under enforce; every binding fresh and every account held, so that with a lapsed binding or a wrong \
     MAC less is allowed, never more; no exceptions; sources on their own side and VLAN, else they are spoofed; packets whose \
     ports can be read";

/// Proves a statement, or finds what refutes it.
///
/// # Errors
/// The statement makes no sense for this policy.
pub fn prove(policy: &Loaded, table: &Table, statement: &str) -> Result<Proved, NotProvable> {
    let model = &policy.model;
    let test = parse(statement, model)?;
    let ground = Ground::new(model, table);
    let (proof, extent) = prove_one(&ground, &test);
    let statement = said(&test);
    let counterexample = match proof {
        Proof::Empty => {
            let like = like(model, &test.from).or_else(|| like(model, &test.to));
            return Err(NotProvable::Empty { statement, like });
        }
        Proof::Holds => None,
        Proof::Fails(Counterexample { from, to, service, rule, .. }) => Some(Refutation {
            from: called(policy, table, from),
            to: called(policy, table, to),
            src: from,
            dst: to,
            service: service_text(service),
            sport: service.sport,
            rule: table.rule(rule).map(|face| RuleRef::of_face(policy, face)),
        }),
    };
    let Extent { pairs, programs, ranges, ports } = extent;
    let proved = counterexample.is_none();
    Ok(Proved {
        statement,
        proved,
        counterexample,
        looked_at: Looked { class_pairs: pairs, programs, ranges, ports },
        not_enforced_pairs: if proved { milder(&ground, &test) } else { 0 },
        assumes: ASSUMES,
        digest: table.digest().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}")),
    })
}

/// Pairs of a test between which some of its services meet a mode that does not enforce.
fn milder(ground: &Ground<'_>, test: &Test) -> u64 {
    let mut known = HashMap::new();
    let mut pairs = 0;
    let _ = ground.pairs((&test.from, &test.to), &test.to, Reading::ByAddress, |from, to| {
        let v4 = from.address.is_ipv4();
        let table = ground.table;
        let mild = *known.entry((table.alike(from.class, to.class), v4)).or_insert_with(|| {
            let pieces = table.pieces(from.class, to.class).into_iter();
            let mild = pieces.filter(|(_, (_, mode))| *mode < Mode::Enforce).map(|(region, _)| region);
            let mut here = mild.filter(|region| exists(region.protocol, v4));
            here.any(|region| within(region, &test.services).next().is_some())
        });
        pairs += u64::from(mild && ground.meet(from, to));
        ControlFlow::<()>::Continue(())
    });
    pairs
}

/// `A !-> B`, `A !-> B on https, tcp/8443`.
fn parse(text: &str, model: &Model) -> Result<Test, NotProvable> {
    let arrow = || NotProvable::Arrow(text.trim().to_owned());
    let (from, rest) = text.split_once("!->").ok_or_else(arrow)?;
    let rest = rest.trim();
    // Within a selector `on` may be part of a value.
    let (to, behind) = match rest.rfind('}') {
        Some(end) => rest.split_at_checked(end + 1).ok_or_else(arrow)?,
        None => rest.split_once(" on ").map_or((rest, ""), |(to, _)| rest.split_at(to.len())),
    };
    let bare = to.trim_end();
    if behind.trim() == "on" || bare.ends_with(" on") && !bare.contains('=') {
        return Err(NotProvable::NoService(text.trim().to_owned()));
    }
    let services = match behind.trim() {
        "" => vec!["any"],
        written => match written.split_once(char::is_whitespace) {
            Some(("on", list)) => list.split(',').map(str::trim).collect(),
            Some(_) | None => return Err(NotProvable::Behind(written.to_owned())),
        },
    };
    if from.trim().is_empty() || to.trim().is_empty() {
        return Err(arrow());
    }
    if services.contains(&"") {
        return Err(NotProvable::Comma(behind.trim().to_owned()));
    }
    let (from, to) = (sender(from, model)?, receiver(to, model)?);
    let mut set = ServiceSet { written: Vec::new(), any: false, atoms: Vec::new() };
    for service in services {
        set.written.push(service.to_owned());
        if service == "any" {
            set.any = true;
        } else {
            set.atoms.extend(service_atoms(service, &model.services).map_err(NotProvable::Service)?);
        }
    }
    if set.any {
        set.atoms.clear();
    }
    let (expect, origin) = (Expected::Deny, Origin::default());
    Ok(Test { name: String::new(), from, to, services: set, expect, origin })
}

/// `1 pair`, `2 pairs`.
fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// A statement in words.
fn said(test: &Test) -> String {
    let on = words::services(&test.services);
    format!("{} !-> {} on {on}", test.from.words(), test.to.words())
}

impl Proved {
    /// The answer in lines of at most `width` columns, where words allow it.
    #[must_use]
    pub fn text(&self, width: usize) -> String {
        let Looked { class_pairs, programs, ranges, ports } = self.looked_at;
        let mut out = String::new();
        let head = if self.proved { "PROVED" } else { "REFUTED" };
        wrap(&mut out, &format!("{head}   {}", self.statement), 0, width);
        out.push('\n');
        let mut row = |word: &str, text: &str| {
            let mut block = format!("  {word:11}");
            wrap(&mut block, text, 13, width);
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{block}");
        };
        let looked = format!(
            "{} of classes, answered by {} with {ports} ports and protocols in {}",
            count(class_pairs, "pair"),
            count(programs, "program"),
            count(ranges, "range")
        );
        if let Some(Refutation { from, to, src, dst, service, sport, rule }) = &self.counterexample {
            row("packet", &format!("{from} → {to}   {service} from port {sport}"));
            if let Some(RuleRef { id, place, owner }) = rule {
                let owner = owner.as_ref().map_or_else(String::new, |owner| format!("   {owner}"));
                row("allowed by", &format!("{id}   {place}{owner}"));
            }
            row("explain", &format!("--from {src} --to {dst} --service {service}"));
            row("looked at", &format!("{looked}, up to this one"));
        } else {
            row("looked at", &format!("{looked}: all there are"));
            if self.not_enforced_pairs > 0 {
                let words = format!(
                    "no rule allows it, but between {} of classes some of it crosses now: the mode there is not \
                     enforce",
                    count(self.not_enforced_pairs, "pair")
                );
                row("in force", &words);
            } else {
                row("in force", "enforced for every pair");
            }
        }
        row("assumes", self.assumes);
        row("table", &self.digest);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::sample::{BIG, load};
    use crate::policy::{Exceptions, compile};

    fn proved(statement: &str) -> Result<Proved, NotProvable> {
        let policy = load(BIG);
        prove(&policy, &compile(&policy.model, &Exceptions::NONE), statement)
    }

    fn holds(statement: &str) -> bool {
        proved(statement).unwrap_or_else(|why| panic!("{statement}: {why}")).proved
    }

    #[test]
    fn what_no_rule_allows_is_proved_and_a_rule_that_allows_it_is_named() {
        let text = |statement: &str| proved(statement).unwrap().text(100);
        insta::assert_snapshot!(format!(
            "\n{}\n{}\n{}",
            text("laptop !-> cde"),
            text("payments-7 !-> vault-1"),
            text("{ env = \"prod\" } !-> { zone = \"cde\" } on tcp/22, ping")
        ));
        let refuted = proved("payments-7 !-> vault-1 on https").unwrap();
        let row = serde_json::to_value(&refuted).unwrap();
        assert_eq!(row["proved"], false);
        assert_eq!(row["counterexample"]["rule"]["id"], "allow.payments-to-vault");
        assert_eq!(row["counterexample"]["src"], "10.10.0.7");
        assert_eq!(row["digest"].as_str().unwrap().len(), 64);
    }

    #[test]
    fn a_proof_is_of_the_services_that_are_named() {
        assert!(holds("payments-7 !-> vault-1 on tcp/22, tcp/80, udp/443"));
        assert!(!holds("payments-7 !-> vault-1 on tcp/22, https"));
        assert!(!holds("payments-7 !-> vault-1 on any"));
        assert!(!holds("app = \"payments\" !-> { role = \"vault\" } on tcp/1-65535"));
        assert!(holds("{ except = [{ env = \"prod\" }] } !-> cde"));
    }

    #[test]
    fn a_statement_is_refuted_by_whatever_protocol_a_rule_allows() {
        // The service, as it is asked for, and the source port that it comes from.
        for (service, asked, sport) in [
            ("tcp/9443", "tcp/9443", Some(49_152)),
            ("udp/123", "udp/123", Some(49_152)),
            ("udp/67 from 68", "udp/67", Some(68)),
            ("icmp/8", "icmp/8", None),
            ("ip/47", "ip/47", None),
        ] {
            let both = if service == "ip/47" { "both_ways = true\n" } else { "" };
            let rule = format!(
                "[allow.only]\nfrom = {{ app = \"reports\" }}\nto = {{ role = \"vault\" }}\n\
                 services = [\"{service}\"]\n{both}"
            );
            let policy = load(&format!("{BIG}{rule}"));
            let table = compile(&policy.model, &Exceptions::NONE);
            for on in [asked, "any"] {
                let found = prove(&policy, &table, &format!("reports-3 !-> vault-1 on {on}")).unwrap();
                let Some(Refutation { service: told, sport: from, rule, .. }) = found.counterexample else {
                    panic!("{service} is not told: {}", found.text(100))
                };
                assert!(
                    told == asked && sport.is_none_or(|sport| sport == from),
                    "{service}: {told} from {from}"
                );
                assert_eq!(rule.unwrap().id, "allow.only");
            }
        }
        assert!(
            holds("reports-3 !-> vault-1 on tcp/1-65535, udp/1-65535, icmp/8, ip/47"),
            "without it nothing is"
        );
    }

    #[test]
    fn a_proof_says_what_is_not_enforced_yet() {
        assert!(proved("payments-7 !-> vault-1 on tcp/22").unwrap().not_enforced_pairs > 0);
        assert_eq!(
            proved("laptop !-> vault-1 on tcp/22").unwrap().not_enforced_pairs,
            0,
            "its guardrail enforces"
        );
        assert_eq!(
            proved("reports-3 !-> cde on https").unwrap().not_enforced_pairs,
            0,
            "https is enforced"
        );
    }

    #[test]
    fn what_says_nothing_to_prove_is_refused() {
        let wrong = |statement: &str| proved(statement).unwrap_err().to_string();
        assert!(wrong("laptop -> cde").contains("write A !-> B"), "{}", wrong("laptop -> cde"));
        assert!(wrong("lapto !-> cde").contains("did you mean \"laptop\"?"), "{}", wrong("lapto !-> cde"));
        let service = wrong("laptop !-> cde on htps");
        assert!(service.contains("did you mean \"https\"?"), "{service}");
        let behind = wrong("laptop !-> { zone = \"cde\" } via https");
        assert!(behind.contains("\"via https\" is not understood"), "{behind}");
        let empty = wrong("vault-1 !-> carddb-1");
        assert!(empty.contains("no pair that crosses this gate"), "{empty}");
        let like = wrong("laptop !-> { role = \"vualt\" }");
        assert!(like.ends_with("nobody could; did you mean role = \"vault\"?"), "{like}");
        for list in ["on https,", "on ,https", "on https,, tcp/22", "on ,"] {
            for to in ["cde", "{ zone = \"cde\" }"] {
                let comma = wrong(&format!("laptop !-> {to} {list}"));
                assert!(comma.starts_with(&format!("\"{list}\" has a comma too many")), "{comma}");
            }
        }
        for none in ["laptop !-> cde on", "laptop !-> cde on ", "laptop !-> { zone = \"cde\" } on"] {
            assert!(wrong(none).ends_with("names no service behind `on`"), "{}", wrong(none));
        }
        for half in ["laptop !->", "!-> cde", "!->"] {
            assert!(wrong(half).contains("says nothing to prove"), "{}", wrong(half));
        }
    }
}
