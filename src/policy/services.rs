//! Which of several service sets a service is in.
//!
//! What it is: for each list of service sets the compiler meets, a *program* that finds the answer by two
//! or three binary searches: protocol, source port (one segment unless a set restricts it), destination
//! port. What it is not: it knows no rule; the answer is a number its owner understands. Invariant: the
//! segments of a dimension cover it, sorted, without equal neighbours.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::model::{Atom, ServiceSet};
use crate::wire::Service;

/// Ports of a whole protocol.
pub(super) const ALL: (u16, u16) = (0, u16::MAX);

/// All programs of a table, in four flat arrays.
#[derive(Debug, Default)]
pub(super) struct Programs {
    made: Vec<Program>,
    protocols: Vec<Protocol>,
    sources: Vec<Segment<Range<u32>>>,
    ports: Vec<Segment<u32>>,
}

#[derive(Debug)]
struct Program {
    /// Into `protocols`, sorted by number.
    protocols: Range<u32>,
    /// Answer for protocols that no set names.
    other: u32,
}

#[derive(Debug)]
struct Protocol {
    number: u8,
    /// Into `sources`.
    sources: Range<u32>,
    /// Answer when the ports can't be read.
    unreadable: u32,
}

/// Holds from `start` to the next segment's.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Segment<T> {
    start: u16,
    answer: T,
}

/// What turns matching sets into answers. Indexes are into the list a program was made of, sorted.
pub(super) trait Answers {
    /// The service is in exactly these sets.
    fn readable(&mut self, sets: &[usize]) -> u32;

    /// The ports can't be read: some ports of the protocol are in `touching`, all of them in `covering`.
    fn unreadable(&mut self, touching: &[usize], covering: &[usize]) -> u32;
}

fn slice<'a, T>(all: &'a [T], range: &Range<u32>) -> &'a [T] {
    let (Ok(start), Ok(end)) = (usize::try_from(range.start), usize::try_from(range.end)) else {
        return &[];
    };
    all.get(start..end).unwrap_or(&[])
}

fn segment<T>(segments: &[Segment<T>], port: u16) -> Option<&T> {
    let after = segments.partition_point(|s| s.start <= port);
    segments.get(after.checked_sub(1)?).map(|s| &s.answer)
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

impl Programs {
    /// The answer of a program. `None` only for a program that was not made here.
    pub(super) fn ask(&self, program: u32, service: Service) -> Option<u32> {
        let program = self.made.get(usize::try_from(program).ok()?)?;
        let protocols = slice(&self.protocols, &program.protocols);
        let Some(protocol) = protocols.iter().find(|p| p.number == service.protocol) else {
            return Some(program.other);
        };
        if !service.readable {
            return Some(protocol.unreadable);
        }
        let ports = segment(slice(&self.sources, &protocol.sources), service.sport)?;
        segment(slice(&self.ports, ports), service.dport).copied()
    }

    /// Makes a program of a list of sets.
    pub(super) fn make(&mut self, sets: &[&ServiceSet], answers: &mut impl Answers) -> u32 {
        let any: Vec<usize> = (0..).zip(sets).filter(|(_, s)| s.any).map(|(i, _)| i).collect();
        let numbers: BTreeSet<u8> = sets.iter().flat_map(|s| &s.atoms).map(|a| a.protocol).collect();
        let start = count(self.protocols.len());
        for number in numbers {
            let atoms: Vec<(usize, Atom)> = (0..)
                .zip(sets)
                .flat_map(|(i, set)| {
                    let whole = set.any.then_some(Atom { protocol: number, to: ALL, from: ALL });
                    let written = set.atoms.iter().copied().filter(|a| a.protocol == number);
                    whole.into_iter().chain(written).map(move |atom| (i, atom))
                })
                .collect();
            let touching: BTreeSet<usize> = atoms.iter().map(|(i, _)| *i).collect();
            let touching: Vec<usize> = touching.into_iter().collect();
            let covering: Vec<usize> = touching.iter().copied().filter(|i| covers(&atoms, *i)).collect();
            let unreadable = answers.unreadable(&touching, &covering);
            let sources = self.sources(&atoms, answers);
            self.protocols.push(Protocol { number, sources, unreadable });
        }
        let protocols = start..count(self.protocols.len());
        let other = answers.readable(&any);
        self.made.push(Program { protocols, other });
        count(self.made.len()) - 1
    }

    fn sources(&mut self, atoms: &[(usize, Atom)], answers: &mut impl Answers) -> Range<u32> {
        let spans: Vec<(usize, (u16, u16))> = (0..).zip(atoms).map(|(i, (_, a))| (i, a.from)).collect();
        let start = count(self.sources.len());
        let mut last: Option<Vec<Segment<u32>>> = None;
        for (from, here) in sweep(&spans) {
            let spans: Vec<(usize, (u16, u16))> =
                here.iter().filter_map(|i| atoms.get(*i)).map(|(set, atom)| (*set, atom.to)).collect();
            let mut ports: Vec<Segment<u32>> = Vec::new();
            for (start, sets) in sweep(&spans) {
                let answer = answers.readable(&sets);
                if ports.last().is_none_or(|p| p.answer != answer) {
                    ports.push(Segment { start, answer });
                }
            }
            if last.as_ref() == Some(&ports) {
                continue;
            }
            let first = count(self.ports.len());
            self.ports.extend(ports.iter().cloned());
            self.sources.push(Segment { start: from, answer: first..count(self.ports.len()) });
            last = Some(ports);
        }
        start..count(self.sources.len())
    }
}

/// Cuts 0 to 65 535 where a span begins or ends: the start of each piece, and whose spans lie over it.
fn sweep(spans: &[(usize, (u16, u16))]) -> Vec<(u16, Vec<usize>)> {
    let mut edges: BTreeMap<u16, Vec<(usize, bool)>> = BTreeMap::from([(0, Vec::new())]);
    for (who, (start, end)) in spans {
        if start > end {
            continue;
        }
        edges.entry(*start).or_default().push((*who, true));
        if let Some(after) = end.checked_add(1) {
            edges.entry(after).or_default().push((*who, false));
        }
    }
    let mut over: BTreeMap<usize, usize> = BTreeMap::new();
    let mut pieces = Vec::with_capacity(edges.len());
    for (start, changes) in edges {
        for (who, begins) in changes {
            let spans = over.entry(who).or_default();
            *spans = if begins { *spans + 1 } else { *spans - 1 };
        }
        over.retain(|_, spans| *spans > 0);
        pieces.push((start, over.keys().copied().collect()));
    }
    pieces
}

/// Whether the atoms of one set leave out no port of the protocol.
fn covers(atoms: &[(usize, Atom)], set: usize) -> bool {
    let own = atoms.iter().filter(|(i, atom)| *i == set && atom.from == ALL);
    let spans: Vec<(usize, (u16, u16))> = own.map(|(i, atom)| (*i, atom.to)).collect();
    sweep(&spans).iter().all(|(_, over)| !over.is_empty())
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
        let protocols: BTreeSet<u8> = self.atoms.iter().map(|a| a.protocol).collect();
        let mut width = 0_u32;
        for protocol in protocols {
            let icmp = protocol == 1 || protocol == 58;
            let of = |a: &Atom| {
                if icmp && a.to != ALL { (a.to.0 >> 8, a.to.1 >> 8) } else { a.to }
            };
            let spans: Vec<(usize, (u16, u16))> =
                self.atoms.iter().filter(|a| a.protocol == protocol).map(|a| (0, of(a))).collect();
            let pieces = sweep(&spans);
            let ends = pieces.iter().skip(1).map(|(start, _)| u32::from(*start)).chain([WHOLE]);
            let spanned = pieces.iter().zip(ends).filter(|((_, over), _)| !over.is_empty());
            width = spanned.fold(width, |w, ((start, _), end)| w.saturating_add(end - u32::from(*start)));
        }
        width.min(WHOLE)
    }
}
