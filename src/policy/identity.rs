//! Identities: the classes of addresses that selectors can tell apart.
//!
//! What it is: stretches merged by what a selector may look at (a workload's name only where some selector
//! names workloads), each asked every selector of the rules once. What it is not: rules and services come
//! later. Identity 0 is nowhere.

use std::collections::{BTreeSet, HashMap};

use super::model::{Model, Selector, Tier};
use super::selector::Reading;
use super::space::{Space, Stretch, View};

/// One class of addresses.
#[derive(Debug)]
pub(super) struct Identity<'a> {
    view: View<'a>,
    /// Its claims are single addresses: with a true MAC, its account is held.
    host: bool,
    /// A workload claims it, or a group lists it.
    pub(super) claimed: bool,
    /// Indexes of its zones.
    pub(super) zones: Vec<usize>,
    /// Indexes of the workloads with an address here.
    workloads: Vec<usize>,
    /// Some address of the wire is here.
    inhabited: bool,
}

/// All identities, and where each stretch went.
#[derive(Debug)]
pub(super) struct Identities<'a> {
    pub(super) all: Vec<Identity<'a>>,
    /// By stretch.
    pub(super) of_stretch: Vec<usize>,
    /// By stretch: what it is once the binding of its claim has lapsed, where that can be.
    pub(super) lapsed_of_stretch: Vec<Option<usize>>,
    /// Multicast and broadcast destinations, by the side they go to: those in no group, then each group's.
    pub(super) groups: Vec<[usize; 2]>,
    /// Number of zones.
    zones: usize,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key<'a> {
    name: Option<usize>,
    claimed: bool,
    account: Option<&'a str>,
    host: bool,
    labels: usize,
    networks: &'a [usize],
    zones: &'a [usize],
    group: Option<usize>,
    /// Keys of the workload's own labels, if its binding has lapsed.
    lapsed: Option<Vec<&'a str>>,
}

impl<'a> Identities<'a> {
    pub(super) fn new(model: &'a Model, space: &'a Space) -> Self {
        let selectors = model.rules.iter().flat_map(|r| [&r.from, &r.to]);
        let by_name = selectors.flat_map(Selector::parts).any(|m| !m.names.is_empty());
        let mut known: HashMap<Key<'a>, usize> = HashMap::new();
        let mut all: Vec<Identity<'a>> = Vec::new();
        let mut of_stretch = Vec::with_capacity(space.all.len());
        let mut lapsed_of_stretch = Vec::with_capacity(space.all.len());
        for stretch in &space.all {
            let workload = stretch.workload.and_then(|w| model.workloads.get(w));
            let account = workload.and_then(|w| w.service_account.as_deref());
            let key = Key {
                name: stretch.workload.filter(|_| by_name),
                claimed: workload.is_some() || stretch.group.is_some(),
                account,
                host: stretch.host && account.is_some(),
                labels: stretch.labels,
                networks: &stretch.networks,
                zones: &stretch.zones,
                group: stretch.group,
                lapsed: None,
            };
            let leased = workload.filter(|w| w.valid_until.is_some());
            lapsed_of_stretch.push(leased.map(|workload| {
                let own = workload.labels.keys().map(String::as_str).collect();
                let key = Key { lapsed: Some(own), ..key.clone() };
                let next = all.len();
                let identity = *known.entry(key).or_insert(next);
                if identity == next {
                    all.push(Identity::new(space.lapsed_view(model, stretch), stretch));
                }
                identity
            }));
            let next = all.len();
            let identity = *known.entry(key).or_insert(next);
            if identity == next {
                all.push(Identity::new(space.view(model, stretch), stretch));
            }
            if let Some(identity) = all.get_mut(identity).filter(|_| !stretch.covered) {
                identity.inhabited |= stretch.side.is_some();
                if let Some(workload) = stretch.workload
                    && identity.workloads.last() != Some(&workload)
                {
                    identity.workloads.push(workload);
                }
            }
            of_stretch.push(identity);
        }
        let each = std::iter::once(None).chain((0..model.groups.len()).map(Some));
        let groups = each
            .map(|group| {
                let [outside, inside] = &space.zones_at;
                [outside, inside].map(|zones| {
                    let stretch = Stretch { zones: zones.clone(), group, ..Stretch::NOWHERE };
                    all.push(Identity::new(space.view(model, &stretch), &stretch));
                    all.len() - 1
                })
            })
            .collect();
        Self { all, of_stretch, lapsed_of_stretch, groups, zones: model.zones.len() }
    }
}

impl<'a> Identity<'a> {
    fn new(view: View<'a>, stretch: &Stretch) -> Self {
        Self {
            view,
            host: stretch.host,
            claimed: stretch.workload.is_some() || stretch.group.is_some(),
            zones: stretch.zones.clone(),
            workloads: Vec::new(),
            inhabited: false,
        }
    }
}

/// What a selector means among the addresses there are now.
#[derive(Debug)]
pub(super) struct Meaning {
    /// Workloads with an address it matches.
    pub(super) workloads: BTreeSet<usize>,
    /// Some address that no workload claims matches.
    pub(super) unknown: bool,
    /// Of the workloads, how many have a matching address in each zone.
    pub(super) zones: Vec<usize>,
}

impl Identities<'_> {
    /// What a selector of a rule of this tier means now, every MAC being true.
    pub(super) fn meaning(&self, selector: &Selector, tier: Tier) -> Meaning {
        let mut workloads = BTreeSet::new();
        let mut unknown = false;
        let mut zones: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); self.zones];
        let here = self.all.iter().filter(|identity| identity.inhabited);
        for identity in here.filter(|identity| identity.asked(selector, tier).genuine) {
            unknown |= !identity.claimed;
            workloads.extend(&identity.workloads);
            for zone in &identity.zones {
                if let Some(members) = zones.get_mut(*zone) {
                    members.extend(&identity.workloads);
                }
            }
        }
        Meaning { workloads, unknown, zones: zones.iter().map(BTreeSet::len).collect() }
    }
}

/// What one selector says of one identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    /// As destination, or as sender with a true MAC.
    pub(super) genuine: bool,
    /// As sender with another MAC.
    pub(super) stranger: bool,
    /// It would, if the account it declares were held. Of allows only.
    pub(super) assumed: bool,
}

/// One way round a rule: `both_ways` gives it two.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clause {
    /// Index of the rule in the model.
    pub(super) rule: usize,
    /// Index into [`Consulted::selectors`].
    pub(super) from: usize,
    /// The same.
    pub(super) to: usize,
}

/// Every selector of the rules, asked about every identity.
#[derive(Debug)]
pub(super) struct Consulted {
    /// By selector, then identity.
    pub(super) selectors: Vec<Vec<Heard>>,
    /// Strongest first, then the most specific.
    pub(super) clauses: Vec<Clause>,
}

impl Consulted {
    pub(super) fn new(model: &Model, identities: &Identities<'_>) -> Self {
        let mut known: HashMap<(&Selector, bool), usize> = HashMap::new();
        let mut selectors = Vec::new();
        let mut counts = Vec::new();
        let mut stamps = vec![0; model.workloads.len()];
        let mut ask = |selector, tier| {
            *known.entry((selector, tier == Tier::Allow)).or_insert_with(|| {
                let heard: Vec<Heard> =
                    identities.all.iter().map(|identity| identity.asked(selector, tier)).collect();
                let index = selectors.len();
                counts.push(count(identities, &heard, &mut stamps, index + 1));
                selectors.push(heard);
                index
            })
        };
        let mut ranked = Vec::with_capacity(model.rules.len());
        for (rule, written) in model.rules.iter().enumerate() {
            let (from, to) = (ask(&written.from, written.tier), ask(&written.to, written.tier));
            ranked.push((written, Clause { rule, from, to }));
        }
        let workloads = |selector: usize| counts.get(selector).copied().unwrap_or(0);
        ranked.sort_by_cached_key(|(rule, clause)| {
            let product = workloads(clause.from)
                .saturating_mul(workloads(clause.to))
                .saturating_mul(u64::from(rule.services.width()));
            (rule.tier, product, rule.id.clone())
        });
        let clauses = ranked
            .into_iter()
            .flat_map(|(rule, clause)| {
                let back = Clause { from: clause.to, to: clause.from, ..clause };
                [Some(clause), rule.both_ways.then_some(back)].into_iter().flatten()
            })
            .collect();
        Self { selectors, clauses }
    }
}

impl Identity<'_> {
    fn asked(&self, selector: &Selector, tier: Tier) -> Heard {
        let (genuine, stranger) = (self.view.subject(self.host), self.view.subject(false));
        match tier {
            Tier::Guardrail | Tier::Deny => {
                let heard = selector.matches(&genuine, Reading::ByAddress);
                Heard {
                    genuine: heard,
                    stranger: selector.matches(&stranger, Reading::ByAddress),
                    assumed: false,
                }
            }
            Tier::Allow => Heard {
                genuine: selector.matches(&genuine, Reading::Granted),
                stranger: selector.matches(&stranger, Reading::Granted),
                assumed: selector.matches(&genuine, Reading::Assumed),
            },
        }
    }
}

/// Distinct workloads with an address that a selector matches, accounts taken as by a true MAC.
fn count(identities: &Identities<'_>, heard: &[Heard], stamps: &mut [usize], stamp: usize) -> u64 {
    let mut seen = 0;
    for (identity, _) in identities.all.iter().zip(heard).filter(|(_, heard)| heard.genuine) {
        for workload in &identity.workloads {
            if let Some(last) = stamps.get_mut(*workload).filter(|last| **last != stamp) {
                *last = stamp;
                seen += 1;
            }
        }
    }
    seen
}

/// Which way an allow rule's matches go is written once, here: unknown reaches no zone by an allow.
pub(super) const fn may_allow(from_claimed: bool, to_claimed: bool, to_zoned: bool) -> bool {
    (from_claimed && to_claimed) || !to_zoned
}
