//! The demo: a lab, a real gate in it or in its place, real connections, and what the policy promises beside
//! what happened.
//!
//! Invariant: a row counts as promised only by the client's and the gate's word together, a denied one
//! only after a control on the same port passed; so a gate that is dead, or forwards everything, fails.

mod attempts;
mod gate;
mod outcome;
mod page;
mod voice;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub use attempts::{ATTEMPTS, Attempt, Denial, Promise, Service};
pub use gate::{Error as GateError, Gate};
pub use outcome::{Happened, Row, Seen};
pub use voice::{Voice, VoiceError};

use super::topology::{GATE, Host};
use super::{Lab, link, namespace, probe, process};

/// How long what should get through may take: a lost SYN is sent again after 1 s.
const PATIENT: Duration = Duration::from_secs(4);
/// How long what should not get through is waited for.
const BRIEF: Duration = Duration::from_millis(600);

/// Why the demo could not be shown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The lab.
    #[error(transparent)]
    Lab(#[from] super::Error),
    /// The gate.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// The policy isn't where it should be.
    #[error("no policy at {0}: run from the package's folder, or name it with --policy")]
    NoPolicy(PathBuf),
    /// Nobody reads what is printed.
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
    /// Somebody stopped it.
    #[error("stopped; the lab is gone")]
    Stopped,
}

/// Shows it all and takes the lab away again. Says whether everything was as promised.
///
/// # Errors
/// It could not be shown; the lab is gone then, too.
pub fn show(lab: &Lab, policy: &Path, stop: &AtomicBool, out: &mut dyn Write) -> Result<bool, Error> {
    let policy = std::path::absolute(policy).unwrap_or_else(|_| policy.to_owned());
    if !policy.is_file() {
        return Err(Error::NoPolicy(policy));
    }
    lab.up()?;
    let shown = with_gate(lab, &policy, stop, out);
    let removed = lab.down();
    let kept = shown?;
    removed?;
    Ok(kept)
}

fn with_gate(lab: &Lab, policy: &Path, stop: &AtomicBool, out: &mut dyn Write) -> Result<bool, Error> {
    let gate = Gate::start(lab, policy)?;
    attempts_through(lab, &gate, stop, out)
}

/// Makes the attempts through a gate that stands between the switches of a lab that is up. Says whether
/// everything was as promised.
///
/// # Errors
/// They could not be made.
pub fn attempts_through(
    lab: &Lab,
    gate: &Gate,
    stop: &AtomicBool,
    out: &mut dyn Write,
) -> Result<bool, Error> {
    lab.host(GATE)?;
    let status = gate.status().map_err(GateError::from)?;
    page::head(&status, out)?;
    let mut passed: Vec<Attempt> = Vec::new();
    let mut kept = 0;
    let mut silent = false;
    for attempt in ATTEMPTS {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Stopped);
        }
        // A gate that does not answer makes rows that are not as promised, not an end of the demo; but
        // it is waited for only once.
        let failed = |why: &str| outcome::row(&attempt, &Seen::Failed(why.to_owned()), None);
        let mut row = if silent {
            failed("the gate does not answer")
        } else {
            tried(lab, gate, &attempt)?.unwrap_or_else(|why| {
                silent = true;
                failed(&why.to_string())
            })
        };
        row = outcome::with_control(row, &attempt, &passed);
        if row.kept {
            passed.push(attempt);
            kept += 1;
        }
        page::row(&attempt, &row, out)?;
    }
    let status = gate.status();
    page::foot(kept, ATTEMPTS.len(), status.as_ref(), out)?;
    Ok(kept == ATTEMPTS.len() && status.is_ok_and(|status| status.equation().holds))
}

fn tried(lab: &Lab, gate: &Gate, attempt: &Attempt) -> Result<Result<Row, VoiceError>, Error> {
    let before = match gate.latest() {
        Ok(before) => before,
        Err(why) => return Ok(Err(why)),
    };
    let seen = attempted(lab, attempt)?;
    let event = match &seen {
        Seen::Probe(probe) => match gate.word_about(before, attempt, probe.local, probe.remote) {
            Ok(event) => event,
            Err(why) => return Ok(Err(why)),
        },
        Seen::Resolved(..) | Seen::Failed(_) => None,
    };
    Ok(Ok(outcome::row(attempt, &seen, event.as_ref())))
}

fn attempted(lab: &Lab, attempt: &Attempt) -> Result<Seen, Error> {
    let Some(to) = Host::named(attempt.to) else {
        return Ok(Seen::Failed(format!("no host {}", attempt.to)));
    };
    let address = to.address(attempt.v6);
    let from = attempt.claim.and(attempt.source());
    let patience = match attempt.promise {
        Promise::Allow(_) | Promise::Simulate(_) | Promise::Resolves => PATIENT,
        Promise::Deny(_) => BRIEF,
    };
    let name = lab.name.namespace(attempt.from);
    let done = namespace::run_in(&name, || match attempt.service {
        Service::Tcp(port) => probe::tcp(from, SocketAddr::new(address, port), patience).map(Seen::Probe),
        Service::Udp(port) => probe::udp(from, SocketAddr::new(address, port), patience).map(Seen::Probe),
        Service::Ping => probe::ping(from, address, patience).map(Seen::Probe),
        Service::Resolve => Ok(resolved(to, attempt.v6)),
    });
    let seen = done.map_err(super::Error::from)?;
    Ok(seen.unwrap_or_else(|why| Seen::Failed(why.to_string())))
}

// Empties the neighbour cache of one address and sees that it fills again, across the gate.
fn resolved(to: &Host, v6: bool) -> Seen {
    let address = to.address(v6);
    let asked = link::with(async |links| links.forget_neighbour(address).await).and_then(|()| {
        // Any datagram asks for the MAC address; whether it gets through itself is another row's matter.
        let _ = probe::udp(None, SocketAddr::new(address, 443), Duration::from_millis(1));
        let mut found = Ok(None);
        process::wait_for(PATIENT, || {
            found = link::with(async |links| links.neighbour_mac(address).await);
            !matches!(found, Ok(None))
        });
        found
    });
    match asked {
        Ok(found) => Seen::Resolved(found, to.mac),
        Err(why) => Seen::Failed(why.to_string()),
    }
}
