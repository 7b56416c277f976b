//! Memory for a flow table, in huge pages where the kernel has them.
//!
//! What it is: anonymous private memory, aligned to 2 MiB, for which huge pages are asked (`MADV_HUGEPAGE`); the
//! table is built over it and writes all of it once, so no packet waits for a page. What it is not: no file yet
//! that outlives the process (FLOWS.md §7), and nothing here reads what is in it. Why: a table of a million flows
//! is 139 MB; in pages of 4 KiB nearly every hit misses the TLB twice, for the bucket and for the slot
//! (docs/BENCHMARKS.md has both). Invariants: what is mapped here is never unmapped: a table is its worker's, and
//! a worker ends with the process. Without huge pages the same table stands in plain ones, and [`Backing`] says so.
#![allow(unsafe_code, reason = "memory is mapped, advised and handed out as a slice")]

use std::ops::Range;
use std::ptr::null_mut;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};

use crate::flow::Region;

/// Bytes of a huge page.
const HUGE: usize = 2 << 20;

/// How the memory of a flow table is backed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backing {
    /// Bytes of slots and index.
    pub bytes: u64,
    /// How many of them lay in huge pages when the table was made.
    pub huge: u64,
}

impl Backing {
    /// All of it, or all but less than one huge page.
    #[must_use]
    pub const fn is_huge(&self) -> bool {
        self.bytes - self.huge < HUGE as u64
    }
}

/// What the kernel says about huge pages that are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offer {
    /// Whoever asks gets them, while there are any.
    Given,
    /// Nobody does.
    Refused,
    /// It cannot be read, or says something else.
    Unknown(String),
}

/// Where the kernel says it.
const SETTING: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

/// Whether huge pages are to be had.
#[must_use]
pub fn offer() -> Offer {
    match std::fs::read_to_string(SETTING) {
        Ok(text) => offered(&text),
        Err(error) => Offer::Unknown(format!("{SETTING}: {error}")),
    }
}

/// The setting in force stands in brackets.
fn offered(text: &str) -> Offer {
    match text.split_once('[').and_then(|(_, rest)| rest.split_once(']')) {
        Some(("always" | "madvise", _)) => Offer::Given,
        Some(("never", _)) => Offer::Refused,
        Some(_) | None => Offer::Unknown(format!("{SETTING}: {}", text.trim())),
    }
}

/// Room for so many flows, in huge pages as far as the kernel gives them.
#[must_use]
pub fn flows(flows: u32) -> (Region, Backing) {
    let bytes = Region::bytes(flows);
    let whole = u64::try_from(bytes).unwrap_or(u64::MAX);
    let mapped = (bytes >= HUGE).then(|| map(bytes)).flatten();
    if let Some((start, memory)) = mapped
        && let Some(region) = Region::over(memory, flows)
    {
        let end = start.saturating_add(bytes);
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap_or_default();
        return (region, Backing { bytes: whole, huge: huge_within(&maps, start, end).min(whole) });
    }
    (Region::plain(flows), Backing { bytes: whole, huge: 0 })
}

/// Puts memory that is there already into huge pages, as far as whole ones lie in these addresses and the kernel has
/// some at once (`MADV_COLLAPSE`, Linux 6.1). For what is written once and read at random. Bytes that it did; the
/// rest stays as it was. It takes as long as copying it.
pub fn gather(range: &Range<usize>) -> usize {
    let Some(start) = range.start.checked_next_multiple_of(HUGE) else { return 0 };
    let pages = range.end.saturating_sub(start) / HUGE;
    let mut gathered = 0;
    for page in (start..).step_by(HUGE).take(pages) {
        let at = std::ptr::without_provenance_mut::<libc::c_void>(page);
        // SAFETY: the advice changes how memory is backed and not what is in it; addresses that are not mapped are
        // refused.
        let asked = unsafe { libc::madvise(at, HUGE, libc::MADV_HUGEPAGE) };
        // SAFETY: the same.
        let done = unsafe { libc::madvise(at, HUGE, libc::MADV_COLLAPSE) };
        gathered += if asked == 0 && done == 0 { HUGE } else { 0 };
    }
    gathered
}

/// Memory of at least so many bytes for the rest of the process's life, and its address. It takes up to a huge page
/// of addresses at both ends that is never touched; so two of these are no neighbours, and each stands in
/// `/proc/self/smaps` by itself.
fn map(bytes: usize) -> Option<(usize, &'static mut [u8])> {
    let length = bytes.checked_next_multiple_of(HUGE)?;
    let (access, private) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
    // SAFETY: the kernel chooses the place, so nothing that is mapped already changes.
    let start = unsafe { mmap_anonymous(null_mut(), length.checked_add(HUGE)?, access, private) }.ok()?;
    let gap = start.addr().checked_next_multiple_of(HUGE)?.checked_sub(start.addr())?;
    let aligned = start.cast::<u8>().wrapping_add(gap);
    // A kernel without huge pages says EINVAL: the memory is as good as any.
    // SAFETY: `gap` is below HUGE, so these are `length` bytes of the mapping above, which nobody else knows; the
    // advice changes how they are backed and not what is in them.
    let _ = unsafe { madvise(aligned.cast(), length, Advice::LinuxHugepage) };
    // SAFETY: `length` bytes of the mapping above, readable, writable, all zero, at no null address; it is never
    // unmapped, and this is the only reference to it that is ever made.
    Some((aligned.addr(), unsafe { std::slice::from_raw_parts_mut(aligned, length) }))
}

/// Bytes in huge pages of the mappings that begin between two addresses, as `/proc/self/smaps` tells it.
fn huge_within(maps: &str, start: usize, end: usize) -> u64 {
    let (mut within, mut huge) = (false, 0_u64);
    for line in maps.lines() {
        let first = line.split(' ').next().unwrap_or_default();
        if let Some((from, _)) = first.split_once('-') {
            within = usize::from_str_radix(from, 16).is_ok_and(|from| (start..end).contains(&from));
        } else if within && first == "AnonHugePages:" {
            let kilobytes =
                line.split_ascii_whitespace().nth(1).and_then(|count| count.parse::<u64>().ok());
            huge = huge.saturating_add(kilobytes.unwrap_or(0).saturating_mul(1024));
        }
    }
    huge
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::flow::limits::HalfOpen;
    use crate::flow::{Bounds, FlowTable};

    #[test]
    fn memory_is_zero_aligned_and_as_long_as_asked() {
        for bytes in [1, HUGE - 1, HUGE, HUGE + 1, 3 * HUGE] {
            let (start, memory) = map(bytes).unwrap();
            assert_eq!((start % HUGE, memory.as_ptr().addr()), (0, start));
            assert_eq!(memory.len(), bytes.next_multiple_of(HUGE));
            assert!(memory.iter().all(|byte| *byte == 0));
            memory.fill(1);
        }
        assert!(map(usize::MAX).is_none());
    }

    #[test]
    fn a_table_has_the_pages_that_the_kernel_gives() {
        let places = 100_000;
        let (region, backing) = flows(places);
        assert_eq!(backing.bytes, 100_000 * 128 + 16_667 * 64);
        match offer() {
            // Asked for is not given where memory is in pieces.
            Offer::Given => {
                assert!(
                    backing.huge.is_multiple_of(HUGE as u64) || backing.huge == backing.bytes,
                    "{backing:?}"
                );
            }
            Offer::Refused | Offer::Unknown(_) => assert_eq!(backing.huge, 0),
        }
        let table = FlowTable::over(region, Bounds::of(places), Arc::new(HalfOpen::new(8, (1, 2))));
        assert_eq!((table.capacity(), table.len()), (100_000, 0));
        assert_eq!(u64::try_from(table.bytes()).unwrap(), backing.bytes);
    }

    #[test]
    fn memory_that_is_gathered_stays_as_it_was() {
        let filled: Vec<u64> = (0..1 << 20).collect();
        let range = filled.as_ptr_range();
        let range = range.start.addr()..range.end.addr();
        let whole = range.end / HUGE * HUGE - range.start.next_multiple_of(HUGE);
        let gathered = gather(&range);
        assert!(gathered.is_multiple_of(HUGE) && gathered <= whole, "{gathered} of {whole}");
        if matches!(offer(), Offer::Refused | Offer::Unknown(_)) {
            assert_eq!(gathered, 0);
        }
        assert!(filled.iter().zip(0..).all(|(here, number)| *here == number));
        // No whole page, the wrong way round, where nothing is, the last address.
        let nothing = [
            1..HUGE - 1,
            Range { start: 3 * HUGE, end: 2 * HUGE },
            1 << 46..(1 << 46) + HUGE,
            usize::MAX - 1..usize::MAX,
        ];
        assert_eq!(nothing.map(|range| gather(&range)), [0; 4]);
    }

    #[test]
    fn a_table_below_a_huge_page_is_plain_memory() {
        let (region, backing) = flows(1_000);
        assert_eq!(backing, Backing { bytes: 1_000 * 128 + 167 * 64, huge: 0 });
        assert!(backing.is_huge(), "nothing more could be");
        drop(region);
    }

    #[test]
    fn huge_pages_are_counted_of_the_mappings_of_a_table_alone() {
        let maps = "\
7f0000000000-7f0000200000 rw-p 00000000 00:00 0
Size:               2048 kB
AnonHugePages:      2048 kB
VmFlags: rd wr mr mw me ac
7f0000200000-7f0000600000 rw-p 00000000 00:00 0
AnonHugePages:      4096 kB
7f0000600000-7f0000a00000 rw-p 00000000 00:00 0                          [heap]
AnonHugePages:      2048 kB
ShmemPmdMapped:     1024 kB
7f0000a00000-7f0000c00000 rw-p 00000000 00:00 0
AnonHugePages:      2048 kB
";
        assert_eq!(huge_within(maps, 0x7f00_0020_0000, 0x7f00_00a0_0000), 6 << 20);
        assert_eq!(huge_within(maps, 0x7f00_0020_0001, 0x7f00_00a0_0001), 4 << 20);
        assert_eq!(huge_within(maps, 0x7f10_0000_0000, 0x7f20_0000_0000), 0);
        assert_eq!(huge_within("", 0, usize::MAX), 0);
    }

    #[test]
    fn what_is_in_force_stands_in_brackets() {
        assert_eq!(offered("always [madvise] never\n"), Offer::Given);
        assert_eq!(offered("[always] madvise never\n"), Offer::Given);
        assert_eq!(offered("always madvise [never]\n"), Offer::Refused);
        assert_eq!(offered("soon"), Offer::Unknown(format!("{SETTING}: soon")));
    }
}
