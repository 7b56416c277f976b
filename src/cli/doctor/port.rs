//! Checks of the ports that a policy names, in the network namespace of this process.
//!
//! The checksum symptom: a veth leaves the checksum of a packet made on this machine to hardware that
//! does not exist; the stack knows, XDP does not, and the receiver drops every TCP segment in silence. The
//! peer's setting decides, so the peer is looked for in the namespaces below /run/netns.

use super::Check;
use crate::policy::model::Wire;

/// All of them, both ports.
#[cfg(feature = "xdp")]
pub(super) fn checks(wire: &Wire) -> Vec<Check> {
    use crate::gateway::Place;
    use crate::io::af_xdp::survey;
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
                checks.extend(facts_checks(&name, interface, &facts));
                checks.push(checksums(&name, &facts));
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
    checks
}

/// Without the feature nothing is known of interfaces, and the host's checks have failed already.
#[cfg(not(feature = "xdp"))]
pub(super) fn checks(_wire: &Wire) -> Vec<Check> {
    Vec::new()
}

#[cfg(feature = "xdp")]
use crate::io::af_xdp::survey::PortFacts;

/// Queues a wire has: one worker each.
#[cfg(feature = "xdp")]
const QUEUES: u32 = 1;

#[cfg(feature = "xdp")]
fn facts_checks(name: &str, interface: &str, facts: &PortFacts) -> Vec<Check> {
    use crate::io::af_xdp::MAX_MTU;

    let check = |what: &str| format!("{name}: {what}");
    let link = if facts.up {
        Check::pass(check("link"), format!("driver {}, up", facts.driver))
    } else {
        Check::pass(check("link"), format!("driver {}, down: a start brings it up", facts.driver))
    };
    let queues = if facts.queues == QUEUES {
        Check::pass(check("queues"), facts.queues.to_string())
    } else {
        Check::fail(
            check("queues"),
            format!("{}, and {QUEUES} has a worker", facts.queues),
            format!("ethtool -L {interface} combined {QUEUES}"),
        )
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
    vec![link, queues, mtu, program]
}

/// What is known of the other end of a veth.
#[cfg(feature = "xdp")]
#[derive(Clone, Debug, PartialEq, Eq)]
enum Peer {
    /// The port is no veth.
    NotAVeth,
    /// The other end is in none of the namespaces that can be entered.
    NotVisible,
    /// It was found.
    Seen { interface: String, namespace: Option<String>, checksums: bool },
}

#[cfg(feature = "xdp")]
fn checksums(name: &str, facts: &PortFacts) -> Check {
    let peer = match facts.peer {
        Some(peer) if facts.driver == "veth" => find_peer(facts.index, peer),
        Some(_) | None => Peer::NotAVeth,
    };
    checksum_check(&format!("{name}: checksums"), peer)
}

#[cfg(feature = "xdp")]
fn checksum_check(name: &str, peer: Peer) -> Check {
    match peer {
        Peer::NotAVeth => Check::pass(name, "frames come from a link that carries whole checksums"),
        Peer::NotVisible => Check::unknown(
            name,
            "the other end of this veth is not visible from here",
            "on that end: ethtool -K INTERFACE tx off; otherwise TCP dies in silence",
        ),
        Peer::Seen { interface, namespace, checksums } => {
            let place = namespace.as_ref().map_or_else(String::new, |name| format!(" in {name}"));
            if checksums {
                let enter =
                    namespace.map_or_else(String::new, |name| format!("nsenter --net=/run/netns/{name} "));
                Check::fail(
                    name,
                    format!(
                        "the other end, {interface}{place}, leaves checksums to hardware: TCP from there dies"
                    ),
                    format!("{enter}ethtool -K {interface} tx off"),
                )
            } else {
                Check::pass(name, format!("the other end, {interface}{place}, writes whole checksums"))
            }
        }
    }
}

/// Looks for interface `peer` whose own peer is `index`: here, then in every named namespace.
#[cfg(feature = "xdp")]
fn find_peer(index: u32, peer: u32) -> Peer {
    use crate::io::af_xdp::survey;
    use crate::lab::namespace::run_in;

    // The other end, if it is here: an interface of that index whose peer is the port.
    let look = || -> Option<(String, bool)> {
        let (name, back) = survey::by_index(peer).ok()??;
        let checksums = survey::transmit_checksums(&name).ok()?;
        (back == Some(index)).then_some((name, checksums))
    };
    if let Some((interface, checksums)) = look() {
        return Peer::Seen { interface, namespace: None, checksums };
    }
    let mut names: Vec<String> = std::fs::read_dir("/run/netns")
        .map(|entries| entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
        .unwrap_or_default();
    names.sort();
    for name in names {
        if let Ok(Some((interface, checksums))) = run_in(&name, look) {
            return Peer::Seen { interface, namespace: Some(name), checksums };
        }
    }
    Peer::NotVisible
}

#[cfg(test)]
#[cfg(feature = "xdp")]
mod tests {
    use super::super::Finding;
    use super::*;
    use crate::io::af_xdp::survey::Attachment;

    fn facts() -> PortFacts {
        PortFacts {
            index: 2,
            driver: "veth".into(),
            mtu: 1_500,
            up: true,
            queues: 1,
            program: None,
            peer: Some(3),
            transmit_checksums: false,
        }
    }

    fn failing(facts: &PortFacts) -> Vec<(String, String)> {
        let checks = facts_checks("outside o", "o", facts);
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
        fails(PortFacts { queues: 4, ..facts() }, "queues", "ethtool -L o combined 1");
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
    fn the_checksum_symptom_is_told_from_what_cannot_be_seen() {
        let check = |peer| checksum_check("c", peer);
        let seen =
            |checksums| Peer::Seen { interface: "o1".into(), namespace: Some("ns".into()), checksums };
        assert_eq!(check(Peer::NotAVeth).finding, Finding::Pass);
        assert_eq!(check(Peer::NotVisible).finding, Finding::Unknown);
        assert_eq!(check(seen(false)).finding, Finding::Pass);
        let fail = check(seen(true));
        assert_eq!(fail.finding, Finding::Fail);
        assert_eq!(fail.remedy.unwrap(), "nsenter --net=/run/netns/ns ethtool -K o1 tx off");
    }

    #[test]
    fn a_peer_that_exists_nowhere_is_not_visible() {
        assert_eq!(find_peer(u32::MAX / 2, u32::MAX / 2 - 1), Peer::NotVisible);
    }
}
