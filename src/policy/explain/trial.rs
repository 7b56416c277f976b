//! A fresh table held against a plain reading of its rules, on sampled connections.
//!
//! What it is: what a gate does before it lets a table judge, so that a compiler's mistake is met off the
//! packet path. What it is not: no proof; the oracle of the tests is. The reading goes through all rules one
//! by one and shares with the compiler only what a selector means. Cost: bounded, [`READINGS`] rules read
//! whatever the policy's size; half a second for a policy of ten thousand rules.

use std::net::IpAddr;

use super::ends::{Way, stand_in};
use super::excepted::{Standing, standing};
use super::ports::probe;
use super::{Query, reason};
use crate::policy::model::Tier;
use crate::policy::read::Loaded;
use crate::policy::table::Table;
use crate::policy::verdict::{Denial, Moment, Verdict};
use crate::wire::Service;

/// Rules read at most, over all connections tried.
const READINGS: usize = 1 << 20;
/// Connections tried at most.
const MOST: usize = 4_096;
/// Connections tried at least, however many rules there are.
const LEAST: usize = 64;
/// Ends and services that are drawn from.
const POOL: usize = 4_096;

/// A connection on which a table and the rules it was made of differ.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{from} to {to} on {service}: the table says {table}, its rules say {rules}")]
pub struct Disagreement {
    /// Who opens.
    pub from: IpAddr,
    /// To whom.
    pub to: IpAddr,
    /// On what.
    pub service: String,
    /// What the table says.
    pub table: String,
    /// What the rules say.
    pub rules: String,
}

/// Tries a table. The number of connections on which both agree; the same policy gives the same ones.
///
/// # Errors
/// The first on which they do not.
pub fn trial(policy: &Loaded, table: &Table, now: Moment) -> Result<usize, Disagreement> {
    let (ends, services) = (ends(policy, table), services(policy));
    let query = Query::at(now);
    let tries = (READINGS / policy.model.rules.len().max(1)).clamp(LEAST, MOST);
    let mut draw = Draw(0);
    let mut agreed = 0;
    for _ in 0..tries {
        let (Some(from), Some(to), Some(service)) =
            (draw.one_of(&ends), draw.one_of(&ends), draw.one_of(&services))
        else {
            break;
        };
        if from.is_ipv4() != to.is_ipv4() {
            continue;
        }
        let way = Way::new(policy, table, &query, *from, *to);
        let verdict = way.judge(table, *service, now);
        agree((policy, table), &way, *service, now, verdict)?;
        agreed += 1;
    }
    Ok(agreed)
}

fn agree(
    (policy, table): (&Loaded, &Table),
    way: &Way<'_>,
    service: Service,
    now: Moment,
    verdict: Verdict,
) -> Result<(), Disagreement> {
    let matching = || {
        policy.model.rules.iter().filter(|rule| {
            (rule.tier != Tier::Allow || way.may_allow())
                && rule.services.contains(service)
                && way.matches(rule)
        })
    };
    let excepted = || {
        let here = table.exceptions().iter().filter(|exception| exception.services.contains(service));
        here.filter(|exception| standing(exception, way, now) == Some(Standing::Active))
    };
    let tiers = matching().map(|rule| rule.tier).chain(excepted().map(|_| Tier::Exception));
    let strongest = tiers.min();
    let face = table.rule(verdict.rule);
    let tier = match verdict.denial {
        // Said before rules are asked.
        Some(
            Denial::GateAddress
            | Denial::LinkLocal
            | Denial::UniqueLocal
            | Denial::Spoofed
            | Denial::WrongVlan
            | Denial::SameSide,
        ) => return Ok(()),
        Some(Denial::Guardrail) => Some(Tier::Guardrail),
        Some(Denial::Rule) => Some(Tier::Deny),
        None if face.is_some_and(|face| face.tier == Tier::Exception) => Some(Tier::Exception),
        None => Some(Tier::Allow),
        Some(Denial::NoRule | Denial::AccountNotHeld) => None,
    };
    let number = usize::try_from(verdict.rule.0).unwrap_or(usize::MAX);
    let named = policy.model.rules.get(number);
    let named_one_matches = match tier {
        None => true,
        Some(Tier::Exception) => {
            face.is_some_and(|face| excepted().any(|exception| exception.full_id() == face.id))
        }
        Some(Tier::Guardrail | Tier::Deny | Tier::Allow) => {
            named.is_some_and(|named| matching().any(|rule| std::ptr::eq(rule, named)))
        }
    };
    if tier == strongest && named_one_matches {
        return Ok(());
    }
    let name = face.map_or("no rule", |face| face.id.as_str());
    let said = verdict.denial.map_or("allow", reason);
    Err(Disagreement {
        from: way.from,
        to: way.to,
        service: super::ports::text(service),
        table: format!("{said} by {name}"),
        rules: match (matching().find(|rule| Some(rule.tier) == strongest), excepted().next()) {
            (Some(rule), _) => format!("{} first", rule.full_id()),
            (None, Some(exception)) => format!("{} first", exception.full_id()),
            (None, None) => "that none of them matches".to_owned(),
        },
    })
}

/// An address of every claim and the first of every network, evenly thinned where there are many.
fn ends(policy: &Loaded, table: &Table) -> Vec<IpAddr> {
    let workloads = policy.model.workloads.iter().enumerate();
    let claims =
        workloads.flat_map(|(index, workload)| workload.addresses.iter().map(move |c| (index, *c)));
    let strangers = policy.model.networks.iter().flat_map(|network| &network.prefixes);
    let claimed: Vec<_> = claims.collect();
    let step = claimed.len().div_ceil(POOL).max(1);
    let claimed = claimed.into_iter().step_by(step);
    let ends = claimed.filter_map(|(index, claim)| stand_in(table.space(), claim, index));
    ends.chain(strangers.map(|prefix| prefix.address).take(POOL)).collect()
}

/// The first and the last port of what rules name, and one service that perhaps none does.
fn services(policy: &Loaded) -> Vec<Service> {
    let atoms = policy.model.rules.iter().flat_map(|rule| &rule.services.atoms);
    let edges = atoms.flat_map(|atom| [probe(*atom, atom.to.0), probe(*atom, atom.to.1)]);
    let other = Service { protocol: 6, sport: 49_152, dport: 1, readable: true };
    edges.take(POOL).chain([other]).collect()
}

/// Numbers that look random and are the same each time (`SplitMix64`).
struct Draw(u64);

impl Draw {
    fn one_of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        let count = u64::try_from(all.len()).ok().filter(|count| *count > 0)?;
        all.get(usize::try_from(z % count).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::exception::Party;
    use crate::policy::model::ServiceSet;
    use crate::policy::sample::{self, BIG, load};
    use crate::policy::{Exceptions, compile};

    #[test]
    fn a_sound_table_agrees_with_its_rules() {
        let policy = load(BIG);
        let agreed = trial(&policy, &compile(&policy.model, &Exceptions::NONE), Moment(0)).unwrap();
        assert!(agreed > MOST / 4, "{agreed} of {MOST}");
    }

    /// Everybody to everybody on everything that the trial asks about.
    fn exception(policy: &Loaded, time: (Moment, Moment)) -> Exceptions {
        let workloads: Vec<String> = policy.model.workloads.iter().map(|w| w.name.clone()).collect();
        let all = || Party { workloads: workloads.clone(), accounts: Vec::new() };
        let atoms = policy.model.rules.iter().flat_map(|rule| rule.services.atoms.clone()).collect();
        let services = ServiceSet { written: Vec::new(), any: false, atoms };
        Exceptions::new(vec![sample::exception("EXC-1", all(), all(), services, time, false)]).unwrap()
    }

    #[test]
    fn a_sound_table_agrees_with_its_rules_and_exceptions() {
        let policy = load(BIG);
        let table = compile(&policy.model, &exception(&policy, (Moment(10), Moment(20))));
        for now in [9, 10, 19, 20] {
            let agreed = trial(&policy, &table, Moment(now)).unwrap();
            assert!(agreed > MOST / 4, "{agreed} of {MOST}");
        }
        // Records that are not those it was made of are found out.
        let mut spoilt = compile(&policy.model, &exception(&policy, (Moment(10), Moment(20))));
        spoilt.exceptions = Exceptions::NONE;
        let found = trial(&policy, &spoilt, Moment(10)).unwrap_err();
        assert!(found.table.ends_with("by exception EXC-1"), "{found}");
        let mut spoilt = compile(&policy.model, &Exceptions::NONE);
        spoilt.exceptions = exception(&policy, (Moment(10), Moment(20)));
        let found = trial(&policy, &spoilt, Moment(10)).unwrap_err();
        assert_eq!(found.rules, "exception EXC-1 first");
    }

    #[test]
    fn a_table_of_other_rules_is_found_out() {
        let policy = load(BIG);
        for spoilt in [Tier::Guardrail, Tier::Allow] {
            let mut model = policy.model.clone();
            for rule in model.rules.iter_mut().filter(|rule| rule.tier == spoilt) {
                (rule.services.any, rule.services.atoms) = (false, Vec::new());
            }
            let found = trial(&policy, &compile(&model, &Exceptions::NONE), Moment(0)).unwrap_err();
            let first = format!("{}.", spoilt.name());
            assert!(found.rules.starts_with(&first) && found.rules.ends_with(" first"), "{found}");
            assert!(!found.table.contains(&first), "{found}");
        }
    }
}
