//! Which stage of the packet path decides a packet: the rules, or one before them.
//!
//! What it is: the order of stages that a whole packet meets, as far as addresses and service tell, so that
//! `explain` and `check` say the same as the packet path does. What it is not: the packet path; it has no
//! flows, and takes housekeeping for what its senders must make it (hop limit 255, or 1 for MLD; whole; in
//! DHCP's form).
//! Invariant: what a packet is, `wire` says; tests/explain.rs holds the answers against the pipeline's own.

use std::net::IpAddr;

use super::model::Atom;
use super::neighbour::Misspoken;
use super::prefix::Prefix;
use super::services::ALL;
use super::table::Table;
use crate::wire::dhcp::is_between;
use crate::wire::protocol::{ICMP, ICMPV6, SCTP, TCP, UDP};
use crate::wire::{
    Facts, Fragment, Housekeeping, Icmp, Ip, L4, Mac, Net, Odd, Reply, Service, Tcp, TcpFlags, Vlans,
    is_extension,
};

/// In IPv4 it is a protocol of its own.
const AUTHENTICATION: u8 = 51;
/// What DHCP's packets have for ports: source, destination.
const DHCP: [(u16, u16); 6] = [(68, 67), (67, 67), (67, 68), (546, 547), (547, 547), (547, 546)];

/// The stage that decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// What can be read but makes no sense.
    Odd(Odd),
    /// The profile.
    Profile(Housekeeping),
    /// The inventory, which speaks against what the profile forwards.
    Inventory(Misspoken),
    /// An ICMP error: only the live flow that it quotes takes it along.
    Quoted,
    /// An ICMP answer: only its question's flow takes it along.
    Requested,
    /// The rules.
    Rules,
}

impl Stage {
    /// The stage that decides a packet of no live flow; without a table, under every policy's defaults.
    pub(super) fn of(src: IpAddr, dst: IpAddr, service: Service, table: Option<&Table>) -> Self {
        let ip = packet(src, dst, service);
        let v6 = src.is_ipv6();
        let let_pass = |odd: &Odd| table.is_some_and(|table| table.lets(*odd));
        if let Some(odd) = ip.odd().filter(|odd| !let_pass(odd)) {
            return Self::Odd(odd);
        }
        if let Some(class) = ip.housekeeping() {
            return Self::Profile(class);
        }
        match ip.l4 {
            L4::Icmp(_) if table.is_some_and(|table| table.is_group(dst)) => Self::Rules,
            L4::Icmp(icmp) if icmp.is_error(v6) => Self::Quoted,
            L4::Icmp(icmp) if icmp.answers(v6) => Self::Requested,
            L4::Icmp(_)
            | L4::Tcp(_)
            | L4::Udp { .. }
            | L4::Sctp { .. }
            | L4::Other
            | L4::Absent
            | L4::Remembered { .. } => Self::Rules,
        }
    }

    /// Its name for programs.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Odd(_) => "odd",
            Self::Profile(_) => "profile",
            Self::Inventory(_) => "inventory",
            Self::Quoted | Self::Requested => "flow",
            Self::Rules => "rules",
        }
    }
}

/// The name of an oddity, as counters and events have it, and what it is.
pub(super) const fn oddity(odd: Odd) -> (&'static str, &'static str) {
    match odd {
        Odd::SourceNotUnicast => ("source_not_unicast", "its source is broadcast or multicast"),
        Odd::Loopback => ("loopback", "a loopback address"),
        Odd::Reserved => ("reserved_address", "an unspecified or reserved address"),
        Odd::Land => ("land", "its source is its destination"),
        Odd::SourceRoute => ("source_route", "a source route"),
        Odd::TcpFlags => ("tcp_flags", "impossible TCP flags"),
        Odd::PortZero => ("port_zero", "port 0"),
        Odd::Redirect => ("icmp_redirect", "an ICMP redirect"),
        Odd::LinkLocal => ("link_local", "a link-local address"),
    }
}

/// A whole packet of this service, made as its senders must make it.
fn packet(src: IpAddr, dst: IpAddr, service: Service) -> Ip {
    let v6 = src.is_ipv6();
    let Service { protocol, sport, dport, .. } = service;
    let [kind, code] = dport.to_be_bytes();
    let l4 = match (protocol, v6) {
        (TCP, _) => {
            let flags = TcpFlags(TcpFlags::SYN);
            L4::Tcp(Tcp { sport, dport, seq: 0, ack: 0, flags, window: 0, payload: 0, scale: None })
        }
        (UDP, _) => L4::Udp { sport, dport, dhcp: is_between(v6, sport, dport) },
        (SCTP, _) => L4::Sctp { sport, dport },
        (ICMP, false) | (ICMPV6, true) => L4::Icmp(Icmp { kind, code, id: None, quote: None }),
        _ => L4::Other,
    };
    let mld = protocol == ICMPV6 && is_mld(kind);
    let hop_limit = if mld { 1 } else { u8::MAX };
    Ip { src, dst, protocol, hop_limit, fragment: Fragment::Whole, l4 }
}

const fn is_mld(kind: u8) -> bool {
    matches!(kind, 130..=132 | 143)
}

/// Whether such a reply may go back for a packet of this service.
pub(super) fn may_answer(reply: Reply, src: IpAddr, dst: IpAddr, service: Service) -> bool {
    let ip = packet(src, dst, service);
    let (nobody, vlans, odd) = (Mac::default(), Vlans::UNTAGGED, ip.odd());
    let facts =
        Facts { length: 0, dst_mac: nobody, src_mac: nobody, vlans, ethertype: 0, net: Net::Ip(ip), odd };
    reply.may_answer(&facts)
}

/// Something that rules may name and are not asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unasked {
    /// What it is, in the plural.
    pub(super) what: &'static str,
    /// What to write instead.
    pub(super) help: String,
}

/// Why rules are not asked about a service as it is written, between whatever hosts.
pub(super) fn unasked(atom: Atom) -> Option<Unasked> {
    let said = |what, help: &str| Some(Unasked { what, help: help.to_owned() });
    if is_extension(atom.protocol) && atom.protocol != AUTHENTICATION {
        return said(
            "headers between IPv6 and its protocol",
            "name the protocol behind it: packets are judged as that",
        );
    }
    let stage = match atom.protocol {
        ICMP | ICMPV6 => icmp_stage(atom)?,
        UDP => dhcp_stage(atom)?,
        _ => return None,
    };
    match stage {
        Stage::Odd(_) => said("redirects", "remove it: redirects are dropped as odd, whatever rules say"),
        Stage::Profile(Housekeeping::Dhcp) if atom.from == ALL => said(
            "DHCP",
            "remove it: `dhcp` of [profile] decides; for others on this port write theirs: from 1024-65535",
        ),
        Stage::Profile(Housekeeping::Dhcp) => said("DHCP", "remove it: `dhcp` of [profile] decides"),
        Stage::Profile(
            Housekeeping::Ndp
            | Housekeeping::Arp
            | Housekeeping::Lldp
            | Housekeeping::Stp
            | Housekeeping::Lacp
            | Housekeeping::Other,
        ) => said("neighbour discovery and MLD", "remove it: `ndp` of [profile] decides"),
        Stage::Quoted => said(
            "ICMP errors",
            "remove it: an error crosses with the live flow it quotes, and no other does",
        ),
        Stage::Requested => said(
            "ICMP replies",
            "remove it: a reply crosses with its request's flow; allow the request, such as icmp/echo-request",
        ),
        Stage::Inventory(_) | Stage::Rules => None,
    }
}

/// Of one ICMP type: a whole protocol is asked about in part.
fn icmp_stage(atom: Atom) -> Option<Stage> {
    let ([kind, code], [last, _]) = (atom.to.0.to_be_bytes(), atom.to.1.to_be_bytes());
    let ends = match (atom.protocol, is_mld(kind)) {
        (ICMP, _) => ["192.0.2.1", "198.51.100.1"],
        (_, true) => ["fe80::1", "ff02::16"],
        (_, false) => ["2001:db8::1", "2001:db8::2"],
    };
    let [src, dst] = ends.map(|end| end.parse::<IpAddr>().ok());
    let dport = u16::from_be_bytes([kind, code]);
    let service = Service { protocol: atom.protocol, sport: 0, dport, readable: true };
    (kind == last).then(|| Some(Stage::of(src?, dst?, service, None))).flatten()
}

/// Of ports that DHCP has for itself, whoever else may send from other ones.
fn dhcp_stage(atom: Atom) -> Option<Stage> {
    let pairs = |(first, last): (u16, u16)| (first..=last).take(3);
    let dhcp = |sport, dport| DHCP.contains(&(sport, dport));
    let all = if atom.from == ALL {
        pairs(atom.to).all(|dport| DHCP.iter().any(|(_, own)| *own == dport))
    } else {
        pairs(atom.to).all(|dport| pairs(atom.from).all(|sport| dhcp(sport, dport)))
    };
    all.then_some(Stage::Profile(Housekeeping::Dhcp))
}

/// Whether some of a service between these ends is DHCP.
pub(super) fn has_dhcp(src: IpAddr, dst: IpAddr, atom: Atom) -> bool {
    let within = |(first, last): (u16, u16), port| (first..=last).contains(&port);
    DHCP.iter().any(|(sport, dport)| {
        let service = Service { protocol: UDP, sport: *sport, dport: *dport, readable: true };
        atom.protocol == UDP
            && within(atom.from, *sport)
            && within(atom.to, *dport)
            && Stage::of(src, dst, service, None) == Stage::Profile(Housekeeping::Dhcp)
    })
}

/// Why every packet from an address of this prefix is odd.
pub(super) fn odd_source(prefix: Prefix) -> Option<Odd> {
    let (last, peer, kinds) = match prefix.address {
        IpAddr::V4(v4) => {
            let host = u32::MAX.checked_shr(prefix.length.into()).unwrap_or(0);
            (IpAddr::V4((v4.to_bits() | host).into()), IpAddr::from([192, 0, 2, 1]), 4)
        }
        IpAddr::V6(v6) => {
            let host = u128::MAX.checked_shr(prefix.length.into()).unwrap_or(0);
            let peer = [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1];
            (IpAddr::V6((v6.to_bits() | host).into()), IpAddr::from(peer), 3)
        }
    };
    let service = Service { protocol: TCP, sport: 1024, dport: 443, readable: true };
    let odd = |address| packet(address, peer, service).odd().filter(|odd| *odd != Odd::Land);
    // No kind of address is narrower than its ends here, and none wider than these lengths.
    let first = odd(prefix.address).filter(|_| prefix.length >= kinds)?;
    (odd(last) == Some(first)).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn atom(protocol: u8, to: (u16, u16), from: (u16, u16)) -> Atom {
        Atom { protocol, to, from }
    }

    fn what(atom: Atom) -> Option<&'static str> {
        unasked(atom).map(|unasked| unasked.what)
    }

    #[test]
    fn what_check_warns_of_is_what_explain_decides_elsewhere() {
        let [four, six] = [["10.0.0.1", "10.0.0.2"], ["2001:db8::1", "2001:db8::2"]]
            .map(|ends| ends.map(|end| end.parse::<IpAddr>().expect("an address")));
        for kind in 0..=u8::MAX {
            for (protocol, [src, dst]) in [(ICMP, four), (ICMPV6, six)] {
                let (first, last) = (u16::from_be_bytes([kind, 0]), u16::from_be_bytes([kind, 255]));
                let service = Service { protocol, sport: 0, dport: first, readable: true };
                let elsewhere = Stage::of(src, dst, service, None) != Stage::Rules;
                // Between routed hosts MLD is like any other type.
                let mld = protocol == ICMPV6 && is_mld(kind);
                assert_eq!(
                    what(atom(protocol, (first, last), ALL)).is_some(),
                    elsewhere || mld,
                    "{protocol} {kind}"
                );
                assert_eq!(
                    what(atom(protocol, (first, first), ALL)).is_some(),
                    elsewhere || mld,
                    "{protocol} {kind}"
                );
            }
        }
        let number = |protocol| what(atom(protocol, ALL, ALL));
        let headers: Vec<u8> = (0..=u8::MAX).filter(|protocol| number(*protocol).is_some()).collect();
        assert_eq!(headers, [0, 43, 44, 60], "a whole protocol is asked about, but for these");
    }

    #[test]
    fn ports_of_dhcp_are_told_from_others() {
        let udp = |to, from| what(atom(UDP, to, from));
        for (sport, dport) in DHCP {
            assert_eq!(udp((dport, dport), (sport, sport)), Some("DHCP"), "{sport} → {dport}");
            assert_eq!(udp((dport, dport), ALL), Some("DHCP"), "{dport}");
            assert_eq!(what(atom(TCP, (dport, dport), ALL)), None);
        }
        assert_eq!(udp((67, 68), ALL), Some("DHCP"));
        assert_eq!(udp((67, 67), (67, 68)), Some("DHCP"));
        for (to, from) in [
            ((66, 67), ALL),
            ((67, 69), ALL),
            ((1, u16::MAX), ALL),
            ((68, 68), (68, 68)),
            ((67, 68), (67, 68)),
            ((67, 67), (1024, u16::MAX)),
            ((67, 67), (546, 546)),
            ((53, 53), (68, 68)),
        ] {
            assert_eq!(udp(to, from), None, "{to:?} from {from:?}");
        }
    }

    #[test]
    fn a_prefix_is_odd_if_all_of_it_is() {
        let odd = |text: &str| odd_source(text.parse().expect("a prefix"));
        for (text, what) in [
            ("0.0.0.0/8", Odd::Reserved),
            ("127.0.0.0/8", Odd::Loopback),
            ("169.254.0.0/16", Odd::LinkLocal),
            ("169.254.169.254", Odd::LinkLocal),
            ("240.0.0.0/5", Odd::Reserved),
            ("fe80::/10", Odd::LinkLocal),
            ("4000::/3", Odd::Reserved),
            ("::/8", Odd::Reserved),
            ("fec0::/10", Odd::Reserved),
        ] {
            assert_eq!(odd(text), Some(what), "{text}");
        }
        for text in [
            "0.0.0.0/0",
            "0.0.0.0/4",
            "::/0",
            "169.0.0.0/8",
            "10.0.0.0/8",
            "192.0.2.1",
            "2000::/3",
            "fc00::/7",
        ] {
            assert_eq!(odd(text), None, "{text}");
        }
    }
}
