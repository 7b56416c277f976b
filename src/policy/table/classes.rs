//! What the table makes of classes of addresses, for whoever must know it of all of them at once.
//!
//! What it is: the same rows, columns and programs that [`Table::judge`] looks up, without a packet. What it
//! is not: an evaluator of its own. Bindings are fresh and MACs true here. Invariant: addresses with equal
//! classes, and pairs with equal programs, get the same answer to every service.

use std::net::IpAddr;

use super::super::programs::Region;
use super::super::regions::overlaid;
use super::super::verdict::Mode;
use super::{Answer, Column, Spot, Table, answered_mode, at, is_group};
use crate::wire::{Side, Vlans};

/// What tells the pieces of two pairs of classes apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in super::super) struct Alike {
    program: u32,
    modes: u32,
    strictest: Option<Mode>,
    sender: Option<Mode>,
}

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
        if spot.group() != Spot::NONE || is_group(address) {
            self.group_column(spot.group(), side)
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

    /// What a pair of classes has for [`Self::pieces`]: equal keys, equal pieces.
    pub(in super::super) fn alike(&self, sender: u32, receiver: u32) -> Alike {
        let (row, column) = (at(&self.rows, sender), at(&self.columns, receiver));
        Alike {
            program: self.program(sender, receiver),
            modes: column.map_or(Column::ALIKE, |column| column.modes),
            strictest: column.map_or(Some(Mode::Enforce), |column| column.strictest),
            sender: row.map_or(Some(Mode::Enforce), |row| row.mode),
        }
    }

    /// What rules say of a sender of one class who opens to one of another, and the mode that governs it: region
    /// by region, in the order of protocols; they do not overlap and leave nothing out.
    pub(in super::super) fn pieces(&self, sender: u32, receiver: u32) -> Vec<(Region, (&Answer, Mode))> {
        let Alike { program, modes, strictest, sender } = self.alike(sender, receiver);
        let rules: Vec<(Region, &Answer)> = self.regions(program).collect();
        let governed = |answer: &Answer, zones: Option<Mode>| {
            let mode = self.governed(zones, sender, false);
            answer.guardrails.map_or(mode, |guardrails| guardrails.max(mode))
        };
        if modes == Column::ALIKE {
            let all = rules.into_iter();
            return all.map(|(region, answer)| (region, (answer, governed(answer, strictest)))).collect();
        }
        let zones = self.programs.regions(modes).into_iter();
        let zones: Vec<_> = zones.map(|(region, mode)| (region, answered_mode(Some(mode)))).collect();
        let both = overlaid(&rules, &zones).into_iter();
        both.map(|(region, answer, zones)| (region, (answer, governed(answer, zones)))).collect()
    }

    /// The tags that the network of an address carries; none of a group and of what is in no network.
    pub(in super::super) fn tags(&self, address: IpAddr) -> &[Vlans] {
        let spot = self.spot(self.space.find(address));
        at(&self.networks, spot.network).map_or(&[], |network| &network.vlans)
    }
}
