//! §7: the policy digest.

use super::*;
use crate::policy::Action;
use crate::policy::model::{Match, Reply, Selector, Tier};

fn digest(model: &Model) -> [u8; 32] {
    compile(model, &Exceptions::NONE).digest()
}

fn whole() -> String {
    let rules = rule("guardrail", "g", "{ app = \"dev\" }", "{ zone = \"cards\" }", r#"["any"]"#);
    let group = "[group.vrrp]\naddresses = [\"224.0.0.18\", \"ff02::12\"]\n";
    format!("{group}{}{rules}", zones("observe", "simulate"))
}

#[test]
fn the_same_policy_has_the_same_digest_wherever_it_stands() {
    let text = format!("{BASE}{}", whole());
    let (first, rest) = text.split_once("[network.servers]").unwrap();
    let (middle, last) = rest.split_once("[workload.jump]").unwrap();
    let middle = format!("[network.servers]{middle}");
    let last = format!("\n\n# moved\n[workload.jump]{last}");
    let parts = |one: &str, two: &str, texts: [(&str, &str); 2]| {
        let head = format!("parts = [{one:?}, {two:?}]\n{first}");
        let texts = texts.map(|(name, text)| (name.to_owned(), text.to_owned()));
        let files = std::iter::once(("gate.toml".to_owned(), head)).chain(texts).collect();
        digest(&crate::policy::read::read_text(files).unwrap().model)
    };
    let one = digest(&model(&whole()));
    assert_eq!(one, parts("a.toml", "b.toml", [("a.toml", &middle), ("b.toml", &last)]));
    assert_eq!(one, parts("b.toml", "a.toml", [("a.toml", &middle), ("b.toml", &last)]));
    assert_eq!(compile(&model(&whole()), &Exceptions::NONE).digest_short().len(), 8);
}

#[test]
fn the_order_of_a_list_is_no_part_of_it() {
    let mut other = model(&whole());
    let one = digest(&other);
    for workload in &mut other.workloads {
        workload.addresses.reverse();
    }
    other.workloads.reverse();
    other.networks.reverse();
    assert_eq!(digest(&other), one);
}

#[test]
fn every_change_of_the_policy_changes_it() {
    let one = model(&whole());
    let changed = |change: fn(&mut Model)| {
        let mut model = one.clone();
        change(&mut model);
        assert_ne!(digest(&model), digest(&one));
        digest(&model)
    };
    let all = [
        changed(|m| m.wire.unzoned = Mode::Enforce),
        changed(|m| m.wire.ports.swap(0, 1)),
        changed(|m| m.gate.rings = 512),
        changed(|m| m.gate.queues = Some(1)),
        changed(|m| m.gate.queues = Some(2)),
        changed(|m| m.gate.symmetric_rss = false),
        changed(|m| m.networks[0].via.clear()),
        changed(|m| m.networks[0].vlans.push(Vlans { outer: 7, inner: Vlans::NONE })),
        changed(|m| m.workloads[0].service_account = Some("x".into())),
        changed(|m| m.workloads[0].valid_until = Some(Moment(1))),
        changed(|m| m.workloads[0].owner = Some("x".into())),
        changed(|m| _ = m.workloads[0].labels.insert("x".into(), "y".into())),
        changed(|m| m.groups[0].name = "x".into()),
        changed(|m| m.groups[0].addresses.truncate(1)),
        changed(|m| {
            let named = Match { groups: vec!["x".into()], ..Match::default() };
            m.rules[0].to = Selector::Match(named);
        }),
        changed(|m| m.zones[0].mode = Mode::Enforce),
        changed(|m| m.zones[0].data_class = Some("x".into())),
        changed(|m| m.rules[0].tier = Tier::Deny),
        changed(|m| m.rules[0].mode = None),
        changed(|m| m.rules[0].reply = Some(Reply::Reset)),
        changed(|m| m.rules[0].reply = Some(Reply::Unreachable)),
        changed(|m| m.gate.management = vec!["10.0.0.1".parse().unwrap()]),
        changed(|m| m.gate.link_local = Action::Forward),
        changed(|m| m.gate.cold_start_reset = 1),
        changed(|m| m.gate.inventory_limit = 1),
        changed(|m| m.gate.timeouts.icmp += 1),
        changed(|m| m.gate.limits.half_open += 1),
        changed(|m| m.rules[0].log = true),
        changed(|m| m.rules[0].both_ways = true),
        changed(|m| m.rules[0].justification = Some("x".into())),
        changed(|m| m.rules[0].ticket = Some("x".into())),
        changed(|m| m.rules[0].review_by = Some("x".into())),
        changed(|m| m.rules[0].mitigation = Some("x".into())),
        changed(|m| m.rules[0].owner = Some("x".into())),
        changed(|m| m.rules[0].id = "x".into()),
    ];
    let distinct: std::collections::BTreeSet<[u8; 32]> = all.into_iter().collect();
    assert_eq!(distinct.len(), all.len());
}
