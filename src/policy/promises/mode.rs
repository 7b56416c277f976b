//! §6: which mode governs.

use super::*;

const VAULT: &str = "10.20.0.10";
const JUMP: &str = "10.20.0.30";
const PRINTER: &str = "10.20.0.40";
const PAY: &str = "10.10.0.7";
const VAULT_MAC: &str = "02:00:00:20:00:10";
const PRINTER_MAC: &str = "02:00:00:20:00:40";

#[test]
fn the_strictest_of_the_destinations_and_the_sources_zones_governs() {
    let far = "[zone.far]\nmembers = { app = \"pay\" }\nmode = \"simulate\"\n";
    for (cards, both) in
        [("observe", Mode::Simulate), ("simulate", Mode::Simulate), ("enforce", Mode::Enforce)]
    {
        let table = table(&format!("{}{far}", zones(cards, "observe")));
        assert_eq!(ask(PAY, VAULT, "tcp/1").mode(&table), both);
        assert_eq!(ask(VAULT, PAY, "tcp/1").mac(VAULT_MAC).mode(&table), both);
    }
}

#[test]
fn no_zone_is_governed_by_unzoned_and_a_zone_alone_is_not() {
    let mut model = model(&zones("observe", "observe"));
    model.wire.unzoned = Mode::Enforce;
    let table = compile(&model, &Exceptions::NONE);
    assert_eq!(ask(PAY, PRINTER, "tcp/1").mode(&table), Mode::Enforce);
    assert_eq!(ask(PRINTER, PAY, "tcp/1").mac(PRINTER_MAC).mode(&table), Mode::Enforce);
    assert_eq!(ask(PAY, VAULT, "tcp/1").mode(&table), Mode::Observe);
}

#[test]
fn a_frame_from_the_inside_whose_mac_is_not_written_is_governed_by_every_zone_there() {
    let far = "[zone.far]\nmembers = { app = \"pay\" }\nmode = \"enforce\"\n";
    let table = table(&format!("{}{far}", zones("simulate", "observe")));
    let mode = |from, mac| ask(from, "192.0.2.1", "tcp/1").mac(mac).mode(&table);
    // Its own MAC, its network's router, another's.
    assert_eq!(mode(PRINTER, PRINTER_MAC), Mode::Observe);
    assert_eq!(mode(PRINTER, "02:00:00:00:20:fe"), Mode::Observe);
    assert_eq!(mode(PRINTER, VAULT_MAC), Mode::Simulate);
    assert_eq!(mode(JUMP, VAULT_MAC), Mode::Simulate);
    // From outside no MAC makes it stricter.
    let outside = ask("192.0.2.1", PRINTER, "tcp/1").mac(VAULT_MAC);
    assert_eq!(outside.mode(&table), Mode::Observe);
    // A source that belongs outside has no true MAC inside: the outer router's is none.
    let forged = ask("192.0.2.1", "198.51.100.1", "tcp/1").mac("02:00:00:00:00:fe").at(Side::Inside);
    assert_eq!(forged.of(&table), (Some(Denial::Spoofed), Mode::Simulate, Vec::new()));
}

#[test]
fn a_claim_never_makes_the_mode_milder_than_that_of_whoever_may_make_it() {
    // The jump host is in a zone that is milder than what touches none, the printer is in none.
    let mut model = model(&zones("observe", "simulate"));
    model.wire.unzoned = Mode::Enforce;
    let table = compile(&model, &Exceptions::NONE);
    let mode = |from, to, mac| ask(from, to, "tcp/1").mac(mac).mode(&table);
    assert_eq!(mode(PRINTER, PAY, PRINTER_MAC), Mode::Enforce);
    assert_eq!(mode(VAULT, PAY, VAULT_MAC), Mode::Observe);
    for claimed in [PRINTER, VAULT, JUMP] {
        assert_eq!(mode(claimed, PAY, "02:00:00:00:00:99"), Mode::Enforce, "{claimed}");
    }
    // To a zone `unzoned` governs nobody: the zones inside and the destination's do.
    let far = "[zone.far]\nmembers = { app = \"pay\" }\nmode = \"observe\"\n";
    let mut model = super::model(&format!("{}{far}", zones("observe", "simulate")));
    model.wire.unzoned = Mode::Enforce;
    let far = compile(&model, &Exceptions::NONE);
    assert_eq!(ask(PRINTER, PAY, "tcp/1").mac(PRINTER_MAC).mode(&far), Mode::Observe);
    assert_eq!(ask(PRINTER, PAY, "tcp/1").mac(VAULT_MAC).mode(&far), Mode::Simulate);
    // Where everybody inside is in a zone, no claim can be made by somebody of none.
    let all = "[zone.rest]\nmembers = { any = true }\nmode = \"observe\"\n";
    let mut model = super::model(&format!("{}{all}", zones("observe", "observe")));
    model.workloads.retain(|workload| !["pay", "dev"].contains(&workload.name.as_str()));
    model.wire.unzoned = Mode::Enforce;
    let zoned = compile(&model, &Exceptions::NONE);
    assert_eq!(ask(VAULT, "192.0.2.1", "tcp/1").mac(PRINTER_MAC).mode(&zoned), Mode::Observe);
}

#[test]
fn a_guardrails_mode_counts_so_it_can_bite_before_its_zone_does() {
    let guardrail = |mode: &str| {
        format!(
            "{}[guardrail.g]\nmode = \"{mode}\"\nfrom = {{ app = \"dev\" }}\nto = {{ zone = \"cards\" }}\n\
             services = [\"tcp/22\"]\n",
            zones("simulate", "observe")
        )
    };
    let of = |mode, service| ask("10.10.0.9", VAULT, service).of(&table(&guardrail(mode)));
    let hit = vec!["guardrail.g".to_owned()];
    assert_eq!(of("enforce", "tcp/22"), (Some(Denial::Guardrail), Mode::Enforce, hit.clone()));
    // Milder than its zone, it softens nothing.
    assert_eq!(of("observe", "tcp/22"), (Some(Denial::Guardrail), Mode::Simulate, hit));
    // What it does not match follows the zone.
    assert_eq!(of("enforce", "tcp/80"), (Some(Denial::NoRule), Mode::Simulate, Vec::new()));
}

#[test]
fn a_guardrail_that_matches_counts_for_a_spoofed_packet_too() {
    let table = table(
        "[guardrail.g]\nmode = \"enforce\"\nfrom = { except = [{ env = \"prod\" }] }\n\
         to = { app = \"vault\" }\nservices = [\"any\"]\n",
    );
    let forged = ask(PRINTER, VAULT, "tcp/1").at(Side::Outside);
    assert_eq!(forged.of(&table), (Some(Denial::Spoofed), Mode::Enforce, Vec::new()));
}

fn by_service(mode: &str, services: &str) -> String {
    format!(
        "[zone.cards]\nmembers = {{ data = \"cards\" }}\nmode = \"{mode}\"\nservice_modes = {services}\n"
    )
}

#[test]
fn service_modes_take_the_place_of_mode_for_connections_to_members() {
    let table = table(&by_service("simulate", "{ https = \"enforce\", \"tcp/8443\" = \"observe\" }"));
    let mode = |service| ask(PAY, VAULT, service).mode(&table);
    assert_eq!(mode("tcp/443"), Mode::Enforce);
    assert_eq!(mode("tcp/8443"), Mode::Observe);
    assert_eq!(mode("tcp/80"), Mode::Simulate);
    assert_eq!(mode("udp/443"), Mode::Simulate);
    // Connections from members follow `mode`.
    assert_eq!(ask(VAULT, PAY, "tcp/443").mac(VAULT_MAC).mode(&table), Mode::Simulate);
}

#[test]
fn service_modes_are_taken_before_zones_are_compared() {
    let second = "[zone.vaults]\nmembers = { app = \"vault\" }\nmode = \"simulate\"\n";
    let table = table(&format!("{}{second}", by_service("enforce", "{ https = \"observe\" }")));
    assert_eq!(ask(PAY, VAULT, "tcp/443").mode(&table), Mode::Simulate);
    assert_eq!(ask(PAY, VAULT, "tcp/80").mode(&table), Mode::Enforce);
}

#[test]
fn overlapping_services_take_the_strictest() {
    let table = table(&by_service("enforce", "{ https = \"observe\", web = \"simulate\" }"));
    assert_eq!(ask(PAY, VAULT, "tcp/443").mode(&table), Mode::Simulate);
    assert_eq!(ask(PAY, VAULT, "tcp/8443").mode(&table), Mode::Simulate);
}

#[test]
fn packets_whose_service_cannot_be_read_take_the_strictest() {
    for (mode, services) in [("observe", "{ https = \"enforce\" }"), ("enforce", "{ https = \"observe\" }")]
    {
        let table = table(&by_service(mode, services));
        assert_eq!(ask(PAY, VAULT, "tcp/0").unreadable().mode(&table), Mode::Enforce);
        assert_eq!(ask(PAY, VAULT, "udp/0").unreadable().mode(&table), Mode::Enforce);
    }
}

#[test]
fn a_frame_without_ip_addresses_takes_the_strictest_mode_on_the_wire() {
    assert_eq!(table("").strictest(), Mode::Observe);
    assert_eq!(table(&zones("observe", "simulate")).strictest(), Mode::Simulate);
    assert_eq!(table(&by_service("observe", "{ https = \"enforce\" }")).strictest(), Mode::Enforce);
    let mut model = model("");
    model.wire.unzoned = Mode::Simulate;
    assert_eq!(compile(&model, &Exceptions::NONE).strictest(), Mode::Simulate);
}
