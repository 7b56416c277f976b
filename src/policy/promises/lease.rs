//! §2, §8: bindings that lapse.

use super::*;

const END: Moment = Moment(1_000);
const BEFORE: Moment = Moment(999);

/// A policy in which the bindings of some workloads end.
fn ending(names: &[&str], more: &str) -> Table {
    let mut model = model(more);
    for workload in model.workloads.iter_mut().filter(|w| names.contains(&w.name.as_str())) {
        workload.valid_until = Some(END);
    }
    compile(&model, &Exceptions::NONE)
}

fn judged(table: &Table, question: &Ask, now: Moment) -> crate::policy::Verdict {
    let side = question.side.or(table.network_side(question.sender.address)).unwrap();
    table.judge(question.sender, question.to, question.service, side, now)
}

fn denial(table: &Table, question: &Ask, now: Moment) -> Option<Denial> {
    judged(table, question, now).denial
}

fn question() -> Ask {
    ask("10.10.0.7", "10.20.0.10", "tcp/443")
}

#[test]
fn a_lapsed_binding_counts_for_zones_denies_and_guardrails_and_for_no_allow() {
    let allow = allow("a", "{ app = \"pay\" }", "{ app = \"vault\" }", r#"["https"]"#);
    for (ends, named) in [(["pay"], "from"), (["vault"], "to")] {
        let table = ending(&ends, &format!("{}{allow}", zones("enforce", "observe")));
        assert_eq!(denial(&table, &question(), BEFORE), None, "{named}");
        assert_eq!(denial(&table, &question(), END), Some(Denial::NoRule), "{named}");
        // The vault is a member as before.
        assert_eq!(judged(&table, &question(), END).mode, Mode::Enforce);
        assert_eq!(table.locate("10.20.0.10".parse().unwrap()).zones, ["cards"]);
    }
    for (tier, kind) in [("deny", Denial::Rule), ("guardrail", Denial::Guardrail)] {
        let stop = rule(tier, "r", "{ app = \"pay\" }", "{ app = \"vault\" }", r#"["any"]"#);
        let table = ending(&["pay", "vault"], &format!("{allow}{stop}"));
        for now in [BEFORE, END] {
            assert_eq!(denial(&table, &question(), now), Some(kind));
        }
    }
    let any = super::allow("a", "{ any = true }", "{ any = true }", r#"["https"]"#);
    assert_eq!(denial(&ending(&["pay"], &any), &question(), END), Some(Denial::NoRule));
}

#[test]
fn a_lapsed_binding_never_falls_through_to_a_wider_prefix() {
    let farm = "[workload.farm]\naddresses = [\"10.10.0.0/24\"]\nlabels = { app = \"farm\" }\n";
    let allows = ["farm", "pay"]
        .map(|app| allow(app, &format!("{{ app = \"{app}\" }}"), "{ app = \"vault\" }", r#"["https"]"#));
    let unknown = allow("u", "{ unknown = true }", "{ app = \"vault\" }", r#"["https"]"#);
    let table = ending(&["pay"], &format!("{farm}{}{unknown}", allows.concat()));
    assert_eq!(denial(&table, &ask("10.10.0.8", "10.20.0.10", "tcp/443"), END), None);
    assert_eq!(denial(&table, &question(), BEFORE), None);
    assert_eq!(denial(&table, &question(), END), Some(Denial::NoRule));
}

#[test]
fn a_lapsed_label_takes_no_address_out_of_a_guardrail_through_except_or_not() {
    let net =
        "[network.branch]\nat = \"w.outside\"\nprefixes = [\"10.10.0.0/24\"]\nlabels = { tier = \"hq\" }\n";
    let stops = |from: &str, now| {
        let rule = rule("guardrail", "r", from, "{ app = \"vault\" }", r#"["any"]"#);
        denial(&ending(&["pay"], &format!("{net}{rule}")), &question(), now) == Some(Denial::Guardrail)
    };
    for out in ["{ except = [{ env = \"prod\" }] }", "{ env = { not = \"prod\" } }"] {
        assert!(!stops(out, BEFORE), "{out}");
        assert!(stops(out, END), "{out}");
    }
    // What the network gives has not lapsed.
    assert!(!stops("{ tier = { not = \"hq\" } }", END));
    // A key it never had stays one it has not.
    assert!(!stops("{ data = { not = \"cards\" } }", END));
}

#[test]
fn an_account_is_held_by_a_fresh_binding_only() {
    let held = allow("a", "{ service_account = \"pay-prod\" }", "{ app = \"vault\" }", r#"["https"]"#);
    let table = ending(&["pay"], &held);
    assert_eq!(denial(&table, &question(), BEFORE), None);
    assert_eq!(denial(&table, &question(), END), Some(Denial::AccountNotHeld));
    // The other end has lapsed, which no account makes good.
    assert_eq!(denial(&ending(&["vault"], &held), &question(), END), Some(Denial::NoRule));
    // By address it is named all the same.
    let deny = rule("deny", "r", "{ service_account = \"pay-prod\" }", "{ any = true }", r#"["any"]"#);
    assert_eq!(denial(&ending(&["pay"], &deny), &question(), END), Some(Denial::Rule));
    let except = "{ except = [{ service_account = \"pay-prod\" }] }";
    let out = ending(&["pay"], &rule("deny", "r", except, "{ any = true }", r#"["any"]"#));
    assert_eq!(denial(&out, &question(), BEFORE), Some(Denial::NoRule));
    assert_eq!(denial(&out, &question(), END), Some(Denial::Rule));
}

#[test]
fn every_verdict_says_when_it_could_change() {
    let mut model = model(&allow("a", "{ any = true }", "{ any = true }", r#"["https"]"#));
    let judge_at =
        |model: &Model, now| judged(&compile(model, &Exceptions::NONE), &question(), Moment(now)).judge_at;
    assert_eq!(judge_at(&model, 0), Moment::NEVER);
    let mut until = |name: &str, end| {
        let workload = model.workloads.iter_mut().find(|w| w.name == name).unwrap();
        workload.valid_until = Some(Moment(end));
    };
    until("pay", 20);
    until("vault", 30);
    until("dev", 10);
    let asked = [0, 10, 19, 20, 29, 30].map(|now| judge_at(&model, now));
    assert_eq!(asked, [Moment(20), Moment(20), Moment(20), Moment(30), Moment(30), Moment::NEVER]);
    // Of a packet that no rule is asked about as well.
    let spoofed = question().at(Side::Inside);
    let verdict = judged(&compile(&model, &Exceptions::NONE), &spoofed, Moment(0));
    assert_eq!((verdict.denial, verdict.judge_at), (Some(Denial::Spoofed), Moment(20)));
}

#[test]
fn the_bindings_of_a_source_lapse_when_it_was_silent_longer_than_its_limit() {
    let mut model = model(&allow("a", "{ any = true }", "{ any = true }", r#"["https"]"#));
    model.gate.inventory_limit = 100;
    let mut lease = |heard, valid_until| {
        let pay = model.workloads.iter_mut().find(|w| w.name == "pay").unwrap();
        (pay.heard, pay.valid_until) = (heard, valid_until);
        let table = compile(&model, &Exceptions::NONE);
        let at = |now| judged(&table, &question(), Moment(now));
        let end = at(0).judge_at;
        if end != Moment::NEVER {
            assert_eq!((at(end.0 - 1).denial, at(end.0).denial), (None, Some(Denial::NoRule)));
        }
        end
    };
    // A file is never silent.
    assert_eq!(lease(None, None), Moment::NEVER);
    assert_eq!(lease(Some(Moment(50)), None), Moment(150));
    assert_eq!(lease(Some(Moment(60)), None), Moment(160), "heard again, it lives on");
    // Whichever comes first.
    assert_eq!(lease(Some(Moment(50)), Some(Moment(140))), Moment(140));
    assert_eq!(lease(Some(Moment(50)), Some(Moment(151))), Moment(150));
    assert_eq!(lease(Some(Moment::NEVER), None), Moment::NEVER);
}

#[test]
fn when_a_source_was_heard_is_no_part_of_the_policy_digest() {
    let mut model = model("");
    let before = compile(&model, &Exceptions::NONE).policy_digest();
    model.workloads.iter_mut().for_each(|workload| workload.heard = Some(Moment(5)));
    assert_eq!(compile(&model, &Exceptions::NONE).policy_digest(), before);
}

#[test]
fn the_inventory_binds_an_address_to_its_side_macs_and_tags() {
    let tagged = "[network.tagged]\nat = \"w.inside\"\nprefixes = [\"10.30.0.0/16\"]\nvlans = [\"100\", \"untagged\"]\n";
    let table = ending(&["vault"], tagged);
    let mac = |text: &str| text.parse::<crate::wire::Mac>().unwrap();
    let of = |address: &str| table.binding(address.parse().unwrap());
    let vault = of("10.20.0.10").unwrap();
    assert_eq!((vault.side, vault.vlans), (Side::Inside, &[Vlans::UNTAGGED][..]));
    assert_eq!((vault.macs, vault.via), (&[mac("02:00:00:20:00:10")][..], &[mac("02:00:00:00:20:fe")][..]));
    assert_eq!(vault.knows(mac("02:00:00:20:00:10")), Some(true));
    assert_eq!(vault.knows(mac("02:00:00:00:20:fe")), Some(true));
    assert_eq!(vault.knows(mac("02:00:00:20:00:30")), Some(false));
    assert_eq!(of("2001:db8:20::10"), Some(vault));
    // Unclaimed: the router alone. No MAC written at all: nobody can tell.
    let stranger = of("10.20.0.99").unwrap();
    assert_eq!((stranger.macs, stranger.via), (&[][..], vault.via));
    let bare = of("10.30.0.1").unwrap();
    assert_eq!((bare.knows(mac("02:00:00:20:00:10")), bare.vlans.len()), (None, 2));
    assert_eq!(of("10.10.0.9").map(|b| b.side), Some(Side::Outside));
    assert_eq!(of("224.0.0.18"), None);
}
