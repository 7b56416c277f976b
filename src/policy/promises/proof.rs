//! §9: policy tests.

use super::*;
use crate::policy::proof::{Counterexample, Proof, proofs};
use crate::wire::protocol::TCP;

fn test(from: &str, to: &str, services: &str, expect: &str) -> String {
    format!("[test.t]\nfrom = {from}\nto = {to}\nservices = {services}\nexpect = {expect:?}\n")
}

fn proven(model: &Model) -> Proof {
    proofs(model, &compile(model, &Exceptions::NONE))[0]
}

/// What comes of the one test of a policy.
fn proof(more: &str) -> Proof {
    proven(&model(more))
}

fn example(more: &str) -> Counterexample {
    match proof(more) {
        Proof::Fails(example) => example,
        Proof::Holds | Proof::Empty => panic!("it does not fail"),
    }
}

const VAULT: &str = "{ app = \"vault\" }";
const ANY: &str = "[\"any\"]";

fn pay_to_vault() -> String {
    allow("a", "{ app = \"pay\" }", VAULT, r#"["https"]"#)
}

#[test]
fn a_test_holds_for_every_pair_or_names_one() {
    let to_vault = |from: &str, expect| test(from, VAULT, ANY, expect);
    let rules = format!("{}{}", zones("enforce", "enforce"), pay_to_vault());
    assert_eq!(proof(&(rules.clone() + &to_vault("{ app = \"dev\" }", "deny"))), Proof::Holds);
    let example = example(&(rules.clone() + &to_vault("{ app = [\"dev\", \"pay\"] }", "deny")));
    let [from, to] = ["10.10.0.7", "10.20.0.10"].map(|a| a.parse().unwrap());
    let service = Service { protocol: TCP, sport: 49_152, dport: 443, readable: true };
    let rule = RuleNumber(0);
    assert_eq!(example, Counterexample { from, to, service, denial: None, rule });
    // The other way round: every one of them may, or one that may not is named.
    let https = |from: &str| test(from, VAULT, r#"["https"]"#, "allow");
    assert_eq!(proof(&(rules.clone() + &https("{ app = \"pay\" }"))), Proof::Holds);
    let Proof::Fails(other) = proof(&(rules + &https("{ app = [\"dev\", \"pay\"] }"))) else {
        panic!("fails")
    };
    assert_eq!((other.from, other.denial), ("10.10.0.9".parse().unwrap(), Some(Denial::NoRule)));
}

#[test]
fn a_test_holds_for_every_port_or_names_one() {
    let rules = allow("a", "{ app = \"pay\" }", VAULT, r#"["tcp/8443", "udp/53 from 1000"]"#);
    let on = |services: &str, expect| rules.clone() + &test("{ app = \"pay\" }", VAULT, services, expect);
    assert_eq!(proof(&on(r#"["tcp/1-8442", "tcp/8444-65535", "udp/1-52"]"#, "deny")), Proof::Holds);
    let port = |text: &str| {
        let service = example(text).service;
        (service.protocol, service.sport, service.dport)
    };
    assert_eq!(port(&on(r#"["tcp/1-65535"]"#, "deny")), (6, 49_152, 8_443));
    assert_eq!(port(&on(r#"["udp/1-65535"]"#, "deny")), (17, 1_000, 53));
    assert_eq!(port(&on(ANY, "deny")), (6, 49_152, 8_443));
    assert_eq!(port(&on(r#"["tcp/8442-8444"]"#, "allow")), (6, 49_152, 8_442));
    assert_eq!(port(&on(r#"["udp/53"]"#, "allow")), (17, 1, 53), "from any other port");
    assert_eq!(proof(&on(r#"["udp/53 from 1000"]"#, "allow")), Proof::Holds);
    let all = allow("b", "{ app = \"dev\" }", "{ app = \"printer\" }", ANY);
    let printer = |expect| all.clone() + &test("{ app = \"dev\" }", "{ app = \"printer\" }", ANY, expect);
    let service = example(&printer("deny")).service;
    assert_eq!((service.protocol, service.dport), (6, 1));
    assert_eq!(proof(&printer("allow")), Proof::Holds);
    let esp = allow("c", "{ app = \"dev\" }", VAULT, r#"["ip/50"]"#)
        .replace("services", "both_ways = true\nservices");
    let protocol = |services: &str| {
        example(&(esp.clone() + &test("{ app = \"dev\" }", VAULT, services, "deny"))).service.protocol
    };
    assert_eq!([protocol(ANY), protocol(r#"["ip/50", "tcp/1"]"#)], [50, 50]);
}

#[test]
fn a_test_is_judged_as_under_enforce_with_every_lease_fresh_and_every_account_held() {
    let denied = test("{ app = \"dev\" }", VAULT, ANY, "deny");
    assert_eq!(proof(&format!("{}{denied}", zones("observe", "observe"))), Proof::Holds);
    let held = allow("a", "{ service_account = \"pay-prod\" }", VAULT, r#"["https"]"#);
    let allowed = test("{ app = \"pay\" }", VAULT, r#"["https"]"#, "allow");
    let mut model = model(&format!("{held}{allowed}"));
    assert_eq!(proven(&model), Proof::Holds);
    let of = |model: &mut Model, change: fn(&mut crate::policy::model::Workload)| {
        change(model.workloads.iter_mut().find(|w| w.name == "pay").unwrap());
    };
    of(&mut model, |pay| pay.valid_until = Some(Moment(0)));
    assert_eq!(proven(&model), Proof::Holds, "long lapsed");
    // What no claim can hold is not held.
    of(&mut model, |pay| pay.addresses = vec![sample::prefix("10.10.0.6/31")]);
    let Proof::Fails(example) = proven(&model) else { panic!("fails") };
    assert_eq!(example.denial, Some(Denial::AccountNotHeld));
}

#[test]
fn a_test_that_no_pair_matches_is_empty() {
    let empty = |from: &str, to: &str, services: &str| {
        let found = ["allow", "deny"].map(|expect| proof(&test(from, to, services, expect)));
        assert_eq!(found[0], found[1], "{from} {to} {services}");
        found[0] == Proof::Empty
    };
    assert!(empty("{ app = \"nobody\" }", VAULT, ANY));
    assert!(empty(VAULT, "{ app = \"jump\" }", ANY), "both ends inside: this gate never sees it");
    assert!(empty("{ name = \"dev\" }", VAULT, r#"["icmpv6/128"]"#), "IPv4 only");
    let (deny, some) = (test("{ app = \"pay\" }", VAULT, r#"["icmpv6/128"]"#, "deny"), Proof::Holds);
    assert_eq!(proof(&deny), some);
}

#[test]
fn a_test_means_whom_a_rule_of_its_words_would_mean() {
    // Unknown is a member of the zone for a deny, and of none for an allow.
    let zone = zones("enforce", "enforce");
    let everyone = allow("a", "{ any = true }", "{ any = true }", r#"["https"]"#);
    let to = |expect| {
        format!(
            "{zone}{everyone}{}",
            test("{ app = \"pay\" }", "{ zone = \"cards\" }", r#"["https"]"#, expect)
        )
    };
    assert_eq!(proof(&to("allow")), Proof::Holds);
    let strangers = allow("a", "{ unknown = true }", "{ app = \"printer\" }", r#"["https"]"#);
    let from = |who: &str| strangers.clone() + &test(who, "{ app = \"printer\" }", ANY, "deny");
    let world = example(&from("{ except = [{ app = \"pay\" }] }"));
    assert_eq!(table(&strangers).locate(world.from).workload, None);
    assert_eq!(proof(&from("{ any = true }")), Proof::Holds);
}

#[test]
fn a_test_sees_what_reaches_a_zone_through_a_group() {
    let group = "[group.vrrp]\naddresses = [\"224.0.0.18\"]\n";
    let rules = allow("a", "{ app = \"pay\" }", "{ group = \"vrrp\" }", r#"["ip/112"]"#);
    let to = |to: &str, from: &str| {
        format!("{group}{}{rules}{}", zones("enforce", "enforce"), test(from, to, ANY, "deny"))
    };
    for zone in ["{ zone = \"cards\" }", "{ group = \"vrrp\" }"] {
        let example = example(&to(zone, "{ app = \"pay\" }"));
        assert_eq!(example.to, "224.0.0.18".parse::<IpAddr>().unwrap(), "{zone}");
        assert_eq!(proof(&to(zone, "{ app = \"dev\" }")), Proof::Holds);
    }
}

#[test]
fn a_test_knows_which_networks_no_frame_gets_between() {
    let net = "[network.lab]\nat = \"w.inside\"\nprefixes = [\"10.30.0.0/16\"]\nvlans = [\"100\"]\n\
               [workload.rig]\naddresses = [\"10.30.0.1\"]\nlabels = { app = \"rig\" }\n";
    let open = allow("a", "{ any = true }", "{ app = \"rig\" }", ANY);
    let to = |expect| {
        format!("{net}{open}{}", test("{ app = \"dev\" }", "{ app = \"rig\" }", r#"["tcp/22"]"#, expect))
    };
    assert_eq!(proof(&to("deny")), Proof::Holds);
    let example = example(&to("allow"));
    assert_eq!((example.denial, example.service.dport), (Some(Denial::WrongVlan), 22));
}

#[test]
fn a_group_is_told_from_hosts_that_no_frame_gets_to() {
    let net = "[network.lab]\nat = \"w.inside\"\nprefixes = [\"10.30.0.0/16\"]\nvlans = [\"100\"]\n\
               [workload.rig]\naddresses = [\"10.30.0.1\"]\nlabels = { app = \"rig\" }\n";
    let strangers = "{ unknown = true }";
    let open = allow("a", "{ app = \"rig\" }", strangers, r#"["tcp/22"]"#);
    let example = example(&format!("{net}{open}{}", test("{ app = \"rig\" }", strangers, ANY, "deny")));
    assert!(crate::policy::table::is_group(example.to), "{example:?}: no other has a VLAN in common");
}

#[test]
fn a_test_may_be_of_pairs_that_agree_or_differ() {
    let rules = allow("a", "{ any = true }", "{ any = true }", r#"["https"]"#);
    let on =
        |to: &str, expect| proof(&(rules.clone() + &test("{ any = true }", to, r#"["https"]"#, expect)));
    assert_eq!(on("{ same = \"env\" }", "allow"), Proof::Holds);
    let Proof::Fails(example) = on("{ differs = \"env\" }", "deny") else { panic!("fails") };
    assert_eq!(example.denial, None);
    let guard = rule("deny", "g", "{ any = true }", "{ differs = \"env\" }", ANY);
    let with = |to: &str, expect| {
        proof(&format!("{rules}{guard}{}", test("{ any = true }", to, r#"["https"]"#, expect)))
    };
    assert_eq!(with("{ differs = \"env\" }", "deny"), Proof::Holds);
    assert_eq!(with("{ same = \"env\" }", "allow"), Proof::Holds);
}
