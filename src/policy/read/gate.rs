//! `[gate]` and `[profile]`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::super::code::Code;
use super::super::model::Gate;
use super::super::verdict::Action;
use super::bounds::{limits, timeouts};
use super::document::{Keys, Text, Value, not_yet};
use super::duration::duration;
use super::findings::Findings;
use super::network::twice;
use super::sections::Sections;
use crate::wire::Housekeeping;

pub(super) const GATE: Keys = Keys {
    known: &[
        "socket",
        "rings",
        "queues",
        "symmetric_rss",
        "flows",
        "heartbeat",
        "management",
        "link_local",
        "cold_start_reset",
        "inventory_limit",
        "timeouts",
        "limits",
        "approvals",
    ],
    later: &[("state", Code::LaterState)],
};

/// The words for what is done with a class of packets.
pub(super) const ACTIONS: [(&str, Action); 2] = [("forward", Action::Forward), ("drop", Action::Drop)];

pub(super) const PROFILE: Keys =
    Keys { known: &["arp", "ndp", "lldp", "stp", "lacp", "dhcp", "other"], later: &[] };

/// Flows that fit into the memory of any machine this runs on, and fewer than one worker needs.
const FLOWS: std::ops::RangeInclusive<u32> = 1_024..=16_777_216;

/// As many as the port program has room for.
const QUEUES: std::ops::RangeInclusive<u32> = 1..=64;

/// 10 ms to 60 s.
const HEARTBEAT: std::ops::RangeInclusive<u64> = 10_000_000..=60_000_000_000;

/// 1 s to 1 h: by then hosts have given up what they will.
const COLD_START: std::ops::RangeInclusive<u64> = 1_000_000_000..=3_600_000_000_000;

/// 1 min to 90 days: a list that nobody has sent for a quarter of a year is not kept.
const SILENCE: std::ops::RangeInclusive<u64> = 60_000_000_000..=7_776_000_000_000_000;

/// Reads `[gate]`; what is not written has the default of [`Gate`].
pub(super) fn gate(sections: &Sections<'_>, findings: &mut Findings) -> Gate {
    let mut gate = Gate::default();
    let mut limited = None;
    for entry in sections.of("gate") {
        let value = entry.value;
        GATE.check("[gate]", entry.name, findings);
        match entry.name.text {
            "socket" => {
                if let Some(path) = value.text(findings) {
                    if path.text.starts_with('/') && path.text.len() < 108 {
                        gate.socket = path.text.into();
                    } else {
                        let words = "`socket` must be an absolute path of less than 108 bytes";
                        let help = "write socket = \"/run/portcullis/gate.sock\"";
                        findings.say_with(Code::Value, path.origin, words, help);
                    }
                }
            }
            "rings" => {
                let Some(rings) = value.integer(64..=4096, findings) else { continue };
                if !rings.is_power_of_two() {
                    let words = "`rings` must be a power of two";
                    let help = format!("write {}", rings.next_power_of_two());
                    findings.say_with(Code::Value, value.origin, words, help);
                }
                gate.rings = rings;
            }
            "queues" => gate.queues = value.integer(QUEUES, findings).or(gate.queues),
            "symmetric_rss" => gate.symmetric_rss = value.boolean(findings).unwrap_or(gate.symmetric_rss),
            "flows" => gate.flows = value.integer(FLOWS, findings).unwrap_or(gate.flows),
            "heartbeat" => gate.heartbeat = duration(value, HEARTBEAT, findings).unwrap_or(gate.heartbeat),
            "management" => gate.management = management(value, findings),
            "link_local" => gate.link_local = value.word(&ACTIONS, findings).unwrap_or(gate.link_local),
            "cold_start_reset" => {
                gate.cold_start_reset =
                    duration(value, COLD_START, findings).unwrap_or(gate.cold_start_reset);
            }
            "inventory_limit" => {
                gate.inventory_limit = duration(value, SILENCE, findings).unwrap_or(gate.inventory_limit);
            }
            "timeouts" => gate.timeouts = timeouts(value, findings),
            "limits" => limited = Some(value),
            "approvals" => {
                let Some(word) = value.text(findings) else { continue };
                if word.text != "off" {
                    let what = format!("approvals = \"{}\"", word.text);
                    not_yet(Code::LaterApprovals, &what, word.origin, findings);
                }
            }
            _ => {}
        }
    }
    // Shares are of the table, whose size may stand below them.
    gate.limits = limits(limited, gate.flows, findings);
    gate
}

/// The gate's own addresses: those of hosts.
fn management(list: Value<'_>, findings: &mut Findings) -> Vec<IpAddr> {
    let own = |text: &Text<'_>| {
        let address: Option<IpAddr> = text.text.parse().ok();
        address.filter(|address| !address.is_multicast() && !address.is_unspecified())
    };
    let mut addresses = Vec::new();
    for text in list.texts(findings) {
        match own(&text) {
            Some(address) if addresses.contains(&address) => twice(&text, findings),
            Some(address) => addresses.push(address),
            None => {
                let message = format!("\"{}\" is not an address that the gate can have", text.text);
                let help = "write management = [\"192.0.2.10\", \"2001:db8::10\"]";
                findings.say_with(Code::Value, text.origin, message, help);
            }
        }
    }
    addresses
}

/// Reads `[profile]`: all seven keys, each written.
pub(super) fn profile(sections: &Sections<'_>, findings: &mut Findings) -> BTreeMap<Housekeeping, Action> {
    let mut profile = BTreeMap::new();
    let written: Vec<_> = sections.of("profile").collect();
    for entry in &written {
        PROFILE.check("[profile]", entry.name, findings);
        let class = Housekeeping::ALL.into_iter().find(|class| class.name() == entry.name.text);
        if let Some(class) = class {
            // A wrong word is reported; the key was written all the same.
            let action = entry.value.word(&ACTIONS, findings).unwrap_or(Action::Drop);
            profile.insert(class, action);
        }
    }
    let missing: Vec<&str> = Housekeeping::ALL
        .into_iter()
        .filter(|class| !profile.contains_key(class))
        .map(Housekeeping::name)
        .collect();
    if !missing.is_empty() {
        let origin = sections.place("profile").unwrap_or_else(|| findings.origin(0, &(0..0)));
        let message = format!("[profile] does not say {}", missing.join(", "));
        let help = "write each of the seven: \"forward\" or \"drop\"";
        findings.say_with(Code::MissingKey, origin, message, help);
    }
    profile
}
