//! The memory a flow table stands in.
//!
//! What it is: slots and nothing else. Index, free list and counts are made anew over whatever region a table
//! is handed. What it is not: it does not decide where the memory comes from for ever. Plain memory of the
//! process for now; a file that outlives the process is one more way to make one (FLOWS.md §7).

use super::Slot;

/// Slots of one table, all of them empty when a table is built over them.
#[derive(Debug)]
pub struct Region(Box<[Slot]>);

impl Region {
    /// Room for so many flows in the process's own memory, every page of it written once.
    #[must_use]
    pub fn plain(flows: u32) -> Self {
        Self(vec![Slot::EMPTY; usize::try_from(flows).unwrap_or(usize::MAX)].into_boxed_slice())
    }

    /// The slots.
    #[inline]
    pub(super) const fn slots(&self) -> &[Slot] {
        &self.0
    }

    /// The slots, to change them.
    #[inline]
    pub(super) const fn slots_mut(&mut self) -> &mut [Slot] {
        &mut self.0
    }
}
