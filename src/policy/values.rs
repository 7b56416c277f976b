//! The values of a label, and who carries each.
//!
//! What it is: labels as rules see them: a workload's own, then those of the networks that its addresses lie in.
//! What it is not: a list of values that a closed label may have; those are `[label]`'s. A workload whose
//! addresses lie in several networks may carry several values. Cost: one cut of the address space.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::model::Model;
use super::space::Space;

/// Who carries one value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Carriers {
    /// Workloads with an address that carries it.
    pub workloads: usize,
    /// Those of them that do not say it themselves, by the network that they have it of.
    pub inherited: BTreeMap<String, usize>,
}

/// The values that workloads carry under a key, with those who do.
#[must_use]
pub fn values(model: &Model, key: &str) -> BTreeMap<String, Carriers> {
    let space = Space::new(model);
    let mut all: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    let mut inherited: BTreeMap<(&str, &str), BTreeSet<usize>> = BTreeMap::new();
    for stretch in space.all.iter().filter(|stretch| !stretch.covered) {
        let claim = stretch.workload.and_then(|index| Some((index, model.workloads.get(index)?)));
        let (Some((index, workload)), Some(value)) = (claim, space.labels_of(stretch).get(key)) else {
            continue;
        };
        all.entry(value).or_default().insert(index);
        if !workload.labels.contains_key(key) {
            let mut networks = stretch.networks.iter().filter_map(|network| model.networks.get(*network));
            let of = networks.find(|network| network.labels.contains_key(key));
            if let Some(network) = of {
                inherited.entry((value.as_str(), network.name.as_str())).or_default().insert(index);
            }
        }
    }
    let carriers = |value: &str, all: &BTreeSet<usize>| Carriers {
        workloads: all.len(),
        inherited: inherited
            .iter()
            .filter(|((of, _), _)| *of == value)
            .map(|((_, network), workloads)| ((*network).to_owned(), workloads.len()))
            .collect(),
    };
    all.iter().map(|(value, all)| ((*value).to_owned(), carriers(value, all))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::sample;

    #[test]
    fn a_label_that_a_network_gives_counts_for_who_does_not_say_it() {
        let model = sample::load(
            "[label]\nenv = {}\n[profile]\narp = \"drop\"\nndp = \"drop\"\nlldp = \"drop\"\nstp = \"drop\"\n\
             lacp = \"drop\"\ndhcp = \"drop\"\nother = \"drop\"\n[wire.w]\noutside = \"a\"\ninside = \"b\"\n\
             fail = \"closed\"\nunzoned = \"observe\"\n[network.all]\nat = \"w.outside\"\n\
             prefixes = [\"0.0.0.0/0\", \"::/0\"]\n[network.in]\nat = \"w.inside\"\nprefixes = [\"10.0.0.0/8\"]\n\
             labels = { env = \"prod\" }\n[network.lab]\nat = \"w.inside\"\nprefixes = [\"10.9.0.0/16\"]\n\
             labels = { env = \"test\" }\n[network.cell]\nat = \"w.inside\"\nprefixes = [\"10.9.9.0/24\"]\n\
             [workload.own]\naddresses = [\"10.0.0.1\", \"10.9.0.1\"]\nlabels = { env = \"prod\" }\n\
             [workload.both]\naddresses = [\"10.0.0.2\", \"10.9.0.2\"]\n[workload.cell]\naddresses = [\"10.9.9.3\"]\n\
             [workload.far]\naddresses = [\"192.0.2.1\"]\n",
        )
        .model;
        let of = |workloads, inherited: &[(&str, usize)]| Carriers {
            workloads,
            inherited: inherited.iter().map(|(network, n)| ((*network).to_owned(), *n)).collect(),
        };
        let expected = [("prod", of(2, &[("in", 1)])), ("test", of(2, &[("lab", 2)]))];
        let expected = expected.map(|(value, carriers)| (value.to_owned(), carriers));
        assert_eq!(values(&model, "env"), BTreeMap::from(expected));
        assert_eq!(values(&model, "app"), BTreeMap::new());
    }

    #[test]
    fn who_has_no_address_left_carries_nothing() {
        let mut text = String::from(
            "[label]\nenv = {}\n[profile]\narp = \"drop\"\nndp = \"drop\"\nlldp = \"drop\"\nstp = \"drop\"\n\
             lacp = \"drop\"\ndhcp = \"drop\"\nother = \"drop\"\n[wire.w]\noutside = \"a\"\ninside = \"b\"\n\
             fail = \"closed\"\nunzoned = \"observe\"\n[network.all]\nat = \"w.outside\"\n\
             prefixes = [\"0.0.0.0/0\", \"::/0\"]\n[workload.rack]\naddresses = [\"10.0.0.0/31\"]\n\
             labels = { env = \"prod\" }\n[workload.one]\naddresses = [\"10.0.0.0\"]\nlabels = { env = \"test\" }\n",
        );
        let count = |text: &str, value: &str| {
            values(&sample::load(text).model, "env").get(value).map_or(0, |carriers| carriers.workloads)
        };
        assert_eq!((count(&text, "prod"), count(&text, "test")), (1, 1));
        text.push_str("[workload.two]\naddresses = [\"10.0.0.1\"]\nlabels = { env = \"test\" }\n");
        assert_eq!((count(&text, "prod"), count(&text, "test")), (0, 2), "both addresses are others'");
    }
}
