//! The memory itself: a fragment comes, an answer goes.

use std::num::NonZeroU32;

use super::datagram::{Account, Datagram, Standing};
use super::held::{Held, Release};
use super::pool::Pool;
use super::{DatagramKey, FragmentLimits, FragmentRefusal, Piece, Ports};
use crate::flow::Source;

/// Slots looked at for something that has ended before a full memory refuses.
const LAST_RESORT: u32 = 16;

/// What becomes of a fragment.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Answer<T> {
    /// It is judged like any packet with these ports. Then [`FragmentMemory::next_released`] is asked until
    /// it has no more: the first fragment releases those that came before it.
    Known(T, Ports),
    /// It came before its first and waits; [`FragmentMemory::next_released`] gives it back.
    Held,
    /// It goes nowhere.
    Refused(T, FragmentRefusal),
}

/// What became of all datagrams so far: `opened` is the sum of the others and of those that live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentCounts {
    /// Datagrams of which a fragment was remembered.
    pub opened: u64,
    /// Every fragment passed through.
    pub complete: u64,
    /// The first came, some other did not in time.
    pub incomplete: u64,
    /// The first did not come in time.
    pub no_first: u64,
    /// Given up for a contradiction, and its time is over.
    pub poisoned: u64,
}

/// The fragments of one worker's datagrams. `T` stands for the frame of a fragment.
#[derive(Debug)]
pub struct FragmentMemory<T> {
    limits: FragmentLimits,
    datagrams: Pool<Datagram>,
    /// As many as datagrams: a source without an account always finds a place.
    accounts: Pool<Account>,
    held: Held<T>,
    /// Slots the clock hand has passed in this turn.
    hand: u32,
    counts: FragmentCounts,
}

impl<T> FragmentMemory<T> {
    /// A memory with these limits; all it will ever need is allocated now.
    #[must_use]
    pub fn new(limits: FragmentLimits, secret: (u64, u64)) -> Self {
        Self {
            limits,
            datagrams: Pool::new(limits.datagrams, secret),
            accounts: Pool::new(limits.datagrams, secret),
            held: Held::new(limits.held),
            hand: 0,
            counts: FragmentCounts::default(),
        }
    }

    /// Incomplete datagrams.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.datagrams.live()
    }

    /// Nothing remembered.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sources of incomplete datagrams.
    #[must_use]
    pub const fn sources(&self) -> u32 {
        self.accounts.live()
    }

    /// Fragments here: those that wait, and those released but not fetched yet.
    #[must_use]
    pub const fn held(&self) -> u32 {
        self.held.count()
    }

    /// What became of all datagrams.
    #[must_use]
    pub const fn counts(&self) -> FragmentCounts {
        self.counts
    }

    /// Ticks a datagram has.
    #[must_use]
    pub const fn timeout(&self) -> u32 {
        self.limits.timeout
    }

    /// A fragment comes. `now` is in ticks and never goes back.
    pub fn meet(&mut self, piece: &Piece, token: T, now: u32) -> Answer<T> {
        let Some(span) = piece.span() else {
            return Answer::Refused(token, FragmentRefusal::Impossible);
        };
        let found = self.find(&piece.datagram, now);
        let known = found.and_then(|at| self.datagrams.get(at)).copied();
        // Worked on by value, written back when nothing can be refused any more.
        let mut datagram = known.unwrap_or(Datagram::new(piece.datagram, now));
        if let Err(why) = datagram.add(piece, span) {
            if why.poisons()
                && let Some(at) = found
            {
                self.poison(at);
            }
            return Answer::Refused(token, why);
        }
        let waits = datagram.standing == Standing::WaitsForFirst;
        let source = piece.datagram.source();
        if waits && let Err(why) = self.room_to_hold(&source) {
            return Answer::Refused(token, why);
        }
        let at = match found {
            Some(at) => at,
            None => match self.open(&mut datagram, source, now) {
                Ok(at) => at,
                Err(why) => return Answer::Refused(token, why),
            },
        };
        let answer = if waits {
            match self.held.put(&mut datagram.held, token) {
                Ok(()) => {
                    self.charge(&datagram, 1);
                    Answer::Held
                }
                Err(token) => Answer::Refused(token, FragmentRefusal::HeldFull),
            }
        } else {
            let ports = datagram.ports;
            self.release(&mut datagram, Release::Known(ports));
            Answer::Known(token, ports)
        };
        let complete = datagram.is_complete();
        self.datagrams.replace(at, datagram);
        if complete {
            self.counts.complete += 1;
            self.forget(at);
        }
        answer
    }

    /// The next fragment whose waiting has ended, in order of arrival.
    pub fn next_released(&mut self) -> Option<(T, Release)> {
        self.held.next_released()
    }

    /// Moves the clock hand over at most `slots` slots and ends what has lived too long.
    pub fn sweep(&mut self, now: u32, slots: u32) {
        for _ in 0..slots.min(self.datagrams.capacity()) {
            self.hand = if self.hand >= self.datagrams.capacity() { 1 } else { self.hand + 1 };
            if let Some(at) = NonZeroU32::new(self.hand) {
                self.end_if_old(at, now);
            }
        }
    }

    /// The datagram with this key, if its time is not over.
    fn find(&mut self, key: &DatagramKey, now: u32) -> Option<NonZeroU32> {
        let at = self.datagrams.find(key)?;
        (!self.end_if_old(at, now)).then_some(at)
    }

    /// Ends a datagram whose time is over, and says whether it was.
    fn end_if_old(&mut self, at: NonZeroU32, now: u32) -> bool {
        let Some(mut datagram) = self.datagrams.get(at).copied() else { return false };
        if now.wrapping_sub(datagram.started) < self.limits.timeout {
            return false;
        }
        let ended = match datagram.standing {
            Standing::Vacant => return false,
            Standing::WaitsForFirst => &mut self.counts.no_first,
            Standing::Known => &mut self.counts.incomplete,
            Standing::Poisoned => &mut self.counts.poisoned,
        };
        *ended += 1;
        self.release(&mut datagram, Release::Refused(FragmentRefusal::NoFirst));
        self.forget(at);
        true
    }

    /// Whether one more fragment of this source may wait.
    fn room_to_hold(&self, source: &Source) -> Result<(), FragmentRefusal> {
        let account = self.accounts.find(source).and_then(|at| self.accounts.get(at));
        if account.map_or(0, |account| account.held) >= self.limits.held_a_source {
            return Err(FragmentRefusal::HeldQuota);
        }
        if self.held.has_room() { Ok(()) } else { Err(FragmentRefusal::HeldFull) }
    }

    /// Gives a new datagram its place, at its source's expense.
    fn open(
        &mut self,
        datagram: &mut Datagram,
        source: Source,
        now: u32,
    ) -> Result<NonZeroU32, FragmentRefusal> {
        if self.datagrams.live() == self.datagrams.capacity() {
            self.sweep(now, LAST_RESORT);
        }
        let known = self.accounts.find(&source);
        let account = known.and_then(|at| self.accounts.get(at));
        if account.map_or(0, |account| account.datagrams) >= self.limits.datagrams_a_source {
            return Err(FragmentRefusal::SourceQuota);
        }
        if self.datagrams.live() == self.datagrams.capacity() {
            return Err(FragmentRefusal::TableFull);
        }
        datagram.account = match known {
            Some(at) => {
                if let Some(account) = self.accounts.get_mut(at) {
                    account.datagrams += 1;
                }
                known
            }
            None => self.accounts.put(Account::new(source)),
        };
        self.counts.opened += 1;
        self.datagrams.put(*datagram).ok_or(FragmentRefusal::TableFull)
    }

    /// Ends the waiting of a datagram's fragments.
    fn release(&mut self, datagram: &mut Datagram, release: Release) {
        let count = self.held.release(&mut datagram.held, release);
        if let Some(account) = datagram.account.and_then(|at| self.accounts.get_mut(at)) {
            account.held -= count;
        }
    }

    /// One more fragment of the datagram's source waits.
    fn charge(&mut self, datagram: &Datagram, count: u32) {
        if let Some(account) = datagram.account.and_then(|at| self.accounts.get_mut(at)) {
            account.held += count;
        }
    }

    /// Lets nothing of a datagram pass any more; it keeps its place until its time is over.
    fn poison(&mut self, at: NonZeroU32) {
        let Some(mut datagram) = self.datagrams.get(at).copied() else { return };
        self.release(&mut datagram, Release::Refused(FragmentRefusal::Poisoned));
        datagram.standing = Standing::Poisoned;
        self.datagrams.replace(at, datagram);
    }

    /// Gives a datagram's place back; nothing of it waits any more.
    fn forget(&mut self, at: NonZeroU32) {
        let account = self.datagrams.get(at).and_then(|datagram| datagram.account);
        self.datagrams.take(at);
        let Some(at) = account else { return };
        if let Some(account) = self.accounts.get_mut(at) {
            account.datagrams -= 1;
            if account.datagrams == 0 {
                self.accounts.take(at);
            }
        }
    }
}
