//! `[allow.ID]`, `[deny.ID]`, `[guardrail.ID]`.

use crate::wire::protocol::TCP;
use toml::de::DeValue;

use super::super::code::Code;
use super::super::model::{Match, Reply, Rule, Selector, ServiceSet, Tier};
use super::super::source::Origin;
use super::super::stage::unasked;
use super::document::{Fields, Keys, Value};
use super::findings::Findings;
use super::names::Names;
use super::network::MODES;
use super::sections::{Entry, Sections};
use super::selector::{End, Standing, selector};
use super::service::Services;

pub(super) const GUARDRAIL: Keys = Keys {
    known: &[
        "mode",
        "reply",
        "from",
        "to",
        "services",
        "owner",
        "justification",
        "ticket",
        "review_by",
        "both_ways",
        "log",
        "mitigation",
    ],
    later: &[],
};
/// All but the mode: denies and allows have their zone's.
pub(super) const DENY: Keys = Keys { known: GUARDRAIL.known.split_at(1).1, later: GUARDRAIL.later };
/// Nor has an allow anything to answer.
pub(super) const ALLOW: Keys = Keys { known: GUARDRAIL.known.split_at(2).1, later: GUARDRAIL.later };

/// The words for replies.
pub(super) const REPLIES: [(&str, Reply); 2] =
    [("reset", Reply::Reset), ("unreachable", Reply::Unreachable)];

/// A rule and the places in it that checks over the whole policy point at.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) rule: Rule,
    pub(super) from: Origin,
    pub(super) to: Origin,
    pub(super) services: Origin,
}

/// Reads all rules: guardrails, denies, allows, each tier sorted by id.
pub(super) fn rules(
    sections: &Sections<'_>,
    names: &Names<'_>,
    services: &Services<'_>,
    findings: &mut Findings,
) -> Vec<Placed> {
    let mut rules = Vec::new();
    for tier in [Tier::Guardrail, Tier::Deny, Tier::Allow] {
        for entry in sections.of(tier.name()) {
            rules.extend(rule(tier, entry, names, services, findings));
        }
    }
    rules
}

fn rule(
    tier: Tier,
    entry: Entry<'_>,
    names: &Names<'_>,
    services: &Services<'_>,
    findings: &mut Findings,
) -> Option<Placed> {
    let id = format!("{}.{}", tier.name(), entry.name.text);
    let keys = match tier {
        Tier::Guardrail => GUARDRAIL,
        Tier::Deny => DENY,
        Tier::Exception | Tier::Allow => ALLOW,
    };
    let fields = Fields::open(id.as_str(), entry.value, keys, findings)?;
    let standing = |end| if tier == Tier::Allow { Standing::Allow(end) } else { Standing::Deny(end) };
    let from_value = fields.need("from", "from = { LABEL = \"VALUE\" }", findings);
    let from = from_value.and_then(|value| selector(value, standing(End::From), names, findings));
    let to_value = fields.need("to", "to = { LABEL = \"VALUE\" }", findings);
    let to = to_value.and_then(|value| selector(value, standing(End::To), names, findings));
    let to_group = to.as_ref().is_some_and(|to| !to.groups().is_empty());
    if to_group {
        unanswered(&id, &fields, findings);
    }
    let services_value = fields.need("services", "services = [\"NAME\"]", findings);
    if let Some(value) = services_value {
        not_asked(&id, value, services, findings);
    }
    let services = services_value.map(|value| services.set(value, findings));
    let mode = guardrail_mode(tier, &fields, findings);
    let reply = reply(tier, &id, &fields, services.as_ref(), findings);
    let both_ways = !to_group && both_ways(tier, &id, &fields, services.as_ref(), findings);
    let log = fields.get("log").and_then(|value| value.boolean(findings)).unwrap_or_default();
    let mut words = |key: &str| {
        let text = fields.get(key)?.text(findings)?;
        Some(text.text.to_owned())
    };
    let (justification, ticket) = (words("justification"), words("ticket"));
    let mitigation = words("mitigation");
    let owner = fields.get("owner").and_then(|value| value.text(findings));
    let owner = owner.map(|owner| names.owner(owner, findings));
    let review_by = fields.get("review_by").and_then(|value| review_by(value, findings));
    if fields.get("owner").is_none() {
        let message = format!("{id} has no owner");
        findings.say_with(Code::NoOwner, fields.origin, message, "write owner = \"NAME\"");
    }
    if fields.get("justification").is_none() {
        let message = format!("{id} has no justification");
        findings.say_with(Code::NoJustification, fields.origin, message, "write why it exists");
    }
    if tier == Tier::Allow {
        required_labels(&id, from_value, from.as_ref(), "from", names, findings);
        required_labels(&id, to_value, to.as_ref(), "to", names, findings);
    }
    Some(Placed {
        from: from_value?.origin,
        to: to_value?.origin,
        services: services_value?.origin,
        rule: Rule {
            tier,
            id: entry.name.text.to_owned(),
            from: from?,
            to: to?,
            services: services?,
            mode,
            reply,
            both_ways,
            log,
            justification,
            owner,
            ticket,
            review_by,
            mitigation,
            origin: entry.value.origin,
        },
    })
}

/// Warns of services that the packet path never asks rules about.
pub(super) fn not_asked(id: &str, list: Value<'_>, services: &Services<'_>, findings: &mut Findings) {
    for item in list.items(findings) {
        let DeValue::String(written) = item.raw else { continue };
        let mut said = Vec::new();
        for why in services.one(written).into_iter().filter_map(unasked) {
            if !said.contains(&why.what) {
                let message =
                    format!("{id}: {written} names {}, which rules are not asked about", why.what);
                findings.say_with(Code::NotAsked, item.origin, message, why.help);
                said.push(why.what);
            }
        }
    }
}

fn guardrail_mode(
    tier: Tier,
    fields: &Fields<'_>,
    findings: &mut Findings,
) -> Option<super::super::verdict::Mode> {
    if tier != Tier::Guardrail {
        return None;
    }
    let remedy = "mode = \"observe\", \"simulate\" or \"enforce\": it can bite before its zone does";
    fields.need("mode", remedy, findings)?.word(&MODES, findings)
}

/// Neither comes anything back from a group, nor does anything go back for what was sent to one.
fn unanswered(id: &str, fields: &Fields<'_>, findings: &mut Findings) {
    for key in ["both_ways", "reply"] {
        if let Some(value) = fields.get(key) {
            let message = format!("{id} is to a group, and `{key}` is for what is answered");
            findings.say_with(Code::GroupAnswers, value.origin, message, Code::GroupAnswers.remedy());
        }
    }
}

/// Only TCP can be reset: where other packets match too, they would be dropped in silence unsaid.
fn reply(
    tier: Tier,
    id: &str,
    fields: &Fields<'_>,
    services: Option<&ServiceSet>,
    findings: &mut Findings,
) -> Option<Reply> {
    let value = fields.get("reply").filter(|_| tier != Tier::Allow)?;
    let reply = value.word(&REPLIES, findings)?;
    let other = |set: &ServiceSet| set.any || set.atoms.iter().any(|atom| atom.protocol != TCP);
    if reply == Reply::Reset && services.is_some_and(other) {
        let message = format!("{id} answers with a TCP reset, and its services are not TCP alone");
        findings.say_with(Code::ResetOfOther, value.origin, message, Code::ResetOfOther.remedy());
    }
    Some(reply)
}

/// A protocol without ports has no client, so an allow of it says that both may begin. SCTP has ports, in flows and
/// not in rules: an allow of it may say so.
fn both_ways(
    tier: Tier,
    id: &str,
    fields: &Fields<'_>,
    services: Option<&ServiceSet>,
    findings: &mut Findings,
) -> bool {
    let value = fields.get("both_ways");
    let written = value.and_then(|value| value.boolean(findings));
    let Some(services) = services else { return written.unwrap_or_default() };
    let portless = services.atoms.iter().find(|atom| atom.is_portless());
    let mixed = !services.any && services.atoms.iter().any(|atom| !atom.is_whole());
    match (written, portless) {
        (Some(true), _) if tier != Tier::Allow => {
            let origin = value.map_or(fields.origin, |value| value.origin);
            let message = format!("{id}: `both_ways` belongs to allows");
            let help = "remove it; write a second rule for the other direction";
            findings.say_with(Code::BothWaysUnused, origin, message, help);
        }
        (Some(true), _) if mixed => {
            let origin = value.map_or(fields.origin, |value| value.origin);
            let message = format!("{id}: `both_ways` is for protocols without ports");
            let help = "replies need no rule, and connections of the other direction need their own: remove it, \
                        or give the protocols without ports a rule by themselves";
            findings.say_with(Code::BothWaysUnused, origin, message, help);
        }
        (None | Some(false), Some(atom)) if tier == Tier::Allow => {
            let origin = fields.get("services").map_or(fields.origin, |value| value.origin);
            let message = format!("{id} allows ip/{}, which has no client", atom.protocol);
            let help = if mixed {
                "give it a rule of its own, with both_ways = true"
            } else {
                "write both_ways = true"
            };
            findings.say_with(Code::BothWays, origin, message, help);
        }
        (None | Some(_), None | Some(_)) => {}
    }
    written.unwrap_or_default()
}

/// A TOML local date; ends at 24:00 UTC.
fn review_by(value: Value<'_>, findings: &mut Findings) -> Option<String> {
    let help = "write a date without quotes and without a time: review_by = 2027-05-31";
    let message = match value.raw {
        DeValue::Datetime(date) if date.time.is_none() && date.offset.is_none() => {
            return Some(date.to_string());
        }
        DeValue::Datetime(_) => "`review_by` is a date, and this has a time of day",
        DeValue::String(_) => "`review_by` is a date, and this is a string",
        DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Array(_)
        | DeValue::Table(_) => "`review_by` must be a date",
    };
    findings.say_with(Code::ReviewDate, value.origin, message, help);
    None
}

fn required_labels(
    id: &str,
    value: Option<Value<'_>>,
    selector: Option<&Selector>,
    end: &str,
    names: &Names<'_>,
    findings: &mut Findings,
) {
    let (Some(value), Some(selector)) = (value, selector) else { return };
    if !selector.groups().is_empty() {
        return;
    }
    let none = Match::default();
    let matched = match selector {
        Selector::Match(matched) => matched,
        Selector::Any | Selector::Except(_) => &none,
    };
    if *matched == (Match { unknown: true, ..Match::default() }) {
        return;
    }
    for (key, _) in names.labels.iter().filter(|(_, label)| label.required) {
        let named = matched.labels.contains_key(key) || matched.not.contains_key(key);
        if !named && !matched.same.contains(key) {
            let message = format!("{id}: `{end}` does not name {key}, so it means any {key}");
            let help = format!("{key} is required: write {key} = \"VALUE\", or a list of them");
            findings.say_with(Code::RequiredLabel, value.origin, message, help);
        }
    }
}
