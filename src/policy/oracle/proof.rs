//! Random policy tests: what the table proves, no probe of the naive evaluator refutes.

use std::net::IpAddr;

use proptest::collection::vec;
use proptest::prelude::*;

use super::random::{cases, destination, exceptions, model, probe, selector, services};
use super::{Oracle, grants, restricts, side_of, together};
use crate::policy::model::{Expected, Model, Selector, ServiceSet, Test};
use crate::policy::proof::{Counterexample, Proof, proofs};
use crate::policy::source::Origin;
use crate::policy::{Denial, Exceptions, Moment, Sender, SenderMac, Verdict, compile};
use crate::wire::{Service, Vlans};

fn test() -> impl Strategy<Value = Test> {
    let services = prop_oneof![
        1 => services(),
        1 => Just(ServiceSet { written: Vec::new(), any: true, atoms: Vec::new() }),
    ];
    let expect = prop_oneof![Just(Expected::Allow), Just(Expected::Deny)];
    (selector(), destination(), services, expect).prop_map(|(from, to, services, expect)| Test {
        name: "t".into(),
        from,
        to,
        services,
        expect,
        origin: Origin::default(),
    })
}

/// Whether a packet of this service can be between ends of this family.
fn possible(service: Service, v4: bool) -> bool {
    match service.protocol {
        1 => v4,
        58 => !v4,
        6 | 17 => service.sport > 0 && service.dport > 0,
        _ => true,
    }
}

fn asked(set: &ServiceSet, service: Service) -> bool {
    let within = |(first, last): (u16, u16), port: u16| first <= port && port <= last;
    set.any
        || set.atoms.iter().any(|a| {
            a.protocol == service.protocol && within(a.to, service.dport) && within(a.from, service.sport)
        })
}

/// What the naive evaluator says of one connection of a test, as under enforce, every binding fresh, every
/// account held; `None`: it is none of the test's.
pub(super) fn verdict(
    oracle: &Oracle<'_>,
    test: &Test,
    ends: (IpAddr, IpAddr),
    service: Service,
) -> Option<Result<(), Denial>> {
    judged(oracle, test, ends, service).map(|judged| judged.denial.map_or(Ok(()), Err))
}

/// The same with everything else that it says.
pub(super) fn judged(
    oracle: &Oracle<'_>,
    test: &Test,
    (src, dst): (IpAddr, IpAddr),
    service: Service,
) -> Option<Verdict> {
    const FRESH: Moment = Moment(0);
    let from = oracle.end(src, true, FRESH);
    let side = side_of(&from)?;
    let (to, group) = oracle.receiver(dst, side, FRESH);
    let meant = |selector: &Selector, end| match test.expect {
        Expected::Allow => grants(selector, end),
        Expected::Deny => restricts(selector, end),
    };
    let seen = group || side_of(&to) == Some(side.other());
    if src.is_ipv4() != dst.is_ipv4() || !seen || !possible(service, src.is_ipv4()) {
        return None;
    }
    if !meant(&test.from, &from) || !meant(&test.to, &to) || !asked(&test.services, service) {
        return None;
    }
    if !together(&test.to, &from, &to) {
        return None;
    }
    let own: &[Vlans] = &from.networks[0].vlans;
    let shared = own.iter().find(|tags| group || to.networks[0].vlans.contains(tags));
    let vlans = *shared.unwrap_or(&own[0]);
    let sender = Sender { address: src, mac: SenderMac::Assumed, vlans };
    let judged = oracle.judge(sender, dst, service, side, FRESH);
    match judged.denial {
        Some(Denial::GateAddress | Denial::LinkLocal | Denial::UniqueLocal) => None,
        Some(_) | None => Some(judged),
    }
}

fn as_expected(test: &Test, verdict: Result<(), Denial>) -> bool {
    verdict.is_ok() == (test.expect == Expected::Allow)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases() / 2, failure_persistence: None, ..ProptestConfig::default() })]

    /// POLICY.md §9: a policy test holds for every pair and every port, or one for which it does not is named.
    /// Exceptions do not count.
    #[test]
    fn what_a_test_proves_no_probe_refutes(
        model in model(),
        exceptions in exceptions(),
        tests in vec(test(), 6),
        probes in vec(probe(), 96),
    ) {
        let model = Model { tests, ..model };
        let table = compile(&model, &exceptions);
        let none = Exceptions::NONE;
        let oracle = Oracle::new(&model, &none);
        for (test, proof) in model.tests.iter().zip(proofs(&model, &table)) {
            if let Proof::Fails(Counterexample { from, to, service, denial, .. }) = proof {
                let naive = verdict(&oracle, test, (from, to), service);
                let told = denial.map_or(Ok(()), Err);
                prop_assert_eq!(naive, Some(told), "{:?} {:?}", test, proof);
                prop_assert!(!as_expected(test, told), "{:?} {:?}", test, proof);
            }
            for (src, dst, service, _, _) in &probes {
                let Some(naive) = verdict(&oracle, test, (src.address, *dst), *service) else { continue };
                prop_assert_ne!(proof, Proof::Empty, "{:?} {} → {} {:?}", test, src.address, dst, service);
                if !as_expected(test, naive) {
                    let fails = matches!(proof, Proof::Fails(_));
                    prop_assert!(fails, "{:?} {} → {} {:?}: {:?}", test, src.address, dst, service, naive);
                }
            }
        }
    }
}
