//! `[service]` and `services = [ … ]`.

use crate::wire::protocol::{ICMP, ICMPV6, SCTP, TCP, UDP};
use std::collections::BTreeMap;

use super::super::code::Code;
use super::super::diagnostic::Diagnostic;
use super::super::model::{Atom, NamedService, ServiceSet};
use super::super::source::Origin;
use super::did_you_mean_name;
use super::document::{Text, Value};
use super::findings::Findings;
use super::network::some;
use super::sections::Sections;

/// Every IP protocol.
pub(super) const ANY: &str = "any";

const FULL: (u16, u16) = (0, u16::MAX);

/// What stands before the slash. The narrower name of two that are as like comes first.
const PROTOCOLS: [&str; 5] = ["tcp", "udp", "icmpv6", "icmp", "ip"];

/// ICMP types by name (RFC 792, RFC 950, RFC 1256).
const ICMP_TYPES: [(&str, u8); 10] = [
    ("echo-reply", 0),
    ("destination-unreachable", 3),
    ("redirect", 5),
    ("echo-request", 8),
    ("router-advertisement", 9),
    ("router-solicitation", 10),
    ("time-exceeded", 11),
    ("parameter-problem", 12),
    ("timestamp-request", 13),
    ("timestamp-reply", 14),
];
/// `ICMPv6` types by name (RFC 4443, RFC 4861).
const ICMPV6_TYPES: [(&str, u8); 11] = [
    ("destination-unreachable", 1),
    ("packet-too-big", 2),
    ("time-exceeded", 3),
    ("parameter-problem", 4),
    ("echo-request", 128),
    ("echo-reply", 129),
    ("router-solicitation", 133),
    ("router-advertisement", 134),
    ("neighbor-solicitation", 135),
    ("neighbor-advertisement", 136),
    ("redirect", 137),
];

impl Atom {
    /// A protocol with neither ports nor types: its flows have no client.
    #[must_use]
    pub const fn is_portless(self) -> bool {
        self.is_whole() && self.protocol != SCTP
    }

    /// A protocol that rules name by its number alone: one may hold in both directions.
    pub(super) const fn is_whole(self) -> bool {
        !matches!(self.protocol, ICMP | TCP | UDP | ICMPV6)
    }
}

/// One item of a list of services.
#[derive(Clone, Debug)]
enum Item<'a> {
    Atom(Atom),
    Name(Text<'a>),
    /// Reported already.
    Wrong,
}

/// The declared services with references between them followed.
#[derive(Debug, Default)]
pub(super) struct Services<'a> {
    items: BTreeMap<&'a str, Vec<Item<'a>>>,
    resolved: BTreeMap<&'a str, Vec<Atom>>,
}

impl<'a> Services<'a> {
    /// Reads `[service]`.
    pub(super) fn read(
        sections: &Sections<'a>,
        findings: &mut Findings,
    ) -> (Self, BTreeMap<String, NamedService>) {
        let mut services = Self::default();
        for entry in sections.of("service") {
            if entry.name.text == ANY {
                let words = "`any` can't be the name of a service: it means every IP protocol";
                findings.say_with(Code::ReservedAny, entry.name.origin, words, "rename the service");
            }
            let texts = some(entry.value, findings);
            let items = texts.into_iter().map(|text| {
                if text.text != ANY {
                    return item(text, findings);
                }
                let words = "`any` can't be part of a named service";
                let help = "write services = [\"any\"] in the rule itself";
                findings.say_with(Code::ReservedAny, text.origin, words, help);
                Item::Wrong
            });
            let items = items.collect();
            services.items.insert(entry.name.text, items);
        }
        let names: Vec<&str> = services.items.keys().copied().collect();
        for name in names {
            services.resolve(name, findings);
        }
        let named = sections.of("service").map(|entry| {
            let atoms = services.resolved.get(entry.name.text).cloned().unwrap_or_default();
            (entry.name.text.to_owned(), NamedService { atoms, origin: entry.name.origin })
        });
        let named = named.collect();
        (services, named)
    }

    /// Follows the references of one service, without recursion: a chain may be as long as a file.
    fn resolve(&mut self, name: &'a str, findings: &mut Findings) {
        let mut path: Vec<(&'a str, usize)> = vec![(name, 0)];
        while let Some((name, next)) = path.last_mut() {
            let name = *name;
            let items = self.items.get(name).map(Vec::as_slice).unwrap_or_default();
            if self.resolved.contains_key(name) {
                path.pop();
                continue;
            }
            let Some(item) = items.get(*next) else {
                let atoms = self.atoms_of(items);
                self.resolved.insert(name, atoms);
                path.pop();
                continue;
            };
            *next += 1;
            let Item::Name(reference) = item.clone() else { continue };
            if let Some(start) = path.iter().position(|(on_path, _)| *on_path == reference.text) {
                let around: Vec<&str> = path.iter().skip(start).map(|(name, _)| *name).collect();
                let message =
                    format!("services go in a circle: {} → {}", around.join(" → "), reference.text);
                findings.say_with(
                    Code::ServiceCycle,
                    reference.origin,
                    message,
                    Code::ServiceCycle.remedy(),
                );
            } else if self.items.contains_key(reference.text) {
                path.push((reference.text, 0));
            } else {
                self.unknown(reference, findings);
            }
        }
    }

    fn atoms_of(&self, items: &[Item<'a>]) -> Vec<Atom> {
        let mut atoms = Vec::new();
        for item in items {
            match item {
                Item::Atom(atom) => atoms.push(*atom),
                Item::Name(name) => {
                    atoms.extend(self.resolved.get(name.text).into_iter().flatten().copied());
                }
                Item::Wrong => {}
            }
        }
        atoms.sort_unstable();
        atoms.dedup();
        atoms
    }

    fn unknown(&self, name: Text<'_>, findings: &mut Findings) {
        let message = format!("service {} is not declared", name.text);
        let mut report = Diagnostic::new(Code::UnknownService, Some(name.origin), message);
        match findings.nearest(name.text, self.items.keys().copied()) {
            Some(near) => report = report.label(format!("did you mean \"{near}\"?")),
            None => report = report.help(Code::UnknownService.remedy()),
        }
        findings.push(report);
    }

    /// Reads `services = [ … ]` of a rule.
    pub(super) fn set(&self, list: Value<'_>, findings: &mut Findings) -> ServiceSet {
        let before = findings.len();
        let texts = list.texts(findings);
        if texts.is_empty() && findings.len() == before {
            let help = "name a service, or write [\"any\"]";
            findings.say_with(Code::NoServices, list.origin, "`services` is an empty list", help);
        }
        self.meaning(&texts, findings)
    }

    /// What one item means, reported elsewhere where it means nothing.
    pub(super) fn one(&self, text: &str) -> Vec<Atom> {
        match item(Text { text, origin: Origin::default() }, &mut Findings::new()) {
            Item::Atom(atom) => vec![atom],
            Item::Name(name) => self.resolved.get(name.text).cloned().unwrap_or_default(),
            Item::Wrong => Vec::new(),
        }
    }

    /// What some items mean together.
    pub(super) fn meaning(&self, texts: &[Text<'_>], findings: &mut Findings) -> ServiceSet {
        let written = texts.iter().map(|text| text.text.to_owned()).collect();
        let mut set = ServiceSet { written, any: false, atoms: Vec::new() };
        for text in texts {
            if text.text == ANY {
                set.any = true;
                continue;
            }
            match item(*text, findings) {
                Item::Atom(atom) => set.atoms.push(atom),
                Item::Name(name) => match self.resolved.get(name.text) {
                    Some(atoms) => set.atoms.extend(atoms),
                    None => self.unknown(name, findings),
                },
                Item::Wrong => {}
            }
        }
        set.atoms.sort_unstable();
        set.atoms.dedup();
        set
    }
}

/// What one service means, written by itself: a declared name, or `tcp/443`.
///
/// # Errors
/// What is wrong with it, in words.
pub fn service_atoms(text: &str, declared: &BTreeMap<String, NamedService>) -> Result<Vec<Atom>, String> {
    let mut findings = Findings::new();
    if text == ANY {
        return Err("`any` is every service at once: ask for one".to_owned());
    }
    match item(Text { text, origin: Origin::default() }, &mut findings) {
        Item::Atom(atom) => return Ok(vec![atom]),
        Item::Name(name) => {
            if let Some(service) = declared.get(name.text) {
                return Ok(service.atoms.clone());
            }
            let like = findings.nearest(name.text, declared.keys().map(String::as_str));
            return Err(format!("service {} is not declared{}", name.text, did_you_mean_name(like)));
        }
        Item::Wrong => {}
    }
    let found = findings.into_sorted().into_iter().next();
    Err(found.map_or_else(|| format!("\"{text}\" is not a service"), |finding| finding.message))
}

/// A name has no slash, everything else has one.
fn item<'a>(text: Text<'a>, findings: &mut Findings) -> Item<'a> {
    if spaced(text.text) {
        let message = format!("\"{}\" is not a service: it has white space in it", text.text);
        let help = without_spaces(text.text).map_or(Code::Service.remedy().to_owned(), |right| {
            format!("write \"{right}\": only `from` has spaces around it, one on each side")
        });
        findings.say_with(Code::Service, text.origin, message, help);
        return Item::Wrong;
    }
    let Some((protocol, rest)) = text.text.split_once('/') else {
        return Item::Name(text);
    };
    let atom = match protocol {
        "tcp" => ports(TCP, rest, text, findings),
        "udp" => ports(UDP, rest, text, findings),
        "icmp" => icmp(ICMP, rest, &ICMP_TYPES, text, findings),
        "icmpv6" => icmp(ICMPV6, rest, &ICMPV6_TYPES, text, findings),
        "ip" => match decimal::<u8>(rest) {
            Some(protocol) => Some(Atom { protocol, to: FULL, from: FULL }),
            None => bad_number(text, "a protocol number is 0 to 255", "write its number: ip/50", findings),
        },
        _ => wrong(text, findings),
    };
    atom.map_or(Item::Wrong, Item::Atom)
}

/// White space other than one space on each side of `from`.
fn spaced(text: &str) -> bool {
    let white = |part: &str| part.contains(char::is_whitespace);
    match text.split_once(" from ") {
        Some((to, from)) if to.contains('/') => white(to) || white(from),
        Some(_) | None => white(text),
    }
}

/// The same without white space, if it is a service then.
fn without_spaces(text: &str) -> Option<String> {
    let mut right: String = text.split_whitespace().collect();
    if let Some((to, from)) = right.split_once("from").filter(|(to, _)| to.contains('/')) {
        right = format!("{to} from {from}");
    }
    let mut scratch = Findings::new();
    let atom = right.contains('/') && !spaced(&right);
    let read = atom.then(|| item(Text { text: &right, origin: Origin::default() }, &mut scratch));
    matches!(read, Some(Item::Atom(_))).then_some(right)
}

fn wrong(text: Text<'_>, findings: &mut Findings) -> Option<Atom> {
    let message = format!("\"{}\" is not a service", text.text);
    let mut report =
        Diagnostic::new(Code::Service, Some(text.origin), message).help(Code::Service.remedy());
    if let Some((protocol, rest)) = text.text.split_once('/')
        && let Some(near) = findings.nearest(protocol, PROTOCOLS)
    {
        report = report.label(format!("did you mean \"{near}/{rest}\"?"));
    }
    findings.push(report);
    None
}

fn bad_number(text: Text<'_>, rule: &str, help: &str, findings: &mut Findings) -> Option<Atom> {
    let message = format!("\"{}\": {rule}", text.text);
    findings.say_with(Code::Ports, text.origin, message, help);
    None
}

/// `443`, `9000-9010`, `67 from 68`.
fn ports(protocol: u8, rest: &str, text: Text<'_>, findings: &mut Findings) -> Option<Atom> {
    let (to, from) = match rest.split_once(" from ") {
        Some((to, from)) => (to, Some(from)),
        None => (rest, None),
    };
    let to = range(protocol, to, text, findings)?;
    let from = match from {
        Some(from) => range(protocol, from, text, findings)?,
        None => FULL,
    };
    Some(Atom { protocol, to, from })
}

fn range(protocol: u8, ports: &str, text: Text<'_>, findings: &mut Findings) -> Option<(u16, u16)> {
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let port = |digits: &str| decimal::<u16>(digits).filter(|port| *port > 0);
    match (port(first), port(last)) {
        (Some(first), Some(last)) if first <= last => return Some((first, last)),
        (Some(first), Some(last)) => {
            let message = format!("\"{}\": the range runs backwards", text.text);
            let help = format!("write {last}-{first}");
            findings.say_with(Code::Ports, text.origin, message, help);
        }
        (_, None) | (None, _) => {
            let name = if protocol == UDP { "udp" } else { "tcp" };
            let help = if text.text.contains(" from ") {
                format!("write {name}/67 from 68, or {name}/67 from 1024-65535")
            } else {
                format!("write {name}/443 or {name}/9000-9010; every port is {name}/1-65535")
            };
            bad_number(text, "ports are 1 to 65535, a range is 9000-9010", &help, findings);
        }
    }
    None
}

/// `8`, `echo-request`, `3.4`.
fn icmp(
    protocol: u8,
    rest: &str,
    types: &[(&str, u8)],
    text: Text<'_>,
    findings: &mut Findings,
) -> Option<Atom> {
    if let Some((_, kind)) = types.iter().find(|(name, _)| *name == rest) {
        return Some(Atom { protocol, to: (word(*kind, 0), word(*kind, 255)), from: FULL });
    }
    if rest.starts_with(|first: char| first.is_ascii_alphabetic()) {
        let message = format!("\"{}\" names no ICMP type", text.text);
        let mut report = Diagnostic::new(Code::Service, Some(text.origin), message)
            .help("write the number: icmp/8, icmp/3.4");
        if let Some(near) = findings.nearest(rest, types.iter().map(|(name, _)| *name)) {
            report = report.label(format!("did you mean {near}?"));
        }
        findings.push(report);
        return None;
    }
    let (kind, code) = match rest.split_once('.') {
        Some((kind, code)) => (decimal(kind), decimal(code).map(|code| (code, code))),
        None => (decimal(rest), Some((0, 255))),
    };
    if let Some((kind, (first, last))) = kind.zip(code) {
        Some(Atom { protocol, to: (word(kind, first), word(kind, last)), from: FULL })
    } else {
        let help = "write a type, or a type and a code: icmp/8, icmp/3.4";
        bad_number(text, "ICMP types and codes are 0 to 255", help, findings)
    }
}

const fn word(kind: u8, code: u8) -> u16 {
    u16::from_be_bytes([kind, code])
}

/// Digits only: `FromStr` of numbers also takes a sign.
fn decimal<T: std::str::FromStr>(digits: &str) -> Option<T> {
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Atom>, String> {
        service_atoms(text, &BTreeMap::new())
    }

    #[test]
    fn near_misses_of_a_service_are_refused_with_the_right_one() {
        let cases = [
            ("tcp/ 443", Some("tcp/443")),
            ("tcp /443", Some("tcp/443")),
            (" tcp/443", Some("tcp/443")),
            ("tcp/443 ", Some("tcp/443")),
            ("tcp/443\n", Some("tcp/443")),
            ("tcp/\u{a0}443", Some("tcp/443")),
            ("tcp/9000 - 9010", Some("tcp/9000-9010")),
            ("udp/67  from 68", Some("udp/67 from 68")),
            ("udp/67 from  68", Some("udp/67 from 68")),
            ("udp/67\tfrom\t68", Some("udp/67 from 68")),
            ("udp/67from 68", Some("udp/67 from 68")),
            ("udp/67 from 68 from 69", None),
            ("icmp/ 8", Some("icmp/8")),
            ("icmp/3 .4", Some("icmp/3.4")),
            ("ip/ 50", Some("ip/50")),
            ("tcp/ 99999", None),
            ("tcp 443", None),
            (" https", None),
        ];
        for (text, right) in cases {
            let mut findings = Findings::new();
            let origin = Origin { file: 0, start: 3, end: 9, line: 1 };
            let read = item(Text { text, origin }, &mut findings);
            assert!(matches!(read, Item::Wrong), "{text:?} is {read:?}");
            let found = findings.into_sorted();
            let [found] = found.as_slice() else { panic!("{text:?}: {found:?}") };
            assert_eq!((found.code, found.origin), (Code::Service, Some(origin)), "{text:?}");
            let help = right.map_or(Code::Service.remedy().to_owned(), |right| {
                format!("write \"{right}\": only `from` has spaces around it, one on each side")
            });
            assert_eq!(found.help.as_deref(), Some(help.as_str()), "{text:?}");
        }
    }

    #[test]
    fn white_space_anywhere_spoils_a_service() {
        let right = [
            "tcp/443",
            "tcp/9000-9010",
            "udp/67 from 68",
            "icmp/8",
            "icmp/echo-request",
            "icmp/3.4",
            "ip/50",
        ];
        for service in right {
            let atoms = read(service);
            assert_eq!(atoms.as_ref().map(Vec::len), Ok(1), "{service}");
            for place in 0..=service.len() {
                for space in [" ", "\t", "\u{2003}"] {
                    let (before, after) = service.split_at(place);
                    let spoilt = format!("{before}{space}{after}");
                    assert!(read(&spoilt).is_err(), "{spoilt:?}");
                }
            }
        }
    }
}
