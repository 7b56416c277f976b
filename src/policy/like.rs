//! What a selector that means nobody may have been meant to say.
//!
//! What it is: labels are open (POLICY.md §1) and accounts may come with the next inventory, so a value that nobody
//! carries is no mistake of the reader's; where it leaves nobody, the value most like it is told. What it is not: it
//! names nothing where nothing is like it. Cost: the labels of every workload and network, once an error.

use super::model::{Match, Model, Selector};
use super::read::nearest_name;

/// `role = "server"`: a value that somebody carries, in place of one that nobody does.
pub(super) fn like(model: &Model, selector: &Selector) -> Option<String> {
    let Selector::Match(Match { labels, accounts, .. }) = selector else { return None };
    let label = labels.iter().find_map(|(key, values)| {
        let carried = model.workloads.iter().map(|workload| &workload.labels);
        let carried = carried.chain(model.networks.iter().map(|network| &network.labels));
        let carried: Vec<&str> = carried.filter_map(|labels| labels.get(key)).map(String::as_str).collect();
        near(values, &carried).map(|value| format!("{key} = \"{value}\""))
    });
    label.or_else(|| {
        let held = model.workloads.iter().filter_map(|workload| workload.service_account.as_deref());
        near(accounts, &held.collect::<Vec<_>>()).map(|value| format!("service_account = \"{value}\""))
    })
}

/// The value most like the first one that is not there.
fn near<'c>(values: &[String], there: &[&'c str]) -> Option<&'c str> {
    let missing = values.iter().find(|value| !there.contains(&value.as_str()))?;
    nearest_name(missing, there.iter().copied())
}
