//! The capture's time is the gate's.

use portcullis::wire::samples::Ends;

use crate::bench::{Bench, SECOND, briefs, pcap, taken};

#[test]
fn silence_in_a_capture_ends_flows() {
    let there = Ends::of("10.10.0.5", "10.20.0.9");
    for (silence, expected) in [
        (59 * SECOND, "1 inside allow forwarded - - allow.web established"),
        (61 * SECOND, "1 inside deny dropped no_rule - - none"),
        // As many ticks as wrap once around: a flow of so long ago does not come back to life.
        ((1_u64 << 32) * (1 << 24), "1 inside deny dropped no_rule - - none"),
    ] {
        let bench = Bench::new();
        bench.put("out.pcap", &pcap(&[taken(0, &there.udp(5_353, 53, b"q"))]));
        let answer = there.reply().udp(53, 5_353, b"a");
        bench.put("in.pcap", &pcap(&[taken(silence, &answer)]));
        let said = bench.replay(&["--outside", "out.pcap", "--inside", "in.pcap"]);
        assert_eq!(briefs(&said.rows)[1], expected, "{silence}");
    }
}

#[test]
fn time_never_goes_back() {
    let there = Ends::of("10.10.0.5", "10.20.0.9");
    let bench = Bench::new();
    bench.put(
        "out.pcap",
        &pcap(&[
            taken(10 * SECOND, &there.udp(1, 53, b"first")),
            taken(SECOND, &there.udp(2, 53, b"stamped nine seconds earlier")),
            taken(65 * SECOND, &there.udp(2, 53, b"within a minute of when it was judged")),
        ]),
    );
    let said = bench.replay(&["--outside", "out.pcap"]);
    assert_eq!(
        briefs(&said.rows),
        [
            "1 outside allow forwarded - - allow.web new",
            "2 outside allow forwarded - - allow.web new",
            "3 outside allow forwarded - - allow.web established",
        ]
    );
    assert_eq!(said.rows[1]["ts"], "2026-11-24T12:00:01.000000000Z", "its own time is written");
    assert_eq!(said.summary["late"], 1);
}
