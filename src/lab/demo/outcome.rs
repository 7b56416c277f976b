//! What happened to an attempt, from what the client saw and what the gate says of that very 5-tuple.
//!
//! Pure: a probe and events in, a row out. Silence alone is never a denial: a dead gate is silent too.

use std::net::SocketAddr;

use super::attempts::{Attempt, Denial, Promise, Service};
use crate::control::answers::EventLine;
use crate::lab::probe::{Ending, Probe};
use crate::wire::Mac;

/// What the client saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A connection, a datagram or an echo.
    Probe(Probe),
    /// The MAC address that was resolved, and the one it should be.
    Resolved(Option<Mac>, Mac),
    /// The attempt could not be made.
    Failed(String),
}

/// What happened, in the words of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// It got through, and the gate names the rule, or asks none.
    Allow,
    /// It did not, and the gate names the drop.
    Deny,
    /// It got through, and the gate names why enforcement would have dropped it.
    Simulate,
    /// It got through and the gate says nothing of it.
    Through,
    /// It did not get through and the gate says nothing of it.
    Lost,
    /// It got through although the gate says that it dropped it; or the other way round.
    Contradiction,
    /// It could not be tried.
    Untried,
}

/// One row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What happened.
    pub happened: Happened,
    /// Why, as the gate says it.
    pub why: String,
    /// As promised, the control aside.
    pub kept: bool,
}

impl Happened {
    /// The word in the table.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Simulate => "simulate",
            Self::Through => "through",
            Self::Lost => "lost",
            Self::Contradiction => "unclear",
            Self::Untried => "untried",
        }
    }
}

/// Whether an event is about the first packet of this attempt, made from `local`.
#[must_use]
pub(super) fn is_about(
    event: &EventLine,
    attempt: &Attempt,
    local: SocketAddr,
    remote: SocketAddr,
) -> bool {
    let ends = event.src == attempt.source() && event.dst == Some(remote.ip());
    let (protocol, ports) = match attempt.service {
        Service::Tcp(port) => (6, event.sport == Some(local.port()) && event.dport == Some(port)),
        Service::Udp(port) => (17, event.sport == Some(local.port()) && event.dport == Some(port)),
        // The gate's events have no ICMP identifier; a pair of hosts pings once at a time here.
        Service::Ping if attempt.v6 => (58, event.icmp_type == Some(128)),
        Service::Ping => (1, event.icmp_type == Some(8)),
        Service::Resolve => return false,
    };
    ends && event.protocol == Some(protocol) && ports
}

/// Makes the row: `event` is the gate's word about the attempt, if it had one.
#[must_use]
pub(super) fn row(attempt: &Attempt, seen: &Seen, event: Option<&EventLine>) -> Row {
    let (happened, why) = match seen {
        Seen::Failed(why) => (Happened::Untried, why.clone()),
        Seen::Resolved(Some(found), right) if found == right => (Happened::Allow, found.to_string()),
        Seen::Resolved(Some(found), right) => {
            (Happened::Contradiction, format!("{found} instead of {right}"))
        }
        Seen::Resolved(None, _) => (Happened::Lost, "nobody answered".to_owned()),
        Seen::Probe(probe) => of_probe(attempt, probe, event),
    };
    let kept = match (attempt.promise, happened) {
        (Promise::Allow(rule), Happened::Allow) => event.is_some_and(|e| e.rule.as_deref() == Some(rule)),
        (Promise::Resolves, Happened::Allow) => matches!(seen, Seen::Resolved(..)),
        (Promise::Deny(denial), Happened::Deny) | (Promise::Simulate(denial), Happened::Simulate) => {
            event.is_some_and(|e| says(e, denial))
        }
        (Promise::Allow(_) | Promise::Resolves | Promise::Deny(_) | Promise::Simulate(_), _) => false,
    };
    let why = match attempt.promise {
        Promise::Deny(denial) if kept => denial.words.to_owned(),
        Promise::Simulate(denial) if kept => format!("would drop: {}", denial.words),
        Promise::Allow(_) | Promise::Resolves | Promise::Deny(_) | Promise::Simulate(_) => why,
    };
    Row { happened, why, kept }
}

/// A denial counts only where something on the same port of the same host got through before.
#[must_use]
pub(super) fn with_control(mut row: Row, attempt: &Attempt, passed: &[Attempt]) -> Row {
    let denied = matches!(attempt.promise, Promise::Deny(_));
    if denied && row.kept && !passed.iter().any(|control| control.is_control_of(attempt)) {
        row.kept = false;
        row.why.push_str(", but no control on that port passed");
    }
    row
}

fn says(event: &EventLine, denial: Denial) -> bool {
    event.reason.as_deref() == Some(denial.reason) && event.rule.as_deref() == denial.rule
}

fn of_probe(attempt: &Attempt, probe: &Probe, event: Option<&EventLine>) -> (Happened, String) {
    let through = match &probe.ending {
        Ending::Answered { by } => by == &answer(attempt),
        Ending::Refused | Ending::TimedOut | Ending::Unreachable => false,
    };
    let seen = match &probe.ending {
        Ending::Answered { by } if !through => format!("answered by {by:?}"),
        Ending::Answered { .. } => "answered".to_owned(),
        Ending::Refused => "refused".to_owned(),
        Ending::TimedOut => "nothing came back".to_owned(),
        Ending::Unreachable => "unreachable".to_owned(),
    };
    let Some(event) = event else {
        let happened = if through { Happened::Through } else { Happened::Lost };
        return (happened, format!("{seen}, and the gate names nothing"));
    };
    let word = event.rule.clone().or_else(|| event.reason.clone()).unwrap_or_default();
    match (event.kind.as_str(), through) {
        ("allow", true) => (Happened::Allow, word),
        ("would_drop", true) => (Happened::Simulate, format!("would drop: {word}")),
        // What the gate answers itself is refused or unreachable at once.
        ("reject", false) if probe.ending != Ending::TimedOut => (Happened::Deny, word),
        // A refusal is an answer: something crossed.
        ("drop", false) if probe.ending != Ending::Refused => (Happened::Deny, word),
        (kind, _) => (Happened::Contradiction, format!("{seen}, and the gate says {kind}: {word}")),
    }
}

// What the host at the other end says of itself.
fn answer(attempt: &Attempt) -> String {
    match attempt.service {
        Service::Tcp(port) | Service::Udp(port) => format!("{} {port}", attempt.to),
        Service::Ping | Service::Resolve => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::attempts::ATTEMPTS;
    use super::*;
    use crate::lab::topology::Host;

    fn attempt(words: &str, service: &str, v6: bool) -> Attempt {
        let is = |a: &&Attempt| a.words() == words && a.service_words() == service && a.v6 == v6;
        *ATTEMPTS.iter().find(is).unwrap()
    }

    fn probe(attempt: &Attempt, ending: Ending) -> Probe {
        let local = SocketAddr::new(attempt.source().unwrap(), 40_000);
        let remote = SocketAddr::new(Host::named(attempt.to).unwrap().address(attempt.v6), 443);
        Probe { ending, local, remote }
    }

    fn event(attempt: &Attempt, kind: &str, reason: Option<&str>, rule: Option<&str>) -> EventLine {
        let Probe { local, remote, .. } = probe(attempt, Ending::TimedOut);
        let protocol = match attempt.service {
            Service::Tcp(_) => 6,
            Service::Udp(_) => 17,
            Service::Ping | Service::Resolve => 1,
        };
        EventLine {
            seq: 1,
            at: String::new(),
            at_nanos: 0,
            kind: kind.to_owned(),
            side: "outside".to_owned(),
            reason: reason.map(str::to_owned),
            words: None,
            rule: rule.map(str::to_owned),
            rule_place: None,
            generation: 1,
            mode: "enforce".to_owned(),
            src_mac: None,
            dst_mac: None,
            vlans: "untagged".to_owned(),
            ethertype: 0x800,
            src: Some(local.ip()),
            dst: Some(remote.ip()),
            src_name: None,
            dst_name: None,
            protocol: Some(protocol),
            sport: Some(40_000),
            dport: Some(443),
            icmp_type: None,
            icmp_code: None,
            service: String::new(),
            length: 60,
        }
    }

    fn answered(by: &str) -> Ending {
        Ending::Answered { by: by.to_owned() }
    }

    fn judged(attempt: &Attempt, ending: Ending, event: Option<&EventLine>) -> (Happened, bool) {
        let row = row(attempt, &Seen::Probe(probe(attempt, ending)), event);
        (row.happened, row.kept)
    }

    #[test]
    fn an_allow_needs_the_answer_and_the_rule() {
        let a = attempt("payments → vault", "tcp/443", false);
        let right = event(&a, "allow", None, Some("allow.payments-to-vault"));
        let other = event(&a, "allow", None, Some("allow.something-else"));
        assert_eq!(judged(&a, answered("vault 443"), Some(&right)), (Happened::Allow, true));
        assert_eq!(judged(&a, answered("vault 443"), Some(&other)), (Happened::Allow, false));
        assert_eq!(judged(&a, answered("vault 443"), None), (Happened::Through, false));
        assert_eq!(judged(&a, answered("partner 443"), Some(&right)), (Happened::Contradiction, false));
        assert_eq!(judged(&a, Ending::TimedOut, Some(&right)), (Happened::Contradiction, false));
    }

    #[test]
    fn a_denial_needs_silence_and_the_gates_word() {
        let a = attempt("workstation → vault", "tcp/443", false);
        let right = event(&a, "drop", Some("denied"), Some("deny.desktops-keep-off-tokens"));
        assert_eq!(judged(&a, Ending::TimedOut, Some(&right)), (Happened::Deny, true));
        // A dead gate: silence, and no word.
        assert_eq!(judged(&a, Ending::TimedOut, None), (Happened::Lost, false));
        assert_eq!(judged(&a, Ending::Refused, Some(&right)), (Happened::Contradiction, false));
        assert_eq!(judged(&a, answered("vault 443"), Some(&right)), (Happened::Contradiction, false));
        let reason = event(&a, "drop", Some("no_rule"), Some("deny.desktops-keep-off-tokens"));
        assert_eq!(judged(&a, Ending::TimedOut, Some(&reason)), (Happened::Deny, false));
        let rule = event(&a, "drop", Some("denied"), None);
        assert_eq!(judged(&a, Ending::TimedOut, Some(&rule)), (Happened::Deny, false));
        let would = event(&a, "would_drop", Some("denied"), Some("deny.desktops-keep-off-tokens"));
        assert_eq!(judged(&a, Ending::TimedOut, Some(&would)), (Happened::Contradiction, false));
    }

    #[test]
    fn a_denial_needs_a_control_that_passed() {
        let a = attempt("workstation → vault", "tcp/443", false);
        let kept = Row { happened: Happened::Deny, why: "why".to_owned(), kept: true };
        let control = attempt("payments → vault", "tcp/443", false);
        assert_eq!(with_control(kept.clone(), &a, &[control]), kept);
        let others = [
            attempt("payments → vault", "tcp/443", true),
            attempt("payments → vault", "udp/443", false),
            attempt("vault → partner", "tcp/443", false),
            a,
        ];
        let alone = with_control(kept.clone(), &a, &others);
        assert_eq!((alone.kept, alone.why.as_str()), (false, "why, but no control on that port passed"));
        assert_eq!(with_control(kept.clone(), &control, &[]), kept);
    }

    #[test]
    fn a_simulation_needs_the_answer_and_the_would_drop() {
        let a = attempt("partner → jump", "tcp/22", false);
        let right = event(&a, "would_drop", Some("no_rule"), None);
        assert_eq!(judged(&a, answered("jump 22"), Some(&right)), (Happened::Simulate, true));
        assert_eq!(judged(&a, answered("jump 22"), None), (Happened::Through, false));
        let dropped = event(&a, "drop", Some("no_rule"), None);
        assert_eq!(judged(&a, Ending::TimedOut, Some(&dropped)), (Happened::Deny, false));
    }

    #[test]
    fn resolving_needs_the_right_mac() {
        let a = attempt("payments → vault", "arp", false);
        let right = Host::named("vault").unwrap().mac;
        let row = |seen: &Seen| {
            let row = row(&a, seen, None);
            (row.happened, row.kept)
        };
        assert_eq!(row(&Seen::Resolved(Some(right), right)), (Happened::Allow, true));
        assert_eq!(row(&Seen::Resolved(Some(Mac([2; 6])), right)), (Happened::Contradiction, false));
        assert_eq!(row(&Seen::Resolved(None, right)), (Happened::Lost, false));
        assert_eq!(row(&Seen::Failed("why".to_owned())), (Happened::Untried, false));
    }

    #[test]
    fn an_event_is_about_one_5_tuple() {
        let a = attempt("workstation → vault", "tcp/443", false);
        let Probe { local, remote, .. } = probe(&a, Ending::TimedOut);
        let right = event(&a, "drop", Some("denied"), None);
        assert!(is_about(&right, &a, local, remote));
        let wrong = [
            EventLine { src: Some([10, 10, 0, 7].into()), ..right.clone() },
            EventLine { dst: Some([10, 20, 0, 20].into()), ..right.clone() },
            EventLine { sport: Some(40_001), ..right.clone() },
            EventLine { dport: Some(5432), ..right.clone() },
            EventLine { protocol: Some(17), ..right },
        ];
        for event in &wrong {
            assert!(!is_about(event, &a, local, remote), "{event:?}");
        }
    }
}
