//! Where a packet of a mixed capture came from.

use portcullis::wire::Mac;
use portcullis::wire::samples::Ends;

use crate::bench::{Bench, MS, Taken, briefs, pcap, taken};
use crate::verdicts::{CONVERSATION, conversation};

/// Both files as one, by time.
fn mixed() -> Vec<Taken> {
    let (outside, inside) = conversation();
    let mut all = [outside, inside].concat();
    all.sort_by_key(|packet| packet.after);
    all
}

/// Without the number, which is another in one file.
fn ends(rows: &[impl AsRef<str>]) -> Vec<String> {
    rows.iter().map(|row| row.as_ref().split_once(' ').unwrap().1.to_owned()).collect()
}

#[test]
fn one_file_is_judged_as_two_by_its_networks() {
    let bench = Bench::new();
    bench.put("mixed.pcap", &pcap(&mixed()));
    let said = bench.replay(&["--pcap", "mixed.pcap"]);
    let mut expected = ends(&CONVERSATION);
    // Only the networks are asked: who sends with an inside address is taken for inside.
    expected[23] = "inside deny dropped no_rule - - none".into();
    assert_eq!(ends(&briefs(&said.rows)), expected);
    let numbers: Vec<u64> = said.rows.iter().map(|row| row["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=26).collect::<Vec<u64>>());
}

#[test]
fn macs_inside_tell_a_spoofed_source() {
    let bench = Bench::new();
    let lies = Ends { src_mac: Mac([2, 0, 0, 0x10, 0, 1]), ..Ends::of("10.20.0.9", "10.10.0.5") };
    bench.put("mixed.pcap", &pcap(&[taken(0, &lies.udp(1, 53, b"x")), taken(1, &lies.lldp())]));
    let rows =
        |arguments: &[&str]| briefs(&bench.replay(&[&["--pcap", "mixed.pcap"], arguments].concat()).rows);
    let spoofed = "1 outside deny dropped spoofed - - none";
    assert_eq!(rows(&["--inside-mac", "02:00:00:20:00:01"])[0], spoofed);
    assert!(rows(&["--inside-mac", "02:00:00:10:00:01"])[0].starts_with("1 inside deny"));
    assert!(rows(&["--inside-net", "10.20.0.0/16,2001:db8:20::/64"])[0].starts_with("1 inside deny"));
    assert_eq!(rows(&["--inside-net", "10.30.0.0/16"])[0], spoofed);
    // A frame without an address follows its MAC.
    assert!(rows(&["--inside-mac", "02:00:00:20:00:01"])[1].starts_with("2 outside none"));
    assert!(rows(&["--inside-net", "10.20.0.0/16"])[1].starts_with("2 inside none"));
}

#[test]
fn who_has_no_address_is_known_by_its_mac() {
    let bench = Bench::new();
    let (new, client) = (Mac([2, 0, 0, 0x20, 0, 0x77]), Mac([2, 0, 0, 0x10, 0, 1]));
    let unset = Ends::of("::", "fe80::9");
    bench.put(
        "mixed.pcap",
        &pcap(&[
            // Nobody knows it yet; the policy knows the vault's MAC; then the first is seen with an address.
            taken(0, &unset.macs(new, client).ndp_solicit()),
            taken(1, &unset.macs(Mac([2, 0, 0, 0x20, 0, 1]), client).ndp_solicit()),
            taken(2, &Ends::of("10.20.9.9", "10.10.0.5").macs(new, client).udp(9, 9, b"x")),
            taken(MS, &unset.macs(new, client).ndp_solicit()),
            // To a MAC known inside, from one nobody knows.
            taken(2 * MS, &Ends::of("fe80::1", "fe80::2").macs(Mac([2; 6]), new).echo(1, 1, b"x")),
            taken(3 * MS, &Ends::of("fe80::1", "fe80::2").macs(Mac([4; 6]), client).echo(1, 1, b"x")),
        ]),
    );
    let said = bench.replay(&["--pcap", "mixed.pcap"]);
    let sides: Vec<&str> = said.rows.iter().map(|row| row["side"].as_str().unwrap()).collect();
    assert_eq!(sides, ["outside", "inside", "inside", "inside", "outside", "inside"]);
}
