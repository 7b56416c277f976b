//! Which of several service sets a service is in.
//!
//! What it is: for each list of service sets the compiler meets, a *program*: every service is a point on one
//! line (protocol and destination port; behind them each protocol with ports that can't be read), cut where
//! a set begins or ends, and each piece has its answer. Only where a set restricts source ports, a first
//! line over those says which line is meant. Where all sets of a policy cut the line in few places, these are
//! numbered once, and a line has one bit for each that is its own: the search is among the policy's cuts, which are
//! near at hand, and a count of bits. What it is not: it knows no rule; the answer is a number its
//! owner understands. Invariant: the pieces of a line cover it, sorted, without equal neighbours; equal lines
//! are one. Cost: one binary search, two where source ports count.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::hash::Quick;
use super::model::{Atom, ServiceSet};
use crate::wire::Service;
use crate::wire::processor::prefetch;

/// Ports of a whole protocol.
pub(super) const ALL: (u16, u16) = (0, u16::MAX);

/// Where services whose ports can't be read begin, one place a protocol.
pub(super) const UNREADABLE: u32 = 1 << 24;

/// With more cuts in a policy, lines write their own out: longer masks would be mostly empty.
const CUTS: usize = 128;

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

/// Words of a line of memory.
const LINE: usize = 64 / size_of::<u32>();

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

/// Makes programs.
#[derive(Debug, Default)]
pub(super) struct Maker {
    programs: Programs,
    /// Lines by their words.
    known: HashMap<Vec<u32>, u32, Quick>,
    /// A program that fits a line of memory stands in one.
    aligned: bool,
    scratch: Scratch,
}

/// What making one line leaves to the next: room.
#[derive(Debug, Default)]
struct Scratch {
    edges: Vec<(u32, u32)>,
    active: Vec<bool>,
    sets: Vec<usize>,
    starts: Vec<u32>,
    answers: Vec<u32>,
}

/// One service set on the line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Spans {
    any: bool,
    /// Of atoms that restrict no source port: first place and the one after the last; sorted, apart.
    whole: Vec<(u32, u32)>,
    /// Atoms that do.
    restricted: Vec<Atom>,
    /// Protocols that some atom names.
    touched: Vec<u8>,
    /// Of those, the ones of which no port is left out.
    covered: Vec<u8>,
}

/// What turns matching sets into answers. Indexes are into the list a program was made of, sorted.
pub(super) trait Answers {
    /// The service is in exactly these sets.
    fn readable(&mut self, sets: &[usize]) -> u32;

    /// The ports can't be read: some ports of the protocol are in `touching`, all of them in `covering`.
    fn unreadable(&mut self, touching: &[usize], covering: &[usize]) -> u32;
}

/// First place of an atom's ports, and the one after the last.
fn span(atom: &Atom) -> (u32, u32) {
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
    fn from(&self, protocol: u8, sport: u16) -> Vec<(u32, u32)> {
        let here = self
            .restricted
            .iter()
            .filter(|a| a.protocol == protocol && (a.from.0..=a.from.1).contains(&sport));
        joined(self.whole.iter().copied().chain(here.map(span)).collect())
    }
}

impl Maker {
    /// For programs of these sets above all; others may follow.
    pub(super) fn over<'s>(sets: impl IntoIterator<Item = &'s ServiceSet>) -> Self {
        let mut cuts: HashSet<u32, Quick> = HashSet::from_iter([UNREADABLE]);
        for atom in sets.into_iter().flat_map(|set| &set.atoms) {
            let (first, end) = span(atom);
            let blank = blank(atom.protocol);
            cuts.extend([first, end, blank, blank + 1]);
            if cuts.len() > CUTS {
                return Self::default();
            }
        }
        let mut cuts: Vec<u32> = cuts.into_iter().collect();
        cuts.sort_unstable();
        Self::with(cuts)
    }

    /// For programs with these cuts above all.
    fn with(cuts: Vec<u32>) -> Self {
        Self { programs: Programs { cuts, ..Programs::default() }, ..Self::default() }
    }

    /// For what [`Self::project`] makes of this one's programs: for packets, each to be read with one line of memory
    /// if it fits one.
    pub(super) fn beside(&self) -> Self {
        Self { aligned: true, ..Self::with(self.programs.cuts.clone()) }
    }

    /// Makes the program that gives `to(answer)` where that of another maker gives `answer`, or finds it.
    pub(super) fn project(&mut self, other: &Self, program: u32, to: &impl Fn(u32) -> u32) -> u32 {
        let (more, pieces) = other.programs.pieces(program);
        let (mut starts, mut answers) =
            (Vec::with_capacity(pieces.len()), Vec::with_capacity(pieces.len()));
        for ((first, _), answer) in pieces {
            let answer = if more { self.project(other, answer, to) } else { to(answer) };
            if answers.last() != Some(&answer) {
                starts.push(first);
                answers.push(answer);
            }
        }
        match answers.as_slice() {
            // All source ports alike.
            [line] if more => *line,
            _ => self.keep(more, starts.get(1..).unwrap_or_default(), &answers),
        }
    }

    /// Makes a program of a list of sets, or finds the one that answers alike.
    pub(super) fn make(&mut self, sets: &[&Spans], answers: &mut impl Answers) -> u32 {
        let base = self.line(sets, None, answers);
        // Where a protocol's source ports are cut.
        let mut cuts: Vec<u32> = Vec::new();
        for atom in sets.iter().flat_map(|set| &set.restricted) {
            cuts.extend([place(atom.protocol, 0), place(atom.protocol, u16::MAX) + 1]);
            cuts.extend([place(atom.protocol, atom.from.0), place(atom.protocol, atom.from.1) + 1]);
        }
        if cuts.is_empty() {
            return base;
        }
        cuts.sort_unstable();
        cuts.dedup();
        let (mut starts, mut lines) = (Vec::new(), vec![base]);
        for cut in cuts {
            let protocol = u8::try_from(cut >> 16).ok();
            let named =
                protocol.filter(|p| sets.iter().flat_map(|set| &set.restricted).any(|a| a.protocol == *p));
            let line = match named {
                Some(protocol) => {
                    let sport = u16::try_from(cut & 0xffff).unwrap_or(u16::MAX);
                    self.line(sets, Some((protocol, sport)), answers)
                }
                None => base,
            };
            if lines.last() != Some(&line) {
                starts.push(cut);
                lines.push(line);
            }
        }
        // A cut at 0 leaves the first piece empty, which no search ends in.
        self.keep(true, &starts, &lines)
    }

    /// The line of destination ports; for one source port of a protocol, or for all that nobody restricts.
    fn line(&mut self, sets: &[&Spans], source: Option<(u8, u16)>, answers: &mut impl Answers) -> u32 {
        let mut room = std::mem::take(&mut self.scratch);
        room.edges.clear();
        for (number, set) in (0..).zip(sets) {
            let restricted;
            let spans = match source {
                Some((protocol, sport)) if !set.restricted.is_empty() => {
                    restricted = set.from(protocol, sport);
                    &restricted
                }
                Some(_) | None => &set.whole,
            };
            for (start, end) in spans {
                room.edges.extend([(*start, number), (*end, number)]);
            }
        }
        room.edges.sort_unstable();
        room.active.clear();
        room.active.resize(sets.len(), false);
        room.starts.clear();
        room.answers.clear();
        room.sets.clear();
        room.answers.push(answers.readable(&room.sets));
        let all = std::mem::take(&mut room.edges);
        let mut edges = all.iter().peekable();
        while let Some((place, number)) = edges.next() {
            if let Some(active) =
                usize::try_from(*number).ok().and_then(|number| room.active.get_mut(number))
            {
                *active = !*active;
            }
            if *place >= UNREADABLE || edges.peek().is_some_and(|(next, _)| next == place) {
                continue;
            }
            room.sets.clear();
            room.sets.extend((0..).zip(&room.active).filter(|(_, active)| **active).map(|(i, _)| i));
            let answer = answers.readable(&room.sets);
            push(&mut room, *place, answer);
        }
        room.edges = all;
        blanks(&mut room, sets, answers);
        let (starts, values) = (std::mem::take(&mut room.starts), std::mem::take(&mut room.answers));
        let line = self.keep(false, &starts, &values);
        self.scratch = Scratch { starts, answers: values, ..room };
        line
    }

    fn keep(&mut self, more: bool, starts: &[u32], answers: &[u32]) -> u32 {
        let mask = if more { None } else { self.mask(starts) };
        let Head(head) = Head::new(answers.len(), mask.is_some(), more);
        let mut words = Vec::with_capacity(2 * answers.len());
        words.push(head);
        match mask {
            Some(mask) => words.extend(mask.iter().take(self.programs.width())),
            None => words.extend(starts),
        }
        words.extend(answers);
        let (all, aligned) = (&mut self.programs.words, self.aligned);
        *self.known.entry(words).or_insert_with_key(|words| {
            let left = LINE - all.len() % LINE;
            if aligned && words.len() > left {
                all.resize(all.len() + left, 0);
            }
            let next = u32::try_from(all.len()).unwrap_or(u32::MAX);
            all.extend(words);
            next
        })
    }

    /// The places, rising, as bits of the policy's cuts; `None` if one is no cut.
    fn mask(&self, starts: &[u32]) -> Option<[u32; CUTS / 32]> {
        let mut mask = [0; CUTS / 32];
        let mut cuts = self.programs.cuts.iter().enumerate();
        for start in starts {
            let (place, _) =
                cuts.by_ref().find(|(_, cut)| *cut >= start).filter(|(_, cut)| *cut == start)?;
            *mask.get_mut(place / 32)? |= 1 << (place % 32);
        }
        // Without cuts nothing is gained.
        (!self.programs.cuts.is_empty()).then_some(mask)
    }

    /// What was made.
    pub(super) fn finish(self) -> Programs {
        let Self { mut programs, known, aligned, .. } = self;
        if aligned {
            let room = Vec::with_capacity(programs.words.len() + LINE);
            let made = std::mem::replace(&mut programs.words, room);
            programs.first = programs.words.as_ptr().align_offset(64).min(LINE);
            programs.words.resize(programs.first, 0);
            programs.words.extend(made);
        } else {
            programs.words.shrink_to_fit();
        }
        programs.count = known.len();
        programs
    }
}

/// Goes on with another answer from here.
fn push(room: &mut Scratch, place: u32, answer: u32) {
    if room.answers.last() == Some(&answer) {
        return;
    }
    if room.starts.last() == Some(&place) || (place == 0 && room.starts.is_empty()) {
        // Nothing lies before it.
        room.answers.pop();
        if room.answers.last() == Some(&answer) {
            room.starts.pop();
            return;
        }
    } else {
        room.starts.push(place);
    }
    room.answers.push(answer);
}

/// The end of a line: what can't be read.
fn blanks(room: &mut Scratch, sets: &[&Spans], answers: &mut impl Answers) {
    let any: Vec<usize> = (0..).zip(sets).filter(|(_, set)| set.any).map(|(i, _)| i).collect();
    let other = answers.readable(&any);
    push(room, UNREADABLE, other);
    let mut named: Vec<u8> = sets.iter().flat_map(|set| &set.touched).copied().collect();
    named.sort_unstable();
    named.dedup();
    let (mut touching, mut covering) = (Vec::new(), Vec::new());
    for protocol in named {
        touching.clear();
        covering.clear();
        for (number, set) in sets.iter().enumerate() {
            if set.any || set.touched.contains(&protocol) {
                touching.push(number);
            }
            if set.any || set.covered.contains(&protocol) {
                covering.push(number);
            }
        }
        let answer = answers.unreadable(&touching, &covering);
        push(room, blank(protocol), answer);
        push(room, blank(protocol) + 1, other);
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

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// The answer is which sets matched, as bits; of what can't be read, of those that touch and those that cover.
    struct Matched;

    fn bits(sets: &[usize]) -> u32 {
        sets.iter().fold(0, |bits, set| bits | 1 << (set % 8))
    }

    impl Answers for Matched {
        fn readable(&mut self, sets: &[usize]) -> u32 {
            bits(sets)
        }

        fn unreadable(&mut self, touching: &[usize], covering: &[usize]) -> u32 {
            bits(touching) << 8 | bits(covering) << 16
        }
    }

    /// TCP or else UDP, source and destination ports, and whether the source ports count.
    type Drawn = (bool, (u16, u16), (u16, u16), bool);

    fn set(atoms: Vec<Drawn>) -> ServiceSet {
        let rising = |(a, b): (u16, u16)| (a.min(b), a.max(b));
        let atoms = atoms.into_iter().map(|(tcp, from, to, restricted)| Atom {
            protocol: if tcp { 6 } else { 17 },
            from: if restricted { rising(from) } else { ALL },
            to: rising(to),
        });
        ServiceSet { any: false, atoms: atoms.collect(), written: Vec::new() }
    }

    proptest! {
        #[test]
        fn masks_of_the_policys_cuts_answer_as_places_written_out(
            drawn in vec(vec((any::<bool>(), any::<(u16, u16)>(), any::<(u16, u16)>(), prop::bool::weighted(0.2)), 0..4), 1..6),
            known in 0..6_usize,
            probes in vec((any::<u16>(), any::<u16>()), 32),
        ) {
            let sets: Vec<ServiceSet> = drawn.into_iter().map(set).collect();
            let spans: Vec<Spans> = sets.iter().map(Spans::of).collect();
            // Some programs have cuts that nobody told of.
            let mut masked = Maker::over(sets.iter().take(known));
            let mut plain = Maker::default();
            let lists: Vec<Vec<&Spans>> = (0..spans.len()).map(|last| spans.iter().take(last + 1).collect()).collect();
            let of = |maker: &mut Maker| -> Vec<u32> {
                lists.iter().map(|list| maker.make(list, &mut Matched)).collect()
            };
            let (one, other) = (of(&mut masked), of(&mut plain));
            let (masked, plain) = (masked.finish(), plain.finish());
            let edges: Vec<u16> = sets
                .iter()
                .flat_map(|set| &set.atoms)
                .flat_map(|atom| [atom.to.0, atom.to.1])
                .flat_map(|port| [port.wrapping_sub(1), port, port.wrapping_add(1)])
                .collect();
            let ports = edges.iter().map(|port| (40_000, *port)).chain(probes.iter().copied());
            for (sport, dport) in ports {
                for (protocol, readable) in [(6, true), (17, true), (47, true), (6, false), (17, false), (47, false)] {
                    let service = Service { protocol, sport, dport, readable };
                    for (one, other) in one.iter().zip(&other) {
                        prop_assert_eq!(masked.ask(*one, service), plain.ask(*other, service), "{:?}", service);
                    }
                }
            }
            for (one, other) in one.iter().zip(&other) {
                prop_assert_eq!(masked.regions(*one), plain.regions(*other));
            }
        }
    }

    #[test]
    fn a_policy_of_many_ports_has_no_masks() {
        let sets: Vec<ServiceSet> =
            (0..100).map(|port| set(vec![(true, (0, 0), (port * 10, port * 10), false)])).collect();
        let programs = |sets: &[ServiceSet]| {
            let mut maker = Maker::over(sets);
            let spans: Vec<Spans> = sets.iter().map(Spans::of).collect();
            let program = maker.make(&spans.iter().collect::<Vec<_>>(), &mut Matched);
            let programs = maker.finish();
            let head = programs.words.get(program as usize).copied().map(Head);
            (programs.cuts.len(), head.map(Head::is_masked))
        };
        assert_eq!(programs(&sets[..3]), (2 * 3 + 3, Some(true)));
        assert_eq!(programs(&sets), (0, Some(false)));
    }
}
