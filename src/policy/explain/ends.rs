//! Names into addresses, and the two ends of one connection.

use std::net::IpAddr;

use super::{Account, End, Lease, NotExplained, Query, ZoneRef, reason};
use crate::policy::model::{Model, Rule, Tier, Workload, Zone};
use crate::policy::neighbour::Misspoken;
use crate::policy::prefix::Prefix;
use crate::policy::read::{Loaded, nearest_name};
use crate::policy::selector::Reading;
use crate::policy::sentences::governs;
use crate::policy::space::{Space, Stretch, View};
use crate::policy::stage::{Stage, oddity};
use crate::policy::table::Table;
use crate::policy::verdict::{Action, Denial, Mode, Moment, RuleNumber, Sender, SenderMac, Verdict};
use crate::wire::{self, Housekeeping, Service, Side, Vlans, is_link_local};

/// Pairs of addresses looked at for two names.
const PAIRS: usize = 64;
/// Addresses tried in a claimed prefix for one that no narrower claim takes.
const TRIES: u128 = 1_024;

/// One pair of addresses, and how the frame comes.
#[derive(Debug)]
pub(super) struct Way<'a> {
    pub(super) from: IpAddr,
    pub(super) to: IpAddr,
    side: Side,
    sender: Sender,
    /// The MAC is one of those written for the source, or taken as such.
    pub(super) genuine: bool,
    source: Side,
    /// The destination is no host.
    pub(super) to_group: bool,
    near: Lookup<'a>,
    far: Lookup<'a>,
    strangers: &'a [usize],
    /// The mode of what touches no zone counts, as the sender may be somebody inside who is in none.
    pub(super) loose: bool,
}

/// What an ICMP message without its flow is called.
const NO_FLOW: &str = "icmp_no_flow";

/// What a stage makes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) stage: Stage,
    /// What speaks against it, by the name that counters have for it.
    pub(super) reason: Option<&'static str>,
    pub(super) mode: Mode,
    pub(super) rule: RuleNumber,
    pub(super) also: [RuleNumber; 4],
    /// The earliest moment at which it could change.
    pub(super) judge_at: Moment,
}

impl Decision {
    /// What the rules say, and the checks that come with them.
    fn of(verdict: Verdict) -> Self {
        let Verdict { denial, mode, rule, also, judge_at } = verdict;
        Self { stage: Stage::Rules, reason: denial.map(reason), mode, rule, also, judge_at }
    }

    pub(super) fn crosses(&self) -> bool {
        self.reason.is_none() || self.mode < Mode::Enforce
    }

    /// What makes two decisions the same answer to a reader.
    pub(super) fn answer(&self) -> (&'static str, Option<&'static str>, Mode, RuleNumber) {
        (self.stage.name(), self.reason, self.mode, self.rule)
    }
}

/// An address and what the policy knows of it.
#[derive(Debug)]
struct Lookup<'a> {
    stretch: Stretch,
    view: View<'a>,
    workload: Option<&'a Workload>,
    /// Its account is held, as far as the claim, its binding and the MAC go.
    holds: bool,
    /// Its binding has lapsed.
    lapsed: bool,
}

impl<'a> Lookup<'a> {
    fn new(model: &'a Model, space: &'a Space, stretch: Stretch, genuine: bool, now: Moment) -> Self {
        let view = space.view(model, &stretch);
        let workload = stretch.workload.and_then(|w| model.workloads.get(w));
        let lapsed = workload.is_some_and(|w| w.is_lapsed(model.gate.inventory_limit, now));
        let view = if lapsed { space.lapsed_view(model, &stretch) } else { view };
        Self { holds: stretch.host && genuine && !lapsed, workload, view, stretch, lapsed }
    }

    /// A workload or a group that has it, else the address.
    fn name(&self, address: IpAddr) -> String {
        let group = self.view.subject(false).group;
        let name = self.workload.map(|workload| workload.name.as_str()).or(group);
        name.map_or_else(|| address.to_string(), str::to_owned)
    }

    fn end(&self, policy: &Loaded, address: IpAddr, account: Option<Account>) -> End {
        let model = &policy.model;
        let subject = self.view.subject(self.holds);
        let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        End {
            name: self.name(address),
            known: !subject.is_unknown(),
            address,
            side: self.stretch.side.map(|side| format!("{}.{side}", model.wire.name)),
            network: subject.networks.first().map(|n| (*n).to_owned()),
            labels: subject.labels.clone(),
            account,
            binding: self
                .workload
                .and_then(|w| w.lease(model.gate.inventory_limit))
                .map(|until| Lease { valid_until: until.to_string(), lapsed: self.lapsed }),
            zones: owned(subject.zones),
        }
    }
}

/// The pairs of addresses that a question can mean, the one to show first: IPv4 before IPv6, pairs that
/// cross the wire before pairs that do not.
pub(super) fn ways<'a>(
    policy: &'a Loaded,
    table: &'a Table,
    query: &Query,
) -> Result<Vec<Way<'a>>, NotExplained> {
    let froms = addresses(policy, table, &query.from)?;
    let group = policy.model.groups.iter().find(|group| group.name == query.to);
    let tos = match group.filter(|_| policy.model.workloads.iter().all(|w| w.name != query.to)) {
        Some(group) => group.addresses.iter().map(|prefix| prefix.address).collect(),
        None => addresses(policy, table, &query.to)?,
    };
    let pairs = froms.iter().flat_map(|from| tos.iter().map(move |to| (*from, *to)));
    let mut ways: Vec<Way<'a>> = pairs
        .filter(|(from, to)| from.is_ipv4() == to.is_ipv4())
        .take(PAIRS)
        .map(|(from, to)| Way::new(policy, table, query, from, to))
        .collect();
    ways.sort_by_key(|way| (way.from.is_ipv6(), way.far.stretch.side == way.near.stretch.side));
    Ok(ways)
}

/// The addresses of a name, one for each claim.
fn addresses(policy: &Loaded, table: &Table, name: &str) -> Result<Vec<IpAddr>, NotExplained> {
    if let Ok(address) = name.parse() {
        return Ok(vec![address]);
    }
    let workloads = &policy.model.workloads;
    let Some((index, workload)) = workloads.iter().enumerate().find(|(_, w)| w.name == name) else {
        let like = nearest_name(name, workloads.iter().map(|w| w.name.as_str()));
        return Err(NotExplained::Name { name: name.to_owned(), like: like.map(str::to_owned) });
    };
    let claims = workload.addresses.iter();
    let own: Vec<IpAddr> = claims.filter_map(|claim| stand_in(table.space(), *claim, index)).collect();
    if own.is_empty() { Err(NotExplained::NoAddress(name.to_owned())) } else { Ok(own) }
}

/// An address of a claim that no narrower claim takes: the address itself, else the first after the
/// network's own.
pub(super) fn stand_in(space: &Space, claim: Prefix, workload: usize) -> Option<IpAddr> {
    let own = |address: &IpAddr| {
        claim.contains(*address)
            && space.get(space.find(*address)).is_some_and(|s| s.workload == Some(workload))
    };
    let nth = |n: u128| match claim.address {
        IpAddr::V4(v4) => {
            let bits = v4.to_bits().checked_add(u32::try_from(n).ok()?)?;
            Some(IpAddr::V4(bits.into()))
        }
        IpAddr::V6(v6) => Some(IpAddr::V6(v6.to_bits().checked_add(n)?.into())),
    };
    (1..=TRIES).chain([0]).filter_map(nth).find(own)
}

impl<'a> Way<'a> {
    pub(super) fn new(
        policy: &'a Loaded,
        table: &'a Table,
        query: &Query,
        from: IpAddr,
        to: IpAddr,
    ) -> Self {
        let (model, space) = (&policy.model, table.space());
        let stretch = |address| space.get(space.find(address)).cloned().unwrap_or(Stretch::NOWHERE);
        let near = stretch(from);
        let source = near.side.unwrap_or(Side::Outside);
        let side = query.side.unwrap_or(source);
        let [outside, inside] = &space.zones_at;
        let far = if table.is_group(to) {
            let zones = match side.other() {
                Side::Outside => outside.clone(),
                Side::Inside => inside.clone(),
            };
            Stretch { zones, group: stretch(to).group, ..Stretch::NOWHERE }
        } else {
            stretch(to)
        };
        let vlans = query.vlans.unwrap_or_else(|| vlans(model, &near, &far));
        let mac = query.mac.map_or(SenderMac::Assumed, SenderMac::Seen);
        let sender = Sender { address: from, mac, vlans };
        let genuine = table.is_true(sender, side);
        Self {
            from,
            to,
            side,
            sender,
            genuine,
            source,
            to_group: table.is_group(to),
            strangers: if side == Side::Inside && !genuine { inside } else { &[] },
            loose: side == Side::Inside && !genuine && far.zones.is_empty() && table.inside.loose.is_some(),
            near: Lookup::new(model, space, near, genuine, query.now),
            far: Lookup::new(model, space, far, true, query.now),
        }
    }

    pub(super) fn v4(&self) -> bool {
        self.from.is_ipv4()
    }

    pub(super) fn pair(&self) -> String {
        format!("{} → {}", self.from, self.to)
    }

    pub(super) fn judge(&self, table: &Table, service: Service, now: Moment) -> Verdict {
        table.judge(self.sender, self.to, service, self.side, now)
    }

    /// The stage that decides, and what comes of a packet of no live flow.
    pub(super) fn decide(&self, table: &Table, service: Service, now: Moment) -> Decision {
        let stage = Stage::of(self.from, self.to, service, Some(table));
        let verdict = self.judge(table, service, now);
        let misplaced = verdict.denial.is_some_and(Denial::is_misplaced);
        let none = [RuleNumber::NONE; 4];
        let judge_at = verdict.judge_at;
        let own =
            |reason, mode| Decision { stage, reason, mode, rule: RuleNumber::NONE, also: none, judge_at };
        // The profile knows no bindings.
        let profile = |reason| Decision { judge_at: Moment::NEVER, ..own(reason, table.strictest()) };
        match stage {
            Stage::Odd(odd) => own(Some(oddity(odd).0), verdict.mode),
            Stage::Profile(class) => match (table.profile(class), self.misspoken(table, class, service)) {
                (Action::Drop, _) => profile(Some("profile")),
                (Action::Forward, None) => profile(None),
                (Action::Forward, Some(why)) => {
                    let mode =
                        table.mode_of_claim(self.sender, self.from, self.to, service, self.side, now);
                    Decision { stage: Stage::Inventory(why), ..own(Some(why.name()), mode) }
                }
            },
            // Only what the profile forwards comes here.
            Stage::Inventory(why) => own(Some(why.name()), verdict.mode),
            Stage::Quoted if !misplaced => own(Some(NO_FLOW), verdict.mode),
            Stage::Requested => {
                // Its mode is the stricter of both directions.
                let asked = self.asked(table, service, now);
                let mode = verdict.mode.max(asked.mode);
                let judge_at = judge_at.min(asked.judge_at);
                if misplaced {
                    return Decision::of(Verdict { mode, judge_at, ..verdict });
                }
                Decision { judge_at, ..own(Some(NO_FLOW), mode) }
            }
            Stage::Quoted | Stage::Rules => Decision::of(verdict),
        }
    }

    /// What the inventory says of housekeeping that the profile forwards, if it speaks for its own source.
    fn misspoken(&self, table: &Table, class: Housekeeping, service: Service) -> Option<Misspoken> {
        match class {
            Housekeeping::Ndp | Housekeeping::Dhcp if table.is_own(self.from) => {
                Some(Misspoken::GateAddress)
            }
            Housekeeping::Ndp => {
                let [kind, _] = service.dport.to_be_bytes();
                table.misspoken(kind, self.sender, self.to, self.side)
            }
            Housekeeping::Dhcp => {
                let free = self.from.is_unspecified() || is_link_local(self.from);
                let belongs = free || table.belongs(self.from, self.sender.vlans, self.side);
                (!belongs).then_some(Misspoken::Spoofed)
            }
            Housekeeping::Arp
            | Housekeeping::Lldp
            | Housekeeping::Stp
            | Housekeeping::Lacp
            | Housekeeping::Other => None,
        }
    }

    /// The question that an ICMP answer would be of.
    fn asked(&self, table: &Table, service: Service, now: Moment) -> Verdict {
        let sender = Sender { address: self.to, mac: SenderMac::Assumed, ..self.sender };
        let ([kind, _], v6) = (service.dport.to_be_bytes(), !self.v4());
        let [question, _] =
            wire::Query::of(kind, v6).and_then(|(query, _)| query.types(v6)).unwrap_or([kind, 0]);
        let service = Service { dport: u16::from_be_bytes([question, 0]), ..service };
        table.judge(sender, self.from, service, self.side.other(), now)
    }

    /// Where one address stands for a prefix that a workload claims.
    pub(super) fn stands_for(&self) -> Vec<String> {
        let words = |end: &Lookup<'_>, address: IpAddr| {
            let claims = end.workload?.addresses.iter().filter(|claim| claim.contains(address));
            let claim = claims.max_by_key(|claim| claim.length).filter(|claim| !claim.is_host())?;
            Some(format!("{address} stands for {claim}"))
        };
        [words(&self.near, self.from), words(&self.far, self.to)].into_iter().flatten().collect()
    }

    /// What people call the ends.
    pub(super) fn names(&self) -> (String, String) {
        (self.near.name(self.from), self.far.name(self.to))
    }

    /// Names of the ends whose binding has lapsed.
    pub(super) fn lapsed(&self) -> Vec<&str> {
        let ends = [&self.near, &self.far].into_iter().filter(|end| end.lapsed);
        ends.filter_map(|end| end.workload.map(|w| w.name.as_str())).collect()
    }

    /// Both ends as selectors see them.
    pub(super) fn views(&self) -> ((&View<'a>, bool), (&View<'a>, bool)) {
        ((&self.near.view, self.near.holds), (&self.far.view, self.far.holds))
    }

    /// Unknown reaches no zone by an allow.
    pub(super) fn may_allow(&self) -> bool {
        crate::policy::identity::may_allow(
            !self.near.view.subject(false).is_unknown(),
            !self.far.view.subject(false).is_unknown(),
            !self.far.stretch.zones.is_empty(),
        )
    }

    /// Whether both ends of a rule match, either way round where it says so.
    pub(super) fn matches(&self, rule: &Rule) -> bool {
        let reading = match rule.tier {
            Tier::Guardrail | Tier::Deny => Reading::ByAddress,
            Tier::Exception | Tier::Allow => Reading::Granted,
        };
        let ((near, near_holds), (far, far_holds)) = self.views();
        let (near, far) = (near.subject(near_holds), far.subject(far_holds));
        let there = rule.from.matches(&near, reading) && rule.to.matches(&far, reading);
        let back = || rule.to.matches(&near, reading) && rule.from.matches(&far, reading);
        (there || (rule.both_ways && back())) && rule.to.joins(near.carried(), far.carried())
    }

    pub(super) fn ends(&self, policy: &Loaded) -> (End, End) {
        let (near, far) = (self.account(&self.near, true), self.account(&self.far, false));
        (self.near.end(policy, self.from, near), self.far.end(policy, self.to, far))
    }

    fn account(&self, end: &Lookup<'_>, opens: bool) -> Option<Account> {
        let name = end.workload.and_then(|w| w.service_account.clone())?;
        let mac = match (self.sender.mac, self.genuine, opens) {
            (_, _, false) | (SenderMac::Seen(_), false, true) | (SenderMac::Stranger, ..) => "",
            (SenderMac::Assumed, ..) => ", MAC taken as true",
            (SenderMac::Seen(mac), true, true) if end.workload.is_some_and(|w| w.macs.contains(&mac)) => {
                ", own MAC"
            }
            (SenderMac::Seen(_), true, true) => ", MAC of its router",
        };
        let why = if !end.stretch.host {
            "the claim is a prefix, which cannot hold one".to_owned()
        } else if end.lapsed {
            "its binding has lapsed".to_owned()
        } else if opens && !self.genuine {
            "MAC written neither for it nor for its network".to_owned()
        } else {
            format!("one host, own account{mac}")
        };
        Some(Account { name, held: end.holds, why })
    }

    /// The zones whose modes count, each once, and why it counts.
    pub(super) fn governed(&self, policy: &'a Loaded) -> Vec<(&'a Zone, &'static str)> {
        let all = [
            (&self.far.stretch.zones[..], "destination"),
            (&self.near.stretch.zones[..], "source"),
            (self.strangers, "mac"),
        ];
        let mut found: Vec<(usize, &Zone, &'static str)> = Vec::new();
        for (zones, by) in all {
            for zone in zones {
                if found.iter().all(|(known, ..)| known != zone)
                    && let Some(governing) = policy.model.zones.get(*zone)
                {
                    found.push((*zone, governing, by));
                }
            }
        }
        found.into_iter().map(|(_, zone, by)| (zone, by)).collect()
    }

    /// The same for people.
    pub(super) fn zones(&self, policy: &'a Loaded) -> Vec<ZoneRef> {
        let governed = self.governed(policy).into_iter();
        let modes = |zone: &Zone, by: &str| match by {
            "destination" => governs(zone),
            _ => zone.mode.name().to_owned(),
        };
        governed.map(|(zone, by)| ZoneRef { name: zone.name.clone(), modes: modes(zone, by), by }).collect()
    }

    pub(super) fn assumes(&self, policy: &Loaded, what: &str) -> String {
        let tags = if self.sender.vlans == Vlans::UNTAGGED {
            String::new()
        } else {
            format!(" on VLAN {}", self.sender.vlans)
        };
        let mac = match self.sender.mac {
            SenderMac::Assumed => ", its MAC true".to_owned(),
            SenderMac::Stranger => ", its MAC another's".to_owned(),
            SenderMac::Seen(mac) => format!(" with MAC {mac}"),
        };
        let elsewhere = if self.side == self.source { "" } else { ", where its source does not belong," };
        format!("{what} from {}.{}{elsewhere}{tags} now{mac}", policy.model.wire.name, self.side)
    }
}

/// Tags that both networks list, else the first of the sender's.
fn vlans(model: &Model, near: &Stretch, far: &Stretch) -> Vlans {
    let of = |stretch: &Stretch| {
        stretch.networks.first().and_then(|n| model.networks.get(*n)).map_or(&[][..], |n| &n.vlans)
    };
    let (near, far) = (of(near), of(far));
    let both = near.iter().find(|tags| far.contains(tags) || far.is_empty());
    both.or(near.first()).copied().unwrap_or(Vlans::UNTAGGED)
}
