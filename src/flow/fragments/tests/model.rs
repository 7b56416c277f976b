//! The memory against a plain list of datagrams with a set of bytes each.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::flow::fragments::{FragmentCounts, FragmentRefusal as Why};

/// One fragment, without its token.
#[derive(Clone, Debug)]
enum Step {
    /// Piece `n` of a datagram that is cut evenly, so that some become complete.
    Even {
        who: usize,
        n: u16,
    },
    /// Anything.
    Wild {
        who: usize,
        offset: u16,
        length: u16,
        more: bool,
    },
    Pass(u32),
    Sweep,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..8usize, 0..5u16).prop_map(|(who, n)| Step::Even { who, n }),
        3 => (0..8usize, 0..26u16, 0..20u16, any::<bool>())
            .prop_map(|(who, at, length, more)| Step::Wild { who, offset: at * 8, length, more }),
        6 => (0..4usize, 0..40u16, any::<bool>())
            .prop_map(|(who, at, more)| Step::Wild { who, offset: at * 8, length: 8, more }),
        1 => (0..60u32).prop_map(Step::Pass),
        1 => Just(Step::Sweep),
    ]
}

/// Eight datagrams of three sources, both families.
fn datagram(who: usize) -> DatagramKey {
    let hosts = [HOST, HOST, HOST, HOST, HOST, "10.0.0.2", "2001:db8::1", "2001:db8::2"];
    key(hosts[who], u32::try_from(who).unwrap())
}

/// Three and four pieces of 16 bytes.
fn even(who: usize, n: u16) -> Piece {
    let last = if who.is_multiple_of(2) { 2 } else { 3 };
    match n.min(last) {
        0 => first_of(datagram(who), 16, 1000),
        n if n == last => later_of(datagram(who), n * 16, 5, false),
        n => later_of(datagram(who), n * 16, 16, true),
    }
}

#[derive(Clone, Debug)]
struct Plain {
    who: usize,
    started: u32,
    bytes: BTreeSet<u16>,
    /// Start, end and whether more follow, of each fragment.
    pieces: Vec<(u16, u16, bool)>,
    first: bool,
    poisoned: bool,
    held: Vec<u32>,
}

#[derive(Debug, Default)]
struct Model {
    datagrams: Vec<Plain>,
    counts: FragmentCounts,
    now: u32,
}

fn source(who: usize) -> usize {
    [0, 0, 0, 0, 0, 1, 2, 2][who]
}

fn runs(bytes: &BTreeSet<u16>) -> usize {
    bytes.iter().filter(|b| **b == 0 || !bytes.contains(&(**b - 1))).count()
}

impl Model {
    fn held(&self, of: impl Fn(&Plain) -> bool) -> usize {
        self.datagrams.iter().filter(|d| of(d)).map(|d| d.held.len()).sum()
    }

    /// Ends what is old among those chosen, and gives back what waited.
    fn expire(&mut self, which: impl Fn(&Plain) -> bool) -> Vec<(u32, Release)> {
        let (mut out, now) = (Vec::new(), self.now);
        for gone in self.datagrams.extract_if(.., |d| which(d) && now - d.started >= LIMITS.timeout) {
            match (gone.poisoned, gone.first) {
                (true, _) => self.counts.poisoned += 1,
                (false, true) => self.counts.incomplete += 1,
                (false, false) => self.counts.no_first += 1,
            }
            out.extend(gone.held.into_iter().map(|token| (token, Release::Refused(Why::NoFirst))));
        }
        out
    }

    /// What contradicts the fragments seen, in the order of checks that the memory documents.
    fn contradiction(plain: &Plain, new: (u16, u16, bool)) -> Option<Why> {
        let (start, end, more) = new;
        if plain.poisoned {
            return Some(Why::Poisoned);
        }
        let last = plain.pieces.iter().find(|p| !p.2).map(|p| p.1);
        let reach = plain.pieces.iter().map(|p| p.1).max().unwrap_or(0);
        match (last, more) {
            (Some(last), true) if end >= last => return Some(Why::BeyondEnd),
            (Some(last), false) if end != last => return Some(Why::TwoEnds),
            (None, false) if reach >= end => return Some(Why::BeyondEnd),
            _ => {}
        }
        if plain.pieces.iter().any(|p| (p.0, p.1) == (start, end)) {
            return Some(Why::Repeat);
        }
        if (start..end).any(|byte| plain.bytes.contains(&byte)) {
            return Some(Why::Overlap);
        }
        let mut bytes = plain.bytes.clone();
        bytes.extend(start..end);
        (runs(&bytes) > 12).then_some(Why::Scattered)
    }

    /// What the memory must answer, and what it must release. Where a datagram has more fragments than
    /// spans, a repeat may also count as an overlap: then `answer` decides.
    fn meet(
        &mut self,
        who: usize,
        piece: &Piece,
        token: u32,
        answer: &Answer<u32>,
    ) -> (Answer<u32>, Vec<(u32, Release)>) {
        let (offset, more, is_first) = match piece.position {
            Position::First(_) => (0, true, true),
            Position::Later { offset, more } => (offset, more, false),
        };
        let end = offset + piece.length;
        if piece.length == 0 || (more && !end.is_multiple_of(8)) || (offset == 0) != is_first {
            return (Answer::Refused(token, Why::Impossible), vec![]);
        }
        let mut out = self.expire(|d| d.who == who);
        let found = self.datagrams.iter().position(|d| d.who == who);
        let fresh = Plain {
            who,
            started: self.now,
            bytes: BTreeSet::new(),
            pieces: vec![],
            first: false,
            poisoned: false,
            held: vec![],
        };
        let mut plain = found.map_or(fresh, |at| self.datagrams[at].clone());
        if let Some(mut why) = Self::contradiction(&plain, (offset, end, more)) {
            let vague = why == Why::Repeat && plain.pieces.len() > 12;
            if vague && *answer == Answer::Refused(token, Why::Overlap) {
                why = Why::Overlap;
            }
            if why.poisons()
                && let Some(at) = found
            {
                let plain = &mut self.datagrams[at];
                plain.poisoned = true;
                out.extend(plain.held.drain(..).map(|token| (token, Release::Refused(Why::Poisoned))));
            }
            return (Answer::Refused(token, why), out);
        }
        let holds = !is_first && !plain.first;
        if holds && self.held(|d| source(d.who) == source(who)) >= 3 {
            return (Answer::Refused(token, Why::HeldQuota), out);
        }
        // Released ones are fetched after the fragment, so they still count here.
        if holds && self.held(|_| true) + out.len() >= 5 {
            return (Answer::Refused(token, Why::HeldFull), out);
        }
        if found.is_none() {
            if self.datagrams.len() == 6 {
                out.extend(self.expire(|_| true));
            }
            if self.datagrams.iter().filter(|d| source(d.who) == source(who)).count() >= 4 {
                return (Answer::Refused(token, Why::SourceQuota), out);
            }
            if self.datagrams.len() == 6 {
                return (Answer::Refused(token, Why::TableFull), out);
            }
            self.counts.opened += 1;
        }
        plain.bytes.extend(offset..end);
        plain.pieces.push((offset, end, more));
        plain.first |= is_first;
        let expected = if holds {
            plain.held.push(token);
            Answer::Held
        } else {
            let release = Release::Known(ports(1000));
            out.extend(plain.held.drain(..).map(|token| (token, release)));
            known(token)
        };
        let last = plain.pieces.iter().find(|p| !p.2).map(|p| usize::from(p.1));
        if last == Some(plain.bytes.len()) {
            self.counts.complete += 1;
            self.datagrams.retain(|d| d.who != who);
        } else if let Some(at) = found {
            self.datagrams[at] = plain;
        } else {
            self.datagrams.push(plain);
        }
        (expected, out)
    }
}

/// The order between datagrams that end in one sweep is the table's own.
fn sorted(mut released: Vec<(u32, Release)>) -> Vec<(u32, Release)> {
    released.sort_by_key(|(token, _)| *token);
    released
}

proptest! {
    /// Any fragments of eight datagrams in any order, with time passing.
    #[test]
    fn the_memory_agrees_with_plain_sets_of_bytes(steps in proptest::collection::vec(step(), 0..300)) {
        let (mut memory, mut model) = (memory(), Model::default());
        let mut back = BTreeSet::new();
        let mut given = 0;
        for step in steps {
            let (who, piece) = match step {
                Step::Pass(ticks) => {
                    model.now += ticks;
                    continue;
                }
                Step::Sweep => {
                    memory.sweep(model.now, 6);
                    let released = drain(&mut memory);
                    back.extend(released.iter().map(|(token, _)| *token));
                    prop_assert_eq!(sorted(released), sorted(model.expire(|_| true)));
                    continue;
                }
                Step::Even { who, n } => (who, even(who, n)),
                Step::Wild { who, offset: 0, length, .. } => (who, first_of(datagram(who), length, 1000)),
                Step::Wild { who, offset, length, more } => (who, later_of(datagram(who), offset, length, more)),
            };
            let token = given;
            given += 1;
            let full = model.datagrams.len() == 6;
            let answer = memory.meet(&piece, token, model.now);
            let (expected, released) = model.meet(who, &piece, token, &answer);
            prop_assert_eq!(&answer, &expected);
            if let Answer::Known(token, _) | Answer::Refused(token, _) = answer {
                prop_assert!(back.insert(token));
            }
            let got = drain(&mut memory);
            for (token, _) in &got { prop_assert!(back.insert(*token), "{token} came back twice"); }
            // In order of arrival; a full table may have ended several, in an order of its own.
            if !full { prop_assert_eq!(&got, &released); }
            prop_assert_eq!(sorted(got), sorted(released));
            prop_assert_eq!(memory.counts(), model.counts);
            prop_assert_eq!(usize::try_from(memory.len()).unwrap(), model.datagrams.len());
            prop_assert_eq!(usize::try_from(memory.held()).unwrap(), model.held(|_| true));
            let sources: BTreeSet<_> = model.datagrams.iter().map(|d| source(d.who)).collect();
            prop_assert_eq!(usize::try_from(memory.sources()).unwrap(), sources.len());
        }
        // In the end everything has come back exactly once, and nothing is left.
        memory.sweep(model.now + LIMITS.timeout, 6);
        for (token, _) in drain(&mut memory) { prop_assert!(back.insert(token), "{token} came back twice"); }
        prop_assert_eq!(back.len(), usize::try_from(given).unwrap());
        prop_assert_eq!((memory.len(), memory.held(), memory.sources()), (0, 0, 0));
        let counts = memory.counts();
        let ended = counts.complete + counts.incomplete + counts.no_first + counts.poisoned;
        prop_assert_eq!(counts.opened, ended);
    }
}
