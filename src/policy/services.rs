//! Service sets on one line.
//!
//! What it is: every service is a point on a line (protocol and destination port; behind them each protocol with
//! ports that can't be read), and a service set some spans of it. What it is not: it knows no rule and no answer.

use super::model::{Atom, ServiceSet};
use crate::wire::Service;

/// Ports of a whole protocol.
pub(super) const ALL: (u16, u16) = (0, u16::MAX);

/// Where services whose ports can't be read begin, one place a protocol.
pub(super) const UNREADABLE: u32 = 1 << 24;

/// A place on a line.
pub(super) fn place(protocol: u8, port: u16) -> u32 {
    u32::from(protocol) << 16 | u32::from(port)
}

/// The service at a place, from a source port.
pub(super) fn service_at(place: u32, sport: u16) -> Service {
    let low = |word: u32| u8::try_from(word & 0xff).unwrap_or(u8::MAX);
    if place >= UNREADABLE {
        return Service { protocol: low(place), sport: 0, dport: 0, readable: false };
    }
    let dport = u16::try_from(place & 0xffff).unwrap_or(u16::MAX);
    Service { protocol: low(place >> 16), sport, dport, readable: true }
}

/// The place of an unreadable service.
pub(super) fn blank(protocol: u8) -> u32 {
    UNREADABLE | u32::from(protocol)
}

/// One service set on the line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Spans {
    pub(super) any: bool,
    /// Of atoms that restrict no source port: first place and the one after the last; sorted, apart.
    pub(super) whole: Vec<(u32, u32)>,
    /// Atoms that do.
    pub(super) restricted: Vec<Atom>,
    /// Protocols that some atom names.
    pub(super) touched: Vec<u8>,
    /// Of those, the ones of which no port is left out.
    pub(super) covered: Vec<u8>,
}

/// First place of an atom's ports, and the one after the last.
pub(super) fn span(atom: &Atom) -> (u32, u32) {
    (place(atom.protocol, atom.to.0), place(atom.protocol, atom.to.1) + 1)
}

/// Sorted, and those that overlap or meet joined.
fn joined(mut spans: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    spans.retain(|(start, end)| start < end);
    spans.sort_unstable();
    spans.dedup_by(|next, last| {
        let meets = next.0 <= last.1;
        if meets {
            last.1 = last.1.max(next.1);
        }
        meets
    });
    spans
}

impl Spans {
    /// Of a service set.
    pub(super) fn of(set: &ServiceSet) -> Self {
        if set.any {
            return Self { any: true, whole: vec![(0, UNREADABLE)], ..Self::default() };
        }
        let (whole, restricted): (Vec<&Atom>, Vec<&Atom>) = set.atoms.iter().partition(|a| a.from == ALL);
        let mut touched: Vec<u8> = set.atoms.iter().map(|a| a.protocol).collect();
        touched.sort_unstable();
        touched.dedup();
        let whole = joined(whole.into_iter().map(span).collect());
        let covers = |protocol: &u8| {
            let (first, end) = (place(*protocol, 0), place(*protocol, u16::MAX) + 1);
            whole.iter().any(|(start, last)| *start <= first && end <= *last)
        };
        let covered = touched.iter().copied().filter(covers).collect();
        Self { any: false, whole, restricted: restricted.into_iter().copied().collect(), touched, covered }
    }

    /// With the atoms of a protocol that hold for this source port.
    pub(super) fn from(&self, protocol: u8, sport: u16) -> Vec<(u32, u32)> {
        let here = self
            .restricted
            .iter()
            .filter(|a| a.protocol == protocol && (a.from.0..=a.from.1).contains(&sport));
        joined(self.whole.iter().copied().chain(here.map(span)).collect())
    }
}

impl Atom {
    /// Whether a readable service is in it.
    #[must_use]
    pub fn contains(&self, service: Service) -> bool {
        let within = |(first, last): (u16, u16), port: u16| (first..=last).contains(&port);
        self.protocol == service.protocol
            && within(self.to, service.dport)
            && within(self.from, service.sport)
    }
}

impl ServiceSet {
    /// Whether a readable service is in it.
    pub(super) fn contains(&self, service: Service) -> bool {
        self.any || self.atoms.iter().any(|atom| atom.contains(service))
    }

    /// How much it spans (POLICY.md §5): 1 a port or ICMP type, 65 536 a whole protocol or `any`. Ports
    /// written twice count once, and nothing is wider than `any`.
    #[must_use]
    pub fn width(&self) -> u32 {
        const WHOLE: u32 = 65_536;
        if self.any {
            return WHOLE;
        }
        // Of an ICMP type all codes are one.
        let counted = |a: &Atom| match a.protocol {
            1 | 58 if a.to != ALL => span(&Atom { to: (a.to.0 >> 8, a.to.1 >> 8), ..*a }),
            _ => span(a),
        };
        let spans = joined(self.atoms.iter().map(counted).collect());
        spans.iter().fold(0_u32, |sum, (start, end)| sum.saturating_add(end - start)).min(WHOLE)
    }
}
