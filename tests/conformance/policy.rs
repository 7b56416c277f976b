//! The policies that the cases are tried under.

use portcullis::wire::samples::Ends;

/// Everything but rules: the wire, its networks, who is who. `gate` stands in `[gate]`. The heartbeat's limit is far
/// beyond what a busy machine keeps a worker from its processor (seen: 2.3 s, four workers on one, load 17): a
/// worker that is late is another test's.
fn ground(gate: &str) -> String {
    format!(
        r#"
[gate]
approvals = "off"
flows = 16384
heartbeat = "20s"
{gate}
[wire.w]
outside = "outside"
inside = "inside"
fail = "closed"
unzoned = "enforce"
[network.near]
at = "w.inside"
prefixes = ["10.20.0.0/16", "2001:db8:20::/48", "fd00:20::/32"]
vlans = ["untagged", "100", "100.20"]
[network.world]
at = "w.outside"
prefixes = ["0.0.0.0/0", "::/0", "fd00:10::/32"]
vlans = ["untagged", "100", "100.20"]
[network.lab]
at = "w.inside"
prefixes = ["10.21.0.0/16", "2001:db8:21::/48"]
vlans = ["100"]
[label]
app = {{}}
[workload.witness-outside]
addresses = ["10.10.0.250", "2001:db8:10::250"]
labels = {{ app = "witness" }}
[workload.witness-inside]
addresses = ["10.20.0.250", "2001:db8:20::250"]
labels = {{ app = "witness" }}
[allow.witness]
from = {{ app = "witness" }}
to = {{ app = "witness" }}
services = ["udp/53"]
log = true
"#
    )
}

/// What neighbours need crosses, everything else that is not IP does not.
const PROFILE: &str = r#"
[profile]
arp = "forward"
ndp = "forward"
lldp = "drop"
stp = "drop"
lacp = "drop"
dhcp = "forward"
other = "drop"
"#;

/// Everybody may do everything: what does not cross is stopped by no rule.
pub(crate) fn everything(gate: &str) -> String {
    let rules = r#"
[workload.all-outside]
addresses = ["0.0.0.0/0", "::/0"]
labels = { app = "anything" }
[workload.all-inside]
addresses = ["10.20.0.0/16", "2001:db8:20::/48", "fd00:20::/32"]
labels = { app = "anything" }
[allow.everything]
from = { any = true }
to = { any = true }
services = ["any"]
both_ways = true
"#;
    [&ground(gate), PROFILE, rules].concat()
}

/// A client may do some things with a server, each for one attribute to be tried; nobody else anything.
pub(crate) fn rules(gate: &str) -> String {
    [&ground(gate), PROFILE, RULES].concat()
}

/// The same, and the client may open SCTP with the server.
pub(crate) fn associations() -> String {
    let rule = r#"
[allow.associations]
from = { app = "client" }
to = { app = "server" }
services = ["ip/132"]
log = true
"#;
    [&rules(""), rule].concat()
}

const RULES: &str = r#"
[workload.client]
addresses = ["10.10.0.5", "2001:db8:10::5"]
labels = { app = "client" }
[workload.other-client]
addresses = ["10.10.0.6", "2001:db8:10::6"]
labels = { app = "other-client" }
[workload.server]
addresses = ["10.20.0.9", "2001:db8:20::9"]
labels = { app = "server" }
[workload.other-server]
addresses = ["10.20.0.10", "2001:db8:20::10"]
labels = { app = "other-server" }
[workload.bench]
addresses = ["10.21.0.9", "2001:db8:21::9"]
labels = { app = "server" }
[allow.web]
from = { app = "client" }
to = { app = "server" }
services = [
  "tcp/443", "udp/4433", "icmp/echo-request", "icmpv6/echo-request",
  "icmp/timestamp-request", "icmp/15", "icmp/17", "icmp/42", "icmpv6/160", "icmpv6/139",
]
[allow.logged]
from = { app = "client" }
to = { app = "server" }
services = ["tcp/80", "udp/5000-5009 from 5000", "icmp/44.2", "icmpv6/200.1"]
log = true
[allow.logged-tunnel]
from = { app = "client" }
to = { app = "server" }
services = ["ip/47"]
both_ways = true
log = true
[allow.home]
from = { app = "server" }
to = { app = "client" }
services = ["tcp/8443"]
log = true
[allow.old-port]
from = { app = "client" }
to = { app = "server" }
services = ["tcp/20-25", "udp/6000"]
[deny.telnet]
from = { app = "client" }
to = { app = "server" }
services = ["tcp/23"]
log = true
[guardrail.never]
mode = "enforce"
from = { app = "client" }
to = { app = "server" }
services = ["udp/6000"]
"#;

/// A client outside and a server inside, in each family.
pub(crate) fn client_to_server() -> [Ends; 2] {
    [Ends::of("10.10.0.5", "10.20.0.9"), Ends::of("2001:db8:10::5", "2001:db8:20::9")]
}
