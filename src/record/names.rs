//! What the numbers and addresses of an event are called.
//!
//! Rule numbers mean something only with their generation, so the latest [`Names::GENERATIONS`]
//! generations are kept. Cost: readers pay one lookup an address; the packet path nothing.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::gateway::Policy;
use crate::policy::RuleNumber;
use crate::policy::table::RuleFace;

/// The names of the latest generations.
#[derive(Debug, Default)]
pub struct Names {
    generations: Mutex<VecDeque<Arc<Policy>>>,
}

/// The names of one generation.
#[derive(Clone, Debug)]
pub struct Generation(Arc<Policy>);

impl Names {
    /// Generations kept: the one in force and the one before it.
    pub const GENERATIONS: usize = 2;

    /// Takes in the generation in force, if it is new.
    pub fn learn(&self, policy: &Arc<Policy>) {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        if generations.back().is_some_and(|latest| latest.generation == policy.generation) {
            return;
        }
        if generations.len() == Self::GENERATIONS {
            generations.pop_front();
        }
        generations.push_back(Arc::clone(policy));
    }

    /// The names of a generation, if they are still kept.
    #[must_use]
    pub fn of(&self, generation: u32) -> Option<Generation> {
        let generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        generations.iter().rev().find(|policy| policy.generation == generation).cloned().map(Generation)
    }
}

impl Generation {
    /// The workload with the most specific claim to an address.
    #[must_use]
    pub fn workload(&self, address: IpAddr) -> Option<&str> {
        self.0.table.locate(address).workload
    }

    /// A rule by its number.
    #[must_use]
    pub fn rule(&self, number: RuleNumber) -> Option<&RuleFace> {
        self.0.table.rule(number)
    }

    /// Where a rule stands: `rules/payments.toml:1`.
    #[must_use]
    pub fn place(&self, rule: &RuleFace) -> String {
        self.0.loaded.sources.place(rule.origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::fixture;

    #[test]
    fn the_most_specific_claim_names_an_address() {
        let names = Generation(Arc::new(fixture::policy(1)));
        let name = |text: &str| names.workload(text.parse().unwrap()).map(str::to_owned);
        assert_eq!(name("198.51.100.7").as_deref(), Some("acquirer"));
        assert_eq!(name("198.51.100.9").as_deref(), Some("acquirer-gateway"));
        assert_eq!(name("10.20.0.10").as_deref(), Some("vault-1"));
        assert_eq!(name("2001:db8:20::10").as_deref(), Some("vault-1"));
        assert_eq!(name("10.20.0.11"), None);
    }

    #[test]
    fn the_two_latest_generations_are_kept() {
        let names = Names::default();
        for generation in 1..=3 {
            names.learn(&Arc::new(fixture::policy(generation)));
            names.learn(&Arc::new(fixture::policy(generation)));
        }
        assert!(names.of(1).is_none());
        assert_eq!(names.of(2).unwrap().0.generation, 2);
        assert_eq!(names.of(3).unwrap().0.generation, 3);
    }

    #[test]
    fn a_rule_is_named_with_its_place() {
        let names = Generation(Arc::new(fixture::policy(1)));
        let rule = names.rule(RuleNumber(1)).unwrap();
        assert_eq!(rule.id, "allow.payments-to-vault");
        assert_eq!(names.place(rule), "rules.toml:7");
        assert!(names.rule(RuleNumber::NONE).is_none());
    }
}
