//! The memory a flow table stands in.
//!
//! What it is: slots and the buckets of their index, in memory of the process or in memory that is handed in,
//! all of it written once when the region is made: what the kernel gives out page by page is there before the
//! first packet. What it is not: it decides neither where memory comes from nor how large its pages are
//! (`io::region`). Index, free list and counts are made anew over whatever region a table is handed.

use std::ops::{Deref, DerefMut};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::Slot;
use super::bucket::{Bucket, buckets_for};

/// Slots of one table and the buckets of their index, all of them empty.
#[derive(Debug)]
pub struct Region {
    pub(super) slots: Memory<Slot>,
    pub(super) buckets: Memory<Bucket>,
}

impl Region {
    /// Room for so many flows in the process's own memory.
    #[must_use]
    pub fn plain(flows: u32) -> Self {
        Self { slots: Memory::own(size(flows), Slot::EMPTY), buckets: Memory::buckets(flows) }
    }

    /// Bytes that so many flows take, index included.
    #[must_use]
    pub fn bytes(flows: u32) -> usize {
        let slots = size(flows).saturating_mul(size_of::<Slot>());
        slots.saturating_add(size(buckets_for(flows)).saturating_mul(size_of::<Bucket>()))
    }

    /// Room for so many flows at the front of some bytes, which are written over. `None`: they are fewer than
    /// [`Self::bytes`], or do not begin at a cache line.
    #[must_use]
    pub fn over(bytes: &'static mut [u8], flows: u32) -> Option<Self> {
        let (mut slots, rest) = Memory::lent(bytes, size(flows))?;
        let (mut buckets, _) = Memory::lent(rest, size(buckets_for(flows)))?;
        slots.fill(Slot::EMPTY);
        buckets.fill(Bucket::EMPTY);
        Some(Self { slots, buckets })
    }
}

fn size(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Items in memory that is the table's own or was given to it for good. Both read alike: pointer and length lie
/// in the same place, so no branch is left of telling them apart.
#[derive(Debug)]
pub(super) enum Memory<T: 'static> {
    Own(Box<[T]>),
    Lent(&'static mut [T]),
}

impl<T: Clone> Memory<T> {
    pub(super) fn own(count: usize, empty: T) -> Self {
        Self::Own(vec![empty; count].into_boxed_slice())
    }
}

impl Memory<Bucket> {
    /// The buckets of so many flows.
    pub(super) fn buckets(flows: u32) -> Self {
        Self::own(size(buckets_for(flows)), Bucket::EMPTY)
    }
}

impl<T: FromBytes + IntoBytes + Immutable + KnownLayout> Memory<T> {
    fn lent(bytes: &'static mut [u8], count: usize) -> Option<(Self, &'static mut [u8])> {
        let (items, rest) = <[T]>::mut_from_prefix_with_elems(bytes, count).ok()?;
        Some((Self::Lent(items), rest))
    }
}

impl<T> Deref for Memory<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match self {
            Self::Own(items) => items,
            Self::Lent(items) => items,
        }
    }
}

impl<T> DerefMut for Memory<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Self::Own(items) => items,
            Self::Lent(items) => items,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that stay for the rest of the test program, the first at a cache line.
    fn lines(count: usize) -> &'static mut [u8] {
        <[Slot]>::as_mut_bytes(Box::leak(vec![Slot::EMPTY; count].into_boxed_slice()))
    }

    #[test]
    fn a_region_fits_the_bytes_it_says_and_empties_them() {
        for flows in [0, 1, 6, 7, 1_000] {
            let bytes = Region::bytes(flows);
            assert_eq!(bytes, flows as usize * 128 + (flows.div_ceil(6).max(1) as usize) * 64);
            let memory = lines(bytes.div_ceil(128) + 1);
            memory.fill(0xff);
            let (front, rest) = memory.split_at_mut(bytes);
            let region = Region::over(front, flows).unwrap();
            assert_eq!(
                (region.slots.len(), region.buckets.len()),
                (flows as usize, flows.div_ceil(6).max(1) as usize)
            );
            assert!(region.slots.as_bytes().iter().chain(region.buckets.as_bytes()).all(|byte| *byte == 0));
            assert!(rest.iter().all(|byte| *byte == 0xff), "nothing behind it was written");
        }
    }

    #[test]
    fn too_few_bytes_and_a_crooked_start_are_no_region() {
        let bytes = Region::bytes(6);
        assert!(Region::over(&mut lines(bytes.div_ceil(128))[..bytes - 1], 6).is_none());
        assert!(Region::over(&mut lines(bytes.div_ceil(128) + 1)[8..], 6).is_none());
    }
}
