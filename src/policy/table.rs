//! The compiled table and its evaluator.

use std::net::IpAddr;

use super::verdict::{Action, Mode, Moment, Sender, Verdict};
use crate::wire::{Housekeeping, Service, Side};

/// An immutable compiled policy.
#[derive(Debug)]
pub struct Table {}
/// A rule as the table keeps it.
#[derive(Debug)]
pub struct RuleFace {
    /// Record what it allows.
    pub log: bool,
}

impl Table {
    /// A rule by its number.
    #[must_use]
    pub fn rule(&self, number: super::RuleNumber) -> Option<&RuleFace> {
        let _ = number;
        None
    }
    /// Judges a packet that opens a flow.
    #[must_use]
    pub fn judge(&self, src: Sender, dst: IpAddr, service: Service, side: Side, now: Moment) -> Verdict {
        let _ = (src, dst, service, side, now);
        Verdict {
            denial: None,
            mode: Mode::Observe,
            rule: super::RuleNumber::NONE,
            also: [super::RuleNumber::NONE; 4],
            judge_at: Moment::NEVER,
        }
    }
    /// What the profile says.
    #[must_use]
    pub fn profile(&self, class: Housekeeping) -> Action {
        let _ = class;
        Action::Drop
    }
    /// The strictest mode anywhere on the wire: governs frames without IP addresses.
    #[must_use]
    pub fn strictest(&self) -> Mode {
        Mode::Enforce
    }
}
