//! Numbers of the protocols that are told apart (IANA, Protocol Numbers).

/// ICMP, over IPv4 only.
pub const ICMP: u8 = 1;
/// TCP.
pub const TCP: u8 = 6;
/// UDP.
pub const UDP: u8 = 17;
/// ICMPv6, over IPv6 only.
pub const ICMPV6: u8 = 58;

/// SCTP.
pub const SCTP: u8 = 132;

/// Whether a protocol's packets have ports.
#[must_use]
pub const fn has_ports(protocol: u8) -> bool {
    matches!(protocol, TCP | UDP | SCTP)
}

/// The number of a family's own ICMP; the other's is an unknown protocol there.
#[must_use]
pub const fn icmp_of(v6: bool) -> u8 {
    if v6 { ICMPV6 } else { ICMP }
}
