//! §2: who an address is.

use super::*;

const INSIDE_MAC: &str = "02:00:00:20:00:10";
const STRANGE_MAC: &str = "02:00:00:99:99:99";
const PAY_MAC: &str = "02:00:00:10:00:07";
const ROUTER_MAC: &str = "02:00:00:00:00:fe";

#[test]
fn the_most_specific_network_gives_the_side() {
    let table = table(
        "[network.annex]\nat = \"w.outside\"\nprefixes = [\"10.20.9.0/24\"]\n\
         [network.core]\nat = \"w.inside\"\nprefixes = [\"10.20.9.128/25\"]\n",
    );
    let side = |address: &str| table.network_side(address.parse().unwrap());
    assert_eq!(side("10.20.8.255"), Some(Side::Inside));
    assert_eq!(side("10.20.9.1"), Some(Side::Outside));
    assert_eq!(side("10.20.9.129"), Some(Side::Inside));
    assert_eq!(side("10.21.0.1"), Some(Side::Outside));
    assert_eq!(side("2001:db8:20::1"), Some(Side::Inside));
    assert_eq!(side("2001:db8:21::1"), Some(Side::Outside));
    assert_eq!(side("224.0.0.5"), None);
}

#[test]
fn a_source_of_the_other_side_is_spoofed() {
    let table = table(&allow("all", "{ any = true }", "{ any = true }", r#"["any"]"#));
    let question = || ask("10.10.0.7", "10.20.0.40", "tcp/443");
    assert_eq!(question().denial(&table), None);
    assert_eq!(question().at(Side::Inside).of(&table), (Some(Denial::Spoofed), Mode::Observe, Vec::new()));
}

#[test]
fn a_source_on_a_vlan_that_its_network_does_not_list_is_spoofed() {
    let table =
        table("[network.tagged]\nat = \"w.outside\"\nprefixes = [\"10.30.0.0/16\"]\nvlans = [\"100\"]\n");
    assert_eq!(ask("10.30.0.1", "10.20.0.40", "tcp/1").denial(&table), Some(Denial::Spoofed));
    let tagged = ask("10.30.0.1", "10.20.0.40", "tcp/1").vlan(100);
    assert_eq!(tagged.denial(&table), Some(Denial::WrongVlan));
}

#[test]
fn vlans_left_out_means_untagged_only() {
    let table = table("");
    assert_eq!(ask("10.10.0.7", "10.20.0.40", "tcp/1").denial(&table), Some(Denial::NoRule));
    assert_eq!(ask("10.10.0.7", "10.20.0.40", "tcp/1").vlan(1).denial(&table), Some(Denial::Spoofed));
}

#[test]
fn a_vlan_that_the_destinations_network_does_not_list_is_wrong_vlan() {
    let table = table(
        "[network.both]\nat = \"w.outside\"\nprefixes = [\"10.30.0.0/16\"]\nvlans = [\"untagged\", \"100\"]\n\
         [network.tagged]\nat = \"w.inside\"\nprefixes = [\"10.40.0.0/16\"]\nvlans = [\"100\"]\n",
    );
    assert_eq!(ask("10.30.0.1", "10.40.0.1", "tcp/1").denial(&table), Some(Denial::WrongVlan));
    assert_eq!(ask("10.30.0.1", "10.40.0.1", "tcp/1").vlan(100).denial(&table), Some(Denial::NoRule));
    assert_eq!(ask("10.30.0.1", "10.20.0.1", "tcp/1").vlan(100).denial(&table), Some(Denial::WrongVlan));
}

#[test]
fn a_destination_on_the_arriving_side_is_same_side_and_dropped_only_under_enforce() {
    for (mode, crosses) in [("observe", true), ("simulate", true), ("enforce", false)] {
        let table = table(&zones(mode, mode));
        let question = ask("10.20.0.30", "10.20.0.10", "tcp/443");
        assert_eq!(question.denial(&table), Some(Denial::SameSide));
        let verdict = table.judge(question.sender, question.to, question.service, Side::Inside, Moment(1));
        assert_eq!((verdict.crosses(), verdict.mode.name()), (crosses, mode));
    }
}

#[test]
fn labels_are_the_workloads_then_its_networks_narrowest_first() {
    let table = table(
        "[network.wide]\nat = \"w.inside\"\nprefixes = [\"10.50.0.0/16\"]\n\
         labels = { env = \"dev\", data = \"wide\", tier = \"wide\" }\n\
         [network.narrow]\nat = \"w.inside\"\nprefixes = [\"10.50.1.0/24\"]\n\
         labels = { env = \"dev\", data = \"narrow\" }\n\
         [workload.two]\naddresses = [\"10.50.1.1\", \"10.50.2.1\"]\nlabels = { env = \"prod\" }\n",
    );
    let labels = |address: &str| format!("{:?}", table.locate(address.parse().unwrap()).labels);
    assert_eq!(labels("10.50.1.1"), r#"{"data": "narrow", "env": "prod", "tier": "wide"}"#);
    // One workload's addresses in two networks may differ.
    assert_eq!(labels("10.50.2.1"), r#"{"data": "wide", "env": "prod", "tier": "wide"}"#);
    // Unknown addresses inherit too.
    assert_eq!(labels("10.50.2.2"), r#"{"data": "wide", "env": "dev", "tier": "wide"}"#);
}

#[test]
fn a_service_account_is_never_inherited() {
    // Neither of a wider claim nor of a network: that key is none of theirs.
    let table = table(
        "[workload.rack]\naddresses = [\"10.20.4.0/24\"]\nlabels = { app = \"rack\" }\nservice_account = \"rack-prod\"\n\
         [workload.one]\naddresses = [\"10.20.4.7\"]\nlabels = { app = \"one\" }\n",
    );
    let account = |address: &str| table.locate(address.parse().unwrap()).account.map(str::to_owned);
    assert_eq!(account("10.20.4.8").as_deref(), Some("rack-prod"));
    assert_eq!(account("10.20.4.7"), None);
    let of_network = format!(
        "{BASE}[network.n]\nat = \"w.inside\"\nprefixes = [\"10.60.0.0/16\"]\nservice_account = \"x\"\n"
    );
    let rejected = crate::policy::read::read_text(vec![("gate.toml".into(), of_network)]).unwrap_err();
    assert!(rejected.diagnostics.iter().any(|found| found.message.contains("service_account")));
}

#[test]
fn a_network_of_the_other_side_gives_no_labels() {
    let mut model = model("");
    let world = model.networks.iter_mut().find(|n| n.name == "world").unwrap();
    world.labels.insert("tier".into(), "internet".into());
    let table = compile(&model, &Exceptions::NONE);
    assert_eq!(table.locate("192.0.2.1".parse().unwrap()).labels.len(), 1);
    assert_eq!(table.locate("10.20.7.7".parse().unwrap()).labels.len(), 0);
}

#[test]
fn the_most_specific_claim_wins() {
    let table = table(
        "[workload.farm]\naddresses = [\"10.60.0.0/16\"]\n\
         [workload.rack]\naddresses = [\"10.60.1.0/24\"]\n\
         [workload.host]\naddresses = [\"10.60.1.1\"]\n",
    );
    let name = |address: &str| table.locate(address.parse().unwrap()).workload;
    assert_eq!(name("10.60.2.1"), Some("farm"));
    assert_eq!(name("10.60.1.2"), Some("rack"));
    assert_eq!(name("10.60.1.1"), Some("host"));
    assert_eq!(name("10.61.0.1"), None);
}

#[test]
fn unknown_on_the_inside_is_a_member_of_every_zone_that_has_members_there() {
    let outside = "[zone.far]\nmembers = { app = \"pay\" }\nmode = \"enforce\"\n";
    let table = table(&format!("{}{outside}", zones("simulate", "observe")));
    let zones = |address: &str| table.locate(address.parse().unwrap()).zones;
    assert_eq!(zones("10.20.0.99"), ["cards", "ops"]);
    assert_eq!(zones("2001:db8:20::99"), ["cards", "ops"]);
    assert_eq!(zones("10.20.0.40"), [""; 0]);
    assert_eq!(zones("192.0.2.1"), [""; 0]);
    assert_eq!(ask("192.0.2.1", "10.20.0.99", "tcp/1").mode(&table), Mode::Simulate);
    assert_eq!(ask("10.20.0.99", "192.0.2.1", "tcp/1").mode(&table), Mode::Simulate);
}

#[test]
fn a_claim_that_narrower_ones_cover_whole_is_no_member() {
    let farm = |hosts: &str| {
        format!(
            "[zone.racks]\nmembers = {{ tier = \"rack\" }}\nmode = \"enforce\"\n\
             [workload.farm]\naddresses = [\"10.20.1.0/31\"]\nlabels = {{ tier = \"rack\" }}\n\
             [workload.taken]\naddresses = {hosts}\n"
        )
    };
    let mode = |hosts| ask("10.10.0.9", "10.20.0.99", "tcp/1").mode(&table(&farm(hosts)));
    assert_eq!(mode(r#"["10.20.1.0"]"#), Mode::Enforce);
    assert_eq!(mode(r#"["10.20.1.0", "10.20.1.1"]"#), Mode::Observe);
}

#[test]
fn denies_and_guardrails_naming_a_zone_match_unknown_inside() {
    for (tier, denial) in [("deny", Denial::Rule), ("guardrail", Denial::Guardrail)] {
        let named = rule(tier, "r", "{ any = true }", "{ zone = \"ops\" }", r#"["any"]"#);
        let table = table(&format!("{}{named}", zones("observe", "observe")));
        assert_eq!(ask("10.10.0.9", "10.20.0.99", "tcp/1").denial(&table), Some(denial));
        assert_eq!(ask("10.10.0.9", "10.20.0.40", "tcp/1").denial(&table), Some(Denial::NoRule));
    }
}

#[test]
fn no_allow_matches_unknown_unless_it_says_so() {
    let named = |from: &str| table(&allow("a", from, "{ app = \"printer\" }", r#"["any"]"#));
    let question = ask("192.0.2.1", "10.20.0.40", "tcp/1");
    assert_eq!(question.denial(&named("{ network = \"world\" }")), Some(Denial::NoRule));
    assert_eq!(question.denial(&named("{ any = true }")), Some(Denial::NoRule));
    assert_eq!(question.denial(&named("{ unknown = true }")), None);
    assert_eq!(question.denial(&named("{ network = \"world\", unknown = true }")), None);
}

#[test]
fn no_allow_lets_unknown_into_a_zone() {
    let named = allow("a", "{ unknown = true }", "{ app = \"vault\" }", r#"["https"]"#);
    let mut model = model(&named);
    let question = ask("192.0.2.1", "10.20.0.10", "tcp/443");
    assert_eq!(question.denial(&compile(&model, &Exceptions::NONE)), None);
    model.zones = self::model(&zones("observe", "observe")).zones;
    assert_eq!(question.denial(&compile(&model, &Exceptions::NONE)), Some(Denial::NoRule));
}

/// `pay` reaches `vault` on https as `pay-prod`.
fn held() -> String {
    let from = "{ app = \"pay\", service_account = \"pay-prod\" }";
    allow("held", from, "{ app = \"vault\", service_account = \"vault-prod\" }", r#"["https"]"#)
}

#[test]
fn an_account_is_held_with_a_mac_of_the_workload_or_of_its_networks_router() {
    let table = table(&held());
    let question = || ask("10.10.0.7", "10.20.0.10", "tcp/443");
    assert_eq!(question().denial(&table), None);
    assert_eq!(question().mac(PAY_MAC).denial(&table), None);
    assert_eq!(question().mac(ROUTER_MAC).denial(&table), None);
    assert_eq!(question().mac(STRANGE_MAC).denial(&table), Some(Denial::AccountNotHeld));
    // The router of the other side vouches for nobody here.
    assert_eq!(question().mac("02:00:00:00:20:fe").denial(&table), Some(Denial::AccountNotHeld));
}

#[test]
fn an_account_not_held_is_named_only_where_an_allow_would_have_matched() {
    let table = table(&held());
    let strange = |to, service| ask("10.10.0.7", to, service).mac(STRANGE_MAC);
    assert_eq!(strange("10.20.0.10", "tcp/80").denial(&table), Some(Denial::NoRule));
    assert_eq!(strange("10.20.0.40", "tcp/443").denial(&table), Some(Denial::NoRule));
    // The developer declares no account at all.
    assert_eq!(ask("10.10.0.9", "10.20.0.10", "tcp/443").denial(&table), Some(Denial::NoRule));
}

#[test]
fn a_claim_that_is_a_prefix_cannot_hold_an_account() {
    let mut model = model(&held());
    let pay = model.workloads.iter_mut().find(|w| w.name == "pay").unwrap();
    pay.addresses = vec![sample::prefix("10.10.0.4/30")];
    let question = ask("10.10.0.7", "10.20.0.10", "tcp/443").mac(PAY_MAC);
    assert_eq!(question.denial(&compile(&model, &Exceptions::NONE)), Some(Denial::AccountNotHeld));
}

#[test]
fn a_wrong_mac_costs_the_account_and_never_the_packet_by_itself() {
    let by_label = allow("label", "{ app = \"pay\" }", "{ app = \"vault\" }", r#"["https"]"#);
    let table = table(&format!("{}{by_label}", held()));
    let question = || ask("10.10.0.7", "10.20.0.10", "tcp/443");
    assert_eq!(
        question().of(&table),
        (None, Mode::Observe, vec!["allow.held".into(), "allow.label".into()])
    );
    assert_eq!(question().mac(STRANGE_MAC).of(&table), (None, Mode::Observe, vec!["allow.label".into()]));
}

#[test]
fn denies_and_guardrails_naming_an_account_match_by_address_all_the_same() {
    for (tier, denial) in [("deny", Denial::Rule), ("guardrail", Denial::Guardrail)] {
        let from = "{ service_account = \"pay-prod\" }";
        let table = table(&rule(tier, "r", from, "{ any = true }", r#"["any"]"#));
        for mac in [PAY_MAC, STRANGE_MAC] {
            let question = ask("10.10.0.7", "10.20.0.10", "tcp/443").mac(mac);
            assert_eq!(question.denial(&table), Some(denial));
        }
    }
}

#[test]
fn an_account_not_held_takes_no_address_out_of_a_guardrail_through_except() {
    let from = "{ except = [{ service_account = \"pay-prod\" }] }";
    let table = table(&rule("guardrail", "r", from, "{ app = \"vault\" }", r#"["any"]"#));
    let question = || ask("10.10.0.7", "10.20.0.10", "tcp/443");
    assert_eq!(question().mac(PAY_MAC).denial(&table), Some(Denial::NoRule));
    assert_eq!(question().mac(STRANGE_MAC).denial(&table), Some(Denial::Guardrail));
}

#[test]
fn a_group_has_no_side_and_touches_every_zone_with_members_on_the_far_side() {
    let table = table(&zones("simulate", "enforce"));
    for group in ["224.0.0.18", "255.255.255.255", "239.1.2.3"] {
        // From outside: both zones lie on the far side.
        let question = ask("10.10.0.9", group, "udp/1");
        assert_eq!(question.of(&table), (Some(Denial::NoRule), Mode::Enforce, Vec::new()));
        // From inside: the sender's zones alone, none lies outside.
        let sender = ask("10.20.0.10", group, "udp/1").mac(INSIDE_MAC);
        assert_eq!(sender.of(&table), (Some(Denial::NoRule), Mode::Simulate, Vec::new()));
    }
    let v6 = ask("2001:db8:10::7", "ff02::1", "udp/1");
    assert_eq!(v6.of(&table), (Some(Denial::NoRule), Mode::Enforce, Vec::new()));
}
