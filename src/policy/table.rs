//! The compiled table and its evaluator.
//!
//! What it is: one immutable generation of policy, and [`Table::judge`], which serves the packet path,
//! `explain` and every report. What it is not: it is not built here (`compile`), and it has no state: the
//! same question gets the same answer. Invariant: default deny is [`Answer::DEFAULT`], answer 0, and every
//! lookup that could only fail by a broken table ends there or in `enforce`. Cost of `judge`: two address
//! lookups, one cell, a binary search over the ports that the cell's rules name and one over those that zones
//! do; no allocation, no lock; the number of rules is not a factor.
//!
//! ```text
//! address ─ hash or prefix ─→ stretch ─→ spot: network, workload, row (MAC true or not), column
//! (row, column) ─→ overlay, else plain ─→ brief(service): denial, rule, guardrails' mode
//!                                       └→ program(service) ─→ answer: the same, and other rules that match
//! (workload, workload) ─→ exceptions between them, where there are any (`exempt`)
//! ```
//!
//! (`meet` has the steps.)

pub(super) mod classes;
mod ends;
mod meet;

use std::collections::HashSet;
use std::net::IpAddr;

use super::addresses::Addresses;
use super::exception::Exceptions;
use super::exempt::Exempt;
use super::link::Link;
use super::model::{Labels, Reply, Tier};
use super::overlay::{Buckets, Overlay};
use super::programs::Programs;
use super::source::{Origin, Sources};
use super::space::{Space, StretchId};
use super::verdict::{Action, Denial, Mode, Moment, RuleNumber, Sender, Verdict};
use crate::wire::{Housekeeping, Mac, Odd, Service, Side, Vlans};
pub(super) use meet::Head;
pub use meet::{Connection, Met};

/// An immutable compiled policy.
#[derive(Debug)]
pub struct Table {
    pub(super) space: Space,
    /// By stretch.
    pub(super) spots: Vec<Spot>,
    /// What spots become once the binding behind them has lapsed.
    pub(super) leases: Vec<Lease>,
    /// Columns of multicast and broadcast destinations, by the side they go to: in no group, then each group's.
    pub(super) groups: Vec<[u32; 2]>,
    /// Addresses of groups that look like hosts': broadcast addresses of networks.
    pub(super) broadcasts: HashSet<IpAddr>,
    pub(super) networks: Vec<NetworkFace>,
    /// Distinct tags of networks.
    pub(super) tags: Vec<Vec<Vlans>>,
    pub(super) workloads: Vec<WorkloadFace>,
    pub(super) zones: Vec<String>,
    pub(super) rows: Vec<Row>,
    pub(super) columns: Vec<Column>,
    /// Line of a row + place of a column → program, where the overlay has none.
    pub(super) plain: Vec<u32>,
    /// The same, for reports.
    pub(super) plain_full: Vec<u32>,
    pub(super) overlay: Overlay,
    /// Of cells, for reports, and of modes.
    pub(super) programs: Programs,
    pub(super) answers: Vec<Answer>,
    /// Of cells, for packets; they answer [`Head::word`]s.
    pub(super) briefs: Programs,
    pub(super) inside: Inside,
    pub(super) unzoned: Mode,
    pub(super) strictest: Mode,
    /// Addresses that are no end of a connection.
    pub(super) addresses: Addresses,
    /// Where link-local addresses live.
    pub(super) link: Link,
    /// By [`Housekeeping::ALL`].
    pub(super) profile: [Action; 7],
    /// Rules, then exceptions.
    pub(super) rules: Vec<RuleFace>,
    /// What exceptions say, looked at before what rules do.
    pub(super) exempt: Option<Box<Exempt>>,
    /// Their records.
    pub(super) exceptions: Exceptions,
    /// It is more than twice what a core keeps to itself ([`Self::asks_in_steps`]).
    pub(super) in_steps: bool,
    /// Of text and inventory.
    pub(super) policy_digest: [u8; 32],
    /// Of text, inventory and exceptions.
    pub(super) digest: [u8; 32],
}

/// What a rule or an exception is called and where it stands, for events and reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleFace {
    /// `allow.payments-to-vault`, `exception EXC-0042`.
    pub id: String,
    /// Its tier.
    pub tier: Tier,
    /// Where it stands.
    pub stands: Stands,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Record allowed connections too.
    pub log: bool,
    /// What goes back for a packet that it drops. Never for an ICMP error, nor to or from a group
    /// (RFC 1122 §3.2.2): that is for those who send it.
    pub reply: Option<Reply>,
}

/// Where a rule stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stands {
    /// In a file.
    File(Origin),
    /// In the ledger, until this moment: an exception.
    Ledger(Moment),
}

impl RuleFace {
    /// `rules/payments.toml:1`; of an exception, `in force until 2027-05-31T12:00:00Z`.
    #[must_use]
    pub fn place(&self, sources: &Sources) -> String {
        match self.stands {
            Stands::File(origin) => sources.place(origin),
            Stands::Ledger(end) => format!("in force until {end}"),
        }
    }

    /// The place in a file, if it stands in one.
    #[must_use]
    pub const fn origin(&self) -> Option<Origin> {
        match self.stands {
            Stands::File(origin) => Some(origin),
            Stands::Ledger(_) => None,
        }
    }
}

/// What the policy knows of one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The workload that claims it; `None`: unknown.
    pub workload: Option<&'a str>,
    /// The account its workload declares.
    pub account: Option<&'a str>,
    /// Its narrowest network.
    pub network: Option<&'a str>,
    /// The side it lies at; a group has none.
    pub side: Option<Side>,
    /// Its labels, inherited ones included.
    pub labels: &'a Labels,
    /// Its zones.
    pub zones: Vec<&'a str>,
}

/// Where an address belongs on the wire, and who may speak for it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding<'a> {
    /// The side it lies at.
    pub side: Side,
    /// MACs of the workload that claims it; none of an unclaimed address.
    pub macs: &'a [Mac],
    /// MACs of the routers in front of its network.
    pub via: &'a [Mac],
    /// Tags that frames of its network carry; never empty.
    pub vlans: &'a [Vlans],
}

impl Binding<'_> {
    /// Whether the MAC is written for the address: for its workload, or as a router of its network.
    #[must_use]
    pub fn writes(&self, mac: Mac) -> bool {
        self.macs.contains(&mac) || self.via.contains(&mac)
    }

    /// The same; `None` where its workload has no MAC written, so that nobody can tell.
    #[must_use]
    pub fn knows(&self, mac: Mac) -> Option<bool> {
        (!self.macs.is_empty()).then(|| self.writes(mac))
    }
}

/// What `judge` needs of a stretch; never over the edge of a cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
pub(super) struct Spot {
    /// Narrowest network; [`Spot::NONE`] nowhere.
    pub(super) network: u32,
    /// Workload; [`Spot::NONE`] for unknown.
    pub(super) workload: u32,
    /// Row of a sender whose MAC is not, is one of those written for it.
    pub(super) rows: [u32; 2],
    /// Column as destination.
    pub(super) column: u32,
    /// What few addresses have.
    pub(super) special: Special,
    /// The first of the MACs that are true of it, its workload's before its network's; [`Spot::NO_MAC`] none.
    pub(super) mac: Mac,
    /// Side of the network.
    pub(super) side: Option<Side>,
    /// Index of the network's tags in [`Table::tags`]; of one that is not there, they stand with the network.
    pub(super) tags: u8,
}

/// What few addresses have: a group that lists them, or a binding that lapses; none has both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Special(u32);

impl Special {
    pub(super) const NONE: Self = Self(u32::MAX);
    const GROUP: u32 = 1 << 31;

    /// In a group.
    pub(super) fn group(number: u32) -> Self {
        Self(number | Self::GROUP)
    }

    /// With an index into [`Table::leases`].
    pub(super) fn lease(number: u32) -> Self {
        Self(number & !Self::GROUP)
    }
}

/// An address whose binding lapses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lease {
    /// From this moment on it has lapsed.
    pub(super) end: Moment,
    /// Its row then, whatever its MAC: no account is held.
    pub(super) row: u32,
    /// Its column then.
    pub(super) column: u32,
}

impl Lease {
    /// The end of a binding that has not lapsed; [`Moment::NEVER`] without one.
    fn left(lease: Option<&Self>, now: Moment) -> Moment {
        lease.map(|lease| lease.end).filter(|end| *end > now).unwrap_or(Moment::NEVER)
    }

    /// A binding that has lapsed.
    fn lapsed(lease: Option<&Self>, now: Moment) -> Option<&Self> {
        lease.filter(|lease| lease.end <= now)
    }
}

impl Spot {
    pub(super) const NONE: u32 = u32::MAX;
    /// Nobody sends from the broadcast address.
    pub(super) const NO_MAC: Mac = Mac([0xff; 6]);

    /// Group that lists it; [`Self::NONE`] none.
    #[inline]
    pub(super) const fn group(&self) -> u32 {
        let Special(word) = self.special;
        if word == Self::NONE || word & Special::GROUP == 0 { Self::NONE } else { word & !Special::GROUP }
    }

    /// Index into [`Table::leases`]; [`Self::NONE`]: its binding never lapses.
    #[inline]
    pub(super) const fn lease(&self) -> u32 {
        let Special(word) = self.special;
        if word & Special::GROUP == 0 { word } else { Self::NONE }
    }
}

#[derive(Debug)]
pub(super) struct NetworkFace {
    pub(super) name: String,
    pub(super) side: Side,
    pub(super) vlans: Vec<Vlans>,
    pub(super) via: Vec<Mac>,
}

#[derive(Debug)]
pub(super) struct WorkloadFace {
    pub(super) name: String,
    pub(super) account: Option<String>,
    pub(super) macs: Vec<Mac>,
}

/// What governs a sender inside who may be anybody there: its MAC is none of those written for its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inside {
    /// Strictest mode of the zones that have a member there.
    pub(super) zones: Option<Mode>,
    /// The mode of those there who are in no zone, to a destination in none; `None` if nobody is.
    pub(super) loose: Option<Mode>,
}

/// A class of senders that no rule tells apart.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Row {
    /// Strictest mode of their zones.
    pub(super) mode: Option<Mode>,
    /// Where its line in the plain begins.
    pub(super) line: u32,
    /// Its cells in the overlay.
    pub(super) cells: Buckets,
}

/// A class of destinations that no rule and no zone tells apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    /// Program whose answers are modes, as [`mode_answer`] writes them; or [`Column::ALIKE`].
    pub(super) modes: u32,
    /// Strictest of all modes of their zones: when the service can't be read.
    pub(super) strictest: Option<Mode>,
    /// Its place in the lines of the plain.
    pub(super) place: u32,
}

impl Column {
    /// No zone of theirs has `service_modes`: their strictest mode is that of every service.
    pub(super) const ALIKE: u32 = u32::MAX;
}

/// What rules say of one class of services between two classes of addresses; half a cache line.
#[repr(align(32))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Answer {
    pub(super) denial: Option<Denial>,
    pub(super) rule: RuleNumber,
    pub(super) also: [RuleNumber; 4],
    /// Strictest mode of the guardrails that match.
    pub(super) guardrails: Option<Mode>,
}

impl Answer {
    /// Default deny: what no rule allows.
    pub(super) const DEFAULT: Self = Self {
        denial: Some(Denial::NoRule),
        rule: RuleNumber::NONE,
        also: [RuleNumber::NONE; 4],
        guardrails: None,
    };
}

/// A mode as the answer of a program.
pub(super) const fn mode_answer(mode: Option<Mode>) -> u32 {
    match mode {
        None => 0,
        Some(Mode::Observe) => 1,
        Some(Mode::Simulate) => 2,
        Some(Mode::Enforce) => 3,
    }
}

/// The other way; what no program answers is `enforce`.
const fn answered_mode(answer: Option<u32>) -> Option<Mode> {
    match answer {
        Some(0) => None,
        Some(1) => Some(Mode::Observe),
        Some(2) => Some(Mode::Simulate),
        Some(_) | None => Some(Mode::Enforce),
    }
}

/// A destination that is no host: limited broadcast or multicast (RFC 919, 5771, 4291 §2.7).
#[must_use]
pub const fn is_group(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_broadcast() || v4.is_multicast(),
        IpAddr::V6(v6) => v6.is_multicast(),
    }
}

fn at<T>(all: &[T], index: u32) -> Option<&T> {
    usize::try_from(index).ok().and_then(|i| all.get(i))
}

impl Table {
    /// Judges a packet that opens a flow.
    ///
    /// *Checks before rules* (POLICY.md §2): addresses that are no end of a connection; then a source of the other side or on a VLAN that its network does
    /// not list is `spoofed`; then a VLAN that the destination's network does not list is `wrong_vlan`;
    /// then a destination on the arriving side is `same_side`. They name no rule, and obey the mode.
    ///
    /// *Mode* (§6): the strictest of the destination's zones for this service, the source's zones and, for
    /// a frame from the inside whose MAC is written neither for the source's workload nor for its network,
    /// every zone with a member there; `unzoned` where neither end is in a zone, and for such a frame also where
    /// its destination is in none and somebody inside is in none: nobody gets a milder mode by another's address.
    /// A source that belongs outside has no MAC on the inside that could be true. Then the `mode` of every guardrail that
    /// matches counts too, whatever the verdict: a matching guardrail with `enforce` in a zone in
    /// `simulate` has its flows dropped, and one with `observe` in a zone in `enforce` as well, because the
    /// strictest holds.
    ///
    /// *Groups*: a multicast or broadcast destination lies on no side, has no network and is in every zone with
    /// a member on the far side; it is the group that lists it, else unknown.
    ///
    /// *Unreadable services* (a later fragment): denies and guardrails match if they touch the protocol
    /// at all, allows only if they leave out no port of it; zones take the strictest of all their modes.
    ///
    /// *Accounts*: held if the claim is one address, declares the account, its binding is fresh and, for the
    /// sender, the MAC is true.
    ///
    /// *Lapsed bindings*: from the end of its lease on ([`Workload::lease`](super::model::Workload::lease)), an end counts for zones, denies and guardrails as before and
    /// for no allow. `judge_at` is the next of the two leases' ends.
    ///
    /// *Exceptions* (§5, §10): one that is active for both ends' workloads and the service stands above denies
    /// and allows, and below guardrails. The next beginning or end of those for these ends counts for `judge_at`
    /// too. They say nothing of the mode, nor of a packet that no rule is asked about.
    ///
    /// *No trustworthy clock* is [`Moment::NEVER`]: every exception has ended then, and every lease.
    #[must_use]
    pub fn judge(&self, src: Sender, dst: IpAddr, service: Service, side: Side, now: Moment) -> Verdict {
        let met = self.meet(&Connection { from: src, to: dst, service }, side, now);
        let mut verdict = Verdict { also: self.also(&met, service), ..self.said(&met, service, side) };
        self.exempt(&met, service, &mut verdict);
        verdict
    }

    /// The column of a destination in this group, or in none, for what arrives at a side.
    fn group_column(&self, group: u32, side: Side) -> u32 {
        let index = if group == Spot::NONE { 0 } else { group.saturating_add(1) };
        let [outside, inside] = at(&self.groups, index).copied().unwrap_or([0, 0]);
        match side {
            Side::Outside => inside,
            Side::Inside => outside,
        }
    }

    /// Whether an address is the gate's own.
    #[must_use]
    pub fn is_own(&self, address: IpAddr) -> bool {
        self.addresses.is_own(address)
    }

    /// Whether `[gate]` has rules asked about packets that are odd in this way.
    #[must_use]
    pub fn lets(&self, odd: Odd) -> bool {
        odd == Odd::LinkLocal && self.addresses.forwards_link_local()
    }

    /// Whether a destination is no host: multicast, limited broadcast, or a broadcast address that a group
    /// lists. It has no side, no state and no replies.
    #[must_use]
    #[inline]
    pub fn is_group(&self, address: IpAddr) -> bool {
        is_group(address) || (!self.broadcasts.is_empty() && self.broadcasts.contains(&address))
    }

    /// The address space it was compiled over.
    pub(super) fn space(&self) -> &Space {
        &self.space
    }

    #[inline]
    fn spot(&self, stretch: StretchId) -> &Spot {
        // Row and column 0 are nowhere's.
        static NOWHERE: Spot = Spot {
            network: Spot::NONE,
            workload: Spot::NONE,
            rows: [0, 0],
            column: 0,
            special: Special::NONE,
            mac: Spot::NO_MAC,
            side: None,
            tags: u8::MAX,
        };
        at(&self.spots, stretch).unwrap_or(&NOWHERE)
    }

    /// Whether a sender's MAC is one of those written for it, or taken as such.
    #[must_use]
    pub fn is_true(&self, sender: Sender, side: Side) -> bool {
        self.is_genuine(sender.mac, self.spot(self.space.find(sender.address)), side)
    }

    /// What the profile says.
    #[must_use]
    pub fn profile(&self, class: Housekeeping) -> Action {
        let [arp, ndp, lldp, stp, lacp, dhcp, other] = self.profile;
        match class {
            Housekeeping::Arp => arp,
            Housekeeping::Ndp => ndp,
            Housekeeping::Lldp => lldp,
            Housekeeping::Stp => stp,
            Housekeeping::Lacp => lacp,
            Housekeeping::Dhcp => dhcp,
            Housekeeping::Other => other,
        }
    }

    /// The strictest mode anywhere on the wire, zones' `service_modes` and `unzoned` included: governs
    /// frames without IP addresses. Guardrails are not asked: they match no such frame.
    #[must_use]
    pub fn strictest(&self) -> Mode {
        self.strictest
    }

    /// The rules and exceptions, by [`RuleNumber`].
    #[must_use]
    pub fn rules(&self) -> &[RuleFace] {
        &self.rules
    }

    /// A rule or an exception by its number.
    #[must_use]
    pub fn rule(&self, number: RuleNumber) -> Option<&RuleFace> {
        at(&self.rules, number.0)
    }

    /// Number of workloads in the inventory.
    #[must_use]
    pub fn workloads(&self) -> usize {
        self.workloads.len()
    }

    /// Number of zones.
    #[must_use]
    pub fn zones(&self) -> usize {
        self.zones.len()
    }

    /// The exceptions in it, whether active now or not.
    #[must_use]
    pub fn exceptions(&self) -> &Exceptions {
        &self.exceptions
    }

    /// Digest of the policy: text and inventory, without places and rule numbers. Approvals name it.
    #[must_use]
    pub fn policy_digest(&self) -> [u8; 32] {
        self.policy_digest
    }

    /// Digest of the table: the policy's and the exceptions. Without any it is the policy's.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Its first eight hexadecimal digits, as people see it.
    #[must_use]
    pub fn digest_short(&self) -> String {
        let [a, b, c, d, ..] = self.digest;
        format!("{:08x}", u32::from_be_bytes([a, b, c, d]))
    }

    /// The side an address lies at; `None` for a group.
    #[must_use]
    pub fn network_side(&self, address: IpAddr) -> Option<Side> {
        if is_group(address) {
            return None;
        }
        at(&self.networks, self.spot(self.space.find(address)).network).map(|network| network.side)
    }

    /// What the inventory binds an address to, for what is checked against it before rules: ARP, neighbour
    /// discovery. `None` for a group and for an address of no network. Two lookups, no allocation. A lapsed
    /// binding counts: it restricts as before.
    #[must_use]
    pub fn binding(&self, address: IpAddr) -> Option<Binding<'_>> {
        if is_group(address) {
            return None;
        }
        let spot = self.spot(self.space.find(address));
        let network = at(&self.networks, spot.network)?;
        let macs = at(&self.workloads, spot.workload).map_or(&[][..], |workload| &workload.macs);
        Some(Binding { side: network.side, macs, via: &network.via, vlans: &network.vlans })
    }

    /// What the policy knows of an address.
    #[must_use]
    pub fn locate(&self, address: IpAddr) -> Place<'_> {
        static NONE: Labels = Labels::new();
        let stretch = if is_group(address) { None } else { self.space.get(self.space.find(address)) };
        let workload = stretch.and_then(|p| p.workload).and_then(|w| self.workloads.get(w));
        let network = stretch.and_then(|p| p.networks.first()).and_then(|n| self.networks.get(*n));
        let zones = stretch.map_or(&[][..], |p| &p.zones).iter();
        Place {
            workload: workload.map(|w| w.name.as_str()),
            account: workload.and_then(|w| w.account.as_deref()),
            network: network.map(|n| n.name.as_str()),
            side: network.map(|n| n.side),
            labels: stretch.map_or(&NONE, |p| self.space.labels_of(p)),
            zones: zones.filter_map(|z| self.zones.get(*z)).map(String::as_str).collect(),
        }
    }
}
