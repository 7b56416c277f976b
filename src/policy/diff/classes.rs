//! Ends that neither of two policies tells apart.
//!
//! What it is: one address for each run that the prefixes of both cut together, and those put into one class of
//! senders or receivers that both tables treat alike: place, row, column, the MACs that can be true. What it is
//! not: it judges nothing. Invariant: `judge` of either table, at the moment it was made for, gives two senders
//! of one class the same verdict for MACs that are true alike, and two receivers of one class as well. Cost:
//! two lookups for each run.

use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;

use super::both::Both;
use super::numbers::{at, at_mut};
use crate::policy::hash::Quick;
use crate::policy::model::Model;
use crate::policy::prefix::Prefix;
use crate::policy::relevance::Numbered;
use crate::policy::stage::odd_source;
use crate::policy::table::{Table, is_group};
use crate::policy::verdict::{Denial, Moment};
use crate::policy::witness::joint;
use crate::wire::{Mac, Odd, Side, Vlans};

/// Whether a MAC is one of those written for a sender: in the old policy, in the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::policy) struct Truth(pub(in crate::policy) Both<bool>);

impl Truth {
    /// All four, as [`SenderKind::macs`] has them: bit 0, 1, 2, 3.
    pub(super) const ALL: [Self; 4] = [
        Self(Both { old: false, new: false }),
        Self(Both { old: true, new: false }),
        Self(Both { old: false, new: true }),
        Self(Both { old: true, new: true }),
    ];

    /// Its bit.
    pub(in crate::policy) const fn bit(self) -> u8 {
        let Self(Both { old, new }) = self;
        1 << ((if old { 1 } else { 0 }) | (if new { 2 } else { 0 }))
    }
}

/// What both tables make of a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::policy) struct SenderKind {
    pub(super) v4: bool,
    pub(super) misplaced: Both<Option<Denial>>,
    /// By [`Homes`].
    pub(super) home: Both<u32>,
    /// MAC not true, true.
    pub(super) rows: Both<[u32; 2]>,
    /// By arriving side, outside first: bits of the [`Truth`]s that some MAC has.
    pub(super) macs: [u8; 2],
}

/// What both tables make of a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::policy) struct ReceiverKind {
    pub(super) v4: bool,
    pub(super) misplaced: Both<Option<Denial>>,
    /// By [`Homes`]; [`Homes::GROUP`].
    pub(super) home: Both<u32>,
    /// By arriving side, outside first.
    pub(super) columns: [Both<u32>; 2],
}

/// Ends of one kind.
#[derive(Debug)]
pub(in crate::policy) struct Class<K> {
    pub(super) kind: K,
    /// Indexes into [`Ends::addresses`], rising.
    pub(in crate::policy) members: Vec<u32>,
}

/// Tags with which two ends may meet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meeting {
    pub(super) vlans: Vlans,
    /// The network of the sender, of the receiver lists them.
    pub(super) from: Both<bool>,
    pub(super) to: Both<bool>,
}

type Meetings = Rc<[Meeting]>;

/// Where networks lie: sides and tags.
#[derive(Debug)]
pub(in crate::policy) struct Homes {
    numbers: Numbered<(Option<Side>, Vec<Vlans>)>,
    all: Vec<(Option<Side>, Vec<Vlans>)>,
    /// All tags that some network of either lists, and one that none does.
    tags: Vec<Vlans>,
    /// By the homes of both ends.
    meetings: HashMap<(Both<u32>, Both<u32>), Meetings, Quick>,
}

impl Homes {
    /// In no network: a group.
    pub(super) const GROUP: u32 = u32::MAX;

    fn new(models: Both<&Model>) -> Self {
        let listed = models.each().flat_map(|model| &model.networks).flat_map(|network| &network.vlans);
        let mut tags: Vec<Vlans> = listed.copied().collect();
        tags.sort_unstable_by_key(|tags| (tags.outer != Vlans::NONE, tags.outer, tags.inner));
        tags.dedup();
        let single = (1..Vlans::NONE).map(|outer| Vlans { outer, inner: Vlans::NONE });
        let double = (1..Vlans::NONE).map(|inner| Vlans { outer: 1, inner });
        let unlisted = single.chain(double).find(|unlisted| !tags.contains(unlisted));
        tags.extend(unlisted);
        Self { numbers: Numbered::default(), all: Vec::new(), tags, meetings: HashMap::default() }
    }

    fn number(&mut self, table: &Table, address: IpAddr) -> u32 {
        let home = table.home(address);
        let place = (home.side, home.vlans.to_vec());
        let (number, new) = self.numbers.number(place.clone());
        if new {
            self.all.push(place);
        }
        number
    }

    fn get(&self, number: u32) -> Option<&(Option<Side>, Vec<Vlans>)> {
        at(&self.all, number)
    }

    /// The side of a home; none of a group and of no network.
    pub(super) fn side(&self, number: u32) -> Option<Side> {
        self.get(number).and_then(|(side, _)| *side)
    }

    /// All ways in which tags can be those of both ends' networks or not, each with some tags.
    pub(super) fn meetings(&mut self, from: Both<u32>, to: Both<u32>) -> Rc<[Meeting]> {
        if let Some(known) = self.meetings.get(&(from, to)) {
            return Rc::clone(known);
        }
        let mut all: Vec<Meeting> = Vec::new();
        for vlans in &self.tags {
            let lists = |home: u32| self.get(home).is_some_and(|(_, tags)| tags.contains(vlans));
            let meeting = Meeting { vlans: *vlans, from: from.map(lists), to: to.map(lists) };
            if !all.iter().any(|known| (known.from, known.to) == (meeting.from, meeting.to)) {
                all.push(meeting);
            }
        }
        let all: Rc<[Meeting]> = all.into();
        self.meetings.insert((from, to), Rc::clone(&all));
        all
    }
}

/// All ends that there are under either policy.
#[derive(Debug)]
pub(in crate::policy) struct Ends {
    /// One of each run, in order.
    pub(in crate::policy) addresses: Vec<IpAddr>,
    pub(in crate::policy) senders: Vec<Class<SenderKind>>,
    pub(in crate::policy) receivers: Vec<Class<ReceiverKind>>,
    pub(super) homes: Homes,
}

impl Ends {
    /// Bindings stand as they do at `now`.
    pub(super) fn new(models: Both<&Model>, tables: Both<&Table>, now: Moment) -> Self {
        let addresses = joint(&[models.old, models.new]);
        let mut homes = Homes::new(models);
        let (mut senders, mut receivers) = (Vec::new(), Vec::new());
        let (mut sending, mut receiving) = (Numbered::default(), Numbered::default());
        for (index, address) in (0..).zip(&addresses) {
            let address = *address;
            let odd = odd_source(Prefix::containing(address, if address.is_ipv4() { 32 } else { 128 }));
            let home = tables.map(|table| homes.number(table, address));
            let v4 = address.is_ipv4();
            let misplaced = tables.map(|table| table.misplaced(address));
            if odd.is_none_or(|odd| odd == Odd::LinkLocal) {
                let macs = [Side::Outside, Side::Inside].map(|side| truths(tables, address, side));
                let usable = |truth: Truth| macs.iter().any(|macs| macs & truth.bit() != 0);
                let true_old = Truth::ALL.into_iter().any(|t| t.0.old && usable(t));
                let true_new = Truth::ALL.into_iter().any(|t| t.0.new && usable(t));
                // A row that nobody can have tells nobody apart.
                let rows = tables.zip(Both { old: true_old, new: true_new }).map(|(table, can)| {
                    let [stranger, genuine] = table.rows_at(address, now);
                    [stranger, if can { genuine } else { stranger }]
                });
                let kind = SenderKind { v4, misplaced, home, rows, macs };
                join(&mut sending, &mut senders, kind, index);
            }
            let takes = odd.is_none_or(|odd| matches!(odd, Odd::LinkLocal | Odd::SourceNotUnicast));
            if takes || is_group(address) {
                let columns = [Side::Outside, Side::Inside]
                    .map(|side| tables.map(|table| table.column_at(address, side, now)));
                let [outside, _] = columns;
                let home =
                    home.zip(outside).map(|(home, (_, group))| if group { Homes::GROUP } else { home });
                let columns = columns.map(|sides| sides.map(|(column, _)| column));
                join(&mut receiving, &mut receivers, ReceiverKind { v4, misplaced, home, columns }, index);
            }
        }
        Self { addresses, senders, receivers, homes }
    }

    /// An address by its index.
    pub(super) fn address(&self, index: u32) -> Option<IpAddr> {
        at(&self.addresses, index).copied()
    }
}

fn join<K: Copy + Eq + std::hash::Hash>(
    known: &mut Numbered<K>,
    all: &mut Vec<Class<K>>,
    kind: K,
    member: u32,
) {
    let (number, new) = known.number(kind);
    if new {
        all.push(Class { kind, members: Vec::new() });
    }
    if let Some(class) = at_mut(all, number) {
        class.members.push(member);
    }
}

/// Of one table: MACs that are true of a sender that arrives at a side.
fn written(table: &Table, address: IpAddr, side: Side) -> impl Iterator<Item = Mac> + Clone {
    let here = table.home(address).side == Some(side);
    let lists = if here { table.true_macs(address) } else { [&[][..], &[]] };
    lists.into_iter().flatten().copied()
}

fn truths(tables: Both<&Table>, address: IpAddr, side: Side) -> u8 {
    let Both { old, new } = tables.map(|table| written(table, address, side));
    // There is always some other MAC.
    let mut bits = Truth(Both::default()).bit();
    for mac in old.clone().chain(new.clone()) {
        let truth = Both { old: old.clone(), new: new.clone() }.map(|mut all| all.any(|m| m == mac));
        bits |= Truth(truth).bit();
    }
    bits
}

/// A MAC that is as true of a sender as asked for; `None` where there is none.
pub(super) fn mac(tables: Both<&Table>, address: IpAddr, side: Side, truth: Truth) -> Option<Mac> {
    let Both { old, new } = tables.map(|table| written(table, address, side));
    let other = (0..=u16::MAX).map(|n| {
        let [high, low] = n.to_be_bytes();
        Mac([0x02, 0, 0x5e, 0, high, low])
    });
    let mut all = old.clone().chain(new.clone()).chain(other);
    all.find(|mac| {
        Both { old: old.clone(), new: new.clone() }.map(|mut all| all.any(|m| m == *mac)) == truth.0
    })
}
