//! The address space cut into space: runs of addresses that the policy cannot tell apart.
//!
//! What it is: claims and networks of both families in one laminar family of prefixes. The longest one that
//! holds an address gives everything the policy knows of it: its claim, its networks, hence its side, labels
//! and zones. What it is not: it knows no rule. Invariant: stretch 0 is *nowhere* (no claim, no network).
//! Cost: one hash for an address that is written out, else one more prefix lookup; neither allocates.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::net::IpAddr;

use poptrie::Poptrie;

use super::model::{Labels, Model};
use super::prefix::Prefix;
use super::selector::{Reading, Subject};
use crate::wire::Side;

/// Index into [`Space::all`].
pub(super) type StretchId = u32;

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
    hosts4: HashMap<u32, StretchId, BuildHasherDefault<AddressHasher>>,
    hosts6: HashMap<u128, StretchId, BuildHasherDefault<AddressHasher>>,
    prefixes4: Poptrie<(u32, u8), StretchId>,
    prefixes6: Poptrie<(u128, u8), StretchId>,
}

/// One multiplication of the address folded on itself. The keys are the operator's and never change in a
/// table's life, so no sender can make them collide.
#[derive(Debug, Default)]
pub(super) struct AddressHasher(u64);

impl AddressHasher {
    fn fold(&mut self, word: u64) {
        const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
        let product = u128::from(self.0 ^ word ^ ODD) * 0xD6E8_FEB8_6659_FD93;
        let (high, low) = halves(product);
        self.0 = high ^ low;
    }
}

fn halves(word: u128) -> (u64, u64) {
    let high = u64::try_from(word >> 64).unwrap_or(0);
    let low = u64::try_from(word & u128::from(u64::MAX)).unwrap_or(0);
    (high, low)
}

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.fold(u64::from(*byte));
        }
    }

    fn write_u32(&mut self, address: u32) {
        self.fold(u64::from(address));
    }

    fn write_u128(&mut self, address: u128) {
        let (high, low) = halves(address);
        self.fold(low);
        self.fold(high);
    }
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

impl Space {
    pub(super) fn new(model: &Model) -> Self {
        let mut space = Self {
            all: vec![Stretch::NOWHERE],
            labels: vec![Labels::new()],
            zones_at: [Vec::new(), Vec::new()],
            hosts4: HashMap::default(),
            hosts6: HashMap::default(),
            prefixes4: Poptrie::new(),
            prefixes6: Poptrie::new(),
        };
        space.cut(model);
        space.zone(model);
        space
    }

    /// The stretch of an address.
    pub(super) fn find(&self, address: IpAddr) -> StretchId {
        match address {
            IpAddr::V4(v4) => {
                let bits = v4.to_bits();
                self.hosts4.get(&bits).or_else(|| self.prefixes4.lookup(bits))
            }
            IpAddr::V6(v6) => {
                let bits = v6.to_bits();
                self.hosts6.get(&bits).or_else(|| self.prefixes6.lookup(bits))
            }
        }
        .copied()
        .unwrap_or(0)
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
        let mut known: HashMap<Labels, usize> = HashMap::from([(Labels::new(), 0)]);
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
            self.add(model, &inherited, &mut known);
            found.push((prefix, StretchId::try_from(stretch).unwrap_or(0)));
            path.push(Ancestor { prefix, stretch, has: inherited, filled: 0, parted: false });
        }
        while let Some(last) = path.pop() {
            self.leave(&last);
        }
        self.index(found);
    }

    fn add(&mut self, model: &Model, has: &Has, known: &mut HashMap<Labels, usize>) {
        if has.group.is_some() {
            self.all.push(Stretch { group: has.group, ..Stretch::NOWHERE });
            return;
        }
        let networks = || has.networks.iter().filter_map(|n| model.networks.get(*n).map(|net| (*n, net)));
        let side = networks().next().map(|(_, net)| net.side);
        let mut labels = has
            .workload
            .and_then(|w| model.workloads.get(w))
            .map_or_else(Labels::new, |w| w.labels.clone());
        let mut own = Vec::new();
        for (index, network) in networks().filter(|(_, net)| Some(net.side) == side) {
            own.push(index);
            for (key, value) in &network.labels {
                labels.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        let next = self.labels.len();
        let labels = *known.entry(labels).or_insert_with_key(|new| {
            self.labels.push(new.clone());
            next
        });
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

    fn index(&mut self, mut found: Vec<(Prefix, StretchId)>) {
        // A poptrie keeps its nodes by depth: short prefixes first append instead of shifting.
        found.sort_by_key(|(prefix, _)| (prefix.length, prefix.address));
        for (prefix, stretch) in found {
            match (prefix.address, prefix.is_host()) {
                (IpAddr::V4(v4), true) => {
                    self.hosts4.insert(v4.to_bits(), stretch);
                }
                (IpAddr::V6(v6), true) => {
                    self.hosts6.insert(v6.to_bits(), stretch);
                }
                (IpAddr::V4(v4), false) => {
                    self.prefixes4.insert((v4.to_bits(), prefix.length), stretch);
                }
                (IpAddr::V6(v6), false) => {
                    self.prefixes6.insert((v6.to_bits(), prefix.length), stretch);
                }
            }
        }
    }

    /// Members by their keys first, then unknown addresses of the inside: they are in every zone that has
    /// a member there. Within `members` the key `zone` matches nothing (the reader refuses it).
    fn zone(&mut self, model: &Model) {
        // Stretches differ in few ways: each is asked once.
        let mut asked: HashMap<Asked, Vec<usize>> = HashMap::new();
        let by_name = model.zones.iter().any(|z| z.members.parts().iter().any(|m| !m.names.is_empty()));
        let mut all = std::mem::take(&mut self.all);
        for stretch in &mut all {
            let account = stretch
                .workload
                .and_then(|w| model.workloads.get(w))
                .is_some_and(|w| w.service_account.is_some());
            let key = Asked {
                workload: stretch.workload.filter(|_| by_name || account),
                claimed: stretch.workload.is_some(),
                group: stretch.group.is_some(),
                host: stretch.host,
                labels: stretch.labels,
                networks: stretch.networks.clone(),
            };
            let zones = asked.entry(key).or_insert_with(|| {
                let view = self.view(model, stretch);
                let subject = view.subject(stretch.host);
                (0..)
                    .zip(&model.zones)
                    .filter(|(_, zone)| zone.members.matches(&subject, Reading::ByAddress))
                    .map(|(index, _)| index)
                    .collect()
            });
            stretch.zones.clone_from(zones);
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
struct Asked {
    workload: Option<usize>,
    claimed: bool,
    group: bool,
    host: bool,
    labels: usize,
    networks: Vec<usize>,
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
