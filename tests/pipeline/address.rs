//! Addresses that `[gate]` and the networks say are no end of a connection.

use portcullis::pipeline::Reason;
use portcullis::wire::Side;
use portcullis::wire::samples::Ends;

use crate::memory::{Count, POLICY, Rig};
use crate::says::{ACK, CLIENT, SYN, VAULT, VAULT_MAC, policy, relaxed, to_vault};

fn gate(settings: &str) -> String {
    format!("{POLICY}[gate]\n{settings}\n")
}

/// [`POLICY`] with the client's and the vault's addresses of another kind, too.
fn addressed(client: &str, vault: &str) -> String {
    let text = POLICY
        .replace("\"2001:db8:10::5\"", &format!("\"2001:db8:10::5\", \"{client}\""))
        .replace("\"2001:db8:20::9\"", &format!("\"2001:db8:20::9\", \"{vault}\""));
    assert_ne!(text, POLICY);
    text
}

#[test]
fn the_gates_own_address_is_no_end_of_a_connection() {
    let own = gate("management = [\"10.10.0.5\", \"2001:db8:10::5\"]");
    for family in [0, 1] {
        let mut rig = Rig::under(&own);
        let ends = to_vault(family);
        rig.dropped(Side::Outside, &ends.tcp(1, 443, SYN, 1, 0, &[]), Reason::GateAddress);
        rig.dropped(Side::Outside, &ends.udp(1, 53, b"x"), Reason::GateAddress);
        rig.dropped(Side::Outside, &ends.echo(1, 1, b"x"), Reason::GateAddress);
        rig.dropped(Side::Inside, &ends.reply().udp(53, 1, b"x"), Reason::GateAddress);
        let finds = if family == 0 { ends.arp(1) } else { ends.ndp_solicit() };
        rig.dropped(Side::Outside, &finds, Reason::GateAddress);
        // Another address on the same port is let through.
        let mut rig = Rig::under(&gate("management = [\"10.10.0.6\", \"2001:db8:10::6\"]"));
        rig.forwarded(Side::Outside, &ends.tcp(1, 443, SYN, 1, 0, &[]));
    }
    let settings = own.replace(POLICY, &relaxed());
    let mut rig = Rig::under(&settings);
    rig.would(Side::Outside, &to_vault(0).tcp(1, 443, SYN, 1, 0, &[]), Reason::GateAddress);
}

#[test]
fn a_live_flow_ends_with_the_policy_that_calls_its_end_the_gates_own() {
    let mut rig = Rig::under(POLICY);
    let ends = to_vault(0);
    rig.forwarded(Side::Outside, &ends.tcp(1, 443, SYN, 1, 0, &[]));
    rig.event();
    rig.forwarded(Side::Inside, &ends.reply().tcp(443, 1, SYN | ACK, 9, 2, &[]));
    rig.publish(policy(&gate("management = [\"10.10.0.5\"]"), 2));
    rig.dropped(Side::Outside, &ends.tcp(1, 443, ACK, 2, 10, &[]), Reason::GateAddress);
    rig.dropped(Side::Inside, &ends.reply().tcp(443, 1, ACK, 10, 2, &[]), Reason::GateAddress);
}

/// What the letter of the drop cases would drop is counted by its name: of a flow its first packet.
#[test]
fn what_crosses_by_an_exemption_is_counted_by_its_name() {
    let text = addressed("fd00:10::5", "fd00:20::9").replace("\"::/0\"", "\"::/0\", \"fd00:10::/32\"");
    let text = text.replace("\"10.20.0.0/16\"", "\"10.20.0.0/16\", \"fd00:20::/32\"");
    let mut rig = Rig::under(&text);
    let ends =
        Ends { src_mac: to_vault(1).src_mac, dst_mac: VAULT_MAC, ..Ends::of("fd00:10::5", "fd00:20::9") };
    let mut counted = |side: Side, frame: &[u8]| {
        assert!(rig.crosses(side, frame), "{frame:02x?}");
        let exempt = rig.moved(side).into_iter().filter_map(|(count, n)| {
            if let Count::Exempt(by) = count { Some((by.name(), n)) } else { None }
        });
        exempt.collect::<Vec<_>>()
    };
    let unique = vec![("unique_local", 1)];
    assert_eq!(counted(Side::Outside, &ends.tcp(1, 443, SYN, 1, 0, &[])), unique);
    assert_eq!(counted(Side::Inside, &ends.reply().tcp(443, 1, SYN | ACK, 9, 2, &[])), []);
    assert_eq!(counted(Side::Outside, &ends.tcp(1, 443, ACK, 2, 10, &[])), [], "the flow is counted");
    assert_eq!(counted(Side::Outside, &ends.udp(2, 53, b"x")), unique);
    let ordinary = to_vault(1);
    assert_eq!(counted(Side::Outside, &ordinary.udp(3, 53, b"x")), []);
    assert_eq!(counted(Side::Outside, &to_vault(0).udp(3, 53, b"x")), []);
    let detects = Ends { src: "::".parse().unwrap(), ..ordinary };
    for _ in 0..2 {
        assert_eq!(counted(Side::Outside, &detects.ndp_solicit()), [("dad", 1)], "each by itself");
    }
}

#[test]
fn link_local_addresses_are_dropped_unless_the_gate_forwards_them() {
    let pairs = [("169.254.0.5", "169.254.0.9"), ("fe80::5", "fe80::9")];
    for (client, vault) in pairs {
        let sides = addressed(client, vault)
            .replace("\"10.20.0.0/16\"", "\"10.20.0.0/16\", \"169.254.0.9/32\", \"fe80::9/128\"");
        let ends = Ends::of(client, vault);
        let mut rig = Rig::under(&sides);
        rig.dropped(Side::Outside, &ends.tcp(1, 443, SYN, 1, 0, &[]), Reason::LinkLocal);
        let mut rig = Rig::under(&format!("{sides}[gate]\nlink_local = \"forward\"\n"));
        rig.forwarded(Side::Outside, &ends.tcp(1, 443, SYN, 1, 0, &[]));
        rig.event();
        rig.forwarded(Side::Inside, &ends.reply().tcp(443, 1, SYN | ACK, 9, 2, &[]));
        rig.dropped(Side::Outside, &ends.tcp(2, 5432, SYN, 1, 0, &[]), Reason::NoRule);
        // And no longer.
        rig.publish(policy(&sides, 2));
        rig.dropped(Side::Outside, &ends.tcp(1, 443, ACK, 2, 10, &[]), Reason::LinkLocal);
    }
}

#[test]
fn a_unique_local_address_is_one_of_the_wires_networks() {
    let claimed = addressed("fd00:10::5", "fd00:20::9");
    let ends = Ends::of("fd00:10::5", "fd00:20::9");
    let listed = |client: &str, vault: &str| {
        claimed
            .replace("\"::/0\"", &format!("\"::/0\"{client}"))
            .replace("\"10.20.0.0/16\"", &format!("\"10.20.0.0/16\"{vault}"))
    };
    let syn = ends.tcp(1, 443, SYN, 1, 0, &[]);
    Rig::under(&listed(", \"fd00:10::/32\"", ", \"fd00:20::/32\"")).forwarded(Side::Outside, &syn);
    for (client, vault) in [("", ", \"fd00:20::/32\""), (", \"fd00:10::/32\"", ""), ("", "")] {
        Rig::under(&listed(client, vault)).dropped(Side::Outside, &syn, Reason::UniqueLocal);
    }
    let mut rig = Rig::under(&listed(", \"fc00::/8\", \"fd00:11::/32\"", ", \"fd00:20::/32\""));
    rig.dropped(Side::Outside, &syn, Reason::UniqueLocal);
    let back = Ends { src_mac: VAULT_MAC, ..Ends::of(VAULT[1], "fd00:10::7") };
    rig.dropped(Side::Inside, &back.udp(1, 2, b"x"), Reason::UniqueLocal);
    rig.forwarded(Side::Outside, &Ends::of(CLIENT[1], VAULT[1]).tcp(1, 443, SYN, 1, 0, &[]));
}
