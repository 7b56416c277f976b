//! What the demo tries, and what the policy in `configs/lab` promises of it.
//!
//! Written by hand from the policy's text, not computed: a gate that judges wrongly must not make its own
//! promise. What is allowed comes first, so that every denied attempt has a control on the same port
//! before it.

use std::fmt;
use std::net::IpAddr;

use crate::lab::topology::Host;

/// One attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The host that tries.
    pub from: &'static str,
    /// What is special about it, behind its name: `, other account`.
    pub note: &'static str,
    /// It sends from this one of its claimed addresses, not from its own.
    pub claim: Option<&'static str>,
    /// The host it tries to reach.
    pub to: &'static str,
    /// On what.
    pub service: Service,
    /// Over IPv6.
    pub v6: bool,
    /// What the policy says.
    pub promise: Promise,
}

/// What an attempt uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// TCP to a port.
    Tcp(u16),
    /// UDP to a port.
    Udp(u16),
    /// An ICMP or ICMPv6 echo.
    Ping,
    /// ARP or neighbour discovery, from an empty neighbour cache.
    Resolve,
}

/// What the policy says of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// It gets through, by this rule.
    Allow(&'static str),
    /// It gets through as housekeeping of the `[profile]`: no rule is asked.
    Resolves,
    /// It is dropped.
    Deny(Denial),
    /// It gets through although enforcement would drop it.
    Simulate(Denial),
}

/// Why something is dropped or would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The reason's name.
    pub reason: &'static str,
    /// The rule that denies; none for the default and for what comes before rules.
    pub rule: Option<&'static str>,
    /// In words, for the table.
    pub words: &'static str,
}

const NO_RULE: Denial = Denial { reason: "no_rule", rule: None, words: "no rule" };
const OTHER_ACCOUNT: Denial = Denial { words: "no rule: account batch-prod", ..NO_RULE };
const NOT_HELD: Denial =
    Denial { reason: "account_not_held", rule: None, words: "no rule: account not held (MAC)" };
const SPOOFED: Denial = Denial { reason: "spoofed", rule: None, words: "spoofed: an inside address" };

const fn guardrail(rule: &'static str) -> Denial {
    Denial { reason: "guardrail", rule: Some(rule), words: rule }
}

const fn denied(rule: &'static str) -> Denial {
    Denial { reason: "denied", rule: Some(rule), words: rule }
}

const ONLY_PROD: Denial = guardrail("guardrail.only-prod-reaches-cards");
const NO_PARTIES: Denial = guardrail("guardrail.parties-keep-off-cards");
const NO_DESKTOPS: Denial = denied("deny.desktops-keep-off-tokens");
const NO_STRANGERS: Denial = denied("deny.no-strangers");

const TO_VAULT: Promise = Promise::Allow("allow.payments-to-vault");
const TO_CARDS: Promise = Promise::Allow("allow.batch-to-cards");
const TO_ACQUIRER: Promise = Promise::Allow("allow.vault-to-acquirer");
const TO_JUMP: Promise = Promise::Allow("allow.desktops-to-jump");

const HTTPS: Service = Service::Tcp(443);
const QUIC: Service = Service::Udp(443);
const POSTGRES: Service = Service::Tcp(5432);
const SSH: Service = Service::Tcp(22);

const fn v4(from: &'static str, to: &'static str, service: Service, promise: Promise) -> Attempt {
    Attempt { from, note: "", claim: None, to, service, v6: false, promise }
}

const fn v6(from: &'static str, to: &'static str, service: Service, promise: Promise) -> Attempt {
    Attempt { v6: true, ..v4(from, to, service, promise) }
}

const fn noted(note: &'static str, attempt: Attempt) -> Attempt {
    Attempt { note, ..attempt }
}

const fn claiming(note: &'static str, claim: &'static str, attempt: Attempt) -> Attempt {
    Attempt { note, claim: Some(claim), ..attempt }
}

/// Every attempt, in the order in which it is made.
pub const ATTEMPTS: [Attempt; 42] = [
    // Layer 2 first: without it nothing else moves.
    v4("payments", "vault", Service::Resolve, Promise::Resolves),
    v4("vault", "partner", Service::Resolve, Promise::Resolves),
    v6("payments", "vault", Service::Resolve, Promise::Resolves),
    v6("carddb", "batch", Service::Resolve, Promise::Resolves),
    // Into the enforced zone, allowed.
    v4("payments", "vault", HTTPS, TO_VAULT),
    v6("payments", "vault", HTTPS, TO_VAULT),
    v4("payments", "vault", QUIC, TO_VAULT),
    v6("payments", "vault", QUIC, TO_VAULT),
    v4("payments", "vault", Service::Ping, TO_VAULT),
    v6("payments", "vault", Service::Ping, TO_VAULT),
    v4("batch", "carddb", POSTGRES, TO_CARDS),
    v6("batch", "carddb", POSTGRES, TO_CARDS),
    v4("batch", "carddb", Service::Ping, TO_CARDS),
    v6("batch", "carddb", Service::Ping, TO_CARDS),
    // Out of it, allowed.
    v4("vault", "partner", HTTPS, TO_ACQUIRER),
    v6("vault", "partner", HTTPS, TO_ACQUIRER),
    v4("vault", "partner", QUIC, TO_ACQUIRER),
    // Into the simulated zone, allowed.
    v4("workstation", "jump", SSH, TO_JUMP),
    v6("workstation", "jump", SSH, TO_JUMP),
    // Into the simulated zone and out of it, not allowed: forwarded, and named.
    v4("partner", "jump", SSH, Promise::Simulate(NO_RULE)),
    v6("partner", "jump", SSH, Promise::Simulate(NO_RULE)),
    v4("attacker", "jump", SSH, Promise::Simulate(NO_STRANGERS)),
    v6("attacker", "jump", Service::Ping, Promise::Simulate(NO_STRANGERS)),
    v4("jump", "workstation", HTTPS, Promise::Simulate(NO_RULE)),
    v6("jump", "partner", QUIC, Promise::Simulate(NO_RULE)),
    // The same labels, another service account.
    noted(", other account", v4("batch", "vault", HTTPS, Promise::Deny(OTHER_ACCOUNT))),
    noted(", other account", v6("batch", "vault", HTTPS, Promise::Deny(OTHER_ACCOUNT))),
    noted(", other account", v4("batch", "vault", QUIC, Promise::Deny(OTHER_ACCOUNT))),
    // The right address, another MAC.
    claiming(" as payments", "10.10.0.7", v4("attacker", "vault", HTTPS, Promise::Deny(NOT_HELD))),
    claiming(" as payments", "2001:db8:10::7", v6("attacker", "vault", HTTPS, Promise::Deny(NOT_HELD))),
    // An inside address from outside.
    claiming(" as an insider", "10.20.0.99", v4("attacker", "vault", HTTPS, Promise::Deny(SPOOFED))),
    claiming(" as an insider", "2001:db8:20::99", v6("attacker", "vault", QUIC, Promise::Deny(SPOOFED))),
    // Known, but no rule.
    v4("workstation", "carddb", POSTGRES, Promise::Deny(NO_RULE)),
    v6("workstation", "carddb", POSTGRES, Promise::Deny(NO_RULE)),
    v4("workstation", "carddb", Service::Ping, Promise::Deny(NO_RULE)),
    // Out of the enforced zone, no rule.
    v4("carddb", "partner", HTTPS, Promise::Deny(NO_RULE)),
    v6("carddb", "partner", HTTPS, Promise::Deny(NO_RULE)),
    v4("carddb", "workstation", HTTPS, Promise::Deny(NO_RULE)),
    // A deny, and guardrails.
    v4("workstation", "vault", HTTPS, Promise::Deny(NO_DESKTOPS)),
    v6("partner", "vault", HTTPS, Promise::Deny(NO_PARTIES)),
    v4("attacker", "carddb", POSTGRES, Promise::Deny(ONLY_PROD)),
    v6("attacker", "vault", Service::Ping, Promise::Deny(ONLY_PROD)),
];

impl Attempt {
    /// The address it is made from.
    #[must_use]
    pub fn source(&self) -> Option<IpAddr> {
        match self.claim {
            Some(claim) => claim.parse().ok(),
            None => Some(Host::named(self.from)?.address(self.v6)),
        }
    }

    /// Whether `other` shows that what this one tries to reach is there and answers.
    #[must_use]
    pub fn is_control_of(&self, other: &Self) -> bool {
        let crosses = matches!(self.promise, Promise::Allow(_) | Promise::Simulate(_));
        crosses && (self.to, self.service, self.v6) == (other.to, other.service, other.v6)
    }

    /// `attacker as payments → vault`.
    #[must_use]
    pub fn words(&self) -> String {
        format!("{}{} → {}", self.from, self.note, self.to)
    }

    /// `tcp/443`, `ping`, `arp`, `ndp`.
    #[must_use]
    pub fn service_words(&self) -> String {
        match self.service {
            Service::Tcp(port) => format!("tcp/{port}"),
            Service::Udp(port) => format!("udp/{port}"),
            Service::Ping => "ping".to_owned(),
            Service::Resolve => if self.v6 { "ndp" } else { "arp" }.to_owned(),
        }
    }
}

impl Promise {
    /// The word in the table.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Allow(_) | Self::Resolves => "allow",
            Self::Deny(_) => "deny",
            Self::Simulate(_) => "simulate",
        }
    }
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Side;

    fn side(name: &str) -> Side {
        Host::named(name).unwrap().side
    }

    #[test]
    fn every_attempt_crosses_the_wire_between_hosts_that_exist() {
        for attempt in &ATTEMPTS {
            assert_ne!(side(attempt.from), side(attempt.to), "{attempt:?}");
            let source = attempt.source().unwrap();
            assert_eq!(source.is_ipv6(), attempt.v6, "{attempt:?}");
            if attempt.claim.is_some() {
                assert!(Host::named(attempt.from).unwrap().claims.contains(&source), "{attempt:?}");
            }
        }
    }

    #[test]
    fn what_answers_is_served() {
        for attempt in ATTEMPTS {
            let to = Host::named(attempt.to).unwrap();
            match attempt.service {
                Service::Tcp(port) => assert!(to.tcp.contains(&port), "{attempt:?}"),
                Service::Udp(port) => assert!(to.udp.contains(&port), "{attempt:?}"),
                Service::Ping | Service::Resolve => {}
            }
        }
    }

    #[test]
    fn every_denied_attempt_has_a_control_before_it() {
        for (i, attempt) in ATTEMPTS.iter().enumerate() {
            if matches!(attempt.promise, Promise::Deny(_)) {
                assert!(ATTEMPTS[..i].iter().any(|a| a.is_control_of(attempt)), "{attempt:?}");
            }
        }
    }

    #[test]
    fn the_table_covers_what_the_demo_has_to_show() {
        let count = |is: &dyn Fn(&Attempt) -> bool| ATTEMPTS.iter().filter(|a| is(a)).count();
        let denied = |a: &Attempt| matches!(a.promise, Promise::Deny(_));
        assert!(ATTEMPTS.len() >= 24);
        for v6 in [false, true] {
            for from in Side::BOTH {
                assert!(count(&|a| a.v6 == v6 && side(a.from) == from && !denied(a)) >= 2);
                assert!(count(&|a| a.v6 == v6 && side(a.from) == from && denied(a)) >= 1);
            }
            assert!(count(&|a| a.v6 == v6 && a.service == Service::Resolve) >= 2);
            assert!(count(&|a| a.v6 == v6 && a.service == Service::Ping && denied(a)) >= 1);
            assert!(count(&|a| a.v6 == v6 && a.promise == Promise::Deny(OTHER_ACCOUNT)) >= 1);
            assert!(count(&|a| a.v6 == v6 && a.promise == Promise::Deny(NOT_HELD)) >= 1);
            assert!(count(&|a| a.v6 == v6 && a.promise == Promise::Deny(SPOOFED)) >= 1);
            assert!(count(&|a| a.v6 == v6 && matches!(a.promise, Promise::Simulate(_))) >= 2);
        }
    }

    #[test]
    fn no_attempt_stands_twice() {
        for (i, attempt) in ATTEMPTS.iter().enumerate() {
            assert!(!ATTEMPTS[i + 1..].contains(attempt), "{attempt:?}");
        }
    }
}
