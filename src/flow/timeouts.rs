//! How long a flow is remembered in silence.

use super::tcp::Phase;
use super::ticks_in;
use crate::policy::model as policy;
use crate::wire::protocol::{ICMP, ICMPV6, TCP, UDP};

/// Silence after which a flow ends, in ticks, by protocol and phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP, the handshake not complete.
    pub tcp_opening: u32,
    /// TCP, established.
    pub tcp_established: u32,
    /// TCP, one end has sent its FIN.
    pub tcp_half_closed: u32,
    /// TCP, both have, and not both are acknowledged.
    pub tcp_closing: u32,
    /// TCP, a RST came that its receiver may have ignored.
    pub tcp_doubted: u32,
    /// TCP, over: how long its tombstone stands.
    pub tcp_closed: u32,
    /// UDP, one end has spoken.
    pub udp_opening: u32,
    /// UDP, both ends have.
    pub udp_open: u32,
    /// ICMP and ICMPv6 echo.
    pub icmp: u32,
    /// Every other protocol.
    pub other: u32,
}

/// A RST that its receiver may have ignored gives the connection this long (RFC 5961).
const DOUBTED: u64 = 10_000_000_000;

impl From<&policy::Timeouts> for Timeouts {
    fn from(written: &policy::Timeouts) -> Self {
        Self {
            tcp_opening: ticks_in(written.tcp_opening),
            tcp_established: ticks_in(written.tcp_established),
            tcp_half_closed: ticks_in(written.tcp_half_closed),
            tcp_closing: ticks_in(written.tcp_closing),
            tcp_doubted: ticks_in(DOUBTED.min(written.tcp_established)),
            tcp_closed: ticks_in(written.tcp_closed),
            udp_opening: ticks_in(written.udp_one_way),
            udp_open: ticks_in(written.udp),
            icmp: ticks_in(written.icmp),
            other: ticks_in(written.other),
        }
    }
}

impl Default for Timeouts {
    /// As the policy has them where nothing is written.
    fn default() -> Self {
        Self::from(&policy::Timeouts::default())
    }
}

impl Timeouts {
    /// Of a protocol in a phase; other protocols than TCP know only whether both ends have spoken.
    #[must_use]
    pub const fn of(&self, protocol: u8, phase: Phase) -> u32 {
        match (protocol, phase) {
            (TCP, Phase::Opening) => self.tcp_opening,
            (TCP, Phase::Established) => self.tcp_established,
            (TCP, Phase::HalfClosed) => self.tcp_half_closed,
            (TCP, Phase::Closing) => self.tcp_closing,
            (TCP, Phase::Doubted) => self.tcp_doubted,
            (TCP, Phase::Closed) => self.tcp_closed,
            (UDP, Phase::Established) => self.udp_open,
            (UDP, _) => self.udp_opening,
            (ICMP | ICMPV6, _) => self.icmp,
            _ => self.other,
        }
    }
}
