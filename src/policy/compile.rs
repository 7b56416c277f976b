//! [`Model`] → [`Table`].
//!
//! Addresses that selectors cannot tell apart are one *identity*; identities that the same rules match are
//! one *row* as sender and one *column* as destination. Each (row, column) is the list of rules that match
//! both ends, strongest first; equal lists share one program over services. Cost: addresses, then what
//! selectors have in common with identities and rules with rows and columns; at no point rules × workloads.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::addresses::Addresses;
use super::digest;
use super::exception::Exceptions;
use super::exempt::exempt;
use super::identity::{Consulted, Identities};
use super::link::Link;
use super::matrix::Matrix;
use super::model::{Model, Tier};
use super::space::{Space, Stretch};
use super::table::{
    Inside, Lease, NetworkFace, RuleFace, Special, Spot, Stands, Table, WorkloadFace, is_group,
};
use super::verdict::{Action, Mode};
use super::wide::LINES;
use crate::wire::{Housekeeping, Side, Vlans};

/// Compiles a validated policy with the exceptions that may ever be active. The same policy and exceptions give
/// the same table and digest. No moment is asked about: what is active when, [`Table::judge`] tells.
#[must_use]
pub fn compile(model: &Model, exceptions: &Exceptions) -> Table {
    divided(model, exceptions, &LINES)
}

/// The same, with these lines between wide rules and narrow ones to choose from: all give the same verdicts.
pub(super) fn divided(model: &Model, exceptions: &Exceptions, lines: &[u64]) -> Table {
    let space = Space::new(model);
    let selectors = model.rules.iter().flat_map(|rule| [&rule.from, &rule.to]);
    let identities = Identities::new(model, &space, selectors);
    let consulted = Consulted::new(model, &identities);
    let matrix = Matrix::new(model, &identities, &consulted, lines);
    let tags = Tags::new(model);
    let (spots, leases) = spots(model, &space, &tags, &identities, &matrix);
    let column = |identity: usize| matrix.column_of.get(identity).copied().unwrap_or(0);
    let groups = identities.groups.iter().map(|sides| sides.map(column)).collect();
    let broadcasts = broadcasts(model);
    let inside = inside(model, &space);
    let link = Link::new(model, |address| {
        let narrowest =
            space.get(space.find(address)).and_then(|stretch| stretch.networks.first().copied());
        Some(model.networks.get(narrowest?)?.side)
    });
    let Matrix { rows, columns, plain, overlay, mut maker, answers, briefs, .. } = matrix;
    let exempt = exempt(model, &space, exceptions, &mut maker);
    let programs = maker.finish();
    let policy_digest = digest::of(model);
    let table = Table {
        spots,
        leases,
        groups,
        broadcasts,
        networks: model
            .networks
            .iter()
            .map(|n| NetworkFace {
                name: n.name.clone(),
                side: n.side,
                vlans: n.vlans.clone(),
                via: n.via.clone(),
            })
            .collect(),
        workloads: model
            .workloads
            .iter()
            .map(|w| WorkloadFace {
                name: w.name.clone(),
                account: w.service_account.clone(),
                macs: w.macs.clone(),
            })
            .collect(),
        zones: model.zones.iter().map(|z| z.name.clone()).collect(),
        tags: tags.all,
        rows,
        columns,
        plain: plain.iter().map(|cell| cell.brief).collect(),
        plain_full: plain.iter().map(|cell| cell.full).collect(),
        overlay,
        programs,
        answers,
        briefs: briefs.finish(),
        inside,
        unzoned: model.wire.unzoned,
        addresses: Addresses::new(model),
        link,
        strictest: strictest(model),
        profile: Housekeeping::ALL.map(|class| model.profile.get(&class).copied().unwrap_or(Action::Drop)),
        rules: faces(model, exceptions),
        exempt,
        exceptions: exceptions.clone(),
        in_steps: false,
        policy_digest,
        digest: digest::with(policy_digest, exceptions),
        space,
    };
    table.sized()
}

fn spots(
    model: &Model,
    space: &Space,
    tags: &Tags,
    identities: &Identities<'_>,
    matrix: &Matrix,
) -> (Vec<Spot>, Vec<Lease>) {
    let narrow = |index: Option<usize>| index.and_then(|i| u32::try_from(i).ok()).unwrap_or(Spot::NONE);
    let rows = |identity: usize| matrix.rows_of.get(identity).copied().unwrap_or([0, 0]);
    let column = |identity: usize| matrix.column_of.get(identity).copied().unwrap_or(0);
    let mut leases: Vec<Lease> = Vec::new();
    let mut known: HashMap<Lease, usize> = HashMap::new();
    let mut lease = |workload: Option<usize>, lapsed: Option<usize>| {
        let end = model.workloads.get(workload?)?.lease(model.gate.inventory_limit)?;
        let [_, row] = rows(lapsed?);
        let lease = Lease { end, row, column: column(lapsed?) };
        Some(*known.entry(lease).or_insert_with(|| {
            leases.push(lease);
            leases.len() - 1
        }))
    };
    let spots = space
        .all
        .iter()
        .zip(identities.of_stretch.iter().zip(&identities.lapsed_of_stretch))
        .map(|(stretch, (identity, lapsed))| {
            let narrowest = stretch.networks.first().copied();
            let network = narrowest.and_then(|n| model.networks.get(n));
            let workload = stretch.workload.and_then(|w| model.workloads.get(w));
            let macs = workload.map_or(&[][..], |workload| &workload.macs);
            let via = network.map_or(&[][..], |network| &network.via);
            let group = stretch.group.and_then(|group| u32::try_from(group).ok());
            let lease = lease(stretch.workload, *lapsed).and_then(|lease| u32::try_from(lease).ok());
            let special = group.map(Special::group).or(lease.map(Special::lease));
            Spot {
                network: narrow(narrowest),
                workload: narrow(stretch.workload),
                rows: rows(*identity),
                column: column(*identity),
                special: special.unwrap_or(Special::NONE),
                mac: macs
                    .iter()
                    .chain(via)
                    .copied()
                    .find(|mac| *mac != Spot::NO_MAC)
                    .unwrap_or(Spot::NO_MAC),
                side: network.map(|network| network.side),
                tags: narrowest.and_then(|n| tags.of.get(n)).copied().unwrap_or(u8::MAX),
            }
        })
        .collect();
    (spots, leases)
}

fn inside(model: &Model, space: &Space) -> Inside {
    let [_, zones] = &space.zones_at;
    let here = |stretch: &Stretch| stretch.side == Some(Side::Inside) && !stretch.covered;
    let is_loose = space.all.iter().any(|stretch| here(stretch) && stretch.zones.is_empty());
    Inside {
        zones: zones.iter().filter_map(|z| model.zones.get(*z)).map(|z| z.mode).max(),
        loose: is_loose.then_some(model.wire.unzoned),
    }
}

/// Rules by their numbers, and exceptions behind them. What an exception lets pass is always recorded: somebody
/// reviews it.
fn faces(model: &Model, exceptions: &Exceptions) -> Vec<RuleFace> {
    let rules = model.rules.iter().map(|r| RuleFace {
        id: r.full_id(),
        tier: r.tier,
        stands: Stands::File(r.origin),
        owner: r.owner.clone(),
        log: r.log,
        reply: r.reply,
    });
    let exceptions = exceptions.iter().map(|exception| RuleFace {
        id: exception.full_id(),
        tier: Tier::Exception,
        stands: Stands::Ledger(exception.end),
        owner: exception.owner.clone(),
        log: true,
        reply: None,
    });
    rules.chain(exceptions).collect()
}

/// Lists of tags that networks have, each once.
struct Tags {
    all: Vec<Vec<Vlans>>,
    /// By network; of a list beyond [`Spot::tags`], no place in `all`.
    of: Vec<u8>,
}

impl Tags {
    fn new(model: &Model) -> Self {
        let mut known: HashMap<&[Vlans], u8> = HashMap::new();
        let mut tags = Self { all: Vec::new(), of: Vec::with_capacity(model.networks.len()) };
        for network in &model.networks {
            let next = u8::try_from(tags.all.len()).unwrap_or(u8::MAX);
            let number = *known.entry(&network.vlans).or_insert(next);
            if number == next && next < u8::MAX {
                tags.all.push(network.vlans.clone());
            }
            tags.of.push(number);
        }
        tags
    }
}

/// Addresses of groups that only their groups tell from hosts.
fn broadcasts(model: &Model) -> HashSet<IpAddr> {
    let listed = model.groups.iter().flat_map(|group| &group.addresses);
    listed.map(|prefix| prefix.address).filter(|address| !is_group(*address)).collect()
}

fn strictest(model: &Model) -> Mode {
    let zones = model.zones.iter();
    zones
        .flat_map(|z| z.service_modes.iter().map(|(_, mode)| *mode).chain([z.mode]))
        .fold(model.wire.unzoned, Mode::max)
}
