//! The running gate on real `AF_XDP` sockets: it dies, is overloaded, is silent, is taken over. Counts are
//! held against counts that are not ours. Needs root and clang.
#![cfg(feature = "xdp")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that can't go on fails"
)]

mod rig;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use portcullis::control::answers::{Cuts, Flows, RuleLine, Status, WorkerStatus};
use portcullis::control::client;
use portcullis::io::BpfCounts;
use portcullis::io::af_xdp::KernelCounters;
use rig::traffic::{Load, SHORTEST, Sent, Sink};
use rig::{POLICY, Rig, left_out, until};

const SOME: Load =
    Load { rate: Some(5_000), flows: 100, frame: SHORTEST, frames: 1_000, time: Duration::from_secs(20) };

/// What the port programs counted, whether or not a gate runs.
fn programs(rig: &Rig) -> Result<[BpfCounts; 2], String> {
    KernelCounters::open(&rig.place().pins)
        .map(|counters| counters.read())
        .map_err(|error| error.to_string())
}

/// Frames at the sink once no more arrive.
fn arrived(sink: &Sink) -> u64 {
    let mut last = sink.arrived().expect("map").frames;
    let mut still = 0;
    until("the sink to fall silent", || {
        let now = sink.arrived().expect("map").frames;
        still = if now == last { still + 1 } else { 0 };
        last = now;
        still == 20
    });
    last
}

/// The gate is dead: does the wire hold? Link, program and pins are still there, nothing crosses, and
/// the program's own drops grow by exactly what was sent. An error says what did not hold.
fn holds_without_a_gate(rig: &Rig, sink: &Sink, programs_before: [u64; 2]) -> Result<(), String> {
    for (port, id) in ["outside", "inside"].into_iter().zip(programs_before) {
        if rig.link("gate", port)["xdp"]["prog"]["id"].as_u64() != Some(id) {
            return Err(format!("{port} lost its program"));
        }
        if !rig.place().pins.join(port).exists() {
            return Err(format!("{port} lost its pins"));
        }
    }
    let (before, at_sink) = (programs(rig)?, arrived(sink));
    let sent = rig.generator().run(&Load { frames: 500, ..SOME }).map_err(|error| error.to_string())?;
    if (sent.frames, sent.refused) != (500, 0) {
        return Err(format!("500 frames to send, {sent:?}"));
    }
    if arrived(sink) != at_sink {
        return Err("something crossed a dead gate".into());
    }
    let [outside, inside] = programs(rig)?;
    let drops = |counts: BpfCounts| counts.stale + counts.no_socket;
    if (drops(outside) - drops(before[0]), outside.redirected) != (500, before[0].redirected) {
        return Err(format!("500 frames are not the program's drops: {before:?} then {outside:?}"));
    }
    if inside != before[1] {
        return Err(format!("the inside port counted something: {inside:?}"));
    }
    Ok(())
}

fn program_ids(rig: &Rig) -> [u64; 2] {
    ["outside", "inside"]
        .map(|port| rig.link("gate", port)["xdp"]["prog"]["id"].as_u64().expect("attached"))
}

/// Runs traffic through a gate and kills it in the middle.
fn killed_under_traffic(rig: &Rig, sink: &Sink) -> [u64; 2] {
    let gate = rig.gate(POLICY);
    let ids = program_ids(rig);
    let mut generator = rig.generator();
    let endless = Load { frames: 10_000_000, time: Duration::from_secs(3), ..SOME };
    std::thread::scope(|scope| {
        let traffic = scope.spawn(move || generator.run(&endless).expect("runs"));
        until("traffic to cross", || sink.arrived().expect("map").frames > 2_000);
        gate.kill();
        traffic.join().expect("the generator ends");
    });
    ids
}

#[test]
fn a_killed_gate_lets_nothing_cross_and_its_program_counts_what_comes() {
    if left_out() {
        return;
    }
    let status = killed_and_taken_over(&Rig::raise());
    assert_eq!(status.workers.len(), 1);
    assert_eq!(passed_on(&status), (0, 0));
}

#[test]
fn so_does_one_of_two_workers_and_its_successors_pass_on_what_the_other_owns() {
    if left_out() {
        return;
    }
    let rig = Rig::with_queues(2);
    let status = killed_and_taken_over(&rig);
    assert_eq!(status.workers.len(), 2);
    let why = "flows are handed over between workers: outside has no receive-side scaling";
    assert!(status.notes.iter().any(|note| note == why), "{:?}", status.notes);
    let (handed, taken) = passed_on(&status);
    assert!(handed > 0 && handed == taken, "{handed} handed over, {taken} taken over");
    let forwarded = status.workers.iter().map(|worker| worker.equation.forwarded);
    assert!(forwarded.clone().all(|count| count > 0) && forwarded.sum::<u64>() == 1_000);
    assert!(status.workers.iter().all(|worker| worker.equation.holds));
}

/// Frames handed over and taken over, of all workers together.
fn passed_on(status: &Status) -> (u64, u64) {
    let sum = |term: fn(&WorkerStatus) -> u64| status.workers.iter().map(term).sum();
    (sum(|worker| worker.equation.handed_over), sum(|worker| worker.equation.taken_over))
}

/// Of the gate that took the wire over and forwarded a thousand frames.
fn killed_and_taken_over(rig: &Rig) -> Status {
    let sink = rig.sink();
    let ids = killed_under_traffic(rig, &sink);
    holds_without_a_gate(rig, &sink, ids).expect("the wire holds");

    // And back: the next gate takes the wire over, link and all.
    let gate = rig.gate(POLICY);
    assert!(gate.status().took_over);
    let before = arrived(&sink);
    let sent = rig.generator().run(&SOME).expect("runs");
    assert_eq!((sent.frames, sent.refused), (1_000, 0));
    assert_eq!(arrived(&sink) - before, 1_000);
    // What its program dropped while no gate ran is told apart, and leaves this one well.
    let status = gate.status();
    let (now, then) = (status.ports[0].bpf, status.ports[0].bpf_before);
    assert!(then.no_socket > 0, "frames came before the heartbeat was old: {then:?}");
    assert_eq!((now.no_socket, now.redirected - then.redirected), (then.no_socket, 1_000));
    assert_eq!(gate.health().checks.into_iter().filter(|check| !check.ok).collect::<Vec<_>>(), []);
    assert_eq!(gate.stop(), Some(0));
    status
}

#[test]
fn the_same_check_fails_when_the_program_was_taken_off() {
    if left_out() {
        return;
    }
    let rig = Rig::raise();
    let sink = rig.sink();
    let ids = killed_under_traffic(&rig, &sink);
    // The link's last reference is its pin.
    std::fs::remove_file(rig.place().pins.join("outside/link")).expect("the pin is there");
    until("the program to go", || rig.link("gate", "outside").get("xdp").is_none());
    assert_eq!(holds_without_a_gate(&rig, &sink, ids), Err("outside lost its program".into()));
}

#[test]
fn a_stopped_gate_leaves_the_wire_closed_and_release_gives_it_back() {
    if left_out() {
        return;
    }
    let rig = Rig::raise();
    let sink = rig.sink();
    let untouched = ["outside", "inside"].map(|port| {
        let link = rig.link("gate", port);
        (link["promiscuity"].clone(), link["qdisc"].clone(), link.get("xdp").cloned())
    });
    let gate = rig.gate(POLICY);
    let ids = program_ids(&rig);
    assert_eq!(gate.stop(), Some(0));
    holds_without_a_gate(&rig, &sink, ids).expect("a stop is closed, too");
    let released = rig.at("gate", || portcullis::gateway::release("w")).expect("released");
    assert!(released.programs && released.settings);
    assert!(!rig.place().pins.exists() && !rig.place().state.exists());
    let now = ["outside", "inside"].map(|port| {
        let link = rig.link("gate", port);
        (link["promiscuity"].clone(), link["qdisc"].clone(), link.get("xdp").cloned())
    });
    assert_eq!(now, untouched);
}

/// How long a silent wire is tried: three limits of its heartbeat, 120 of a worker's longest sleeps; or as many seconds
/// as `PORTCULLIS_TEST_SILENCE` says.
fn silence() -> Duration {
    let seconds = std::env::var("PORTCULLIS_TEST_SILENCE");
    Duration::from_secs(seconds.map_or(12, |text| text.parse().expect("a number of seconds")))
}

#[test]
fn a_silent_wire_does_not_look_dead() {
    if left_out() {
        return;
    }
    // A single worker, and two, of which the second may own what the first receives.
    let wires = [1, 2].map(|queues| {
        let rig = Rig::with_queues(queues);
        // Not less: a machine with much to do was seen to keep a worker from its processor for 2.3 s.
        let patient = POLICY.replace("heartbeat = \"500ms\"", "heartbeat = \"4s\"");
        let (sink, gate) = (rig.sink(), rig.gate(&patient));
        assert_eq!(gate.status().workers.len(), queues);
        (rig, sink, gate)
    });
    // Nothing is sent, for many heartbeat limits: the time itself is what is tried.
    std::thread::sleep(silence());
    for (rig, sink, _gate) in &wires {
        let sent = rig.generator().run(&Load { frames: 1, ..SOME }).expect("runs");
        assert_eq!((sent.frames, sent.refused), (1, 0));
        assert_eq!(arrived(sink), 1, "the first frame after the silence crosses");
        assert_eq!(
            programs(rig).expect("pinned")[0],
            BpfCounts { seen: 1, redirected: 1, stale: 0, no_socket: 0 }
        );
        // Whichever worker owns the next ones, it wakes.
        let sent = rig.generator().run(&Load { frames: 100, ..SOME }).expect("runs");
        assert_eq!((sent.frames, sent.refused), (100, 0));
        assert_eq!(arrived(sink), 101);
    }
}

fn side(status: &Status, side: usize) -> &portcullis::control::answers::SideStatus {
    &status.workers[0].sides[side]
}

/// What the socket dropped after the program had redirected it. A frame that finds the fill ring empty
/// counts as `rx_dropped` too (net/xdp/xsk.c), so the two are not added.
fn lost(side: &portcullis::control::answers::SideStatus) -> u64 {
    side.kernel.rx_dropped + side.kernel.rx_ring_full
}

#[test]
fn the_equation_holds_after_overload_against_counts_that_are_not_ours() {
    if left_out() {
        return;
    }
    let rig = Rig::raise();
    let sink = rig.sink();
    let gate = rig.gate(&POLICY.replace("rings = 1024", "rings = 64"));
    // More flows than a source may have: some are dropped by the gate itself.
    let flood = Load { rate: None, flows: 6_000, frames: 3_000_000, time: Duration::from_secs(10), ..SOME };
    let sent: Sent = rig.generator().run(&flood).expect("runs");
    // The gauges follow within a tenth of a second once the wire is silent.
    let mut status = gate.status();
    until("the gate to settle", || {
        let before = status.clone();
        status = gate.status();
        let counts = |s: &Status| (s.ports[0].bpf, side(s, 0).rx_packets, lost(side(s, 0)));
        let frames = status.workers[0].frames;
        counts(&status) == counts(&before)
            && (frames.sending, frames.held) == (0, 0)
            && status.ports[0].bpf.redirected == side(&status, 0).rx_packets + lost(side(&status, 0))
    });
    let received = arrived(&sink);
    let (outside, worker) = (&status.ports[0], &status.workers[0]);
    let counted = side(&status, 0);

    // 1. What was sent was refused by the sender's veth or seen by the program.
    assert_eq!(sent.frames, outside.bpf.seen + sent.refused);
    // 2. What the program saw it redirected or dropped; redirected = taken from RX + dropped by the socket.
    let bpf = outside.bpf;
    assert_eq!(bpf.seen, bpf.redirected + bpf.stale + bpf.no_socket);
    assert_eq!(bpf.redirected, counted.rx_packets + lost(counted));
    // 3. Taken = forwarded + dropped, by the worker.
    assert!(worker.equation.holds);
    assert_eq!(counted.rx_packets, counted.forwarded_packets + counted.dropped.values().sum::<u64>());
    // 4. Forwarded = arrived + what the veth and the qdisc lost by their own counts.
    let veth_lost = rig.counted("gate", "inside", "tx", "dropped");
    assert_eq!(counted.forwarded_packets, received + veth_lost + qdisc_dropped(&rig));
    assert_eq!(worker.frames.total, 2 * 64);
    // It was an overload, and it was not only dropped.
    assert!(lost(counted) + sent.refused > 0, "the flood was too small: {status:#?}");
    assert!(received > 1_000, "{received}");
    assert!(counted.dropped.values().sum::<u64>() > 0, "the gate itself dropped nothing");
    assert_eq!(sink.arrived().expect("map").strangers, 0);
}

fn qdisc_dropped(rig: &Rig) -> u64 {
    let text = rig::run("tc", &["-n", &rig.netns("gate"), "-s", "-j", "qdisc", "show", "dev", "inside"]);
    let all: Vec<serde_json::Value> = serde_json::from_str(&text).expect("JSON");
    all.iter().map(|qdisc| qdisc["drops"].as_u64().expect("a count")).sum()
}

#[test]
fn a_port_that_goes_is_told_everywhere_and_a_new_gate_takes_its_successor() {
    if left_out() {
        return;
    }
    let rig = Rig::raise();
    let (gate_ns, far) = (rig.netns("gate"), rig.netns("in"));
    let said = rig.folder().join("said");
    let gate = rig.gate_telling(POLICY, std::fs::File::create(&said).unwrap());
    let lines = || -> Vec<String> {
        let text = std::fs::read_to_string(&said).unwrap();
        let told = text.lines().filter_map(|line| Some(line.split_once(" UTC: ")?.1.to_owned()));
        told.collect()
    };
    let state = |gate: &rig::Gate| gate.status().ports.into_iter().map(|port| port.link.state);
    let becomes = |gate: &rig::Gate, outside: &str, inside: &str| {
        until("a state", || state(gate).eq([outside, inside]));
        let ports = gate.health().checks.into_iter().find(|check| check.name == "ports").unwrap();
        let up = (outside, inside) == ("up", "up");
        assert_eq!((ports.ok, gate.health().ok), (up, up), "{}", ports.found);
    };
    becomes(&gate, "up", "up");
    assert_eq!(gate.status().ports[1].link.remedy, None);

    // Set down, and up again: the same gate goes on.
    rig::run("ip", &["-n", &gate_ns, "link", "set", "inside", "down"]);
    becomes(&gate, "up", "down");
    assert_eq!(gate.status().ports[1].link.remedy.as_deref(), Some("ip link set inside up"));
    until("a line", || lines() == ["inside inside is down, nothing crosses: ip link set inside up"]);
    rig::run("ip", &["-n", &gate_ns, "link", "set", "inside", "up"]);
    becomes(&gate, "up", "up");
    until("two lines", || lines().len() == 2);
    assert_eq!(lines()[1], "inside inside is up again");
    let sink = rig.sink();
    until("the carrier", || rig.link("out", "wire")["operstate"] == "UP");
    let crossed = |already: u64| {
        let sent = rig.generator().run(&Load { frames: 100, ..SOME }).unwrap();
        assert_eq!((sent.frames, sent.refused), (100, 0));
        until("100 frames", || sink.arrived().unwrap().frames == already + 100);
    };
    crossed(0);

    // Nothing at the far end.
    rig::run("ip", &["-n", &far, "link", "set", "wire", "down"]);
    becomes(&gate, "up", "no_carrier");
    until("three lines", || lines().len() == 3);
    rig::run("ip", &["-n", &far, "link", "set", "wire", "up"]);
    becomes(&gate, "up", "up");
    until("four lines", || lines().len() == 4);
    let expected = "inside inside is up without a link, nothing crosses: look at its cable and at the far end, \
                    which may be down";
    assert_eq!(lines()[2..], [expected, "inside inside is up again"]);

    // Deleted; another one under its name is not it.
    rig::run("ip", &["-n", &gate_ns, "link", "del", "outside"]);
    becomes(&gate, "gone", "up");
    let remedy = "bring outside back, then stop this gate and run it again: it takes the wire over";
    assert_eq!(gate.status().ports[0].link.remedy.as_deref(), Some(remedy));
    until("five lines", || lines().len() == 5);
    let out = rig.netns("out");
    let veth = ["type", "veth", "peer", "name", "wire", "netns", &out];
    rig::run("ip", &[&["-n", &gate_ns, "link", "add", "outside"][..], &veth].concat());
    for (space, link) in [(&gate_ns, "outside"), (&out, "wire")] {
        rig::run("ip", &["-n", space, "link", "set", link, "addrgenmode", "none", "arp", "off"]);
        rig::run("ip", &["-n", space, "link", "set", link, "multicast", "off", "up"]);
    }
    becomes(&gate, "replaced", "up");
    until("six lines", || lines().len() == 6);
    assert_eq!(
        lines()[4..],
        [
            format!("outside outside is gone, nothing crosses: {remedy}"),
            "outside outside is replaced, nothing crosses: stop this gate and run it again: it takes the wire \
             over with the new outside"
                .to_owned()
        ]
    );
    // What the remedy says.
    assert_eq!(gate.stop(), Some(0));
    let again = rig.gate(POLICY);
    becomes(&again, "up", "up");
    until("the carrier", || rig.link("out", "wire")["operstate"] == "UP");
    crossed(100);
    assert_eq!(again.stop(), Some(0));
}

#[test]
fn a_reload_under_traffic_loses_nothing_and_from_its_return_on_nothing_denied_crosses() {
    if left_out() {
        return;
    }
    let rig = Rig::raise();
    let sink = rig.sink();
    // Nothing here is about a worker that lost its processor for a while.
    let policy = POLICY.replace("500ms", "30s");
    let gate = rig.gate(&policy);
    let mut generator = rig.generator();
    let crossed = AtomicU64::new(0);
    let sent = std::thread::scope(|scope| {
        let reloads = scope.spawn(|| {
            let traffic_goes_on = || {
                let before = crossed.load(Ordering::Relaxed);
                until("traffic to cross", || crossed.load(Ordering::Relaxed) > before);
            };
            traffic_goes_on();
            for generation in 2..=6 {
                let reloaded = gate.reload(&policy).expect("in force");
                assert_eq!(reloaded.policy.generation, generation);
                let workers = reloaded.workers.expect("published");
                assert!(workers.iter().all(|worker| worker.nanos.is_some()), "{workers:?}");
                traffic_goes_on();
            }
        });
        // Half of what the gate's rings hold, and then the next half: whoever takes its processor away makes it
        // late, and every frame that is missing was lost by the gate.
        let mut sent = 0;
        while !reloads.is_finished() {
            let step = generator.run(&Load { frames: 500, ..SOME }).expect("runs");
            assert_eq!((step.frames, step.refused), (500, 0));
            sent += step.frames;
            all_arrive(&sink, &gate, sent);
            crossed.store(sent, Ordering::Relaxed);
        }
        reloads.join().expect("the reloads end");
        sent
    });
    assert_eq!(arrived(&sink), sent, "no packet is lost, and none comes twice");
    assert_eq!(side(&gate.status(), 0).dropped, [].into());
    assert_eq!(gate.status().workers[0].generation, 6);
    flows_are_listed(&gate, sent / 100);
    one_flow_is_cut(&gate, &policy, sent / 100);

    // Another service is allowed now: of the very same flows nothing crosses, from the return on.
    let denied = policy.replace("udp/4739", "udp/4740");
    gate.reload(&denied).expect("in force");
    let refused = generator.run(&Load { frames: 500, ..SOME }).expect("runs");
    assert_eq!((refused.frames, refused.refused), (500, 0));
    until("the frames to be judged", || side(&gate.status(), 0).dropped.get("no_rule") == Some(&500));
    assert_eq!(arrived(&sink), sent);
    until("the flows to end", || gate.status().workers[0].flows == 0);
    let cuts = complete(&gate);
    assert_eq!((cuts.generation, cuts.ended, cuts.kept, cuts.forgotten, cuts.lost), (8, 99, 100, 0, 0));
    for cut in &cuts.cuts[1..] {
        assert_eq!((cut.reason.as_str(), cut.was_generation, cut.generation), ("no_rule", 7, 8));
        assert_eq!((&cut.rule, cut.service.as_str()), (&None, "udp/4739"));
        assert_eq!(cut.was.as_ref().map(|rule| rule.id.as_str()), Some("allow.load"));
    }

    // And back.
    gate.reload(&policy).expect("in force");
    generator.run(&Load { frames: 500, ..SOME }).expect("runs");
    all_arrive(&sink, &gate, sent + 500);
    assert_eq!(arrived(&sink), sent + 500);
    assert!(gate.health().ok);
    assert_eq!(gate.stop(), Some(0));
}

/// Waits until so many frames are at the sink, at most 20 s; if they are not, the status says who counted them.
fn all_arrive(sink: &Sink, gate: &rig::Gate, count: u64) {
    let end = rig::traffic::monotonic() + 20_000_000_000;
    let mut at_sink = 0;
    while at_sink < count {
        at_sink = sink.arrived().expect("map").frames;
        let late = rig::traffic::monotonic() > end;
        assert!(!late, "{at_sink} of {count} frames arrived: {:#?}", gate.status());
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn ask(gate: &rig::Gate, words: &[&str]) -> String {
    let socket = gate.socket().to_str().unwrap();
    rig::run(env!("CARGO_BIN_EXE_portcullis"), &[words, &["--socket", socket]].concat())
}

/// The hundred flows of [`SOME`] with so many packets each, whole, in pages and by name.
fn flows_are_listed(gate: &rig::Gate, packets: u64) {
    let listed = |words: &[&str]| -> Flows {
        serde_json::from_str(&ask(gate, &[&["flows", "--format", "json"], words].concat())).unwrap()
    };
    // The gauge follows within a tenth of a second.
    until("the gauge", || gate.status().workers[0].flows == 100);
    let all = listed(&[]);
    assert_eq!((all.flows.len(), all.next.as_deref(), all.live, all.generation), (100, None, 100, 6));
    let mut ports: Vec<u16> = all.flows.iter().filter_map(|flow| flow.from.port).collect();
    ports.sort_unstable();
    assert_eq!(ports, (1_024..1_124).collect::<Vec<u16>>());
    for flow in &all.flows {
        let names = [&flow.from, &flow.to].map(|end| end.name.as_deref());
        assert_eq!(names, [Some("senders"), Some("sink")]);
        assert_eq!((flow.from.packets, flow.to.packets, flow.generation), (packets, 0, 6));
        assert_eq!((flow.service.as_str(), flow.state.as_str()), ("udp/4739", "opening"));
        assert_eq!((flow.side.as_str(), flow.verdict.as_str()), ("outside", "allow"));
        assert_eq!(flow.rule.as_ref().map(|rule| rule.id.as_str()), Some("allow.load"));
    }
    // In pages, as a program asks for them.
    let (mut paged, mut after) = (Vec::new(), "0.0".to_owned());
    loop {
        let page = client::flows(gate.socket(), [("limit", "7"), ("after", &after)]).unwrap();
        assert!(page.flows.len() <= 7);
        paged.extend(page.flows.into_iter().filter_map(|flow| flow.from.port));
        let Some(next) = page.next else { break };
        after = next;
    }
    paged.sort_unstable();
    assert_eq!(paged, ports);
    let limited = listed(&["--limit", "9"]);
    assert_eq!((limited.flows.len(), limited.next.is_some()), (9, true));
    let counted = |words: &[&str]| listed(&[&["--count"], words].concat()).counts.flows;
    assert_eq!(counted(&["--workload", "sink", "--state", "opening"]), 100);
    assert_eq!(counted(&["--service", "udp/53"]), 0);
    assert_eq!(counted(&["--workload", "10.99.0.1"]), 0);
    let none: Cuts = serde_json::from_str(&ask(gate, &["flows", "--cut", "--format", "json"])).unwrap();
    assert_eq!((none.ended, none.kept, none.generation), (0, 0, 6));
}

/// The list of cuts once it is complete.
fn complete(gate: &rig::Gate) -> Cuts {
    let read = || client::cuts(gate.socket(), 4_096).expect("cuts");
    until("the list of cuts to be complete", || read().complete);
    read()
}

/// A rule with an owner that ends one flow of the hundred, which has had so many packets.
fn one_flow_is_cut(gate: &rig::Gate, policy: &str, packets: u64) {
    let rule = r#"
[owner.security]
authors = ["group:netsec"]
approvers = ["group:netsec-leads"]
[deny.one]
from = { app = "sender" }
to = { app = "sink" }
services = ["udp/4739 from 1030"]
owner = "security"
"#;
    gate.reload(&(policy.to_owned() + rule)).expect("in force");
    let cuts = complete(gate);
    assert_eq!((cuts.generation, cuts.ended, cuts.kept), (7, 1, 1));
    let cut = &cuts.cuts[0];
    let ends = [&cut.from, &cut.to].map(|end| (end.port, end.name.as_deref(), end.packets));
    assert_eq!(ends, [(Some(1_030), Some("senders"), packets), (Some(4_739), Some("sink"), 0)]);
    assert_eq!((cut.reason.as_str(), cut.by.as_str()), ("denied", "hand"));
    let line = policy.lines().count() + 4;
    let by = RuleLine {
        id: "deny.one".into(),
        place: Some(format!("gate.toml:{}", line + 1)),
        owner: Some("security".into()),
    };
    assert_eq!(cut.rule, Some(by));
    assert_eq!(cut.was.as_ref().map(|rule| rule.id.as_str()), Some("allow.load"));
    assert_eq!((cut.was_generation, cut.generation), (6, 7));
    let page = ask(gate, &["flows", "--cut"]);
    assert!(
        page.contains(" by deny.one gate.toml:")
            && page.contains(", owner security\n    judged before by allow.load"),
        "{page}"
    );
    assert!(
        page.ends_with("generation 7 ended 1 flow · complete: every flow has been judged by it\n"),
        "{page}"
    );
}

#[test]
fn a_policy_that_cannot_be_put_in_force_leaves_the_one_that_is() {
    if left_out() {
        return;
    }
    let rig = Rig::raise();
    let sink = rig.sink();
    let gate = rig.gate(POLICY);
    let reload = |text: &str| {
        let file = rig.folder().join("other.toml");
        std::fs::write(&file, text).unwrap();
        let done = std::process::Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .args(["reload", "--policy", "other.toml", "--socket"])
            .arg(gate.socket())
            .current_dir(rig.folder())
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (done.status.code(), text(done.stdout), text(done.stderr))
    };
    let (code, out, err) = reload(&POLICY.replace("app = \"sender\" }", "app = \"sender\", role = 7 }"));
    assert_eq!((code, err.as_str()), (Some(2), ""));
    assert!(
        out.contains("error[P") && out.contains("other.toml:") && out.contains("nothing was loaded"),
        "{out}"
    );
    let (code, out, err) = reload(&POLICY.replace("rings = 1024", "rings = 64"));
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert_eq!(
        err,
        "error: a running gate cannot change [gate] rings from 1024 to 64; nothing was changed\n  remedy: put the \
         old values back, or stop the gate and run it with this policy: it takes the wire over; a wire of another \
         name is released first\n"
    );
    let (code, out, _) = reload(POLICY);
    assert_eq!(code, Some(0), "and a sound one is taken");
    assert!(
        out.starts_with("in force: policy table ") && out.contains(" 1 of 1 worker judges by it"),
        "{out}"
    );
    assert_eq!(gate.status().policy.generation, 2);
    generator_crosses(&rig, &sink);
    assert_eq!(gate.stop(), Some(0));
}

fn generator_crosses(rig: &Rig, sink: &Sink) {
    let before = arrived(sink);
    let sent = rig.generator().run(&Load { frames: 500, ..SOME }).expect("runs");
    assert_eq!((sent.frames, sent.refused), (500, 0));
    assert_eq!(arrived(sink) - before, 500);
}
