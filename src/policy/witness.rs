//! One address for every run of addresses that the policy does not tell apart.
//!
//! What it is: all prefixes that a policy or the packet path knows cut the address space into runs, and each
//! run that has an address gives one. What it is not: it says nothing of them. Invariant: two addresses that
//! lie in the same prefixes lie in the same run. Cost: one sort of the prefixes.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::model::Model;
use super::prefix::Prefix;

/// Everything, and ranges that the packet path treats by themselves (RFC 6890, RFC 4291), first address and
/// length.
const SPECIAL: [([u16; 8], u8); 5] = [
    ([0, 0, 0, 0, 0, 0, 0, 0], 0),
    ([0x2000, 0, 0, 0, 0, 0, 0, 0], 3),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8),
];
/// The same of IPv4.
const SPECIAL4: [([u8; 4], u8); 7] = [
    ([0, 0, 0, 0], 0),
    ([0, 0, 0, 0], 8),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
    ([255, 255, 255, 255], 32),
];

/// A prefix on the way down to the current one.
struct Open {
    prefix: Prefix,
    /// The lowest address that may be its own; `None` past its end.
    next: Option<u128>,
    /// Its own address.
    own: Option<u128>,
    /// No narrower prefix begins where it does.
    first_is_own: bool,
}

/// One address of each run, in the order of their prefixes. The first address of a prefix, which is a
/// network's own, stands for it only where there is no other.
pub(super) fn witnesses(model: &Model) -> Vec<IpAddr> {
    joint(&[model])
}

/// The same of the runs that the prefixes of several policies cut together.
pub(super) fn joint(models: &[&Model]) -> Vec<IpAddr> {
    let all: BTreeSet<Prefix> = prefixes(models).into_iter().collect();
    let mut path: Vec<Open> = Vec::new();
    let mut found = Vec::with_capacity(all.len());
    // By family, address and length: a prefix follows those that hold it.
    for prefix in all {
        while let Some(done) = path.pop_if(|open| !open.prefix.contains(prefix.address)) {
            found.extend(done.close());
        }
        if let Some(parent) = path.last_mut() {
            parent.give(prefix);
        }
        path.push(Open::new(prefix));
    }
    while let Some(done) = path.pop() {
        found.extend(done.close());
    }
    found.sort_unstable();
    found
}

/// All prefixes that cut the address space, some of them twice.
pub(super) fn prefixes(models: &[&Model]) -> Vec<Prefix> {
    let host = |address: IpAddr| Prefix { address, length: if address.is_ipv4() { 32 } else { 128 } };
    let special = SPECIAL.map(|(address, length)| Prefix { address: address.into(), length });
    let special4 = SPECIAL4.map(|(address, length)| Prefix { address: address.into(), length });
    let mut all: Vec<Prefix> = special.into_iter().chain(special4).collect();
    for model in models {
        all.extend(model.networks.iter().flat_map(|network| &network.prefixes));
        all.extend(model.workloads.iter().flat_map(|workload| &workload.addresses));
        all.extend(model.groups.iter().flat_map(|group| &group.addresses));
        all.extend(model.gate.management.iter().copied().map(host));
    }
    all
}

impl Open {
    fn new(prefix: Prefix) -> Self {
        let first = bits(prefix.address);
        let next = if prefix.is_host() { Some(first) } else { first.checked_add(1) };
        Self { prefix, next, own: None, first_is_own: true }
    }

    /// Part of it belongs to a narrower prefix.
    fn give(&mut self, inner: Prefix) {
        let first = bits(inner.address);
        self.first_is_own &= inner.address != self.prefix.address;
        if let Some(next) = self.next {
            if next < first {
                self.own.get_or_insert(next);
            }
            self.next = last(inner).checked_add(1).map(|after| after.max(next));
        }
    }

    fn close(self) -> Option<IpAddr> {
        let rest = self.next.filter(|next| *next <= last(self.prefix));
        let first = self.first_is_own.then(|| bits(self.prefix.address));
        let own = self.own.or(rest).or(first)?;
        match self.prefix.address {
            IpAddr::V4(_) => u32::try_from(own).ok().map(|bits| IpAddr::V4(bits.into())),
            IpAddr::V6(_) => Some(IpAddr::V6(own.into())),
        }
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The last address of a prefix.
fn last(prefix: Prefix) -> u128 {
    let host = u128::MAX.checked_shr(u32::from(128 - (prefix.width() - prefix.length))).unwrap_or(0);
    bits(prefix.address) | host
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::model::{Network, Workload};
    use crate::policy::sample;
    use crate::wire::Side;
    use crate::wire::Vlans;

    fn model(networks: &[&str], claims: &[&str]) -> Model {
        let prefixes = |list: &[&str]| list.iter().map(|text| sample::prefix(text)).collect();
        let network = Network {
            name: "n".into(),
            side: Side::Inside,
            prefixes: prefixes(networks),
            vlans: vec![Vlans::UNTAGGED],
            via: Vec::new(),
            labels: std::collections::BTreeMap::new(),
            origin: crate::policy::source::Origin::default(),
        };
        let workload = Workload {
            name: "w".into(),
            addresses: prefixes(claims),
            labels: std::collections::BTreeMap::new(),
            service_account: None,
            macs: Vec::new(),
            owner: None,
            valid_until: None,
            heard: None,
            origin: crate::policy::source::Origin::default(),
        };
        Model { networks: vec![network], workloads: vec![workload], ..sample::empty() }
    }

    fn within(model: &Model, prefix: &str) -> Vec<String> {
        let prefix = sample::prefix(prefix);
        witnesses(model).iter().filter(|a| prefix.contains(**a)).map(ToString::to_string).collect()
    }

    #[test]
    fn every_run_has_one_address_and_a_covered_prefix_has_none() {
        let model = model(
            &["10.0.0.0/24", "10.0.1.0/31", "2001:db8::/64"],
            &["10.0.0.1", "10.0.0.4/30", "10.0.1.0", "10.0.1.1", "2001:db8::", "2001:db8::1"],
        );
        assert_eq!(within(&model, "10.0.0.0/24"), ["10.0.0.1", "10.0.0.2", "10.0.0.5"]);
        assert_eq!(within(&model, "10.0.1.0/31"), ["10.0.1.0", "10.0.1.1"]);
        assert_eq!(within(&model, "2001:db8::/64"), ["2001:db8::", "2001:db8::1", "2001:db8::2"]);
    }

    #[test]
    fn the_first_address_stands_for_a_prefix_that_has_no_other() {
        let model = model(&["10.0.0.0/30"], &["10.0.0.1", "10.0.0.2/31"]);
        assert_eq!(within(&model, "10.0.0.0/30"), ["10.0.0.0", "10.0.0.1", "10.0.0.3"]);
    }

    #[test]
    fn addresses_in_the_same_prefixes_have_a_witness_among_them() {
        let model =
            model(&["0.0.0.0/0", "::/0", "10.0.0.0/28"], &["10.0.0.3", "10.0.0.8/29", "10.0.0.12/30"]);
        let all: Vec<Prefix> =
            model.networks[0].prefixes.iter().chain(&model.workloads[0].addresses).copied().collect();
        let around = |address: IpAddr| -> Vec<bool> { all.iter().map(|p| p.contains(address)).collect() };
        let known: Vec<Vec<bool>> = witnesses(&model).into_iter().map(around).collect();
        for low in 0..20_u8 {
            let address = IpAddr::from([10, 0, 0, low]);
            assert!(known.contains(&around(address)), "{address}");
        }
        let [first, last] =
            ["0.0.0.0", "255.255.255.255"].map(|a| a.parse::<IpAddr>().expect("an address"));
        assert!(witnesses(&model).contains(&last) && known.contains(&around(first)));
        assert_eq!(within(&model, "ff00::/8"), ["ff00::1"]);
    }
}
