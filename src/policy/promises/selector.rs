//! §3: whom a selector means.

use super::*;

/// Which of the outside addresses a deny `from` this selector matches.
fn denied(from: &str) -> Vec<&'static str> {
    let table = table(&rule("deny", "r", from, "{ app = \"printer\" }", r#"["any"]"#));
    let all = ["10.10.0.7", "10.10.0.9", "192.0.2.1"];
    let matched = |from: &&str| ask(from, "10.20.0.40", "tcp/1").denial(&table) == Some(Denial::Rule);
    all.into_iter().filter(matched).collect()
}

const PAY: &str = "10.10.0.7";
const DEV: &str = "10.10.0.9";
const STRANGER: &str = "192.0.2.1";

#[test]
fn keys_are_and_lists_are_any_of() {
    assert_eq!(denied("{ app = \"pay\" }"), [PAY]);
    assert_eq!(denied("{ app = [\"pay\", \"dev\"] }"), [PAY, DEV]);
    assert_eq!(denied("{ app = [\"pay\", \"dev\"], env = \"dev\" }"), [DEV]);
    assert_eq!(denied("{ app = \"pay\", env = \"dev\" }"), [""; 0]);
    assert_eq!(denied("{ name = [\"dev\", \"vault\"] }"), [DEV]);
}

#[test]
fn a_workload_without_the_key_does_not_match_under_not_either() {
    assert_eq!(denied("{ env = { not = \"prod\" } }"), [DEV]);
    assert_eq!(denied("{ env = { not = [\"prod\", \"dev\"] } }"), [""; 0]);
    assert_eq!(denied("{ tier = { not = \"ops\" } }"), [""; 0]);
}

#[test]
fn except_is_everything_else_unlabelled_and_unknown_included() {
    assert_eq!(denied("{ except = [{ env = \"prod\" }] }"), [DEV, STRANGER]);
    assert_eq!(denied("{ except = [{ env = \"prod\" }, { app = \"dev\" }] }"), [STRANGER]);
    assert_eq!(denied("{ except = [{ unknown = true }] }"), [PAY, DEV]);
}

#[test]
fn a_label_that_unknown_inherits_takes_it_out_of_no_except() {
    let mut model = model(&rule(
        "deny",
        "r",
        "{ except = [{ env = \"prod\" }] }",
        "{ app = \"printer\" }",
        r#"["any"]"#,
    ));
    let world = model.networks.iter_mut().find(|n| n.name == "world").unwrap();
    world.labels.insert("env".into(), "prod".into());
    let question = ask(STRANGER, "10.20.0.40", "tcp/1");
    assert_eq!(question.denial(&compile(&model, &Exceptions::NONE)), Some(Denial::Rule));
}

#[test]
fn any_is_every_claimed_workload() {
    assert_eq!(denied("{ any = true }"), [PAY, DEV]);
}

#[test]
fn unknown_is_a_key_like_any_other() {
    assert_eq!(denied("{ unknown = true }"), [STRANGER]);
    assert_eq!(denied("{ network = \"world\", unknown = true }"), [STRANGER]);
    assert_eq!(denied("{ network = \"world\" }"), [PAY, DEV, STRANGER]);
    assert_eq!(denied("{ network = \"servers\", unknown = true }"), [""; 0]);
}

#[test]
fn a_network_means_the_networks_within_it_on_its_side() {
    let table = table(&format!(
        "[network.lan]\nat = \"w.outside\"\nprefixes = [\"10.10.0.0/24\"]\n{}",
        rule("deny", "r", "{ network = \"world\" }", "{ network = \"servers\" }", r#"["any"]"#)
    ));
    assert_eq!(ask(PAY, "10.20.0.40", "tcp/1").denial(&table), Some(Denial::Rule));
    assert_eq!(ask("10.20.0.40", PAY, "tcp/1").denial(&table), Some(Denial::NoRule));
}

/// Which pairs of outside and inside workloads a rule of this `to` matches: `pay→vault`.
fn pairs(tier: &str, to: &str, change: impl Fn(&mut Model)) -> Vec<String> {
    let mut model = model(&rule(tier, "r", "{ network = \"world\" }", to, r#"["tcp/9"]"#));
    // The printer has no env; a test host has another tier and env than all others.
    change(&mut model);
    let table = compile(&model, &Exceptions::NONE);
    let ends = [("pay", PAY), ("dev", DEV), ("stranger", STRANGER)];
    let inside = [("vault", "10.20.0.10"), ("jump", "10.20.0.30"), ("printer", "10.20.0.40")];
    let all = ends.iter().flat_map(|from| inside.iter().map(move |to| (from, to)));
    let matched = all.filter(|((_, from), (_, to))| {
        let denial = ask(from, to, "tcp/9").denial(&table);
        if tier == "allow" { denial.is_none() } else { denial == Some(Denial::Rule) }
    });
    matched.map(|((from, _), (to, _))| format!("{from}→{to}")).collect()
}

#[test]
fn same_is_both_ends_carry_it_and_agree() {
    for tier in ["allow", "deny"] {
        assert_eq!(pairs(tier, "{ same = \"env\" }", |_| {}), ["pay→vault", "pay→jump"], "{tier}");
        assert_eq!(pairs(tier, "{ app = \"vault\", same = \"env\" }", |_| {}), ["pay→vault"], "{tier}");
        // Of a list all of them.
        assert_eq!(pairs(tier, "{ same = [\"env\", \"tier\"] }", |_| {}), [""; 0], "{tier}");
        let tiered = |model: &mut Model| {
            for name in ["pay", "dev"] {
                let workload = model.workloads.iter_mut().find(|w| w.name == name).unwrap();
                workload.labels.insert("tier".into(), "ops".into());
            }
        };
        assert_eq!(pairs(tier, "{ same = [\"env\", \"tier\"] }", tiered), ["pay→jump"], "{tier}");
    }
}

#[test]
fn differs_is_all_that_same_is_not_unlabelled_and_unknown_included() {
    let every = |not: &[&str]| {
        let ends = ["pay", "dev", "stranger"].into_iter();
        let all = ends.flat_map(|from| ["vault", "jump", "printer"].map(|to| format!("{from}→{to}")));
        all.filter(|pair| !not.contains(&pair.as_str())).collect::<Vec<_>>()
    };
    assert_eq!(pairs("deny", "{ differs = \"env\" }", |_| {}), every(&["pay→vault", "pay→jump"]));
    assert_eq!(pairs("deny", "{ differs = [\"env\", \"tier\"] }", |_| {}), every(&[]));
    assert_eq!(
        pairs("deny", "{ app = \"vault\", differs = \"env\" }", |_| {}),
        ["dev→vault", "stranger→vault"]
    );
}

#[test]
fn a_label_that_unknown_inherits_or_that_has_lapsed_takes_no_pair_out_of_differs() {
    let differs = "{ app = \"vault\", differs = \"env\" }";
    let inherited = |model: &mut Model| {
        let world = model.networks.iter_mut().find(|n| n.name == "world").unwrap();
        world.labels.insert("env".into(), "prod".into());
    };
    assert_eq!(pairs("deny", differs, inherited), ["dev→vault", "stranger→vault"]);
    let same = "{ app = \"vault\", same = \"env\" }";
    assert_eq!(
        pairs("deny", same, inherited),
        ["pay→vault", "stranger→vault"],
        "it restricts all the same"
    );
    for name in ["pay", "vault"] {
        let lapsed = |model: &mut Model| {
            let workload = model.workloads.iter_mut().find(|w| w.name == name).unwrap();
            workload.valid_until = Some(Moment(0));
        };
        assert_eq!(pairs("deny", differs, lapsed), ["pay→vault", "dev→vault", "stranger→vault"], "{name}");
        assert_eq!(pairs("deny", same, lapsed), ["pay→vault"], "{name}");
        assert_eq!(pairs("allow", same, lapsed), [""; 0], "{name}");
    }
}

#[test]
fn same_holds_in_both_directions_of_a_rule_that_says_so() {
    let allow = "[allow.a]\nfrom = { app = \"pay\" }\nto = { app = \"vault\", same = \"env\" }\n\
                 services = [\"ip/50\"]\nboth_ways = true\n";
    let table = table(allow);
    assert_eq!(ask("10.20.0.10", PAY, "ip/50").denial(&table), None);
    assert_eq!(ask(PAY, "10.20.0.10", "ip/50").denial(&table), None);
    assert_eq!(ask("10.20.0.10", DEV, "ip/50").denial(&table), Some(Denial::NoRule));
}
