//! `explain` against the packet path: the same packet has the same end and the same reason.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that can't go on fails"
)]

use std::net::IpAddr;
use std::sync::Arc;

use crossbeam::queue::ArrayQueue;
use portcullis::flow::fragments::FragmentLimits;
use portcullis::flow::limits::HalfOpen;
use portcullis::flow::{Bounds, FlowTable, Owner};
use portcullis::pipeline::{Counters, Outcome, Pipeline, Reason, Scene};
use portcullis::policy::explain::{Explanation, NotExplained, Query, explain};
use portcullis::policy::read::{Loaded, read_text};
use portcullis::policy::{Exceptions, Mode, Moment, Table, compile};
use portcullis::wire::samples::{Ends, dhcp, dhcp_v6};
use portcullis::wire::{Mac, Side, TcpFlags, is_extension};

/// Everything is allowed from outside in a network of its own, and nothing elsewhere.
fn policy(mode: &str, profile: &str) -> (Loaded, Table) {
    let link_local = if profile == "drop" && mode == "simulate" { "forward" } else { "drop" };
    let text = format!(
        "[gate]\nmanagement = [\"192.0.2.10\", \"2001:db8::10\"]\nlink_local = \"{link_local}\"\n[label]\napp = {{}}\n[owner.o]\nauthors = [\"user:a\"]\napprovers = [\"user:b\"]\n[profile]\narp = \"{profile}\"\n\
         ndp = \"{profile}\"\nlldp = \"{profile}\"\nstp = \"{profile}\"\nlacp = \"{profile}\"\ndhcp = \"{profile}\"\n\
         other = \"{profile}\"\n[wire.w]\noutside = \"a\"\ninside = \"b\"\nfail = \"closed\"\nunzoned = \"{mode}\"\n\
         [network.in]\nat = \"w.inside\"\nprefixes = [\"10.20.0.0/24\", \"2001:db8:20::/64\"]\n\
         [network.out]\nat = \"w.outside\"\nprefixes = [\"0.0.0.0/0\", \"::/0\", \"fdff::/16\"]\n\
         [workload.c]\naddresses = [\"10.10.0.5\", \"2001:db8:10::5\"]\nlabels = {{ app = \"c\" }}\n\
         [workload.s]\naddresses = [\"10.20.0.9\", \"2001:db8:20::9\"]\nlabels = {{ app = \"s\" }}\nmacs = [\"02:00:00:20:00:09\"]\n\
         [group.g]\naddresses = [\"224.0.0.9\", \"10.20.0.255\", \"ff0e::9\"]\n\
         [allow.group]\nfrom = {{ app = \"c\" }}\nto = {{ group = \"g\" }}\nservices = [\"tcp/443\", \"icmp/13\", \"icmp/3\", \"icmpv6/1\"]\n\
         [allow.all]\nfrom = {{ app = \"c\" }}\nto = {{ app = \"s\" }}\nservices = [\"any\"]\n\
         [deny.echo]\nfrom = {{ app = \"c\" }}\nto = {{ app = \"s\" }}\nservices = [\"tcp/22\", \"icmp/13\", \"icmpv6/200\"]\nreply = \"unreachable\"\n\
         [deny.shell]\nfrom = {{ app = \"c\" }}\nto = {{ app = \"s\" }}\nservices = [\"tcp/24\"]\nreply = \"reset\"\n"
    );
    let loaded =
        read_text(vec![("gate.toml".into(), text)]).unwrap_or_else(|bad| panic!("{:?}", bad.diagnostics));
    let table = compile(&loaded.model, &Exceptions::NONE);
    (loaded, table)
}

/// Room for a packet: a pipeline is made for each.
fn small() -> Bounds {
    let fragments = FragmentLimits { datagrams: 1, held: 1, ..FragmentLimits::DEFAULT };
    Bounds { fragments, ..Bounds::of(16) }
}

/// What the packet path does with a frame of no live flow: how it ends, what speaks against it, and
/// the mode that its record names.
/// A reply that starts a flow nobody saw begin is counted as loose; its reason is that it has none.
fn crossed(table: &Table, side: Side, frame: &[u8]) -> (&'static str, Option<&'static str>, Option<Mode>) {
    let counters = Arc::new(Counters::default());
    let events = Arc::new(ArrayQueue::new(8));
    let mut pipeline = Pipeline::new(
        FlowTable::new(small(), Arc::new(HalfOpen::new(8, (3, 4)))),
        Owner::new(1, (1, 2)),
        0,
        Arc::clone(&counters),
        Arc::clone(&events),
    );
    let mut outcomes = Vec::new();
    let scene = Scene { table, generation: 1, now: Moment(1), asked: Moment(1), tick: 0, side };
    pipeline.let_reply(1);
    pipeline.burst(&scene, &[frame], 1, &mut outcomes);
    let mode = events.pop().map(|event| event.mode);
    match outcomes[0] {
        Outcome::Reject(reason, _) => ("rejected", Some(reason.name()), mode),
        Outcome::Drop(reason) => ("dropped", Some(reason.name()), mode),
        Outcome::Forward => {
            let sides = counters.snapshot().sides;
            let would = Reason::ALL.iter().find(|r| sides.iter().any(|s| s.would_drop[r.index()] > 0));
            let loose = sides.iter().any(|s| s.loose > 0).then_some(Reason::IcmpNoFlow);
            ("forwarded", would.copied().or(loose).map(Reason::name), mode)
        }
        Outcome::HandOver(_) | Outcome::Hold(_) => panic!("one worker, whole packets"),
    }
}

fn asked(
    policy: &(Loaded, Table),
    ends: &Ends,
    service: &str,
    side: Side,
) -> Result<Explanation, NotExplained> {
    let query = Query {
        from: ends.src.to_string(),
        to: ends.dst.to_string(),
        service: service.to_owned(),
        mac: Some(ends.src_mac),
        vlans: None,
        side: Some(side),
        generation: None,
        now: Moment(1),
    };
    explain(&policy.0, &policy.1, &query)
}

/// Asks for a packet and sends it.
fn same(policy: &(Loaded, Table), ends: &Ends, side: Side, service: &str, frame: &[u8]) -> &'static str {
    let told = asked(policy, ends, service, side).unwrap_or_else(|why| panic!("{service}: {why}"));
    let (outcome, reason, mode) = crossed(&policy.1, side, frame);
    let words =
        format!("{service} {} → {} from {side}, {}: {told:?}", ends.src, ends.dst, policy.1.strictest());
    assert_eq!((told.outcome, told.reason), (outcome, reason), "{words}");
    assert!(mode.is_none_or(|mode| mode.name() == told.mode), "{mode:?} {words}");
    assert_eq!(told.verdict == "allow", reason.is_none(), "{words}");
    assert_eq!(
        told.rule.is_some(),
        told.stage == "rules" && matches!(reason, None | Some("denied")),
        "{words}"
    );
    told.stage
}

fn ends(src: &str, dst: &str) -> Ends {
    let src_mac = if src.ends_with('9') { Mac([2, 0, 0, 0x20, 0, 9]) } else { Mac([2, 0, 0, 0, 0, 5]) };
    Ends { src_mac, ..Ends::of(src, dst) }
}

/// Runs a comparison under every mode and profile.
fn everywhere(mut compare: impl FnMut(&(Loaded, Table))) {
    for mode in ["enforce", "simulate", "observe"] {
        for profile in ["forward", "drop"] {
            compare(&policy(mode, profile));
        }
    }
}

/// What such a message carries: discovery speaks for its own source, and asks for where it goes.
fn body(kind: u8, ends: &Ends) -> Vec<u8> {
    match (kind, ends.src, ends.dst) {
        (133, IpAddr::V6(_), _) => Vec::new(),
        (134, IpAddr::V6(_), _) => vec![0; 8],
        (135, IpAddr::V6(_), IpAddr::V6(dst)) if !dst.is_multicast() => dst.octets().to_vec(),
        (135 | 136, IpAddr::V6(src), _) => src.octets().to_vec(),
        _ => vec![0; 20],
    }
}

#[test]
fn every_icmp_type_is_explained_as_it_is_decided() {
    let pairs = [
        ("10.10.0.5", "10.20.0.9", Side::Outside),
        ("10.20.0.9", "10.10.0.5", Side::Inside),
        ("10.10.0.5", "10.20.0.9", Side::Inside),
        ("10.10.0.5", "224.0.0.9", Side::Outside),
        ("10.10.0.5", "10.20.0.255", Side::Outside),
        ("10.10.0.5", "224.0.0.10", Side::Outside),
        ("2001:db8:10::5", "2001:db8:20::9", Side::Outside),
        ("2001:db8:20::9", "2001:db8:10::5", Side::Inside),
        ("2001:db8:10::5", "2001:db8:99::9", Side::Outside),
        ("2001:db8:10::5", "ff0e::9", Side::Outside),
        ("fe80::5", "ff02::16", Side::Outside),
        ("fe80::5", "2001:db8:20::9", Side::Outside),
        ("fe80::5", "ff02::1", Side::Inside),
        ("2001:db8:20::9", "2001:db8:10::5", Side::Outside),
        ("2001:db8:20::9", "fe80::5", Side::Outside),
        ("::", "ff02::1", Side::Outside),
    ];
    let mut stages = std::collections::BTreeMap::<&str, usize>::new();
    everywhere(|policy| {
        for (src, dst, side) in pairs {
            let plain = ends(src, dst);
            let v6 = plain.src.is_ipv6();
            let enforced = policy.1.strictest() == Mode::Enforce;
            for kind in 0..=u8::MAX {
                // Codes matter to no mode.
                for code in if enforced { 0..=1 } else { 0..=0 } {
                    let hops = if v6 && matches!(kind, 130..=132 | 143) { 1 } else { 255 };
                    let frame = plain.hops(hops).icmp(kind, code, [0, 7, 0, 1], &body(kind, &plain));
                    let service = format!("{}/{kind}.{code}", if v6 { "icmpv6" } else { "icmp" });
                    *stages.entry(same(policy, &plain, side, &service, &frame)).or_default() += 1;
                }
            }
        }
    });
    assert_eq!(
        stages.keys().copied().collect::<Vec<_>>(),
        ["flow", "inventory", "odd", "profile", "rules"]
    );
}

/// What DHCP sends between these ports; anything between others.
fn message(sport: u16, dport: u16) -> Vec<u8> {
    match (sport, dport) {
        (67 | 68, 67) => dhcp(1),
        (67, 68) => dhcp(2),
        (546, 547) => dhcp_v6(1),
        (547, 546) => dhcp_v6(2),
        (547, 547) => dhcp_v6(12),
        _ => b"x".to_vec(),
    }
}

#[test]
fn every_protocol_and_dhcp_are_explained_as_they_are_decided() {
    let pairs = [("10.10.0.5", "10.20.0.9"), ("2001:db8:10::5", "2001:db8:20::9")];
    everywhere(|policy| {
        for (src, dst) in pairs {
            let ends = ends(src, dst);
            for port in [22, 24, 443] {
                let frame = ends.tcp(49_152, port, TcpFlags::SYN, 1, 0, &[]);
                assert_eq!(same(policy, &ends, Side::Outside, &format!("tcp/{port}"), &frame), "rules");
            }
            for (sport, dport) in
                [(68, 67), (67, 67), (67, 68), (68, 68), (546, 547), (547, 546), (547, 547), (546, 546)]
            {
                let frame = ends.udp(sport, dport, &message(sport, dport));
                let stage =
                    same(policy, &ends, Side::Outside, &format!("udp/{dport} from {sport}"), &frame);
                let dhcp = sport != dport || [67, 547].contains(&sport);
                let own = dhcp && (sport > 500) == ends.src.is_ipv6();
                assert_eq!(stage, if own { "profile" } else { "rules" }, "{sport} → {dport}");
            }
            let frame = ends.sctp(49_152, 3_868, 0, &[]);
            assert_eq!(same(policy, &ends, Side::Outside, "ip/132", &frame), "rules");
            for protocol in (0..=u8::MAX).filter(|p| ![1, 6, 17, 58, 132].contains(p)) {
                let service = format!("ip/{protocol}");
                if ends.src.is_ipv6() && is_extension(protocol) {
                    let why = asked(policy, &ends, &service, Side::Outside).unwrap_err();
                    assert_eq!(why, NotExplained::Header(service));
                } else {
                    same(policy, &ends, Side::Outside, &service, &ends.ip(protocol, &[0; 20]));
                }
            }
        }
    });
}

#[test]
fn every_kind_of_address_is_explained_as_it_is_decided() {
    let four = [
        "0.0.0.0",
        "0.1.2.3",
        "10.10.0.5",
        "10.20.0.9",
        "10.20.0.255",
        "127.0.0.1",
        "169.254.169.254",
        "192.0.2.1",
        "192.0.2.10",
        "223.255.255.255",
        "224.0.0.1",
        "224.0.0.9",
        "239.1.2.3",
        "240.0.0.1",
        "255.255.255.254",
        "255.255.255.255",
    ];
    let six = [
        "::",
        "::1",
        "::2",
        "64:ff9b::1",
        "2001:db8:10::5",
        "2001:db8:20::9",
        "2001:db8::10",
        "4000::1",
        "fc00::1",
        "fdff::1",
        "fe00::1",
        "fe80::5",
        "febf::1",
        "fec0::1",
        "ff02::1",
        "ff0e::9",
    ];
    let mut odd = std::collections::BTreeSet::new();
    everywhere(|policy| {
        for all in [&four[..], &six[..]] {
            for (src, dst) in all.iter().flat_map(|src| all.iter().map(move |dst| (*src, *dst))) {
                for side in Side::BOTH {
                    let ends = ends(src, dst);
                    let told = asked(policy, &ends, "tcp/443", side).unwrap();
                    let stage = same(
                        policy,
                        &ends,
                        side,
                        "tcp/443",
                        &ends.tcp(49_152, 443, TcpFlags::SYN, 1, 0, &[]),
                    );
                    if stage == "odd" {
                        odd.extend(told.reason);
                    }
                    let dhcp: (u16, u16) = if ends.src.is_ipv6() { (546, 547) } else { (68, 67) };
                    let service = format!("udp/{} from {}", dhcp.1, dhcp.0);
                    same(
                        policy,
                        &ends,
                        side,
                        &service,
                        &ends.udp(dhcp.0, dhcp.1, &message(dhcp.0, dhcp.1)),
                    );
                }
            }
        }
    });
    let all = ["land", "link_local", "loopback", "reserved_address", "source_not_unicast"];
    assert_eq!(odd.into_iter().collect::<Vec<_>>(), all);
}
