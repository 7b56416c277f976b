//! Every way a packet can fail to cross, and what governs it.

use crate::flow::fragments::FragmentRefusal;
use crate::flow::limits::LimitRefusal;
use crate::flow::tcp::Refused;
use crate::policy::Denial;
use crate::wire::{Odd, Unreadable};

/// What decides whether a drop happens (POLICY.md §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Unreadable: dropped in every mode.
    Unreadable,
    /// No way out: dropped in every mode.
    NoWayOut,
    /// No room to remember it: dropped under enforce, otherwise forwarded unlearned.
    NoRoom,
    /// Obeys the mode: dropped under enforce, otherwise forwarded and recorded as a would-drop.
    Judged,
    /// Obeys the mode, but has a list of its own and never counts as a would-drop.
    SameSide,
}

macro_rules! reasons {
    ($($variant:ident $name:literal $kind:ident $words:literal)*) => {
        /// Why a packet was dropped, or would have been.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Reason { $(#[doc = $words] $variant),* }

        impl Reason {
            /// All reasons, in counter order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name in counters, events and tests.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// What governs it.
            #[must_use]
            pub const fn kind(self) -> Kind {
                match self { $(Self::$variant => Kind::$kind),* }
            }

            /// In words, for people.
            #[must_use]
            pub const fn words(self) -> &'static str {
                match self { $(Self::$variant => $words),* }
            }
        }
    };
}

reasons! {
    Truncated "truncated" Unreadable "shorter than its own headers say"
    TooManyTags "too_many_tags" Unreadable "more than two VLAN tags"
    VlanReserved "vlan_reserved" Unreadable "VLAN id 4095"
    IpVersion "ip_version" Unreadable "IP version differs from the ethertype"
    IpHeaderLength "ip_header_length" Unreadable "IPv4 header length out of range"
    IpTotalLength "ip_total_length" Unreadable "IP length differs from the frame's"
    IpHeaderChecksum "ip_header_checksum" Unreadable "IPv4 header checksum wrong"
    Jumbogram "jumbogram" Unreadable "IPv6 jumbogram"
    ExtensionHeader "extension_header" Unreadable "IPv6 extension headers out of order, too many or forbidden"
    TcpDataOffset "tcp_data_offset" Unreadable "TCP data offset out of range"
    UdpLength "udp_length" Unreadable "UDP length differs from what IP carries"
    FragmentInvalid "fragment_invalid" Unreadable "fragment offset, length or flags impossible"
    FragmentTiny "fragment_tiny" Unreadable "first fragment without the whole upper-layer header"
    FragmentNdp "fragment_ndp" Unreadable "fragmented neighbour discovery"
    TxRingFull "tx_ring_full" NoWayOut "the other port takes no more"
    HandoverFull "handover_full" NoWayOut "the worker that owns the flow takes no more"
    FlowTableFull "flow_table_full" NoRoom "flow table full"
    HalfOpenTableFull "half_open_table_full" NoRoom "no place to count another destination's half-open connections"
    HalfOpenContended "half_open_contended" NoRoom "other workers were counting half-open connections all the time"
    SourceRate "source_rate" NoRoom "the source opens flows too fast"
    SourceShare "source_share" NoRoom "the source has its share of the flow table"
    OutsideShare "outside_share" NoRoom "flows opened from outside have their share of the flow table"
    FragmentTableFull "fragment_table_full" NoRoom "no place for another incomplete datagram"
    FragmentSourceQuota "fragment_source_quota" NoRoom "the source has too many incomplete datagrams"
    FragmentHeldFull "fragment_held_full" NoRoom "no place to hold another fragment that came before its first"
    FragmentHeldQuota "fragment_held_quota" NoRoom "too many fragments of the source wait for their first"
    HalfOpenLimit "half_open_limit" Judged "the destination has as many half-open connections as it may"
    SourceNotUnicast "source_not_unicast" Judged "source is broadcast or multicast"
    Loopback "loopback" Judged "loopback address"
    ReservedAddress "reserved_address" Judged "unspecified or reserved address"
    Land "land" Judged "source equals destination"
    SourceRoute "source_route" Judged "source route or record route"
    TcpFlags "tcp_flags" Judged "impossible TCP flags"
    PortZero "port_zero" Judged "port 0"
    IcmpRedirect "icmp_redirect" Judged "ICMP redirect"
    LinkLocal "link_local" Judged "link-local address"
    GateAddress "gate_address" Judged "an address of the gate itself"
    UniqueLocal "unique_local" Judged "unique local address that no network lists"
    Profile "profile" Judged "the profile drops this kind of frame"
    Spoofed "spoofed" Judged "source does not belong to this side or VLAN"
    WrongVlan "wrong_vlan" Judged "VLAN is not one of the destination's network"
    ArpWrongSide "arp_wrong_side" Judged "ARP speaks for an address that does not belong to this side or VLAN"
    ArpWrongMac "arp_wrong_mac" Judged "ARP speaks for an address with a MAC that is not written for it"
    ArpWrongSource "arp_wrong_source" Judged "ARP names another MAC than its frame's own source"
    ArpMalformed "arp_malformed" Judged "ARP that is neither a question nor an answer, or of no host"
    NdpWrongSide "ndp_wrong_side" Judged "neighbour discovery speaks for an address that does not belong to this side or VLAN"
    NdpWrongMac "ndp_wrong_mac" Judged "neighbour discovery speaks for an address with a MAC that is not written for it"
    NdpWrongSource "ndp_wrong_source" Judged "neighbour discovery names another MAC than its frame's own source"
    NdpNoRouter "ndp_no_router" Judged "router advertisement with a MAC that is not one of this side's routers"
    NdpMalformed "ndp_malformed" Judged "neighbour discovery that its receivers must ignore, or could take differently"
    SameSide "same_side" SameSide "destination lies on the arriving side"
    Guardrail "guardrail" Judged "a guardrail forbids it"
    Denied "denied" Judged "a deny rule forbids it"
    AccountNotHeld "account_not_held" Judged "the service account a rule asks for is not held"
    NoRule "no_rule" Judged "no rule allows it"
    TcpNoSession "tcp_no_session" Judged "TCP without a SYN belongs to no flow"
    TcpState "tcp_state" Judged "TCP flags that do not fit how the connection stands"
    TcpWindow "tcp_window" Judged "TCP outside the window of its connection"
    IcmpNoFlow "icmp_no_flow" Judged "ICMP error or reply belongs to no flow"
    FragmentOverlap "fragment_overlap" Judged "fragment overlaps one of its datagram that was seen"
    FragmentRepeat "fragment_repeat" Judged "exact repeat of a fragment that was seen"
    FragmentBeyondEnd "fragment_beyond_end" Judged "fragment reaches beyond its datagram's last one"
    FragmentTwoEnds "fragment_two_ends" Judged "a second last fragment that ends elsewhere"
    FragmentScattered "fragment_scattered" Judged "fragments of the datagram lie in too many separate pieces"
    FragmentPoisoned "fragment_poisoned" Judged "an earlier fragment of the datagram contradicted it"
    FragmentNoFirst "fragment_no_first" Judged "fragment whose ports cannot be known"
}

impl Reason {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Whether it is the policy's own answer.
    #[must_use]
    pub fn is_denial(self) -> bool {
        Denial::ALL.into_iter().any(|denial| Self::from(denial) == self)
    }

    /// Index into a counter array.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl From<Unreadable> for Reason {
    fn from(why: Unreadable) -> Self {
        match why {
            Unreadable::Truncated => Self::Truncated,
            Unreadable::TooManyTags => Self::TooManyTags,
            Unreadable::VlanReserved => Self::VlanReserved,
            Unreadable::Version => Self::IpVersion,
            Unreadable::HeaderLength => Self::IpHeaderLength,
            Unreadable::TotalLength => Self::IpTotalLength,
            Unreadable::HeaderChecksum => Self::IpHeaderChecksum,
            Unreadable::Jumbogram => Self::Jumbogram,
            Unreadable::ExtensionHeader => Self::ExtensionHeader,
            Unreadable::DataOffset => Self::TcpDataOffset,
            Unreadable::UdpLength => Self::UdpLength,
            Unreadable::FragmentInvalid => Self::FragmentInvalid,
            Unreadable::FragmentTiny => Self::FragmentTiny,
            Unreadable::FragmentNdp => Self::FragmentNdp,
        }
    }
}

impl From<Odd> for Reason {
    fn from(odd: Odd) -> Self {
        match odd {
            Odd::SourceNotUnicast => Self::SourceNotUnicast,
            Odd::Loopback => Self::Loopback,
            Odd::Reserved => Self::ReservedAddress,
            Odd::Land => Self::Land,
            Odd::SourceRoute => Self::SourceRoute,
            Odd::TcpFlags => Self::TcpFlags,
            Odd::PortZero => Self::PortZero,
            Odd::Redirect => Self::IcmpRedirect,
            Odd::LinkLocal => Self::LinkLocal,
        }
    }
}

impl From<FragmentRefusal> for Reason {
    fn from(refusal: FragmentRefusal) -> Self {
        match refusal {
            FragmentRefusal::Impossible => Self::FragmentInvalid,
            FragmentRefusal::Overlap => Self::FragmentOverlap,
            FragmentRefusal::Repeat => Self::FragmentRepeat,
            FragmentRefusal::BeyondEnd => Self::FragmentBeyondEnd,
            FragmentRefusal::TwoEnds => Self::FragmentTwoEnds,
            FragmentRefusal::Scattered => Self::FragmentScattered,
            FragmentRefusal::Poisoned => Self::FragmentPoisoned,
            FragmentRefusal::TableFull => Self::FragmentTableFull,
            FragmentRefusal::SourceQuota => Self::FragmentSourceQuota,
            FragmentRefusal::HeldFull => Self::FragmentHeldFull,
            FragmentRefusal::HeldQuota => Self::FragmentHeldQuota,
            FragmentRefusal::NoFirst => Self::FragmentNoFirst,
        }
    }
}

impl From<LimitRefusal> for Reason {
    fn from(refusal: LimitRefusal) -> Self {
        match refusal {
            LimitRefusal::HalfOpen => Self::HalfOpenLimit,
            LimitRefusal::HalfOpenTableFull => Self::HalfOpenTableFull,
            LimitRefusal::HalfOpenContended => Self::HalfOpenContended,
            LimitRefusal::SourceRate => Self::SourceRate,
            LimitRefusal::SourceShare => Self::SourceShare,
            LimitRefusal::OutsideShare => Self::OutsideShare,
        }
    }
}

impl From<Refused> for Reason {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::State => Self::TcpState,
            Refused::Window => Self::TcpWindow,
        }
    }
}

impl From<Denial> for Reason {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::GateAddress => Self::GateAddress,
            Denial::LinkLocal => Self::LinkLocal,
            Denial::UniqueLocal => Self::UniqueLocal,
            Denial::Spoofed => Self::Spoofed,
            Denial::WrongVlan => Self::WrongVlan,
            Denial::SameSide => Self::SameSide,
            Denial::Guardrail => Self::Guardrail,
            Denial::Rule => Self::Denied,
            Denial::AccountNotHeld => Self::AccountNotHeld,
            Denial::NoRule => Self::NoRule,
        }
    }
}
