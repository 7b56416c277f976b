//! `[workload.NAME]`: who claims which address.

use std::collections::BTreeMap;

use toml::de::DeValue;

use super::super::code::Code;
use super::super::diagnostic::Diagnostic;
use super::super::model::{Gate, Workload};
use super::super::prefix::Prefix;
use super::super::stage::{odd_source, oddity};
use super::super::verdict::Action;
use super::document::{Fields, Keys, Text, Value};
use super::findings::Findings;
use super::instant::instant;
use super::label;
use super::names::Names;
use super::network::{macs, prefix, some};
use super::sections::{Entry, Sections};
use super::wanted::Wanted;
use crate::wire::Odd;

pub(super) const KEYS: Keys =
    Keys { known: &["addresses", "labels", "service_account", "macs", "owner", "valid_until"], later: &[] };

/// A claim as it was first written.
#[derive(Clone, Copy, Debug)]
struct Claim<'a> {
    at: Text<'a>,
    workload: &'a str,
    account: Option<&'a str>,
}

/// Reads all workloads, sorted by name, and learns the accounts.
pub(super) fn workloads<'a>(
    sections: &Sections<'a>,
    gate: &Gate,
    names: &mut Names<'a>,
    findings: &mut Findings,
) -> Vec<Workload> {
    let mut claims = BTreeMap::new();
    let mut workloads = Vec::new();
    for entry in sections.as_written("workload") {
        workloads.extend(workload(entry, gate, names, &mut claims, findings));
    }
    workloads.sort_by(|one, two| one.name.cmp(&two.name));
    workloads
}

fn workload<'a>(
    entry: Entry<'a>,
    gate: &Gate,
    names: &mut Names<'a>,
    claims: &mut BTreeMap<Prefix, Claim<'a>>,
    findings: &mut Findings,
) -> Option<Workload> {
    let name = entry.name.text;
    let fields = Fields::open(format!("workload {name}"), entry.value, KEYS, findings)?;
    let account = fields.get("service_account").and_then(|value| account(value, findings));
    names.accounts.extend(account.map(|account| account.text));
    let addresses = match fields.need("addresses", "addresses = [\"10.20.0.10\"]", findings) {
        None => Vec::new(),
        Some(list) => {
            let texts = some(list, findings);
            let claimed = texts.into_iter().filter_map(|text| {
                let prefix = claimed(text, gate, findings)?;
                let claim = Claim { at: text, workload: name, account: account.map(|a| a.text) };
                stake(prefix, claim, claims, findings).then_some(prefix)
            });
            claimed.collect()
        }
    };
    if let Some(account) = account
        && let Some(wide) = addresses.iter().find(|address| !address.is_host())
    {
        let message = format!("{name} claims {wide}, which can't hold service account {}", account.text);
        let help = "an account is held by single addresses: no allow that names it will match here";
        findings.say_with(Code::AccountOnPrefix, account.origin, message, help);
    }
    let labels = label::labels(fields.get("labels"), names, findings);
    let macs = fields.get("macs").map(|list| macs(list, findings)).unwrap_or_default();
    let owner = fields.get("owner").and_then(|value| value.text(findings));
    let owner = owner.map(|owner| names.owner(owner, findings));
    let valid_until = fields.get("valid_until").and_then(|value| instant(value, findings));
    let service_account = account.map(|account| account.text.to_owned());
    let origin = entry.value.origin;
    let name = name.to_owned();
    let heard = None;
    Some(Workload { name, addresses, labels, service_account, macs, owner, valid_until, heard, origin })
}

/// At most one account: a list is a question that the gate can't answer.
fn account<'a>(value: Value<'a>, findings: &mut Findings) -> Option<Text<'a>> {
    let DeValue::Array(items) = value.raw else {
        let account = value.text(findings)?;
        if !is_one_account(account.text) {
            let message = format!("\"{}\" is not the name of one service account", account.text);
            findings.say_with(Code::TwoAccounts, account.origin, message, Code::TwoAccounts.remedy());
        }
        return Some(account);
    };
    let accounts = value.texts(findings);
    if items.len() > 1 {
        let message = format!("{} service accounts on one workload", items.len());
        findings.say_with(Code::TwoAccounts, value.origin, message, Code::TwoAccounts.remedy());
    } else {
        value.not(Wanted::Text, findings);
    }
    accounts.first().copied()
}

/// Whether a text names one account, not several.
pub(in crate::policy) fn is_one_account(text: &str) -> bool {
    !text.contains(|c: char| c.is_whitespace() || matches!(c, ',' | ';'))
}

/// Why no host has an address or prefix, if none can.
pub(in crate::policy) fn no_host(prefix: Prefix) -> Option<&'static str> {
    let group =
        prefix.address.is_multicast() || prefix.to_string() == std::net::Ipv4Addr::BROADCAST.to_string();
    if group {
        return Some("is a multicast or broadcast address, which no host has");
    }
    let nowhere = prefix.is_host() && (prefix.address.is_unspecified() || prefix.address.is_loopback());
    nowhere.then_some("never crosses a wire")
}

/// An address or prefix that hosts can have.
fn claimed(text: Text<'_>, gate: &Gate, findings: &mut Findings) -> Option<Prefix> {
    let prefix = prefix(text, findings)?;
    let Some(why) = no_host(prefix) else {
        let asked = |odd: &Odd| *odd == Odd::LinkLocal && gate.link_local == Action::Forward;
        if let Some(odd) = odd_source(prefix).filter(|odd| !asked(odd)) {
            let message =
                format!("{prefix}: packets to and from it are odd ({}), whatever rules say", oddity(odd).1);
            findings.say_with(Code::OddAddress, text.origin, message, Code::OddAddress.remedy());
        }
        if prefix.is_host() && gate.management.contains(&prefix.address) {
            let message = format!(
                "{prefix} is the gate's own: packets to and from it are dropped, whatever rules say"
            );
            findings.say_with(Code::GateClaimed, text.origin, message, Code::GateClaimed.remedy());
        }
        return Some(prefix);
    };
    findings.say_with(Code::Prefix, text.origin, format!("{prefix} {why}"), "claim addresses of hosts");
    None
}

/// Enters a claim, if it is the first of its kind.
fn stake<'a>(
    prefix: Prefix,
    claim: Claim<'a>,
    claims: &mut BTreeMap<Prefix, Claim<'a>>,
    findings: &mut Findings,
) -> bool {
    let Some(first) = claims.get(&prefix) else {
        claims.insert(prefix, claim);
        return true;
    };
    let report = match (first.account, claim.account) {
        (Some(one), Some(two)) if one != two => {
            let message = format!("{prefix} has two service accounts, {one} and {two}");
            Diagnostic::new(Code::TwoAccounts, Some(claim.at.origin), message)
                .help(Code::TwoAccounts.remedy())
        }
        _ => {
            let message = if first.workload == claim.workload {
                format!("{} claims {prefix} twice", claim.workload)
            } else {
                format!("{prefix} is claimed by {} and by {}", first.workload, claim.workload)
            };
            Diagnostic::new(Code::ClaimTwice, Some(claim.at.origin), message)
                .help("leave it to one workload; of different claims the most specific one wins")
        }
    };
    findings.push(report.related(first.at.origin, "first claimed here"));
    false
}
