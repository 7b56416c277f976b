//! The address space cut into space: runs of addresses that the policy cannot tell apart.
//!
//! What it is: claims and networks of both families in one laminar family of prefixes. The longest one that
//! holds an address gives everything the policy knows of it: its claim, its networks, hence its side, labels
//! and zones. What it is not: it knows no rule. Invariant: stretch 0 is *nowhere* (no claim, no network).
//! Cost: one hash for an address that is written out (`hosts`), else one more search among the prefixes
//! (`runs`); neither allocates.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use super::hash::Quick;
use super::hosts::Hosts;
use super::model::{Labels, Model, Zone};
use super::prefix::Prefix;
use super::relevance::{Numbered, Relevance};
use super::runs::{Runs, Runs4};
use super::selector::{Reading, Subject};
use crate::wire::Side;

/// Index into [`Space::all`].
pub(super) type StretchId = u32;

/// Where a search is between two steps: first and end.
pub(super) type Within = (u32, u32);

/// What the policy knows of a run of addresses.
#[derive(Clone, Debug)]
pub(super) struct Stretch {
    /// Index of the workload that claims it.
    pub(super) workload: Option<usize>,
    /// The claim is one address: it can hold an account.
    pub(super) host: bool,
    /// Indexes of its networks, narrowest first. The first gives the side; wider ones on the other side
    /// are not its networks.
    pub(super) networks: Vec<usize>,
    /// The side it lies at.
    pub(super) side: Option<Side>,
    /// Its labels, inherited ones included: index into [`Space::labels`].
    pub(super) labels: usize,
    /// Indexes of its zones, sorted.
    pub(super) zones: Vec<usize>,
    /// Index of the group that lists it: nobody's address, at no side.
    pub(super) group: Option<usize>,
    /// Narrower prefixes cover it whole: no address ends up here.
    pub(super) covered: bool,
}

impl Stretch {
    /// No claim and no network.
    pub(super) const NOWHERE: Self = Self {
        workload: None,
        host: false,
        networks: Vec::new(),
        side: None,
        labels: 0,
        zones: Vec::new(),
        group: None,
        covered: false,
    };
}

/// All stretches, and the way from an address to its own.
#[derive(Debug)]
pub(super) struct Space {
    /// Nowhere first, then by family, address and length.
    pub(super) all: Vec<Stretch>,
    /// Distinct label sets.
    pub(super) labels: Vec<Labels>,
    /// Zones with a member on a side, by [`Side::index`].
    pub(super) zones_at: [Vec<usize>; 2],
    hosts4: Hosts<u32>,
    hosts6: Hosts<u128>,
    prefixes4: Runs4,
    prefixes6: Runs<u128>,
}

/// What a prefix of the policy is: a claim, a network, both, or a group.
#[derive(Clone, Copy, Debug, Default)]
struct Written {
    workload: Option<usize>,
    network: Option<usize>,
    group: Option<usize>,
}

/// What a prefix gives to the prefixes inside it.
#[derive(Clone, Debug, Default)]
struct Has {
    workload: Option<usize>,
    host: bool,
    networks: Vec<usize>,
    group: Option<usize>,
}

/// Label sets, each made once: of a workload's own and the networks that it lies in.
struct LabelSets {
    /// By workload: the number of its own labels among all workloads' sets.
    own: Vec<u32>,
    /// Own labels (none of an unclaimed address) and networks → index into [`Space::labels`].
    known: HashMap<(Option<u32>, Vec<usize>), usize, Quick>,
    sets: HashMap<Labels, usize>,
}

/// A prefix on the way down to the current one.
struct Ancestor {
    prefix: Prefix,
    stretch: usize,
    has: Has,
    /// Addresses of the prefixes directly inside it, modulo 2^128.
    filled: u128,
    /// There are some.
    parted: bool,
}

impl LabelSets {
    fn new(model: &Model) -> Self {
        let mut numbers: HashMap<&Labels, u32, Quick> = HashMap::default();
        let mut number = |labels| {
            let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
            *numbers.entry(labels).or_insert(next)
        };
        let own = model.workloads.iter().map(|workload| number(&workload.labels)).collect();
        Self { own, known: HashMap::default(), sets: HashMap::from([(Labels::new(), 0)]) }
    }

    /// The index of the labels of an address; new ones go to the end of `all`.
    fn number(
        &mut self,
        model: &Model,
        workload: Option<usize>,
        networks: &[usize],
        all: &mut Vec<Labels>,
    ) -> usize {
        let own = workload.and_then(|w| self.own.get(w)).copied();
        let sets = &mut self.sets;
        *self.known.entry((own, networks.to_vec())).or_insert_with(|| {
            let workload = workload.and_then(|w| model.workloads.get(w));
            let mut labels = workload.map_or_else(Labels::new, |w| w.labels.clone());
            for network in networks.iter().filter_map(|n| model.networks.get(*n)) {
                for (key, value) in &network.labels {
                    labels.entry(key.clone()).or_insert_with(|| value.clone());
                }
            }
            *sets.entry(labels).or_insert_with_key(|new| {
                all.push(new.clone());
                all.len() - 1
            })
        })
    }
}

impl Space {
    pub(super) fn new(model: &Model) -> Self {
        let mut space = Self {
            all: vec![Stretch::NOWHERE],
            labels: vec![Labels::new()],
            zones_at: [Vec::new(), Vec::new()],
            hosts4: Hosts::of(&[]),
            hosts6: Hosts::of(&[]),
            prefixes4: Runs4::of(&[]),
            prefixes6: Runs::of(&[], |_| None),
        };
        space.cut(model);
        space.zone(model);
        space
    }

    /// The stretch of an address.
    #[inline]
    pub(super) fn find(&self, address: IpAddr) -> StretchId {
        match address {
            IpAddr::V4(v4) => match self.hosts4.find(v4.to_bits()) {
                0 => self.prefixes4.find(v4.to_bits()),
                stretch => stretch,
            },
            IpAddr::V6(v6) => match self.hosts6.find(v6.to_bits()) {
                0 => self.prefixes6.find(v6.to_bits()),
                stretch => stretch,
            },
        }
    }

    /// [`Self::find`] in three steps, of which each asks for the lines of memory that the next one looks at: this is
    /// the first, and says where the second looks.
    #[inline]
    pub(super) fn seek(&self, address: IpAddr) -> Within {
        match address {
            IpAddr::V4(v4) => {
                self.prefixes4.prefetch(v4.to_bits());
                (self.hosts4.prefetch(v4.to_bits()), 0)
            }
            IpAddr::V6(v6) => (self.hosts6.prefetch(v6.to_bits()), 0),
        }
    }

    /// The second: the stretch of an address that is written out; of any other nowhere, and where the third looks.
    #[inline]
    pub(super) fn seek_written(&self, address: IpAddr, within: &mut Within) -> StretchId {
        let (home, _) = *within;
        match address {
            IpAddr::V4(v4) => {
                let found = self.hosts4.find_from(home, v4.to_bits());
                if found == 0 {
                    *within = self.prefixes4.prefetch_runs(v4.to_bits());
                }
                found
            }
            IpAddr::V6(v6) => self.hosts6.find_from(home, v6.to_bits()),
        }
    }

    /// The third: the stretch of an address that is not.
    #[inline]
    pub(super) fn seek_around(&self, address: IpAddr, within: Within) -> StretchId {
        match address {
            IpAddr::V4(v4) => self.prefixes4.find_among(within, v4.to_bits()),
            IpAddr::V6(v6) => self.prefixes6.find(v6.to_bits()),
        }
    }

    /// Bytes of the way from an address to its stretch.
    pub(super) fn bytes(&self) -> usize {
        self.hosts4.bytes() + self.hosts6.bytes() + self.prefixes4.bytes() + self.prefixes6.bytes()
    }

    /// A stretch by its number; nowhere for one that does not exist.
    pub(super) fn get(&self, id: StretchId) -> Option<&Stretch> {
        usize::try_from(id).ok().and_then(|i| self.all.get(i))
    }

    /// The labels of a stretch.
    pub(super) fn labels_of(&self, stretch: &Stretch) -> &Labels {
        static NONE: Labels = Labels::new();
        self.labels.get(stretch.labels).unwrap_or(&NONE)
    }

    /// A stretch and everything inside it, as a selector sees it. The names are the model's.
    pub(super) fn view<'a>(&'a self, model: &'a Model, stretch: &Stretch) -> View<'a> {
        let workload = stretch.workload.and_then(|w| model.workloads.get(w));
        View {
            workload: workload.map(|w| w.name.as_str()),
            account: workload.and_then(|w| w.service_account.as_deref()),
            labels: self.labels_of(stretch),
            networks: names(&stretch.networks, &model.networks, |n| &n.name),
            zones: names(&stretch.zones, &model.zones, |z| &z.name),
            group: stretch.group.and_then(|g| model.groups.get(g)).map(|g| g.name.as_str()),
            lapsed: None,
        }
    }

    /// The same after its claim's binding has lapsed.
    pub(super) fn lapsed_view<'a>(&'a self, model: &'a Model, stretch: &Stretch) -> View<'a> {
        let workload = stretch.workload.and_then(|w| model.workloads.get(w));
        View { lapsed: workload.map(|w| &w.labels), ..self.view(model, stretch) }
    }

    fn cut(&mut self, model: &Model) {
        let mut written: BTreeMap<Prefix, Written> = BTreeMap::new();
        for (index, network) in model.networks.iter().enumerate() {
            for prefix in &network.prefixes {
                written.entry(*prefix).or_default().network.get_or_insert(index);
            }
        }
        for (index, workload) in model.workloads.iter().enumerate() {
            for prefix in &workload.addresses {
                written.entry(*prefix).or_default().workload.get_or_insert(index);
            }
        }
        for (index, group) in model.groups.iter().enumerate() {
            for prefix in &group.addresses {
                written.entry(*prefix).or_default().group.get_or_insert(index);
            }
        }
        let mut labels = LabelSets::new(model);
        let mut path: Vec<Ancestor> = Vec::new();
        let mut found: Vec<(Prefix, StretchId)> = Vec::with_capacity(written.len());
        // By family, address, length: a prefix follows those that hold it.
        for (prefix, what) in written {
            while let Some(last) = path.pop_if(|last| !last.prefix.contains(prefix.address)) {
                self.leave(&last);
            }
            let mut inherited = match path.last_mut() {
                Some(parent) => {
                    parent.filled = parent.filled.wrapping_add(size(prefix));
                    parent.parted = true;
                    parent.has.clone()
                }
                None => Has::default(),
            };
            if let Some(workload) = what.workload {
                (inherited.workload, inherited.host) = (Some(workload), prefix.is_host());
            }
            if let Some(network) = what.network {
                inherited.networks.retain(|n| *n != network);
                inherited.networks.insert(0, network);
            }
            inherited.group = what.group.or(inherited.group);
            let stretch = self.all.len();
            self.add(model, &inherited, &mut labels);
            found.push((prefix, StretchId::try_from(stretch).unwrap_or(0)));
            path.push(Ancestor { prefix, stretch, has: inherited, filled: 0, parted: false });
        }
        while let Some(last) = path.pop() {
            self.leave(&last);
        }
        self.index(found);
    }

    fn add(&mut self, model: &Model, has: &Has, labels: &mut LabelSets) {
        if has.group.is_some() {
            self.all.push(Stretch { group: has.group, ..Stretch::NOWHERE });
            return;
        }
        let networks = || has.networks.iter().filter_map(|n| model.networks.get(*n).map(|net| (*n, net)));
        let side = networks().next().map(|(_, net)| net.side);
        let own: Vec<usize> =
            networks().filter(|(_, net)| Some(net.side) == side).map(|(index, _)| index).collect();
        let labels = labels.number(model, has.workload, &own, &mut self.labels);
        self.all.push(Stretch {
            workload: has.workload,
            host: has.host,
            networks: own,
            side,
            labels,
            zones: Vec::new(),
            group: None,
            covered: false,
        });
    }

    fn leave(&mut self, ancestor: &Ancestor) {
        if let Some(stretch) = self.all.get_mut(ancestor.stretch) {
            stretch.covered = ancestor.parted && ancestor.filled == size(ancestor.prefix);
        }
    }

    /// `found` is sorted by family, address and length.
    fn index(&mut self, found: Vec<(Prefix, StretchId)>) {
        let (mut hosts4, mut hosts6) = (Vec::new(), Vec::new());
        let (mut prefixes4, mut prefixes6) = (Vec::new(), Vec::new());
        for (prefix, stretch) in found {
            let length = u32::from(prefix.length);
            match (prefix.address, prefix.is_host()) {
                (IpAddr::V4(v4), true) => hosts4.push((v4.to_bits(), stretch)),
                (IpAddr::V6(v6), true) => hosts6.push((v6.to_bits(), stretch)),
                (IpAddr::V4(v4), false) => {
                    let hosts = u32::MAX.checked_shr(length).unwrap_or(0);
                    prefixes4.push((v4.to_bits(), v4.to_bits() | hosts, stretch));
                }
                (IpAddr::V6(v6), false) => {
                    let hosts = u128::MAX.checked_shr(length).unwrap_or(0);
                    prefixes6.push((v6.to_bits(), v6.to_bits() | hosts, stretch));
                }
            }
        }
        (self.hosts4, self.hosts6) = (Hosts::of(&hosts4), Hosts::of(&hosts6));
        self.prefixes4 = Runs4::of(&prefixes4);
        self.prefixes6 = Runs::of(&prefixes6, |address| address.checked_add(1));
    }

    /// Members by their keys first, then unknown addresses of the inside: they are in every zone that has
    /// a member there. Within `members` the key `zone` matches nothing (the reader refuses it).
    fn zone(&mut self, model: &Model) {
        // Stretches differ in few ways: each is asked once.
        let relevance = Relevance::of(model.zones.iter().map(|zone| &zone.members));
        let mut labels = Numbered::default();
        let labels: Vec<u32> =
            self.labels.iter().map(|set| labels.number(relevance.labels(set)).0).collect();
        let mut all = std::mem::take(&mut self.all);
        let mut asked = Numbered::default();
        let mut answers: Vec<Vec<usize>> = Vec::new();
        let answered: Vec<u32> = all
            .iter()
            .map(|stretch| {
                let workload = stretch.workload.and_then(|w| model.workloads.get(w));
                let account = workload.and_then(|w| relevance.account(w.service_account.as_deref()));
                let (number, new) = asked.number(Asked {
                    workload: stretch
                        .workload
                        .filter(|_| workload.is_some_and(|w| relevance.names(&w.name))),
                    account,
                    claimed: stretch.workload.is_some(),
                    group: stretch.group.is_some(),
                    host: stretch.host && account.is_some(),
                    labels: labels.get(stretch.labels).copied().unwrap_or(0),
                    networks: &stretch.networks,
                });
                if new {
                    let view = self.view(model, stretch);
                    let subject = view.subject(stretch.host);
                    let member = |zone: &Zone| zone.members.matches(&subject, Reading::ByAddress);
                    let zones = (0..).zip(&model.zones).filter(|(_, zone)| member(zone));
                    answers.push(zones.map(|(index, _)| index).collect());
                }
                number
            })
            .collect();
        for (stretch, number) in all.iter_mut().zip(answered) {
            let zones = usize::try_from(number).ok().and_then(|number| answers.get(number));
            if let Some(zones) = zones {
                stretch.zones.clone_from(zones);
            }
        }
        for side in Side::BOTH {
            let mut here: Vec<usize> = all
                .iter()
                .filter(|stretch| stretch.side == Some(side) && !stretch.covered)
                .flat_map(|stretch| stretch.zones.iter().copied())
                .collect();
            here.sort_unstable();
            here.dedup();
            match side {
                Side::Outside => self.zones_at[0] = here,
                Side::Inside => self.zones_at[1] = here,
            }
        }
        let [_, inside] = &self.zones_at;
        for stretch in &mut all {
            if stretch.workload.is_none() && stretch.side == Some(Side::Inside) {
                stretch.zones.extend(inside);
                stretch.zones.sort_unstable();
                stretch.zones.dedup();
            }
        }
        self.all = all;
    }
}

/// What membership in a zone can depend on.
#[derive(PartialEq, Eq, Hash)]
struct Asked<'a> {
    workload: Option<usize>,
    account: Option<&'a str>,
    claimed: bool,
    group: bool,
    host: bool,
    labels: u32,
    networks: &'a [usize],
}

/// The names behind a [`Stretch`].
#[derive(Debug)]
pub(super) struct View<'a> {
    workload: Option<&'a str>,
    account: Option<&'a str>,
    labels: &'a Labels,
    networks: Vec<&'a str>,
    zones: Vec<&'a str>,
    group: Option<&'a str>,
    lapsed: Option<&'a Labels>,
}

impl<'a> View<'a> {
    /// What a selector is asked about.
    pub(super) fn subject(&'a self, held: bool) -> Subject<'a> {
        Subject {
            workload: self.workload,
            account: self.account,
            held: held && self.account.is_some() && self.lapsed.is_none(),
            labels: self.labels,
            networks: &self.networks,
            zones: &self.zones,
            group: self.group,
            lapsed: self.lapsed,
        }
    }
}

fn names<'a, T>(indexes: &[usize], of: &'a [T], name: impl Fn(&'a T) -> &'a String) -> Vec<&'a str> {
    indexes.iter().filter_map(|i| of.get(*i)).map(|t| name(t).as_str()).collect()
}

/// Addresses in a prefix, modulo 2^128.
fn size(prefix: Prefix) -> u128 {
    1_u128.checked_shl(u32::from(prefix.width() - prefix.length)).unwrap_or(0)
}
