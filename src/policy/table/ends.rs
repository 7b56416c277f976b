//! What each end brings to a judgement by itself, at one moment.
//!
//! What it is: the steps of [`Table::judge`] one by one, for whoever compares two tables class by class and not
//! packet by packet. What it is not: an evaluator of its own; the tests hold what is made of these steps against
//! `judge`. Cost: one lookup of an address each.

use std::net::IpAddr;

use super::super::programs::Cuts;
use super::super::verdict::{Denial, Mode, Moment};
use super::{Answer, Column, Lease, Spot, Table, answered_mode, at, is_group};
use crate::wire::{Mac, Service, Side, Vlans};

/// Where an address lies, as far as the checks before rules look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in super::super) struct Home<'a> {
    /// The side of its network; none of what is in no network.
    pub(in super::super) side: Option<Side>,
    /// The tags of its network.
    pub(in super::super) vlans: &'a [Vlans],
}

impl Table {
    /// Rows of a sender whose MAC is not, is one of those written for it.
    pub(in super::super) fn rows_at(&self, address: IpAddr, now: Moment) -> [u32; 2] {
        let spot = self.spot(self.space.find(address));
        match Lease::lapsed(at(&self.leases, spot.lease()), now) {
            Some(lease) => [lease.row; 2],
            None => spot.rows,
        }
    }

    /// Column of a destination for what arrives at a side, and whether it is a group.
    pub(in super::super) fn column_at(&self, address: IpAddr, side: Side, now: Moment) -> (u32, bool) {
        let spot = self.spot(self.space.find(address));
        if spot.group() != Spot::NONE || is_group(address) {
            return (self.group_column(spot.group(), side), true);
        }
        let lapsed = Lease::lapsed(at(&self.leases, spot.lease()), now);
        (lapsed.map_or(spot.column, |lease| lease.column), false)
    }

    /// Where an address lies as a host.
    pub(in super::super) fn home(&self, address: IpAddr) -> Home<'_> {
        let spot = self.spot(self.space.find(address));
        let network = at(&self.networks, spot.network);
        Home {
            side: network.map(|network| network.side),
            vlans: network.map_or(&[], |network| &network.vlans),
        }
    }

    /// MACs that are true of a sender on its own side: its workload's, its routers'.
    pub(in super::super) fn true_macs(&self, address: IpAddr) -> [&[Mac]; 2] {
        let spot = self.spot(self.space.find(address));
        let Some(network) = at(&self.networks, spot.network) else { return [&[], &[]] };
        [at(&self.workloads, spot.workload).map_or(&[], |workload| &workload.macs), &network.via]
    }

    /// What speaks against an address at either end.
    pub(in super::super) fn misplaced(&self, address: IpAddr) -> Option<Denial> {
        self.addresses.denial(address, address)
    }

    /// Where the line of a row begins in the plain.
    pub(in super::super) fn line_of(&self, row: u32) -> u32 {
        at(&self.rows, row).map_or(u32::MAX, |row| row.line)
    }

    /// The place of a column in the lines of the plain.
    pub(in super::super) fn place_of(&self, column: u32) -> u32 {
        at(&self.columns, column).map_or(u32::MAX, |column| column.place)
    }

    /// The columns at which a row has a cell beside the plain.
    pub(in super::super) fn columns_apart(&self, row: u32) -> impl Iterator<Item = u32> {
        at(&self.rows, row).into_iter().flat_map(|row| self.overlay.columns(row.cells))
    }

    /// Strictest mode of the zones of a row's senders.
    pub(in super::super) fn row_mode(&self, row: u32) -> Option<Mode> {
        at(&self.rows, row).map_or(Some(Mode::Enforce), |row| row.mode)
    }

    /// How a column's zones govern: a program of modes, or [`Column::ALIKE`], and the strictest.
    pub(in super::super) fn column_modes(&self, column: u32) -> (u32, Option<Mode>) {
        at(&self.columns, column)
            .map_or((Column::ALIKE, Some(Mode::Enforce)), |column| (column.modes, column.strictest))
    }

    /// The mode that those give a service.
    pub(in super::super) fn mode_by(
        &self,
        (modes, strictest): (u32, Option<Mode>),
        service: Service,
    ) -> Option<Mode> {
        if service.readable && modes != Column::ALIKE {
            answered_mode(self.programs.ask(modes, service))
        } else {
            strictest
        }
    }

    /// What a program answers.
    pub(in super::super) fn answer_by(&self, program: u32, service: Service) -> &Answer {
        let answer = self.programs.ask(program, service);
        answer.and_then(|answer| at(&self.answers, answer)).unwrap_or(&Answer::DEFAULT)
    }

    /// Adds where a program of verdicts and one of modes may change; no program: [`Column::ALIKE`].
    pub(in super::super) fn cut(&self, program: u32, modes: u32, cuts: &mut Cuts) {
        if program != Column::ALIKE {
            self.programs.cut(program, cuts);
        }
        if modes != Column::ALIKE {
            self.programs.cut(modes, cuts);
        }
    }
}
