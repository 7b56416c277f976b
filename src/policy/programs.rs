//! Which of several service sets a service is in.
//!
//! What it is: for each list of service sets the compiler meets, a *program*: the line of services, cut where
//! a set begins or ends, and each piece has its answer. Only where a set restricts source ports, a first
//! line over those says which line is meant. Where all sets of a policy cut the line in few places, these are
//! numbered once, and a line has one bit for each that is its own: the search is among the policy's cuts, which are
//! near at hand, and a count of bits. What it is not: it knows no rule; the answer is a number its
//! owner understands. Invariant: the pieces of a line cover it, sorted, without equal neighbours; equal lines
//! are one. Cost: one binary search, two where source ports count.

mod maker;

use std::collections::BTreeSet;

use super::services::{ALL, blank, place};
use crate::wire::Service;
use crate::wire::processor::prefetch;

pub(super) use maker::{Answers, Maker};

/// All programs of a table, one after the other: a head; where all pieces but the first begin, as a mask of the
/// policy's cuts or written out; the pieces' answers.
#[derive(Debug, Default)]
pub(super) struct Programs {
    /// Places where lines may be cut, rising; none if they are too many.
    cuts: Vec<u32>,
    /// What is before the first program only puts it at the beginning of a line of memory.
    words: Vec<u32>,
    first: usize,
    count: usize,
}

/// The first word of a line.
#[derive(Clone, Copy, Debug)]
struct Head(u32);

impl Head {
    fn new(pieces: usize, masked: bool, more: bool) -> Self {
        Self(u32::try_from(pieces).unwrap_or(0) << 2 | u32::from(masked) << 1 | u32::from(more))
    }

    /// How many pieces.
    #[inline]
    fn pieces(self) -> usize {
        usize::try_from(self.0 >> 2).unwrap_or(0)
    }

    /// They begin at some of the policy's cuts.
    #[inline]
    const fn is_masked(self) -> bool {
        self.0 >> 1 & 1 == 1
    }

    /// Their answers are lines.
    #[inline]
    const fn is_more(self) -> bool {
        self.0 & 1 == 1
    }
}

/// How many of the first so many bits are set.
#[inline]
fn rank(mask: &[u32], bits: usize) -> usize {
    let mut left = bits;
    let below = |word: &u32| {
        let here = left.min(32);
        left -= here;
        let none = u32::try_from(32 - here).unwrap_or(32);
        (word & u32::MAX.checked_shr(none).unwrap_or(0)).count_ones()
    };
    usize::try_from(mask.iter().map(below).sum::<u32>()).unwrap_or(0)
}

/// Services with one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Region {
    /// Protocol number.
    pub(super) protocol: u8,
    /// Source ports, inclusive.
    pub(super) from: (u16, u16),
    /// Destination ports, inclusive.
    pub(super) to: (u16, u16),
}

/// Where answers may change: the first places of pieces.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    /// Of lines over source ports.
    pub(super) sources: BTreeSet<u32>,
    /// Of lines over destination ports, and over what can't be read.
    pub(super) destinations: BTreeSet<u32>,
}

/// First and last place on a line, and the answer.
type Piece = ((u32, u32), u32);

/// The ports of a protocol within some places; none if there are none.
fn ports(protocol: u8, (first, last): (u32, u32)) -> Option<(u16, u16)> {
    let (least, most) = (place(protocol, 0), place(protocol, u16::MAX));
    let (first, last) = (first.max(least), last.min(most));
    let port = |place: u32| u16::try_from(place & 0xffff).unwrap_or(u16::MAX);
    (first <= last).then(|| (port(first), port(last)))
}

impl Programs {
    /// The answer of a program. `None` only for a program that was not made here.
    #[inline]
    pub(super) fn ask(&self, program: u32, service: Service) -> Option<u32> {
        let Service { protocol, sport, dport, readable } = service;
        let at = |port| if readable { place(protocol, port) } else { blank(protocol) };
        let to = at(dport);
        // Nothing of it waits for the program.
        let before = self.cuts.partition_point(|cut| *cut <= to);
        let (more, answer) = self.piece(program, (to, before), at(sport))?;
        if more { self.piece(answer, (to, before), to).map(|(_, answer)| answer) } else { Some(answer) }
    }

    /// Whether the answer is a line, and the answer: of a line over source ports to `from`, of any other to `to`,
    /// at or before which lie so many of the policy's cuts.
    #[inline]
    fn piece(&self, line: u32, (to, before): (u32, usize), from: u32) -> Option<(bool, u32)> {
        let start = self.start(line)?;
        let head = Head(*self.words.get(start)?);
        let pieces = head.pieces();
        if head.is_masked() {
            let width = self.width();
            let words = self.words.get(start + 1..start + 1 + width + pieces)?;
            let (mask, answers) = words.split_at_checked(width)?;
            return answers.get(rank(mask, before)).map(|answer| (false, *answer));
        }
        let words = self.words.get(start + 1..start + 2 * pieces)?;
        let (starts, answers) = words.split_at_checked(pieces.checked_sub(1)?)?;
        let place = if head.is_more() { from } else { to };
        let piece = starts.partition_point(|start| *start <= place);
        answers.get(piece).map(|answer| (head.is_more(), *answer))
    }

    /// Words of a mask.
    #[inline]
    fn width(&self) -> usize {
        self.cuts.len().div_ceil(32)
    }

    /// Asks for the line of memory where a program stands: of most all of it, where they were made
    /// [`Maker::beside`].
    #[inline]
    pub(super) fn prefetch(&self, program: u32) {
        self.start(program).and_then(|start| self.words.get(start)).into_iter().for_each(prefetch);
    }

    /// Where a program's words begin.
    #[inline]
    fn start(&self, program: u32) -> Option<usize> {
        usize::try_from(program).ok()?.checked_add(self.first)
    }

    /// All that a program answers of readable services: regions that do not overlap and leave nothing out.
    pub(super) fn regions(&self, program: u32) -> Vec<(Region, u32)> {
        let mut regions = Vec::new();
        let (more, pieces) = self.pieces(program);
        for protocol in 0..=u8::MAX {
            for (places, answer) in &pieces {
                let Some(here) = ports(protocol, *places) else { continue };
                if !more {
                    regions.push((Region { protocol, from: ALL, to: here }, *answer));
                    continue;
                }
                let (_, behind) = self.pieces(*answer);
                for (places, answer) in behind {
                    if let Some(to) = ports(protocol, places) {
                        regions.push((Region { protocol, from: here, to }, answer));
                    }
                }
            }
        }
        regions
    }

    /// Adds where the answers of a program may change.
    pub(super) fn cut(&self, program: u32, cuts: &mut Cuts) {
        let (more, pieces) = self.pieces(program);
        if !more {
            cuts.destinations.extend(pieces.iter().map(|((first, _), _)| *first));
            return;
        }
        for ((first, _), line) in pieces {
            cuts.sources.insert(first);
            let (_, behind) = self.pieces(line);
            cuts.destinations.extend(behind.iter().map(|((first, _), _)| *first));
        }
    }

    /// Whether the answers of a line are lines, and its pieces: first and last place, answer.
    fn pieces(&self, line: u32) -> (bool, Vec<Piece>) {
        let words = self.start(line).and_then(|start| self.words.get(start..));
        let Some((head, words)) = words.and_then(<[u32]>::split_first) else { return (false, Vec::new()) };
        let head = Head(*head);
        let count = head.pieces();
        let width = if head.is_masked() { Some(self.width()) } else { count.checked_sub(1) };
        let Some((before, answers)) = width.and_then(|width| words.split_at_checked(width)) else {
            return (false, Vec::new());
        };
        let masked: Vec<u32>;
        let starts = if head.is_masked() {
            let is_set =
                |place: usize| before.get(place / 32).is_some_and(|word| word >> (place % 32) & 1 == 1);
            let own = self.cuts.iter().enumerate().filter(|(place, _)| is_set(*place));
            masked = own.map(|(_, cut)| *cut).collect();
            masked.as_slice()
        } else {
            before
        };
        let firsts = std::iter::once(0).chain(starts.iter().copied());
        let lasts = starts.iter().map(|start| start.saturating_sub(1)).chain([u32::MAX]);
        // A cut at 0 leaves the first piece empty.
        let empty = usize::from(starts.first() == Some(&0));
        let pieces = firsts.zip(lasts).zip(answers.iter().copied()).take(count).skip(empty);
        (head.is_more(), pieces.collect())
    }

    /// How many there are, lines of source ports and those behind them each for one.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The addresses of all programs.
    pub(super) fn memory(&self) -> std::ops::Range<usize> {
        let range = self.words.as_ptr_range();
        range.start.addr()..range.end.addr()
    }

    /// Bytes that all programs take.
    pub(super) fn bytes(&self) -> usize {
        (self.cuts.len() + self.words.len().saturating_sub(self.first)) * size_of::<u32>()
    }
}
