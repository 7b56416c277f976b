//! Checks of the ports that a policy names, in the network namespace of this process.
//!
//! The checksum symptom: a veth leaves the checksum of a packet made on this machine to hardware that
//! does not exist; the stack knows, XDP does not, and the receiver drops every TCP segment in silence. The
//! peer's setting decides, so the peer is looked for in the namespaces below /run/netns.
//!
//! The same with VLAN tags: a veth that leaves a tag to hardware hands the frame over without it, and it is
//! judged as untagged. What the port itself strips, a start switches off.

use super::Check;
use crate::policy::model::{Gate, Wire};

/// All of them, both ports.
#[cfg(feature = "xdp")]
pub(super) fn checks(wire: &Wire, gate: &Gate) -> Vec<Check> {
    use crate::gateway::Place;
    use crate::wire::Side;

    let place = match Place::of(&wire.name) {
        Ok(place) => place,
        Err(error) => return vec![Check::unknown("ports", error.to_string(), "mount /proc")],
    };
    let mut checks = Vec::new();
    for (side, interface) in Side::BOTH.into_iter().zip(&wire.ports) {
        let name = format!("{side} {interface}");
        match survey::port(interface, &place.pins.join(side.name())) {
            Ok(Some(facts)) => {
                checks.extend(facts_checks(&name, interface, &facts, gate.symmetric_rss));
                let peer = other_end(&facts);
                checks.push(checksum_check(&format!("{name}: checksums"), &peer));
                checks.push(tag_check(&format!("{name}: VLAN tags"), interface, facts.stripping, &peer));
            }
            Ok(None) => checks.push(Check::fail(
                name,
                "no such interface in this network namespace",
                format!(
                    "create it, or correct wire.{} in the policy; `ip link` lists what is there",
                    wire.name
                ),
            )),
            Err(error) => checks.push(Check::unknown(name, error.to_string(), "run as root")),
        }
    }
    let [outside, inside] = &wire.ports;
    checks.push(match crate::gateway::foresee([outside, inside], gate.queues) {
        Ok((queues, why)) => Check::pass("workers", format!("{queues}: {why}")),
        Err(error) => Check::fail("workers", error.to_string(), "correct the ports, or `[gate] queues`"),
    });
    checks
}

/// Without the feature nothing is known of interfaces, and the host's checks have failed already.
#[cfg(not(feature = "xdp"))]
pub(super) fn checks(_wire: &Wire, _gate: &Gate) -> Vec<Check> {
    Vec::new()
}

#[cfg(feature = "xdp")]
use crate::io::af_xdp::survey::{self, PortFacts, Scaling};
#[cfg(feature = "xdp")]
use crate::io::hardware;

#[cfg(feature = "xdp")]
fn facts_checks(name: &str, interface: &str, facts: &PortFacts, symmetric: bool) -> Vec<Check> {
    use crate::io::af_xdp::MAX_MTU;

    let check = |what: &str| format!("{name}: {what}");
    let link = if facts.up {
        Check::pass(check("link"), format!("driver {}, up", facts.driver))
    } else {
        Check::pass(check("link"), format!("driver {}, down: a start brings it up", facts.driver))
    };
    let scaling = match facts.scaling {
        Scaling::None => "it spreads nothing by itself: flows are handed over where there are several",
        Scaling::OwnKey => "its hash key is its own: flows are handed over where there are several",
        Scaling::KeyShown if !symmetric => {
            "its hash key stays, for `symmetric_rss` is false: flows are handed over where there are several"
        }
        Scaling::KeyShown => "with a hash key: a start makes it symmetric, if the card takes that",
    };
    let queues =
        Check::pass(check("queues"), format!("{} of {} at most, {scaling}", facts.queues, facts.most));
    let driver = match hardware::driver(&facts.driver) {
        Some(known) => Check::pass(check("driver"), known.summary()),
        None => Check::unknown(
            check("driver"),
            format!("{} is not in the table of drivers", facts.driver),
            "what it says of itself counts; docs/HARDWARE.md lists those that are known",
        ),
    };
    let mtu = if facts.mtu <= MAX_MTU {
        Check::pass(check("MTU"), format!("{}, a frame holds {MAX_MTU}", facts.mtu))
    } else {
        Check::fail(
            check("MTU"),
            format!("{}, and a frame holds {MAX_MTU}", facts.mtu),
            format!("ip link set {interface} mtu {MAX_MTU}"),
        )
    };
    let program = match &facts.program {
        None => Check::pass(check("XDP program"), "none attached"),
        Some(program) if program.ours => {
            Check::pass(check("XDP program"), format!("ours, id {}: a start takes over", program.id))
        }
        Some(program) => Check::fail(
            check("XDP program"),
            format!("`{}` (id {}) of somebody else", program.name, program.id),
            format!("stop its owner, or ip link set dev {interface} xdp off"),
        ),
    };
    vec![link, driver, driver_check(check("XDP"), facts.features), queues, mtu, program]
}

#[cfg(feature = "xdp")]
fn driver_check(name: String, features: Option<survey::Features>) -> Check {
    match features {
        Some(survey::Features { native: true, zero_copy: true }) => Check::pass(name, "native, zero-copy"),
        Some(survey::Features { native: true, zero_copy: false }) => {
            Check::pass(name, "native, copy mode: the driver has no zero-copy")
        }
        Some(survey::Features { native: false, .. }) => Check::unknown(
            name,
            "generic: the driver has no native mode",
            "it works, at a fraction of the rate; take a driver with native XDP",
        ),
        None => Check::unknown(
            name,
            "this kernel does not say what the driver can do",
            "a start tries native first and says which it got; Linux 6.3 and later say beforehand",
        ),
    }
}

/// What is known of the other end of a veth.
#[cfg(feature = "xdp")]
#[derive(Clone, Debug, PartialEq, Eq)]
enum OtherEnd {
    /// The port is no veth.
    NotAVeth,
    /// The other end is in none of the namespaces that can be entered.
    NotVisible,
    /// It was found.
    Seen { end: survey::End, namespace: Option<String> },
}

#[cfg(feature = "xdp")]
fn other_end(facts: &PortFacts) -> OtherEnd {
    match facts.peer {
        Some(peer) if facts.driver == "veth" => find(peer),
        Some(_) | None => OtherEnd::NotAVeth,
    }
}

#[cfg(feature = "xdp")]
fn checksum_check(name: &str, peer: &OtherEnd) -> Check {
    match peer {
        OtherEnd::NotAVeth => Check::pass(name, "frames come from a link that carries whole checksums"),
        OtherEnd::NotVisible => Check::unknown(
            name,
            "the other end of this veth is not visible from here",
            "on that end: ethtool -K INTERFACE tx off; otherwise TCP dies in silence",
        ),
        OtherEnd::Seen { end, namespace } => seen_check(name, end, namespace.as_deref()),
    }
}

#[cfg(feature = "xdp")]
fn tag_check(name: &str, interface: &str, own: survey::Stripping, peer: &OtherEnd) -> Check {
    use survey::Stripping;

    const OFF: &str = "txvlan off tx-vlan-stag-hw-insert off";
    let here = match own {
        Stripping::Fixed(offload) => {
            return Check::fail(
                name,
                format!("{offload} takes them off and cannot be switched off: a start is refused"),
                format!("take a port in place of {interface} that leaves tags where they are"),
            );
        }
        Stripping::On(offload) => format!("{offload} takes them off: a start switches it off"),
        Stripping::Off => "the port leaves them where they are".to_owned(),
    };
    match peer {
        OtherEnd::NotAVeth => Check::pass(name, here),
        OtherEnd::NotVisible => Check::unknown(
            name,
            format!("{here}; the other end of this veth is not visible from here"),
            format!("on that end: ethtool -K INTERFACE {OFF}; otherwise a tag may be lost on the way"),
        ),
        OtherEnd::Seen { end, namespace } => match end.tags_beside {
            None => {
                Check::pass(name, format!("{here}; the other end, {}, writes them into frames", end.name))
            }
            Some(offload) => Check::fail(
                name,
                format!(
                    "the other end, {}{}, leaves them to hardware ({offload}): a tagged frame would be \
                     judged as an untagged one",
                    end.name,
                    within(namespace.as_deref())
                ),
                format!("{}ethtool -K {} {OFF}", entering(namespace.as_deref()), end.name),
            ),
        },
    }
}

#[cfg(feature = "xdp")]
fn within(namespace: Option<&str>) -> String {
    namespace.map_or_else(String::new, |name| format!(" in {name}"))
}

/// What a command in a namespace begins with.
#[cfg(feature = "xdp")]
fn entering(namespace: Option<&str>) -> String {
    namespace.map_or_else(String::new, |name| format!("nsenter --net=/run/netns/{name} "))
}

#[cfg(feature = "xdp")]
fn seen_check(name: &str, end: &survey::End, namespace: Option<&str>) -> Check {
    let other = format!("the other end, {}{},", end.name, within(namespace));
    if !end.transmit_checksums {
        return Check::pass(name, format!("{other} writes whole checksums"));
    }
    let remedy = format!("{}ethtool -K {} tx off", entering(namespace), end.name);
    if end.bridged {
        let found = format!("{other} bridges what may lack checksums: TCP from this machine may die");
        Check::unknown(name, found, remedy + ", or the same on every endpoint behind it")
    } else {
        Check::fail(name, format!("{other} leaves checksums to hardware: TCP from there dies"), remedy)
    }
}

/// Looks for the other end: here, or in the one of the named namespaces that the kernel says.
#[cfg(feature = "xdp")]
fn find(peer: survey::Peer) -> OtherEnd {
    use crate::lab::namespace::{path, run_in};

    let look = || survey::end(peer.index).ok()?;
    let seen = |namespace, end| OtherEnd::Seen { end, namespace };
    let Some(wanted) = peer.namespace else {
        return look().map_or(OtherEnd::NotVisible, |found| seen(None, found));
    };
    let names = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
    for name in names.filter_map(|entry| entry.file_name().into_string().ok()) {
        let id = std::fs::File::open(path(&name)).ok().and_then(|file| survey::namespace_id(file).ok()?);
        if id == Some(wanted)
            && let Ok(Some(found)) = run_in(&name, look)
        {
            return seen(Some(name), found);
        }
    }
    OtherEnd::NotVisible
}

#[cfg(test)]
#[cfg(feature = "xdp")]
mod tests {
    use super::super::Finding;
    use super::*;
    use crate::io::af_xdp::survey::Attachment;

    fn facts() -> PortFacts {
        PortFacts {
            driver: "veth".into(),
            bus: String::new(),
            mtu: 1_500,
            up: true,
            queues: 1,
            most: 2,
            scaling: Scaling::None,
            stripping: survey::Stripping::On("rx-vlan-hw-parse"),
            features: Some(survey::Features { native: true, zero_copy: false }),
            program: None,
            peer: Some(survey::Peer { index: 3, namespace: None }),
        }
    }

    fn failing(facts: &PortFacts) -> Vec<(String, String)> {
        let checks = facts_checks("outside o", "o", facts, true);
        checks
            .into_iter()
            .filter(|check| check.finding == Finding::Fail)
            .map(|check| (check.name, check.remedy.unwrap()))
            .collect()
    }

    #[test]
    fn each_thing_wrong_with_a_port_fails_one_check() {
        let fails = |facts, name: &str, remedy: &str| {
            assert_eq!(failing(&facts), [(format!("outside o: {name}"), remedy.to_owned())]);
        };
        assert_eq!(failing(&facts()), []);
        fails(PortFacts { mtu: 9_000, ..facts() }, "MTU", "ip link set o mtu 3690");
        let foreign = |ours| Some(Attachment { id: 7, name: "theirs".into(), ours });
        assert_eq!(failing(&PortFacts { program: foreign(true), up: false, ..facts() }), []);
        fails(
            PortFacts { program: foreign(false), ..facts() },
            "XDP program",
            "stop its owner, or ip link set dev o xdp off",
        );
    }

    #[test]
    fn queues_and_drivers_are_told_as_they_are_known() {
        let by = |symmetric, facts: &PortFacts, name: &str| {
            let checks = facts_checks("o", "o", facts, symmetric);
            let check = checks.into_iter().find(|check| check.name == format!("o: {name}")).unwrap();
            (check.finding, check.found)
        };
        let told = |facts: &PortFacts, name: &str| by(true, facts, name);
        assert_eq!(
            told(&facts(), "queues").1,
            "1 of 2 at most, it spreads nothing by itself: flows are handed over where there are several"
        );
        let card = PortFacts { queues: 4, most: 8, scaling: Scaling::KeyShown, ..facts() };
        assert_eq!(
            told(&card, "queues").1,
            "4 of 8 at most, with a hash key: a start makes it symmetric, if the card takes that"
        );
        assert_eq!(
            by(false, &card, "queues").1,
            "4 of 8 at most, its hash key stays, for `symmetric_rss` is false: flows are handed over where \
             there are several"
        );
        assert!(told(&facts(), "driver").1.starts_with("native XDP since Linux 4.19"));
        assert_eq!(told(&PortFacts { driver: "tun".into(), ..facts() }, "driver").0, Finding::Unknown);
    }

    #[test]
    fn a_driver_is_judged_by_what_it_says() {
        let check =
            |native, zero_copy| driver_check("x".into(), Some(survey::Features { native, zero_copy }));
        assert_eq!(check(true, true).found, "native, zero-copy");
        assert_eq!(check(true, false).finding, Finding::Pass);
        assert_eq!(check(false, false).finding, Finding::Unknown);
        assert_eq!(driver_check("x".into(), None).finding, Finding::Unknown);
    }

    #[test]
    fn the_checksum_symptom_is_told_from_what_cannot_be_seen() {
        let check = |peer| checksum_check("c", &peer);
        let seen = |transmit_checksums, bridged| {
            let end = survey::End { name: "o1".into(), bridged, transmit_checksums, tags_beside: None };
            check(OtherEnd::Seen { end, namespace: Some("ns".into()) })
        };
        assert_eq!(check(OtherEnd::NotAVeth).finding, Finding::Pass);
        assert_eq!(check(OtherEnd::NotVisible).finding, Finding::Unknown);
        assert_eq!(seen(false, false).finding, Finding::Pass);
        assert_eq!(seen(false, true).finding, Finding::Pass);
        assert_eq!(seen(true, true).finding, Finding::Unknown);
        let fail = seen(true, false);
        assert_eq!(fail.finding, Finding::Fail);
        assert_eq!(fail.remedy.unwrap(), "nsenter --net=/run/netns/ns ethtool -K o1 tx off");
    }

    #[test]
    fn a_tag_that_would_be_lost_is_told_with_its_place() {
        use survey::Stripping;
        let check = |own, peer| tag_check("t", "o", own, &peer);
        let seen = |tags_beside| {
            let end =
                survey::End { name: "o1".into(), bridged: true, transmit_checksums: false, tags_beside };
            OtherEnd::Seen { end, namespace: Some("ns".into()) }
        };
        let pass = check(Stripping::On("rx-vlan-hw-parse"), OtherEnd::NotAVeth);
        assert_eq!(
            (pass.finding, pass.found.as_str()),
            (Finding::Pass, "rx-vlan-hw-parse takes them off: a start switches it off")
        );
        assert_eq!(check(Stripping::Off, seen(None)).finding, Finding::Pass);
        assert_eq!(check(Stripping::Off, OtherEnd::NotVisible).finding, Finding::Unknown);
        let fixed = check(Stripping::Fixed("rx-vlan-hw-parse"), OtherEnd::NotAVeth);
        assert_eq!(fixed.finding, Finding::Fail);
        assert!(fixed.found.starts_with("rx-vlan-hw-parse takes them off and cannot be"), "{fixed:?}");
        let lost = check(Stripping::Off, seen(Some("tx-vlan-hw-insert")));
        assert_eq!(lost.finding, Finding::Fail);
        assert_eq!(
            lost.remedy.unwrap(),
            "nsenter --net=/run/netns/ns ethtool -K o1 txvlan off tx-vlan-stag-hw-insert off"
        );
    }

    #[test]
    fn a_peer_that_exists_nowhere_is_not_visible() {
        let index = u32::MAX / 2;
        assert_eq!(find(survey::Peer { index, namespace: None }), OtherEnd::NotVisible);
        assert_eq!(find(survey::Peer { index, namespace: Some(i32::MAX) }), OtherEnd::NotVisible);
    }
}
