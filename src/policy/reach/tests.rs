//! Ways as people see them.

use super::{Reach, reach};
use crate::policy::read::{receiver, sender};
use crate::policy::regions::Listed;
use crate::policy::sample::{BIG, load};
use crate::policy::{Exceptions, Moment, compile};

fn found(policy: &str, from: Option<&str>, to: Option<&str>) -> Reach {
    let loaded = load(policy);
    let table = compile(&loaded.model, &Exceptions::NONE);
    let from = from.map(|from| sender(from, &loaded.model).unwrap());
    let to = to.map(|to| receiver(to, &loaded.model).unwrap());
    reach(&loaded, &table, (from.as_ref(), to.as_ref()), Moment(1)).unwrap()
}

#[test]
fn what_reaches_a_zone_is_told_rule_by_rule() {
    let told = found(BIG, None, Some("cde"));
    let text = told.text(100);
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    insta::assert_snapshot!(format!("\n{text}"));
    let row = serde_json::to_value(&told).unwrap();
    let first = &row["allowed"][0];
    assert_eq!(first["rule"]["id"], "allow.payments-to-vault");
    assert_eq!(first["accounts"]["from"][0], "payments-prod");
    assert_eq!((&first["mode"], &first["enforced"]), (&"enforce".into(), &true.into()));
    assert_eq!(first["services"]["only"][0], "tcp/443");
}

#[test]
fn who_is_in_no_way_reaches_nothing() {
    let told = found(BIG, Some("laptop"), Some("cde"));
    assert_eq!((told.allowed.len(), told.unenforced.len()), (0, 0), "its guardrail enforces");
    assert!(told.text(100).contains("no rule allows it anything"), "{}", told.text(100));
    let acquirer = found(BIG, Some("acquirer"), Some("vault-1"));
    assert!(acquirer.allowed.is_empty());
    let [way] = acquirer.unenforced.as_slice() else { panic!("{acquirer:?}") };
    assert_eq!((way.mode, &way.services), ("simulate", &Listed::AllBut(vec!["tcp/443".into()])));
}

#[test]
fn an_account_is_named_where_nothing_else_lets_it() {
    let again = "[allow.again]\nfrom = { app = \"payments\", env = \"prod\" }\nto = { role = \"vault\", env = \"prod\" }\n\
                 services = [\"https\"]\n";
    let told = found(&format!("{BIG}{again}"), Some("payments-7"), Some("vault-1"));
    assert!(!told.allowed.is_empty());
    assert!(told.allowed.iter().all(|way| way.accounts.from.is_empty()), "{told:?}");
    let alone = found(BIG, Some("payments-7"), Some("vault-1"));
    assert!(alone.allowed.iter().all(|way| way.accounts.from.contains("payments-prod")), "{alone:?}");
}

#[test]
fn a_lapsed_binding_is_named() {
    let head = "[workload.payments-7]\n";
    let leased = BIG.replace(head, &format!("{head}valid_until = 1970-01-01T00:00:00Z\n"));
    let told = found(&leased, None, Some("vault-1"));
    assert_eq!(told.lapsed, ["payments-7"]);
    assert!(told.text(100).contains("lapsed now: payments-7"), "{}", told.text(100));
}

#[test]
fn nobody_is_an_error() {
    let loaded = load(BIG);
    let table = compile(&loaded.model, &Exceptions::NONE);
    let wrong = |to: &str| {
        let to = receiver(to, &loaded.model).unwrap();
        reach(&loaded, &table, (None, Some(&to)), Moment(1)).unwrap_err().to_string()
    };
    assert_eq!(
        wrong("{ app = \"vaults\" }"),
        "vaults is nobody on this wire: no address is meant by it now"
    );
    assert_eq!(
        wrong("{ role = \"vaults\" }"),
        "role vaults is nobody on this wire: no address is meant by it now; did you mean role = \"vault\"?"
    );
    let account = wrong("{ service_account = \"payments-prot\" }");
    assert!(account.ends_with("did you mean service_account = \"payments-prod\"?"), "{account}");
}
