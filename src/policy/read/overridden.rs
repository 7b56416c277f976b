//! Labels of networks that do not count, since something narrower says another value.
//!
//! What it is: for each label of a network, the workloads and networks within it that override it (POLICY.md §2), in one
//! finding. What it is not: an error; that the narrowest counts is what networks in networks are for. Who says the
//! same value overrides nothing. Cost: the labels of the networks around each claim.

use std::collections::{BTreeMap, BTreeSet};

use super::super::code::Code;
use super::super::model::Network;
use super::super::source::Origin;
use super::findings::{Findings, listing};
use super::holdings::Holding;

/// Who overrides one label of a network.
struct Overridden<'m> {
    network: &'m Network,
    value: &'m str,
    workloads: BTreeSet<&'m str>,
    networks: BTreeSet<&'m str>,
}

/// Says which labels of networks are overridden, and by whom.
pub(super) fn overridden(holdings: &[Holding<'_>], findings: &mut Findings) {
    let mut all: BTreeMap<(Origin, &str), Overridden<'_>> = BTreeMap::new();
    for Holding { workload, networks, .. } in holdings {
        for (place, network) in networks.iter().enumerate() {
            for (key, value) in &network.labels {
                let narrower =
                    networks.iter().take(place).find(|narrower| narrower.labels.contains_key(key));
                let own = workload.and_then(|workload| workload.labels.get(key));
                let counts = own.or(narrower.and_then(|narrower| narrower.labels.get(key)));
                if counts.is_none_or(|counts| counts == value) {
                    continue;
                }
                let fresh =
                    || Overridden { network, value, workloads: BTreeSet::new(), networks: BTreeSet::new() };
                let here = all.entry((network.origin, key)).or_insert_with(fresh);
                match (own, workload, narrower) {
                    (Some(_), Some(workload), _) => {
                        here.workloads.insert(&workload.name);
                    }
                    (_, _, Some(narrower)) => {
                        here.networks.insert(&narrower.name);
                    }
                    (_, _, None) => {}
                }
            }
        }
    }
    for ((origin, key), Overridden { network, value, workloads, networks }) in all {
        let name = &network.name;
        let who = [("workload", workloads), ("network", networks)]
            .into_iter()
            .filter(|(_, names)| !names.is_empty());
        let who = who.map(|(kind, names)| {
            let plural = if names.len() == 1 { "" } else { "s" };
            format!("{kind}{plural} {}", listing(names))
        });
        let who = who.collect::<Vec<_>>().join(" and of ");
        let message = format!("label {key} = {value} of network {name} is overridden by that of {who}");
        findings.say_with(Code::Overridden, origin, message, Code::Overridden.remedy());
    }
}
