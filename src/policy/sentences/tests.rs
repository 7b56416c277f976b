//! Sentences as people see them, and that they lose nothing.

use proptest::prelude::*;

use super::{Sentence, sentences, text};
use crate::policy::exception::{Exception, Party};
use crate::policy::model::ServiceSet;
use crate::policy::oracle::rules;
use crate::policy::sample::{self, BIG};
use crate::policy::{Exceptions, Moment, compile};

fn all() -> Vec<Sentence> {
    let loaded = sample::load(BIG);
    sentences(&loaded, &compile(&loaded.model, &Exceptions::NONE), Moment(0))
}

#[test]
fn rules_are_sentences_beside_their_ids_where_there_is_room() {
    insta::assert_snapshot!(format!("\n{}", text(&all(), 140)));
}

#[test]
fn rules_are_sentences_above_their_ids_where_there_is_none() {
    insta::assert_snapshot!(format!("\n{}", text(&all(), 80)));
}

#[test]
fn a_sentence_is_json_with_every_key() {
    let sentence = all().into_iter().find(|s| s.id.as_deref() == Some("reporting-read")).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&sentence).unwrap());
}

#[test]
fn a_sentence_says_how_many_of_its_workloads_have_lapsed() {
    let head = "[workload.reports-3]\n";
    let leased = BIG.replace(head, &format!("{head}valid_until = 1970-01-01T00:00:01Z\n"));
    let extra = "[deny.d]\nfrom = { name = \"reports-3\" }\nto = { zone = \"cde\" }\nservices = [\"any\"]\n\
                 [allow.a]\nfrom = { name = [\"reports-3\", \"payments-7\"] }\nto = { role = \"vault\" }\n\
                 services = [\"https\"]\n";
    let loaded = sample::load(&format!("{leased}{extra}"));
    let table = compile(&loaded.model, &Exceptions::NONE);
    let said = |id: &str, now| {
        let all = sentences(&loaded, &table, Moment(now));
        let one = all.into_iter().find(|s| s.id.as_deref() == Some(id)).unwrap();
        let from = one.from.unwrap();
        (one.text.contains("lapsed"), from.workloads, from.lapsed)
    };
    let end = 1_000_000_000;
    assert_eq!((said("a", end - 1), said("d", end - 1)), ((false, 2, 0), (false, 1, 0)));
    assert_eq!((said("a", end), said("d", end)), ((true, 2, 1), (true, 1, 1)));
    let all = sentences(&loaded, &table, Moment(end));
    let one = all.iter().find(|s| s.id.as_deref() == Some("a")).unwrap();
    assert!(one.text.contains("[2, 1 lapsed]"), "{}", one.text);
}

#[test]
fn an_exception_is_a_sentence_with_its_time() {
    let loaded = sample::load(BIG);
    let party = |names: &[&str], accounts: &[&str]| {
        let [workloads, accounts] =
            [names, accounts].map(|list| list.iter().map(|name| (*name).to_owned()).collect());
        Party { workloads, accounts }
    };
    let (from, to) = (party(&["reports-3", "gone"], &[]), party(&["carddb-1"], &["carddb-prod"]));
    let services = loaded.model.services["postgres"].atoms.clone();
    let services = ServiceSet { written: vec!["postgres".into()], any: false, atoms: services };
    let time = (Moment(1_000_000_000), Moment(7_200_000_000_000));
    let exception = Exception {
        owner: Some("treasury".into()),
        requester: Some("user:ann".into()),
        approver: Some("user:bob".into()),
        reason: Some("month-end reload".into()),
        ticket: Some("CHG-20611".into()),
        ..sample::exception("EXC-0042", from, to, services, time, true)
    };
    let table = compile(&loaded.model, &Exceptions::new(vec![exception]).unwrap());
    let all = sentences(&loaded, &table, Moment(0));
    let places: Vec<&str> = all.iter().map(|s| s.kind).filter(|kind| *kind != "zone").take(3).collect();
    assert_eq!(places, ["guardrail", "exception", "deny"], "in the order of precedence");
    let one: Vec<Sentence> = all.into_iter().filter(|s| s.kind == "exception").collect();
    insta::assert_snapshot!(format!("\n{}", text(&one, 140)));
    insta::assert_snapshot!(serde_json::to_string_pretty(&one).unwrap());
}

#[test]
fn no_line_is_wider_than_asked_where_words_allow_it() {
    for width in [60, 80, 100, 120, 160] {
        for line in text(&all(), width).lines() {
            assert!(line.chars().count() <= width, "{width}: {line}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(700) })]

    /// POLICY.md §9: sentences are lossless. Rules that differ in a key differ in their text.
    #[test]
    fn different_rules_are_different_sentences((one, other) in rules()) {
        let mut loaded = sample::load(BIG);
        let mut said = |rule| {
            loaded.model.rules = vec![rule];
            let all = sentences(&loaded, &compile(&loaded.model, &Exceptions::NONE), Moment(0));
            let rules: Vec<Sentence> = all.into_iter().filter(|s| s.from.is_some() && s.to.is_some()).collect();
            text(&rules, 10_000)
        };
        let same = format!("{one:?}") == format!("{other:?}");
        prop_assert_eq!(said(one.clone()) == said(other.clone()), same, "{:?}\n{:?}", one, other);
    }
}
