//! VLAN tags reach the gate as part of the frame, or somebody says that they will not.

use crate::rig::{Forwarder, Rig, alone, run, until};
use portcullis::io::QueuePair;
use portcullis::io::af_xdp::survey::{self, Stripping};
use portcullis::lab::namespace;
use portcullis::wire::Side;

const STRIP: [&str; 2] = ["rx-vlan-offload", "rx-vlan-stag-hw-parse"];

fn offloads(rig: &Rig, port: &str) -> String {
    run(&format!("nsenter --net=/run/netns/{} ethtool -k {port}", rig.netns("gate")))
}

fn set(rig: &Rig, host: &str, words: &str) {
    run(&format!("nsenter --net=/run/netns/{} ethtool -K {words}", rig.netns(host)));
}

fn stripping(rig: &Rig, port: &str) -> [bool; 2] {
    let all = offloads(rig, port);
    STRIP.map(|name| all.lines().any(|line| line == format!("{name}: on")))
}

#[test]
fn ports_strip_no_tags_while_a_wire_stands_and_are_as_before_after_a_release() {
    let Some(_alone) = alone() else { return };
    let rig = Rig::new();
    // One that the operator had off already stays off.
    set(&rig, "gate", "inside rxvlan off");
    let before = ["outside", "inside"].map(|port| offloads(&rig, port));
    assert_eq!(["outside", "inside"].map(|port| stripping(&rig, port)), [[true, true], [false, true]]);
    drop(rig.open());
    assert_eq!(["outside", "inside"].map(|port| stripping(&rig, port)), [[false; 2]; 2]);
    // Switched on again by somebody, under a gate that is gone: the next one sees to it.
    set(&rig, "gate", "outside rx-vlan-stag-hw-parse on");
    set(&rig, "gate", "inside rxvlan on");
    let wire = rig.open();
    assert!(wire.ports.iter().all(|port| port.took_over));
    assert_eq!(["outside", "inside"].map(|port| stripping(&rig, port)), [[false; 2]; 2]);
    drop(wire);
    rig.release();
    // It was on when the second gate came: that is what is given back.
    assert_eq!(["outside", "inside"].map(|port| stripping(&rig, port)), [[true; 2]; 2]);
    set(&rig, "gate", "inside rxvlan off");
    assert_eq!(["outside", "inside"].map(|port| offloads(&rig, port)), before);
    rig.assert_untouched();
}

#[test]
fn an_opening_that_fails_leaves_the_offloads_as_they_were() {
    let Some(_alone) = alone() else { return };
    let rig = Rig::new();
    let before = ["outside", "inside"].map(|port| offloads(&rig, port));
    let wire = rig.open();
    rig.release();
    // The queues are still another's: this comes after the settings were changed.
    assert!(rig.try_open(|_| ()).is_err());
    assert_eq!(["outside", "inside"].map(|port| offloads(&rig, port)), before);
    drop(wire);
}

/// Sends one tagged frame from a host behind a bridge; what the gate received of it.
fn tagged(rig: &Rig, forwarder: &mut Forwarder) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x81, 0, 0, 5, 0x88, 0xb5];
    frame.extend([7; 46]);
    rig.channel("host", "eth0", std::time::Duration::from_secs(10))
        .0
        .send_to(&frame, None)
        .unwrap()
        .unwrap();
    let mut received = Vec::with_capacity(64);
    until("the frame at the gate", || {
        forwarder.pair.receive(Side::Outside, &mut received);
        !received.is_empty()
    });
    assert_eq!(received.len(), 1);
    let frame = received.remove(0);
    let bytes = forwarder.pair.bytes(&frame).to_vec();
    forwarder.pair.recycle(frame);
    forwarder.pair.flush();
    bytes
}

#[test]
fn a_tag_of_a_host_behind_a_bridge_arrives_or_is_seen_to_be_lost() {
    let Some(_alone) = alone() else { return };
    let rig = Rig::new();
    let (out, host) = (rig.netns("out"), rig.extra("host"));
    run(&format!("ip -n {out} link add bridge type bridge forward_delay 0 mcast_snooping 0"));
    run(&format!("ip -n {out} link add port type veth peer name eth0 netns {host}"));
    for port in ["wire", "port"] {
        run(&format!("ip -n {out} link set {port} master bridge"));
    }
    for (netns, link) in [(&out, "port"), (&host, "eth0"), (&out, "bridge")] {
        run(&format!("ip -n {netns} link set {link} addrgenmode none arp off up"));
    }
    let index = u32::try_from(rig.link("out", "wire")["ifindex"].as_u64().unwrap()).unwrap();
    let seen = || {
        let end = namespace::run_in(&out, || survey::end(index)).unwrap().unwrap().unwrap();
        (end.name, end.bridged, end.tags_beside)
    };
    let mut wire = rig.open();
    assert_eq!(
        rig.gate(|| survey::port("outside", &rig.pins())).unwrap().unwrap().stripping,
        Stripping::Off
    );
    let mut forwarder = Forwarder::new(&mut wire);

    // The bridge keeps the tag beside the frame, and so does the veth at its far end.
    assert_eq!(seen(), ("wire".into(), true, Some("tx-vlan-hw-insert")));
    assert_eq!(tagged(&rig, &mut forwarder)[12..14], [0x88, 0xb5], "no tag at the gate");
    set(&rig, "out", "wire txvlan off");
    assert_eq!(seen().2, Some("tx-vlan-stag-hw-insert"));
    set(&rig, "out", "wire tx-vlan-stag-hw-insert off");
    assert_eq!(seen(), ("wire".into(), true, None));
    assert_eq!(tagged(&rig, &mut forwarder)[12..18], [0x81, 0, 0, 5, 0x88, 0xb5]);
}
