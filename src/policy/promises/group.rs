//! §1, §2: multicast and broadcast groups.

use super::*;

const GROUPS: &str = "[group.vrrp]\naddresses = [\"224.0.0.18\", \"ff02::12\"]\n\
    [group.media]\naddresses = [\"239.0.0.0/8\"]\n[group.news]\naddresses = [\"239.1.1.1\"]\n\
    [group.all]\naddresses = [\"255.255.255.255\", \"10.20.255.255\"]\n";

fn grouped(cards: &str, ops: &str, rules: &str) -> Table {
    table(&format!("{GROUPS}{}{rules}", zones(cards, ops)))
}

#[test]
fn a_multicast_or_broadcast_destination_is_the_group_that_lists_it() {
    let to = |group: &str| {
        allow(group, "{ app = \"pay\" }", &format!("{{ group = {group:?} }}"), "[\"udp/5000\"]")
    };
    let table = grouped("simulate", "simulate", &["vrrp", "media", "news", "all"].map(to).concat());
    for (address, rule) in [
        ("224.0.0.18", "allow.vrrp"),
        ("239.1.1.2", "allow.media"),
        ("239.1.1.1", "allow.news"),
        ("255.255.255.255", "allow.all"),
        ("10.20.255.255", "allow.all"),
    ] {
        let asked = ask("10.10.0.7", address, "udp/5000").of(&table);
        assert_eq!(asked, (None, Mode::Simulate, vec![rule.to_owned()]), "{address}");
    }
    let six = ask("2001:db8:10::7", "ff02::12", "udp/5000").of(&table);
    assert_eq!(six, (None, Mode::Simulate, vec!["allow.vrrp".to_owned()]));
    // In no group, on another service, from another sender.
    for (from, to, service) in [
        ("10.10.0.7", "224.0.0.19", "udp/5000"),
        ("10.10.0.7", "224.0.0.18", "udp/5001"),
        ("10.10.0.9", "224.0.0.18", "udp/5000"),
        ("10.10.0.7", "10.20.255.254", "udp/5000"),
    ] {
        assert_eq!(ask(from, to, service).denial(&table), Some(Denial::NoRule), "{from} {to} {service}");
    }
    assert!(
        table.is_group("10.20.255.255".parse().unwrap()) && !table.is_group("10.10.0.7".parse().unwrap())
    );
}

#[test]
fn a_group_has_no_side_no_vlan_and_sends_nothing() {
    let rules = allow("a", "{ app = \"vault\" }", "{ group = \"all\" }", "[\"udp/5000\"]");
    let table = grouped("enforce", "observe", &rules);
    // The broadcast address of its own network, which is on its own side.
    assert_eq!(ask("10.20.0.10", "10.20.255.255", "udp/5000").denial(&table), None);
    assert_eq!(
        ask("10.20.0.10", "10.20.255.255", "udp/5000").vlan(7).denial(&table),
        Some(Denial::Spoofed)
    );
    let source: IpAddr = "10.20.255.255".parse().unwrap();
    for side in Side::BOTH {
        assert_eq!(
            ask("10.20.255.255", "10.10.0.7", "udp/5000").at(side).denial(&table),
            Some(Denial::Spoofed)
        );
    }
    assert_eq!((table.network_side(source), table.binding(source)), (None, None));
}

#[test]
fn a_group_touches_the_senders_zones_and_every_zone_with_members_on_the_far_side() {
    let rules = [
        allow("in", "{ app = \"pay\" }", "{ group = \"vrrp\" }", "[\"ip/112\"]"),
        allow("out", "{ app = \"jump\" }", "{ group = \"vrrp\" }", "[\"ip/112\"]"),
    ]
    .concat();
    let mode = |cards, ops, from| ask(from, "224.0.0.18", "ip/112").mode(&grouped(cards, ops, &rules));
    assert_eq!(mode("enforce", "observe", "10.10.0.7"), Mode::Enforce);
    assert_eq!(mode("observe", "simulate", "10.10.0.7"), Mode::Simulate);
    // Outside there is no zone: the sender's own governs.
    assert_eq!(mode("enforce", "observe", "10.20.0.30"), Mode::Observe);
    assert_eq!(mode("observe", "enforce", "10.20.0.30"), Mode::Enforce);
}

#[test]
fn what_names_a_zone_restricts_groups_that_touch_it_and_allows_nothing() {
    let allowed = allow("a", "{ app = \"pay\" }", "{ group = \"vrrp\" }", "[\"udp/5000\"]");
    let question = ask("10.10.0.7", "224.0.0.18", "udp/5000");
    let with = |more: String| grouped("simulate", "simulate", &more);
    assert_eq!(question.denial(&with(allowed.clone())), None);
    for to in [
        "{ zone = \"cards\" }",
        "{ except = [{ group = \"media\" }] }",
        "{ group = [\"vrrp\", \"media\"] }",
    ] {
        let deny = rule("deny", "d", "{ app = \"pay\" }", to, "[\"any\"]");
        assert_eq!(question.denial(&with(format!("{allowed}{deny}"))), Some(Denial::Rule), "{to}");
    }
    for to in [
        "{ any = true }",
        "{ unknown = true }",
        "{ group = \"media\" }",
        "{ except = [{ group = \"vrrp\" }] }",
    ] {
        let deny = rule("deny", "d", "{ app = \"pay\" }", to, "[\"any\"]");
        assert_eq!(question.denial(&with(format!("{allowed}{deny}"))), None, "{to}");
    }
    for to in ["{ zone = \"cards\" }", "{ any = true }"] {
        let other = allow("b", "{ app = \"pay\" }", to, "[\"udp/5000\"]");
        assert_eq!(question.denial(&with(other)), Some(Denial::NoRule), "{to}");
    }
}
