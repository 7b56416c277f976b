//! What reach says can reach somebody, the naive evaluator lets; what it leaves out, it lets nobody.

use std::net::IpAddr;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::proof::{judged, verdict};
use super::random::{cases, destination, model, probe, selector};
use super::{Oracle, side_of};
use crate::policy::ground::{End, Ground};
use crate::policy::model::{Expected, Model, Selector, ServiceSet, Test, Tier};
use crate::policy::prove::{NotProvable, prove};
use crate::policy::reach::{Kind, Rectangle, rectangles};
use crate::policy::read::Loaded;
use crate::policy::source::{Origin, Sources};
use crate::policy::{Exceptions, Mode, Moment, Table, compile};
use crate::wire::{Service, Side};

/// Everything between two ends, as a test that expects a denial would mean it.
fn between(from: Option<Selector>, to: Option<Selector>) -> Test {
    let anyone = || Selector::Except(Vec::new());
    Test {
        name: String::new(),
        from: from.unwrap_or_else(anyone),
        to: to.unwrap_or_else(anyone),
        services: ServiceSet { written: Vec::new(), any: true, atoms: Vec::new() },
        expect: Expected::Deny,
        origin: Origin::default(),
    }
}

fn holds(way: &Rectangle<'_, '_>, table: &Table, (src, dst): (IpAddr, IpAddr), service: Service) -> bool {
    let run = |address| (table.space().find(address), table.is_group(address));
    let one_of = |ends: &[&End<'_>], address| ends.iter().any(|end| run(end.address) == run(address));
    one_of(&way.from, src) && one_of(&way.to, dst) && way.services.contains(service)
}

/// The probe as it is sent, and nothing else: does it cross, and not because of where its ends lie?
fn crosses(oracle: &Oracle<'_>, probe: &super::random::Probe) -> (bool, bool) {
    let (src, dst, service, side, now) = *probe;
    let verdict = oracle.judge(src, dst, service, side, now);
    let placed = !verdict.denial.is_some_and(crate::policy::Denial::is_misplaced);
    (placed && verdict.denial.is_none(), placed && verdict.crosses())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases() / 2, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reach_is_what_the_naive_evaluator_lets(
        model in model(),
        from in option::of(selector()),
        to in option::of(destination()),
        probes in vec(probe(), 96),
    ) {
        let table = compile(&model, &Exceptions::NONE);
        let none = Exceptions::NONE;
        let oracle = Oracle::new(&model, &none);
        let ground = Ground::new(&model, &table);
        let (ways, _) = rectangles(&ground, (from.as_ref(), to.as_ref()));
        let asked = between(from, to);
        // What has lapsed leaves no `differs`: the reader refuses it in an allow, where it would let more.
        let mut allows = model.rules.iter().filter(|rule| rule.tier == Tier::Allow);
        let odd_rules = allows.any(|rule| rule.to.parts().iter().any(|keys| !keys.differs.is_empty()));
        for probe in &probes {
            let (src, dst, service) = (probe.0.address, probe.1, Service { readable: true, ..probe.2 });
            let Some(naive) = judged(&oracle, &asked, (src, dst), service) else { continue };
            let placed = !naive.denial.is_some_and(crate::policy::Denial::is_misplaced);
            let here: Vec<Kind> = ways
                .iter()
                .filter(|way| holds(way, &table, (src, dst), service))
                .map(|way| way.kind)
                .collect();
            let allowed: Vec<_> = here
                .iter()
                .filter_map(|kind| match kind {
                    Kind::Allowed { rule, mode, .. } => Some((*rule, *mode)),
                    Kind::Unenforced(_) => None,
                })
                .collect();
            let unenforced: Vec<Mode> = here
                .iter()
                .filter_map(|kind| match kind {
                    Kind::Allowed { .. } => None,
                    Kind::Unenforced(mode) => Some(*mode),
                })
                .collect();
            let words = format!("{src} → {dst} {service:?}: {naive:?}, {here:?}");
            let expected: Vec<_> = (placed && naive.denial.is_none()).then_some((naive.rule, naive.mode)).into_iter().collect();
            prop_assert_eq!(&allowed, &expected, "{}", words);
            let mild: Vec<Mode> = (placed && naive.mode < Mode::Enforce).then_some(naive.mode).into_iter().collect();
            prop_assert_eq!(&unenforced, &mild, "{}", words);
            // A lapsed binding or a wrong MAC is allowed less, never more, and its mode is never milder.
            if odd_rules {
                continue;
            }
            let (lets, any) = crosses(&oracle, &(probe.0, dst, service, probe.3, probe.4));
            prop_assert!(!lets || !allowed.is_empty(), "{:?} {}", probe, words);
            prop_assert!(!any || !here.is_empty(), "{:?} {}", probe, words);
        }
    }

    #[test]
    fn an_account_is_needed_where_a_wrong_mac_is_denied(model in model(), probes in vec(probe(), 96)) {
        let table = compile(&model, &Exceptions::NONE);
        let none = Exceptions::NONE;
        let oracle = Oracle::new(&model, &none);
        let ground = Ground::new(&model, &table);
        let (ways, _) = rectangles(&ground, (None, None));
        let everything = between(None, None);
        for (src, dst, service, _, _) in &probes {
            let (src, dst, service) = (src.address, *dst, Service { readable: true, ..*service });
            let Some(naive) = judged(&oracle, &everything, (src, dst), service) else { continue };
            let here = ways.iter().filter(|way| holds(way, &table, (src, dst), service));
            let needed = here.filter_map(|way| match way.kind {
                Kind::Allowed { account, .. } => Some(account),
                Kind::Unenforced(_) => None,
            });
            let from = oracle.end(src, true, Moment(0));
            let Some(side) = side_of(&from) else { continue };
            for account in needed {
                prop_assert_eq!(naive.denial, None);
                let vlans = from.networks[0].vlans.clone();
                // One of the tags is that of both networks.
                let stranger = vlans.iter().any(|tags| {
                    let sender = crate::policy::Sender {
                        address: src,
                        mac: crate::policy::SenderMac::Stranger,
                        vlans: *tags,
                    };
                    oracle.judge(sender, dst, service, side, Moment(0)).denial.is_none()
                });
                prop_assert_eq!(account, !stranger, "{} → {} {:?}", src, dst, service);
            }
        }
    }

    #[test]
    fn what_a_statement_proves_no_probe_refutes(
        model in model(),
        from in proptest::sample::select(vec!["z0", "z1", "w0", "w3", "n0", "app = \"x\"", "any = true"]),
        to in proptest::sample::select(vec!["z0", "z2", "w1", "n1", "g0", "{ env = \"y\" }", "{ except = [{ app = \"z\" }] }"]),
        on in proptest::sample::select(vec!["", " on tcp/80-443", " on udp/1-2048, icmp/8", " on any"]),
        probes in vec(probe(), 96),
    ) {
        let open = || crate::policy::model::LabelKey { values: None, required: false };
        let labels = ["app", "env"].map(|key| (key.to_owned(), open())).into();
        let policy = Loaded { model: Model { labels, ..model }, sources: Sources::default(), warnings: Vec::new() };
        let table = compile(&policy.model, &Exceptions::NONE);
        let none = Exceptions::NONE;
        let oracle = Oracle::new(&policy.model, &none);
        let statement = format!("{from} !-> {to}{on}");
        let proved = match prove(&policy, &table, &statement) {
            Ok(proved) => Some(proved),
            Err(NotProvable::Empty { .. }) => None,
            // The name is none of this policy's.
            Err(NotProvable::End(_)) => return Ok(()),
            Err(other) => return Err(TestCaseError::fail(other.to_string())),
        };
        let mut asked = between(
            Some(crate::policy::read::sender(from, &policy.model).unwrap()),
            Some(crate::policy::read::receiver(to, &policy.model).unwrap()),
        );
        let items = on.trim().strip_prefix("on ").unwrap_or("any").split(", ").filter(|item| *item != "any");
        let atoms: Vec<_> =
            items.flat_map(|item| crate::policy::read::service_atoms(item, &policy.model.services).unwrap()).collect();
        if !atoms.is_empty() {
            asked.services = ServiceSet { written: Vec::new(), any: false, atoms };
        }
        let refuted = proved.as_ref().and_then(|proved| proved.counterexample.as_ref());
        for (src, dst, service, _, _) in &probes {
            let service = Service { readable: true, ..*service };
            let Some(naive) = verdict(&oracle, &asked, (src.address, *dst), service) else { continue };
            prop_assert!(proved.is_some(), "{}: not empty: {} → {}", statement, src.address, dst);
            prop_assert!(naive.is_err() || refuted.is_some(), "{}: {} → {} {:?}", statement, src.address, dst, service);
        }
        if let Some(refuted) = refuted {
            let side = side_of(&oracle.end(refuted.src, true, Moment(0)));
            prop_assert!(side == Some(Side::Outside) || side == Some(Side::Inside));
            let atoms = crate::policy::read::service_atoms(&refuted.service, &policy.model.services).unwrap();
            let service = Service {
                protocol: atoms[0].protocol,
                sport: refuted.sport,
                dport: atoms[0].to.0,
                readable: true,
            };
            // Of others the reader writes no ports, these policies do.
            if matches!(service.protocol, 1 | 6 | 17 | 58) {
                prop_assert_eq!(verdict(&oracle, &asked, (refuted.src, refuted.dst), service), Some(Ok(())));
            }
        }
    }
}
