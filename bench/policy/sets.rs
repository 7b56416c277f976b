//! Policies of any size, made from a seed: the text the gate reads, and beside it plain rows that a peer can
//! scan without reading any text.
//!
//! What it is: two kinds of set. *Labels*: applications with roles in environments, most rules between two
//! of them, some from everything to what all need, some from what watches everything, some denies, some
//! guardrails. *Prefixes*: nested prefixes and ports with the lengths and wildcards of `ClassBench`'s access
//! lists (Taylor, Turner, 2007), each a network. What it is not: a policy to copy. Invariant: the same shape
//! gives the same text, byte for byte.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use portcullis::wire::{Mac, Service, Side};

use crate::statistics::SplitMix;

/// How large, and of which kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) kind: Kind,
    pub(crate) rules: usize,
    pub(crate) workloads: usize,
    /// Distinct label sets.
    pub(crate) sets: usize,
    pub(crate) seed: u64,
}

/// What rules are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    Labels,
    Prefixes,
    /// Prefixes, no two rules of which overlap: all that one set of nftables can hold.
    Apart,
}

/// A policy, and what a peer needs of it.
#[derive(Debug)]
pub(crate) struct Set {
    /// Name and text, the first file first.
    pub(crate) files: Vec<(String, String)>,
    pub(crate) hosts: Vec<Host>,
    /// Strongest tier first.
    pub(crate) rules: Vec<Plain>,
    /// IPv4 prefixes of networks and the side of each, of the kinds that are about prefixes.
    pub(crate) prefixes: Vec<(u32, u8, Side)>,
}

/// An address and what it is, one value a dimension.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) address: IpAddr,
    pub(crate) side: Side,
    pub(crate) known: bool,
    pub(crate) facts: [u32; DIMENSIONS],
}

/// What rules may look at: app, role, env, zone, network, name, account.
pub(crate) const DIMENSIONS: usize = 7;
const APP: usize = 0;
const ROLE: usize = 1;
const ENV: usize = 2;
const ZONE: usize = 3;
const NETWORK: usize = 4;
const NAME: usize = 5;
const ACCOUNT: usize = 6;
/// Has none.
const NONE: u32 = u32::MAX;

/// A rule without words.
#[derive(Clone, Debug)]
pub(crate) struct Plain {
    pub(crate) allow: bool,
    pub(crate) from: End,
    pub(crate) to: End,
    pub(crate) services: Vec<Ports>,
}

/// Who is meant.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// All of these; an allow means claimed addresses only.
    Keys(Vec<Key>),
    /// First and last address.
    Run(u32, u32),
    /// Nobody claims it.
    Unknown,
}

/// One dimension: one of these values, or a value that is none of them.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    dimension: usize,
    not: bool,
    values: Vec<u32>,
}

/// A protocol and its destination ports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) protocol: u8,
    pub(crate) first: u16,
    pub(crate) last: u16,
}

impl Plain {
    /// Whether its services have this one.
    pub(crate) fn names(&self, service: Service) -> bool {
        let mut ports = self.services.iter();
        ports.any(|p| p.protocol == service.protocol && (p.first..=p.last).contains(&service.dport))
    }

    /// Whether it has a connection with such ends and ports.
    fn overlaps(&self, from: (u32, u32), to: (u32, u32), ports: Ports) -> bool {
        let meet = |end: &End, (first, last): (u32, u32)| match end {
            End::Run(start, end) => *start <= last && first <= *end,
            End::Keys(_) | End::Unknown => true,
        };
        let here =
            |p: &Ports| p.protocol == ports.protocol && p.first <= ports.last && ports.first <= p.last;
        meet(&self.from, from) && meet(&self.to, to) && self.services.iter().any(here)
    }

    /// Whether it matches.
    pub(crate) fn matches(&self, from: &Host, to: &Host, service: Service) -> bool {
        self.names(service) && self.from.matches(from, self.allow) && self.to.matches(to, self.allow)
    }
}

/// What senders are looked up by: an application, a run of addresses, or nothing.
pub(crate) type Bucket = (Option<u32>, Option<(u32, u32)>);

impl Host {
    /// The MAC that its frames have: inside its own, elsewhere the router's.
    pub(crate) fn mac(&self) -> Mac {
        match self.facts.get(NAME) {
            Some(number) if self.known && self.side == Side::Inside => {
                let [a, b, c, d] = number.to_be_bytes();
                Mac([2, 0, a, b, c, d])
            }
            Some(_) | None => Mac([2, 0, 0, 0, 0, 0xfe]),
        }
    }

    /// Where rules that mean it as a sender may be.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = Bucket> {
        let app = self.facts.first().copied().filter(|app| *app != NONE).map(|app| (Some(app), None));
        let bits = match self.address {
            IpAddr::V4(v4) => Some(v4.to_bits()),
            IpAddr::V6(_) => None,
        };
        let runs = bits.into_iter().flat_map(|bits| {
            (0..=32).map(move |length| {
                let hosts = u32::MAX.checked_shr(length).unwrap_or(0);
                (None, Some((bits & !hosts, bits | hosts)))
            })
        });
        std::iter::once((None, None)).chain(app).chain(runs)
    }
}

impl End {
    /// Where a rule is that means it as its sender.
    pub(crate) fn bucket(&self) -> Bucket {
        match self {
            Self::Run(first, last) => (None, Some((*first, *last))),
            Self::Unknown => (None, None),
            Self::Keys(keys) => {
                let app = keys.iter().find(|key| key.dimension == APP && !key.not);
                match app.map(|key| key.values.as_slice()) {
                    Some([one]) => (Some(*one), None),
                    Some(_) | None => (None, None),
                }
            }
        }
    }

    /// Whether it means a host.
    pub(crate) fn matches(&self, host: &Host, allow: bool) -> bool {
        match self {
            Self::Keys(keys) => {
                (host.known || !allow)
                    && keys.iter().all(|key| {
                        host.facts
                            .get(key.dimension)
                            .is_some_and(|have| *have != NONE && key.values.contains(have) != key.not)
                    })
            }
            Self::Run(first, last) => match host.address {
                IpAddr::V4(v4) => (*first..=*last).contains(&v4.to_bits()),
                IpAddr::V6(_) => false,
            },
            Self::Unknown => !host.known,
        }
    }

    /// As a selector.
    fn text(&self, network: impl Fn(u32, u32) -> String) -> String {
        match self {
            Self::Unknown => "{ unknown = true }".to_owned(),
            Self::Run(first, last) => format!("{{ network = \"{}\" }}", network(*first, *last)),
            Self::Keys(keys) => {
                let keys: Vec<String> = keys.iter().map(Key::text).collect();
                format!("{{ {} }}", keys.join(", "))
            }
        }
    }
}

impl Key {
    fn is(dimension: usize, value: u32) -> Self {
        Self { dimension, not: false, values: vec![value] }
    }

    fn text(&self) -> String {
        let (key, letter) = match self.dimension {
            APP => ("app", 'a'),
            ROLE => ("role", 'r'),
            ENV => ("env", 'e'),
            ZONE => ("zone", 'z'),
            NETWORK => ("network", 'n'),
            NAME => ("name", 'w'),
            _ => ("service_account", 's'),
        };
        let values: Vec<String> = self.values.iter().map(|value| format!("\"{letter}{value}\"")).collect();
        let list = match values.as_slice() {
            [one] => one.clone(),
            _ => format!("[{}]", values.join(", ")),
        };
        if self.not { format!("{key} = {{ not = {list} }}") } else { format!("{key} = {list}") }
    }
}

/// Names of services and what they are.
const SERVICES: [(&str, u8, u16, u16); 16] = [
    ("https", 6, 443, 443),
    ("ssh", 6, 22, 22),
    ("postgres", 6, 5432, 5432),
    ("kafka", 6, 9092, 9094),
    ("amqp", 6, 5671, 5672),
    ("redis", 6, 6379, 6379),
    ("api", 6, 8443, 8443),
    ("grpc", 6, 50_051, 50_060),
    ("metrics", 6, 9100, 9100),
    ("syslog", 6, 6514, 6514),
    ("dns", 17, 53, 53),
    ("ntp", 17, 123, 123),
    ("snmp", 17, 161, 161),
    ("ldaps", 6, 636, 636),
    ("backup", 6, 10_000, 10_099),
    ("rdp", 6, 3389, 3389),
];

impl Set {
    /// Makes a policy.
    pub(crate) fn new(shape: Shape) -> Self {
        match shape.kind {
            Kind::Labels => Labelled::new(shape).into_set(),
            Kind::Prefixes | Kind::Apart => prefixes(shape),
        }
    }
}

fn narrow(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Draws from the seed.
struct Draw(SplitMix);

impl Draw {
    fn below(&mut self, n: u32) -> u32 {
        narrow(self.0.below(usize::try_from(n).unwrap_or(0)))
    }

    fn percent(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let index = self.0.below(all.len());
        all.get(index).unwrap_or_else(|| unreachable!("an index below the length"))
    }
}

const HEAD: &str = "[gate]\napprovals = \"off\"\n[wire.w]\noutside = \"outside\"\ninside = \"inside\"\n\
fail = \"closed\"\nunzoned = \"enforce\"\n[profile]\narp = \"forward\"\nndp = \"forward\"\ndhcp = \"forward\"\n\
lldp = \"drop\"\nstp = \"drop\"\nlacp = \"drop\"\nother = \"drop\"\n[owner.o]\nauthors = [\"group:a\"]\n\
approvers = [\"group:b\"]\n";

/// Bytes of a part, below the reader's limit.
const PART: usize = 3 << 20;

/// Text in parts.
struct Parts {
    files: Vec<(String, String)>,
    name: &'static str,
}

impl Parts {
    /// Where the next section goes.
    fn section(&mut self) -> &mut String {
        let full = self.files.last().is_none_or(|(_, text)| text.len() > PART);
        if full {
            self.files.push((format!("{}-{}.toml", self.name, self.files.len()), String::new()));
        }
        match self.files.last_mut() {
            Some((_, text)) => text,
            None => unreachable!("one was pushed"),
        }
    }
}

fn files(first: &str, parts: impl IntoIterator<Item = Parts>) -> Vec<(String, String)> {
    let parts: Vec<(String, String)> = parts.into_iter().flat_map(|p| p.files).collect();
    let names: Vec<String> = parts.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    let first = format!("parts = [{}]\n{HEAD}{first}", names.join(", "));
    std::iter::once(("gate.toml".to_owned(), first)).chain(parts).collect()
}

/// Networks inside, then outside; all of them /16.
const INSIDE: u32 = 12;
const NETWORKS: u32 = 40;
const ZONES: u32 = 20;
const ENVS: u32 = 3;

/// One label set: an application's role in an environment.
#[derive(Clone, Copy, Debug)]
struct Part {
    app: u32,
    role: u32,
    env: u32,
}

struct Labelled {
    shape: Shape,
    draw: Draw,
    apps: u32,
    roles: Rc<[Part]>,
    hosts: Vec<Host>,
    inventory: Parts,
}

impl Labelled {
    fn new(shape: Shape) -> Self {
        let mut draw = Draw(SplitMix(shape.seed));
        let mut roles = Vec::with_capacity(shape.sets);
        let mut app = 0;
        while roles.len() < shape.sets {
            let kinds = 3 + draw.below(3);
            for env in 0..ENVS {
                // Everything exists in production, less of it elsewhere.
                if env == 0 || draw.percent(75) {
                    roles.extend((0..kinds).map(|role| Part { app, role, env }));
                }
            }
            app += 1;
        }
        roles.truncate(shape.sets);
        let inventory = Parts { files: Vec::new(), name: "inventory" };
        let roles = roles.into();
        let mut set = Self { shape, draw, apps: app, roles, hosts: Vec::new(), inventory };
        set.inventory();
        set
    }

    /// A third of the applications lies inside.
    const fn inside(app: u32) -> bool {
        app.is_multiple_of(3)
    }

    /// Zone of what is inside and in production.
    fn zone(app: u32, env: u32) -> u32 {
        if Self::inside(app) && env == 0 { app / 3 % ZONES } else { NONE }
    }

    fn inventory(&mut self) {
        let mut next = [1_u32; NETWORKS as usize];
        for number in 0..self.shape.workloads {
            let roles = Rc::clone(&self.roles);
            let Part { app, role, env } = match roles.get(number) {
                Some(role) => *role,
                None => *self.draw.of(&roles),
            };
            let network = if Self::inside(app) {
                (app / 3 + self.draw.below(2)) % INSIDE
            } else {
                INSIDE + (app + self.draw.below(3)) % (NETWORKS - INSIDE)
            };
            self.workload(narrow(number), Part { app, role, env }, network, &mut next);
        }
    }

    fn workload(&mut self, number: u32, role: Part, network: u32, next: &mut [u32]) {
        let Part { app, role, env } = role;
        let Some(next) = next.get_mut(usize::try_from(network).unwrap_or(usize::MAX)) else { return };
        let wide = self.draw.percent(1);
        if wide {
            *next = (*next + 15) & !15;
        }
        let bits = (10 << 24) | (network << 16) | (*next & 0xffff);
        let v4 = Ipv4Addr::from_bits(bits);
        let v6: IpAddr =
            Ipv6Addr::from_bits((0x2001_0db8_u128 << 96) | (u128::from(network) << 64) | u128::from(*next))
                .into();
        *next += if wide { 16 } else { 1 };
        let (slash, both) = (if wide { "/28" } else { "" }, !wide && self.draw.percent(15));
        let account = if !wide && app % 4 == 1 { app * ENVS + env } else { NONE };
        let inside = Self::inside(app);
        let text = self.inventory.section();
        let _ = write!(text, "[workload.w{number}]\naddresses = [\"{v4}{slash}\"");
        if both {
            let _ = write!(text, ", \"{v6}\"");
        }
        let _ = write!(
            text,
            "]\nlabels = {{ app = \"a{app}\", role = \"r{role}\", env = \"e{env}\", dept = \"d{}\" }}\n",
            app / 3 % ZONES
        );
        if account != NONE {
            let _ = writeln!(text, "service_account = \"s{account}\"");
        }
        if inside {
            let [a, b, c, d] = number.to_be_bytes();
            let _ = writeln!(text, "macs = [\"02:00:{a:02x}:{b:02x}:{c:02x}:{d:02x}\"]");
        }
        let zone = Self::zone(app, env);
        let facts = [app, role, env, zone, network, number, account];
        let side = if inside { Side::Inside } else { Side::Outside };
        let host = |address| Host { address, side, known: true, facts };
        self.hosts.push(host(v4.into()));
        self.hosts.extend(both.then(|| host(v6)));
    }

    /// The ends of the next rule, and whether it is an allow or a guardrail.
    fn ends(&mut self) -> (End, End, &'static str) {
        let roles = Rc::clone(&self.roles);
        let one = *self.draw.of(&roles);
        // The other end lies beyond the gate, most often in the same environment.
        let beyond = |r: &Part| Self::inside(r.app) != Self::inside(one.app);
        let tries: Vec<Part> = (0..24).map(|_| *self.draw.of(&roles)).filter(beyond).collect();
        let same = tries.iter().find(|r| r.env == one.env).or(tries.first());
        let other = same.copied().unwrap_or(one);
        let exact = |r: Part| vec![Key::is(APP, r.app), Key::is(ENV, r.env), Key::is(ROLE, r.role)];
        let app = |r: Part| vec![Key::is(APP, r.app), Key::is(ENV, r.env)];
        // What everybody needs, and what watches everybody.
        let needed = self.draw.below(self.apps.min(40));
        let watcher = self.apps.saturating_sub(1 + self.draw.below(self.apps.min(25)));
        let env = Key::is(ENV, one.env);
        let lower = || Key { dimension: ENV, not: true, values: vec![0] };
        let zone = Key::is(ZONE, self.draw.below(ZONES));
        let keys = End::Keys;
        match self.draw.below(100) {
            0..40 => (keys(exact(one)), keys(exact(other)), "allow"),
            40..58 => (keys(app(one)), keys(exact(other)), "allow"),
            58..70 if one.app % 4 == 1 => {
                let account = Key::is(ACCOUNT, one.app * ENVS + one.env);
                (keys([app(one), vec![account]].concat()), keys(exact(other)), "allow")
            }
            58..72 => (keys(app(one)), keys(app(other)), "allow"),
            72..80 => {
                let to = vec![Key::is(APP, needed), env.clone(), Key::is(ROLE, one.role)];
                (keys(vec![env]), keys(to), "allow")
            }
            80..84 => {
                let from = vec![Key::is(APP, watcher), Key::is(ROLE, one.role)];
                (keys(from), keys(if one.role < 2 { vec![zone] } else { vec![env] }), "allow")
            }
            84..87 => {
                let mut values = vec![one.app, other.app, needed];
                values.sort_unstable();
                values.dedup();
                let list = Key { dimension: APP, not: false, values };
                (keys(vec![list, env]), keys(exact(other)), "allow")
            }
            87..89 => {
                let network = Key::is(NETWORK, INSIDE + self.draw.below(NETWORKS - INSIDE));
                (keys(vec![network, env]), keys(app(other)), "allow")
            }
            89..91 => {
                let name = self.draw.below(narrow(self.shape.workloads));
                (keys(vec![Key::is(NAME, name)]), keys(app(other)), "allow")
            }
            91..94 => (keys(vec![lower()]), keys(exact(Part { env: 0, ..other })), "deny"),
            94..97 => (keys(app(one)), keys(app(other)), "deny"),
            97..99 => (keys(app(one)), keys(vec![zone]), "deny"),
            _ => (keys(vec![lower()]), keys(vec![zone, Key::is(ROLE, other.role)]), "guardrail"),
        }
    }

    fn into_set(mut self) -> Set {
        let mut first = String::from("[label]\napp = {}\nrole = {}\ndept = {}\n");
        let _ = writeln!(first, "env = {{ values = [\"e0\", \"e1\", \"e2\"] }}\n[service]");
        for (name, protocol, from, to) in SERVICES {
            let protocol = if protocol == 6 { "tcp" } else { "udp" };
            let ports = if from == to { from.to_string() } else { format!("{from}-{to}") };
            let _ = writeln!(first, "{name} = [\"{protocol}/{ports}\"]");
        }
        let _ = writeln!(
            first,
            "[network.world]\nat = \"w.outside\"\nprefixes = [\"0.0.0.0/0\", \"::/0\"]\nvia = [\"02:00:00:00:00:fe\"]"
        );
        for network in 0..NETWORKS {
            let (side, via) = if network < INSIDE {
                ("inside", "")
            } else {
                ("outside", "via = [\"02:00:00:00:00:fe\"]\n")
            };
            let _ = write!(
                first,
                "[network.n{network}]\nat = \"w.{side}\"\nprefixes = [\"10.{network}.0.0/16\", \"2001:db8:0:{network:x}::/64\"]\n{via}"
            );
        }
        for zone in 0..ZONES {
            let mode = if zone % 3 == 1 { "simulate" } else { "enforce" };
            // Of the inside only: what lies outside carries the same departments.
            let inside: Vec<String> = (0..INSIDE).map(|n| format!("\"n{n}\"")).collect();
            let _ = writeln!(
                first,
                "[zone.z{zone}]\nmembers = {{ dept = \"d{zone}\", env = \"e0\", network = [{}] }}\nmode = \"{mode}\"\nowner = \"o\"",
                inside.join(", ")
            );
        }
        let mut text = Parts { files: Vec::new(), name: "rules" };
        let mut rules = Vec::with_capacity(self.shape.rules);
        for number in 0..self.shape.rules {
            let (from, to, tier) = self.ends();
            let count = if self.draw.percent(25) { 2 } else { 1 };
            let mut picked: Vec<usize> = (0..count).map(|_| self.draw.0.below(SERVICES.len())).collect();
            picked.sort_unstable();
            picked.dedup();
            let picked: Vec<_> = picked.iter().filter_map(|i| SERVICES.get(*i)).collect();
            let names: Vec<String> = picked.iter().map(|(name, ..)| format!("\"{name}\"")).collect();
            let mode = if tier == "guardrail" { "mode = \"enforce\"\n" } else { "" };
            let none = |_, _| String::new();
            let _ = write!(
                text.section(),
                "[{tier}.r{number}]\n{mode}from = {}\nto = {}\nservices = [{}]\nowner = \"o\"\njustification = \"x\"\n",
                from.text(none),
                to.text(none),
                names.join(", ")
            );
            let services = picked.iter().map(|(_, protocol, first, last)| Ports {
                protocol: *protocol,
                first: *first,
                last: *last,
            });
            let rank = match tier {
                "guardrail" => 0,
                "deny" => 1,
                _ => 2,
            };
            rules.push((rank, Plain { allow: tier == "allow", from, to, services: services.collect() }));
        }
        rules.sort_by_key(|(rank, _)| *rank);
        let rules = rules.into_iter().map(|(_, rule)| rule).collect();
        Set { files: files(&first, [self.inventory, text]), hosts: self.hosts, rules, prefixes: Vec::new() }
    }
}

/// Lengths of prefixes, out of a hundred, as access lists have them.
const LENGTHS: [(u32, u32); 8] = [(8, 1), (16, 10), (20, 6), (24, 33), (27, 5), (28, 6), (30, 7), (32, 32)];

/// Nested prefixes below a base: each lies in an earlier one more often than not.
fn pool(draw: &mut Draw, base: u32, count: usize) -> Vec<(u32, u32)> {
    let mut all: Vec<(u32, u32)> = Vec::with_capacity(count);
    let mut seen = std::collections::BTreeSet::new();
    while all.len() < count {
        let mut roll = draw.below(100);
        let length = LENGTHS.iter().find(|(_, share)| {
            let here = roll < *share;
            roll = roll.saturating_sub(*share);
            here
        });
        let length = length.map_or(24, |(length, _)| *length).max(10);
        let within = if all.is_empty() || draw.percent(15) { (base, 8) } else { *draw.of(&all) };
        if within.1 >= length {
            continue;
        }
        let inner = u32::try_from(draw.0.next() >> 32).unwrap_or(0) & (u32::MAX >> within.1);
        let mask = u32::MAX << (32 - length);
        let prefix = ((within.0 | inner) & mask, length);
        if seen.insert(prefix) {
            all.push(prefix);
        }
    }
    all
}

fn prefixes(shape: Shape) -> Set {
    let mut draw = Draw(SplitMix(shape.seed));
    let count = (shape.rules / 4).max(16);
    let (sources, targets) = (pool(&mut draw, 11 << 24, count), pool(&mut draw, 10 << 24, count));
    let mut first = String::from(
        "[label]\n[network.out]\nat = \"w.outside\"\nprefixes = [\"0.0.0.0/0\", \"::/0\"]\n[network.in]\nat = \"w.inside\"\n\
         prefixes = [\"10.0.0.0/8\"]\n",
    );
    let mut networks = Parts { files: Vec::new(), name: "networks" };
    let run = |(first, length): (u32, u32)| (first, first | (u32::MAX.checked_shr(length).unwrap_or(0)));
    let name = |first: u32, last: u32| match (first, last) {
        (0, u32::MAX) => "out".to_owned(),
        (0x0a00_0000, 0x0aff_ffff) => "in".to_owned(),
        _ => format!("n{first:08x}-{}", (last ^ first).count_zeros()),
    };
    for (side, pool) in [("outside", &sources), ("inside", &targets)] {
        for (bits, length) in pool {
            let (start, end) = run((*bits, *length));
            let _ = writeln!(
                networks.section(),
                "[network.{}]\nat = \"w.{side}\"\nprefixes = [\"{}/{length}\"]",
                name(start, end),
                Ipv4Addr::from_bits(start)
            );
        }
    }
    let mut text = Parts { files: Vec::new(), name: "rules" };
    let mut rules = Vec::with_capacity(shape.rules);
    let apart = shape.kind == Kind::Apart;
    for number in 0..4 * shape.rules {
        if rules.len() + 1 >= shape.rules {
            break;
        }
        // Access lists leave one end open in two of a hundred.
        let open = if apart { 2 } else { draw.below(100) };
        let one = if open == 0 { (0, u32::MAX) } else { run(*draw.of(&sources)) };
        let other = if open == 1 { (10 << 24, (11 << 24) - 1) } else { run(*draw.of(&targets)) };
        let (from, to) = (End::Run(one.0, one.1), End::Run(other.0, other.1));
        let protocol = if draw.percent(75) { 6 } else { 17 };
        let (low, high) = match draw.below(10) {
            0..6 => {
                let (_, _, port, _) = draw.of(&SERVICES);
                (*port, *port)
            }
            6..8 => *draw.of(&[(1024, u16::MAX), (1, 1023), (6000, 6063), (20, 21), (137, 139)]),
            _ => (0, u16::MAX),
        };
        let ports = Ports { protocol, first: low, last: high };
        if apart && rules.iter().any(|rule: &Plain| rule.overlaps(one, other, ports)) {
            continue;
        }
        let word = if protocol == 6 { "tcp" } else { "udp" };
        let service = match (low, high) {
            (0, _) => format!("ip/{protocol}"),
            _ if low == high => format!("{word}/{low}"),
            _ => format!("{word}/{low}-{high}"),
        };
        let _ = write!(
            text.section(),
            "[deny.r{number}]\nfrom = {}\nto = {}\nservices = [\"{service}\"]\nowner = \"o\"\njustification = \"x\"\n",
            from.text(name),
            to.text(name),
        );
        rules.push(Plain { allow: false, from, to, services: vec![ports] });
    }
    let _ = writeln!(
        first,
        "[allow.rest]\nfrom = {{ unknown = true }}\nto = {{ unknown = true }}\nservices = [\"ip/6\", \"ip/17\"]\n\
         owner = \"o\"\njustification = \"x\""
    );
    let whole = |protocol| Ports { protocol, first: 0, last: u16::MAX };
    rules.push(Plain {
        allow: true,
        from: End::Unknown,
        to: End::Unknown,
        services: vec![whole(6), whole(17)],
    });
    let facts = [NONE; DIMENSIONS];
    let mut host = |bits: u32, length: u32, side| {
        let inner =
            u32::try_from(draw.0.next() >> 32).unwrap_or(0) & u32::MAX.checked_shr(length).unwrap_or(0);
        Host { address: Ipv4Addr::from_bits(bits | inner).into(), side, known: false, facts }
    };
    let mut hosts: Vec<Host> = Vec::new();
    for _ in 0..4 {
        hosts.extend(sources.iter().map(|(bits, length)| host(*bits, *length, Side::Outside)));
        hosts.extend(targets.iter().map(|(bits, length)| host(*bits, *length, Side::Inside)));
    }
    let mut prefixes = vec![(0, 0, Side::Outside), (10 << 24, 8, Side::Inside)];
    for (side, pool) in [(Side::Outside, &sources), (Side::Inside, &targets)] {
        prefixes
            .extend(pool.iter().map(|(bits, length)| (*bits, u8::try_from(*length).unwrap_or(32), side)));
    }
    Set { files: files(&first, [networks, text]), hosts, rules, prefixes }
}
