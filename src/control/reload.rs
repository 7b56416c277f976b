//! A reload as the API answers it: the policy is read here, put in force by the gateway.

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::answers::{Problem, Reloaded, Told, WorkerTook};
use super::status::policy_status;
use super::view::View;
use crate::gateway::{PublishError, Published, Took, Tried};
use crate::policy::diagnostic::{self, Diagnostic};
use crate::policy::source::Sources;

/// `POST /v1/reload`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// First file of the policy, from the root; none: the one that the gate runs.
    pub policy: Option<std::path::PathBuf>,
    /// Do all but put it in force.
    #[serde(default)]
    pub check: bool,
}

/// Whether a caller may change the policy: root, and whoever the gate runs as.
pub(super) fn may(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

/// Does it. Takes as long as a compile and a turn of each worker.
///
/// # Errors
/// Status and reason; the policy in force stays.
pub(super) fn reload(view: &View, request: &Request) -> Result<Reloaded, (StatusCode, Problem)> {
    let file = match &request.policy {
        Some(file) => file.clone(),
        None => first_file(view),
    };
    if !file.is_absolute() && request.policy.is_some() {
        let problem = Problem::new("the path of a policy begins at the root", "name it from /");
        return Err((StatusCode::BAD_REQUEST, problem));
    }
    let loaded = crate::policy::read(&file).map_err(|rejected| {
        let findings = told(&rejected.sources, &rejected.diagnostics);
        let error = format!("{} does not hold together; the policy in force stays", file.display());
        let problem = Problem { findings: Some(findings), ..Problem::new(error, "mend what is named") };
        (StatusCode::UNPROCESSABLE_ENTITY, problem)
    })?;
    let now = (view.clock)();
    let refused = |error: PublishError| {
        let problem = Problem::new(format!("{error}; nothing was changed"), error.remedy());
        let findings = match &error {
            PublishError::Tests(rejected) => Some(told(&rejected.sources, &rejected.diagnostics)),
            PublishError::Busy
            | PublishError::Fixed(_)
            | PublishError::Check(_)
            | PublishError::Unswept(_) => None,
        };
        (StatusCode::CONFLICT, Problem { failed_tests: findings.is_some(), findings, ..problem })
    };
    let (tried, workers) = if request.check {
        (view.shared.examine(loaded, now).map_err(refused)?, None)
    } else {
        let Published { tried, workers } = view.shared.publish(loaded, now).map_err(refused)?;
        view.names.learn(&tried.policy);
        (tried, Some(workers))
    };
    let Tried { policy, sampled } = tried;
    let warnings = &policy.loaded.warnings;
    Ok(Reloaded {
        file: file.display().to_string(),
        sampled,
        workers: workers.map(|workers| workers.into_iter().map(WorkerTook::from).collect()),
        findings: (!warnings.is_empty()).then(|| told(&policy.loaded.sources, warnings)),
        policy: policy_status(&policy),
    })
}

fn first_file(view: &View) -> std::path::PathBuf {
    let policy = view.shared.policy.load();
    policy.loaded.sources.files.first().map(|file| file.path.clone()).unwrap_or_default()
}

fn told(sources: &Sources, findings: &[Diagnostic]) -> Told {
    Told {
        text: diagnostic::render(sources, findings, false),
        answer: serde_json::to_value(diagnostic::rows(sources, findings)).unwrap_or_default(),
    }
}

impl From<Took> for WorkerTook {
    fn from(took: Took) -> Self {
        Self { queue: took.queue, nanos: took.nanos }
    }
}
