//! Rules, zones, networks and settings beside each other, as they are written.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Half;
use super::both::Both;
use crate::policy::digest::{of_network, of_rule, of_zone};
use crate::policy::model::{Model, Rule};
use crate::policy::sentences::governs;
use crate::policy::verdict::{Action, Mode};
use crate::wire::Housekeeping;

/// A rule that came, went or is written otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleChange {
    /// `allow.payments-to-vault`.
    pub id: String,
    /// `came`, `went`, `changed`.
    pub change: &'static str,
    /// Where it stands in the old policy.
    pub old: Option<String>,
    /// Where it stands in the new one.
    pub new: Option<String>,
}

/// A setting that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// `zone.cde mode`, `profile lldp`, `wire.cde unzoned`.
    pub key: String,
    /// As it was; none where there was none.
    pub old: Option<String>,
    /// As it is.
    pub new: Option<String>,
    /// Frames that rules are not asked about are forwarded by it and were dropped.
    pub opens: bool,
}

/// What became of a name; none where nothing did.
pub(super) fn fate<T>(both: Both<Option<T>>, is_same: impl Fn(&T, &T) -> bool) -> Option<&'static str> {
    match (both.old, both.new) {
        (None, Some(_)) => Some("came"),
        (Some(_), None) => Some("went"),
        (Some(old), Some(new)) => (!is_same(&old, &new)).then_some("changed"),
        (None, None) => None,
    }
}

/// Everything with a name, of both.
pub(super) fn named<T>(both: Both<impl Iterator<Item = (String, T)>>) -> BTreeMap<String, Both<Option<T>>> {
    let mut all: BTreeMap<String, Both<Option<T>>> = BTreeMap::new();
    let Both { old, new } = both;
    for (name, one) in old {
        all.entry(name).or_insert(Both { old: None, new: None }).old = Some(one);
    }
    for (name, one) in new {
        all.entry(name).or_insert(Both { old: None, new: None }).new = Some(one);
    }
    all
}

/// Rules of both, by what is written in them and what their services are.
pub(super) fn rules(halves: Both<Half<'_>>) -> Vec<RuleChange> {
    let rules = halves.map(|half| half.policy.model.rules.iter().map(|rule| (rule.full_id(), rule)));
    let alike =
        |old: &&Rule, new: &&Rule| of_rule(old) == of_rule(new) && old.services.atoms == new.services.atoms;
    let changed = named(rules).into_iter().filter_map(|(id, both)| {
        let change = fate(both, alike)?;
        let place =
            halves.zip(both).map(|(half, rule)| rule.map(|rule| half.policy.sources.place(rule.origin)));
        Some(RuleChange { id, change, old: place.old, new: place.new })
    });
    changed.collect()
}

/// Everything else that verdicts come from.
pub(super) fn settings(halves: Both<Half<'_>>) -> Vec<Setting> {
    let models = halves.map(|half| &half.policy.model);
    let mut settings = Vec::new();
    let mut say = |key: String, both: Both<Option<String>>, opens: bool| {
        if !both.is_same() {
            settings.push(Setting { key, old: both.old, new: both.new, opens });
        }
    };
    let name = models.map(|model| Some(model.wire.name.clone()));
    say("wire".to_owned(), name, false);
    say("wire unzoned".to_owned(), models.map(|model| Some(model.wire.unzoned.to_string())), false);
    for class in Housekeeping::ALL {
        let word = |action| match action {
            Action::Forward => "forward",
            Action::Drop => "drop",
        };
        let said = halves.map(|half| half.table.profile(class));
        let drops = halves.map(|half| drops(half, class));
        let opens = drops.old && !drops.new;
        if opens && said.is_same() {
            // Nothing is written otherwise: the mode that governs it is.
            let said = ["drop, enforced", "drop, not enforced"].map(|words| Some(words.to_owned()));
            let [old, new] = said;
            say(format!("profile {}", class.name()), Both { old, new }, true);
        }
        say(format!("profile {}", class.name()), said.map(|action| Some(word(action).to_owned())), opens);
    }
    let own = models.map(|model| {
        let mut own: Vec<String> = model.gate.management.iter().map(ToString::to_string).collect();
        own.sort_unstable();
        Some(own.join(" "))
    });
    say("gate management".to_owned(), own, false);
    let local = models.map(|model| Some(format!("{:?}", model.gate.link_local).to_lowercase()));
    say("gate link_local".to_owned(), local, false);
    for (name, both) in named(models.map(|m| m.zones.iter().map(|zone| (zone.name.clone(), zone)))) {
        match both {
            Both { old: Some(old), new: Some(new) } => {
                let modes = Both { old: Some(governs(old)), new: Some(governs(new)) };
                let same = modes.is_same();
                say(format!("zone {name} mode"), modes, false);
                let members = Both { old: old.members.words(), new: new.members.words() };
                if !members.is_same() {
                    say(format!("zone {name} members"), members.map(Some), false);
                } else if same && of_zone(old) != of_zone(new) {
                    let owner = Both { old: old.owner.clone(), new: new.owner.clone() };
                    say(format!("zone {name} owner"), owner, false);
                    let class = Both { old: old.data_class.clone(), new: new.data_class.clone() };
                    say(format!("zone {name} data_class"), class, false);
                }
            }
            Both { .. } => say(format!("zone {name}"), both.map(|zone| zone.map(governs)), false),
        }
    }
    for (name, both) in named(models.map(|m| m.networks.iter().map(|net| (net.name.clone(), net)))) {
        if fate(both, |old, new| of_network(old) == of_network(new)).is_some() {
            say(format!("network {name}"), models.map(|model| network(model, &name)), false);
        }
    }
    settings
}

/// A network in a line.
fn network(model: &Model, name: &str) -> Option<String> {
    let network = model.networks.iter().find(|network| network.name == name)?;
    let list = |all: Vec<String>| all.join(" ");
    let prefixes = list(network.prefixes.iter().map(ToString::to_string).collect());
    let vlans = list(network.vlans.iter().map(ToString::to_string).collect());
    let labels = list(network.labels.iter().map(|(key, value)| format!("{key}={value}")).collect());
    let via = list(network.via.iter().map(ToString::to_string).collect());
    let mut words = format!("{} {prefixes}, vlans {vlans}", network.side.name());
    for (word, list) in [("via", via), ("labels", labels)] {
        if !list.is_empty() {
            words = format!("{words}, {word} {list}");
        }
    }
    Some(words)
}

/// Whether some frame of a class can be dropped. Frames without IP addresses take the strictest mode on the
/// wire, the others that of their ends, which a guardrail may make stricter.
fn drops(half: Half<'_>, class: Housekeeping) -> bool {
    let guarded = half.policy.model.rules.iter().any(|rule| rule.mode == Some(Mode::Enforce));
    let addressed = matches!(class, Housekeeping::Ndp | Housekeeping::Dhcp);
    let strictest = half.table.strictest() == Mode::Enforce || (addressed && guarded);
    half.table.profile(class) == Action::Drop && strictest
}
