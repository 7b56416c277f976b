//! §4, §5: which rule decides.

use super::*;
use crate::policy::model::{Atom, Reply, ServiceSet};

const PAY: &str = "{ app = \"pay\" }";
const PRINTER: &str = "{ app = \"printer\" }";
const ANY: &str = r#"["any"]"#;

fn question() -> Ask {
    ask("10.10.0.7", "10.20.0.40", "tcp/443")
}

#[test]
fn guardrail_over_deny_over_allow_over_default() {
    let tiers = ["allow", "deny", "guardrail"].map(|tier| rule(tier, "r", PAY, PRINTER, ANY));
    let [allow, deny, guardrail] = &tiers;
    let of =
        |rules: &[&String]| question().of(&table(&rules.iter().map(|r| r.as_str()).collect::<String>()));
    let ids = |ids: &[&str]| ids.iter().map(|id| format!("{id}.r")).collect::<Vec<_>>();
    assert_eq!(of(&[]), (Some(Denial::NoRule), Mode::Observe, Vec::new()));
    assert_eq!(of(&[allow]), (None, Mode::Observe, ids(&["allow"])));
    assert_eq!(of(&[allow, deny]), (Some(Denial::Rule), Mode::Observe, ids(&["deny", "allow"])));
    assert_eq!(
        of(&[allow, deny, guardrail]),
        (Some(Denial::Guardrail), Mode::Observe, ids(&["guardrail", "deny", "allow"]))
    );
}

#[test]
fn the_most_specific_rule_says_whether_its_connections_are_logged() {
    let wide = format!(
        "{}log = {{LOG}}\n",
        allow("wide", "{ any = true }", "{ app = \"vault\" }", r#"["tcp/1-65535"]"#)
    );
    let narrow = allow("narrow", "{ app = \"pay\" }", "{ app = \"vault\" }", r#"["tcp/443"]"#);
    for (wide_logs, narrow_logs) in [(true, false), (false, true)] {
        let text =
            format!("{}{narrow}log = {narrow_logs}\n", wide.replace("{LOG}", &wide_logs.to_string()));
        let table = table(&text);
        let question = ask("10.10.0.7", "10.20.0.10", "tcp/443");
        let verdict = table.judge(question.sender, question.to, question.service, Side::Outside, Moment(1));
        let face = table.rule(verdict.rule).unwrap();
        assert_eq!((face.id.as_str(), face.log), ("allow.narrow", narrow_logs));
    }
}

#[test]
fn a_review_that_is_overdue_changes_no_verdict() {
    let rule = allow("a", "{ app = \"pay\" }", "{ app = \"vault\" }", r#"["https"]"#);
    for review in ["", "review_by = 1970-01-01\n", "review_by = 2999-01-01\n"] {
        let table = table(&format!("{rule}{review}"));
        let question = ask("10.10.0.7", "10.20.0.10", "tcp/443");
        for now in [Moment(0), Moment(u64::MAX - 1)] {
            let verdict = table.judge(question.sender, question.to, question.service, Side::Outside, now);
            assert_eq!((verdict.denial, verdict.judge_at), (None, Moment::NEVER), "{review}");
        }
    }
}

#[test]
fn the_most_specific_rule_gives_its_reply() {
    let said = |tier: &str, id: &str, services: &str, reply: &str| {
        format!("{}reply = \"{reply}\"\n", rule(tier, id, PAY, PRINTER, services))
    };
    let silent = rule("deny", "silent", PAY, PRINTER, r#"["tcp/443", "tcp/444"]"#);
    let wide = said("deny", "wide", ANY, "unreachable");
    let reply = |rules: &[&str]| {
        let table = table(&rules.concat());
        let verdict =
            table.judge(question().sender, question().to, question().service, Side::Outside, Moment(1));
        table.rule(verdict.rule).unwrap().reply
    };
    assert_eq!(reply(&[&wide]), Some(Reply::Unreachable));
    assert_eq!(reply(&[&wide, &said("deny", "one", r#"["https"]"#, "reset")]), Some(Reply::Reset));
    // The most specific says nothing: nothing goes back.
    assert_eq!(reply(&[&wide, &silent]), None);
    // A stronger tier has its own.
    let strong = said("guardrail", "strong", r#"["tcp/1-65535"]"#, "reset");
    assert_eq!(reply(&[&wide, &silent, &strong]), Some(Reply::Reset));
}

#[test]
fn rules_are_consulted_zone_or_no_zone() {
    let table = table(&rule("deny", "r", PAY, PRINTER, ANY));
    assert_eq!(question().of(&table), (Some(Denial::Rule), Mode::Observe, vec!["deny.r".into()]));
}

#[test]
fn inside_a_tier_the_smallest_product_of_workloads_and_width_decides() {
    // From: 1, 2 or 5 workloads; services: 1, 2 or 65 536 wide.
    let two = "{ env = [\"prod\", \"dev\"], app = [\"pay\", \"dev\"] }";
    let rules = [
        rule("deny", "a-any", PAY, PRINTER, ANY),
        rule("deny", "b-two", two, PRINTER, r#"["https"]"#),
        rule("deny", "c-web", PAY, PRINTER, r#"["web"]"#),
        rule("deny", "d-one", PAY, PRINTER, r#"["https"]"#),
        rule("deny", "e-all", "{ any = true }", "{ any = true }", r#"["https"]"#),
        rule("deny", "f-all", "{ any = true }", "{ any = true }", ANY),
    ];
    let (denial, _, ids) = question().of(&table(&rules.concat()));
    assert_eq!(denial, Some(Denial::Rule));
    // b and c tie at two: the id decides. The sixth has no place.
    assert_eq!(ids, ["deny.d-one", "deny.b-two", "deny.c-web", "deny.e-all", "deny.a-any"]);
}

/// Unknown and a group are no workloads: each counts as one, or whatever names them would be most specific.
#[test]
fn who_matches_without_a_workload_counts_as_one() {
    let unknown = "{ unknown = true }";
    let ids = |question: Ask, rules: &[String]| question.of(&table(&rules.concat())).2;
    let rules = [
        rule("deny", "a-any", unknown, PRINTER, ANY),
        rule("deny", "b-web", unknown, PRINTER, r#"["web"]"#),
        rule("deny", "c-all", unknown, "{ any = true }", r#"["https"]"#),
        rule("deny", "d-one", unknown, PRINTER, r#"["https"]"#),
    ];
    assert_eq!(
        ids(ask("192.0.2.7", "10.20.0.40", "tcp/443"), &rules),
        ["deny.d-one", "deny.b-web", "deny.c-all", "deny.a-any"]
    );
    let group = "[group.g]\naddresses = [\"224.0.0.18\"]\n";
    let to = "{ group = \"g\" }";
    let rules = [
        group.to_owned(),
        rule("deny", "a-all", "{ any = true }", to, r#"["tcp/443"]"#),
        rule("deny", "b-any", PAY, to, ANY),
        rule("deny", "c-one", PAY, to, r#"["tcp/443"]"#),
    ];
    assert_eq!(
        ids(ask("10.10.0.7", "224.0.0.18", "tcp/443"), &rules),
        ["deny.c-one", "deny.a-all", "deny.b-any"]
    );
}

#[test]
fn width_is_one_a_port_or_icmp_type_and_all_of_it_for_a_whole_protocol_or_any() {
    let of = |services: &str| {
        let model = model(&rule("deny", "r", PAY, PRINTER, services));
        model.rules[0].services.width()
    };
    assert_eq!(of(r#"["tcp/443"]"#), 1);
    assert_eq!(of(r#"["tcp/9000-9010"]"#), 11);
    assert_eq!(of(r#"["tcp/443", "udp/443"]"#), 2);
    assert_eq!(of(r#"["tcp/443", "web", "tcp/440-445"]"#), 7);
    assert_eq!(of(r#"["icmp/8"]"#), 1);
    assert_eq!(of(r#"["icmp/3.4"]"#), 1);
    assert_eq!(of(r#"["icmp/8", "icmpv6/128"]"#), 2);
    assert_eq!(of(r#"["ip/50"]"#), 65_536);
    assert_eq!(of(r#"["ip/50", "ip/51"]"#), 65_536);
    assert_eq!(of(ANY), 65_536);
    let whole = Atom { protocol: 6, to: (0, 65_535), from: (0, 65_535) };
    assert_eq!(ServiceSet { written: Vec::new(), any: false, atoms: vec![whole] }.width(), 65_536);
}

#[test]
fn a_service_is_protocol_port_and_source_port() {
    let table = table(&rule("deny", "r", PAY, PRINTER, r#"["udp/67 from 68", "icmp/8", "tcp/9000-9010"]"#));
    let denied = |service: &str| ask("10.10.0.7", "10.20.0.40", service).denial(&table);
    for (service, matches) in [
        ("tcp/8999", false),
        ("tcp/9000", true),
        ("tcp/9010", true),
        ("tcp/9011", false),
        ("udp/9000", false),
        ("icmp/8", true),
        ("icmp/0", false),
        ("udp/67", false),
    ] {
        assert_eq!(denied(service) == Some(Denial::Rule), matches, "{service}");
    }
    let mut from = ask("10.10.0.7", "10.20.0.40", "udp/67");
    from.service.sport = 68;
    assert_eq!(from.denial(&table), Some(Denial::Rule));
}

#[test]
fn both_ways_holds_in_both_directions_and_nothing_else_does() {
    let tunnel = allow("tunnel", PAY, PRINTER, r#"["ip/50"]"#);
    let one =
        "[allow.plain]\nfrom = { app = \"dev\" }\nto = { app = \"printer\" }\nservices = [\"tcp/9\"]\n";
    let table = table(&format!("{tunnel}both_ways = true\n{one}"));
    let to = |from, to, service| ask(from, to, service).denial(&table);
    assert_eq!(to("10.10.0.7", "10.20.0.40", "ip/50"), None);
    assert_eq!(to("10.20.0.40", "10.10.0.7", "ip/50"), None);
    assert_eq!(to("10.10.0.9", "10.20.0.40", "tcp/9"), None);
    assert_eq!(to("10.20.0.40", "10.10.0.9", "tcp/9"), Some(Denial::NoRule));
}

#[test]
fn one_way_round_that_matches_is_enough_where_the_other_only_would() {
    let tunnel = allow(
        "t",
        "{ env = \"prod\" }",
        r#"{ service_account = ["pay-prod", "vault-prod"] }"#,
        r#"["ip/50"]"#,
    );
    let table = table(&format!("{tunnel}both_ways = true\n"));
    let strange = ask("10.10.0.7", "10.20.0.10", "ip/50").mac("02:00:00:99:99:99");
    assert_eq!(strange.of(&table), (None, Mode::Observe, vec!["allow.t".into()]));
}

#[test]
fn unreadable_ports_match_a_deny_that_touches_the_protocol_and_an_allow_that_covers_it() {
    let of = |tier: &str, services: &str, protocol: &str| {
        let table = table(&rule(tier, "r", PAY, PRINTER, services));
        ask("10.10.0.7", "10.20.0.40", protocol).unreadable().denial(&table)
    };
    assert_eq!(of("deny", r#"["tcp/443"]"#, "tcp/0"), Some(Denial::Rule));
    assert_eq!(of("deny", r#"["tcp/443"]"#, "udp/0"), Some(Denial::NoRule));
    assert_eq!(of("guardrail", r#"["udp/67 from 68"]"#, "udp/0"), Some(Denial::Guardrail));
    assert_eq!(of("allow", r#"["tcp/443"]"#, "tcp/0"), Some(Denial::NoRule));
    assert_eq!(of("allow", r#"["tcp/1-65535"]"#, "tcp/0"), Some(Denial::NoRule));
    assert_eq!(of("allow", ANY, "tcp/0"), None);
    assert_eq!(of("allow", r#"["ip/6"]"#, "tcp/0"), None);
}
