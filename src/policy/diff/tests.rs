//! Two policies beside each other, told.

use super::*;
use crate::policy::Exceptions;
use crate::policy::ground::DYNAMIC;
use crate::policy::sample::{BIG, load};

fn compile(model: &crate::policy::Model) -> Table {
    crate::policy::compile(model, &Exceptions::NONE)
}

const NOW: Moment = Moment(1_790_000_000_000_000_000);

/// Compares the sample with an edit of it.
fn against(edit: impl Fn(&str) -> String) -> Comparison {
    let (old, new) = (load(BIG), load(&edit(BIG)));
    assert_ne!(BIG, edit(BIG), "the edit finds nothing to edit");
    let tables = [&old, &new].map(|loaded| compile(&loaded.model));
    let [old_table, new_table] = &tables;
    let found =
        compare(Half { policy: &old, table: old_table }, Half { policy: &new, table: new_table }, NOW);
    // Each example is as it says.
    for change in &found.changes {
        let example = change.example.as_ref().expect("an example");
        for (table, outcome) in [(old_table, &change.old), (new_table, &change.new)] {
            let verdict = example.judged(table, NOW);
            assert_eq!(verdict.denial.map(reason), outcome.reason, "{example:?}");
            assert_eq!(verdict.mode.name(), outcome.mode, "{example:?}");
            let rule = table.rule(verdict.rule).map(|face| &face.id);
            assert_eq!(rule, outcome.rule.as_ref().map(|rule| &rule.id), "{example:?}");
        }
    }
    found
}

#[test]
fn a_policy_beside_itself_is_the_same() {
    let found = against(|text| format!("{text}\n# a remark\n"));
    assert!(!found.opens && found.changes.is_empty() && found.left_out.is_empty());
    assert!(found.rules.is_empty() && found.settings.is_empty());
    assert_eq!(found.inventory, Inventory::default());
    assert_eq!(found.old, found.new);
}

/// An allow of the sample's text, to be put at its end.
fn allow(id: &str, from: &str, to: &str, services: &str) -> String {
    format!(
        "\n[allow.{id}]\nfrom = {from}\nto = {to}\nservices = [\"{services}\"]\nowner = \"treasury\"\n\
         justification = \"A test.\"\n"
    )
}

const REPORTS: &str = "{ app = \"reports\", env = \"prod\" }";
const CARDS: &str = "{ app = \"cards\", role = \"db\", env = \"prod\" }";

#[test]
fn a_new_allow_opens_what_was_enforced_and_only_changes_what_was_simulated() {
    let found = against(|text| text.to_owned() + &allow("reports-read", REPORTS, CARDS, "web"));
    assert!(found.opens);
    let [opens, changes] = found.changes.as_slice() else { panic!("{:#?}", found.changes) };
    assert_eq!((opens.kind, changes.kind), (Kind::Opens, Kind::Changes));
    assert_eq!((opens.from.text.as_str(), opens.to.text.as_str()), ("reports-3", "carddb-1"));
    assert_eq!(opens.services.names, ["tcp/443"]);
    assert_eq!(changes.services.names, ["tcp/9000-9010"]);
    assert_eq!((opens.side, opens.macs.as_slice()), ("outside", &["any"][..]));
    assert_eq!(
        (opens.old.outcome, opens.old.reason, opens.old.mode),
        ("dropped", Some("no_rule"), "enforce")
    );
    assert_eq!((opens.new.verdict, opens.new.reason), ("allow", None));
    let by = opens.new.rule.as_ref().expect("the rule");
    assert_eq!((by.id.as_str(), by.owner.as_deref()), ("allow.reports-read", Some("treasury")));
    assert!(by.place.starts_with("gate.toml:"), "{}", by.place);
    assert_eq!(opens.zones, ["cde"]);
    assert_eq!(opens.owners, ["payments-platform", "treasury"]);
    assert!(opens.into_enforced && !opens.out_of_enforce);
    assert_eq!((&found.zones, &found.owners), (&opens.zones, &opens.owners));
    let example = opens.example.as_ref().expect("an example");
    assert_eq!((example.src.as_str(), example.dst.as_str()), ("10.10.0.33", "10.20.0.20"));
    assert_eq!((example.service.as_str(), example.proto, example.dport), ("tcp/443", 6, 443));
    let [rule] = found.rules.as_slice() else { panic!("{:?}", found.rules) };
    assert_eq!((rule.id.as_str(), rule.change, &rule.old), ("allow.reports-read", "came", &None));
}

#[test]
fn an_example_of_sctp_has_ports_that_a_packet_may_have() {
    let found = against(|text| text.to_owned() + &allow("reports-signal", REPORTS, CARDS, "ip/132"));
    let whole = found.changes.iter().find(|change| change.services.names == ["ip/132"]).expect("a change");
    let example = whole.example.as_ref().expect("an example");
    assert_eq!((example.proto, example.sport, example.dport), (132, DYNAMIC, 1));
}

#[test]
fn a_new_deny_closes_and_opens_nothing() {
    let deny = "\n[deny.no-more]\nfrom = { app = \"payments\" }\nto = { app = \"tokenization\" }\n\
                services = [\"tcp/443\"]\nowner = \"security\"\njustification = \"A test.\"\n";
    let found = against(|text| text.to_owned() + deny);
    assert!(!found.opens && found.zones.is_empty() && found.owners.is_empty());
    let closes: Vec<&Change> = found.changes.iter().filter(|change| change.kind == Kind::Closes).collect();
    let [closes] = closes.as_slice() else { panic!("{closes:#?}") };
    assert_eq!(closes.old.rule.as_ref().map(|rule| rule.id.as_str()), Some("allow.payments-to-vault"));
    assert_eq!(closes.new.rule.as_ref().map(|rule| rule.id.as_str()), Some("deny.no-more"));
    assert_eq!(closes.macs, ["written"], "without its account it was dropped before");
    let [restriction] = &found.inventory.restrictions[..1] else { panic!() };
    assert_eq!((restriction.what.as_str(), restriction.end), ("deny.no-more", Some("from")));
    assert_eq!(restriction.entered.names, ["payments-7 (10.10.0.7)", "payments-7 (2001:db8:10::7)"]);
}

#[test]
fn a_milder_unzoned_is_an_opening_and_a_stricter_one_closes() {
    let strict = BIG.replacen("unzoned = \"observe\"", "unzoned = \"enforce\"", 1);
    assert_ne!(strict, BIG);
    let (strict, mild) = (load(&strict), load(BIG));
    let [of_strict, of_mild] = [&strict, &mild].map(|loaded| compile(&loaded.model));
    let [strict, mild] =
        [Half { policy: &strict, table: &of_strict }, Half { policy: &mild, table: &of_mild }];
    let opening = compare(strict, mild, NOW);
    assert!(opening.opens && opening.changes.iter().any(|change| change.kind == Kind::Opens));
    let closing = compare(mild, strict, NOW);
    assert!(!closing.opens && closing.changes.iter().any(|change| change.kind == Kind::Closes));
    assert!(opening.left_out.is_empty() && closing.left_out.is_empty());
}

#[test]
fn a_milder_mode_is_an_opening_out_of_enforce() {
    let found = against(|text| text.replacen("https = \"enforce\"", "https = \"observe\"", 1));
    assert!(found.opens);
    let opens = || found.changes.iter().filter(|change| change.kind == Kind::Opens);
    assert!(opens().all(|change| change.out_of_enforce && change.into_enforced), "{found:#?}");
    assert!(opens().all(|change| change.zones.contains(&"cde".to_owned())));
    assert_eq!(found.owners, ["payments-platform"]);
    let settings: Vec<(&str, &str, bool)> = found
        .settings
        .iter()
        .map(|setting| (setting.key.as_str(), setting.new.as_deref().unwrap_or(""), setting.opens))
        .collect();
    // Nothing on the wire is enforced any more, so what the profile drops is forwarded too.
    let profile = ["lldp", "stp", "lacp", "other"]
        .map(|class| (format!("profile {class}"), "drop, not enforced", true));
    let profile = profile.iter().map(|(key, words, opens)| (key.as_str(), *words, *opens));
    let wanted: Vec<_> = profile.chain([("zone cde mode", "simulate, https observe", false)]).collect();
    assert_eq!(settings, wanted);
}

#[test]
fn a_guardrail_gone_and_a_label_gone_are_told_by_what_leaves() {
    let mode = "[guardrail.only-prod-reaches-cards]\nmode          = \"enforce\"";
    let found = against(|text| text.replacen(mode, &mode.replace("enforce", "observe"), 1));
    assert!(found.opens, "what only the guardrail enforced is forwarded");
    let label = |text: &str| {
        text.replacen(
            "role = \"db\", env = \"prod\", data = \"cardholder\"",
            "role = \"db\", env = \"prod\"",
            1,
        )
    };
    let found = against(label);
    assert!(found.opens);
    let told: Vec<(&str, Option<&str>, usize)> = found
        .inventory
        .restrictions
        .iter()
        .map(|moved| (moved.what.as_str(), moved.end, moved.left.count()))
        .collect();
    assert_eq!(
        told,
        [("guardrail.only-prod-reaches-cards", Some("to"), 2), ("zone cde", None, 2)],
        "both addresses of carddb-1"
    );
    let [entry] = found.inventory.entries.as_slice() else { panic!("{:?}", found.inventory) };
    assert_eq!((entry.name.as_str(), entry.change), ("carddb-1", "changed"));
    assert_eq!(entry.fields, [("label data".to_owned(), Some("cardholder".to_owned()), None)]);
}

#[test]
fn a_mac_more_opens_what_takes_its_account() {
    let macs = |text: &str| {
        let account = "service_account = \"payments-prod\"\nowner";
        text.replacen(
            account,
            "service_account = \"payments-prod\"\nmacs = [\"02:00:00:00:00:77\"]\nowner",
            1,
        )
    };
    let found = against(macs);
    let [opens] = found.changes.as_slice() else { panic!("{:#?}", found.changes) };
    assert_eq!((opens.kind, opens.macs.as_slice()), (Kind::Opens, &["written now"][..]));
    assert_eq!(opens.old.reason, Some("account_not_held"));
    assert_eq!(opens.example.as_ref().map(|example| example.mac.as_str()), Some("02:00:00:00:00:77"));
}

#[test]
fn an_address_that_moves_its_side_is_no_longer_spoofed_there() {
    let network = |text: &str| {
        text.replacen("prefixes = [\"10.20.0.0/24\",", "prefixes = [\"10.20.0.0/24\", \"10.10.0.0/28\",", 1)
    };
    let found = against(network);
    let inside =
        found.changes.iter().filter(|change| change.side == "inside" && change.kind != Kind::Closes);
    assert!(
        inside
            .clone()
            .any(|change| change.old.reason == Some("spoofed") && change.new.reason == Some("no_rule"))
    );
}

#[test]
fn a_binding_that_lasts_longer_opens_later_and_a_shorter_one_does_not() {
    let lease = |until: &str| format!("[workload.reports-3]\nvalid_until = {until}\n");
    let (plain, early) =
        ("[workload.reports-3]\n", BIG.replacen("[workload.reports-3]\n", &lease("2026-12-01"), 1));
    let late = BIG.replacen(plain, &lease("2027-12-01"), 1);
    let compared = |old: &str, new: &str, now| {
        let (old, new) = (load(old), load(new));
        let [one, two] = [&old, &new].map(|loaded| compile(&loaded.model));
        compare(Half { policy: &old, table: &one }, Half { policy: &new, table: &two }, now)
    };
    let now = moment("2026-11-24T00:00:00Z").expect("an instant");
    let found = compared(&early, &late, now);
    assert!(found.opens && found.changes.is_empty(), "{:#?}", found.changes);
    let [binding] = found.inventory.lasts_longer.as_slice() else { panic!("{:?}", found.inventory) };
    assert_eq!((binding.workload.as_str(), binding.old.as_str()), ("reports-3", "2026-12-02T00:00:00Z"));
    assert_eq!(binding.new.as_deref(), Some("2027-12-02T00:00:00Z"));
    assert!(!compared(&late, &early, now).opens);
    // At the very edge the old binding has lapsed, and what that opens is told as it stands.
    let edge = moment("2026-12-01").expect("a date");
    for (now, differs) in [(Moment(edge.0 - 1), false), (edge, true)] {
        let found = compared(&early, &late, now);
        assert_eq!(!found.changes.is_empty(), differs, "{now}");
        assert_eq!(found.inventory.lasts_longer.is_empty(), differs, "{now}");
    }
}

#[test]
fn the_profile_opens_what_it_forwards_now() {
    let found = against(|text| text.replacen("lldp = \"drop\"", "lldp = \"forward\"", 1));
    assert!(found.opens && found.changes.is_empty());
    let [setting] = found.settings.as_slice() else { panic!("{:?}", found.settings) };
    assert_eq!((setting.key.as_str(), setting.opens), ("profile lldp", true));
    assert!(!against(|text| text.replacen("arp  = \"forward\"", "arp  = \"drop\"", 1)).opens);
    assert!(found.opening(100).contains("an opening"), "{}", found.opening(100));
}

#[test]
fn what_a_bound_leaves_out_is_counted_by_kind() {
    let many = |from: &str| {
        let rules =
            (0..CHANGES + 50).map(|n| allow(&format!("n{n}"), from, CARDS, &format!("tcp/{}", 10_000 + n)));
        BIG.to_owned() + &rules.collect::<String>() + &allow("one", REPORTS, CARDS, "https")
    };
    let (old, new) = (load(BIG), load(&many("{ app = \"desktop\", env = \"dev\" }")));
    let [one, two] = [&old, &new].map(|loaded| compile(&loaded.model));
    let found = compare(Half { policy: &old, table: &one }, Half { policy: &new, table: &two }, NOW);
    assert!(found.opens);
    let kinds = |kind| found.changes.iter().filter(|change| change.kind == kind).count();
    // The guardrail stands above the desktops' allows: none of them decides.
    assert_eq!((kinds(Kind::Opens), kinds(Kind::Changes)), (1, 0));
    let new = load(&many(REPORTS));
    let two = compile(&new.model);
    let found = compare(Half { policy: &old, table: &one }, Half { policy: &new, table: &two }, NOW);
    let kinds = |kind| found.changes.iter().filter(|change| change.kind == kind).count();
    assert_eq!((kinds(Kind::Opens), kinds(Kind::Changes)), (1, CHANGES));
    assert_eq!(found.left_out, BTreeMap::from([(Kind::Changes, 50)]));
    let page = found.text(100);
    assert!(page.contains("and 1030 more; --format json has 1000"), "{page}");
}

#[test]
fn a_comparison_is_told_for_people() {
    let edit = |text: &str| {
        let text = text.replacen("lldp = \"drop\"", "lldp = \"forward\"", 1);
        let text = text.replacen("addresses = [\"10.10.1.0/24\"]", "addresses = [\"10.10.2.0/24\"]", 1);
        text + &allow("reports-read", REPORTS, CARDS, "https")
    };
    let found = against(edit);
    insta::assert_snapshot!("text", found.text(100));
    insta::assert_snapshot!("opening", found.opening(100));
}
