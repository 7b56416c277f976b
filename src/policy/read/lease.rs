//! Bindings that have lapsed.

use super::super::code::Code;
use super::super::diagnostic::Diagnostic;
use super::super::model::{Model, Workload};
use super::super::verdict::Moment;

/// A warning for each workload whose binding has lapsed, in the order of the text.
pub(super) fn lapsed(model: &Model, now: Moment) -> Vec<Diagnostic> {
    let silence = model.gate.inventory_limit;
    let stale = model.workloads.iter().filter(|workload| workload.is_lapsed(silence, now));
    let mut stale: Vec<&Workload> = stale.collect();
    stale.sort_by_key(|workload| (workload.origin.file, workload.origin.start));
    let told = stale.into_iter().map(|workload| {
        let end = workload.lease(silence).unwrap_or(now);
        let message = format!("the binding of {} has lapsed: it was valid until {end}", workload.name);
        Diagnostic::new(Code::Lapsed, Some(workload.origin), message)
            .label("no allow matches it, denies and guardrails still do")
            .help(Code::Lapsed.remedy())
    });
    told.collect()
}
