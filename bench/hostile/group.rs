//! The groups of the flood's kinds: what each is, and the reasons that the gate may end it for.
//!
//! Invariant: every reason belongs to one group (but for *no way out*, which is anybody's), so that the gate's
//! counters name each group by itself.

use portcullis::pipeline::Reason;

/// Kinds whose ends the gate's counters can tell from those of all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Group {
    /// SYNs from random sources that no rule allows, and port scans of such.
    Strangers,
    /// SYNs from random sources to an allowed service of one destination.
    SynFlood,
    /// UDP and pings from random sources to an allowed service: each wants a place in the flow table.
    NewFlows,
    /// Segments of no connection, and ICMP about none.
    NoSession,
    /// A known host tries ports and hosts that it may not reach.
    Scan,
    /// Guesses at the connections that are under way.
    Blind,
    /// Fragments whose first or last never comes, and overlapping ones.
    Fragments,
    /// What cannot be read or makes no sense: one template a reason.
    Malformed,
}

impl Group {
    /// All of them, as they are told.
    pub(crate) const ALL: [Self; 8] = [
        Self::Strangers,
        Self::SynFlood,
        Self::NewFlows,
        Self::NoSession,
        Self::Scan,
        Self::Blind,
        Self::Fragments,
        Self::Malformed,
    ];

    /// For people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Strangers => "SYN flood and port scan by strangers",
            Self::SynFlood => "SYN flood, allowed service",
            Self::NewFlows => "new UDP and ICMP flows, allowed",
            Self::NoSession => "segments and errors of no flow",
            Self::Scan => "port scan by a known host",
            Self::Blind => "blind SYN, RST and data on live connections",
            Self::Fragments => "fragments",
            Self::Malformed => "malformed",
        }
    }

    /// Reasons that only frames of this group have.
    pub(crate) const fn reasons(self) -> &'static [Reason] {
        use Reason as R;
        match self {
            Self::Strangers => &[R::Guardrail],
            Self::SynFlood => &[R::HalfOpenLimit, R::HalfOpenTableFull],
            // A full share refuses whoever opens a flow: those of a SYN or of a first fragment, too.
            Self::NewFlows => &[R::OutsideShare, R::SourceShare, R::SourceRate, R::FlowTableFull],
            Self::NoSession => &[R::TcpNoSession, R::IcmpNoFlow],
            Self::Scan => &[R::NoRule, R::Denied],
            Self::Blind => &[R::TcpWindow, R::TcpState],
            Self::Fragments => &[
                R::FragmentTableFull,
                R::FragmentSourceQuota,
                R::FragmentHeldFull,
                R::FragmentHeldQuota,
                R::FragmentOverlap,
                R::FragmentRepeat,
                R::FragmentPoisoned,
                R::FragmentNoFirst,
            ],
            Self::Malformed => &[
                R::Truncated,
                R::TooManyTags,
                R::VlanReserved,
                R::IpVersion,
                R::IpHeaderLength,
                R::IpTotalLength,
                R::IpHeaderChecksum,
                R::Jumbogram,
                R::ExtensionHeader,
                R::TcpDataOffset,
                R::UdpLength,
                R::FragmentInvalid,
                R::FragmentTiny,
                R::FragmentNdp,
                R::SourceNotUnicast,
                R::Loopback,
                R::ReservedAddress,
                R::Land,
                R::SourceRoute,
                R::TcpFlags,
                R::PortZero,
                R::IcmpRedirect,
                R::LinkLocal,
                R::Profile,
                R::Spoofed,
                R::SameSide,
            ],
        }
    }

    /// Whether some of its frames may cross.
    pub(crate) const fn may_cross(self) -> bool {
        match self {
            Self::SynFlood | Self::NewFlows | Self::Blind | Self::Fragments => true,
            Self::Strangers | Self::NoSession | Self::Scan | Self::Malformed => false,
        }
    }
}
