//! What the API answers: the shapes of its JSON, the same for server and client.
//!
//! What it is not: nothing here computes; `status` and `lines` beside it fill these in. Names of
//! reasons are [`crate::pipeline::Reason::name`], sides `outside` and `inside`, modes as in policy text,
//! instants RFC 3339 in UTC, durations seconds unless the name says otherwise.

mod flows;
mod status;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use flows::{CutLine, Cuts, FlowCounts, FlowEnd, FlowLine, Flows, RuleLine};
pub use status::{
    BpfStatus, Equation, FrameStatus, KernelStatus, LinkStatus, LogStatus, PolicyStatus, PortStatus,
    ServiceMode, SideStatus, Status, WorkerStatus, ZoneStatus,
};

/// `GET /v1/events`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// In order of their numbers.
    pub events: Vec<EventLine>,
    /// Ask for what comes `after` this number next time.
    pub next: u64,
    /// Events between the asked number and the first one here that had been overwritten.
    pub missed: u64,
    /// Events that never reached the log, since the gate came up.
    pub lost: u64,
}

/// One event with its names resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventLine {
    /// Its number.
    pub seq: u64,
    /// When.
    pub at: String,
    /// The same in nanoseconds since the Unix epoch.
    pub at_nanos: u64,
    /// `drop`, `reject` (a drop that was answered), `would_drop`, `allow`, or `cut`: a new policy ended a flow, and no packet came.
    pub kind: String,
    /// Arriving side.
    pub side: String,
    /// The reason's name.
    pub reason: Option<String>,
    /// The reason in words.
    pub words: Option<String>,
    /// The rule that decided: `allow.payments-to-vault`.
    pub rule: Option<String>,
    /// Where that rule stands: `rules/payments.toml:1`.
    pub rule_place: Option<String>,
    /// Generation that judged.
    pub generation: u32,
    /// The mode that governed.
    pub mode: String,
    /// Source MAC; none where no frame came, or one that ends before it.
    pub src_mac: Option<String>,
    /// Destination MAC; likewise.
    pub dst_mac: Option<String>,
    /// Tags: `untagged`, `100`, `100.20`.
    pub vlans: String,
    /// Ethertype; 0 where it cannot be seen.
    pub ethertype: u16,
    /// Source address.
    pub src: Option<IpAddr>,
    /// Destination address.
    pub dst: Option<IpAddr>,
    /// Workload that claims the source.
    pub src_name: Option<String>,
    /// Workload that claims the destination.
    pub dst_name: Option<String>,
    /// IP protocol number.
    pub protocol: Option<u8>,
    /// Source port, where the protocol has one.
    pub sport: Option<u16>,
    /// Destination port.
    pub dport: Option<u16>,
    /// ICMP or ICMPv6 type.
    pub icmp_type: Option<u8>,
    /// ICMP or ICMPv6 code.
    pub icmp_code: Option<u8>,
    /// What was asked for, as policy text writes it: `tcp/443`, `icmp/8.0`, `ip/50`, `arp`.
    pub service: String,
    /// Frame length; 0 where no frame came.
    pub length: u32,
}

/// `POST /v1/reload`: the policy that is in force now, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Its first file.
    pub file: String,
    /// Connections on which the compiled table and a plain reading of its rules agreed.
    pub sampled: usize,
    /// What the workers made of it; none where it was only checked.
    pub workers: Option<Vec<WorkerTook>>,
    /// Warnings.
    pub findings: Option<Told>,
    /// What it is.
    pub policy: PolicyStatus,
}

/// A worker and a new policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerTook {
    /// Its queue.
    pub queue: u32,
    /// Nanoseconds until its first turn with it; none: it is stuck.
    pub nanos: Option<u64>,
}

/// What a policy says: `GET /v1/rules`, `GET /v1/explain`, findings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// For people, wrapped to the width that was asked for.
    pub text: String,
    /// For programs: sentences, or an explanation.
    pub answer: serde_json::Value,
}

/// `GET /v1/health`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Every check passes.
    pub ok: bool,
    /// The checks.
    pub checks: Vec<HealthCheck>,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// Its name.
    pub name: String,
    /// It passes.
    pub ok: bool,
    /// What was found.
    pub found: String,
}

/// `GET /v1/whoami`: the caller as the kernel vouches for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whoami {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Process, where the kernel says.
    pub pid: Option<i32>,
}

/// What every error of the API looks like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What went wrong.
    pub error: String,
    /// What to do.
    pub remedy: String,
    /// Everything that is wrong with a policy, where that is what went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub findings: Option<Told>,
    /// The policy holds together, and tests of its own fail.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failed_tests: bool,
}

impl Problem {
    /// One that is no policy's.
    #[must_use]
    pub fn new(error: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { error: error.into(), remedy: remedy.into(), findings: None, failed_tests: false }
    }
}
