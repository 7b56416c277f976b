//! Lines of a batch against `explain`, one by one, and against the naive evaluator where rules are asked.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::Oracle;
use super::random::{Probe, cases, model, probe};
use crate::policy::explain::{Batch, Query, explain};
use crate::policy::read::Loaded;
use crate::policy::source::Sources;
use crate::policy::verdict::SenderMac;
use crate::policy::{Exceptions, Moment, RuleNumber, Sender, compile};
use crate::wire::{Service, is_extension};

/// The probe as a line.
fn line((src, dst, service, side, now): &Probe) -> Value {
    let Service { protocol, sport, dport, .. } = *service;
    let mut line = json!({
        "src": src.address.to_string(),
        "dst": dst.to_string(),
        "side": side.name(),
        "proto": protocol,
        // Nanoseconds after 1970.
        "at": now.to_string(),
    });
    match protocol {
        6 | 17 => (line["sport"], line["dport"]) = (json!(sport), json!(dport)),
        1 | 58 => (line["icmp_type"], line["icmp_code"]) = (json!(dport >> 8), json!(dport & 0xff)),
        _ => {}
    }
    if let SenderMac::Seen(mac) = src.mac {
        line["mac"] = json!(mac.to_string());
    }
    line
}

/// The service as `explain` is asked for it.
fn text(Service { protocol, sport, dport, .. }: Service) -> String {
    let [kind, code] = dport.to_be_bytes();
    match protocol {
        6 => format!("tcp/{dport} from {sport}"),
        17 => format!("udp/{dport} from {sport}"),
        1 => format!("icmp/{kind}.{code}"),
        58 => format!("icmpv6/{kind}.{code}"),
        other => format!("ip/{other}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases() / 4, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_batch_answers_as_explain_does_one_by_one(model in model(), probes in vec(probe(), 64)) {
        let policy = Loaded { model, sources: Sources::default(), warnings: Vec::new() };
        let table = compile(&policy.model, &Exceptions::NONE);
        let none = Exceptions::NONE;
        let oracle = Oracle::new(&policy.model, &none);
        let mut batch = Batch::new(&policy, &table, Moment(0));
        for (number, probe) in (1..).zip(&probes) {
            let (src, dst, service, side, now): Probe = *probe;
            // Only what a line can say: these policies name ports of protocols that have none.
            let (sport, dport) = match service.protocol {
                6 | 17 => (service.sport, service.dport),
                1 | 58 => (0, service.dport),
                _ => (0, 0),
            };
            let service = Service { sport, dport, readable: true, ..service };
            let mut out = String::new();
            batch.answer(line(probe).to_string().as_bytes(), &mut out).unwrap();
            prop_assert_eq!(batch.lines(), number);
            prop_assert_eq!(out.matches('\n').count(), 1);
            let told: Value = serde_json::from_str(&out).unwrap();
            let v6 = src.address.is_ipv6();
            let strange =
                if v6 { service.protocol == 1 || is_extension(service.protocol) } else { service.protocol == 58 };
            if v6 != dst.is_ipv6() || strange {
                prop_assert_eq!(&told["line"], &json!(number), "{}", told);
                prop_assert_eq!(told["field"] == "dst", v6 != dst.is_ipv6(), "{}", told);
                continue;
            }
            let mac = match src.mac {
                SenderMac::Seen(mac) => Some(mac),
                SenderMac::Assumed | SenderMac::Stranger => None,
            };
            let ported = matches!(service.protocol, 6 | 17);
            if !ported || (service.sport > 0 && service.dport > 0) {
                let query = Query {
                    from: src.address.to_string(),
                    to: dst.to_string(),
                    service: text(service),
                    mac,
                    vlans: None,
                    side: Some(side),
                    generation: None,
                    now,
                };
                let one = explain(&policy, &table, &query).unwrap_or_else(|why| panic!("{query:?}: {why}"));
                let one = serde_json::to_value(&one).unwrap();
                for key in ["verdict", "outcome", "stage", "reason", "mode", "judge_at"] {
                    prop_assert_eq!(&told[key], &one[key], "{}: {} {}", key, told, one);
                }
                prop_assert_eq!(&told["rule"], &one["rule"]["id"], "{} {}", told, one);
                prop_assert_eq!(&told["from"], &one["from"]["name"], "{} {}", told, one);
                prop_assert_eq!(&told["to"], &one["to"]["name"], "{} {}", told, one);
                let zones: Vec<&Value> = one["zones"].as_array().unwrap().iter().map(|zone| &zone["name"]).collect();
                prop_assert_eq!(told["zones"].as_array().unwrap().iter().collect::<Vec<_>>(), zones);
            } else {
                prop_assert_eq!(&told["stage"], &json!("odd"), "port 0: {}", told);
            }
            if told["stage"] != "rules" {
                continue;
            }
            // The tags are those that both networks list.
            let tags = policy.model.networks.iter().flat_map(|network| &network.vlans);
            let mac = mac.map_or(SenderMac::Assumed, SenderMac::Seen);
            let naive = |vlans| oracle.judge(Sender { mac, vlans, ..src }, dst, service, side, now);
            let agrees = |vlans| {
                let verdict = naive(vlans);
                let rule = (verdict.rule != RuleNumber::NONE).then(|| &policy.model.rules[verdict.rule.0 as usize]);
                told["rule"] == json!(rule.map(crate::policy::model::Rule::full_id))
                    && (told["verdict"] == "allow") == verdict.denial.is_none()
                    // A reply's mode is the stricter of both directions.
                    && (matches!(service.protocol, 1 | 58)
                        || told["mode"] == verdict.mode.name()
                            && told["outcome"] == if verdict.crosses() { "forwarded" } else { "dropped" })
            };
            let mut all = tags.copied().chain([crate::wire::Vlans::UNTAGGED]);
            prop_assert!(all.any(agrees), "{} {:?}", told, probe);
        }
    }
}

/// Something like a line: fields that there are and others, with values that fit and others.
fn likely() -> impl Strategy<Value = String> {
    let key = proptest::sample::select(vec![
        "src",
        "dst",
        "proto",
        "dport",
        "icmp_type",
        "side",
        "at",
        "x\\u0000",
    ]);
    let value = proptest::sample::select(vec![
        "\"10.10.0.7\"",
        "\"vault-1\"",
        "\"tcp\"",
        "443",
        "1e400",
        "-1",
        "null",
        "[[{}]]",
        "{\"a\": [1]}",
        "\"\\ud800\"",
        "tru",
    ]);
    vec((key, value), 0..7).prop_map(|pairs| {
        let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("\"{key}\": {value}")).collect();
        format!("{{{}}}", pairs.join(", "))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_line_gets_one_answer(lines in vec(prop_oneof![
        vec(any::<u8>(), 0..80),
        likely().prop_map(String::into_bytes),
    ], 1..20)) {
        let policy = crate::policy::sample::load(crate::policy::sample::BIG);
        let table = compile(&policy.model, &Exceptions::NONE);
        let mut batch = Batch::new(&policy, &table, Moment(1));
        let mut out = String::new();
        for line in &lines {
            batch.answer(line, &mut out).unwrap();
        }
        let told: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        prop_assert_eq!(told.len(), lines.len());
        for (number, row) in (1..).zip(&told) {
            prop_assert!(row["verdict"].is_string() || row["line"] == json!(number), "{}", row);
        }
    }
}

#[test]
fn tiers_zones_and_moments_are_told() {
    let policy =
        crate::policy::sample::load(&crate::policy::sample::BIG.replace(
            "[workload.payments-7]\n",
            "[workload.payments-7]\nvalid_until = 1970-01-02T00:00:00Z\n",
        ));
    let table = compile(&policy.model, &Exceptions::NONE);
    let mut batch = Batch::new(&policy, &table, Moment(1));
    let mut ask = |line: &str| -> Value {
        let mut out = String::new();
        batch.answer(line.as_bytes(), &mut out).unwrap();
        serde_json::from_str(&out).unwrap()
    };
    let https = ask(r#"{"src": "10.10.0.7", "dst": "10.20.0.10", "proto": "tcp", "dport": 443}"#);
    assert_eq!(
        https,
        json!({
            "verdict": "allow", "outcome": "forwarded", "stage": "rules", "reason": null,
            "rule": "allow.payments-to-vault", "tier": "allow", "from": "payments-7", "to": "vault-1",
            "zones": ["cde"], "mode": "enforce", "judge_at": "1970-01-02T00:00:00Z",
        })
    );
    let later = ask(
        r#"{"src": "payments-7", "dst": "vault-1", "proto": "tcp", "dport": 443, "at": "1970-01-02T00:00:00Z"}"#,
    );
    let said = ["verdict", "outcome", "tier", "judge_at"].map(|key| later[key].clone());
    let lapsed = "its label takes it out of no guardrail any more";
    assert_eq!(said, [json!("deny"), json!("dropped"), json!("guardrail"), Value::Null], "{lapsed}");
    let reports = ask(r#"{"src": "reports-3", "dst": "vault-1", "proto": "tcp", "dport": 22}"#);
    let said = ["verdict", "outcome", "tier", "rule", "reason"].map(|key| reports[key].clone());
    assert_eq!(said, [json!("deny"), json!("forwarded"), json!("default"), Value::Null, json!("no_rule")]);
    let laptop = ask(r#"{"src": "10.10.1.9", "dst": "10.20.0.10", "proto": "tcp", "dport": 22}"#);
    assert_eq!((&laptop["tier"], &laptop["outcome"]), (&json!("guardrail"), &json!("dropped")));
    let ndp = ask(r#"{"src": "2001:db8:10::7", "dst": "2001:db8:20::10", "proto": 58, "icmp_type": 135}"#);
    assert_eq!((&ndp["stage"], &ndp["tier"], &ndp["zones"]), (&json!("profile"), &Value::Null, &json!([])));
    let side =
        ask(r#"{"src": "10.10.0.7", "dst": "10.20.0.10", "proto": "tcp", "dport": 443, "side": "inside"}"#);
    assert_eq!((&side["reason"], &side["tier"]), (&json!("spoofed"), &Value::Null));
}

#[test]
fn a_line_that_asks_nothing_gets_an_error_in_its_place() {
    let policy = crate::policy::sample::load(crate::policy::sample::BIG);
    let table = compile(&policy.model, &Exceptions::NONE);
    let mut batch = Batch::new(&policy, &table, Moment(1));
    let mut out = String::new();
    assert_eq!(batch.wrong(), None);
    for line in [
        r#"{"src": "payments-7", "dst": "vault-1", "proto": "tcp", "dport": 443}"#,
        r#"{"src": "paymnts-7", "dst": "vault-1", "proto": "tcp", "dport": 443}"#,
        r#"{"src": "10.10.0.7", "dst": "2001:db8:20::10", "proto": "tcp", "dport": 443}"#,
        r#"{"src": "2001:db8:10::7", "dst": "vault-1", "proto": 43}"#,
        r#"{"dst": "vault-1", "proto": "tcp", "dport": 443}"#,
    ] {
        batch.answer(line.as_bytes(), &mut out).unwrap();
    }
    batch.too_long(&mut out).unwrap();
    let told: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(told.len(), 6);
    assert_eq!(told[0]["verdict"], "allow");
    let fields: Vec<(&Value, &Value)> = told[1..].iter().map(|row| (&row["line"], &row["field"])).collect();
    let expected =
        [(2, json!("src")), (3, json!("dst")), (4, json!("proto")), (5, json!("src")), (6, Value::Null)];
    for ((line, field), (number, name)) in fields.iter().zip(&expected) {
        assert_eq!((*line, *field), (&json!(number), name), "{out}");
    }
    let error = |row: usize| told[row]["error"].as_str().unwrap();
    assert!(error(1).starts_with("line 2: src: ") && error(1).contains("did you mean \"payments-7\"?"));
    assert!(error(3).contains("a header between IPv6 and its protocol"), "{}", error(3));
    assert_eq!(error(5), "line 6: it is longer than 4096 bytes");
    let (count, first) = batch.wrong().unwrap();
    assert_eq!((count, first), (5, error(1)));
    assert_eq!(batch.lines(), 6);
}
