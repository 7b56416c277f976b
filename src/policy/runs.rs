//! Prefixes as runs of addresses, none inside another.
//!
//! What it is: nested prefixes laid flat: where each run of addresses with the same longest prefix begins, in
//! order, so that the longest prefix of an address is one binary search. IPv4 begins it at the address's
//! upper half. What it is not: a trie (ADR 13 has the figures). Invariant: the first run begins at 0; a run
//! that no prefix holds is stretch 0's. Cost: IPv4, the runs within 65 536 addresses; IPv6, all runs; twice
//! the prefixes at most.

use super::space::StretchId;

/// The runs of one family.
#[derive(Debug)]
pub(super) struct Runs<K> {
    starts: Vec<K>,
    stretches: Vec<StretchId>,
}

/// The runs of IPv4, and how many begin at or before the first address of each upper half.
#[derive(Debug)]
pub(super) struct Runs4 {
    runs: Runs<u32>,
    /// Empty where there are too few to be worth it.
    halves: Vec<u32>,
}

/// With fewer runs a search is short anyway.
const FEW: usize = 32;

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
        let runs = Runs::of(prefixes, |address| address.checked_add(1));
        let mut halves = Vec::new();
        if runs.starts.len() > FEW {
            let mut before = 0;
            for half in 0..=u16::MAX {
                let first = u32::from(half) << 16;
                let here = runs.starts.get(before..).unwrap_or_default();
                before += here.iter().take_while(|start| **start <= first).count();
                halves.push(u32::try_from(before).unwrap_or(u32::MAX));
            }
            halves.push(u32::try_from(runs.starts.len()).unwrap_or(u32::MAX));
        }
        Self { runs, halves }
    }

    /// The stretch of an address.
    #[inline]
    pub(super) fn find(&self, address: u32) -> StretchId {
        let Ok(half) = usize::try_from(address >> 16) else { return 0 };
        let Some([first, end]) = self.halves.get(half..half + 2) else { return self.runs.find(address) };
        let (Ok(first), Ok(end)) = (usize::try_from(*first), usize::try_from(*end)) else { return 0 };
        let here = self.runs.starts.get(first..end).unwrap_or_default();
        let run = first + here.partition_point(|start| *start <= address);
        self.runs.stretches.get(run.wrapping_sub(1)).copied().unwrap_or(0)
    }

    /// Bytes that they take.
    pub(super) fn bytes(&self) -> usize {
        self.runs.bytes() + self.halves.len() * size_of::<u32>()
    }
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
            drawn in vec((any::<u32>(), 0_u32..=32, any::<bool>()), 0..120),
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
                prop_assert_eq!(wide.find(address), slow(&all, address));
            }
        }
    }
}
