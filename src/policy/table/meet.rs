//! A judgement in steps, so that those of a burst wait for memory together.
//!
//! What it is: the evaluator behind [`Table::judge`]. One connection takes all steps by itself; several take each
//! step together, and the lines of memory that the next one needs are asked for meanwhile. What it is not: two
//! evaluators: both ways are made of the same steps, and a test holds them against each other. Invariant: what is
//! found is good for the table, the side and the moment that it was found for. Cost: of a table that no cache holds,
//! one connection waits seven times in a row (host, run, stretch, row, columns of cells, program's number, brief), those of
//! a burst together.

use std::net::{IpAddr, Ipv4Addr};

use super::super::exempt::Asker;
use super::super::space::{StretchId, Within};
use super::super::verdict::{Denial, Mode, Moment, RuleNumber, Sender, SenderMac, Verdict};
use super::{Answer, Column, Lease, Row, Spot, Table, answered_mode, at, is_group, mode_answer};
use crate::wire::processor::prefetch;
use crate::wire::{Service, Side, Vlans};

/// A connection that somebody opens.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// Who opens it.
    pub from: Sender,
    /// To whom.
    pub to: IpAddr,
    /// On what.
    pub service: Service,
}

impl Connection {
    /// Nobody's: what a place for one holds.
    pub const BLANK: Self = Self {
        from: Sender {
            address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            mac: SenderMac::Stranger,
            vlans: Vlans::UNTAGGED,
        },
        to: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        service: Service { protocol: 0, sport: 0, dport: 0, readable: false },
    };
}

/// What a table has found of a connection; only [`Table::decide`] is left.
#[derive(Clone, Copy, Debug)]
pub struct Met {
    /// Where both ends lie.
    ends: [StretchId; 2],
    /// While they are looked for: where.
    within: [Within; 2],
    row: u32,
    column: u32,
    /// What a packet is asked; [`Met::NONE`] where the table is broken. While it is looked for, the place where a
    /// narrow rule may say it.
    program: u32,
    /// What it is answered, as [`Head::word`] writes it; the same. While it is looked for, the place in the plain.
    head: u32,
    judge_at: Moment,
    /// What speaks against it before rules do.
    misplaced: Option<Denial>,
    genuine: bool,
    /// While it is looked for: a narrow rule says something, and `program` is where.
    is_narrow: bool,
    /// Sent to a host, not to a group.
    host: bool,
    now: Moment,
}

impl Met {
    const NONE: u32 = u32::MAX;

    /// Nothing yet: what a place for one holds.
    pub const BLANK: Self = Self {
        ends: [0; 2],
        within: [(0, 0); 2],
        row: 0,
        column: 0,
        program: Self::NONE,
        head: Self::NONE,
        judge_at: Moment::NEVER,
        misplaced: None,
        genuine: false,
        is_narrow: false,
        host: false,
        now: Moment::NEVER,
    };
}

/// What an answer decides, without the names of other rules that match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Head {
    denial: Option<Denial>,
    guardrails: Option<Mode>,
    rule: RuleNumber,
}

impl Head {
    /// Of an answer.
    pub(in super::super) fn of(answer: &Answer) -> Self {
        Self { denial: answer.denial, guardrails: answer.guardrails, rule: answer.rule }
    }

    /// Bits of a word for the denial, and for the guardrails' mode; the others are the rule's. A policy of so many
    /// rules that they are too few has gigabytes of text.
    const DENIAL: u32 = 3;
    const GUARDRAILS: u32 = 2;
    const RULE: u32 = u32::MAX >> (Self::DENIAL + Self::GUARDRAILS);

    /// As a brief program answers it: a packet's judgement ends with the program, and looks nothing up.
    pub(in super::super) fn word(self) -> u32 {
        let denial = match self.denial {
            None => 0,
            Some(Denial::Guardrail) => 1,
            Some(Denial::Rule) => 2,
            Some(Denial::AccountNotHeld) => 3,
            // No rule's answer is what is said before rules are asked.
            Some(
                Denial::NoRule
                | Denial::GateAddress
                | Denial::LinkLocal
                | Denial::UniqueLocal
                | Denial::Spoofed
                | Denial::WrongVlan
                | Denial::SameSide,
            ) => 4,
        };
        let RuleNumber(rule) = self.rule;
        (rule.min(Self::RULE) << Self::GUARDRAILS | mode_answer(self.guardrails)) << Self::DENIAL | denial
    }

    /// Back again; a word that was never written denies and enforces.
    fn read(word: u32) -> Self {
        let denial = match word & ((1 << Self::DENIAL) - 1) {
            0 => None,
            1 => Some(Denial::Guardrail),
            2 => Some(Denial::Rule),
            3 => Some(Denial::AccountNotHeld),
            _ => Some(Denial::NoRule),
        };
        let guardrails = answered_mode(Some(word >> Self::DENIAL & ((1 << Self::GUARDRAILS) - 1)));
        let rule = word >> (Self::DENIAL + Self::GUARDRAILS);
        let rule = if rule == Self::RULE { RuleNumber::NONE } else { RuleNumber(rule) };
        Self { denial, guardrails, rule }
    }
}

impl Table {
    /// [`Self::judge`], and whether the sender's MAC is one of those written for it ([`Self::is_true`]): both come of
    /// one lookup of the source. `also` is left empty: only reports ask for it, and it stands in memory that nothing
    /// else here touches.
    #[must_use]
    pub fn judge_opener(
        &self,
        src: Sender,
        dst: IpAddr,
        service: Service,
        side: Side,
        now: Moment,
    ) -> (Verdict, bool) {
        let met = self.meet(&Connection { from: src, to: dst, service }, side, now);
        self.decide(&met, service, side)
    }

    /// Finds what decides on several connections that arrive on one side, for [`Self::decide`]; the first into the
    /// first place of `met`, and so on. What has no place is left out. No allocation.
    pub fn meet_all(&self, all: &[Connection], side: Side, now: Moment, met: &mut [Met]) {
        // A branch on what is not there yet ends what a core does ahead: no step looks at a line that it asks for.
        let addresses = |connection: &Connection| [connection.from.address, connection.to];
        for (connection, met) in all.iter().zip(&mut *met) {
            met.within = addresses(connection).map(|address| self.space.seek(address));
        }
        for (connection, met) in all.iter().zip(&mut *met) {
            let ends = met.ends.iter_mut().zip(&mut met.within);
            for (address, (end, within)) in addresses(connection).into_iter().zip(ends) {
                *end = self.space.seek_written(address, within);
                at(&self.spots, *end).into_iter().for_each(prefetch);
            }
        }
        for (connection, met) in all.iter().zip(&mut *met) {
            let ends = met.ends.iter_mut().zip(met.within);
            for (address, (end, within)) in addresses(connection).into_iter().zip(ends) {
                if *end == 0 {
                    *end = self.space.seek_around(address, within);
                    at(&self.spots, *end).into_iter().for_each(prefetch);
                }
            }
        }
        for (connection, met) in all.iter().zip(&mut *met) {
            self.place(connection, side, now, met);
            at(&self.rows, met.row).into_iter().for_each(prefetch);
            at(&self.columns, met.column).into_iter().for_each(prefetch);
        }
        for (_, met) in all.iter().zip(&mut *met) {
            // Seldom does a narrow rule say something: what the plain has is asked for meanwhile.
            let (row, column) = (at(&self.rows, met.row), at(&self.columns, met.column));
            met.program = row.map_or(Met::NONE, |row| self.overlay.prefetch(row.cells, met.column));
            met.head = Self::plain(row, column).unwrap_or(Met::NONE);
            at(&self.plain, met.head).into_iter().for_each(prefetch);
        }
        for (_, met) in all.iter().zip(&mut *met) {
            let cells = || at(&self.rows, met.row).map_or((0, 0), |row| row.cells);
            let narrow = self.overlay.find_from(met.program, cells, met.column);
            met.is_narrow = narrow.is_some();
            if let Some(place) = narrow {
                met.program = place;
                self.overlay.prefetch_brief(place);
            } else {
                met.program = at(&self.plain, met.head).copied().unwrap_or(Met::NONE);
                self.briefs.prefetch(met.program);
            }
        }
        for (_, met) in all.iter().zip(&mut *met).filter(|(_, met)| met.is_narrow) {
            met.program = self.overlay.brief_at(met.program).unwrap_or(Met::NONE);
            self.briefs.prefetch(met.program);
        }
        for (connection, met) in all.iter().zip(met) {
            met.head = self.briefs.ask(met.program, connection.service).unwrap_or(Met::NONE);
        }
    }

    /// Finds what decides on a connection.
    #[inline]
    pub(super) fn meet(&self, connection: &Connection, side: Side, now: Moment) -> Met {
        let mut met = Met { ends: self.ends(connection), ..Met::BLANK };
        self.place(connection, side, now, &mut met);
        let row = at(&self.rows, met.row);
        let narrow = row.and_then(|row| self.overlay.brief(row.cells, met.column));
        let wide = || at(&self.plain, Self::plain(row, at(&self.columns, met.column))?).copied();
        let program = narrow.or_else(wide);
        met.program = program.unwrap_or(Met::NONE);
        met.head = self.briefs.ask(met.program, connection.service).unwrap_or(Met::NONE);
        met
    }

    /// What comes of a connection that was met on this service and this side, and whether the sender's MAC is one of
    /// those written for it. `also` is left empty, as by [`Self::judge_opener`].
    #[must_use]
    pub fn decide(&self, met: &Met, service: Service, side: Side) -> (Verdict, bool) {
        let mut verdict = self.said(met, service, side);
        self.exempt(met, service, &mut verdict);
        (Verdict { also: [RuleNumber::NONE; 4], ..verdict }, met.genuine)
    }

    /// What rules say, without the names of others that match.
    #[inline]
    pub(super) fn said(&self, met: &Met, service: Service, side: Side) -> Verdict {
        let head = Head::read(met.head);
        let stranger = side == Side::Inside && !met.genuine;
        let mode_from = at(&self.rows, met.row).map_or(Some(Mode::Enforce), |row| row.mode);
        let mode_to = self.mode_to(at(&self.columns, met.column), service);
        let mode = self.governed(mode_to, mode_from, stranger);
        let mode = head.guardrails.map_or(mode, |guardrails| guardrails.max(mode));
        let (denial, rule) = match met.misplaced {
            Some(denial) => (Some(denial), RuleNumber::NONE),
            None => (head.denial, head.rule),
        };
        Verdict { denial, mode, rule, also: [RuleNumber::NONE; 4], judge_at: met.judge_at }
    }

    /// The mode of a connection to zones from zones, by a sender whose MAC is none of those written for it or one of
    /// them.
    #[inline]
    pub(in super::super) fn governed(&self, to: Option<Mode>, from: Option<Mode>, stranger: bool) -> Mode {
        let zones = to.max(from);
        let zones = match (stranger, to) {
            (false, _) => zones,
            (true, Some(_)) => zones.max(self.inside.zones),
            (true, None) => zones.max(self.inside.zones).max(self.inside.loose),
        };
        zones.unwrap_or(self.unzoned)
    }

    /// Puts what exceptions say into what rules said.
    #[inline]
    pub(super) fn exempt(&self, met: &Met, service: Service, verdict: &mut Verdict) {
        if let Some(exempt) = &self.exempt
            && met.host
            && met.misplaced.is_none()
        {
            let end = |stretch, genuine| {
                let spot = self.spot(stretch);
                let lapsed = Lease::lapsed(at(&self.leases, spot.lease()), met.now).is_some();
                Asker { workload: spot.workload, stretch, lapsed, genuine }
            };
            let [near, far] = met.ends;
            self.except(exempt, [end(near, met.genuine), end(far, true)], (service, met.now), verdict);
        }
    }

    /// Other rules that match.
    pub(super) fn also(&self, met: &Met, service: Service) -> [RuleNumber; 4] {
        let ends = (at(&self.rows, met.row), (met.column, at(&self.columns, met.column)));
        let program = self.cell(ends.0, ends.1).filter(|_| met.misplaced.is_none());
        let answer = program.and_then(|program| self.programs.ask(program, service));
        answer.and_then(|answer| at(&self.answers, answer)).unwrap_or(&Answer::DEFAULT).also
    }

    #[inline]
    fn ends(&self, connection: &Connection) -> [StretchId; 2] {
        [self.space.find(connection.from.address), self.space.find(connection.to)]
    }

    /// Everything about a connection that its ends tell, beside them: they are found.
    #[inline]
    fn place(&self, connection: &Connection, side: Side, now: Moment, met: &mut Met) {
        let Connection { from: src, to: dst, service: _ } = *connection;
        let [from, to] = met.ends.map(|end| self.spot(end));
        let lease = at(&self.leases, from.lease());
        let (column, host, far_end) = if to.group() != Spot::NONE || is_group(dst) {
            (self.group_column(to.group(), side), None, Moment::NEVER)
        } else {
            let lease = at(&self.leases, to.lease());
            let column = Lease::lapsed(lease, now).map_or(to.column, |lease| lease.column);
            (column, Some(to), Lease::left(lease, now))
        };
        let genuine = self.is_genuine(src.mac, from, side);
        let [other, own] = from.rows;
        let row = match Lease::lapsed(lease, now) {
            Some(lease) => lease.row,
            None if genuine => own,
            None => other,
        };
        let judge_at = Lease::left(lease, now).min(far_end);
        let misplaced = self.addresses.denial(src.address, dst);
        let misplaced = misplaced.or_else(|| self.check(from, host, src.vlans, side));
        (met.row, met.column, met.judge_at) = (row, column, judge_at);
        (met.misplaced, met.genuine, met.host, met.now) = (misplaced, genuine, host.is_some(), now);
        (met.program, met.head) = (Met::NONE, Met::NONE);
    }

    /// The checks before rules; a group is no host.
    fn check(&self, from: &Spot, host: Option<&Spot>, vlans: Vlans, side: Side) -> Option<Denial> {
        if from.side != Some(side) || !self.carries(from, vlans) {
            return Some(Denial::Spoofed);
        }
        let host = host?;
        if self.carries(host, vlans) {
            (host.side == Some(side)).then_some(Denial::SameSide)
        } else {
            Some(Denial::WrongVlan)
        }
    }

    /// Whether the network of a spot lists these tags.
    #[inline]
    fn carries(&self, spot: &Spot, vlans: Vlans) -> bool {
        match self.tags.get(usize::from(spot.tags)) {
            Some(listed) => listed.contains(&vlans),
            None => at(&self.networks, spot.network).is_some_and(|network| network.vlans.contains(&vlans)),
        }
    }

    /// Whether the MAC is one of those written for this source. The MACs of a network stand in front of it
    /// on its own side: a source that arrives on the other one has none.
    #[inline]
    pub(super) fn is_genuine(&self, mac: SenderMac, from: &Spot, side: Side) -> bool {
        match mac {
            SenderMac::Assumed => true,
            SenderMac::Stranger => false,
            SenderMac::Seen(mac) => {
                let routed = || at(&self.networks, from.network).is_some_and(|n| n.via.contains(&mac));
                let own = || at(&self.workloads, from.workload).is_some_and(|w| w.macs.contains(&mac));
                // Most have one MAC, if any, and it stands with the address.
                let one = mac == from.mac && mac != Spot::NO_MAC;
                from.side == Some(side) && (one || from.mac != Spot::NO_MAC && (own() || routed()))
            }
        }
    }

    /// Where the cell of the plain stands.
    #[inline]
    fn plain(row: Option<&Row>, column: Option<&Column>) -> Option<u32> {
        row?.line.checked_add(column?.place)
    }

    /// The program of a row and a column.
    pub(super) fn cell(&self, row: Option<&Row>, (number, column): (u32, Option<&Column>)) -> Option<u32> {
        match self.overlay.full(row?.cells, number) {
            None => at(&self.plain_full, Self::plain(row, column)?).copied(),
            found @ Some(_) => found,
        }
    }

    fn mode_to(&self, column: Option<&Column>, service: Service) -> Option<Mode> {
        let Some(column) = column else { return Some(Mode::Enforce) };
        if service.readable && column.modes != Column::ALIKE {
            answered_mode(self.programs.ask(column.modes, service))
        } else {
            column.strictest
        }
    }
}
