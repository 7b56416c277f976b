//! What the hosts of a lab are to each other, no gate between them.

use std::process::Command;

use portcullis::lab::namespace;
use portcullis::lab::probe::{self, Ending};
use portcullis::lab::process::wait_for;
use portcullis::lab::topology::{HOSTS, Host};

use crate::own::{BRIEF, Own, PATIENCE, answered, text};

#[test]
fn the_hosts_of_a_side_reach_each_other_and_nothing_crosses_without_a_gate() {
    let own = Own::up('b');
    let both = |ending: Ending| [ending.clone(), ending];
    assert_eq!(own.tcp("workstation", "partner", 443, PATIENCE), both(answered("partner 443")));
    assert_eq!(own.tcp("vault", "carddb", 5432, PATIENCE), both(answered("carddb 5432")));
    assert_eq!(own.tcp("payments", "vault", 443, BRIEF), both(Ending::TimedOut));
    assert_eq!(own.tcp("vault", "partner", 443, BRIEF), both(Ending::TimedOut));
}

#[test]
fn what_crosses_a_plain_bridge_is_whole() {
    let own = Own::up('c');
    let gate = own.0.host("gate").unwrap();
    let bridge = "ip link add bridge type bridge forward_delay 0 mcast_snooping 0 && \
                  ip link set outside master bridge && ip link set inside master bridge && \
                  ip link set bridge up";
    let made = namespace::run_in(&gate, || Command::new("sh").args(["-c", bridge]).status()).unwrap();
    assert!(made.unwrap().success());
    assert_eq!(own.tcp("payments", "vault", 443, PATIENCE), [answered("vault 443"), answered("vault 443")]);
    let vault = Host::named("vault").unwrap();
    let partner = own.0.host("partner").unwrap();
    for v6 in [false, true] {
        let to = (vault.address(v6), 443).into();
        let (ping, udp, fetched) = namespace::run_in(&partner, || {
            (
                probe::ping(None, vault.address(v6), PATIENCE).unwrap(),
                probe::udp(None, to, PATIENCE).unwrap(),
                probe::fetch(to, 3_000_000, 3, PATIENCE).unwrap(),
            )
        })
        .unwrap();
        assert_eq!((ping.ending, udp.ending), (answered(""), answered("vault 443")));
        assert_eq!((fetched.connections, fetched.bytes), (3, 9_000_000));
    }
}

#[test]
fn a_claimed_address_is_sent_from_and_answered_for_by_nobody() {
    let own = Own::up('d');
    let attacker = own.0.host("attacker").unwrap();
    let payments = Host::named("payments").unwrap();
    // The answer goes to payments, which refuses what it never asked for; the attacker hears nothing.
    for v6 in [false, true] {
        let to = (Host::named("workstation").unwrap().address(v6), 443).into();
        let claimed = payments.address(v6);
        let probe = namespace::run_in(&attacker, || probe::tcp(Some(claimed), to, BRIEF)).unwrap().unwrap();
        assert_eq!((probe.ending, probe.local.ip()), (Ending::TimedOut, claimed));
    }
    // Who was answered: the workstation asked for the claimed address, and payments alone said "me".
    for v6 in [false, true] {
        let wanted = format!("{} dev eth0 lladdr {} ", payments.address(v6), payments.mac);
        let mut believed = String::new();
        let right = wait_for(PATIENCE, || {
            believed = text(&own.cli(&["exec", "workstation", "--", "ip", "neigh", "show"]).stdout);
            believed.lines().any(|line| line.starts_with(&wanted))
        });
        assert!(right, "{wanted}: {believed}");
    }
}

#[test]
fn offloads_of_the_hosts_are_off() {
    let own = Own::up('o');
    for host in &HOSTS {
        let features = text(&own.cli(&["exec", host.name, "--", "ethtool", "-k", "eth0"]).stdout);
        for feature in ["tx-checksumming", "tcp-segmentation-offload", "rx-vlan-offload", "tx-vlan-offload"]
        {
            let line = features.lines().find(|line| line.starts_with(feature)).unwrap();
            assert_eq!(line, format!("{feature}: off"), "{}", host.name);
        }
    }
    for switch in ["out", "in"] {
        let features = text(&own.cli(&["exec", switch, "--", "ethtool", "-k", "uplink"]).stdout);
        assert!(features.contains("generic-receive-offload: on"), "{switch}");
        for feature in ["tx-checksumming", "tx-vlan-offload", "tx-vlan-stag-hw-insert"] {
            let line = features.lines().find(|line| line.starts_with(feature)).unwrap();
            assert_eq!(line, format!("{feature}: off"), "{switch}");
        }
    }
}
