//! How long a flow is remembered in silence.

use super::{Phase, ticks_in};

const SECOND: u64 = 1_000_000_000;

/// Silence after which a flow ends, in ticks, by protocol and phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    pub(super) tcp_opening: u32,
    pub(super) tcp_open: u32,
    pub(super) tcp_closing: u32,
    pub(super) udp_opening: u32,
    pub(super) udp_open: u32,
    pub(super) icmp: u32,
    pub(super) other: u32,
}

impl Default for Timeouts {
    /// RFC 5382 and RFC 4787 ask for at least 2 h 4 min of an established TCP connection, 4 min of one being
    /// opened, 2 min of UDP; what opens towards a protected zone is kept shorter on purpose.
    fn default() -> Self {
        Self {
            tcp_opening: ticks_in(30 * SECOND),
            tcp_open: ticks_in(7_440 * SECOND),
            tcp_closing: ticks_in(SECOND),
            udp_opening: ticks_in(60 * SECOND),
            udp_open: ticks_in(180 * SECOND),
            icmp: ticks_in(10 * SECOND),
            other: ticks_in(60 * SECOND),
        }
    }
}

impl Timeouts {
    /// Of a protocol in a phase.
    #[must_use]
    pub const fn of(&self, protocol: u8, phase: Phase) -> u32 {
        match (protocol, phase) {
            (6, Phase::Opening) => self.tcp_opening,
            (6, Phase::Open) => self.tcp_open,
            (6, Phase::Closing) => self.tcp_closing,
            (17, Phase::Open) => self.udp_open,
            (17, Phase::Opening | Phase::Closing) => self.udp_opening,
            (1 | 58, _) => self.icmp,
            _ => self.other,
        }
    }
}
