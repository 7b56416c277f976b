//! What the evaluator is asked and what it answers.

use std::fmt;
use std::net::IpAddr;

use crate::wire::{Mac, Vlans};

/// An instant: nanoseconds since the Unix epoch on the gate's own clock (POLICY.md §8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Moment(pub u64);

impl Moment {
    /// No such moment. As the time that a judgement is asked for: no trustworthy clock, everything that ends has
    /// ended.
    pub const NEVER: Self = Self(u64::MAX);

    /// This moment and `nanos` more, saturating.
    #[must_use]
    pub const fn after(self, nanos: u64) -> Self {
        Self(self.0.saturating_add(nanos))
    }
}

impl fmt::Display for Moment {
    /// `2027-05-31T12:00:00Z`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 2^64 ns after 1970 is the year 2554: always within a timestamp's range.
        match jiff::Timestamp::from_nanosecond(i128::from(self.0)) {
            Ok(at) => f.pad(&at.to_string()),
            Err(_) => f.pad("never"),
        }
    }
}

/// How far a zone has got: the larger, the stricter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Mode {
    /// Forward, record.
    Observe = 0,
    /// Forward, record what enforcement would do.
    Simulate = 1,
    /// Do it.
    Enforce = 2,
}

impl Mode {
    /// The word in policy text.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Simulate => "simulate",
            Self::Enforce => "enforce",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a `[profile]` line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Let it cross.
    Forward,
    /// Drop it, where the mode says so.
    Drop,
}

/// Number of a rule in one generation's table: index into [`super::Table::rules`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleNumber(pub u32);

impl RuleNumber {
    /// No rule: the default.
    pub const NONE: Self = Self(u32::MAX);
}

/// Why the verdict is deny.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Denial {
    /// The gate's own address at either end.
    GateAddress,
    /// A link-local address at either end.
    LinkLocal,
    /// A unique local address at either end that no network of the wire lists.
    UniqueLocal,
    /// Source belongs to the other side, or its network does not list the VLAN.
    Spoofed,
    /// The destination's network does not list the VLAN.
    WrongVlan,
    /// Destination lies on the arriving side.
    SameSide,
    /// A guardrail.
    Guardrail,
    /// A deny rule.
    Rule,
    /// An allow would have matched, had the account it names been held.
    AccountNotHeld,
    /// Default deny.
    NoRule,
}

impl Denial {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::GateAddress,
        Self::LinkLocal,
        Self::UniqueLocal,
        Self::Spoofed,
        Self::WrongVlan,
        Self::SameSide,
        Self::Guardrail,
        Self::Rule,
        Self::AccountNotHeld,
        Self::NoRule,
    ];

    /// Whether it is said before rules are asked: of where the packet's ends lie.
    #[must_use]
    pub const fn is_misplaced(self) -> bool {
        match self {
            Self::GateAddress
            | Self::LinkLocal
            | Self::UniqueLocal
            | Self::Spoofed
            | Self::WrongVlan
            | Self::SameSide => true,
            Self::Guardrail | Self::Rule | Self::AccountNotHeld | Self::NoRule => false,
        }
    }
}

/// The MAC address of the frame that opens the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SenderMac {
    /// As seen on the wire.
    Seen(Mac),
    /// Taken as true: `explain` without a MAC; a flow whose opener was seen with a true one.
    Assumed,
    /// Taken as none of those written for it: a flow whose opener was seen with such a one.
    Stranger,
}

/// The end that opens the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sender {
    /// Its address.
    pub address: IpAddr,
    /// Its MAC.
    pub mac: SenderMac,
    /// Tags of its frame.
    pub vlans: Vlans,
}

/// The evaluator's answer. Fixed size, `Copy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// `None`: allow.
    pub denial: Option<Denial>,
    /// The mode that governs the flow: what a denial does.
    pub mode: Mode,
    /// The rule that decided; [`RuleNumber::NONE`] for the default and the checks before rules.
    pub rule: RuleNumber,
    /// Other rules that match, in order of precedence; unused places are [`RuleNumber::NONE`].
    pub also: [RuleNumber; 4],
    /// The earliest moment at which this answer could change.
    pub judge_at: Moment,
}

impl Verdict {
    /// Whether a packet with this verdict crosses, under its mode.
    #[must_use]
    pub fn crosses(&self) -> bool {
        self.denial.is_none() || self.mode < Mode::Enforce
    }
}
