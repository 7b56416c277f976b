//! Prefixes as runs of addresses, none inside another.
//!
//! What it is: nested prefixes laid flat: where each run of addresses with the same longest prefix begins, in
//! order, so that the longest prefix of an address is one binary search. IPv4 begins it at the address's
//! upper half, and where that holds many, at its third byte. What it is not: a trie (ADR 13 has the figures).
//! Invariant: the first run begins at 0; a run that no prefix holds is stretch 0's. Cost: IPv4, the runs within
//! 65 536 addresses, or 256; IPv6, all runs; twice the prefixes at most.

use super::space::{StretchId, Within};
use crate::wire::processor::prefetch;

/// The runs of one family.
#[derive(Debug)]
pub(super) struct Runs<K> {
    starts: Vec<K>,
    stretches: Vec<StretchId>,
}

/// The runs of IPv4.
#[derive(Debug)]
pub(super) struct Runs4 {
    /// Where each begins, and its stretch: one line has both.
    runs: Vec<(u32, StretchId)>,
    /// By upper half, and one more. Empty where there are too few to be worth it.
    halves: Vec<Half>,
    /// By block and third byte, and one more: how many of the half's runs begin at or before its first address.
    thirds: Vec<[u16; THIRDS]>,
}

/// The addresses with one upper half.
#[derive(Clone, Copy, Debug)]
struct Half {
    /// How many runs begin at or before its first address.
    before: u32,
    /// Which of the thirds are its own; [`Half::WHOLE`] none.
    block: u32,
}

impl Half {
    const WHOLE: u32 = u32::MAX;
}

/// Third bytes, and one more.
const THIRDS: usize = 257;
/// With fewer runs a search is short anyway.
const FEW: usize = 32;
/// The same within an upper half.
const FEW_OF_HALF: usize = 8;

impl<K: Copy + Ord + Default> Runs<K> {
    /// First and last address of each prefix, in order of first address and length; `after` gives the address
    /// after another, if there is one.
    pub(super) fn of(prefixes: &[(K, K, StretchId)], after: impl Fn(K) -> Option<K>) -> Self {
        let mut runs = Self { starts: vec![K::default()], stretches: vec![0] };
        let mut around: Vec<(K, StretchId)> = Vec::new();
        let leave = |runs: &mut Self, around: &mut Vec<(K, StretchId)>| {
            let Some((last, _)) = around.pop() else { return };
            let outer = around.last().map_or(0, |(_, stretch)| *stretch);
            if let Some(next) = after(last) {
                runs.begin(next, outer);
            }
        };
        for (first, last, stretch) in prefixes {
            while around.last().is_some_and(|(end, _)| end < first) {
                leave(&mut runs, &mut around);
            }
            runs.begin(*first, *stretch);
            around.push((*last, *stretch));
        }
        while !around.is_empty() {
            leave(&mut runs, &mut around);
        }
        runs
    }

    fn begin(&mut self, start: K, stretch: StretchId) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.stretches.pop();
        }
        if self.stretches.last() != Some(&stretch) {
            self.starts.push(start);
            self.stretches.push(stretch);
        }
    }

    /// The stretch of an address.
    #[inline]
    pub(super) fn find(&self, address: K) -> StretchId {
        let run = self.starts.partition_point(|start| *start <= address).wrapping_sub(1);
        self.stretches.get(run).copied().unwrap_or(0)
    }

    /// Bytes that they take.
    pub(super) fn bytes(&self) -> usize {
        self.starts.len() * size_of::<K>() + self.stretches.len() * size_of::<StretchId>()
    }
}

impl Runs4 {
    pub(super) fn of(prefixes: &[(u32, u32, StretchId)]) -> Self {
        let Runs { starts, stretches } = Runs::of(prefixes, |address| address.checked_add(1));
        let mut all = Self { runs: Vec::new(), halves: Vec::new(), thirds: Vec::new() };
        if starts.len() > FEW {
            let mut before = 0;
            for half in 0..=u16::MAX {
                let first = u32::from(half) << 16;
                let behind = starts.get(before..).unwrap_or_default();
                before += behind.iter().take_while(|start| **start <= first).count();
                let behind = starts.get(before..).unwrap_or_default();
                let here = behind.iter().take_while(|start| **start >> 16 == first >> 16).count();
                let block = all.divide(first, behind.get(..here).unwrap_or_default());
                all.halves.push(Half { before: number(before), block });
            }
            all.halves.push(Half { before: number(starts.len()), block: Half::WHOLE });
        }
        all.runs = starts.into_iter().zip(stretches).collect();
        all
    }

    /// The block of an upper half, of which these runs begin behind its first address, if they are many.
    fn divide(&mut self, first: u32, starts: &[u32]) -> u32 {
        if starts.len() <= FEW_OF_HALF {
            return Half::WHOLE;
        }
        // More than 65 535 there can't be: each begins at an address of its own, and the first is left out.
        let mut before = 0;
        let mut thirds = [u16::try_from(starts.len()).unwrap_or(u16::MAX); THIRDS];
        for (third, byte) in thirds.iter_mut().zip(0..=u8::MAX) {
            let first = first | u32::from(byte) << 8;
            let behind = starts.get(before..).unwrap_or_default();
            before += behind.iter().take_while(|start| **start <= first).count();
            *third = u16::try_from(before).unwrap_or(u16::MAX);
        }
        self.thirds.push(thirds);
        number(self.thirds.len() - 1)
    }

    /// The runs of which the last that begins at or before an address holds it; the one before them, if none.
    #[inline]
    fn among(&self, address: u32) -> Option<Within> {
        let half = index(address >> 16);
        let Some([here, next]) = self.halves.get(half..half + 2) else {
            return Some((0, number(self.runs.len())));
        };
        let first = here.before;
        let Some(thirds) = self.thirds.get(index(here.block)) else { return Some((first, next.before)) };
        let third = index(address >> 8 & 0xff);
        let [before, end] = *thirds.get(third..third + 2)?.first_chunk::<2>()?;
        Some((first + u32::from(before), first + u32::from(end)))
    }

    /// The stretch of an address.
    #[inline]
    pub(super) fn find(&self, address: u32) -> StretchId {
        self.find_among(self.among(address).unwrap_or_default(), address)
    }

    /// The same, among the runs that [`Self::prefetch_runs`] said.
    #[inline]
    pub(super) fn find_among(&self, (first, end): Within, address: u32) -> StretchId {
        let (first, end) = (index(first), index(end));
        let here = self.runs.get(first..end).unwrap_or_default();
        let run = first + here.partition_point(|(start, _)| *start <= address);
        self.runs.get(run.wrapping_sub(1)).map_or(0, |(_, stretch)| *stretch)
    }

    /// Asks for the line that says among which runs an address lies.
    #[inline]
    pub(super) fn prefetch(&self, address: u32) {
        let half = self.halves.get(index(address >> 16));
        let thirds = half.and_then(|half| self.thirds.get(index(half.block)));
        thirds.and_then(|thirds| thirds.get(index(address >> 8 & 0xff))).into_iter().for_each(prefetch);
    }

    /// Asks for the runs at both ends of those among which an address lies, most often all of them, and says which.
    #[inline]
    pub(super) fn prefetch_runs(&self, address: u32) -> Within {
        let (first, end) = self.among(address).unwrap_or_default();
        [first, end]
            .into_iter()
            .filter_map(|run| self.runs.get(index(run.wrapping_sub(1))))
            .for_each(prefetch);
        (first, end)
    }

    /// Bytes that they take.
    pub(super) fn bytes(&self) -> usize {
        let [runs, halves] = [self.runs.len(), self.halves.len()].map(|count| count * size_of::<Half>());
        runs + halves + self.thirds.len() * size_of::<[u16; THIRDS]>()
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// The longest of those that hold it, by looking at all.
    fn slow(prefixes: &[(u32, u32, StretchId)], address: u32) -> StretchId {
        let holding = prefixes.iter().filter(|(first, last, _)| (*first..=*last).contains(&address));
        holding.min_by_key(|(first, last, _)| last - first).map_or(0, |(.., stretch)| *stretch)
    }

    proptest! {
        #[test]
        fn the_longest_prefix_is_found(
            drawn in vec((any::<u32>(), 0_u32..=32, any::<bool>()), 0..240),
            probes in vec(any::<u32>(), 64),
        ) {
            // Half of them crowded, so that they nest.
            let mut all: Vec<(u32, u32, u32)> = drawn
                .iter()
                .map(|(bits, length, crowd)| {
                    let bits = if *crowd { bits & 0x0003_ffff } else { *bits };
                    let hosts = u32::MAX.checked_shr(*length).unwrap_or(0);
                    (bits & !hosts, hosts, 0)
                })
                .collect();
            all.sort_by_key(|(first, hosts, _)| (*first, std::cmp::Reverse(*hosts)));
            all.dedup();
            let all: Vec<(u32, u32, u32)> =
                (1..).zip(all).map(|(n, (first, hosts, _))| (first, first | hosts, n)).collect();
            let (short, wide) = (Runs4::of(&all), Runs::of(&all, |a| a.checked_add(1)));
            let edges = all.iter().flat_map(|(first, last, _)| {
                [*first, *last, first.wrapping_sub(1), last.wrapping_add(1)]
            });
            for address in edges.chain(probes).chain([0, u32::MAX]) {
                prop_assert_eq!(short.find(address), slow(&all, address));
                prop_assert_eq!(short.find_among(short.prefetch_runs(address), address), slow(&all, address));
                prop_assert_eq!(wide.find(address), slow(&all, address));
            }
        }
    }
}
