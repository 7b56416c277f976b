//! Everything that can reach somebody, and by which rules.
//!
//! What it is: all pairs of classes of the compiled table, told as *ways*: whoever of one list opens whatever of some
//! services to whoever of another, and which rule allows it; and beside them what crosses whatever rules say, because
//! nothing enforces them there. What it is not: no sampling, no second evaluator. As in policy tests (POLICY.md §9)
//! bindings are fresh, accounts are held and there are no exceptions: with a lapsed binding or a wrong MAC rules allow
//! less, never more. A pair counts if this gate sees it, on a VLAN of both networks. Ends are read as a deny would
//! read them. Invariant: ways do not overlap; what is in none does not cross. Cost: pairs of classes; the services
//! of equal pairs are looked at once.

#[cfg(test)]
mod tests;
mod text;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use serde::Serialize;

use super::explain::RuleRef;
use super::ground::{End, Ground};
use super::like::like;
use super::model::{Model, Selector};
use super::read::{Loaded, did_you_mean};
use super::regions::{Listed, Services, overlaid};
use super::selector::Reading;
use super::table::Table;
use super::table::classes::Alike;
use super::verdict::{Mode, Moment, RuleNumber};
use crate::wire::Vlans;

/// A question about nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{words} is nobody on this wire: no address is meant by it now{}",
    did_you_mean(.like.as_deref())
)]
pub struct NotReached {
    /// Who was asked for.
    pub words: String,
    /// What of it somebody carries that is most like it.
    pub like: Option<String>,
}

/// What can be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reach {
    /// Who opens, in words; none: anyone.
    pub from: Option<String>,
    /// To whom, in words; none: anyone.
    pub to: Option<String>,
    /// What rules allow, rule by rule.
    pub allowed: Vec<Way>,
    /// What crosses whatever rules say, because its mode enforces nothing: the mildest first.
    pub unenforced: Vec<Way>,
    /// Pairs of classes looked at.
    pub pairs: u64,
    /// What the answer rests on.
    pub assumes: &'static str,
    /// Workloads named here whose binding has lapsed: until it is renewed no allow counts for them.
    pub lapsed: Vec<String>,
    /// Digest of the policy.
    pub digest: String,
}

/// Whoever opens, on what, to whomever: every combination of the three.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Way {
    /// The rule that allows it; none where it only crosses.
    pub rule: Option<RuleRef>,
    /// The mode that governs it.
    pub mode: &'static str,
    /// That mode is `enforce`: what no way allows does not cross beside it.
    pub enforced: bool,
    /// On what.
    pub services: Listed,
    /// The same for people.
    #[serde(skip)]
    pub words: String,
    /// Accounts without which it is denied.
    pub accounts: Accounts,
    /// Who opens.
    pub from: Vec<Member>,
    /// To whom.
    pub to: Vec<Member>,
}

/// Accounts that must be held.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Accounts {
    /// By who opens: one of them, each its own.
    pub from: BTreeSet<String>,
    /// By whom it is opened to.
    pub to: BTreeSet<String>,
}

/// Some addresses of one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Member {
    /// `workload`, `group`, `ungrouped` (multicast in no group), or `unknown`: addresses of a network that no workload
    /// claims.
    pub kind: &'static str,
    /// The name of the workload, the group or the network.
    pub name: String,
    /// One address for all that nothing tells apart.
    pub addresses: Vec<IpAddr>,
}

/// What every answer rests on.
const ASSUMES: &str = "every binding fresh, every account held, no exceptions, and sources on their own side, VLAN and \
     MAC: with a lapsed binding or a wrong MAC rules allow less, never more";

/// What a way is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    /// A rule allows it.
    Allowed {
        rule: RuleNumber,
        mode: Mode,
        /// Without the sender's account it is denied.
        account: bool,
    },
    /// It crosses whatever rules say.
    Unenforced(Mode),
}

/// A way by names: kind, services, who opens, to whom.
type Named<'s> = (Kind, &'s Services, Vec<String>, Vec<String>);

/// A way by addresses: one for each run that nothing tells apart.
pub(super) struct Rectangle<'g, 'a> {
    pub(super) kind: Kind,
    pub(super) services: Services,
    pub(super) from: Vec<&'g End<'a>>,
    pub(super) to: Vec<&'g End<'a>>,
}

/// Everything that `from` can open to `to`; without an end, anyone.
///
/// # Errors
/// An end means nobody.
pub fn reach(
    policy: &Loaded,
    table: &Table,
    (from, to): (Option<&Selector>, Option<&Selector>),
    now: Moment,
) -> Result<Reach, NotReached> {
    let model = &policy.model;
    let ground = Ground::new(model, table);
    let meant = |selector: &Selector, end: &End<'_>| end.is_meant(selector, Reading::ByAddress);
    let nobody = |selector: &Selector| NotReached { words: selector.words(), like: like(model, selector) };
    if let Some(from) = from
        && !ground.sides().any(|(senders, _)| senders.iter().any(|end| meant(from, end)))
    {
        return Err(nobody(from));
    }
    if let Some(to) = to
        && !ground.sides().any(|(_, receivers)| receivers.iter().any(|end| meant(to, end)))
    {
        return Err(nobody(to));
    }
    let (rectangles, pairs) = rectangles(&ground, (from, to));
    let mut lapsed = BTreeSet::new();
    let mut ways: Vec<(Kind, Way)> = Vec::new();
    let mut known: HashMap<Named<'_>, usize> = HashMap::new();
    for rectangle in &rectangles {
        let way = Way::of(policy, table, rectangle);
        let workloads = way.from.iter().chain(&way.to).filter(|member| member.kind == "workload");
        lapsed.extend(workloads.map(|member| member.name.clone()));
        // What the same names may over IPv4 and over IPv6 is one: no pair mixes families.
        let next = ways.len();
        let key = (rectangle.kind, &rectangle.services, names(&way.from), names(&way.to));
        let number = *known.entry(key).or_insert(next);
        match ways.get_mut(number).filter(|(_, one)| !one.shares_family(&way)) {
            Some((_, one)) => one.join(way),
            None => ways.push((rectangle.kind, way)),
        }
    }
    let (allowed, unenforced): (Vec<_>, Vec<_>) =
        ways.into_iter().partition(|(kind, _)| matches!(kind, Kind::Allowed { .. }));
    let [allowed, unenforced] =
        [allowed, unenforced].map(|ways| ways.into_iter().map(|(_, way)| way).collect());
    let workloads =
        model.workloads.iter().filter(|workload| workload.is_lapsed(model.gate.inventory_limit, now));
    let lapsed = workloads.filter(|workload| lapsed.contains(&workload.name));
    Ok(Reach {
        from: from.map(Selector::words),
        to: to.map(Selector::words),
        allowed,
        unenforced,
        pairs,
        assumes: ASSUMES,
        lapsed: lapsed.map(|workload| workload.name.clone()).collect(),
        digest: table.digest_short(),
    })
}

/// All ways between two ends, by rule, then by mode; and how many pairs of classes there are.
pub(super) fn rectangles<'g, 'a>(
    ground: &'g Ground<'a>,
    (from, to): (Option<&Selector>, Option<&Selector>),
) -> (Vec<Rectangle<'g, 'a>>, u64) {
    let mut finder = Finder { ground, known: HashMap::new(), parts: Vec::new(), sets: Sets::default() };
    let mut found = Vec::new();
    let mut pairs = 0;
    for (senders, receivers) in ground.sides() {
        let senders = classes(ground.table, senders, from, to);
        let receivers = classes(ground.table, receivers, to, to);
        // Who opens the same things to the same receivers is one.
        let mut alike: HashMap<(Part, Vec<usize>), Vec<usize>> = HashMap::new();
        for (number, sender) in senders.iter().enumerate() {
            let mut own: BTreeMap<Part, Vec<usize>> = BTreeMap::new();
            for (place, receiver) in receivers.iter().enumerate() {
                let Some(parts) = finder.pair(sender, receiver, to) else { continue };
                pairs += 1;
                for part in parts {
                    own.entry(*part).or_default().push(place);
                }
            }
            for (part, receivers) in own {
                alike.entry((part, receivers)).or_default().push(number);
            }
        }
        let ends = |classes: &[Class<'g, 'a>], numbers: &[usize]| -> Vec<&'g End<'a>> {
            numbers.iter().filter_map(|n| classes.get(*n)).flat_map(|class| class.ends.clone()).collect()
        };
        for (((kind, set), to), from) in alike {
            let Some(services) = finder.sets.all.get(set).cloned() else { continue };
            let (from, to) = (ends(&senders, &from), ends(&receivers, &to));
            found.push(Rectangle { kind, services, from, to });
        }
    }
    let first = |ends: &[&End<'_>]| ends.first().map(|end| end.address);
    found.sort_by(|one, other| {
        let key = |way: &Rectangle<'_, '_>| (way.kind, first(&way.from), first(&way.to));
        key(one).cmp(&key(other)).then_with(|| one.services.cmp(&other.services))
    });
    (found, pairs)
}

/// Addresses that no rule and no question tells apart.
struct Class<'g, 'a> {
    first: &'g End<'a>,
    ends: Vec<&'g End<'a>>,
    /// The class of the same senders with a MAC that is not true.
    stranger: u32,
}

/// The ends that are meant, class by class, in the order of their first addresses.
fn classes<'g, 'a>(
    table: &Table,
    ends: &'g [End<'a>],
    meant: Option<&Selector>,
    joining: Option<&Selector>,
) -> Vec<Class<'g, 'a>> {
    let mut known = HashMap::new();
    let mut classes: Vec<Class<'g, 'a>> = Vec::new();
    let meant = |end: &&End<'_>| meant.is_none_or(|meant| end.is_meant(meant, Reading::ByAddress));
    for end in ends.iter().filter(meant) {
        let stranger = table.stranger_class(end.address);
        let joined = end.carried().kind(joining.into_iter().flat_map(Selector::joined));
        let (tags, v4): (&[Vlans], bool) = (table.tags(end.address), end.address.is_ipv4());
        let group = table.is_group(end.address);
        let next = classes.len();
        let number = *known.entry((end.class, stranger, group, tags, v4, joined)).or_insert(next);
        match classes.get_mut(number) {
            Some(class) => class.ends.push(end),
            None => classes.push(Class { first: end, ends: vec![end], stranger }),
        }
    }
    classes
}

/// What comes of a set of services, by its number.
type Part = (Kind, usize);

/// Sets of services, each once.
#[derive(Default)]
struct Sets {
    all: Vec<Services>,
    numbers: HashMap<Services, usize>,
}

impl Sets {
    fn number(&mut self, set: Services) -> usize {
        let all = &mut self.all;
        *self.numbers.entry(set).or_insert_with_key(|new| {
            all.push(new.clone());
            all.len() - 1
        })
    }
}

/// What is known of pairs.
struct Finder<'g, 'a> {
    ground: &'g Ground<'a>,
    known: HashMap<(Alike, Alike, bool), usize>,
    parts: Vec<Vec<Part>>,
    sets: Sets,
}

impl Finder<'_, '_> {
    /// The parts of a pair; none where no packet of the one gets to the other, or `to` says that they do not belong
    /// together.
    fn pair(
        &mut self,
        from: &Class<'_, '_>,
        to: &Class<'_, '_>,
        joining: Option<&Selector>,
    ) -> Option<&[Part]> {
        let v4 = from.first.address.is_ipv4();
        let joined = joining.is_none_or(|to_end| to_end.joins(from.first.carried(), to.first.carried()));
        if v4 != to.first.address.is_ipv4() || !joined || !self.ground.meet(from.first, to.first) {
            return None;
        }
        let table = self.ground.table;
        let alike = table.alike(from.first.class, to.first.class);
        let stranger = table.alike(from.stranger, to.first.class);
        let (all, sets) = (&mut self.parts, &mut self.sets);
        let number = *self.known.entry((alike, stranger, v4)).or_insert_with(|| {
            let parts = parts(table, (from.first.class, from.stranger), to.first.class, v4);
            all.push(parts.into_iter().map(|(kind, set)| (kind, sets.number(set))).collect());
            all.len() - 1
        });
        self.parts.get(number).map(Vec::as_slice)
    }
}

/// The services between two classes by what comes of them.
fn parts(table: &Table, (own, stranger): (u32, u32), receiver: u32, v4: bool) -> Vec<(Kind, Services)> {
    let pieces = table.pieces(own, receiver);
    let denied = table.pieces(stranger, receiver).into_iter();
    let denied: Vec<_> = denied.map(|(region, (answer, _))| (region, answer.denial.is_some())).collect();
    let pieces: Vec<_> = overlaid(&pieces, &denied)
        .into_iter()
        .map(|(region, (answer, mode), denied)| {
            let (rule, account) = (answer.rule, denied);
            let allowed = answer.denial.is_none().then_some(Kind::Allowed { rule, mode, account });
            (region, allowed, mode)
        })
        .collect();
    let kinds: HashSet<Kind> = pieces.iter().filter_map(|(_, allowed, _)| *allowed).collect();
    let allowed = kinds.into_iter().filter_map(|kind| {
        let division = pieces.iter().map(|(region, allowed, _)| (*region, *allowed == Some(kind)));
        Some((kind, Services::of(division, v4)?))
    });
    let mild = [Mode::Observe, Mode::Simulate].into_iter().filter_map(|mode| {
        let division = pieces.iter().map(|(region, _, governs)| (*region, *governs == mode));
        Some((Kind::Unenforced(mode), Services::of(division, v4)?))
    });
    allowed.chain(mild).collect()
}

impl Way {
    /// Some of it is between addresses of this family.
    fn is_of(&self, v4: bool) -> bool {
        self.from.iter().flat_map(|member| &member.addresses).any(|address| address.is_ipv4() == v4)
    }

    fn shares_family(&self, other: &Self) -> bool {
        [true, false].into_iter().any(|v4| self.is_of(v4) && other.is_of(v4))
    }

    /// Takes in the addresses of the other family.
    fn join(&mut self, other: Self) {
        let Self { accounts, from, to, .. } = other;
        self.accounts.from.extend(accounts.from);
        self.accounts.to.extend(accounts.to);
        for (own, theirs) in [(&mut self.from, from), (&mut self.to, to)] {
            for (own, theirs) in own.iter_mut().zip(theirs) {
                own.addresses.extend(theirs.addresses);
                own.addresses.sort_unstable();
            }
        }
    }

    fn of(policy: &Loaded, table: &Table, rectangle: &Rectangle<'_, '_>) -> Self {
        let Rectangle { kind, services, from, to } = rectangle;
        let (rule, mode, account) = match *kind {
            Kind::Allowed { rule, mode, account } => (Some(rule), mode, account),
            Kind::Unenforced(mode) => (None, mode, false),
        };
        let named = rule.map(|rule| named(&policy.model, rule)).unwrap_or_default();
        let declared = |end: &&End<'_>| end.subject().account.map(str::to_owned);
        let senders = from.iter().filter_map(declared).filter(|_| account);
        let receivers = to.iter().filter_map(declared).filter(|name| named.contains(name));
        Self {
            rule: rule.and_then(|rule| table.rule(rule)).map(|face| RuleRef::of_face(policy, face)),
            mode: mode.name(),
            enforced: mode == Mode::Enforce,
            services: services.listed(),
            words: services.text(&policy.model, 8),
            accounts: Accounts { from: senders.collect(), to: receivers.collect() },
            from: members(table, from),
            to: members(table, to),
        }
    }
}

/// Kinds and names of members.
fn names(members: &[Member]) -> Vec<String> {
    members.iter().map(|member| format!("{} {}", member.kind, member.name)).collect()
}

/// The accounts that a rule names where it is opened to.
fn named(model: &Model, rule: RuleNumber) -> BTreeSet<String> {
    let Some(rule) = usize::try_from(rule.0).ok().and_then(|rule| model.rules.get(rule)) else {
        return BTreeSet::new();
    };
    let back = rule.both_ways.then_some(&rule.from);
    let ends = [Some(&rule.to), back].into_iter().flatten();
    ends.flat_map(Selector::parts).flat_map(|keys| &keys.accounts).cloned().collect()
}

/// Ends by their names: workloads, groups, then networks of what is unknown.
fn members(table: &Table, ends: &[&End<'_>]) -> Vec<Member> {
    let mut named: BTreeMap<(u8, String), BTreeSet<IpAddr>> = BTreeMap::new();
    for end in ends {
        let subject = end.subject();
        let (order, name) = match (subject.workload, subject.group) {
            (Some(workload), _) => (0, workload),
            (None, Some(group)) => (1, group),
            (None, None) if table.is_group(end.address) => (2, "multicast in no group"),
            (None, None) => (3, subject.networks.first().copied().unwrap_or("no network")),
        };
        named.entry((order, name.to_owned())).or_default().insert(end.address);
    }
    let kind = |order| match order {
        0 => "workload",
        1 => "group",
        2 => "ungrouped",
        _ => "unknown",
    };
    named
        .into_iter()
        .map(|((order, name), addresses)| Member {
            kind: kind(order),
            name,
            addresses: addresses.into_iter().collect(),
        })
        .collect()
}
