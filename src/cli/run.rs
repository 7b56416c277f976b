//! `portcullis run`: opens the wire of a policy and judges what crosses, until told to stop.

use std::fmt::Write;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use clap::Args;

use super::Done;
use super::fault::{Fault, PolicyArg, draw, read_policy, tell};
use super::page::count;
use super::screen::Screen;
use super::status::{cut_off, in_force, to_the_second};
use crate::control::answers::{LinkStatus, Status, ZoneStatus};
use crate::control::{Clock, Server, Socket, View, instant};
use crate::gateway;
use crate::io::clock;
use crate::policy::proof::Proven;
use crate::record::Recorder;
use crate::wire::Side;

/// How often the ports are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// Open the wire of a policy and judge what crosses, until told to stop (Ctrl-C or SIGTERM).
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    policy: PolicyArg,
    /// Socket of the API, in place of the policy's.
    #[arg(long, env = "PORTCULLIS_SOCKET", hide_env_values = true, value_name = "PATH")]
    socket: Option<PathBuf>,
}

/// Runs the verb.
///
/// # Errors
/// The gate does not start; nothing is left attached.
pub(crate) fn run(args: &RunArgs, screen: &mut Screen) -> Result<Done, Fault> {
    // First of all: a policy that does not do what it promises touches no port.
    let policy = match Proven::new(read_policy(&args.policy.policy)?) {
        Ok(policy) => policy,
        Err(rejected) => {
            tell(&draw(&rejected));
            return Ok(Done::Findings);
        }
    };
    gateway::permitted()?;
    let model = &policy.loaded().model;
    let wire = model.wire.name.clone();
    // From here on a signal is an orderly stop, also one that comes while the wire is being opened.
    let (stop, stopped) = mpsc::channel();
    ctrlc::set_handler(move || {
        // A second signal finds the first one waiting.
        let _ = stop.send(());
    })
    .map_err(|error| Fault::System("cannot take signals", io::Error::other(error)))?;
    // The socket first: a name that is taken is found before a port is touched.
    let socket = Socket::claim(args.socket.as_ref().unwrap_or(&model.gate.socket))?;
    let running = gateway::start(policy)?;

    let thread = |error| Fault::System("cannot start a thread", error);
    let recorder = Recorder::start(running.shared()).map_err(thread)?;
    let view = View {
        shared: running.shared(),
        log: recorder.log(),
        cuts: recorder.cuts(),
        names: recorder.names(),
        clock: ticking(),
        notes: running.notes().to_vec(),
    };
    let server = Server::start(socket, view.clone()).map_err(thread)?;
    screen.show(&page(&view.status()))?;
    watch(&view, &stopped, screen);

    running.stop();
    recorder.stop();
    let last = view.status();
    server.stop();
    screen.show(&farewell(&last, &wire))?;
    Ok(Done::Well)
}

/// Waits for the signal to stop, and says meanwhile when a port goes, and when it is back.
fn watch(view: &View, stopped: &mpsc::Receiver<()>, screen: &mut Screen) {
    let up = || LinkStatus { state: "up".into(), remedy: None };
    let mut before = [up(), up()];
    // The sender lives in the signal's handler for as long as the process does.
    while stopped.recv_timeout(LOOK) == Err(mpsc::RecvTimeoutError::Timeout) {
        let now = view.links();
        if now != before {
            let interfaces = view.shared.ports.each_ref().map(|port| port.interface.as_str());
            // Whoever does not read this finds it in the status: no reason to end a gate.
            let _ = screen.show(&changes(&instant((view.clock)()), interfaces, &before, &now));
            before = now;
        }
    }
}

/// One line for each port that stands otherwise than before.
fn changes(at: &str, interfaces: [&str; 2], before: &[LinkStatus; 2], now: &[LinkStatus; 2]) -> String {
    let ports = Side::BOTH.into_iter().zip(interfaces).zip(before.iter().zip(now));
    let changed = ports.filter(|(_, (before, now))| before != now);
    changed.fold(String::new(), |mut lines, ((side, interface), (_, now))| {
        let line = cut_off(side.name(), interface, now)
            .unwrap_or_else(|| format!("{side} {interface} is up again"));
        let _ = writeln!(lines, "{}: {line}", to_the_second(at));
        lines
    })
}

/// The gate's clock, for threads that have no worker's.
fn ticking() -> Clock {
    let clock = Mutex::new(clock::Clock::start());
    Arc::new(move || clock.lock().unwrap_or_else(PoisonError::into_inner).read().now)
}

/// What is said once the gate is up.
pub(crate) fn page(status: &Status) -> String {
    let mut page = String::new();
    let interfaces: Vec<&str> = status.ports.iter().map(|port| port.interface.as_str()).collect();
    let _ = writeln!(
        page,
        "portcullis {} protects {} on wire {}: {}",
        status.version,
        zones(&status.policy.zones),
        status.wire,
        interfaces.join(" | ")
    );
    for zone in &status.policy.zones {
        let _ = writeln!(page, "  {}", promise(zone));
    }
    let _ = writeln!(page, "  {}s what touches no zone", status.policy.unzoned);
    let _ = writeln!(page, "  {}", ports(status));
    let policy = &status.policy;
    let _ = writeln!(page, "  {}, approvals {}", in_force(policy), status.approvals);
    if policy.warnings > 0 {
        let _ = writeln!(page, "  {}: portcullis check shows them", count(policy.warnings, "warning"));
    }
    if status.took_over {
        let _ = writeln!(page, "  took over the wire that an earlier process left");
    }
    for note in &status.notes {
        let _ = writeln!(page, "  note: {note}");
    }
    page
}

/// `zone cde (11 workloads)`.
fn zones(zones: &[ZoneStatus]) -> String {
    let named: Vec<String> =
        zones.iter().map(|zone| format!("{} ({})", zone.name, count(zone.members, "workload"))).collect();
    match named.as_slice() {
        [] => "no zone yet".into(),
        [one] => format!("zone {one}"),
        [..] => format!("zones {}", named.join(", ")),
    }
}

/// `enforces https into cde, simulates the rest`.
fn promise(zone: &ZoneStatus) -> String {
    let name = &zone.name;
    if zone.service_modes.is_empty() {
        return format!("{}s {name}", zone.mode);
    }
    let mut words: Vec<String> = zone
        .service_modes
        .iter()
        .map(|line| format!("{}s {} into {name}", line.mode, line.services.join(" ")))
        .collect();
    words.push(format!("{}s the rest", zone.mode));
    words.join(", ")
}

/// `4 queues on cores 2 3 4 5, native XDP, zero-copy, fail closed`.
fn ports(status: &Status) -> String {
    let cores: Vec<String> = status
        .workers
        .iter()
        .map(|worker| worker.core.map_or_else(|| "any".into(), |core| core.to_string()))
        .collect();
    let core = if cores.len() == 1 { "core" } else { "cores" };
    let mut words = format!("{} on {core} {}", count(cores.len(), "queue"), cores.join(" "));
    match status.ports.as_slice() {
        [outside, inside] if outside.xdp == inside.xdp => {
            let _ = write!(words, ", {} XDP", outside.xdp);
        }
        ports => {
            for port in ports {
                let _ = write!(words, ", {} XDP at {}", port.xdp, port.interface);
            }
        }
    }
    // A wire is opened in one mode.
    let zero_copy = status.ports.iter().all(|port| port.zero_copy);
    let _ = write!(words, ", {}, fail {}", if zero_copy { "zero-copy" } else { "copy mode" }, status.fail);
    words
}

/// What is said when it has stopped.
fn farewell(status: &Status, wire: &str) -> String {
    let equation = status.equation();
    format!(
        "stopped after {} received, {} forwarded, {} dropped, {} rejected\n  the wire stays with the pinned kernel \
         program, fail {}: nothing crosses until a gate takes over\n  portcullis release {wire} gives the \
         ports back to the host\n",
        count(usize::try_from(equation.rx).unwrap_or(usize::MAX), "packet"),
        super::page::number(equation.forwarded),
        super::page::number(equation.dropped),
        super::page::number(equation.rejected),
        status.fail
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::answers::ServiceMode;
    use crate::control::fixture::status;

    #[test]
    fn a_gate_that_is_up_says_so() {
        insta::assert_snapshot!(page(&status(4)));
    }

    #[test]
    fn a_gate_that_stopped_says_what_stays_and_how_to_end_it() {
        insta::assert_snapshot!(farewell(&status(1), "cde"));
    }

    #[test]
    fn a_port_that_goes_is_told_once_and_once_when_it_is_back() {
        let link = |state: &str, remedy: Option<&str>| LinkStatus {
            state: state.into(),
            remedy: remedy.map(Into::into),
        };
        let (up, down) = (link("up", None), link("down", Some("ip link set i up")));
        let told = |before: &[LinkStatus; 2], now: &[LinkStatus; 2]| {
            changes("2026-11-24T12:00:00.000000000Z", ["o", "i"], before, now)
        };
        let (both, one) = ([up.clone(), up.clone()], [up, down]);
        assert_eq!(
            told(&both, &one),
            "2026-11-24 12:00:00 UTC: inside i is down, nothing crosses: ip link set i up\n"
        );
        assert_eq!(told(&one, &one), "");
        assert_eq!(told(&one, &both), "2026-11-24 12:00:00 UTC: inside i is up again\n");
    }

    #[test]
    fn a_wire_without_a_zone_and_one_with_two_are_named() {
        assert_eq!(zones(&[]), "no zone yet");
        let zone = |name: &str| ZoneStatus {
            name: name.into(),
            mode: "observe".into(),
            service_modes: vec![],
            members: 1,
            data_class: None,
            owner: None,
        };
        assert_eq!(zones(&[zone("a"), zone("b")]), "zones a (1 workload), b (1 workload)");
        assert_eq!(promise(&zone("a")), "observes a");
        let line = ServiceMode { services: vec!["https".into(), "ssh".into()], mode: "enforce".into() };
        assert_eq!(
            promise(&ZoneStatus { service_modes: vec![line], ..zone("a") }),
            "enforces https ssh into a, observes the rest"
        );
    }

    #[test]
    fn ports_in_two_modes_are_told_apart() {
        let mut status = status(1);
        status.ports[1].xdp = "generic".into();
        status.ports[0].zero_copy = false;
        status.workers[0].core = None;
        assert_eq!(
            ports(&status),
            "1 queue on core any, native XDP at ens1f0, generic XDP at ens1f1, copy mode, fail closed"
        );
    }
}
