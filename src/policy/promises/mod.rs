//! POLICY.md, sentence by sentence: what the compiled table decides for policies in their own language.

mod digest;
mod exception;
mod group;
mod identity;
mod lease;
mod mode;
mod precedence;
mod proof;
mod selector;

use std::net::IpAddr;

use super::read::Loaded;
use super::table::Table;
use super::{Denial, Exceptions, Mode, Model, Moment, RuleNumber, Sender, SenderMac, compile, sample};
use crate::wire::{Service, Side, Vlans};

/// Two networks, a vault in zone `cards`, a jump host in zone `ops`, a printer in none; outside payments,
/// a developer and the rest.
const BASE: &str = r#"
[label]
env  = { values = ["prod", "dev"] }
app  = {}
data = {}
tier = {}
[owner.team]
authors   = ["group:a"]
approvers = ["group:b"]
[profile]
arp = "forward"
ndp = "forward"
dhcp = "drop"
lldp = "drop"
stp = "drop"
lacp = "drop"
other = "drop"
[service]
https = ["tcp/443"]
web   = ["tcp/443", "tcp/8443"]
[wire.w]
outside = "a"
inside  = "b"
fail    = "closed"
unzoned = "observe"
[network.servers]
at       = "w.inside"
prefixes = ["10.20.0.0/16", "2001:db8:20::/48"]
via      = ["02:00:00:00:20:fe"]
[network.world]
at       = "w.outside"
prefixes = ["0.0.0.0/0", "::/0"]
via      = ["02:00:00:00:00:fe"]
[workload.vault]
addresses       = ["10.20.0.10", "2001:db8:20::10"]
labels          = { app = "vault", env = "prod", data = "cards" }
service_account = "vault-prod"
macs            = ["02:00:00:20:00:10"]
[workload.jump]
addresses = ["10.20.0.30"]
labels    = { app = "jump", env = "prod", tier = "ops" }
macs      = ["02:00:00:20:00:30"]
[workload.printer]
addresses = ["10.20.0.40"]
labels    = { app = "printer" }
macs      = ["02:00:00:20:00:40"]
[workload.pay]
addresses       = ["10.10.0.7", "2001:db8:10::7"]
labels          = { app = "pay", env = "prod" }
service_account = "pay-prod"
macs            = ["02:00:00:10:00:07"]
[workload.dev]
addresses = ["10.10.0.9"]
labels    = { app = "dev", env = "dev" }
"#;

/// The zones of [`BASE`], each in a mode.
fn zones(cards: &str, ops: &str) -> String {
    format!(
        "[zone.cards]\nmembers = {{ data = \"cards\" }}\nmode = \"{cards}\"\n\
         [zone.ops]\nmembers = {{ tier = \"ops\" }}\nmode = \"{ops}\"\n"
    )
}

fn model(more: &str) -> Model {
    let Loaded { model, .. } = sample::load(&format!("{BASE}{more}"));
    model
}

fn table(more: &str) -> Table {
    compile(&model(more), &Exceptions::NONE)
}

/// A packet that opens a flow: untagged, its MAC true, from where its source belongs.
struct Ask {
    sender: Sender,
    to: IpAddr,
    service: Service,
    side: Option<Side>,
}

fn ask(from: &str, to: &str, service: &str) -> Ask {
    let (protocol, port) = service.split_once('/').unwrap();
    let number: u16 = port.parse().unwrap();
    let (protocol, dport) = match protocol {
        "tcp" => (6, number),
        "udp" => (17, number),
        "icmp" => (1, number << 8),
        "ip" => (u8::try_from(number).unwrap(), 0),
        other => panic!("{other}"),
    };
    Ask {
        sender: Sender { address: from.parse().unwrap(), mac: SenderMac::Assumed, vlans: Vlans::UNTAGGED },
        to: to.parse().unwrap(),
        service: Service { protocol, sport: 0, dport, readable: true },
        side: None,
    }
}

impl Ask {
    fn mac(mut self, mac: &str) -> Self {
        self.sender.mac = SenderMac::Seen(mac.parse().unwrap());
        self
    }

    fn vlan(mut self, outer: u16) -> Self {
        self.sender.vlans = Vlans { outer, inner: Vlans::NONE };
        self
    }

    fn at(mut self, side: Side) -> Self {
        self.side = Some(side);
        self
    }

    fn unreadable(mut self) -> Self {
        self.service.readable = false;
        self
    }

    /// Denial, mode and the rules that matched, by id.
    fn of(&self, table: &Table) -> (Option<Denial>, Mode, Vec<String>) {
        let side = self.side.or(table.network_side(self.sender.address)).unwrap();
        let verdict = table.judge(self.sender, self.to, self.service, side, Moment(1));
        assert_eq!(verdict.judge_at, Moment::NEVER);
        let numbers = std::iter::once(verdict.rule).chain(verdict.also);
        let rules = numbers.filter(|n| *n != RuleNumber::NONE).map(|n| table.rule(n).unwrap().id.clone());
        (verdict.denial, verdict.mode, rules.collect())
    }

    fn denial(&self, table: &Table) -> Option<Denial> {
        self.of(table).0
    }

    fn mode(&self, table: &Table) -> Mode {
        self.of(table).1
    }
}

fn allow(id: &str, from: &str, to: &str, services: &str) -> String {
    rule("allow", id, from, to, services)
}

fn rule(tier: &str, id: &str, from: &str, to: &str, services: &str) -> String {
    let mode = if tier == "guardrail" { "mode = \"observe\"\n" } else { "" };
    format!("[{tier}.{id}]\n{mode}from = {from}\nto = {to}\nservices = {services}\n")
}
