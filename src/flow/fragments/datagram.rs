//! What is remembered of one datagram: 128 bytes, two cache lines.

use super::held::Queue;
use super::piece::Piece;
use super::pool::{Hashed, Link, Node};
use super::spans::{Span, Spans};
use super::{DatagramKey, FragmentRefusal, Ports, Position};
use crate::flow::Source;
use siphasher::sip::SipHasher13;

/// How a datagram stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Standing {
    /// No datagram in this place.
    Vacant,
    /// Later fragments came, the first did not.
    WaitsForFirst,
    /// The first came.
    Known,
    /// A fragment contradicted the others: nothing of it passes any more.
    Poisoned,
}

/// One datagram that is not complete.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Datagram {
    pub(super) key: DatagramKey,
    spans: Spans,
    /// Where it ends; 0 while the last fragment has not come.
    end: u16,
    /// Tick of the fragment that came before all others.
    pub(super) started: u32,
    next: Link,
    pub(super) held: Queue,
    /// Its source's account.
    pub(super) account: Link,
    /// Meaningful once [`Standing::Known`].
    pub(super) ports: Ports,
    pub(super) standing: Standing,
}

const _: () = assert!(size_of::<Datagram>() == 128);

impl Datagram {
    /// A datagram of which nothing was seen.
    pub(super) const fn new(key: DatagramKey, now: u32) -> Self {
        Self {
            key,
            spans: Spans::NONE,
            end: 0,
            started: now,
            next: None,
            held: Queue::EMPTY,
            account: None,
            ports: Ports::NONE,
            standing: Standing::WaitsForFirst,
        }
    }

    /// Adds a fragment; what is refused changes nothing.
    ///
    /// # Errors
    /// What contradicts the fragments seen so far.
    pub(super) fn add(&mut self, piece: &Piece, span: Span) -> Result<(), FragmentRefusal> {
        if self.standing == Standing::Poisoned {
            return Err(FragmentRefusal::Poisoned);
        }
        let mut end = self.end;
        if piece.more() {
            if end != 0 && span.end() >= end {
                return Err(FragmentRefusal::BeyondEnd);
            }
        } else if end == 0 {
            // What was seen may reach up to this fragment, not to its end: those had more to follow.
            if self.spans.highest() >= span.end() {
                return Err(FragmentRefusal::BeyondEnd);
            }
            end = span.end();
        } else if end != span.end() {
            return Err(FragmentRefusal::TwoEnds);
        }
        self.spans.add(span)?;
        self.end = end;
        if let Position::First(ports) = piece.position {
            self.ports = ports;
            self.standing = Standing::Known;
        }
        Ok(())
    }

    /// Every byte of it was seen. Spans never overlap, so it is enough to count.
    pub(super) fn is_complete(&self) -> bool {
        self.end != 0 && self.spans.covered() == u32::from(self.end)
    }
}

impl Node for Datagram {
    type Key = DatagramKey;
    const VACANT: Self = Self { standing: Standing::Vacant, ..Self::new(DatagramKey::NOTHING, 0) };

    fn key(&self) -> &DatagramKey {
        &self.key
    }

    fn next(&self) -> Link {
        self.next
    }

    fn set_next(&mut self, next: Link) {
        self.next = next;
    }
}

/// What one source has in the memory. It exists as long as a datagram of the source does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account {
    source: Source,
    next: Link,
    /// Its incomplete datagrams.
    pub(super) datagrams: u32,
    /// Its fragments that wait for their first.
    pub(super) held: u32,
}

impl Account {
    /// The account of a source with its first datagram.
    pub(super) const fn new(source: Source) -> Self {
        Self { source, next: None, datagrams: 1, held: 0 }
    }
}

impl Hashed for Source {
    fn hashed(&self, sip: &SipHasher13) -> u64 {
        sip.hash(&self.block())
    }
}

impl Node for Account {
    type Key = Source;
    const VACANT: Self = Self { source: Source::NOBODY, next: None, datagrams: 0, held: 0 };

    fn key(&self) -> &Source {
        &self.source
    }

    fn next(&self) -> Link {
        self.next
    }

    fn set_next(&mut self, next: Link) {
        self.next = next;
    }
}
