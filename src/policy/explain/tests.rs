//! `explain` as people see it.

use super::{NotExplained, Query, explain};
use crate::policy::exception::{Exception, Party};
use crate::policy::model::{Atom, ServiceSet};
use crate::policy::sample::{self, BIG};
use crate::policy::{Exceptions, Moment, compile};
use crate::wire::Side;

fn query(from: &str, to: &str, service: &str) -> Query {
    Query {
        from: from.into(),
        to: to.into(),
        service: service.into(),
        mac: None,
        vlans: None,
        side: None,
        generation: Some(12),
        now: Moment(1),
    }
}

fn ask(query: &Query) -> Result<String, NotExplained> {
    ask_of(BIG, query)
}

fn ask_of(policy: &str, query: &Query) -> Result<String, NotExplained> {
    let loaded = sample::load(policy);
    let table = compile(&loaded.model, &Exceptions::NONE);
    explain(&loaded, &table, query).map(|e| format!("\n{}", e.text(100)))
}

fn shown(query: &Query) -> String {
    ask(query).unwrap_or_else(|why| panic!("{why}"))
}

#[test]
fn an_allow_names_its_rule_both_ends_zones_and_guardrails() {
    insta::assert_snapshot!(shown(&query("payments-7", "vault-1", "https")));
}

#[test]
fn a_default_deny_names_the_nearest_allow_and_what_would_be_needed() {
    insta::assert_snapshot!(shown(&query("reports-3", "carddb-1", "postgres")));
}

#[test]
fn a_guardrail_names_itself_and_its_mode() {
    insta::assert_snapshot!(shown(&query("laptop", "vault-1", "tcp/22")));
}

#[test]
fn the_same_is_drawn_as_a_tree() {
    let drawn = |query: &Query| {
        let loaded = sample::load(BIG);
        format!(
            "\n{}",
            explain(&loaded, &compile(&loaded.model, &Exceptions::NONE), query).unwrap().tree(100)
        )
    };
    let all = [
        query("payments-7", "vault-1", "https"),
        query("reports-3", "carddb-1", "postgres"),
        query("laptop", "vault-1", "tcp/22"),
        query("2001:db8:10::7", "vault-1", "icmpv6/neighbor-solicitation"),
        query("acquirer", "224.0.0.18", "ip/112"),
    ];
    let trees: String = all.iter().map(drawn).collect();
    assert!(trees.lines().all(|line| line.chars().count() <= 100), "{trees}");
    insta::assert_snapshot!(trees);
}

#[test]
fn an_account_that_is_not_held_says_why() {
    let mac = Some("02:00:00:00:00:99".parse().unwrap());
    insta::assert_snapshot!(shown(&Query {
        mac,
        generation: None,
        ..query("payments-7", "vault-1", "https")
    }));
}

#[test]
fn a_lapsed_binding_says_so() {
    let head = "[workload.payments-7]\n";
    assert!(BIG.contains(head));
    let leased = BIG.replace(head, &format!("{head}valid_until = 1970-01-02T00:00:00Z\n"));
    let day = 86_400_000_000_000;
    let asked =
        |now| ask_of(&leased, &Query { now: Moment(now), ..query("payments-7", "vault-1", "https") });
    let fresh = asked(day - 1).unwrap();
    assert!(fresh.starts_with("\nALLOW"), "{fresh}");
    assert!(fresh.contains("valid until 1970-01-02T00:00:00Z"), "{fresh}");
    insta::assert_snapshot!(asked(day).unwrap());
}

/// The sample with an exception from the reports to the card database, between two moments.
fn excepted(accounts: &[&str], query: &Query) -> String {
    let loaded = sample::load(BIG);
    let party = |name: &str| Party { workloads: vec![name.into()], accounts: Vec::new() };
    let named =
        Party { accounts: accounts.iter().map(|name| (*name).to_owned()).collect(), ..party("reports-3") };
    let services = ServiceSet { written: vec!["postgres".into()], any: false, atoms: vec![POSTGRES] };
    let hour = 3_600_000_000_000;
    let time = (Moment(hour), Moment(7 * hour));
    let exception = Exception {
        owner: Some("treasury".into()),
        ..sample::exception("EXC-0042", named, party("carddb-1"), services, time, false)
    };
    let table = compile(&loaded.model, &Exceptions::new(vec![exception]).unwrap());
    explain(&loaded, &table, query).map(|e| format!("\n{}", e.text(100))).unwrap()
}

const POSTGRES: Atom = Atom { protocol: 6, to: (5432, 5432), from: (0, u16::MAX) };

#[test]
fn an_exception_names_itself_and_its_end() {
    let now = Moment(3_600_000_000_000);
    insta::assert_snapshot!(excepted(&[], &Query { now, ..query("reports-3", "carddb-1", "postgres") }));
}

#[test]
fn an_exception_that_does_not_count_says_why() {
    let row = |accounts: &[&str], now| {
        let asked = Query { now: Moment(now), ..query("reports-3", "carddb-1", "postgres") };
        let text = excepted(accounts, &asked);
        let row = text.lines().find_map(|line| line.strip_prefix("  exception  ")).unwrap();
        (text.starts_with("\nALLOW"), row.to_owned())
    };
    let hour = 3_600_000_000_000;
    let told = |row: (bool, String), words: &str| assert_eq!(row, (false, words.to_owned()));
    told(row(&[], hour - 1), "EXC-0042 is for this and begins 1970-01-01T01:00:00Z");
    told(row(&[], 7 * hour), "EXC-0042 was for this and ended 1970-01-01T07:00:00Z");
    // The reports declare no account.
    told(row(&["reports-prod"], hour), "none");
    let other = Query { now: Moment(hour), ..query("reports-3", "vault-1", "postgres") };
    assert!(excepted(&[], &other).contains("  exception  none\n"));
}

#[test]
fn a_deny_under_simulate_is_forwarded() {
    insta::assert_snapshot!(shown(&query("payments-7", "vault-1", "ping")));
}

#[test]
fn an_unknown_address_reaches_no_zone_by_an_allow() {
    let mild = BIG.replace(r#"{ zone = "cde" }"#, r#"{ zone = "cde", app = "none" }"#);
    assert_ne!(mild, BIG);
    insta::assert_snapshot!(ask_of(&mild, &query("203.0.113.9", "vault-1", "web")).unwrap());
}

#[test]
fn a_stranger_from_the_inside_is_governed_by_every_zone_there() {
    let mac = Some("02:00:00:00:00:99".parse().unwrap());
    insta::assert_snapshot!(shown(&Query { mac, ..query("10.20.0.77", "203.0.113.9", "tcp/9000-9010") }));
}

#[test]
fn a_stranger_may_be_somebody_of_no_zone() {
    let lamp = "[workload.lamp]\naddresses = [\"10.20.0.200\"]\nlabels = { app = \"payments\" }\n";
    let policy = format!("{}{lamp}", BIG.replace("unzoned = \"observe\"", "unzoned = \"enforce\""));
    let mac = Some("02:00:00:00:00:99".parse().unwrap());
    insta::assert_snapshot!(
        ask_of(&policy, &Query { mac, ..query("10.20.0.77", "203.0.113.9", "tcp/9000-9010") }).unwrap()
    );
}

#[test]
fn a_group_has_no_side() {
    insta::assert_snapshot!(shown(&query("acquirer", "224.0.0.18", "ip/112")));
}

#[test]
fn a_group_is_asked_for_by_its_name() {
    let rule = "[group.vrrp]\naddresses = [\"224.0.0.18\", \"ff02::12\"]\n[allow.elect]\nfrom = { app = \"payments\" }\n\
                to = { group = \"vrrp\" }\nservices = [\"ip/112\"]\n";
    let policy = format!("{BIG}{rule}");
    insta::assert_snapshot!(ask_of(&policy, &query("payments-7", "vrrp", "ip/112")).unwrap());
    insta::assert_snapshot!(ask_of(&policy, &query("acquirer", "vrrp", "ip/112")).unwrap());
    let loaded = sample::load(&policy);
    let all =
        crate::policy::sentences::sentences(&loaded, &compile(&loaded.model, &Exceptions::NONE), Moment(1));
    let said = all.iter().find(|sentence| sentence.id.as_deref() == Some("elect")).unwrap();
    assert_eq!(said.text, "payments [1] may open ip/112 to group vrrp [224.0.0.18, ff02::12]");
}

#[test]
fn a_source_on_the_wrong_side_is_spoofed() {
    let side = Some(Side::Inside);
    insta::assert_snapshot!(shown(&Query { side, ..query("payments-7", "vault-1", "https") }));
}

#[test]
fn what_is_odd_is_dropped_whatever_rules_say() {
    let odd = BIG.replace(r#"services      = ["https"]"#, r#"services      = ["https", "icmp/5"]"#);
    insta::assert_snapshot!(ask_of(&odd, &query("payments-7", "vault-1", "icmp/redirect")).unwrap());
    let loaded = sample::load(&odd);
    let told = explain(
        &loaded,
        &compile(&loaded.model, &Exceptions::NONE),
        &query("payments-7", "vault-1", "icmp/5"),
    )
    .unwrap();
    let row = serde_json::to_value(&told).unwrap();
    let said =
        ["stage", "instead", "verdict", "outcome", "mode", "reason"].map(|key| row[key].as_str().unwrap());
    assert_eq!(said, ["odd", "odd: an ICMP redirect", "deny", "forwarded", "simulate", "icmp_redirect"]);
    assert_eq!((&row["rule"], &row["nearest"]), (&serde_json::Value::Null, &serde_json::Value::Null));
}

#[test]
fn housekeeping_is_decided_by_the_profile() {
    let drop = BIG.replace(r#"dhcp = "forward""#, r#"dhcp = "drop""#);
    insta::assert_snapshot!(shown(&query("2001:db8:10::7", "vault-1", "icmpv6/neighbor-solicitation")));
    insta::assert_snapshot!(ask_of(&drop, &query("payments-7", "vault-1", "udp/67 from 68")).unwrap());
}

#[test]
fn an_icmp_error_needs_the_flow_it_quotes_and_a_reply_its_request() {
    insta::assert_snapshot!(shown(&query("payments-7", "vault-1", "icmp/3.4")));
    insta::assert_snapshot!(shown(&query("vault-1", "payments-7", "icmp/0.0")));
}

#[test]
fn a_port_of_dhcp_has_two_answers() {
    let told = shown(&query("payments-7", "vault-1", "udp/67"));
    let note =
        "of udp/67 what goes between ports 67 and 68 in DHCP's form, [profile] decides: dhcp = \"forward\"";
    let flat = told.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains(note), "{told}");
    assert!(!shown(&query("2001:db8:10::7", "vault-1", "udp/67")).contains("DHCP"), "IPv6 has other ports");
}

#[test]
fn what_is_no_service_of_packets_is_told_apart() {
    let wrong = |from: &str, service: &str| ask(&query(from, "vault-1", service)).unwrap_err().to_string();
    let header = "is a header between IPv6 and its protocol: no packet is judged as that; ask for the protocol \
                  behind it";
    for number in [0, 43, 44, 51, 60] {
        let service = format!("ip/{number}");
        assert_eq!(wrong("2001:db8:10::7", &service), format!("{service} {header}"));
        assert!(ask(&query("10.10.0.7", "vault-1", &service)).is_ok(), "{service} in IPv4 is a protocol");
    }
    assert_eq!(
        wrong("payments-7", "stp"),
        "stp is housekeeping, which no rule is asked about: [profile] says stp = \"drop\""
    );
}

#[test]
fn names_mean_the_addresses_of_the_family_that_has_the_service() {
    let told = |service| shown(&query("payments-7", "vault-1", service));
    let (four, six) = (told("icmp/8"), told("icmpv6/128"));
    assert!(four.contains("payments-7  10.10.0.7 ") && four.contains("vault-1  10.20.0.10 "), "{four}");
    assert!(
        six.contains("payments-7  2001:db8:10::7 ") && six.contains("vault-1  2001:db8:20::10 "),
        "{six}"
    );
    // What only one family can have is no answer for the other.
    for text in [&four, &six] {
        assert!(!text.contains("pairs of addresses"), "{text}");
    }
    assert!(told("https").contains("is one of 2 pairs of addresses"));
    let loaded = sample::load(BIG);
    let table = compile(&loaded.model, &Exceptions::NONE);
    let mut batch = super::Batch::new(&loaded, &table, Moment(1));
    let mut out = String::new();
    for (proto, kind) in [("icmp", 8), ("icmpv6", 128)] {
        let asked = format!(
            "{{\"src\":\"payments-7\",\"dst\":\"vault-1\",\"proto\":\"{proto}\",\"icmp_type\":{kind}}}"
        );
        batch.answer(asked.as_bytes(), &mut out).expect("JSON");
    }
    assert_eq!(batch.wrong(), None, "{out}");
    assert_eq!(out.matches("\"verdict\"").count(), 2, "{out}");
}

#[test]
fn a_question_that_names_nothing_says_what_it_may_have_meant() {
    let wrong = |from, to, service| ask(&query(from, to, service)).unwrap_err().to_string();
    assert_eq!(
        wrong("payment-7", "vault-1", "https"),
        "no workload is named \"payment-7\", and it is no address; did you mean \"payments-7\"?"
    );
    assert_eq!(
        wrong("payments-7", "vault-1", "http"),
        "service http is not declared; did you mean \"https\"?; write a service's name, tcp/443, udp/53, \
         icmp/8 or ip/50"
    );
    assert_eq!(
        wrong("10.10.0.7", "vault-1", "icmpv6/128"),
        "icmpv6/128 has no meaning between IPv4 addresses"
    );
    assert_eq!(
        wrong("laptop", "2001:db8:20::10", "https"),
        "laptop and 2001:db8:20::10 have no address of one family: one is IPv4 only, the other IPv6 only"
    );
}
