//! Where no rule allows it: the allow that comes nearest, and what a new one would say.

use std::fmt::Write as _;

use serde::Serialize;

use super::ends::Way;
use super::{Query, RuleRef, ports};
use crate::policy::model::{Labels, Match, Rule, Selector, Tier};
use crate::policy::read::Loaded;
use crate::policy::selector::{Reading, Subject};
use crate::policy::words;
use crate::wire::Service;

/// The allow that came nearest, and what is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Nearest {
    /// The rule; none where no allow has anything in common with the question.
    pub rule: Option<RuleRef>,
    /// What it wants and what the ends have.
    pub misses: Vec<Miss>,
    /// The rule that would allow it: `from { … } to { … } on https`; or what must change first.
    pub would_need: String,
}

/// One key of a rule that an end does not meet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Miss {
    /// `app=reporting`
    pub wants: String,
    /// `reports-3 has app=reports`
    pub has: String,
}

/// How near a rule came: keys met and missed.
#[derive(Debug, Default)]
struct Near {
    met: usize,
    misses: Vec<Miss>,
}

pub(super) fn find(policy: &Loaded, way: &Way<'_>, service: Service, query: &Query) -> Nearest {
    let ((near, near_holds), (far, far_holds)) = way.views();
    let (from, to) = (near.subject(near_holds), far.subject(far_holds));
    let names = way.names();
    let allows = policy.model.rules.iter().filter(|rule| rule.tier == Tier::Allow);
    let compared = allows.flat_map(|rule| {
        let there = compare(rule, (&rule.from, &from), (&rule.to, &to), &names, service);
        let back =
            rule.both_ways.then(|| compare(rule, (&rule.to, &from), (&rule.from, &to), &names, service));
        [Some(there), back].into_iter().flatten().map(move |near| (rule, near))
    });
    let nearest = compared
        .filter(|(_, near)| near.met > 0)
        .min_by_key(|(rule, near)| (near.misses.len(), std::cmp::Reverse(near.met), rule.id.clone()));
    let blocked = !way.may_allow();
    let lapsed = way.lapsed();
    let would_need = if !lapsed.is_empty() {
        format!("a fresh binding of {}: no allow counts for a lapsed one", lapsed.join(" and "))
    } else if blocked {
        match (from.is_unknown(), way.to_group) {
            (false, true) => format!("a [group] that lists {}: no allow lets unknown into a zone", names.1),
            (unknown, _) => {
                let unknown = if unknown { &names.0 } else { &names.1 };
                format!("an entry in the inventory for {unknown}: no allow lets unknown into a zone")
            }
        }
    } else {
        match &nearest {
            // Every key is met but the holding: no rule is missing.
            Some((_, near)) if near.misses.iter().all(|m| m.has.ends_with(NOT_HELD)) => {
                near.misses.iter().map(|m| format!("{} to be held", m.wants)).collect::<Vec<_>>().join(", ")
            }
            Some(_) | None => {
                let written = |subject: &Subject<'_>| selector(subject);
                format!("from {} to {} on {}", written(&from), written(&to), query.service)
            }
        }
    };
    let (rule, misses) = match nearest {
        Some((rule, near)) => (Some(RuleRef::of_rule(policy, rule)), near.misses),
        None => (None, Vec::new()),
    };
    Nearest { rule, misses, would_need }
}

/// How a miss ends when only the holding is missing.
const NOT_HELD: &str = "does not hold it";

fn compare(
    rule: &Rule,
    (from, sender): (&Selector, &Subject<'_>),
    (to, receiver): (&Selector, &Subject<'_>),
    (sender_name, receiver_name): &(String, String),
    service: Service,
) -> Near {
    let mut near = Near::default();
    near.selector(from, sender, sender_name);
    near.selector(to, receiver, receiver_name);
    let same = rule.to.parts().iter().flat_map(|keys| &keys.same);
    for key in same {
        let value = |subject: &Subject<'_>, name: &String| match subject.labels.get(key) {
            Some(value) => format!("{name} has {key}={value}"),
            None => format!("{name} has no {key}"),
        };
        let (one, other) = (sender.labels.get(key), receiver.labels.get(key));
        let has = || format!("{} and {}", value(sender, sender_name), value(receiver, receiver_name));
        near.key(one.is_some() && one == other, || format!("the same {key} at both ends"), has);
    }
    // A service by itself makes no rule near: most rules name https.
    if !rule.services.contains(service) {
        near.misses.push(Miss {
            wants: words::services(&rule.services),
            has: format!("this is {}", ports::text(service)),
        });
    }
    near
}

impl Near {
    fn key(&mut self, met: bool, wants: impl FnOnce() -> String, has: impl FnOnce() -> String) {
        if met {
            self.met += 1;
        } else {
            self.misses.push(Miss { wants: wants(), has: has() });
        }
    }

    fn selector(&mut self, selector: &Selector, subject: &Subject<'_>, name: &str) {
        match selector {
            Selector::Match(keys) => self.keys(keys, subject, name),
            Selector::Any | Selector::Except(_) => {
                let met = selector.matches(subject, Reading::Granted);
                let has = || match subject.lapsed {
                    Some(_) => format!("that of {name} has lapsed"),
                    None => format!("{name} is in no inventory"),
                };
                self.key(met, || selector.words(), has);
            }
        }
    }

    fn keys(&mut self, keys: &Match, subject: &Subject<'_>, name: &str) {
        let Match {
            labels,
            not,
            names,
            zones,
            networks,
            groups,
            accounts,
            unknown,
            // Of both ends: `compare` looks at the one, and no allow says the other.
            same: _,
            differs: _,
        } = keys;
        let value = |key: &str| match subject.labels.get(key) {
            Some(value) => format!("{name} has {key}={value}"),
            None => format!("{name} has no {key}"),
        };
        for (key, values) in labels {
            let met = subject.labels.get(key).is_some_and(|v| values.contains(v));
            self.key(met, || format!("{key}={}", values.join(" or ")), || value(key));
        }
        for (key, values) in not {
            let met = subject.labels.get(key).is_some_and(|v| !values.contains(v));
            self.key(met, || format!("{key} not {}", values.join(" or ")), || value(key));
        }
        if !names.is_empty() {
            let met = subject.workload.is_some_and(|w| names.iter().any(|n| n == w));
            self.key(met, || format!("{} by name", names.join(" or ")), || format!("this is {name}"));
        }
        let in_list = |list: &[String], have: &[&str]| list.iter().any(|l| have.contains(&l.as_str()));
        for (word, list, have) in [("zone", zones, subject.zones), ("network", networks, subject.networks)]
        {
            if !list.is_empty() {
                let has = || match have {
                    [] => format!("{name} is in no {word}"),
                    have => format!("{name} is in {}", have.join(", ")),
                };
                self.key(in_list(list, have), || format!("{word} {}", list.join(" or ")), has);
            }
        }
        if !groups.is_empty() {
            let has = || match subject.group {
                Some(group) => format!("this is group {group}"),
                None => format!("{name} is in no group"),
            };
            let met = in_list(groups, subject.group.as_slice());
            self.key(met, || format!("group {}", groups.join(" or ")), has);
        }
        if !accounts.is_empty() {
            let declared = subject.account.is_some_and(|a| accounts.iter().any(|w| w == a));
            let has = || match subject.account {
                Some(_) if declared => format!("{name} declares it and {NOT_HELD}"),
                Some(account) => format!("{name} declares {account}"),
                None => format!("{name} declares none"),
            };
            let wants = || format!("service account {}", accounts.join(" or "));
            self.key(declared && subject.held, wants, has);
        }
        if subject.group.is_some() {
            if groups.is_empty() {
                let has = format!("{name} is a group");
                self.misses.push(Miss { wants: "a workload".to_owned(), has });
            }
        } else if *unknown != subject.is_unknown() {
            let (wants, has) = if *unknown {
                ("an unknown address", format!("{name} is a workload"))
            } else {
                ("a workload", format!("{name} is in no inventory"))
            };
            self.misses.push(Miss { wants: wants.to_owned(), has });
        } else if *unknown {
            self.met += 1;
        }
        if subject.lapsed.is_some() {
            let has = format!("that of {name} has lapsed");
            self.misses.push(Miss { wants: "a valid binding".to_owned(), has });
        }
    }
}

/// A selector that means this end and its like.
fn selector(subject: &Subject<'_>) -> String {
    let labels: &Labels = subject.labels;
    match subject.workload {
        None => match subject.group {
            Some(group) => format!("{{ group = {group:?} }}"),
            None => "{ unknown = true }".to_owned(),
        },
        Some(name) if labels.is_empty() => format!("{{ name = {name:?} }}"),
        Some(_) => {
            let mut text = String::from("{");
            for (index, (key, value)) in labels.iter().enumerate() {
                let comma = if index == 0 { "" } else { "," };
                // Writing to a String cannot fail.
                let _ = write!(text, "{comma} {key} = {value:?}");
            }
            text + " }"
        }
    }
}
