//! Both inventories beside each other, and what that takes an address out of.
//!
//! What it is: workloads and groups that come, go or are written otherwise; of every deny and guardrail, and of
//! every zone, the addresses that leave or enter it; bindings that last longer than they did. What it is not: a
//! verdict; an address that leaves a deny is listed whether or not something else denies it still. Invariant:
//! addresses are told one for each run that either policy tells apart. Cost: the identities of both.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::rc::Rc;

use serde::Serialize;

use super::both::Both;
use super::settings::{fate, named};
use super::words::{Faces, NAMES, Names, Who};
use super::{Half, touched};
use crate::policy::identity::Identities;
use crate::policy::model::{Group, Model, Tier, Workload};
use crate::policy::table::Table;
use crate::policy::verdict::Moment;

/// Workloads and what became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Inventory {
    /// Workloads and groups that came, went or changed.
    pub entries: Vec<WorkloadChange>,
    /// How many more.
    #[serde(skip_serializing_if = "is_zero")]
    pub entries_left_out: usize,
    /// Denies, guardrails and zones that addresses leave or enter.
    pub restrictions: Vec<Restriction>,
    /// Workloads whose binding lasts longer: from the old end on it opens what its rules allow.
    pub lasts_longer: Vec<Binding>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// A workload or group that came, went or changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WorkloadChange {
    /// Its name; a group's with `group` before it.
    pub name: String,
    /// `came`, `went`, `changed`.
    pub change: &'static str,
    /// Where it stands in the old policy.
    pub old: Option<String>,
    /// Where it stands in the new one.
    pub new: Option<String>,
    /// What is written of it otherwise: key, before, now.
    pub fields: Vec<(String, Option<String>, Option<String>)>,
}

/// Who leaves and who enters a deny, guardrail or zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Restriction {
    /// `deny.desktops`, `zone cde`.
    pub what: String,
    /// The rule's end: `from`, `to`; none of a zone.
    pub end: Option<&'static str>,
    /// Where it stands in the old policy; none where it is new.
    pub old: Option<String>,
    /// Where it stands in the new one; none where it is gone.
    pub new: Option<String>,
    /// Addresses that leave it.
    pub left: Names,
    /// Addresses that enter it.
    pub entered: Names,
}

/// A binding that lasts longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Binding {
    /// The workload in the old policy.
    pub workload: String,
    /// When it would have lapsed.
    pub old: String,
    /// When it does now; none: never.
    pub new: Option<String>,
    /// Its zones, in either policy.
    pub zones: Vec<String>,
    /// Who answers for those.
    pub owners: Vec<String>,
}

/// Compares two inventories; `addresses` has one of each run.
pub(super) fn compare(
    halves: Both<Half<'_>>,
    faces: &Faces<'_>,
    addresses: &[IpAddr],
    now: Moment,
) -> Inventory {
    let mut entries = entries(halves);
    let entries_left_out = entries.len().saturating_sub(NAMES);
    entries.truncate(NAMES);
    Inventory {
        entries,
        entries_left_out,
        restrictions: restrictions(halves, faces, addresses, now),
        lasts_longer: lasts_longer(halves, addresses, now),
    }
}

fn entries(halves: Both<Half<'_>>) -> Vec<WorkloadChange> {
    let models = halves.map(|half| &half.policy.model);
    let mut entries = Vec::new();
    let workloads = models.map(|model| model.workloads.iter().map(|w| (w.name.clone(), w)));
    for (name, both) in named(workloads) {
        let fields = fields(&both.map(|workload| workload.map(written).unwrap_or_default()));
        let Some(change) = fate(both, |_, _| fields.is_empty()) else { continue };
        let place = halves.zip(both).map(|(half, w)| w.map(|w| half.policy.sources.place(w.origin)));
        entries.push(WorkloadChange { name, change, old: place.old, new: place.new, fields });
    }
    let groups = models.map(|model| model.groups.iter().map(|group| (group.name.clone(), group)));
    for (name, both) in named(groups) {
        let addresses = |group: &Group| {
            let all: BTreeSet<String> = group.addresses.iter().map(ToString::to_string).collect();
            BTreeMap::from([("addresses".to_owned(), all.into_iter().collect::<Vec<_>>().join(" "))])
        };
        let fields = fields(&both.map(|group| group.map(addresses).unwrap_or_default()));
        let Some(change) = fate(both, |_, _| fields.is_empty()) else { continue };
        let place = halves.zip(both).map(|(half, g)| g.map(|g| half.policy.sources.place(g.origin)));
        let name = format!("group {name}");
        entries.push(WorkloadChange { name, change, old: place.old, new: place.new, fields });
    }
    entries
}

/// What is written of a workload.
fn written(workload: &Workload) -> BTreeMap<String, String> {
    let Workload {
        name: _,
        addresses,
        labels,
        service_account,
        macs,
        owner,
        valid_until,
        heard: _,
        origin: _,
    } = workload;
    let list = |all: BTreeSet<String>| all.into_iter().collect::<Vec<_>>().join(" ");
    let mut written: BTreeMap<String, String> =
        labels.iter().map(|(key, value)| (format!("label {key}"), value.clone())).collect();
    written.insert("addresses".to_owned(), list(addresses.iter().map(ToString::to_string).collect()));
    if !macs.is_empty() {
        written.insert("macs".to_owned(), list(macs.iter().map(ToString::to_string).collect()));
    }
    let single = [
        ("service_account", service_account.clone()),
        ("owner", owner.clone()),
        ("valid_until", valid_until.map(|end| end.to_string())),
    ];
    written.extend(single.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    written
}

fn fields(both: &Both<BTreeMap<String, String>>) -> Vec<(String, Option<String>, Option<String>)> {
    let keys: BTreeSet<&String> = both.old.keys().chain(both.new.keys()).collect();
    let all = keys.into_iter().map(|key| {
        let Both { old, new } = both.as_ref().map(|written| written.get(key).cloned());
        (key.clone(), old, new)
    });
    all.filter(|(_, old, new)| old != new).collect()
}

/// An end of a rule: its index among the rules, and whether it is `to`.
type RuleEnd = (usize, bool);

/// What restricts each address of one policy.
struct Restricting<'a> {
    model: &'a Model,
    table: &'a Table,
    identities: Identities<'a>,
    /// By identity: rising.
    of: Vec<Vec<RuleEnd>>,
    now: Moment,
}

impl<'a> Restricting<'a> {
    fn new(half: Half<'a>, now: Moment) -> Self {
        let (model, table) = (&half.policy.model, half.table);
        let restricts = || model.rules.iter().enumerate().filter(|(_, rule)| rule.tier != Tier::Allow);
        let selectors = restricts().flat_map(|(_, rule)| [&rule.from, &rule.to]);
        let identities = Identities::new(model, table.space(), selectors);
        let mut of = vec![Vec::new(); identities.all.len()];
        {
            let postings = identities.postings();
            for (number, rule) in restricts() {
                for (to, selector) in [(false, &rule.from), (true, &rule.to)] {
                    for (identity, heard) in identities.heard(&postings, selector, rule.tier) {
                        let list: Option<&mut Vec<RuleEnd>> =
                            usize::try_from(identity).ok().and_then(|identity| of.get_mut(identity));
                        list.filter(|_| heard.genuine).into_iter().for_each(|list| list.push((number, to)));
                    }
                }
            }
        }
        Self { model, table, identities, of, now }
    }

    /// The identity of an address, as its binding stands.
    fn identity(&self, address: IpAddr) -> usize {
        let space = self.table.space();
        let number = space.find(address);
        let workload = space.get(number).and_then(|stretch| self.model.workloads.get(stretch.workload?));
        let lapsed =
            workload.is_some_and(|workload| workload.is_lapsed(self.model.gate.inventory_limit, self.now));
        let Ok(stretch) = usize::try_from(number) else { return 0 };
        let lapsed = self.identities.lapsed_of_stretch.get(stretch).copied().flatten().filter(|_| lapsed);
        lapsed.or_else(|| self.identities.of_stretch.get(stretch).copied()).unwrap_or(0)
    }

    /// Rules by name, and the end.
    fn rules(&self, identity: usize) -> BTreeSet<(String, bool)> {
        let list = self.of.get(identity).map_or(&[][..], Vec::as_slice).iter();
        let named = list.filter_map(|(rule, to)| Some((self.model.rules.get(*rule)?.full_id(), *to)));
        named.collect()
    }
}

/// Rules and ends that an address leaves or, where that is said, enters.
type Differing = Rc<[((String, bool), bool)]>;

/// Who leaves, who enters.
type Moves = (Vec<String>, Vec<String>);

fn restrictions(
    halves: Both<Half<'_>>,
    faces: &Faces<'_>,
    addresses: &[IpAddr],
    now: Moment,
) -> Vec<Restriction> {
    let restricting = halves.map(|half| Restricting::new(half, now));
    let mut moves: BTreeMap<(String, bool), Moves> = BTreeMap::new();
    let mut zones: BTreeMap<&str, Moves> = BTreeMap::new();
    let mut known: HashMap<Both<usize>, Differing> = HashMap::new();
    for address in addresses {
        let identities = restricting.as_ref().map(|of| of.identity(*address));
        let differing = known.entry(identities).or_insert_with(|| {
            let rules = restricting.as_ref().zip(identities).map(|(of, identity)| of.rules(identity));
            let Both { old, new } = rules;
            let left = old.difference(&new).map(|end| (end.clone(), false));
            left.chain(new.difference(&old).map(|end| (end.clone(), true))).collect()
        });
        let Both { old, new } =
            halves.map(|half| touched(half, *address, None).collect::<BTreeSet<&str>>());
        if differing.is_empty() && old == new {
            continue;
        }
        let name = called(faces, *address);
        for (end, entered) in differing.iter() {
            let (left, entering) = moves.entry(end.clone()).or_default();
            (if *entered { entering } else { left }).push(name.clone());
        }
        for zone in old.difference(&new) {
            zones.entry(*zone).or_default().0.push(name.clone());
        }
        for zone in new.difference(&old) {
            zones.entry(*zone).or_default().1.push(name.clone());
        }
    }
    let rules = moves.into_iter().map(|((rule, to), (left, entered))| {
        let place = halves.map(|half| {
            let found = half.policy.model.rules.iter().find(|r| r.full_id() == rule);
            found.map(|found| half.policy.sources.place(found.origin))
        });
        let end = Some(if to { "to" } else { "from" });
        let (left, entered) = (Names::of(left), Names::of(entered));
        Restriction { what: rule, end, old: place.old, new: place.new, left, entered }
    });
    let zones = zones.into_iter().map(|(zone, (left, entered))| {
        let place = halves.map(|half| {
            let found = half.policy.model.zones.iter().find(|z| z.name == zone);
            found.map(|found| half.policy.sources.place(found.origin))
        });
        let (left, entered) = (Names::of(left), Names::of(entered));
        Restriction {
            what: format!("zone {zone}"),
            end: None,
            old: place.old,
            new: place.new,
            left,
            entered,
        }
    });
    rules.chain(zones).collect()
}

/// `laptop (10.10.1.1)`.
fn called(faces: &Faces<'_>, address: IpAddr) -> String {
    match faces.who(address) {
        Who::Workload(name) => format!("{name} ({address})"),
        Who::Other(name) => format!("{name} ({address})"),
    }
}

fn lasts_longer(halves: Both<Half<'_>>, addresses: &[IpAddr], now: Moment) -> Vec<Binding> {
    let claim = |half: Half<'_>, address: IpAddr| {
        let space = half.table.space();
        let workload = space.get(space.find(address)).and_then(|stretch| stretch.workload);
        workload.filter(|w| half.policy.model.workloads.get(*w).is_some())
    };
    let end = |half: Half<'_>, workload: Option<usize>| {
        let workload = workload.and_then(|w| half.policy.model.workloads.get(w));
        workload.and_then(|w| w.lease(half.policy.model.gate.inventory_limit)).unwrap_or(Moment::NEVER)
    };
    let mut longer: BTreeMap<String, Binding> = BTreeMap::new();
    for address in addresses {
        let workloads = halves.map(|half| claim(half, *address));
        let ends = halves.zip(workloads).map(|(half, workload)| end(half, workload));
        // What has lapsed by now is compared as it stands.
        if ends.old <= now || ends.new <= ends.old {
            continue;
        }
        let old = workloads.old.and_then(|w| halves.old.policy.model.workloads.get(w));
        let Some(old) = old else { continue };
        let zones: BTreeSet<&str> = halves.each().flat_map(|half| touched(half, *address, None)).collect();
        let owners = halves.each().flat_map(|half| {
            let all = half.policy.model.zones.iter().filter(|zone| zones.contains(zone.name.as_str()));
            all.filter_map(|zone| zone.owner.clone())
        });
        let owners: BTreeSet<String> = owners.collect();
        longer.entry(old.name.clone()).or_insert_with(|| Binding {
            workload: old.name.clone(),
            old: ends.old.to_string(),
            new: (ends.new != Moment::NEVER).then(|| ends.new.to_string()),
            zones: zones.iter().map(|zone| (*zone).to_owned()).collect(),
            owners: owners.into_iter().collect(),
        });
    }
    longer.into_values().collect()
}
