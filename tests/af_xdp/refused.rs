//! What cannot be opened, or not as wished, and what is said about it.

use crate::rig::{Forwarder, Rig, alone, run};
use portcullis::io::XdpMode;
use portcullis::io::af_xdp::{MAX_MTU, OpenRequest, QueueCount};
use portcullis::wire::Side;

#[test]
fn a_port_with_another_program_is_refused_by_its_name() {
    static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/portcullis.bpf.o"));
    let Some(_alone) = alone() else { return };
    let rig = Rig::new();
    let mut other = aya::Ebpf::load(OBJECT).unwrap();
    let id = rig.gate(|| {
        let program: &mut aya::programs::Xdp = other.program_mut("portcullis").unwrap().try_into().unwrap();
        program.load().unwrap();
        program.attach("inside", aya::programs::xdp::XdpMode::Driver).unwrap();
        program.info().unwrap().id()
    });
    let error = rig.try_open(|_| ()).err().unwrap();
    assert_eq!(
        error.to_string(),
        format!(
            "`inside` already runs the XDP program `portcullis` (id {id}): stop its owner. \
             What a stopped gate left, `portcullis release WIRE` takes off; a program that `ip` attached goes with \
             `ip link set dev inside xdp off` (`bpftool net` and `bpftool link` show who holds it)"
        )
    );
    assert_eq!(rig.link("gate", "inside")["xdp"]["prog"]["id"], id, "theirs is still there");
    drop(other);
    rig.assert_untouched();
}

#[test]
fn what_cannot_be_opened_leaves_nothing_behind() {
    let Some(_alone) = alone() else { return };
    let rig = Rig::with("numtxqueues 1 numrxqueues 1");
    let refused = |change: fn(&mut OpenRequest<'_>)| {
        let error = rig.try_open(change).err().unwrap().to_string();
        rig.assert_untouched();
        error
    };
    assert_eq!(
        refused(|request| request.interfaces = ["outside", "nowhere"]),
        "no interface `nowhere` in this network namespace; `ip link` lists what is there"
    );
    assert_eq!(
        refused(|request| request.interfaces = ["inside", "inside"]),
        "`inside` is named as both ports; a wire needs two interfaces"
    );
    assert_eq!(
        refused(|request| request.queues = QueueCount::Exactly(2)),
        "`outside` can have 1 queue(s) at most and this gate would serve 2 on each port: lower `[gate] queues`, or \
         take a port with more (a veth has as many as it was made with: `ip link add NAME numrxqueues 2 \
         numtxqueues 2 type veth …`)"
    );
    assert_eq!(
        refused(|request| request.queues = QueueCount::Exactly(65)),
        "queues = 65: it must be between 1 and 64"
    );
    assert_eq!(
        refused(|request| request.rings = 100),
        "rings = 100: it must be a power of two between 64 and 8192"
    );
    assert_eq!(
        refused(|request| request.pins = std::path::Path::new("/tmp/pins")),
        "/tmp/pins is not on a BPF file system: mount it with `mount -t bpf bpf /sys/fs/bpf` and keep the \
         pins below it"
    );
    run(&format!("ip -n {} link set inside mtu 4000", rig.netns("gate")));
    assert_eq!(
        refused(|_| ()),
        format!(
            "`inside` has an MTU of 4000, a frame holds {MAX_MTU}: lower it with `ip link set inside mtu {MAX_MTU}`"
        )
    );
}

#[test]
fn a_queue_that_stays_busy_is_an_error_after_a_bounded_wait() {
    let Some(_alone) = alone() else { return };
    let rig = Rig::new();
    let wire = rig.open();
    rig.release();
    let error = rig.try_open(|_| ()).err().unwrap();
    assert_eq!(
        error.to_string(),
        "queue 0 of `outside` stayed busy for 3000 ms: another AF_XDP socket is bound to it; is another gateway \
         running on this port?"
    );
    rig.assert_untouched();
    drop(wire);
    rig.open();
}

#[test]
fn a_driver_without_room_for_native_gets_generic_and_says_why() {
    let Some(_alone) = alone() else { return };
    let rig = Rig::new();
    for (netns, link) in [("gate", "inside"), ("in", "wire")] {
        run(&format!("ip -n {} link set {link} mtu {MAX_MTU}", rig.netns(netns)));
    }
    let mut wire = rig.open();
    assert_eq!(wire.ports.clone().map(|port| port.mode), [XdpMode::Native, XdpMode::Generic]);
    assert!(wire.notes.iter().any(|note| note.starts_with("inside: generic XDP, native was refused: ")));
    let mut forwarder = Forwarder::new(&mut wire);
    let largest = usize::try_from(MAX_MTU).unwrap() + 14;
    forwarder.cross(&mut *rig.sender("in"), Side::Inside, 64, largest);
    forwarder.drain();
    // The other pair still has an MTU of 1500, and its far end takes no more.
    assert_eq!(forwarder.received, [0, 64]);
    forwarder.cross(&mut *rig.sender("out"), Side::Outside, 64, 1514);
    forwarder.drain();
    assert_eq!(rig.counted("in", "wire", "rx", "packets"), 64);
    // A take-over knows the mode again.
    drop(forwarder);
    let again = rig.open();
    assert_eq!(again.ports.clone().map(|port| port.mode), [XdpMode::Native, XdpMode::Generic]);
}

#[test]
fn a_process_without_capabilities_is_told_which_it_lacks() {
    let Some(_alone) = alone() else { return };
    let rig = Rig::new();
    let error = rig
        .try_open(|_| {
            // Of this thread alone, which ends with the call.
            let mut sets = rustix::thread::capabilities(None).unwrap();
            sets.effective = rustix::thread::CapabilitySet::NET_RAW;
            rustix::thread::set_capabilities(None, sets).unwrap();
        })
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        "opening a wire needs CAP_NET_ADMIN, CAP_BPF: run as root, or grant them with `setcap \
         cap_net_admin,cap_net_raw,cap_bpf+ep` on the binary"
    );
    rig.assert_untouched();
}
