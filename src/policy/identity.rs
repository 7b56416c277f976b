//! Identities: the classes of addresses that selectors can tell apart.
//!
//! What it is: stretches merged by what the selectors do look at (`relevance`), and each selector asked about
//! those that may match it (`postings`). What it is not: rules and services come later. Identity 0 is
//! nowhere. Cost: addresses, then what selectors have in common with identities; not rules × identities.

use std::collections::{BTreeSet, HashMap};

use super::hash::Quick;
use super::model::{Model, Selector, Tier};
use super::postings::Postings;
use super::relevance::{Numbered, Relevance};
use super::selector::{Carried, Reading};
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

/// What makes an identity, each part reduced to what counts.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key<'a> {
    name: Option<usize>,
    claimed: bool,
    account: Option<&'a str>,
    host: bool,
    labels: u32,
    networks: u32,
    zones: u32,
    group: Option<usize>,
    /// Keys of the workload's own labels, if its binding has lapsed.
    lapsed: Option<u32>,
}

impl<'a> Identities<'a> {
    /// What these selectors can tell apart. The zones of an address always count.
    pub(super) fn new(
        model: &'a Model,
        space: &'a Space,
        selectors: impl IntoIterator<Item = &'a Selector>,
    ) -> Self {
        let mut relevance = Relevance::of(selectors);
        relevance.compare(&space.labels);
        let (mut known, mut labels, mut lapsed_keys) =
            (Numbered::default(), Numbered::default(), Numbered::default());
        let labels: Vec<u32> =
            space.labels.iter().map(|set| labels.number(relevance.labels(set)).0).collect();
        let mut networks = Lists::default();
        let mut zones = Lists::default();
        let mut all: Vec<Identity<'a>> = Vec::new();
        let mut of_stretch = Vec::with_capacity(space.all.len());
        let mut lapsed_of_stretch = Vec::with_capacity(space.all.len());
        for stretch in &space.all {
            let workload = stretch.workload.and_then(|w| model.workloads.get(w));
            let account = workload.and_then(|w| relevance.account(w.service_account.as_deref()));
            let key = Key {
                name: stretch.workload.filter(|_| workload.is_some_and(|w| relevance.names(&w.name))),
                claimed: workload.is_some() || stretch.group.is_some(),
                account,
                host: stretch.host && account.is_some(),
                labels: labels.get(stretch.labels).copied().unwrap_or(0),
                networks: networks.number(&stretch.networks, |all| relevance.networks(model, all)),
                zones: zones.number(&stretch.zones, <[usize]>::to_vec),
                group: stretch.group,
                lapsed: None,
            };
            let leased = workload.filter(|w| w.lease(model.gate.inventory_limit).is_some());
            lapsed_of_stretch.push(leased.map(|workload| {
                let (own, _) = lapsed_keys.number(relevance.lapsed(&workload.labels));
                let (identity, new) = known.number(Key { lapsed: Some(own), ..key });
                if new {
                    all.push(Identity::new(space.lapsed_view(model, stretch), stretch));
                }
                index(identity)
            }));
            let (identity, new) = known.number(key);
            if new {
                all.push(Identity::new(space.view(model, stretch), stretch));
            }
            let identity = index(identity);
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

    /// Who has what.
    pub(super) fn postings(&self) -> Postings<'_> {
        Postings::of(self.all.iter().map(|identity| identity.view.subject(false)))
    }
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Lists of numbers, each reduced once and numbered by what it was reduced to.
#[derive(Default)]
struct Lists<'a> {
    known: HashMap<&'a [usize], u32, Quick>,
    reduced: Numbered<Vec<usize>>,
}

impl<'a> Lists<'a> {
    fn number(&mut self, list: &'a [usize], reduce: impl FnOnce(&[usize]) -> Vec<usize>) -> u32 {
        let reduced = &mut self.reduced;
        *self.known.entry(list).or_insert_with(|| reduced.number(reduce(list)).0)
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
    pub(super) fn meaning(&self, postings: &Postings<'_>, selector: &Selector, tier: Tier) -> Meaning {
        let mut workloads = BTreeSet::new();
        let mut unknown = false;
        let mut zones: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); self.zones];
        let candidates = postings.candidates(selector);
        let candidates = candidates.iter().filter_map(|number| self.all.get(index(*number)));
        let here = candidates.filter(|identity| identity.inhabited);
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

impl Heard {
    /// Nothing at all.
    fn is_nothing(self) -> bool {
        !(self.genuine || self.stranger || self.assumed)
    }
}

/// One way round a rule: `both_ways` gives it two.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clause {
    /// Its rule's place in the order of precedence.
    pub(super) rank: u32,
    /// Index into [`Consulted::selectors`].
    pub(super) from: usize,
    /// The same.
    pub(super) to: usize,
    /// Its rule compares the two ends: not every pair that matches belongs to it.
    pub(super) paired: bool,
}

/// Every selector of the rules, asked about every identity that may match it.
#[derive(Debug)]
pub(super) struct Consulted {
    /// By selector: the identities that it concerns, rising.
    pub(super) selectors: Vec<Vec<(u32, Heard)>>,
    /// Rules of the model in the order of precedence: by tier, then the most specific.
    pub(super) order: Vec<usize>,
    /// By rank.
    pub(super) clauses: Vec<Clause>,
}

impl Consulted {
    pub(super) fn new(model: &Model, identities: &Identities<'_>) -> Self {
        let postings = identities.postings();
        let mut known: HashMap<(&Selector, bool), usize, Quick> = HashMap::default();
        let mut selectors = Vec::new();
        let mut counts = Vec::new();
        let mut stamps = vec![0; model.workloads.len()];
        let mut ask = |selector, tier| {
            *known.entry((selector, tier == Tier::Allow)).or_insert_with(|| {
                let heard = identities.heard(&postings, selector, tier);
                let index = selectors.len();
                counts.push(count(identities, &heard, &mut stamps, index + 1));
                selectors.push(heard);
                index
            })
        };
        let ends: Vec<(usize, usize)> =
            model.rules.iter().map(|rule| (ask(&rule.from, rule.tier), ask(&rule.to, rule.tier))).collect();
        // Who matches without a workload, unknown or a group, is one: 0 would leave nothing of the other factors.
        let workloads = |selector: usize| counts.get(selector).copied().unwrap_or(0).max(1);
        let mut ranked: Vec<_> = model.rules.iter().zip(ends).enumerate().collect();
        ranked.sort_by_cached_key(|(_, (rule, (from, to)))| {
            let product = workloads(*from)
                .saturating_mul(workloads(*to))
                .saturating_mul(u64::from(rule.services.width()));
            (rule.tier, product, &rule.id)
        });
        let mut clauses = Vec::with_capacity(ranked.len());
        let mut order = Vec::with_capacity(ranked.len());
        for (rank, (number, (rule, (from, to)))) in (0..).zip(ranked) {
            order.push(number);
            let paired = rule.to.joined().next().is_some();
            clauses.push(Clause { rank, from, to, paired });
            if rule.both_ways {
                clauses.push(Clause { rank, from: to, to: from, paired });
            }
        }
        Self { selectors, order, clauses }
    }
}

impl Identities<'_> {
    /// Whom a selector of a rule of this tier concerns.
    pub(super) fn heard(
        &self,
        postings: &Postings<'_>,
        selector: &Selector,
        tier: Tier,
    ) -> Vec<(u32, Heard)> {
        let candidates = postings.candidates(selector);
        let here = candidates.iter().filter_map(|number| {
            let heard = self.all.get(index(*number))?.asked(selector, tier);
            Some((*number, heard)).filter(|(_, heard)| !heard.is_nothing())
        });
        here.collect()
    }
}

impl Identity<'_> {
    /// What `same` and `differs` look at.
    pub(super) fn carried(&self) -> Carried<'_> {
        self.view.subject(false).carried()
    }

    fn asked(&self, selector: &Selector, tier: Tier) -> Heard {
        let genuine = self.view.subject(self.host);
        let by_account = selector.parts().iter().any(|keys| !keys.accounts.is_empty());
        let reading = match tier {
            Tier::Guardrail | Tier::Deny => Reading::ByAddress,
            Tier::Exception | Tier::Allow => Reading::Granted,
        };
        let matches = selector.matches(&genuine, reading);
        if !by_account {
            // Who holds an account is nothing to it.
            return Heard { genuine: matches, stranger: matches, assumed: tier == Tier::Allow && matches };
        }
        Heard {
            genuine: matches,
            stranger: selector.matches(&self.view.subject(false), reading),
            assumed: tier == Tier::Allow && selector.matches(&genuine, Reading::Assumed),
        }
    }
}

/// Distinct workloads with an address that a selector matches, accounts taken as by a true MAC.
fn count(identities: &Identities<'_>, heard: &[(u32, Heard)], stamps: &mut [usize], stamp: usize) -> u64 {
    let mut seen = 0;
    let matched = heard.iter().filter(|(_, heard)| heard.genuine);
    for identity in matched.filter_map(|(number, _)| identities.all.get(index(*number))) {
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
