//! `timeouts` and `limits` of `[gate]`.

use std::ops::RangeInclusive;

use toml::de::DeValue;

use super::super::code::Code;
use super::super::model::{Limits, Timeouts, share};
use super::document::{Fields, Keys, Value};
use super::duration::duration;
use super::findings::Findings;

pub(super) const TIMEOUTS: Keys = Keys {
    known: &[
        "tcp_opening",
        "tcp_established",
        "tcp_half_closed",
        "tcp_closing",
        "tcp_closed",
        "udp_one_way",
        "udp",
        "icmp",
        "other",
        "fragment",
    ],
    later: &[],
};

pub(super) const LIMITS: Keys = Keys {
    known: &[
        "half_open",
        "new_flows_per_source",
        "new_flows_burst",
        "flows_per_source",
        "flows_from_outside",
        "datagrams",
        "datagrams_per_source",
        "held_fragments",
        "held_fragments_per_source",
        "replies",
        "replies_per_source",
    ],
    later: &[],
};

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const DAY: u64 = 1_440 * MINUTE;

/// What a counter of half-open connections can hold.
const HALF_OPEN: RangeInclusive<u32> = 1..=16_777_215;
/// More than one worker can open.
const RATE: RangeInclusive<u32> = 1..=10_000_000;
/// 128 MiB of datagrams.
const DATAGRAMS: RangeInclusive<u32> = 16..=1_048_576;
/// What all queues of a wire have frames for.
const HELD: RangeInclusive<u32> = 1..=65_536;

/// Reads `timeouts`; what is not written has its default.
pub(super) fn timeouts(value: Value<'_>, findings: &mut Findings) -> Timeouts {
    let mut timeouts = Timeouts::default();
    let Some(fields) = Fields::open("`timeouts`", value, TIMEOUTS, findings) else { return timeouts };
    let mut read = |key, most, field: &mut u64| {
        let Some(value) = fields.get(key) else { return };
        *field = duration(value, SECOND..=most, findings).unwrap_or(*field);
    };
    // What is not complete is kept briefly, or a flood lives on it; a fragment not longer than a receiver
    // waits for the others (RFC 1122 §3.3.2, RFC 8200 §4.5).
    read("tcp_opening", 10 * MINUTE, &mut timeouts.tcp_opening);
    read("tcp_established", 7 * DAY, &mut timeouts.tcp_established);
    read("tcp_half_closed", 7 * DAY, &mut timeouts.tcp_half_closed);
    read("tcp_closing", 10 * MINUTE, &mut timeouts.tcp_closing);
    read("tcp_closed", 10 * MINUTE, &mut timeouts.tcp_closed);
    read("udp_one_way", 60 * MINUTE, &mut timeouts.udp_one_way);
    read("udp", 7 * DAY, &mut timeouts.udp);
    read("icmp", 10 * MINUTE, &mut timeouts.icmp);
    read("other", 7 * DAY, &mut timeouts.other);
    read("fragment", MINUTE, &mut timeouts.fragment);
    timeouts
}

/// Reads `limits`, in a table of so many flows.
pub(super) fn limits(value: Option<Value<'_>>, flows: u32, findings: &mut Findings) -> Limits {
    let mut limits = Limits::of(flows);
    let fields = value.and_then(|value| Fields::open("`limits`", value, LIMITS, findings));
    let Some(fields) = fields else { return limits };
    let mut read = |key, takes: Takes, field: &mut u32| {
        let Some(value) = fields.get(key) else { return };
        let read = match takes {
            Takes::Number(range) => value.integer(range, findings),
            Takes::Rate(most) => rate(value, most, findings),
            Takes::Share => part(value, flows, findings),
        };
        *field = read.unwrap_or(*field);
    };
    read("half_open", Takes::Number(HALF_OPEN), &mut limits.half_open);
    read("new_flows_per_source", Takes::Rate(*RATE.end()), &mut limits.new_flows_per_source);
    read("new_flows_burst", Takes::Number(RATE), &mut limits.new_flows_burst);
    read("flows_per_source", Takes::Share, &mut limits.flows_per_source);
    read("flows_from_outside", Takes::Share, &mut limits.flows_from_outside);
    read("datagrams", Takes::Number(DATAGRAMS), &mut limits.datagrams);
    read("held_fragments", Takes::Number(HELD), &mut limits.held_fragments);
    read("replies", Takes::Rate(*RATE.end()), &mut limits.replies);
    // One source has not more than all.
    limits.datagrams_per_source = limits.datagrams_per_source.min(limits.datagrams);
    limits.replies_per_source = limits.replies_per_source.min(limits.replies);
    limits.held_fragments_per_source = limits.held_fragments_per_source.min(limits.held_fragments);
    let (datagrams, held) = (1..=limits.datagrams, 1..=limits.held_fragments);
    read("replies_per_source", Takes::Rate(limits.replies), &mut limits.replies_per_source);
    read("datagrams_per_source", Takes::Number(datagrams), &mut limits.datagrams_per_source);
    read("held_fragments_per_source", Takes::Number(held), &mut limits.held_fragments_per_source);
    limits
}

/// How a limit is written.
enum Takes {
    Number(RangeInclusive<u32>),
    /// So many a second, at most.
    Rate(u32),
    /// A number of flows, or a share of the table.
    Share,
}

/// `"200/s"`
fn rate(value: Value<'_>, most: u32, findings: &mut Findings) -> Option<u32> {
    let text = value.text(findings)?;
    let found =
        text.text.strip_suffix("/s").and_then(number).filter(|rate| (*RATE.start()..=most).contains(rate));
    if found.is_none() {
        let (key, least) = (value.key, RATE.start());
        let words = format!("`{key}` must be {least} to {most} a second");
        findings.say_with(
            Code::Value,
            text.origin,
            words,
            format!("write {key} = \"{}/s\"", most.min(200)),
        );
    }
    found
}

/// `20000` or `"75%"`
fn part(value: Value<'_>, flows: u32, findings: &mut Findings) -> Option<u32> {
    let DeValue::String(text) = value.raw else { return value.integer(1..=flows, findings) };
    let percent = text.strip_suffix('%').and_then(number).filter(|percent| (1..=100).contains(percent));
    if percent.is_none() {
        let key = value.key;
        let words = format!("`{key}` must be 1% to 100% of the table, or a number of flows");
        findings.say_with(Code::Value, value.origin, words, format!("write {key} = \"75%\""));
    }
    percent.map(|percent| share(flows, percent))
}

fn number(digits: &str) -> Option<u32> {
    digits.parse().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()))
}
