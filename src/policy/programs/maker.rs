//! How programs are made: each list of sets once, and lines that answer alike are one.

use std::collections::{HashMap, HashSet};

use super::{Head, Programs};
use crate::policy::hash::Quick;
use crate::policy::model::ServiceSet;
use crate::policy::services::{Spans, UNREADABLE, blank, place, span};

/// With more cuts in a policy, lines write their own out: longer masks would be mostly empty.
const CUTS: usize = 128;

/// Words of a line of memory.
const LINE: usize = 64 / size_of::<u32>();

/// Makes programs.
#[derive(Debug, Default)]
pub(in crate::policy) struct Maker {
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

/// What turns matching sets into answers. Indexes are into the list a program was made of, sorted.
pub(in crate::policy) trait Answers {
    /// The service is in exactly these sets.
    fn readable(&mut self, sets: &[usize]) -> u32;

    /// The ports can't be read: some ports of the protocol are in `touching`, all of them in `covering`.
    fn unreadable(&mut self, touching: &[usize], covering: &[usize]) -> u32;
}

impl Maker {
    /// For programs of these sets above all; others may follow.
    pub(in crate::policy) fn over<'s>(sets: impl IntoIterator<Item = &'s ServiceSet>) -> Self {
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
    pub(in crate::policy) fn beside(&self) -> Self {
        Self { aligned: true, ..Self::with(self.programs.cuts.clone()) }
    }

    /// Makes the program that gives `to(answer)` where that of another maker gives `answer`, or finds it.
    pub(in crate::policy) fn project(
        &mut self,
        other: &Self,
        program: u32,
        to: &impl Fn(u32) -> u32,
    ) -> u32 {
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
    pub(in crate::policy) fn make(&mut self, sets: &[&Spans], answers: &mut impl Answers) -> u32 {
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
    pub(in crate::policy) fn finish(self) -> Programs {
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

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::policy::model::Atom;
    use crate::policy::services::ALL;
    use crate::wire::Service;

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
