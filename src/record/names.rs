//! What the numbers and addresses of an event are called.
//!
//! Rule numbers mean something only with their generation, so the names of the latest
//! [`Names::GENERATIONS`] generations are kept. Cost: one hash lookup per prefix length in use for an
//! address, paid by readers.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::gateway::Policy;
use crate::policy::RuleNumber;
use crate::policy::model::{Model, Rule};
use crate::policy::prefix::Prefix;

/// The names of the latest generations.
#[derive(Debug, Default)]
pub struct Names {
    generations: Mutex<VecDeque<Arc<Generation>>>,
}

/// The names of one generation.
pub struct Generation {
    policy: Arc<Policy>,
    /// Prefix length → address → index of the workload; longest first, by family.
    claims: [BTreeMap<u8, HashMap<IpAddr, usize>>; 2],
}

impl std::fmt::Debug for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Generation").field("generation", &self.policy.generation).finish_non_exhaustive()
    }
}

impl Names {
    /// Generations kept: the one in force and the one before it.
    pub const GENERATIONS: usize = 2;

    /// Takes in the generation in force, if it is new.
    pub fn learn(&self, policy: &Arc<Policy>) {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        if generations.back().is_some_and(|latest| latest.policy.generation == policy.generation) {
            return;
        }
        if generations.len() == Self::GENERATIONS {
            generations.pop_front();
        }
        generations.push_back(Arc::new(Generation::new(policy.clone())));
    }

    /// The names of a generation, if they are still kept.
    #[must_use]
    pub fn of(&self, generation: u32) -> Option<Arc<Generation>> {
        let generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        generations.iter().rev().find(|names| names.policy.generation == generation).cloned()
    }
}

const fn family(address: IpAddr) -> usize {
    address.is_ipv6() as usize
}

impl Generation {
    fn new(policy: Arc<Policy>) -> Self {
        let mut claims = [BTreeMap::new(), BTreeMap::new()];
        for (index, workload) in policy.loaded.model.workloads.iter().enumerate() {
            for prefix in &workload.addresses {
                if let Some(lengths) = claims.get_mut(family(prefix.address)) {
                    let by_address: &mut HashMap<IpAddr, usize> = lengths.entry(prefix.length).or_default();
                    by_address.insert(prefix.address, index);
                }
            }
        }
        Self { policy, claims }
    }

    fn model(&self) -> &Model {
        &self.policy.loaded.model
    }

    /// The workload with the most specific claim to an address.
    #[must_use]
    pub fn workload(&self, address: IpAddr) -> Option<&str> {
        let index = self.claims.get(family(address))?.iter().rev().find_map(|(length, by_address)| {
            by_address.get(&Prefix::containing(address, *length).address)
        })?;
        self.model().workloads.get(*index).map(|workload| workload.name.as_str())
    }

    /// A rule by its number.
    #[must_use]
    pub fn rule(&self, number: RuleNumber) -> Option<&Rule> {
        self.model().rules.get(usize::try_from(number.0).ok()?)
    }

    /// Where a rule stands: `rules/payments.toml:1`.
    #[must_use]
    pub fn place(&self, rule: &Rule) -> String {
        self.policy.loaded.sources.place(rule.origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::fixture;

    #[test]
    fn the_most_specific_claim_names_an_address() {
        let names = Names::default();
        names.learn(&Arc::new(fixture::policy(1)));
        let names = names.of(1).unwrap();
        let name = |text: &str| names.workload(text.parse().unwrap());
        assert_eq!(name("198.51.100.7"), Some("acquirer"));
        assert_eq!(name("198.51.100.9"), Some("acquirer-gateway"));
        assert_eq!(name("10.20.0.10"), Some("vault-1"));
        assert_eq!(name("2001:db8:20::10"), Some("vault-1"));
        assert_eq!(name("10.20.0.11"), None);
        assert_eq!(name("::10.20.0.10"), None);
    }

    #[test]
    fn the_two_latest_generations_are_kept() {
        let names = Names::default();
        for generation in 1..=3 {
            names.learn(&Arc::new(fixture::policy(generation)));
            names.learn(&Arc::new(fixture::policy(generation)));
        }
        assert!(names.of(1).is_none());
        assert_eq!(names.of(2).unwrap().policy.generation, 2);
        assert_eq!(names.of(3).unwrap().policy.generation, 3);
    }

    #[test]
    fn a_rule_is_named_with_its_place() {
        let names = Generation::new(Arc::new(fixture::policy(1)));
        let rule = names.rule(RuleNumber(1)).unwrap();
        assert_eq!(
            (rule.full_id().as_str(), names.place(rule).as_str()),
            ("allow.payments-to-vault", "gate.toml:41")
        );
        assert!(names.rule(RuleNumber::NONE).is_none());
    }
}
