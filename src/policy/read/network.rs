//! `[wire.W]` and `[network.N]`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::super::code::Code;
use super::super::diagnostic::Diagnostic;
use super::super::model::{Network, Wire};
use super::super::prefix::{NotAPrefix, Prefix};
use super::super::source::Origin;
use super::super::verdict::Mode;
use super::document::{Fields, Keys, Text, Value, not_yet};
use super::findings::Findings;
use super::label;
use super::names::Names;
use super::sections::{Entry, Sections};
use crate::wire::{Mac, Side, Vlans};

pub(super) const WIRE: Keys = Keys { known: &["outside", "inside", "fail", "unzoned"], later: &[] };
pub(super) const NETWORK: Keys = Keys { known: &["at", "prefixes", "vlans", "via", "labels"], later: &[] };

/// The words for modes.
pub(super) const MODES: [(&str, Mode); 3] =
    [("observe", Mode::Observe), ("simulate", Mode::Simulate), ("enforce", Mode::Enforce)];

/// Reads the wire.
pub(super) fn wire(sections: &Sections<'_>, findings: &mut Findings) -> Option<Wire> {
    let mut wires = sections.as_written("wire").into_iter();
    let Some(first) = wires.next() else {
        let words = if sections.is_empty() { "the policy is empty" } else { "the policy has no wire" };
        let origin = findings.origin(0, &(0..0));
        let help = "declare [wire.NAME] with outside, inside, fail and unzoned";
        findings.say_with(Code::Empty, origin, words, help);
        return None;
    };
    for other in wires {
        let message = format!("a second wire, {}, is not available yet in this version", other.name.text);
        let report = Diagnostic::new(Code::LaterWires, Some(other.value.origin), message)
            .related(first.value.origin, "the first one")
            .help(Code::LaterWires.remedy());
        findings.push(report);
    }
    let fields = Fields::open(format!("wire {}", first.name.text), first.value, WIRE, findings)?;
    let outside = port(&fields, "outside", findings);
    let inside = port(&fields, "inside", findings);
    fail(&fields, findings);
    let unzoned = fields.need("unzoned", "unzoned = \"observe\", \"simulate\" or \"enforce\"", findings);
    let unzoned = unzoned.and_then(|mode| mode.word(&MODES, findings));
    let (outside, inside) = (outside?, inside?);
    if outside.text == inside.text {
        let message = format!("both ports of wire {} are {}", first.name.text, inside.text);
        findings.say_with(Code::SamePort, inside.origin, message, "name two interfaces");
    }
    Some(Wire {
        name: first.name.text.to_owned(),
        ports: [outside.text.to_owned(), inside.text.to_owned()],
        unzoned: unzoned?,
        origin: first.value.origin,
    })
}

fn port<'a>(fields: &Fields<'a>, side: &str, findings: &mut Findings) -> Option<Text<'a>> {
    let remedy = format!("{side} = \"INTERFACE\"");
    let text = fields.need(side, &remedy, findings)?.text(findings)?;
    // The kernel's own rule (dev_valid_name): 1 to 15 bytes, no slash, colon or white space.
    let bad = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    if text.text.len() > 15 || matches!(text.text, "." | "..") || text.text.contains(bad) {
        let message = format!("{:?} can't be the name of an interface", text.text);
        let help = "names have 1 to 15 bytes without `/`, `:` and spaces";
        findings.say_with(Code::Value, text.origin, message, help);
    }
    Some(text)
}

fn fail(fields: &Fields<'_>, findings: &mut Findings) {
    let Some(value) = fields.need("fail", "fail = \"closed\"", findings) else { return };
    if value.word(&[("closed", false), ("open", true)], findings) == Some(true) {
        not_yet(Code::LaterFailOpen, "fail = \"open\"", value.origin, findings);
    }
}

/// Reads all networks, sorted by name.
pub(super) fn networks(
    sections: &Sections<'_>,
    names: &Names<'_>,
    findings: &mut Findings,
) -> Vec<Network> {
    let mut seen = BTreeMap::new();
    let wires = sections.names("wire");
    let mut networks = Vec::new();
    let mut whole = !wires.is_empty();
    for entry in sections.as_written("network") {
        let before = findings.len();
        let network = network(entry, &wires, names, &mut seen, findings);
        whole &= findings.len() == before;
        networks.extend(network);
    }
    networks.sort_by(|one, two| one.name.cmp(&two.name));
    // A network with an error would show as a gap: one error must not make two.
    if whole {
        covered(sections, &networks, findings);
    }
    networks
}

fn network(
    entry: Entry<'_>,
    wires: &[&str],
    names: &Names<'_>,
    seen: &mut BTreeMap<Prefix, (Origin, String)>,
    findings: &mut Findings,
) -> Option<Network> {
    let name = entry.name.text;
    let fields = Fields::open(format!("network {name}"), entry.value, NETWORK, findings)?;
    let first = wires.first().copied().unwrap_or("WIRE");
    let at = fields.need("at", &format!("at = \"{first}.inside\" or \"{first}.outside\""), findings);
    let side = at.and_then(|at| side(at, wires, findings));
    let mut prefixes = Vec::new();
    if let Some(list) = fields.need("prefixes", "prefixes = [\"10.20.0.0/24\"]", findings) {
        for text in some(list, findings) {
            let Some(found) = prefix(text, findings) else { continue };
            if let Some((first, other)) = seen.get(&found) {
                let message = format!("{found} stands in network {name} and in network {other}");
                let report = Diagnostic::new(Code::NetworkTwice, Some(text.origin), message)
                    .related(*first, "first written here")
                    .help("leave it to one of them: the most specific network gives the side");
                findings.push(report);
                continue;
            }
            seen.insert(found, (text.origin, name.to_owned()));
            prefixes.push(found);
        }
    }
    let vlans = match fields.get("vlans") {
        None => vec![Vlans::UNTAGGED],
        Some(list) => some(list, findings).into_iter().filter_map(|text| vlan(text, findings)).collect(),
    };
    let via = fields.get("via").map(|via| macs(via, findings)).unwrap_or_default();
    let labels = label::labels(fields.get("labels"), names, findings);
    let origin = entry.value.origin;
    Some(Network { name: name.to_owned(), side: side?, prefixes, vlans, via, labels, origin })
}

/// A list of strings with at least one.
pub(super) fn some<'a>(list: Value<'a>, findings: &mut Findings) -> Vec<Text<'a>> {
    let before = findings.len();
    let texts = list.texts(findings);
    if texts.is_empty() && findings.len() == before {
        list.empty_list(findings);
    }
    texts
}

fn side(at: Value<'_>, wires: &[&str], findings: &mut Findings) -> Option<Side> {
    let text = at.text(findings)?;
    let found = Side::BOTH.into_iter().find_map(|side| {
        let wire = text.text.strip_suffix(side.name())?.strip_suffix('.')?;
        wires.contains(&wire).then_some(side)
    });
    if found.is_none() {
        let all: Vec<String> = wires
            .iter()
            .flat_map(|wire| Side::BOTH.into_iter().map(move |side| format!("{wire}.{side}")))
            .collect();
        let message = format!("\"{}\" is no side of a wire", text.text);
        let mut report = Diagnostic::new(Code::At, Some(text.origin), message);
        if let Some(near) = findings.nearest(text.text, all.iter().map(String::as_str)) {
            report = report.label(format!("did you mean \"{near}\"?"));
        }
        if !all.is_empty() {
            report = report.help(format!("the sides are: {}", all.join(", ")));
        }
        findings.push(report);
    }
    found
}

/// A prefix or an address.
pub(super) fn prefix(text: Text<'_>, findings: &mut Findings) -> Option<Prefix> {
    match text.text.parse::<Prefix>() {
        Ok(prefix) => {
            if let Some(v4) = mapped(prefix) {
                let message = format!("{} is an IPv4 address in IPv6 clothes", text.text);
                let help = format!("write {v4}");
                findings.say_with(Code::Prefix, text.origin, message, help);
                return None;
            }
            Some(prefix)
        }
        Err(NotAPrefix::HostBits(network)) => {
            let message = format!("{} has bits set beyond its length", text.text);
            let address = text.text.split('/').next().unwrap_or_default();
            let report = Diagnostic::new(Code::HostBits, Some(text.origin), message)
                .label(format!("the network is {network}"))
                .help(format!("write \"{network}\", or \"{address}\" for the address alone"));
            findings.push(report);
            None
        }
        Err(reason @ (NotAPrefix::Address | NotAPrefix::Length)) => {
            let message = format!("\"{}\" is not a prefix: {reason}", text.text);
            findings.say_with(Code::Prefix, text.origin, message, Code::Prefix.remedy());
            None
        }
    }
}

/// The IPv4 prefix that one of IPv6 stands for (RFC 4291, 2.5.5.2).
pub(in crate::policy) fn mapped(prefix: Prefix) -> Option<Prefix> {
    match prefix.address {
        IpAddr::V6(v6) if prefix.length >= 96 => {
            v6.to_ipv4_mapped().map(|v4| Prefix::containing(v4.into(), prefix.length - 96))
        }
        IpAddr::V6(_) | IpAddr::V4(_) => None,
    }
}

/// A value that its list has already: harmless, unless another was meant.
pub(super) fn twice(text: &Text<'_>, findings: &mut Findings) {
    let message = format!("\"{}\" stands twice in this list", text.text);
    findings.say_with(Code::ListedTwice, text.origin, message, Code::ListedTwice.remedy());
}

/// A list of MACs of single interfaces.
pub(super) fn macs(list: Value<'_>, findings: &mut Findings) -> Vec<Mac> {
    let mut macs = Vec::new();
    for text in list.texts(findings) {
        match interface(text.text) {
            Ok(mac) if macs.contains(&mac) => twice(&text, findings),
            Ok(mac) => macs.push(mac),
            Err(reason) => {
                let message = format!("\"{}\" is not the MAC of an interface: {reason}", text.text);
                findings.say_with(Code::Mac, text.origin, message, Code::Mac.remedy());
            }
        }
    }
    macs
}

/// The MAC of a single interface, or why it is none.
pub(in crate::policy) fn interface(text: &str) -> Result<Mac, String> {
    match text.parse::<Mac>() {
        Ok(Mac([first, ..])) if first & 1 == 1 => Err("a group address has no one owner".to_owned()),
        Ok(mac) if mac == Mac::default() => Err("no interface has it".to_owned()),
        Ok(mac) => Ok(mac),
        Err(reason) => Err(reason.to_string()),
    }
}

/// `untagged`, `100` or `100.20`.
fn vlan(text: Text<'_>, findings: &mut Findings) -> Option<Vlans> {
    let id = |digits: &str| {
        let plain = !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
        digits.parse::<u16>().ok().filter(|id| plain && (1..=4094).contains(id))
    };
    let found = match text.text.split_once('.') {
        _ if text.text == "untagged" => Some(Vlans::UNTAGGED),
        None => id(text.text).map(|outer| Vlans { outer, inner: Vlans::NONE }),
        Some((outer, inner)) => id(outer).zip(id(inner)).map(|(outer, inner)| Vlans { outer, inner }),
    };
    if found.is_none() {
        let message = format!("\"{}\" is not a VLAN", text.text);
        findings.say_with(Code::Vlan, text.origin, message, Code::Vlan.remedy());
    }
    found
}

/// Reports the first address of each family that no network covers.
fn covered(sections: &Sections<'_>, networks: &[Network], findings: &mut Findings) {
    let Some(wire) = sections.of("wire").next() else { return };
    let prefixes = || networks.iter().flat_map(|network| network.prefixes.iter());
    for v4 in [true, false] {
        let mut ranges: Vec<(u128, u128)> =
            prefixes().filter(|prefix| prefix.address.is_ipv4() == v4).map(range).collect();
        ranges.sort_unstable();
        let last = if v4 { u128::from(u32::MAX) } else { u128::MAX };
        let Some((from, to)) = first_gap(&ranges, last) else { continue };
        let name = wire.name.text;
        let (from, to) = (address(from, v4), address(to, v4));
        let message = format!("no network of wire {name} covers {from} to {to}");
        let all = if v4 { "0.0.0.0/0" } else { "::/0" };
        let help =
            format!("every address has a side: add \"{all}\" to the network of the rest of the world");
        findings.say_with(Code::Uncovered, wire.value.origin, message, help);
    }
}

fn range(prefix: &Prefix) -> (u128, u128) {
    match prefix.address {
        IpAddr::V4(v4) => {
            let first = u32::from(v4);
            let hosts = u32::MAX.checked_shr(u32::from(prefix.length)).unwrap_or(0);
            (first.into(), (first | hosts).into())
        }
        IpAddr::V6(v6) => {
            let first = u128::from(v6);
            (first, first | u128::MAX.checked_shr(u32::from(prefix.length)).unwrap_or(0))
        }
    }
}

/// The first range up to `last` that none of the sorted ranges covers.
fn first_gap(ranges: &[(u128, u128)], last: u128) -> Option<(u128, u128)> {
    let mut next = 0;
    for (from, to) in ranges {
        if *from > next {
            return Some((next, from - 1));
        }
        if *to >= last {
            return None;
        }
        next = next.max(to + 1);
    }
    Some((next, last))
}

fn address(bits: u128, v4: bool) -> IpAddr {
    match u32::try_from(bits) {
        Ok(bits) if v4 => IpAddr::V4(bits.into()),
        Ok(_) | Err(_) => IpAddr::V6(bits.into()),
    }
}
