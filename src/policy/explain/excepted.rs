//! The exceptions for one question, and how each stands.

use serde::Serialize;

use super::ends::Way;
use crate::policy::exception::Exception;
use crate::policy::selector::Reading;
use crate::policy::table::Table;
use crate::policy::verdict::Moment;
use crate::wire::Service;

/// An exception that names both ends and the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExceptionRef {
    /// `EXC-0042`.
    pub id: String,
    /// `2026-11-24T12:04:10Z`
    pub start: String,
    /// `2026-11-24T18:04:10Z`
    pub end: String,
    /// Whether it counts now, or why not.
    pub standing: Standing,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Who approved it.
    pub approver: Option<String>,
}

/// How an exception stands for two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It counts.
    Active,
    /// It has not begun.
    NotBegun,
    /// It has ended.
    Ended,
    /// It asks for an account that is not held.
    AccountNotHeld,
    /// The binding of an end has lapsed: no exception counts for it.
    Lapsed,
}

impl ExceptionRef {
    /// In words, behind its id.
    pub(super) fn words(&self) -> String {
        let Self { id, start, end, .. } = self;
        match self.standing {
            Standing::Active => format!("{id} matches, in force until {end}"),
            Standing::NotBegun => format!("{id} is for this and begins {start}"),
            Standing::Ended => format!("{id} was for this and ended {end}"),
            Standing::AccountNotHeld => {
                format!("{id} is for this, and the account it asks for is not held")
            }
            Standing::Lapsed => format!("{id} is for this, and counts for no lapsed binding"),
        }
    }
}

/// Those that name both ends and the service, in the order of names.
pub(super) fn find(table: &Table, way: &Way<'_>, service: Service, now: Moment) -> Vec<ExceptionRef> {
    let here = table.exceptions().iter().filter(|exception| exception.services.contains(service));
    here.filter_map(|exception| {
        Some(ExceptionRef {
            id: exception.id.clone(),
            start: exception.start.to_string(),
            end: exception.end.to_string(),
            standing: standing(exception, way, now)?,
            owner: exception.owner.clone(),
            approver: exception.approver.clone(),
        })
    })
    .collect()
}

/// `None`: it does not name these ends.
pub(super) fn standing(exception: &Exception, way: &Way<'_>, now: Moment) -> Option<Standing> {
    let ((near, near_holds), (far, far_holds)) = way.views();
    let (near, far) = (near.subject(near_holds), far.subject(far_holds));
    let reads = |reading| {
        exception.ways().any(|(from, to)| {
            from.selector().matches(&near, reading) && to.selector().matches(&far, reading)
        })
    };
    if !reads(Reading::ByAddress) {
        return None;
    }
    Some(if now < exception.start {
        Standing::NotBegun
    } else if exception.end <= now {
        Standing::Ended
    } else if reads(Reading::Granted) {
        Standing::Active
    } else if reads(Reading::Assumed) {
        Standing::AccountNotHeld
    } else {
        Standing::Lapsed
    })
}
