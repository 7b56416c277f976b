//! What the table makes of classes of addresses, for whoever must know it of all of them at once.
//!
//! What it is: the same rows, columns and programs that [`Table::judge`] looks up, without a packet. What it
//! is not: an evaluator of its own. Bindings are fresh and MACs true here. Invariant: addresses with equal
//! classes, and pairs with equal programs, get the same answer to every service.

use std::net::IpAddr;

use super::super::services::Region;
use super::{Answer, Spot, Table, at, is_group};
use crate::wire::{Side, Vlans};

impl Table {
    /// Whether an address may be an end of a connection at all, as far as the policy says.
    pub(in super::super) fn is_end(&self, address: IpAddr) -> bool {
        self.addresses.denial(address, address).is_none()
    }

    /// The class of a sender with a true MAC.
    pub(in super::super) fn sender_class(&self, address: IpAddr) -> u32 {
        let [_, genuine] = self.spot(self.space.find(address)).rows;
        genuine
    }

    /// The class of a sender with a MAC that is none of those written for it.
    pub(in super::super) fn stranger_class(&self, address: IpAddr) -> u32 {
        let [stranger, _] = self.spot(self.space.find(address)).rows;
        stranger
    }

    /// The class of a destination, for what arrives at a side.
    pub(in super::super) fn receiver_class(&self, address: IpAddr, side: Side) -> u32 {
        let spot = self.spot(self.space.find(address));
        if spot.group != Spot::NONE || is_group(address) {
            self.group_column(spot.group, side)
        } else {
            spot.column
        }
    }

    /// The program that answers a sender of one class who opens to one of another.
    pub(in super::super) fn program(&self, sender: u32, receiver: u32) -> u32 {
        let (row, column) = (at(&self.rows, sender), at(&self.columns, receiver));
        self.cell(row, (receiver, column)).unwrap_or(u32::MAX)
    }

    /// What a program answers, region by region; nothing is left out.
    pub(in super::super) fn regions(&self, program: u32) -> impl Iterator<Item = (Region, &Answer)> {
        let regions = self.programs.regions(program).into_iter();
        regions.map(|(region, answer)| (region, at(&self.answers, answer).unwrap_or(&Answer::DEFAULT)))
    }

    /// The tags that the network of an address carries; none of a group and of what is in no network.
    pub(in super::super) fn tags(&self, address: IpAddr) -> &[Vlans] {
        let spot = self.spot(self.space.find(address));
        at(&self.networks, spot.network).map_or(&[], |network| &network.vlans)
    }
}
