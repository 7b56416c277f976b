//! §2, §5, §8, §10: exceptions.

use super::*;
use crate::policy::exception::{Exception, Party};
use crate::policy::model::{Atom, ServiceSet, Tier};
use crate::policy::table::Stands;

const START: Moment = Moment(1_000);
const END: Moment = Moment(2_000);

fn named(names: &[&str]) -> Party {
    Party { workloads: names.iter().map(|name| (*name).to_owned()).collect(), accounts: Vec::new() }
}

fn holding(name: &str, account: &str) -> Party {
    Party { accounts: vec![account.to_owned()], ..named(&[name]) }
}

fn ports(port: u16) -> ServiceSet {
    let atom = Atom { protocol: 6, to: (port, port), from: (0, u16::MAX) };
    ServiceSet { written: vec![format!("tcp/{port}")], any: false, atoms: vec![atom] }
}

/// From the developer to the vault, on https.
fn exception(id: &str) -> Exception {
    sample::exception(id, named(&["dev"]), named(&["vault"]), ports(443), (START, END), false)
}

fn excepting(model: &Model, all: Vec<Exception>) -> Table {
    compile(model, &Exceptions::new(all).unwrap())
}

fn with(more: &str, all: Vec<Exception>) -> Table {
    excepting(&model(more), all)
}

fn judged(table: &Table, question: &Ask, now: Moment) -> crate::policy::Verdict {
    let side = question.side.or(table.network_side(question.sender.address)).unwrap();
    table.judge(question.sender, question.to, question.service, side, now)
}

fn denial(table: &Table, question: &Ask, now: Moment) -> Option<Denial> {
    judged(table, question, now).denial
}

/// Verdict and the rules that matched, by id, while it is active.
fn found(table: &Table, question: &Ask) -> (Option<Denial>, Vec<String>) {
    let verdict = judged(table, question, START);
    let numbers = std::iter::once(verdict.rule).chain(verdict.also).filter(|n| *n != RuleNumber::NONE);
    (verdict.denial, numbers.map(|n| table.rule(n).unwrap().id.clone()).collect())
}

fn question() -> Ask {
    ask("10.10.0.9", "10.20.0.10", "tcp/443")
}

#[test]
fn an_exception_allows_from_its_beginning_to_its_end_and_its_own_ends_and_services_only() {
    let table = with("", vec![exception("EXC-1")]);
    let asked = [0, 999, 1_000, 1_999, 2_000, 3_000].map(|now| denial(&table, &question(), Moment(now)));
    let no = Some(Denial::NoRule);
    assert_eq!(asked, [no, no, None, None, no, no]);
    for (from, to, service) in [
        ("10.10.0.7", "10.20.0.10", "tcp/443"),
        ("10.10.0.9", "10.20.0.30", "tcp/443"),
        ("10.10.0.9", "10.20.0.10", "tcp/444"),
        ("10.10.0.9", "10.20.0.10", "udp/443"),
        ("10.20.0.10", "10.10.0.9", "tcp/443"),
    ] {
        assert_eq!(denial(&table, &ask(from, to, service), START), no, "{from} {to} {service}");
    }
    // A later fragment is of its service only if all ports are.
    assert_eq!(denial(&table, &question().unreadable(), START), no);
    let verdict = judged(&table, &question(), START);
    let face = table.rule(verdict.rule).unwrap();
    assert_eq!(
        (face.id.as_str(), face.tier, face.stands),
        ("exception EXC-1", Tier::Exception, Stands::Ledger(END))
    );
    assert_eq!(face.place(&crate::policy::source::Sources::default()), format!("in force until {END}"));
    assert!(face.log, "who uses it is recorded");
}

#[test]
fn an_exception_stands_above_denies_and_allows_and_below_guardrails() {
    let rules = |guardrail: bool| {
        let ends = ("{ app = \"dev\" }", "{ app = \"vault\" }", r#"["https"]"#);
        let of = |tier| rule(tier, "r", ends.0, ends.1, ends.2);
        let stop = if guardrail { of("guardrail") } else { String::new() };
        format!("{stop}{}{}", of("deny"), of("allow"))
    };
    let table = with(&rules(false), vec![exception("EXC-1")]);
    let (allowed, ids) = found(&table, &question());
    assert_eq!(
        (allowed, ids),
        (None, ["exception EXC-1", "deny.r", "allow.r"].map(str::to_owned).to_vec())
    );
    assert_eq!(denial(&table, &question(), END), Some(Denial::Rule));
    let table = with(&rules(true), vec![exception("EXC-1")]);
    let (denied, ids) = found(&table, &question());
    let all = ["guardrail.r", "exception EXC-1", "deny.r", "allow.r"].map(str::to_owned).to_vec();
    assert_eq!((denied, ids), (Some(Denial::Guardrail), all));
}

#[test]
fn of_several_exceptions_the_most_specific_decides_then_the_id() {
    let wide = Exception { from: named(&["dev", "pay"]), ..exception("A") };
    let services = ServiceSet { atoms: vec![ports(443).atoms[0], ports(80).atoms[0]], ..ports(443) };
    let broad = Exception { services, ..exception("B") };
    let all = vec![exception("D"), wide, broad, exception("C")];
    let (_, ids) = found(&with("", all), &question());
    assert_eq!(ids, ["C", "D", "A", "B"].map(|id| format!("exception {id}")));
    // Whom the inventory does not have counts for nobody.
    let gone = Exception { from: named(&["dev", "gone", "lost"]), ..exception("A") };
    let (_, ids) = found(&with("", vec![exception("B"), gone]), &question());
    assert_eq!(ids, ["exception A", "exception B"]);
}

#[test]
fn an_exception_is_for_workloads_by_name_so_hosts_added_later_are_not_let_in() {
    let farm = |name: &str, address: &str| {
        format!(
            "[workload.{name}]\naddresses = [\"{address}\"]\nlabels = {{ app = \"dev\", env = \"dev\" }}\n"
        )
    };
    let table = with(&farm("dev-2", "10.10.0.10"), vec![exception("EXC-1")]);
    assert_eq!(denial(&table, &question(), START), None);
    // Of the same labels in every respect.
    assert_eq!(denial(&table, &ask("10.10.0.10", "10.20.0.10", "tcp/443"), START), Some(Denial::NoRule));
    // Its other addresses are its own, a narrower claim of another workload is not.
    let both = Exception { from: named(&["pay"]), ..exception("EXC-1") };
    let table = with("", vec![both]);
    for (from, to) in [("10.10.0.7", "10.20.0.10"), ("2001:db8:10::7", "2001:db8:20::10")] {
        assert_eq!(denial(&table, &ask(from, to, "tcp/443"), START), None, "{from}");
    }
}

#[test]
fn an_exception_never_reaches_unknown_nor_a_group() {
    let rest = "[workload.rest]\naddresses = [\"10.10.0.0/24\"]\n[group.g]\naddresses = [\"224.0.0.18\"]\n";
    let everybody = Exception {
        from: named(&["dev", "pay", "rest", "unknown", "any"]),
        to: named(&["vault", "jump", "printer", "g", "unknown"]),
        ..exception("EXC-1")
    };
    let table = with(rest, vec![everybody]);
    assert_eq!(denial(&table, &ask("10.10.0.77", "10.20.0.30", "tcp/443"), START), None);
    for (from, to) in [
        ("10.11.0.1", "10.20.0.10"),
        ("10.10.0.9", "10.20.0.99"),
        ("10.11.0.1", "10.20.0.99"),
        ("10.10.0.9", "224.0.0.18"),
        ("10.10.0.9", "224.0.0.1"),
    ] {
        let verdict = judged(&table, &ask(from, to, "tcp/443"), START);
        assert_eq!(
            (verdict.denial, verdict.judge_at),
            (Some(Denial::NoRule), Moment::NEVER),
            "{from} {to}"
        );
    }
}

#[test]
fn an_exception_is_lost_by_a_lapsed_binding_at_either_end() {
    for lost in ["dev", "vault"] {
        let mut model = model("");
        model.workloads.iter_mut().find(|w| w.name == lost).unwrap().valid_until = Some(Moment(1_500));
        let table = excepting(&model, vec![exception("EXC-1")]);
        assert_eq!(denial(&table, &question(), Moment(1_499)), None, "{lost}");
        assert_eq!(denial(&table, &question(), Moment(1_500)), Some(Denial::NoRule), "{lost}");
        let turns = [0, 1_000, 1_500].map(|now| judged(&table, &question(), Moment(now)).judge_at);
        assert_eq!(turns, [START, Moment(1_500), Moment::NEVER], "{lost}");
    }
}

#[test]
fn an_exception_that_asks_for_an_account_is_for_who_holds_it() {
    let asks = Exception { from: holding("pay", "pay-prod"), ..exception("EXC-1") };
    let question = || ask("10.10.0.7", "10.20.0.10", "tcp/443");
    let stranger = || question().mac("02:00:00:00:00:99");
    let table = with("", vec![asks.clone()]);
    assert_eq!(denial(&table, &question(), START), None);
    assert_eq!(denial(&table, &stranger(), START), Some(Denial::AccountNotHeld));
    assert_eq!(denial(&table, &stranger(), END), Some(Denial::NoRule));
    // The reason changes with it, and so the verdict does.
    assert_eq!(judged(&table, &stranger(), Moment(0)).judge_at, START);
    // Without asking for one it is for whoever has the address.
    let plain = Exception { from: named(&["pay"]), ..exception("EXC-1") };
    assert_eq!(denial(&with("", vec![plain]), &stranger(), START), None);
    // A deny is a deny: nothing that is not held stands above it.
    let deny = rule("deny", "r", "{ app = \"pay\" }", "{ app = \"vault\" }", r#"["any"]"#);
    assert_eq!(denial(&with(&deny, vec![asks.clone()]), &stranger(), START), Some(Denial::Rule));
    // Another account than the inventory's is nobody's, now.
    let other = Exception { from: holding("pay", "root"), ..exception("EXC-1") };
    assert_eq!(denial(&with("", vec![other]), &question(), START), Some(Denial::NoRule));
    let mut model = model("");
    let pay = model.workloads.iter_mut().find(|w| w.name == "pay").unwrap();
    pay.valid_until = Some(Moment(1_500));
    let table = excepting(&model, vec![asks.clone()]);
    assert_eq!(denial(&table, &question(), Moment(1_500)), Some(Denial::AccountNotHeld));
    // A prefix holds none.
    let pay = model.workloads.iter_mut().find(|w| w.name == "pay").unwrap();
    (pay.valid_until, pay.addresses) = (None, vec![sample::prefix("10.10.0.6/31")]);
    let table = excepting(&model, vec![asks]);
    assert_eq!(denial(&table, &question(), START), Some(Denial::AccountNotHeld));
}

#[test]
fn an_exception_for_both_ways_holds_in_both() {
    let both = Exception { both_ways: true, ..exception("EXC-1") };
    let table = with("", vec![both]);
    let back = || ask("10.20.0.10", "10.10.0.9", "tcp/443");
    assert_eq!(denial(&table, &question(), START), None);
    assert_eq!(denial(&table, &back(), START), None);
    // Asked for is the account of its own end, whoever opens.
    let asks = Exception { to: holding("vault", "vault-prod"), both_ways: true, ..exception("EXC-1") };
    let table = with("", vec![asks]);
    assert_eq!(denial(&table, &question(), START), None);
    assert_eq!(denial(&table, &back(), START), None);
    assert_eq!(denial(&table, &back().mac("02:00:00:00:00:99"), START), Some(Denial::AccountNotHeld));
}

#[test]
fn an_exception_lets_unreadable_ports_pass_only_if_it_is_for_all_of_them() {
    let whole = |protocol| Atom { protocol, to: (0, u16::MAX), from: (0, u16::MAX) };
    let all = ServiceSet { written: vec!["ip/6".into()], any: false, atoms: vec![whole(6)] };
    let table = with("", vec![Exception { services: all, ..exception("EXC-1") }]);
    assert_eq!(denial(&table, &question().unreadable(), START), None);
    assert_eq!(
        denial(&table, &ask("10.10.0.9", "10.20.0.10", "udp/0").unreadable(), START),
        Some(Denial::NoRule)
    );
    let table = with("", vec![exception("EXC-1")]);
    assert_eq!(denial(&table, &question(), START), None);
    assert_eq!(denial(&table, &question().unreadable(), START), Some(Denial::NoRule));
}

#[test]
fn an_exception_that_matches_both_ways_is_named_once() {
    // Each way asks for the account of another end, and both are held.
    let accounts = vec!["pay-prod".to_owned(), "vault-prod".to_owned()];
    let both = Exception {
        from: Party { accounts, ..named(&["pay", "vault"]) },
        to: named(&["pay", "vault"]),
        both_ways: true,
        ..exception("EXC-1")
    };
    let table =
        with(&rule("deny", "d", "{ app = \"pay\" }", "{ app = \"vault\" }", r#"["any"]"#), vec![both]);
    let names = vec!["exception EXC-1".to_owned(), "deny.d".to_owned()];
    assert_eq!(found(&table, &ask("10.10.0.7", "10.20.0.10", "tcp/443")), (None, names));
}

#[test]
fn judge_at_is_the_next_beginning_or_end_of_an_exception_for_these_ends() {
    let at = |id: &str, start, end| Exception { start: Moment(start), end: Moment(end), ..exception(id) };
    let other = Exception { to: named(&["jump"]), ..at("X", 5, 6) };
    let services = Exception { services: ports(80), ..at("Y", 7, 8) };
    let table = with("", vec![at("A", 10, 30), at("B", 20, 40), at("C", 40, 50), other, services]);
    let asked = |now| {
        let verdict = judged(&table, &question(), Moment(now));
        let by = table.rule(verdict.rule).map(|face| face.id.clone());
        (verdict.judge_at.0, by.unwrap_or_default())
    };
    let says = |at, id: &str| (at, if id.is_empty() { String::new() } else { format!("exception {id}") });
    assert_eq!(asked(0), says(10, ""));
    assert_eq!(asked(9), says(10, ""));
    assert_eq!(asked(10), says(20, "A"));
    assert_eq!(asked(20), says(30, "A"));
    assert_eq!(asked(30), says(40, "B"));
    assert_eq!(asked(40), says(50, "C"), "they meet, and nothing is lost between");
    assert_eq!(asked(49), says(50, "C"));
    assert_eq!(asked(50), says(u64::MAX, ""));
    // Of a packet that no rule is asked about it changes nothing.
    let spoofed = judged(&table, &question().at(Side::Inside), Moment(0));
    assert_eq!((spoofed.denial, spoofed.judge_at), (Some(Denial::Spoofed), Moment::NEVER));
}

#[test]
fn without_a_trustworthy_clock_no_exception_is_active_and_every_lease_has_lapsed() {
    let allow = allow("a", "{ app = \"pay\" }", "{ app = \"vault\" }", r#"["https"]"#);
    let mut model = model(&allow);
    model.workloads.iter_mut().find(|w| w.name == "pay").unwrap().valid_until = Some(Moment(u64::MAX - 1));
    let endless = Exception { start: Moment(0), end: Moment(u64::MAX), ..exception("EXC-1") };
    let table = excepting(&model, vec![endless]);
    let leased = ask("10.10.0.7", "10.20.0.10", "tcp/443");
    for question in [&leased, &question()] {
        assert_eq!(denial(&table, question, Moment(u64::MAX - 2)), None);
        let verdict = judged(&table, question, Moment::NEVER);
        assert_eq!((verdict.denial, verdict.judge_at), (Some(Denial::NoRule), Moment::NEVER));
    }
}

#[test]
fn an_exception_changes_no_mode() {
    let modes = zones("enforce", "observe");
    let without = with(&modes, Vec::new());
    let table = with(&modes, vec![exception("EXC-1")]);
    for now in [Moment(0), START, END] {
        assert_eq!(judged(&table, &question(), now).mode, judged(&without, &question(), now).mode);
    }
}

#[test]
fn the_table_digest_is_of_the_policy_and_the_exceptions_in_whatever_order() {
    let model = model(&zones("enforce", "observe"));
    let (one, two) = (exception("EXC-1"), Exception { from: named(&["pay"]), ..exception("EXC-2") });
    let plain = excepting(&model, Vec::new());
    assert_eq!(plain.digest(), plain.policy_digest(), "without exceptions they are one");
    let table = excepting(&model, vec![one.clone(), two.clone()]);
    assert_eq!(table.policy_digest(), plain.policy_digest());
    assert_ne!(table.digest(), plain.digest());
    assert_eq!(excepting(&model, vec![two.clone(), one.clone()]).digest(), table.digest());
    let changes: [fn(&mut Exception); 12] = [
        |e| e.id = "EXC-3".into(),
        |e| e.from.workloads.push("pay".into()),
        |e| e.from.accounts.push("pay-prod".into()),
        |e| e.to = named(&["jump"]),
        |e| e.services = ports(444),
        |e| e.both_ways = true,
        |e| e.start = Moment(1_001),
        |e| e.end = Moment(2_001),
        |e| e.owner = Some("team".into()),
        |e| e.requester = Some("team".into()),
        |e| e.approver = Some("team".into()),
        |e| e.reason = Some("team".into()),
    ];
    let mut seen = vec![table.digest(), plain.digest(), excepting(&model, vec![one.clone()]).digest()];
    for change in changes {
        let mut changed = one.clone();
        change(&mut changed);
        let digest = excepting(&model, vec![changed, two.clone()]).digest();
        assert!(!seen.contains(&digest));
        seen.push(digest);
    }
    let ticket = Exception { ticket: Some("team".into()), ..one };
    assert!(!seen.contains(&excepting(&model, vec![ticket, two]).digest()));
}

#[test]
fn a_table_without_exceptions_has_nothing_of_them() {
    let text = format!(
        "{}{}",
        zones("enforce", "observe"),
        allow("a", "{ any = true }", "{ app = \"vault\" }", r#"["https"]"#)
    );
    let (plain, table) = (with(&text, Vec::new()), with(&text, vec![exception("EXC-1")]));
    // Nobody of the inventory is named: nothing is looked at.
    let nobody = with(&text, vec![Exception { from: named(&["gone"]), ..exception("EXC-1") }]);
    assert_eq!(nobody.size(), plain.size());
    assert!(table.size().bytes > plain.size().bytes);
    let classes = |table: &Table| (table.size().senders, table.size().destinations, table.size().cells);
    assert_eq!(classes(&table), classes(&plain), "an exception makes no class");
}

#[test]
fn a_policy_test_is_judged_without_exceptions() {
    let test = "[test.t]\nfrom = { app = \"dev\" }\nto = { app = \"vault\" }\nservices = [\"https\"]\nexpect = \"deny\"\n";
    let model = model(test);
    let always = Exception { start: Moment(0), end: Moment(u64::MAX), ..exception("EXC-1") };
    let table = excepting(&model, vec![always]);
    assert_eq!(denial(&table, &question(), START), None);
    assert_eq!(crate::policy::proof::proofs(&model, &table), [crate::policy::proof::Proof::Holds]);
}
