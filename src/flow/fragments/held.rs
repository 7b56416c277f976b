//! Fragments that wait for their first: tokens in queues, one a datagram.
//!
//! A token goes in once and comes out once: from the datagram's queue, when it is known how the waiting
//! ends, into the queue of released ones, in order of arrival, and from there to the caller. Released
//! ones keep their place until they are fetched, so the bound holds for both together.

use super::pool::{Link, index, successors};
use super::{FragmentRefusal, Ports};
use std::num::NonZeroU32;

/// How the waiting of a fragment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// Its first came: it is judged like any packet with these ports.
    Known(Ports),
    /// It is dropped.
    Refused(FragmentRefusal),
}

/// A queue of held tokens: its two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Queue {
    first: Link,
    last: Link,
}

impl Queue {
    /// Nobody waits.
    pub(super) const EMPTY: Self = Self { first: None, last: None };
}

#[derive(Debug)]
struct Slot<T> {
    token: Option<T>,
    next: Link,
    release: Release,
}

/// The held tokens of one memory.
#[derive(Debug)]
pub(super) struct Held<T> {
    slots: Box<[Slot<T>]>,
    free: Link,
    released: Queue,
    count: u32,
}

impl<T> Held<T> {
    /// Room for `capacity` tokens; all its memory is taken now.
    pub(super) fn new(capacity: u32) -> Self {
        let release = Release::Refused(FragmentRefusal::NoFirst);
        Self {
            slots: successors(capacity).map(|next| Slot { token: None, next, release }).collect(),
            free: if capacity == 0 { None } else { NonZeroU32::new(1) },
            released: Queue::EMPTY,
            count: 0,
        }
    }

    /// Tokens here, released ones not yet fetched among them.
    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    /// Whether another fits.
    pub(super) const fn has_room(&self) -> bool {
        self.free.is_some()
    }

    fn slot(&mut self, at: Link) -> Option<&mut Slot<T>> {
        self.slots.get_mut(index(at?))
    }

    /// Puts a token at the end of a queue.
    ///
    /// # Errors
    /// The token, when there is no room.
    pub(super) fn put(&mut self, queue: &mut Queue, token: T) -> Result<(), T> {
        let at = self.free;
        let Some(slot) = self.slot(at) else { return Err(token) };
        slot.token = Some(token);
        let free = std::mem::take(&mut slot.next);
        self.free = free;
        self.append(queue, Queue { first: at, last: at });
        self.count += 1;
        Ok(())
    }

    /// Puts one queue behind another.
    fn append(&mut self, queue: &mut Queue, more: Queue) {
        match self.slot(queue.last) {
            Some(last) => last.next = more.first,
            None => queue.first = more.first,
        }
        queue.last = more.last;
    }

    /// Ends the waiting of a whole queue, and says how many waited.
    pub(super) fn release(&mut self, queue: &mut Queue, release: Release) -> u32 {
        let (mut at, mut count) = (queue.first, 0);
        while let Some(slot) = self.slot(at) {
            slot.release = release;
            at = slot.next;
            count += 1;
        }
        if count != 0 {
            let mut released = self.released;
            self.append(&mut released, std::mem::replace(queue, Queue::EMPTY));
            self.released = released;
        }
        count
    }

    /// The next one whose waiting has ended.
    pub(super) fn next_released(&mut self) -> Option<(T, Release)> {
        let (at, free) = (self.released.first?, self.free);
        let slot = self.slot(Some(at))?;
        let released = (slot.token.take()?, slot.release);
        let next = std::mem::replace(&mut slot.next, free);
        self.free = Some(at);
        self.released.first = next;
        if next.is_none() {
            self.released.last = None;
        }
        self.count -= 1;
        Some(released)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const LATE: Release = Release::Refused(FragmentRefusal::NoFirst);
    const SPOILT: Release = Release::Refused(FragmentRefusal::Poisoned);

    proptest! {
        /// Four queues over nine places are four plain queues: nothing is lost, doubled or overtaken.
        #[test]
        fn queues_agree_with_plain_ones(steps in proptest::collection::vec((0..3u8, 0..4usize), 0..300)) {
            let mut held = Held::new(9);
            let mut queues = [Queue::EMPTY; 4];
            let mut model: [VecDeque<u32>; 4] = Default::default();
            let mut out: VecDeque<(u32, Release)> = VecDeque::new();
            for (token, (step, n)) in (0u32..).zip(steps) {
                match step {
                    0 => {
                        let room = model.iter().map(VecDeque::len).sum::<usize>() + out.len() < 9;
                        prop_assert_eq!(held.has_room(), room);
                        let done = held.put(&mut queues[n], token);
                        prop_assert_eq!(done, if room { Ok(()) } else { Err(token) });
                        if room { model[n].push_back(token); }
                    }
                    1 => {
                        let how = if n % 2 == 0 { LATE } else { SPOILT };
                        let count = held.release(&mut queues[n], how);
                        prop_assert_eq!(usize::try_from(count).unwrap(), model[n].len());
                        out.extend(model[n].drain(..).map(|token| (token, how)));
                        prop_assert_eq!(queues[n], Queue::EMPTY);
                    }
                    _ => prop_assert_eq!(held.next_released(), out.pop_front()),
                }
                let waiting = model.iter().map(VecDeque::len).sum::<usize>() + out.len();
                prop_assert_eq!(usize::try_from(held.count()).unwrap(), waiting);
            }
        }
    }
}
