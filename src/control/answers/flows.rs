//! `GET /v1/flows` and `GET /v1/flows/cut`: what is remembered, and what a new policy ended.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// `GET /v1/flows`: a page of the flows that are remembered and match.
///
/// From the first page to the last a flow that lives all the while is in exactly one, and none is in two; flows
/// that come or go meanwhile may be in one or in none. Each is told as it was when its turn came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flows {
    /// Worker by worker, slot by slot; empty where only counting was asked for.
    pub flows: Vec<FlowLine>,
    /// The flows of this page that match.
    pub counts: FlowCounts,
    /// Not all were looked at, for the limit was reached or the time was over: ask `after` this for more.
    pub next: Option<String>,
    /// Flows that live, whether they match or not, at most a tenth of a second ago.
    pub live: u64,
    /// Generation in force.
    pub generation: u32,
}

/// Flows, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowCounts {
    /// All.
    pub flows: u64,
    /// By state.
    pub states: BTreeMap<String, u64>,
    /// Whose first packet was not seen.
    pub unseen: u64,
    /// Whose packets enforcement would drop.
    pub would_drop: u64,
    /// With an end in a zone; a flow between two counts in both.
    pub zones: BTreeMap<String, u64>,
    /// With an end in none.
    pub unzoned: u64,
}

impl Flows {
    /// Takes in the page that follows.
    pub fn add(&mut self, page: Self) {
        let Self { flows, counts, next, live, generation } = page;
        self.flows.extend(flows);
        self.counts.flows += counts.flows;
        self.counts.unseen += counts.unseen;
        self.counts.would_drop += counts.would_drop;
        self.counts.unzoned += counts.unzoned;
        for (sums, counts) in
            [(&mut self.counts.states, counts.states), (&mut self.counts.zones, counts.zones)]
        {
            for (name, count) in counts {
                *sums.entry(name).or_default() += count;
            }
        }
        (self.next, self.live, self.generation) = (next, live, generation);
    }
}

/// One end of a flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowEnd {
    /// Its address.
    pub address: IpAddr,
    /// Its port, where the protocol has one.
    pub port: Option<u16>,
    /// Workload that claims it.
    pub name: Option<String>,
    /// Packets it sent.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A rule by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleLine {
    /// `allow.payments-to-vault`.
    pub id: String,
    /// `rules/payments.toml:1`.
    pub place: Option<String>,
    /// Who answers for it.
    pub owner: Option<String>,
}

/// A flow, with the names of the generation that judged it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowLine {
    /// Who opened it.
    pub from: FlowEnd,
    /// To whom.
    pub to: FlowEnd,
    /// IP protocol number.
    pub protocol: u8,
    /// What was asked for, as policy text writes it: `tcp/443`.
    pub service: String,
    /// Identifier of an ICMP question.
    pub echo: Option<u16>,
    /// Tags of its frames.
    pub vlans: String,
    /// The side its opener lives on.
    pub side: String,
    /// Zones of both ends.
    pub zones: Vec<String>,
    /// `opening`, `established`, `half_closed`, `closing`, `doubted`, `closed`; of other protocols than TCP the
    /// first until both ends have spoken, then the second.
    pub state: String,
    /// Its first packet was not seen: who opened it is a guess.
    pub unseen: bool,
    /// The mode that governs it.
    pub mode: String,
    /// `allow`, or `would_drop`: enforcement would drop its packets.
    pub verdict: String,
    /// Why it would.
    pub reason: Option<String>,
    /// The same in words.
    pub words: Option<String>,
    /// The rule that decided.
    pub rule: Option<RuleLine>,
    /// Generation that judged it.
    pub generation: u32,
    /// Since it was opened.
    pub age_seconds: u64,
    /// Since its latest packet.
    pub idle_seconds: u64,
}

/// `GET /v1/flows/cut`: the latest flows that new policies ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cuts {
    /// Generation in force.
    pub generation: u32,
    /// Every flow has been judged by it, and what that ended has come in.
    pub swept: bool,
    /// It is swept, none waits, and no cut of it was lost or forgotten.
    pub complete: bool,
    /// Flows that it has not judged yet: the policy asks for their opener's MAC, and its next frame shows it.
    pub waiting: u64,
    /// Flows that it ended, listed or not.
    pub ended: u64,
    /// Those of them that are no longer kept.
    pub forgotten: u64,
    /// Those of them that found their worker's ring full.
    pub lost: u64,
    /// No longer kept, of any generation since the gate came up.
    pub forgotten_in_all: u64,
    /// Lost, of any generation since the gate came up.
    pub lost_in_all: u64,
    /// How many are kept; more than are here where a limit cut the list.
    pub kept: u64,
    /// The latest, the oldest of them first.
    pub cuts: Vec<CutLine>,
}

/// A flow that a new policy ended, with its names then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutLine {
    /// When.
    pub at: String,
    /// Who had opened it.
    pub from: FlowEnd,
    /// To whom.
    pub to: FlowEnd,
    /// IP protocol number.
    pub protocol: u8,
    /// What was asked for: `tcp/443`.
    pub service: String,
    /// Identifier of an ICMP question.
    pub echo: Option<u16>,
    /// Tags of its frames.
    pub vlans: String,
    /// The side its opener lives on.
    pub side: String,
    /// Why it ended.
    pub reason: String,
    /// The same in words.
    pub words: String,
    /// `packet`: its next packet met the new policy; `hand`: none came.
    pub by: String,
    /// The rule that ended it, with its owner; none: no rule allows it.
    pub rule: Option<RuleLine>,
    /// The rule it had lived by.
    pub was: Option<RuleLine>,
    /// Generation it had lived by.
    pub was_generation: u32,
    /// Generation that ended it.
    pub generation: u32,
}
