//! Events → [`EventLine`]s, with names in place of numbers.

use crate::wire::protocol::{ICMP, ICMPV6, TCP, UDP, has_ports, icmp_of};
use std::net::IpAddr;

use super::answers::EventLine;
use super::instant;
use crate::pipeline::{Event, EventKind, Kind};
use crate::policy::RuleNumber;
use crate::record::Names;
use crate::wire::{Mac, Service};

/// One event, named by the generation that judged it.
#[must_use]
pub(super) fn line(seq: u64, event: &Event, names: &Names) -> EventLine {
    let known = names.of(event.generation);
    let name = |address: IpAddr| known.as_ref()?.workload(address).map(str::to_owned);
    let rule = known.as_ref().and_then(|names| names.rule(event.rule));
    let (src, dst) = event.addresses.unzip();
    let ports = event.service.filter(|service| service.readable && has_ports(service.protocol));
    let icmp = event.service.filter(|service| service.readable && is_icmp(event, service.protocol));
    let [icmp_type, icmp_code] =
        icmp.map(|service| service.dport.to_be_bytes().map(Some)).unwrap_or_default();
    // As far as there is a frame.
    let mac = |mac: Mac, end: u32| (event.length >= end).then(|| mac.to_string());
    EventLine {
        seq,
        at: instant(event.at),
        at_nanos: event.at.0,
        kind: match event.kind {
            EventKind::Drop => "drop",
            EventKind::Reject => "reject",
            EventKind::WouldDrop => "would_drop",
            EventKind::Allow => "allow",
            EventKind::Cut => "cut",
        }
        .into(),
        side: event.side.name().into(),
        reason: event.reason.map(|reason| reason.name().into()),
        words: event.reason.map(|reason| reason.words().into()),
        rule_place: rule.zip(known.as_ref()).map(|(rule, names)| names.place(rule)),
        rule: match rule {
            Some(rule) => Some(rule.id.clone()),
            None if event.rule == RuleNumber::NONE => None,
            None => Some(format!("rule {} of generation {}", event.rule.0, event.generation)),
        },
        generation: event.generation,
        mode: event.mode.name().into(),
        src_mac: mac(event.src_mac, 12),
        dst_mac: mac(event.dst_mac, 6),
        vlans: event.vlans.to_string(),
        ethertype: event.ethertype,
        src,
        dst,
        src_name: src.and_then(name),
        dst_name: dst.and_then(name),
        protocol: event.service.map(|service| service.protocol),
        sport: ports.map(|service| service.sport),
        dport: ports.map(|service| service.dport),
        icmp_type,
        icmp_code,
        service: service_words(event),
        length: event.length,
    }
}

/// Over the other family's header either ICMP is a protocol without type and code.
fn is_icmp(event: &Event, protocol: u8) -> bool {
    event.addresses.is_some_and(|(src, _)| protocol == icmp_of(src.is_ipv6()))
}

/// What a packet asked for, as policy text would write it.
fn service_words(event: &Event) -> String {
    let Some(Service { protocol, dport, readable, .. }) = event.service else {
        return match (event.addresses, event.ethertype) {
            (Some(_), _) => "ip".into(),
            (None, 0) => "unreadable".into(),
            (None, 0x0806) => "arp".into(),
            (None, 0x88cc) => "lldp".into(),
            (None, 0x8809) => "lacp".into(),
            (None, 0x0800) => "ipv4".into(),
            (None, 0x86dd) => "ipv6".into(),
            (None, other) => format!("ethertype 0x{other:04x}"),
        };
    };
    let unreadable = event.reason.is_some_and(|reason| reason.kind() == Kind::Unreadable);
    match name_of(protocol, is_icmp(event, protocol)) {
        Some(name) if !readable && unreadable => name.into(),
        Some(name) if !readable => format!("{name} fragment"),
        Some(_) | None => words_of(protocol, is_icmp(event, protocol), dport),
    }
}

/// Protocols that policy text knows by name. `icmp`: of its own family.
const fn name_of(protocol: u8, icmp: bool) -> Option<&'static str> {
    match protocol {
        TCP => Some("tcp"),
        UDP => Some("udp"),
        ICMP if icmp => Some("icmp"),
        ICMPV6 if icmp => Some("icmpv6"),
        _ => None,
    }
}

/// A service as policy text would write it.
pub(super) fn words_of(protocol: u8, icmp: bool, dport: u16) -> String {
    let Some(name) = name_of(protocol, icmp) else { return format!("ip/{protocol}") };
    let [kind, code] = dport.to_be_bytes();
    match (protocol, kind, code) {
        (ICMP, 8, 0) | (ICMPV6, 128, 0) => format!("{name}/echo-request"),
        (ICMP | ICMPV6, ..) => format!("{name}/{kind}.{code}"),
        _ => format!("{name}/{dport}"),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;
    use std::sync::Arc;

    use super::*;
    use crate::pipeline::Reason;
    use crate::policy::Mode;
    use crate::record::fixture;
    use crate::wire::Side;

    fn names() -> Names {
        let names = Names::default();
        names.learn(&Arc::new(fixture::policy(1)));
        names
    }

    #[test]
    fn a_mac_is_told_where_a_frame_holds_it() {
        let macs = |kind, length| {
            let line = line(1, &Event { kind, length, ..fixture::no_rule() }, &names());
            (line.src_mac, line.dst_mac)
        };
        let [src, dst] = ["02:00:00:00:00:fe", "02:00:00:20:00:10"].map(|mac| Some(mac.to_owned()));
        assert_eq!(macs(EventKind::Cut, 0), (None, None));
        assert_eq!(macs(EventKind::Drop, 5), (None, None));
        assert_eq!(macs(EventKind::Drop, 11), (None, dst.clone()));
        assert_eq!(macs(EventKind::Drop, 12), (src, dst));
    }

    #[test]
    fn every_field_of_a_drop_is_told() {
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            line(7, &fixture::no_rule(), &names()),
            EventLine {
                seq: 7,
                at: "2026-11-24T12:00:00.123456789Z".into(),
                at_nanos: fixture::NOON + 123_456_789,
                kind: "drop".into(),
                side: "outside".into(),
                reason: text("no_rule"),
                words: text("no rule allows it"),
                rule: None,
                rule_place: None,
                generation: 1,
                mode: "enforce".into(),
                src_mac: Some("02:00:00:00:00:fe".into()),
                dst_mac: Some("02:00:00:20:00:10".into()),
                vlans: "untagged".into(),
                ethertype: 0x0800,
                src: Some("198.51.100.7".parse().unwrap()),
                dst: Some("10.20.0.10".parse().unwrap()),
                src_name: text("acquirer"),
                dst_name: text("vault-1"),
                protocol: Some(6),
                sport: Some(40_000),
                dport: Some(22),
                icmp_type: None,
                icmp_code: None,
                service: "tcp/22".into(),
                length: 74,
            }
        );
    }

    #[test]
    fn a_ping_has_type_and_code_and_the_rule_its_place() {
        let line = line(1, &fixture::guarded_ping(), &names());
        assert_eq!(
            (line.icmp_type, line.icmp_code, line.sport, line.dport),
            (Some(128), Some(0), None, None)
        );
        assert_eq!(line.service, "icmpv6/echo-request");
        assert_eq!(line.rule.as_deref(), Some("guardrail.only-prod-reaches-cards"));
        assert_eq!(line.rule_place.as_deref(), Some("rules.toml:1"));
        assert_eq!((line.src_name.as_deref(), line.dst_name.as_deref()), (None, Some("vault-1")));
    }

    #[test]
    fn an_sctp_packet_has_its_ports_and_the_service_that_rules_name() {
        let of = |readable| {
            let service = Some(Service { protocol: 132, sport: 40_000, dport: 3_868, readable });
            line(1, &Event { service, ..fixture::no_rule() }, &names())
        };
        let (whole, fragment) = (of(true), of(false));
        assert_eq!((whole.sport, whole.dport), (Some(40_000), Some(3_868)));
        assert_eq!((fragment.sport, fragment.dport), (None, None));
        assert_eq!([whole.service, fragment.service], ["ip/132", "ip/132"]);
    }

    #[test]
    fn a_generation_that_is_gone_leaves_the_number() {
        let event = Event { generation: 9, ..fixture::guarded_ping() };
        let line = line(1, &event, &names());
        assert_eq!(line.rule.as_deref(), Some("rule 0 of generation 9"));
        assert_eq!((line.rule_place, line.dst_name), (None, None));
    }

    #[test]
    fn services_are_written_as_in_policy_text() {
        let base = fixture::no_rule();
        let six = (Ipv6Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
        let ip = |protocol, dport, readable| {
            let service = Some(Service { protocol, sport: 1, dport, readable });
            let addresses = if protocol == 58 { Some(six) } else { base.addresses };
            service_words(&Event { addresses, service, ..base })
        };
        let service = Some(Service { protocol: 58, sport: 0, dport: 0, readable: true });
        let astray = line(1, &Event { service, ..base }, &names());
        assert_eq!((astray.service.as_str(), astray.icmp_type), ("ip/58", None));
        assert_eq!(ip(6, 443, true), "tcp/443");
        assert_eq!(ip(17, 53, true), "udp/53");
        assert_eq!(ip(1, 8 << 8, true), "icmp/echo-request");
        assert_eq!(ip(1, (3 << 8) | 4, true), "icmp/3.4");
        assert_eq!(ip(58, 135 << 8, true), "icmpv6/135.0");
        assert_eq!(ip(50, 0, true), "ip/50");
        assert_eq!(ip(17, 0, false), "udp fragment");
        let cut = Event { reason: Some(Reason::Truncated), service: None, ..base };
        let hidden = Service { protocol: 6, sport: 0, dport: 0, readable: false };
        assert_eq!(service_words(&Event { service: Some(hidden), ..cut }), "tcp");
        let other = |ethertype| service_words(&Event { service: None, addresses: None, ethertype, ..base });
        assert_eq!(
            [0, 0x0806, 0x88cc, 0x8809, 0x0800, 0x86dd, 0x88a8].map(other),
            ["unreadable", "arp", "lldp", "lacp", "ipv4", "ipv6", "ethertype 0x88a8"]
        );
        let arp = Event { side: Side::Inside, mode: Mode::Simulate, service: None, ..base };
        assert_eq!(service_words(&arp), "ip");
    }
}
