//! ICMP questions and their answers, tied to each other by an identifier.
//!
//! What it is: which types ask, which answer, and what stands for their ports in a flow's key. What it is
//! not: other messages (errors, routers' and listeners' messages, ICMPv6 node information, whose nonce is no
//! identifier), which are judged one by one. Invariant: a key tells its exchange and who asks, so no question
//! of the answering end and no other exchange ever shares it (docs/adr/0004). Cost: a comparison or two.

use super::Icmp;

/// An exchange of a question and its answers (RFC 792, RFC 950, RFC 4443, RFC 8335).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Query {
    /// A ping.
    Echo = 1,
    /// Timestamp, IPv4 only.
    Timestamp = 2,
    /// Information, IPv4 only.
    Information = 3,
    /// Address mask, IPv4 only.
    AddressMask = 4,
    /// Extended echo; its answer's code tells how it went.
    ExtendedEcho = 5,
}

impl Query {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Echo, Self::Timestamp, Self::Information, Self::AddressMask, Self::ExtendedEcho];

    /// The types of its question and of its answer, where the family has it.
    #[must_use]
    pub const fn types(self, v6: bool) -> Option<[u8; 2]> {
        match (self, v6) {
            (Self::Echo, false) => Some([8, 0]),
            (Self::Echo, true) => Some([128, 129]),
            (Self::Timestamp, false) => Some([13, 14]),
            (Self::Information, false) => Some([15, 16]),
            (Self::AddressMask, false) => Some([17, 18]),
            (Self::ExtendedEcho, false) => Some([42, 43]),
            (Self::ExtendedEcho, true) => Some([160, 161]),
            (Self::Timestamp | Self::Information | Self::AddressMask, true) => None,
        }
    }

    /// The exchange that a type belongs to, and whether it asks.
    #[must_use]
    pub const fn of(kind: u8, v6: bool) -> Option<(Self, bool)> {
        match (kind, v6) {
            (8, false) | (128, true) => Some((Self::Echo, true)),
            (0, false) | (129, true) => Some((Self::Echo, false)),
            (13, false) => Some((Self::Timestamp, true)),
            (14, false) => Some((Self::Timestamp, false)),
            (15, false) => Some((Self::Information, true)),
            (16, false) => Some((Self::Information, false)),
            (17, false) => Some((Self::AddressMask, true)),
            (18, false) => Some((Self::AddressMask, false)),
            (42, false) | (160, true) => Some((Self::ExtendedEcho, true)),
            (43, false) | (161, true) => Some((Self::ExtendedEcho, false)),
            _ => None,
        }
    }

    /// What stands for the ports of its messages, the sender's first: the identifier at who asks, and so much
    /// less at who answers as the exchange's own number.
    pub(super) const fn ports(self, id: u16, asks: bool) -> (u16, u16) {
        let answers = id.wrapping_sub(self as u16);
        if asks { (id, answers) } else { (answers, id) }
    }

    /// The exchange between who asks and who answers, by what stands for their ports.
    #[must_use]
    pub const fn between(asks: u16, answers: u16) -> Option<Self> {
        match asks.wrapping_sub(answers) {
            1 => Some(Self::Echo),
            2 => Some(Self::Timestamp),
            3 => Some(Self::Information),
            4 => Some(Self::AddressMask),
            5 => Some(Self::ExtendedEcho),
            _ => None,
        }
    }
}

impl Icmp {
    /// The exchange that it is part of, and whether it asks. Questions and answers have code 0, but for the
    /// answer to an extended echo (RFC 8335 §3).
    #[must_use]
    pub const fn query(&self, v6: bool) -> Option<(Query, bool)> {
        match (Query::of(self.kind, v6), self.code) {
            (found, 0) | (found @ Some((Query::ExtendedEcho, false)), 1..=4) => found,
            (_, _) => None,
        }
    }

    /// A message that answers a question: without it, it is none.
    #[must_use]
    pub const fn answers(&self, v6: bool) -> bool {
        matches!(self.query(v6), Some((_, false)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_type_belongs_to_the_exchange_that_names_it() {
        for v6 in [false, true] {
            let mut named = BTreeMap::new();
            for query in Query::ALL {
                if let Some([asks, answers]) = query.types(v6) {
                    named.extend([(asks, (query, true)), (answers, (query, false))]);
                }
            }
            for kind in 0..=u8::MAX {
                assert_eq!(Query::of(kind, v6), named.get(&kind).copied(), "{kind}, IPv6: {v6}");
            }
        }
    }

    #[test]
    fn codes_are_none_but_an_extended_answers() {
        let of = |kind, code| Icmp { kind, code, id: None, quote: None };
        for v6 in [false, true] {
            for (kind, code) in (0..=u8::MAX).flat_map(|kind| (0..=u8::MAX).map(move |code| (kind, code))) {
                let extended = kind == if v6 { 161 } else { 43 };
                let known = code == 0 || (extended && code <= 4);
                let expected = Query::of(kind, v6).filter(|_| known);
                assert_eq!(of(kind, code).query(v6), expected, "{kind}.{code}");
                assert_eq!(of(kind, code).answers(v6), expected.is_some_and(|(_, asks)| !asks));
            }
        }
    }

    /// Between two hosts, no two of all exchanges, either way round, stand under the same pair.
    #[test]
    fn a_pair_of_ports_tells_the_exchange_and_who_asks() {
        for id in 0..=u16::MAX {
            for query in Query::ALL {
                let (asks, answers) = query.ports(id, true);
                assert_eq!(query.ports(id, false), (answers, asks));
                assert_eq!((asks, Query::between(asks, answers)), (id, Some(query)));
                assert_eq!(Query::between(answers, asks), None, "the other end asks nothing by this pair");
            }
        }
    }
}
