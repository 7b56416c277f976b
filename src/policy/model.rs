//! The validated policy: every name resolved, every value in range. The reader makes it, the compiler
//! and the oracle read it; nothing else sees raw text.

mod gate;

use std::collections::BTreeMap;

use super::prefix::Prefix;
use super::source::Origin;
use super::verdict::{Action, Mode, Moment};
pub use crate::wire::Reply;
use crate::wire::{Housekeeping, Mac, Side, Vlans};
pub use gate::{Gate, Limits, Timeouts, share};

/// Labels of an address: key → value. `service_account` is not among them.
pub type Labels = BTreeMap<String, String>;

/// One policy with its inventory.
#[derive(Clone, Debug)]
pub struct Model {
    /// Settings of the gate itself.
    pub gate: Gate,
    /// The wire.
    pub wire: Wire,
    /// What the profile says of each class of housekeeping frames.
    pub profile: BTreeMap<Housekeeping, Action>,
    /// Label keys that exist.
    pub labels: BTreeMap<String, LabelKey>,
    /// Owners by name.
    pub owners: BTreeMap<String, Owner>,
    /// Networks, sorted by name.
    pub networks: Vec<Network>,
    /// Workloads, sorted by name.
    pub workloads: Vec<Workload>,
    /// Groups, sorted by name.
    pub groups: Vec<Group>,
    /// Zones, sorted by name.
    pub zones: Vec<Zone>,
    /// Named services, resolved to ports.
    pub services: BTreeMap<String, NamedService>,
    /// Rules: guardrails, denies, allows, each tier sorted by id.
    pub rules: Vec<Rule>,
    /// What must hold, sorted by name.
    pub tests: Vec<Test>,
}

/// `[wire.W]`.
#[derive(Clone, Debug)]
pub struct Wire {
    /// Its name.
    pub name: String,
    /// Interface of each side, by [`Side::index`].
    pub ports: [String; 2],
    /// Mode of what touches no zone.
    pub unzoned: Mode,
    /// Where it stands.
    pub origin: Origin,
}

/// One key of `[label]`.
#[derive(Clone, Debug)]
pub struct LabelKey {
    /// The values that exist; `None`: open.
    pub values: Option<Vec<String>>,
    /// An allow must name it at both ends.
    pub required: bool,
}

/// `[owner.O]`.
#[derive(Clone, Debug)]
pub struct Owner {
    /// May write policy.
    pub authors: Vec<String>,
    /// May approve it.
    pub approvers: Vec<String>,
}

/// `[network.N]`.
#[derive(Clone, Debug)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// The side it lies at.
    pub side: Side,
    /// Its prefixes.
    pub prefixes: Vec<Prefix>,
    /// The tags its frames carry; never empty.
    pub vlans: Vec<Vlans>,
    /// MACs of the routers in front of it.
    pub via: Vec<Mac>,
    /// Labels its addresses inherit.
    pub labels: Labels,
    /// Where it stands.
    pub origin: Origin,
}

/// `[workload.NAME]`.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Its name.
    pub name: String,
    /// Its claims; never empty.
    pub addresses: Vec<Prefix>,
    /// Its own labels.
    pub labels: Labels,
    /// The account it declares.
    pub service_account: Option<String>,
    /// Its MACs.
    pub macs: Vec<Mac>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// When its binding lapses; `None`: never.
    pub valid_until: Option<Moment>,
    /// When the source that it came from was last heard; `None`: a file, which is never silent.
    pub heard: Option<Moment>,
    /// Where it stands.
    pub origin: Origin,
}

impl Workload {
    /// When its binding lapses, where a source may be silent for so many nanoseconds: at its own end or by that
    /// silence, whichever comes first; `None`: never.
    #[must_use]
    pub fn lease(&self, silence: u64) -> Option<Moment> {
        let silent = self.heard.map(|heard| heard.after(silence));
        self.valid_until.into_iter().chain(silent).min()
    }

    /// Whether its binding has lapsed: it then counts for what restricts, and for nothing that helps.
    #[must_use]
    pub fn is_lapsed(&self, silence: u64, now: Moment) -> bool {
        self.lease(silence).is_some_and(|end| end <= now)
    }
}

/// `[group.G]`.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Multicast and broadcast destinations; never empty.
    pub addresses: Vec<Prefix>,
    /// Where it stands.
    pub origin: Origin,
}

/// `[zone.Z]`.
#[derive(Clone, Debug)]
pub struct Zone {
    /// Its name.
    pub name: String,
    /// Who is in it.
    pub members: Selector,
    /// Who answers for it.
    pub owner: Option<String>,
    /// What it protects.
    pub data_class: Option<String>,
    /// Its mode.
    pub mode: Mode,
    /// Modes of connections to members, by service.
    pub service_modes: Vec<(ServiceSet, Mode)>,
    /// Where it stands.
    pub origin: Origin,
}

/// A name of `[service]`, resolved.
#[derive(Clone, Debug)]
pub struct NamedService {
    /// The same list flattened to atoms, sorted and without duplicates.
    pub atoms: Vec<Atom>,
    /// Where it stands.
    pub origin: Origin,
}

/// One protocol with a range of ports, types or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Atom {
    /// Protocol number.
    pub protocol: u8,
    /// Destination ports, inclusive; ICMP: type × 256 + code; portless protocols: 0 to 65 535.
    pub to: (u16, u16),
    /// Source ports, inclusive; 0 to 65 535 where not written.
    pub from: (u16, u16),
}

/// What `services = [...]` means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSet {
    /// The items as written: names, `tcp/443`, `any`.
    pub written: Vec<String>,
    /// Every IP protocol.
    pub any: bool,
    /// Otherwise these.
    pub atoms: Vec<Atom>,
}

/// Strength of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tier {
    /// A deny that no exception passes.
    Guardrail,
    /// An allow that ends, above denies: of the ledger, never of policy text.
    Exception,
    /// A deny.
    Deny,
    /// An allow.
    Allow,
}

impl Tier {
    /// The table's name in policy text.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Guardrail => "guardrail",
            Self::Exception => "exception",
            Self::Deny => "deny",
            Self::Allow => "allow",
        }
    }
}

/// A rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its tier.
    pub tier: Tier,
    /// Its id, unique in its tier.
    pub id: String,
    /// Who opens the flow.
    pub from: Selector,
    /// To whom.
    pub to: Selector,
    /// On what.
    pub services: ServiceSet,
    /// A guardrail's own mode.
    pub mode: Option<Mode>,
    /// What a deny or guardrail answers where it drops; `None`: nothing.
    pub reply: Option<Reply>,
    /// An allow for a portless protocol holds in both directions.
    pub both_ways: bool,
    /// Record allowed connections too.
    pub log: bool,
    /// Why it exists.
    pub justification: Option<String>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Change record.
    pub ticket: Option<String>,
    /// When it is due for review: a date as written, `2027-05-31`.
    pub review_by: Option<String>,
    /// What makes an insecure service bearable.
    pub mitigation: Option<String>,
    /// Where it stands.
    pub origin: Origin,
}

impl Rule {
    /// `allow.payments-to-vault`.
    #[must_use]
    pub fn full_id(&self) -> String {
        format!("{}.{}", self.tier.name(), self.id)
    }
}

/// `[test.NAME]`: what must hold for every pair that its ends mean and for every port of its services.
#[derive(Clone, Debug)]
pub struct Test {
    /// Its name.
    pub name: String,
    /// Who opens the flow.
    pub from: Selector,
    /// To whom.
    pub to: Selector,
    /// On what.
    pub services: ServiceSet,
    /// What every one of them must get.
    pub expect: Expected,
    /// Where it stands.
    pub origin: Origin,
}

/// What a test expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Expected {
    /// That a rule allows it.
    Allow,
    /// That none does.
    Deny,
}

impl Expected {
    /// The word in policy text.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }

    /// Whose reading its selectors have: a test means those whom a rule of this tier would mean.
    #[must_use]
    pub const fn tier(self) -> Tier {
        match self {
            Self::Allow => Tier::Allow,
            Self::Deny => Tier::Deny,
        }
    }
}

/// A set of addresses (POLICY.md §3).
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Selector {
    /// `any = true`: every claimed workload.
    Any,
    /// `{ except = [ … ] }`: everything none of these matches, unlabelled and unknown included.
    Except(Vec<Match>),
    /// Keys joined by *and*.
    Match(Match),
}

impl Selector {
    /// The groups that it names; then it means nothing else.
    #[must_use]
    pub fn groups(&self) -> &[String] {
        match self {
            Self::Match(keys) => &keys.groups,
            Self::Any | Self::Except(_) => &[],
        }
    }
}

/// The keys of one selector: all must hold; within a list any one does. Empty lists are not written
/// keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Match {
    /// Label key → accepted values.
    pub labels: BTreeMap<String, Vec<String>>,
    /// Label key → refused values; an address without the key does not match.
    pub not: BTreeMap<String, Vec<String>>,
    /// Workload names.
    pub names: Vec<String>,
    /// Zones.
    pub zones: Vec<String>,
    /// Networks.
    pub networks: Vec<String>,
    /// Groups; then no other key is written.
    pub groups: Vec<String>,
    /// Service accounts.
    pub accounts: Vec<String>,
    /// `unknown = true`: of the addresses that the other keys match, those that no workload claims.
    pub unknown: bool,
    /// Label keys of which both ends of a rule carry the same value, all of them. In `to` only.
    pub same: Vec<String>,
    /// Label keys of which they do not. In `to` only.
    pub differs: Vec<String>,
}
